# SPDX-License-Identifier: MIT
"""Datagrams that come as one and leave as one (UDP_GRO, UDP_SEGMENT): nobody sees it but the
processor. Everything is sent as one here, so what is one by one elsewhere is judged together."""

import errno
import socket
import struct
import subprocess

import pytest

from harness import udp
from harness.config import HEAD, LOCAL, local
from harness.tabi import wait_until
from test_faults import fault

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

SEGMENT, GRO = 103, 104  # of linux/udp.h
ERRORS = ("EIO", "EOPNOTSUPP", "EINVAL", "EMSGSIZE")


def send_train(sock, to, parts):
    """All of one length but the last, as one."""
    sock.setsockopt(socket.IPPROTO_UDP, SEGMENT, len(parts[0]))
    assert sock.sendto(b"".join(parts), to) == sum(map(len, parts))
    sock.setsockopt(socket.IPPROTO_UDP, SEGMENT, 0)


def receive_train(sock):
    """The datagrams of one message."""
    data, control, _, sender = sock.recvmsg(1 << 16, socket.CMSG_SPACE(4))
    size = len(data)
    for level, kind, value in control:
        if (level, kind) == (socket.IPPROTO_UDP, GRO):
            (size,) = struct.unpack("i", value)
    return [data[i : i + size] for i in range(0, len(data), size)], sender


def end(program, association):
    association.close()
    return program.wait_session(command="udp")


def drops(record):
    return {name: int(n) for name, n in record.items() if name.startswith("drop-")}


def payloads(n, size, last=None):
    parts = [struct.pack(">I", i) + bytes([i % 251]) * (size - 4) for i in range(n)]
    return parts if last is None else [*parts, b"\xff" * last]


@pytest.fixture
def remote():
    with udp.udp_socket() as sock:
        yield sock


def both_ways(program, one, remote, parts):
    """From the client as one, and back as one; returns the session's record."""
    address = remote.getsockname()
    send_train(one.sock, one.relay, [udp.datagram(*address, part) for part in parts])
    got = [remote.recvfrom(1 << 16) for _ in parts]
    assert [data for data, _ in got] == parts
    outside = got[0][1]
    assert {sender for _, sender in got} == {outside}
    send_train(remote, outside, parts)
    assert [one.recv() for _ in parts] == [(address, part) for part in parts]
    record = end(program, one)
    n, size = len(parts), sum(map(len, parts))
    for field, value in (("packets-up", n), ("packets-down", n), ("up", size), ("down", size)):
        assert record[field] == str(value)
    assert drops(record) == {}
    return record


@pytest.mark.parametrize("shared", (False, True), ids=("own", "shared"))
@pytest.mark.parametrize(
    "n, size, last", [(2, 100, None), (40, 100, 7), (64, 10, None), (43, 1400, 1), (2, 30000, 5000)]
)
def test_both_ways(tabi, remote, n, size, last, shared):
    program = tabi(local("udp-ports shared 5300") if shared else LOCAL)
    both_ways(program, udp.Association(), remote, payloads(n, size, last))


def test_ipv6(tabi):
    program = tabi(LOCAL)
    with udp.udp_socket("::1") as remote:
        one = udp.Association(proxy=("::1", 1080), declared=("::", 0))
        address = remote.getsockname()[:2]
        parts = payloads(30, 200, 9)
        send_train(one.sock, one.relay, [udp.datagram(*address, part) for part in parts])
        got = [remote.recvfrom(1 << 16) for _ in parts]
        assert [data for data, _ in got] == parts
        send_train(remote, got[0][1], parts)
        assert [one.recv() for _ in parts] == [(address, part) for part in parts]
    assert end(program, one)["packets-down"] == "31"


def test_leaves_as_one(tabi, remote):
    """What came as one reaches those who take it as one in one piece, each way."""
    tabi(LOCAL)
    with udp.Association() as one:
        for sock in (remote, one.sock):
            sock.setsockopt(socket.IPPROTO_UDP, GRO, 1)
        parts = payloads(50, 100, 33)
        address = remote.getsockname()
        wrapped = [udp.datagram(*address, part) for part in parts]
        send_train(one.sock, one.relay, wrapped)
        got, outside = receive_train(remote)
        assert got == parts
        send_train(remote, outside, parts)
        got, _ = receive_train(one.sock)
        assert got == wrapped


def test_many_remotes_in_one(tabi, remote):
    """Each datagram goes where its own header says, in order, whatever its neighbours do."""
    program = tabi(LOCAL)
    one = udp.Association()
    with udp.udp_socket() as other:
        parts = payloads(60, 50)
        to = [other if i % 7 in (0, 1, 5) else remote for i in range(60)]
        send_train(
            one.sock,
            one.relay,
            [udp.datagram(*sock.getsockname(), part) for sock, part in zip(to, parts)],
        )
        for sock in (remote, other):
            wanted = [part for place, part in zip(to, parts) if place is sock]
            assert [sock.recv(1 << 16) for _ in wanted] == wanted
    assert end(program, one)["packets-up"] == "60"


def test_each_is_judged_by_itself(tabi, remote):
    """Fragments, what is no datagram, what is denied and names, between those that pass."""
    program = tabi(
        HEAD + "deny from any to 127.0.0.9\nallow from loopback to any\n"
    )
    one = udp.Association()
    host, port = remote.getsockname()
    kinds = {
        "pass": lambda i: udp.datagram(host, port, b"%02d" % i),
        "denied": lambda i: udp.datagram("127.0.0.9", port, b"%02d" % i),
        "malformed": lambda i: b"\0\0\0\7" + b"?" * 8,
        # The first one of a sequence, which the next that is whole ends.
        "fragment": lambda i: udp.datagram(host, port, b"%02d" % i, frag=1),
    }
    order = [list(kinds)[i * 7 % 4 if i % 5 else 0] for i in range(60)]
    assert set(order) == set(kinds)
    send_train(one.sock, one.relay, [kinds[kind](i) for i, kind in enumerate(order)])
    wanted = [b"%02d" % i for i, kind in enumerate(order) if kind == "pass"]
    assert [remote.recv(100) for _ in wanted] == wanted
    record = end(program, one)
    assert record["packets-up"] == str(len(wanted)) and record["up"] == str(2 * len(wanted))
    assert drops(record) == {
        "drop-denied": order.count("denied"),
        "drop-malformed": order.count("malformed"),
        "drop-fragment": order.count("fragment"),
    }


def test_strangers_and_the_unasked_are_counted_each(tabi, remote):
    program = tabi(LOCAL)
    one = udp.Association()
    one.send(*remote.getsockname(), b"first")
    _, outside = remote.recvfrom(10)
    with udp.udp_socket() as stranger:
        send_train(stranger, one.relay, payloads(30, 40))
        send_train(stranger, outside, payloads(20, 40))
        wait_until(lambda: not udp.waiting(one.relay[1], outside[1]))
    remote.sendto(b"last", outside)
    assert one.recv()[1] == b"last"
    record = end(program, one)
    assert drops(record) == {"drop-stranger": 30, "drop-unasked": 20}


def test_rate_counts_each(tabi, remote):
    """A rule's rate is of datagrams, not of what they come in."""
    program = tabi(HEAD + "allow command udp from loopback to any rate 8kbit\n")
    one = udp.Association()
    parts = [udp.datagram(*remote.getsockname(), part) for part in payloads(60, 1000)]
    for _ in range(5):
        send_train(one.sock, one.relay, parts)
    wait_until(lambda: not udp.waiting(one.relay[1]))
    record = end(program, one)
    up, dropped = int(record["packets-up"]), int(record["drop-rate"])
    assert up + dropped == 300 and 0 < up < 300
    assert record["up"] == str(1000 * up)


def test_longer_than_the_way_takes(tabi, remote):
    """Each alone passes, in fragments of IP, so it passes: not as one, but that is ours to mind."""
    program = tabi(LOCAL)
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
    one = udp.Association()
    address = remote.getsockname()
    for size in (2000, 1400):
        parts = payloads(20, size)
        for part in parts:
            one.send(*address, part)
        assert [remote.recv(1 << 16) for _ in parts] == parts
    _, outside = (one.send(*address, b"x"), remote.recvfrom(10))[1]
    for size in (2000, 1400):
        parts = payloads(20, size)
        for part in parts:
            remote.sendto(part, outside)
        assert [one.recv()[1] for _ in parts] == parts
    assert drops(end(program, one)) == {}


@pytest.mark.parametrize("error", ERRORS)
def test_refused_as_one(tabi, remote, error):
    """By a device that cannot sum, by IPsec, by a way that takes less: then each goes by itself."""
    program = tabi(LOCAL, **fault("train", getattr(errno, error), 1, 1 << 30))
    both_ways(program, udp.Association(), remote, payloads(40, 100, 9))


@pytest.mark.parametrize("error", ("ENOPROTOOPT", "EINVAL"))
def test_kernel_without(tabi, remote, error):
    """An old one, which knows neither way."""
    program = tabi(LOCAL, **fault("offload", getattr(errno, error), 1, 1 << 30))
    both_ways(program, udp.Association(), remote, payloads(40, 100, 9))


@pytest.mark.parametrize("error, field", (("ENOBUFS", "drop-full"), ("EPERM", "drop-error")))
def test_lost_as_one(tabi, remote, error, field):
    """What cannot be sent counts as dropped, each of it, and was not relayed."""
    program = tabi(LOCAL, **fault("train", getattr(errno, error), 1, 1 << 30))
    one = udp.Association()
    address = remote.getsockname()
    one.send(*address, b"first")
    _, outside = remote.recvfrom(10)
    send_train(one.sock, one.relay, [udp.datagram(*address, p) for p in payloads(40, 100)])
    wait_until(lambda: not udp.waiting(one.relay[1]))
    send_train(remote, outside, payloads(30, 100))
    wait_until(lambda: not udp.waiting(outside[1]))
    remote.sendto(b"last", outside)
    assert one.recv()[1] == b"last"
    record = end(program, one)
    assert drops(record) == {field: 70}
    assert (record["packets-up"], record["up"]) == ("1", "5")
    assert (record["packets-down"], record["down"]) == ("1", "4")
