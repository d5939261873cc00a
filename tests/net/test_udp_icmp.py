# SPDX-License-Identifier: MIT
"""What ICMP says about the datagrams of an association, and what a liar can make of it."""

import socket
import struct
import time

import pytest

from harness import udp
from harness.config import LOCAL, PROXY, local
from harness.tabi import cpu_seconds, wait_until

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

ICMP_UNREACHABLE = 3


def end(program, association):
    association.close()
    return program.wait_session(command="udp", reason="done")


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def icmp_about(source_port, remote, kind=ICMP_UNREACHABLE, code=3):
    """ICMP as a router would send it about a datagram from 127.0.0.1:source_port to `remote`."""
    about = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 29, 1, 0, 64, socket.IPPROTO_UDP, 0,
        socket.inet_aton("127.0.0.1"), socket.inet_aton(remote[0]),
    ) + struct.pack(">HHHH", source_port, remote[1], 9, 0)  # fmt: skip
    head = struct.pack(">BBHI", kind, code, 0, 0)
    return head[:2] + struct.pack(">H", checksum(head + about)) + head[4:] + about


@pytest.fixture
def liar():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.bind(("127.0.0.66", 0))
        yield lambda *args, **more: sock.sendto(icmp_about(*args, **more), ("127.0.0.1", 0))


@pytest.fixture
def remote():
    with udp.udp_socket() as sock:
        yield sock


@pytest.mark.case("U26")
@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
def test_refused_target_is_counted(tabi, remote, host):
    """The association goes on, the client hears nothing, and the log is told once of the target."""
    program = tabi(local("log level debug"))
    one = udp.Association()
    for _ in range(20):
        one.send(host, 7999, b"x")
        # Of those that leave as one, a host that has nobody there says it once: so one at a time.
        # What is sent behind them is not taken for what failed.
        one.send(*remote.getsockname(), b"y")
        assert remote.recv(10) == b"y"
    assert one.is_quiet()
    record = end(program, one)
    assert record["icmp-errors"] == "20" and record["packets-up"] == "40"
    assert not [name for name in record if name.startswith("drop-")]
    lines = [line for line in program.log().splitlines() if " udp-unreachable " in line]
    assert len(lines) == 1
    assert f"address={host} port=7999" in lines[0] and "refused" in lines[0]


def test_client_that_does_not_listen_for_a_moment(tabi, remote):
    """Errors about the client's own port are counted apart, and end nothing."""
    program = tabi(LOCAL)
    one = udp.Association()
    one.send(*remote.getsockname(), b"x")
    _, outside = remote.recvfrom(10)
    mine = one.sock.getsockname()
    one.sock.close()
    for _ in range(20):
        remote.sendto(b"nobody is there", outside)
        wait_until(lambda: not udp.waiting(outside[1], one.relay[1]))
    one.sock = udp.udp_socket(*mine)
    remote.sendto(b"again", outside)
    assert one.recv()[1] == b"again"
    record = end(program, one)
    assert record["icmp-client"] == "20" and "icmp-errors" not in record
    assert record["packets-down"] == "21"


@pytest.mark.case("U26")
@pytest.mark.parametrize(
    "kind, code",
    [(ICMP_UNREACHABLE, code) for code in (0, 1, 2, 3, 4, 5, 9, 13)] + [(4, 0), (11, 0), (12, 0)],
)
def test_forged(tabi, remote, liar, kind, code):
    """Of any type, about a remote in use: each send and each receive goes on as before."""
    program = tabi(LOCAL)
    one = udp.Association()
    one.send(*remote.getsockname(), b"x")
    _, outside = remote.recvfrom(10)
    for i in range(100):
        liar(outside[1], remote.getsockname(), kind=kind, code=code)
        one.send(*remote.getsockname(), b"%d" % i)
        assert remote.recv(10) == b"%d" % i
        liar(outside[1], remote.getsockname(), kind=kind, code=code)
        remote.sendto(b"%d" % i, outside)
        assert one.recv()[1] == b"%d" % i
    record = end(program, one)
    assert record["packets-up"] == "101" and record["packets-down"] == "100"
    assert not [name for name in record if name.startswith("drop-")]


def test_flood_of_forged(tabi, remote, liar):
    """Thousands of them, about a remote in use and about one that nobody wrote to. The queue is
    the kernel's and has an end; what was read of it is counted, and then the worker rests."""
    program = tabi(LOCAL)
    one = udp.Association()
    one.send(*remote.getsockname(), b"x")
    _, outside = remote.recvfrom(10)
    for i in range(50):
        for _ in range(200):
            liar(outside[1], remote.getsockname())
            liar(outside[1], ("127.0.0.9", 7000))
            liar(one.relay[1], one.sock.getsockname())
            liar(one.relay[1], ("127.0.0.9", 7000))
        one.send(*remote.getsockname(), b"%d" % i)
        assert remote.recv(10) == b"%d" % i
        remote.sendto(b"%d" % i, outside)
        assert one.recv()[1] == b"%d" % i
    wait_until(lambda: not udp.waiting(outside[1], one.relay[1]))
    (worker,) = program.workers()
    busy = cpu_seconds(worker)
    time.sleep(0.5)
    assert cpu_seconds(worker) - busy < 0.2
    record = end(program, one)
    told = {
        name: int(record[name])
        for name in ("icmp-errors", "icmp-client", "drop-unasked", "drop-stranger")
    }
    assert all(0 < n <= 10000 for n in told.values()), told
    assert record["packets-up"] == "51" and record["packets-down"] == "50"
    assert "drop-error" not in record


def test_error_that_waits_when_all_ends(tabi):
    """An association that ends with errors in its queues leaves nothing behind."""
    program = tabi(LOCAL)
    idle = program.descriptors()
    for _ in range(20):
        with udp.Association(PROXY) as one:
            for _ in range(50):
                one.send("127.0.0.1", 7999, b"x")
    program.wait_descriptors(idle)
    program.wait_session(20, command="udp", reason="done")
