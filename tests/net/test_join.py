# SPDX-License-Identifier: MIT
"""Multicast groups joined through the server: the enhanced UDP mode of SOCKS5."""

import os
import random
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import certs, mcast, segment, socks, tls, udp
from harness.config import HEAD, PROXY
from harness.mcast import GROUP, MM, MU, RECEIVE, SEND, TCP, UNICAST
from harness.tabi import SANITIZED, run, wait_until
from test_udp import fast_clock  # noqa: F401
from test_udp_alloc import allocator  # noqa: F401

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

PORT = 5004
GROUPS = {"v4": "239.1.2.3", "v6": "ff15::1:3"}
NETS = "239.1.0.0/16,ff15::/16"
RULE = f"allow command multicast to {NETS} ttl 4 interface east\n"
# What unicast in this mode is judged as.
UDP = "allow command udp to loopback\n"


@pytest.fixture
def east():
    return segment.Segment(
        "east",
        ["198.51.100.1/24", "2001:db8:e::1/64"],
        ["198.51.100.2/24", "2001:db8:e::2/64"],
    )


@pytest.fixture(params=("v4", "v6"))
def group(request):
    return GROUPS[request.param]


def config(*rules, head=HEAD):
    return head + "".join(rules or (RULE, UDP))


def send_from(link, group, port, data, ttl=8):
    """Somebody over there sends to a group, and does not hear himself."""
    v6 = ":" in group
    sock = link.socket("2001:db8:e::2" if v6 else "198.51.100.2")
    if v6:
        level, hops, loop = socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, socket.IPV6_MULTICAST_LOOP
    else:
        level, hops, loop = socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, socket.IP_MULTICAST_LOOP
    sock.setsockopt(level, hops, ttl)
    sock.setsockopt(level, loop, 0)
    sock.sendto(data, (group, port))


def memberships(group):
    """How many sockets of this namespace are in it, by what the kernel says."""
    family = "-6" if ":" in group else "-4"
    shown = subprocess.run(
        ["ip", family, "maddress", "show", "dev", "east"], check=True, capture_output=True, text=True
    ).stdout.split("\n")
    for line in shown:
        words = line.split()
        if len(words) > 1 and words[1] == group:
            return int(words[words.index("users") + 1]) if "users" in words else 1
    return 0


def end(program, client, **fields):
    client.close()
    return program.wait_session(command="multicast", **fields)


# Hearing and sending.


def test_two_members_hear_a_group_once_each(tabi, east, group):
    program = tabi(config())
    with mcast.Client() as one, mcast.Client() as two:
        a, b = one.join(group, PORT), two.join(group, PORT)
        assert a.flags == b.flags == RECEIVE | GROUP | MU
        assert a.remote == (group, PORT) and a.local[0] == "127.0.0.1"
        send_from(east, group, PORT, b"news")
        assert one.recv(a) == two.recv(b) == b"news"
        assert one.is_quiet() and two.is_quiet()
        # Neither another port nor another group.
        send_from(east, group, PORT + 1, b"x")
        send_from(east, group[:-1] + "4", PORT, b"x")
        assert one.is_quiet() and two.is_quiet()
    record = program.wait_session(command="multicast", n=2)
    assert record["groups"] == record["packets-down"] == "1" and record["packets-up"] == "0"
    line = program.wait_for_log(lambda r: r.event == "group")
    assert line["packets-down"] == "1" and line["group"] in (f"{group}:5004", f"[{group}]:5004")
    assert line["rule"] == "tabi.conf:5"


def test_what_a_member_sends_reaches_the_group_and_the_others(tabi, east, group):
    """And not himself; with the TTL that he said, from the interface of the rule."""
    program = tabi(config())
    outside = east.member(group, PORT)
    with mcast.Client() as one, mcast.Client() as two, mcast.Client() as three:
        a, b = one.both(group, PORT, ttl=3), two.join(group, PORT)
        three.join(group[:-1] + "4", PORT)
        one.send(a, b"hello")
        data, ttl, sender = outside.recv()
        assert (data, ttl) == (b"hello", 3)
        assert sender[0] in ("198.51.100.1", "2001:db8:e::1")
        assert two.recv(b) == b"hello"
        assert one.is_quiet() and two.is_quiet() and three.is_quiet()
        # The TTL can be changed, up to the rule's.
        assert one.ask(mcast.SET_TTL, 0, aid=a.aid, ttl=4).code == 0
        one.send(a, b"further")
        assert outside.recv()[:2] == (b"further", 4)
        assert one.ask(mcast.SET_TTL, 0, aid=a.aid, ttl=5).code == mcast.BAD_TTL
    assert program.wait_session(command="multicast", **{"packets-up": 2})


def test_members_of_different_workers(tabi, east, group):
    """The kernel hands what is sent to all of them."""
    tabi(config(head=HEAD.replace("workers 1", "workers 2")))
    clients = [mcast.Client() for _ in range(12)]
    joined = [c.both(group, PORT) for c in clients]
    clients[0].send(joined[0], b"all")
    for client, reply in list(zip(clients, joined))[1:]:
        assert client.recv(reply) == b"all"
    assert clients[0].is_quiet()
    for client in clients:
        client.close()


def test_receive_and_send_apart(tabi, east, group):
    """Two associations of one client: still he does not hear himself. And one number for both."""
    tabi(config())
    outside = east.member(group, PORT)
    with mcast.Client() as one:
        hears = one.join(group, PORT)
        sends = one.bind(SEND | GROUP, (group, PORT), ttl=1)
        assert hears.aid != sends.aid and sends.flags == SEND | GROUP | MU
        one.send(hears, b"no")
        one.send(sends, b"yes")
        assert outside.recv()[0] == b"yes"
        assert one.is_quiet()
        more = one.bind(SEND | GROUP, (group, PORT), ttl=2, aid=hears.aid)
        assert more.aid == hears.aid
        one.send(hears, b"now")
        assert outside.recv()[:2] == (b"now", 2)


def test_over_the_connection(tabi, east, group):
    """TCP-ENCAPSULATED: beside control messages, in pieces of any size, and empty ones."""
    program = tabi(config())
    outside = east.member(group, PORT)
    with mcast.Client() as one:
        a = one.bind(RECEIVE | SEND | GROUP | TCP, (group, PORT), ttl=1, local=mcast.NOBODY)
        assert a.flags == RECEIVE | SEND | GROUP | MU | TCP
        assert a.local == mcast.NOBODY
        for data in (b"", b"x", b"y" * 1400):
            one.control.sendall(mcast.encapsulated(a.aid, data))
            assert outside.recv()[0] == data
        socks.send_split(one.control, mcast.encapsulated(a.aid, b"split"), 1)
        assert outside.recv()[0] == b"split"
        send_from(east, group, PORT, b"in")
        assert one.recv_data() == (a.aid, b"in")
        # By datagram it is nobody's.
        one.sock.sendto(mcast.packet(a.aid, b"z"), program_address(one))
        assert udp.is_quiet(outside.sock)
    assert program.wait_session(command="multicast")["packets-up"] == "4"


def program_address(client):
    """Where the server listens for datagrams: by one more association."""
    return client.join(GROUPS["v4"], 6000).local


def test_client_that_does_not_read(tabi, east):
    """What it has not read is bounded, and its messages wait; others go on."""
    program = tabi(config())
    slow, other = mcast.Client(), mcast.Client()
    a = slow.bind(RECEIVE | GROUP | TCP, (GROUPS["v4"], PORT))
    b = other.join(GROUPS["v4"], PORT)
    sock = east.socket("198.51.100.2")
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)
    for i in range(4000):
        sock.sendto(b"%5d" % i + bytes(4000), (GROUPS["v4"], PORT))
        if i % 20 == 0:
            other.recv(b)
    sock.sendto(b"last", (GROUPS["v4"], PORT))
    while other.recv(b) != b"last":
        pass
    # All that was taken is whole and in order, and behind it the answer to what was asked late.
    slow.control.sendall(mcast.message(mcast.RELEASE, RECEIVE, aid=a.aid, bare=True))
    assert slow.recv_reply().code == 0
    numbers = [int(data[:5]) for _, data in slow.data]
    assert numbers == sorted(set(numbers)) and len(numbers) < 4000
    assert all(len(data) == 4005 for _, data in slow.data)
    other.close()
    assert int(end(program, slow, **{"packets-down": len(numbers)})["drop-full"]) > 0


def test_inside_tls(tabi, east, tmp_path):
    """Messages and data in records of their own size, and more than the client reads for a while."""
    ca = certs.Authority(tmp_path)
    ca.server()
    pem, key = ca.path("server.pem"), ca.path("server.key")
    program = tabi(config(head=HEAD + f"listen 127.0.0.1:1443 tls {pem} {key}\n"))
    outside = east.member(FAR[0], PORT)
    with mcast.Client(("127.0.0.1", 1443), dial=tls.dial) as one:
        a = one.bind(RECEIVE | SEND | GROUP | TCP, FAR, ttl=1)
        b = one.join(FAR[0], PORT + 1)
        one.control.sendall(b"".join(mcast.encapsulated(a.aid, b"%d" % i) for i in range(9)))
        assert [outside.recv()[0] for _ in range(9)] == [b"%d" % i for i in range(9)]
        one.control.sendall(mcast.encapsulated(a.aid, b"z" * 20000))
        assert outside.recv()[0] == b"z" * 20000
        for i in range(3000):
            send_from(east, *FAR, b"%5d" % i + bytes(3000))
        send_from(east, FAR[0], PORT + 1, b"beside")
        assert one.recv(b) == b"beside"
        assert one.ask(mcast.RELEASE, RECEIVE | SEND, aid=a.aid).code == 0
        numbers = [int(data[:5]) for _, data in one.data]
        assert numbers == sorted(set(numbers)) and 20 < len(numbers) < 3000
        one.control.end()
        program.wait_session(command="multicast", reason="done")


@pytest.mark.parametrize("ports, sent_to", (("shared 5300", None), ("5300-5309", range(5300, 5310))))
def test_udp_ports(tabi, east, ports, sent_to):
    """One port for each connection, never that of others."""
    tabi(config(RULE, UDP, head=HEAD + f"udp-ports {ports}\n"))
    with mcast.Client() as one, mcast.Client() as two, udp.Association() as three:
        a, b = one.both(*FAR), two.join(*FAR)
        assert len({a.local[1], b.local[1], three.relay[1]}) == 3
        if sent_to:
            assert a.local[1] in sent_to and b.local[1] in sent_to
        one.send(a, b"x")
        assert two.recv(b) == b"x"


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")
def test_datagrams_allocate_nothing(tabi, east, allocator):
    """Neither by UDP nor over the connection, in either direction; nor what is refused."""
    tabi(config(), env=allocator.env)
    outside = east.member(FAR[0], PORT)
    one = mcast.Client()
    a, b = one.both(*FAR), one.bind(RECEIVE | SEND | GROUP | TCP, (FAR[0], PORT), ttl=1)
    stranger = udp.udp_socket("127.0.0.9")

    def turn():
        stranger.sendto(mcast.packet(a.aid, b"theirs"), a.local)
        one.sock.sendto(b"no header", a.local)
        one.sock.sendto(mcast.packet(a.aid ^ 1, b"nobody's"), a.local)
        one.send(a, b"up")
        assert outside.recv()[0] == b"up"
        one.control.sendall(mcast.encapsulated(b.aid, b"up"))
        assert outside.recv()[0] == b"up"
        send_from(east, *FAR, b"down")
        assert one.recv(a) == b"down" and one.recv_data() == (b.aid, b"down")

    for _ in range(10):
        turn()
    before = allocator.count()
    assert before > 0
    for _ in range(200):
        turn()
    assert allocator.count() == before
    one.close()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")
def test_without_memory(tabi, east, allocator):
    """At each allocation in turn: refused, and then all is as before."""
    program = tabi(config(), env=allocator.env)
    outside = east.member(*FAR)
    # Not behind the first session: its line is written before its sockets are closed.
    before = program.descriptors()
    with mcast.Client() as one:
        one.both(*FAR)
    program.wait_session()
    refused = 0
    for nth in range(1, 31):
        allocator.fail(nth)
        try:
            with mcast.Client() as one:
                a = one.ask(mcast.BIND, RECEIVE | SEND | GROUP, remote=FAR, ttl=1)
                refused += a.code != 0
                one.send_half()
                one.sock.sendto(mcast.packet(a.aid, b"x", frag=1), a.local)
        except (AssertionError, EOFError, OSError):
            refused += 1
        allocator.fail(0, 0)
        wait_until(lambda: memberships(FAR[0]) == 0)
        with mcast.Client() as one:
            one.send(one.both(*FAR), b"x", frag=0x81)
            assert outside.recv()[0] == b"x"
            assert memberships(FAR[0]) == 1
    assert refused > 5
    program.wait_descriptors(before)


def test_fragments(tabi, east):
    tabi(config())
    outside = east.member(GROUPS["v4"], PORT)
    with mcast.Client() as one:
        a = one.both(GROUPS["v4"], PORT)
        one.send(a, b"ab", frag=1, dgid=7)
        one.send(a, b"cd", frag=2, dgid=7)
        one.send(a, b"ef", frag=0x83, dgid=7)
        assert outside.recv()[0] == b"abcdef"
        one.send(a, b"ab", frag=1, dgid=8)
        one.send(a, b"cd", frag=0x82, dgid=9)
        assert udp.is_quiet(outside.sock)


def test_unicast(tabi):
    """As UDP ASSOCIATE, but by number: only the remote of the association is heard."""
    program = tabi(config())
    remote, other = udp.udp_socket(), udp.udp_socket()
    with mcast.Client() as one:
        a = one.bind(RECEIVE | SEND | UNICAST, remote.getsockname())
        assert a.flags == RECEIVE | SEND | UNICAST
        one.send(a, b"q")
        data, outside = remote.recvfrom(10)
        assert data == b"q" and outside == a.remote
        other.sendto(b"stranger", outside)
        remote.sendto(b"a", outside)
        assert one.recv(a) == b"a" and one.is_quiet()
        # Denied by the rules for `command udp`.
        assert one.ask(mcast.BIND, SEND | UNICAST, remote=("198.51.100.9", 9)).code == 2
        # This server itself: its listener, and where it listens for datagrams.
        assert one.ask(mcast.BIND, SEND | UNICAST, remote=PROXY).code == 2
        loop = one.bind(SEND | UNICAST, a.local)
        one.send(loop, b"round and round")
        assert one.is_quiet()
        b = one.bind(RECEIVE | SEND | TCP, remote.getsockname())
        one.control.sendall(mcast.encapsulated(b.aid, b"over tcp"))
        data, outside = remote.recvfrom(10)
        remote.sendto(b"back", outside)
        assert data == b"over tcp" and one.recv_data() == (b.aid, b"back")
    assert program.wait_session(command="multicast")["drop-denied"] == "1"


# Leaving.


def test_release(tabi, east, group):
    tabi(config())
    outside = east.member(group, PORT)
    with mcast.Client() as one:
        a = one.both(group, PORT)
        assert memberships(group) == 1
        reply = one.ask(mcast.RELEASE, RECEIVE, aid=a.aid, bare=True)
        assert (reply.code, reply.aid, reply.flags & 3) == (0, a.aid, RECEIVE)
        assert memberships(group) == 0
        send_from(east, group, PORT, b"x")
        one.send(a, b"still")
        assert outside.recv()[0] == b"still"
        assert one.is_quiet()
        # Both bits, though only one is left; then the number is nobody's.
        assert one.ask(mcast.RELEASE, RECEIVE | SEND, aid=a.aid).code == 0
        assert one.ask(mcast.RELEASE, RECEIVE | SEND, aid=a.aid).code == mcast.BAD_AID
        one.send(a, b"gone")
        assert udp.is_quiet(outside.sock)
        one.join(group, PORT)
        assert memberships(group) == 1


@pytest.mark.parametrize("how", ("close", "reset", "malformed"))
def test_end_of_the_connection_leaves_the_groups(tabi, east, group, how):
    program = tabi(config())
    before = program.descriptors()
    one = mcast.Client()
    one.both(group, PORT)
    one.join(group, PORT + 1)
    assert memberships(group) == 2 or ":" in group and memberships(group) == 1
    if how == "close":
        one.control.close()
    elif how == "reset":
        socks.reset(one.control)
    else:
        one.control.sendall(b"\x04")
        assert socks.recv_end(one.control)[0] == b""
    reason = {"close": "done", "reset": "client-reset", "malformed": "malformed"}[how]
    program.wait_session(command="multicast", reason=reason)
    wait_until(lambda: memberships(group) == 0)
    program.wait_descriptors(before)


def test_worker_that_dies(tabi, east, group):
    """The kernel leaves the groups for it; its successor serves."""
    program = tabi(config())
    program.expect_lost_workers = True
    one = mcast.Client()
    one.join(group, PORT)
    os.kill(program.workers()[0], signal.SIGKILL)
    assert socks.recv_end(one.control)[0] == b""
    wait_until(lambda: memberships(group) == 0)
    program.wait_ready(1)
    with mcast.Client() as two:
        a = two.join(group, PORT)
        send_from(east, group, PORT, b"again")
        assert two.recv(a) == b"again"


# What is refused.


@pytest.mark.parametrize(
    "rules, code",
    (
        ("allow to any\n", 2),
        (f"allow to {NETS}\n", 2),
        ("allow command connect,bind,udp,resolve to any,multicast\n", 2),
        ("allow command any to any,multicast\n", 2),
        ("allow user alice command multicast to multicast\nallow from loopback\n"
         "auth password users\nauth none\n", 2),
        (f"deny from loopback\n{RULE}", 2),
    ),
)
def test_multicast_must_be_granted_by_name(tabi, tmp_path, rules, code):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    program = tabi(config(rules))
    assert socks.ask5(PROXY, "0.0.0.0", 0, mcast.MULTICAST) == code
    assert program.wait_session(command="multicast")["reason"] == "denied"


def test_user(tabi, east, tmp_path):
    """Who has proved who he is; the log says him."""
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    rules = "auth password users\n", RULE.replace("allow", "allow user alice")
    program = tabi(config(*rules))
    with mcast.Client(user="alice", password="secret") as one:
        a = one.join(GROUPS["v4"], PORT)
        send_from(east, GROUPS["v4"], PORT, b"x")
        assert one.recv(a) == b"x"
    assert program.wait_for_log(lambda r: r.event == "group")["user"] == "alice"


@pytest.mark.case("O10")
def test_unix_socket_has_no_address_for_datagrams(tabi, tmp_path):
    path = tmp_path / "s"
    tabi(config(RULE, head=HEAD + f"listen {path}\n"))
    assert socks.ask5(path, "0.0.0.0", 0, mcast.MULTICAST) == 7


def test_entry_of_zeros(tabi, east):
    """All fields 0, the address's type too; and messages in the same segment."""
    tabi(config())
    with socks.dial(PROXY) as sock:
        first = mcast.message(mcast.BIND, RECEIVE | GROUP, remote=(GROUPS["v4"], PORT), tid=77)
        sock.sendall(socks.greeting(0) + bytes([5, 4]) + bytes(8) + first + first[:5])
        assert socks.recv_exact(sock, 12) == b"\5\0" + mcast.GRANTED
        kind, size = struct.unpack(">BH", socks.recv_exact(sock, 3))
        reply = mcast.Reply(socks.recv_exact(sock, size - 3))
        assert (kind, reply.code, reply.tid) == (2, 0, 77)
        sock.sendall(first[5:])
        assert socks.recv_exact(sock, 4)[3] == 0


FAR = ("239.1.2.3", PORT)


@pytest.mark.parametrize(
    "code, flags, fields",
    (
        (mcast.NO_RECEIVE, RECEIVE | GROUP, {"remote": ("239.9.9.9", PORT)}),
        (mcast.NO_RECEIVE, RECEIVE | GROUP, {"remote": ("239.1.2.3", 0)}),
        (mcast.NO_SEND, SEND | GROUP, {"remote": ("ff02::1", PORT), "ttl": 1}),
        (mcast.NO_RECEIVE, RECEIVE | SEND | GROUP, {"remote": ("239.9.9.9", PORT), "ttl": 1}),
        (mcast.BAD_GROUP, RECEIVE | GROUP, {"remote": ("127.0.0.1", PORT)}),
        (mcast.BAD_GROUP, RECEIVE | UNICAST, {"remote": FAR}),
        (mcast.BAD_TTL, SEND | GROUP, {"remote": FAR, "ttl": 5}),
        (mcast.BAD_TTL, SEND | GROUP, {"remote": FAR, "ttl": 0}),
        (mcast.BAD_AID, RECEIVE | GROUP, {"remote": FAR, "aid": 0x12345678}),
        (1, GROUP, {"remote": FAR}),
        (1, RECEIVE, {"remote": FAR}),
        (1, RECEIVE | GROUP | UNICAST | TCP, {"remote": FAR}),
        (1, RECEIVE | GROUP | TCP | MM, {"remote": FAR}),
        (1, RECEIVE | GROUP, {"remote": FAR, "bare": True}),
        (8, RECEIVE | GROUP, {"remote": ("tv.test", PORT)}),
        (1, RECEIVE | GROUP, {"remote": ("bad name", PORT)}),
        (2, SEND | UNICAST, {"remote": ("0.0.0.0", 53)}),
        (2, SEND | UNICAST, {"remote": ("255.255.255.255", 53)}),
        (2, SEND | UNICAST, {"remote": ("127.0.0.1", 0)}),
    ),
)
def test_refused_bind(tabi, east, code, flags, fields):
    """With a code and zeros; the connection goes on."""
    tabi(config())
    with mcast.Client() as one:
        reply = one.ask(mcast.BIND, flags, **fields)
        assert (reply.code, reply.flags, reply.aid) == (code, 0, 0)
        assert reply.local == reply.remote == mcast.NOBODY
        one.join(*FAR)


def test_flags_of_a_refusal_say_what_is_possible(tabi, east):
    tabi(config())
    with mcast.Client() as one:
        reply = one.ask(mcast.BIND, RECEIVE | SEND | GROUP, remote=FAR, ttl=9)
        assert (reply.code, reply.flags, reply.aid) == (mcast.BAD_TTL, RECEIVE | GROUP | MU, 0)
        assert memberships(FAR[0]) == 0
        # The other mode is a wish and no more.
        assert one.join(*FAR, aid=0).flags == RECEIVE | GROUP | MU
        assert one.bind(RECEIVE | GROUP | MM, FAR).flags == RECEIVE | GROUP | MU


def test_bad_context(tabi, east):
    tabi(config())
    with mcast.Client() as one, mcast.Client() as two:
        a = one.join(*FAR)
        for flags, remote in (
            (RECEIVE | GROUP, ("239.1.2.4", PORT)),
            (RECEIVE | GROUP, (FAR[0], PORT + 1)),
            (RECEIVE | GROUP | TCP, FAR),
            (SEND | UNICAST, ("127.0.0.1", PORT)),
        ):
            assert one.ask(mcast.BIND, flags, remote=remote, aid=a.aid).code == mcast.BAD_CONTEXT
        assert one.ask(mcast.SET_TTL, 0, aid=a.aid, ttl=1).code == mcast.BAD_CONTEXT
        assert one.ask(mcast.RELEASE, SEND, aid=a.aid).code == mcast.BAD_CONTEXT
        assert one.ask(mcast.RELEASE, 0, aid=a.aid).code == mcast.BAD_CONTEXT
        assert one.ask(9, 0).code == 7
        # Another's number is as unknown as any.
        assert two.ask(mcast.RELEASE, RECEIVE, aid=a.aid).code == mcast.BAD_AID
        assert two.ask(mcast.SET_TTL, 0, aid=a.aid, ttl=1).code == mcast.BAD_AID


def test_interface_that_is_not_there(tabi, east):
    program = tabi(config(RULE.replace("east", "north")))
    with mcast.Client() as one:
        for _ in range(2):
            assert one.ask(mcast.BIND, RECEIVE | GROUP, remote=FAR).code == 3
    end(program, one)
    assert program.log().count("no interface north") == 1


def test_bounds(tabi, east):
    """So many associations of one connection and no more; released ones make room."""
    program = tabi(config())
    before = program.descriptors()
    with mcast.Client() as one:
        joined = [one.both("239.1.2.3", 6000 + i) for i in range(32)]
        assert len({a.aid for a in joined}) == 32
        assert one.ask(mcast.BIND, RECEIVE | GROUP, remote=FAR).code == 1
        assert one.ask(mcast.RELEASE, RECEIVE | SEND, aid=joined[7].aid).code == 0
        one.join(*FAR)
    program.wait_descriptors(before)


def test_groups_of_a_worker(tabi, east):
    """1024, whoever joined them; and then one for each that is left."""
    tabi(config(RULE, UDP))
    clients = [mcast.Client() for _ in range(33)]
    joined = [c.join("239.1.2.3", 6000 + i) for c in clients[:32] for i in range(32)]
    last = clients[32]
    assert last.ask(mcast.BIND, RECEIVE | GROUP, remote=FAR).code == 1
    sends = last.bind(SEND | GROUP, FAR, ttl=1)
    assert clients[0].ask(mcast.RELEASE, RECEIVE, aid=joined[0].aid).code == 0
    last.join(*FAR, aid=sends.aid)
    assert last.ask(mcast.BIND, RECEIVE | GROUP, remote=FAR).code == 1
    for client in clients:
        client.close()


def test_group_of_one_link(tabi, east):
    """Its address means something on an interface only."""
    tabi(config("allow command multicast to ff12::/16 ttl 1 interface east\n"))
    outside = east.member("ff12::1:3", PORT)
    with mcast.Client() as one, mcast.Client() as two:
        a, b = one.both("ff12::1:3", PORT), two.both("ff12::1:3", PORT)
        one.send(a, b"x")
        assert outside.recv()[:2] == (b"x", 1)
        assert two.recv(b) == b"x" and one.is_quiet()


# Strangers, and garbage.


def test_strangers_pass_nowhere(tabi, east, group):
    program = tabi(config())
    outside = east.member(group, PORT)
    one = mcast.Client()
    a = one.both(group, PORT)
    stranger, port = udp.udp_socket("127.0.0.9"), udp.udp_socket("127.0.0.1")
    for _ in range(20):
        stranger.sendto(mcast.packet(a.aid, b"theirs"), a.local)
    one.send(a, b"mine")
    assert outside.recv()[0] == b"mine"
    # Another port of the client's host, which knows the number; and one that does not.
    port.sendto(mcast.packet(a.aid, b"theirs"), a.local)
    one.sock.sendto(mcast.packet(a.aid ^ 1, b"none"), a.local)
    one.sock.sendto(b"\0\0\0\0\0\0\0", a.local)
    # An answer to the socket that sends.
    send_from(east, group, PORT, b"in")
    assert one.recv(a) == b"in"
    assert udp.is_quiet(outside.sock) and udp.is_quiet(stranger) and udp.is_quiet(port)
    record = end(program, one)
    assert record["drop-stranger"] == "20"
    assert record["drop-association"] == "2" and record["drop-malformed"] == "1"


def test_answer_to_the_sending_socket_is_not_heard(tabi, east):
    program = tabi(config())
    outside = east.member(GROUPS["v4"], PORT)
    one = mcast.Client()
    a = one.both(GROUPS["v4"], PORT)
    one.send(a, b"who?")
    _, _, sender = outside.recv()
    outside.sock.sendto(b"me", sender)
    assert one.is_quiet()
    assert end(program, one)["drop-unasked"] == "1"


def test_client_behind_nat(tabi, east):
    """It names the port that it has; datagrams come from another, which is then the one."""
    tabi(config())
    with mcast.Client() as one:
        a = one.join(GROUPS["v4"], PORT, local=("10.1.2.3", 4444))
        one.send(a, b"")
        one.send(one.join(GROUPS["v4"], PORT + 1), b"")
        wait_until(lambda: hears(one, east, a))


def hears(client, link, reply):
    send_from(link, *reply.remote, b"x")
    return not client.is_quiet(0.05)


@pytest.mark.case("O11")
@pytest.mark.parametrize(
    "raw",
    (
        b"\1\0\x0c" + bytes(9),  # SIZE 12
        b"\1\0\0",
        b"\3\0\6",
        b"\2\0\x0d" + bytes(10),  # a reply, from a client
        b"\0",
        b"\5\1\0\1",
        b"\1\xff\xff",
        b"\1\2\x1a",  # one more than the longest
    ),
)
def test_where_a_message_begins_is_lost(tabi, east, raw):
    program = tabi(config())
    one = mcast.Client()
    one.join(*FAR)
    one.control.sendall(raw)
    assert socks.recv_end(one.control)[0] == b""
    program.wait_session(command="multicast", reason="malformed")
    assert memberships(FAR[0]) == 0


def test_garbage_in_ten_thousand_messages(tabi, east):
    """Whatever is in them, each is answered, and the server stays as it was."""
    program = tabi(config(RULE, UDP, "deny all\n"))
    before = program.descriptors()
    rng = random.Random(1)
    one = mcast.Client()
    codes = set()
    for _ in range(20):
        batch = []
        for tid in range(500):
            body = bytearray(rng.randbytes(rng.choice((10, 12, 24, 30, 48))))
            if rng.random() < 0.7:
                body[0] = rng.choice((5, 6, 7))
            if rng.random() < 0.7:
                body[1:3] = struct.pack(">H", rng.choice((1, 2, 3, 17, 18, 19, 5, 9, 25)))
            body[4:6] = struct.pack(">H", tid)
            if rng.random() < 0.5:
                body[6:10] = bytes(4)
            if len(body) == 24:
                body[10:] = mcast.address("0.0.0.0", 0) + mcast.address(
                    rng.choice(("239.1.2.3", "127.0.0.1", "10.0.0.1")), rng.randrange(65536))
            batch.append(struct.pack(">BH", 1, 3 + len(body)) + bytes(body))
        one.control.sendall(b"".join(batch))
        for tid in range(500):
            reply = one.recv_reply()
            assert reply.tid == tid
            codes.add(reply.code)
    assert {0, 1, 2, 7, 8, 10, 14, 15} <= codes
    end(program, one, reason="done")
    program.wait_descriptors(before)
    with mcast.Client() as two:
        two.join(*FAR)


@pytest.mark.slow
@pytest.mark.skipif(SANITIZED, reason="a sanitizer wants to be the first library")
def test_idle(tabi, east, fast_clock):
    """Nothing for `timeout udp`, and it is over; what is heard keeps it alive."""
    program = tabi(config(head=HEAD + "timeout udp 2m\n"), env=fast_clock)
    busy, idle = mcast.Client(), mcast.Client()
    a = busy.join(*FAR)
    idle.join("239.1.2.4", PORT)
    ended = None
    began = time.monotonic()
    while time.monotonic() < began + 6:
        send_from(east, *FAR, b"x")
        assert busy.recv(a) == b"x"
        if select.select([idle.control], [], [], 0.1)[0] and ended is None:
            assert socks.recv_end(idle.control) == (b"", "eof")
            ended = time.monotonic() - began
            idle.control = socket.socket()
    assert 1.9 < ended < 4.5, f"{ended} minutes"
    assert program.wait_session(command="multicast")["reason"] == "idle"
    assert memberships("239.1.2.4") == 0 and memberships(FAR[0]) == 1
    busy.close()


def test_rate(tabi, east):
    """Of the rule, in either direction; for unicast that of the rule for `command udp`."""
    rule = RULE.replace("interface", "rate 8kbyte interface")
    program = tabi(config(rule, UDP.replace("\n", " rate 8kbyte\n")))
    remote = udp.udp_socket()
    with mcast.Client() as one:
        # Over the connection nothing is lost on the way to the server.
        a = one.bind(SEND | GROUP | TCP, FAR, ttl=1)
        b = one.bind(SEND | TCP, remote.getsockname())
        for reply in (a, b):
            one.control.sendall(mcast.encapsulated(reply.aid, bytes(4000)) * 60)
        c = one.join(*FAR)
        for _ in range(60):
            send_from(east, *FAR, bytes(1400))
        while not one.is_quiet():
            pass
        assert one.ask(mcast.RELEASE, RECEIVE, aid=c.aid).code == 0
    record = program.wait_session(command="multicast")
    # A full bucket is 65,535 bytes.
    assert 2 * 16 <= int(record["packets-up"]) <= 2 * 22
    assert 40 <= int(record["packets-down"]) <= 58
    assert int(record["drop-rate"]) >= 80


def test_ordinary_commands_go_on(tabi, east):
    """UDP ASSOCIATE beside it, and members that are not ours."""
    tabi(config(RULE, f"allow command udp to {NETS} interface east\n", UDP))
    local = segment.Member(FAR[0], PORT, "east")
    with mcast.Client() as one, udp.Association() as two:
        a = one.both(*FAR)
        two.send(*FAR, b"by association")
        assert one.recv(a) == b"by association" and local.recv()[0] == b"by association"
        one.send(a, b"by mode")
        assert local.recv()[0] == b"by mode"
        assert two.is_quiet()
