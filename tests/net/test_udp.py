# SPDX-License-Identifier: MIT
"""UDP ASSOCIATE: who may send, where to, what comes back, and what is left behind."""

import os
import resource
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import dns, netns, socks, udp
from harness.config import LOCAL, PROXY, local
from harness.tabi import SANITIZED, check_memory, run, wait_until

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

LONGEST = 65507


def end(program, association, **fields):
    """The session's line after its client has gone."""
    association.close()
    return program.wait_session(command="udp", **fields)


# Example B3, and what must come across unharmed.


@pytest.mark.parametrize("proxy", (PROXY, ("::1", 1080)), ids=("v4", "v6"))
@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
@pytest.mark.case("U20")
def test_there_and_back(tabi, echo, proxy, host):
    echo(host)
    program = tabi(LOCAL)
    one = udp.Association(proxy)
    assert one.relay[0] == proxy[0]
    assert one.ask(host, 7000, b"q") == (host, 7000)
    record = end(program, one, reason="done")
    assert record["packets-up"] == record["packets-down"] == "1"
    assert record["up"] == record["down"] == "1"
    assert not [name for name in record if name.startswith("drop-")]


@pytest.mark.case("U14")
def test_empty_payload(tabi, echo):
    seen = echo()
    tabi(LOCAL)
    with udp.Association() as one:
        assert one.ask("127.0.0.1", 7000, b"") == ("127.0.0.1", 7000)
    assert [data for data, _ in seen.seen] == [b""]


@pytest.mark.case("U15")
@pytest.mark.parametrize("host", ("127.0.0.1", "::1", "echo.test"))
def test_longest(tabi, echo, dns_server, host):
    """The longest datagram that a client can send is relayed whole, and its answer comes back."""
    dns_server({"echo.test": ["127.0.0.1"]})
    echo("::1" if host == "::1" else "127.0.0.1")
    tabi(LOCAL)
    with udp.Association() as one:
        room = LONGEST - len(udp.datagram(host, 7000, b""))
        data = bytes(i & 0xFF for i in range(min(room, LONGEST - 22)))
        one.ask(host, 7000, data)


@pytest.mark.case("U15")
def test_too_long_for_the_way_back_is_dropped_whole(tabi):
    """A remote may send 65,507 bytes, and with the header in front that is too long for IPv4."""
    program = tabi(LOCAL)
    remote = udp.udp_socket()
    one = udp.Association()
    one.send("127.0.0.1", remote.getsockname()[1], b"x")
    _, outside = remote.recvfrom(10)
    remote.sendto(b"a" * LONGEST, outside)
    remote.sendto(b"behind", outside)
    assert one.recv()[1] == b"behind"
    assert end(program, one)["drop-size"] == "1"


@pytest.mark.case("U15")
def test_longest_over_ipv6_both_ways(tabi):
    """Over IPv6 there is room for the header beside 65,505 bytes of payload."""
    tabi(LOCAL)
    remote = udp.udp_socket("::1")
    with udp.Association(("::1", 1080)) as one:
        data = b"z" * (65527 - 22)
        one.send("::1", remote.getsockname()[1], data)
        got, outside = remote.recvfrom(65536)
        assert got == data
        remote.sendto(data, outside)
        assert one.recv()[1] == data


def test_one_port_outside_for_all_remotes(tabi):
    """Endpoint-independent mapping, RFC 4787 REQ-1."""
    tabi(LOCAL)
    remotes = [udp.udp_socket(f"127.0.0.{i}") for i in range(1, 6)]
    with udp.Association() as one:
        seen = set()
        for remote in remotes:
            one.send(*remote.getsockname(), b"x")
            seen.add(remote.recvfrom(10)[1][1])
        assert len(seen) == 1


# Who may send.


@pytest.mark.case("U1", "U32")
@pytest.mark.parametrize("declared", (("0.0.0.0", 0), ("127.0.0.1", 5555)), ids=("zeros", "own"))
def test_stranger_neither_passes_nor_claims(tabi, echo, declared):
    """A thousand of a stranger's lie in the queue before the client's first."""
    seen = echo()
    program = tabi(LOCAL)
    one = udp.Association(declared=declared)
    stranger = udp.udp_socket("127.0.0.9")
    for _ in range(100):
        stranger.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), one.relay)
    one.ask("127.0.0.1", 7000, b"mine")
    stranger.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), one.relay)
    one.ask("127.0.0.1", 7000, b"mine")
    assert udp.is_quiet(stranger)
    assert {data for data, _ in seen.seen} == {b"mine"}
    assert end(program, one)["drop-stranger"] == "101"


@pytest.mark.case("U2")
def test_another_port_of_the_client(tabi, echo):
    seen = echo()
    program = tabi(LOCAL)
    one = udp.Association()
    one.ask("127.0.0.1", 7000, b"first")
    other = udp.udp_socket()
    other.sendto(udp.datagram("127.0.0.1", 7000, b"second"), one.relay)
    one.ask("127.0.0.1", 7000, b"third")
    assert [data for data, _ in seen.seen] == [b"first", b"third"]
    assert end(program, one)["drop-stranger"] == "1"


def test_declared_port_goes_before_the_one_first_seen(tabi, echo):
    """Somebody else at the client's address was first; the port that was declared takes over."""
    echo()
    program = tabi(LOCAL)
    mine = udp.udp_socket()
    one = udp.Association(declared=mine.getsockname())
    theirs, one.sock = one.sock, mine
    theirs.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), one.relay)
    assert udp.parse(theirs.recv(100))[1] == b"theirs"
    one.ask("127.0.0.1", 7000, b"mine")
    theirs.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), one.relay)
    assert udp.is_quiet(theirs) and one.is_quiet()
    assert end(program, one)["drop-stranger"] == "1"


@pytest.mark.case("U3")
def test_private_address_of_a_client_behind_nat(tabi, echo):
    echo()
    tabi(LOCAL)
    for declared in (("10.1.2.3", 5555), ("client.test", 5555), ("2001:db8::1", 5555),
                     (b"0", 5555), (b"", 0)):
        with udp.Association(declared=declared) as one:
            one.ask("127.0.0.1", 7000, b"x")


@pytest.mark.case("U31")
def test_two_associations_of_one_client(tabi, echo):
    echo()
    tabi(LOCAL)
    with udp.Association() as a, udp.Association() as b:
        assert a.relay != b.relay
        a.send("127.0.0.1", 7000, b"for a")
        b.send("127.0.0.1", 7000, b"for b")
        assert a.recv()[1] == b"for a" and b.recv()[1] == b"for b"
        assert a.is_quiet() and b.is_quiet()


# Who may answer.


@pytest.mark.case("U27")
def test_unasked_is_dropped(tabi, echo):
    """Default filter: neither a stranger nor another port of an address that was sent to."""
    seen = echo()
    program = tabi(LOCAL)
    one = udp.Association()
    one.ask("127.0.0.1", 7000, b"x")
    outside = seen.seen[0][1]
    for host in ("127.0.0.1", "127.0.0.9"):
        udp.udp_socket(host).sendto(b"unasked", outside)
    one.ask("127.0.0.1", 7000, b"y")
    assert one.is_quiet()
    assert end(program, one)["drop-unasked"] == "2"


@pytest.mark.case("U27")
@pytest.mark.parametrize(
    "word, same_address, stranger",
    (("address-port", False, False), ("address", True, False), ("endpoint-independent", True, True)),
)
def test_filter(tabi, word, same_address, stranger):
    tabi(LOCAL.replace("to any", f"to any filter {word}"))
    remote, port, other = (udp.udp_socket(h) for h in ("127.0.0.1", "127.0.0.1", "127.0.0.9"))
    with udp.Association() as one:
        one.send(*remote.getsockname(), b"x")
        _, outside = remote.recvfrom(10)
        for sock, heard in ((port, same_address), (other, stranger)):
            sock.sendto(b"unasked", outside)
            if heard:
                assert one.recv() == (sock.getsockname(), b"unasked")
        remote.sendto(b"asked", outside)
        assert one.recv() == (remote.getsockname(), b"asked")
        assert one.is_quiet()


def test_filter_never_opens_what_is_denied(tabi):
    """Whom the client may not send to is not heard either."""
    conf = LOCAL.replace("to any", "to any filter endpoint-independent")
    tabi(conf.replace("allow", "deny to 127.0.0.9\nallow"))
    remote, denied = udp.udp_socket(), udp.udp_socket("127.0.0.9")
    with udp.Association() as one:
        one.send(*remote.getsockname(), b"x")
        _, outside = remote.recvfrom(10)
        denied.sendto(b"unasked", outside)
        remote.sendto(b"asked", outside)
        assert one.recv()[1] == b"asked"
        assert one.is_quiet()


def test_strangers_do_not_fill_the_log(tabi):
    """A rule that logs its decisions logs those about the client's datagrams, not about theirs."""
    program = tabi(LOCAL.replace("to any", "to any filter endpoint-independent log"))
    remote = udp.udp_socket()
    one = udp.Association()
    one.send(*remote.getsockname(), b"x")
    _, outside = remote.recvfrom(10)
    for i in range(2, 20):
        with udp.udp_socket(f"127.0.0.{i}") as stranger:
            stranger.sendto(b"unasked", outside)
            assert one.recv() == (stranger.getsockname(), b"unasked")
    end(program, one)
    assert program.log().count(" decision ") == 1


def test_nothing_is_sent_to_a_client_that_was_not_heard(tabi):
    """The client's port is unknown until it has sent something, so nothing can be sent there."""
    program = tabi(LOCAL)
    one = udp.Association(declared=("127.0.0.1", 5555))
    with udp.udp_socket("127.0.0.1", 5555) as silent:
        udp.udp_socket("127.0.0.9").sendto(b"x", one.relay)
        assert udp.is_quiet(silent)
    assert end(program, one)["packets-down"] == "0"


# Where to.


@pytest.mark.parametrize("host", ("127.0.0.1", "echo.test", b"127.0.0.1"))
def test_denied_target(tabi, echo, dns_server, host):
    dns_server({"echo.test": ["127.0.0.1"]})
    seen = echo()
    echo("127.0.0.1", 7001)
    program = tabi(local("deny port 7000"))
    one = udp.Association()
    one.send(host, 7000, b"x")
    one.ask(host, 7001, b"y")
    assert not seen.seen
    assert end(program, one)["drop-denied"] == "1"


def test_name_is_judged_again_with_its_addresses(tabi, echo, dns_server):
    """A name cannot smuggle in an address; of its addresses those denied are skipped."""
    dns_server({"bad.test": ["127.0.0.9"], "mixed.test": ["127.0.0.9", "127.0.0.1"]})
    seen = echo("127.0.0.9")
    echo("127.0.0.1")
    program = tabi(local("deny to 127.0.0.9"))
    one = udp.Association()
    one.send("bad.test", 7000, b"x")
    assert one.ask("mixed.test", 7000, b"y") == ("127.0.0.1", 7000)
    assert not seen.seen
    assert end(program, one)["drop-denied"] == "1"


def test_name_allowed_where_its_address_is_not(tabi, echo, dns_server):
    dns_server({"echo.test": ["127.0.0.1"]})
    echo()
    program = tabi(LOCAL.replace("to any", "to echo.test"))
    one = udp.Association()
    one.send("127.0.0.1", 7000, b"x")
    one.ask("echo.test", 7000, b"y")
    one.send("127.0.0.1", 7000, b"z")
    assert one.is_quiet()
    record = end(program, one)
    assert record["drop-denied"] == "2" and record["packets-up"] == "1"


def test_command_udp(tabi, echo):
    """The rules say who may associate at all, before any target is known."""
    echo()
    program = tabi(local("deny command udp"))
    assert socks.ask5(PROXY, "0.0.0.0", 0, socks.UDP) == 2
    assert program.wait_session(command="udp")["reason"] == "denied"


def test_command_udp_alone(tabi, echo):
    echo()
    tabi(LOCAL.replace("to any", "command udp to any port 7000"))
    with udp.Association() as one:
        one.ask("127.0.0.1", 7000, b"x")
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 2


def test_rule_with_a_user(tabi, echo, tmp_path):
    echo()
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    conf = LOCAL.replace("allow from loopback", "auth password users\nallow user alice")
    program = tabi(conf)
    one = udp.Association(user="alice", password="secret")
    one.ask("127.0.0.1", 7000, b"x")
    record = end(program, one)
    assert record["user"] == "alice" and record["verdict"] == "allow"


@pytest.mark.case("U28")
@pytest.mark.parametrize("form", ("listener", "mapped", "name", "relay", "other relay", "outside"))
def test_ourselves(tabi, dns_server, form):
    """Neither our listeners nor a relay of ours can be reached through a relay."""
    dns_server({"us.test": ["127.0.0.1"], "echo.test": ["127.0.0.1"]})
    program = tabi(LOCAL.replace("workers 1", "workers 2"))
    remote = udp.udp_socket()
    others = [udp.Association() for _ in range(8)]  # of both workers
    for other in others[:4]:
        other.send(*remote.getsockname(), b"x")
    outside = [remote.recvfrom(10)[1][1] for _ in others[:4]]
    one = udp.Association()
    targets = {
        "listener": [("127.0.0.1", 1080), ("127.0.0.77", 1080), ("::1", 1080)],
        "mapped": [("::ffff:127.0.0.1", 1080), ("::ffff:127.0.0.1", others[0].relay[1])],
        "name": [("us.test", 1080), ("us.test", others[0].relay[1])],
        "relay": [one.relay],
        "other relay": [other.relay for other in others],
        "outside": [("127.0.0.1", port) for port in outside],
    }[form]
    for target in targets:
        one.send(*target, udp.datagram(*remote.getsockname(), b"loop"))
    one.send("us.test" if form == "name" else "127.0.0.1", remote.getsockname()[1], b"end")
    assert remote.recvfrom(100)[0] == b"end"
    record = end(program, one, **{"packets-up": 1})
    assert record["drop-denied"] == str(len(targets))
    for other in others:
        assert other.is_quiet(0.01)
        other.close()


@pytest.mark.case("U28")
def test_relay_that_comes_later(tabi, echo):
    """A port that was nobody's when it was judged becomes a relay's."""
    echo()
    program = tabi(local("udp-ports 20000-20001"))
    one = udp.Association()
    free = 20000 + 20001 - one.relay[1]
    one.send("127.0.0.1", free, b"nobody is there")
    one.ask("127.0.0.1", 7000, b"and that is decided now")
    two = udp.Association()
    assert two.relay[1] == free
    one.send("127.0.0.1", free, udp.datagram("127.0.0.1", 7000, b"loop"))
    # What one sends is taken in order: with this answer the one before has been judged.
    one.ask("127.0.0.1", 7000, b"while the other is there")
    two.close()
    program.wait_session(command="udp")
    one.close()
    record = program.wait_session(2, command="udp")
    assert record["packets-up"] == "3" and record["drop-denied"] == "1"


def test_ports_of_a_dead_worker_are_nobodys(tabi, echo):
    """What was a relay of a worker that died is an ordinary port again."""
    program = tabi(local("timeout drain 100ms"))
    program.expect_lost_workers = True
    lost = udp.Association()
    (worker,) = program.workers()
    os.kill(worker, signal.SIGKILL)
    program.wait_text("was killed")
    wait_until(lambda: program.workers() not in ([], [worker]))
    echo("127.0.0.1", lost.relay[1])
    with udp.Association() as one:
        one.ask("127.0.0.1", lost.relay[1], b"x")
    lost.close()


@pytest.mark.case("U29")
@pytest.mark.parametrize(
    "host", ("224.0.0.251", "ff02::fb", "255.255.255.255", "0.0.0.0", "::", "127.255.255.255")
)
def test_nobody_and_everybody(tabi, echo, host):
    seen = echo("127.0.0.1")
    program = tabi(LOCAL)
    one = udp.Association()
    one.send(host, 7000, b"x")
    one.ask("127.0.0.1", 7000, b"y")
    assert len(seen.seen) == 1
    record = end(program, one)
    assert int(record.get("drop-denied", 0)) + int(record.get("drop-error", 0)) == 1


@pytest.mark.case("U19")
def test_mapped_address_is_ipv4(tabi, echo):
    echo("127.0.0.1")
    tabi(LOCAL)
    with udp.Association() as one:
        raw = b"\0\0\0\4" + bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1")
        one.send_raw(raw + struct.pack(">H", 7000) + b"x")
        assert one.recv() == (("127.0.0.1", 7000), b"x")


@pytest.mark.case("U26")
def test_closed_port(tabi, echo):
    """ICMP says that nobody is there; the association goes on and the client hears nothing."""
    echo()
    tabi(LOCAL)
    with udp.Association() as one:
        for _ in range(20):
            one.send("127.0.0.1", 7999, b"x")
            one.send("::1", 7999, b"x")
        one.ask("127.0.0.1", 7000, b"y")
        assert one.is_quiet()


def test_port_zero(tabi, echo):
    echo()
    program = tabi(LOCAL)
    one = udp.Association()
    one.send("127.0.0.1", 0, b"x")
    one.ask("127.0.0.1", 7000, b"y")
    assert end(program, one)["drop-denied"] == "1"


# Names.


@pytest.mark.case("U17", "U18")
def test_names(tabi, echo, dns_server):
    server = dns_server({"echo.test": ["127.0.0.1"], "six.test": ["::1"], "gone.test": dns.NXDOMAIN})
    echo("127.0.0.1")
    echo("::1")
    program = tabi(LOCAL)
    one = udp.Association()
    assert one.ask("echo.test", 7000, b"a") == ("127.0.0.1", 7000)
    assert one.ask("six.test", 7000, b"b") == ("::1", 7000)
    assert one.ask(b"127.0.0.1", 7000, b"literal") == ("127.0.0.1", 7000)
    assert one.ask(b"[::1]", 7000, b"literal") == ("::1", 7000)
    one.send("gone.test", 7000, b"c")
    one.send(b"", 7000, b"d")
    one.send(b"a\0b", 7000, b"e")
    one.send(b"0x7f.1", 7000, b"f")
    asked = server.count("echo.test")
    for i in range(50):
        one.ask("echo.test", 7000, b"%d" % i)
    assert server.count("echo.test") == asked, "once is enough"
    record = end(program, one)
    assert record["drop-name"] == "1" and record["drop-malformed"] == "3"


def test_queue_of_a_name(tabi, echo, dns_server):
    """Sixteen wait for the answer, in order; and nobody else waits."""
    server = dns_server({"slow.test": ["127.0.0.1"], "echo.test": ["127.0.0.1"]})
    server.hold("slow.test")
    seen = echo()
    program = tabi(LOCAL)
    one = udp.Association()
    for i in range(20):
        one.send("slow.test", 7000, b"%d" % i)
    server.wait_asked("slow.test")
    one.ask("127.0.0.1", 7000, b"by address")
    one.ask("echo.test", 7000, b"another name")
    server.release("slow.test")
    assert [one.recv()[1] for _ in range(16)] == [b"%d" % i for i in range(16)]
    assert one.is_quiet()
    assert len(seen.seen) == 18
    assert end(program, one)["drop-name"] == "4"


def test_end_while_names_are_looked_up(tabi, echo, dns_server):
    echo()
    names = {f"n{i}.test": ["127.0.0.1"] for i in range(40)}
    server = dns_server(names)
    for name in names:
        server.hold(name)
    program = tabi(LOCAL)
    one = udp.Association()
    for name in names:
        one.send(name, 7000, b"x")
    server.wait_names(32)
    record = end(program, one)
    assert record["drop-name"] == "40", "thirty-two of them while they waited"
    for name in names:
        server.release(name)
    with udp.Association() as one:
        assert one.ask("n39.test", 7000, b"y") == ("127.0.0.1", 7000)


# Headers and fragments.


@pytest.mark.case("U13", "U16")
def test_headers(tabi, echo):
    echo()
    program = tabi(LOCAL)
    one = udp.Association()
    whole = udp.datagram("127.0.0.1", 7000, b"")
    for n in range(len(whole)):
        one.send_raw(whole[:n])
    one.send_raw(b"\0\0\0\3\xffshort")
    one.send_raw(b"\0\0\0\2abcd\0\0")
    one.send("127.0.0.1", 7000, b"rsv", rsv=b"\xff\xff")
    assert one.recv()[1] == b"rsv"
    assert end(program, one)["drop-malformed"] == str(len(whole) + 2)


@pytest.mark.parametrize(
    "pieces, out",
    (
        pytest.param("1 82", [b"182"], marks=pytest.mark.case("U5")),
        pytest.param("1 3 82", [], marks=pytest.mark.case("U6")),
        pytest.param("1 2 1 82", [b"182"], marks=pytest.mark.case("U7")),
        pytest.param("1 0 82", [b"0"], marks=pytest.mark.case("U9")),
        pytest.param("81", [b"81"], marks=pytest.mark.case("U10")),
        pytest.param("1 !82", [], marks=pytest.mark.case("U11")),
        pytest.param("80", [], marks=pytest.mark.case("U12")),
    ),
)
def test_fragments(tabi, echo, pieces, out):
    echo()
    program = tabi(LOCAL)
    one = udp.Association()
    for piece in pieces.split():
        frag = piece.lstrip("!")
        host = "127.0.0.9" if piece != frag else "127.0.0.1"
        one.send(host, 7000, frag.encode(), frag=int(frag, 16))
    one.send("127.0.0.1", 7000, b"end")
    got = [one.recv()[1] for _ in out]
    assert got == out and one.recv()[1] == b"end"
    assert one.is_quiet()
    record = end(program, one)
    sent = len(pieces.split()) - sum(2 if data == b"182" else 1 for data in out)
    assert int(record.get("drop-fragment", 0)) == sent


def test_longest_of_fragments(tabi):
    tabi(LOCAL)
    remote = udp.udp_socket()
    with udp.Association() as one:
        for i in range(1, 67):
            n = 1000 if i < 66 else LONGEST - 65 * 1000
            one.send(*remote.getsockname(), b"%c" % i * n, frag=i | (0x80 if i == 66 else 0))
        data, _ = remote.recvfrom(65536)
        assert len(data) == LONGEST and data[64000] == 65


@pytest.mark.case("U8")
def test_fragment_that_comes_too_late(tabi, echo):
    echo()
    program = tabi(LOCAL)
    one = udp.Association()
    one.send("127.0.0.1", 7000, b"a", frag=1)
    time.sleep(6)
    one.send("127.0.0.1", 7000, b"b", frag=0x82)
    one.ask("127.0.0.1", 7000, b"end")
    assert end(program, one)["drop-fragment"] == "2"


@pytest.mark.case("U4")
def test_fragments_off(tabi, echo):
    seen = echo()
    program = tabi(local("fragments off"))
    one = udp.Association()
    for frag in (1, 0x82, 0x81):
        one.send("127.0.0.1", 7000, b"x", frag=frag)
    one.ask("127.0.0.1", 7000, b"end")
    assert len(seen.seen) == 1
    assert end(program, one)["drop-fragment"] == "3"


# Where the client is to send.


@pytest.mark.case("U23")
@pytest.mark.parametrize("host", ("127.0.0.2", "192.0.2.7", "2001:db8::7"))
def test_multi_homed(tabi, echo, host):
    """The relay is at the address that the client connected to, and answers from there."""
    if not host.startswith("127"):
        netns.add_address(host)
    echo("::1" if ":" in host else "127.0.0.1")
    conf = LOCAL.replace("127.0.0.1:1080", "*:1080 open").replace("listen [::1]:1080\n", "")
    tabi(conf.replace("from loopback", "from any"))
    with udp.Association((host, 1080)) as one:
        assert one.relay[0] == host
        one.ask("::1" if ":" in host else "127.0.0.1", 7000, b"x")


def test_no_wildcard_socket_toward_clients(tabi):
    """Nothing that a stranger could send to at another address of this host."""
    tabi(LOCAL)
    with udp.Association() as one:
        with open("/proc/net/udp") as f:
            bound = {line.split()[1] for line in f.readlines()[1:]}
        assert "0100007F:%04X" % one.relay[1] in bound
        assert "00000000:%04X" % one.relay[1] not in bound


def test_advertised_address(tabi, echo):
    echo()
    conf = LOCAL.replace("127.0.0.1:1080", "127.0.0.1:1080 advertise 203.0.113.7,2001:db8::7")
    tabi(conf)
    with udp.Association() as one:
        assert one.relay[0] == "203.0.113.7"
        one.relay = ("127.0.0.1", one.relay[1])
        one.ask("127.0.0.1", 7000, b"x")
    with udp.Association(("::1", 1080)) as one:
        assert one.relay[0] == "::1"


def test_port_range(tabi, echo):
    echo()
    program = tabi(local("udp-ports 20000-20003"))
    held = [udp.Association() for _ in range(4)]
    assert {one.relay[1] for one in held} == {20000, 20001, 20002, 20003}
    assert socks.ask5(PROXY, "0.0.0.0", 0, socks.UDP) == 1
    assert program.wait_session(reason="unavailable")
    for one in held:
        one.ask("127.0.0.1", 7000, b"x")
    held.pop().close()
    program.wait_session(reason="done")
    held.append(udp.Association())
    for one in held:
        one.close()


@pytest.mark.case("U30")
def test_unix_socket_has_no_address_for_datagrams(tabi, tmp_path):
    path = tmp_path / "sock"
    tabi(LOCAL + f"listen {path}\n")
    assert socks.ask5(path, "0.0.0.0", 0, socks.UDP) == 7


def test_other_protocols_know_no_udp(tabi):
    tabi(LOCAL)
    assert socks.ask4(PROXY, "127.0.0.1", 7000, command=3) == 91


# Its life.


@pytest.mark.case("U21")
@pytest.mark.parametrize("how", ("close", "shutdown", "reset"))
def test_ends_with_its_connection(tabi, echo, how):
    seen = echo()
    program = tabi(LOCAL)
    idle = program.descriptors()
    one = udp.Association()
    one.ask("127.0.0.1", 7000, b"x")
    one.send("::1", 7000, b"x")
    started = time.monotonic()
    if how == "reset":
        socks.reset(one.control)
    elif how == "shutdown":
        one.control.shutdown(socket.SHUT_WR)
        assert socks.recv_end(one.control) == (b"", "eof")
    else:
        one.control.close()
    program.wait_descriptors(idle)
    assert time.monotonic() - started < 1
    one.send("127.0.0.1", 7000, b"late")
    assert one.is_quiet()
    assert len(seen.seen) == 1
    record = program.wait_session(command="udp")
    assert record["reason"] == ("client-reset" if how == "reset" else "done")
    one.close()


@pytest.mark.case("U22")
def test_bytes_on_the_control_connection_mean_nothing(tabi, echo):
    echo()
    tabi(LOCAL)
    with udp.Association() as one:
        for _ in range(40):
            one.control.sendall(b"x" * 65536)
        one.ask("127.0.0.1", 7000, b"x")


def test_early_bytes_behind_the_request_mean_nothing(tabi, echo):
    echo()
    tabi(LOCAL)
    with socks.dial(PROXY) as control:
        socks.hello5(control)
        control.sendall(socks.request5("0.0.0.0", 0, socks.UDP) + b"early" * 1000)
        code, host, port, _ = socks.recv_reply5(control)
        assert code == 0
        with udp.udp_socket() as sock:
            sock.sendto(udp.datagram("127.0.0.1", 7000, b"x"), (host, port))
            assert udp.parse(sock.recv(100))[1] == b"x"


def test_stop_ends_it(tabi):
    program = tabi(local("timeout drain 100ms"))
    with udp.Association() as one:
        program.stop()
        assert socks.recv_end(one.control)[0] == b""
    assert program.wait_session(command="udp")["reason"] == "shutdown"


def test_reload_leaves_it(tabi, echo):
    echo()
    program = tabi(LOCAL)
    with udp.Association() as one:
        one.ask("127.0.0.1", 7000, b"x")
        program.write_config(local("deny all"))
        program.signal(1)
        program.wait_text("was reloaded")
        wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 9, socks.UDP) == 2)
        one.ask("127.0.0.1", 7000, b"y")


@pytest.fixture
def fast_clock(tmp_path):
    """The environment in which a minute passes in a second."""
    source = os.path.join(os.path.dirname(__file__), "fastclock.c")
    library = str(tmp_path / "fastclock.so")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, source, "-ldl"], check=True
    )
    tmp_path.chmod(0o755)
    return {"LD_PRELOAD": library}


@pytest.mark.case("U25")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer wants to be the first library")
def test_idle(tabi, echo, fast_clock):
    """Nothing for `timeout udp`, and it is over; datagrams in either direction keep it alive."""
    seen = echo()
    program = tabi(local("timeout udp 2m"), env=fast_clock)
    busy, idle = udp.Association(), udp.Association()
    began = time.monotonic()
    busy.ask("127.0.0.1", 7000, b"x")
    outside = seen.seen[0][1]
    ended = None
    while time.monotonic() < began + 7:
        # The client alone, then the remote alone, for longer than the time of idleness each.
        if time.monotonic() < began + 3.5:
            busy.ask("127.0.0.1", 7000, b"x")
        else:
            seen.sock.sendto(b"y", outside)
            assert busy.recv()[1] == b"y"
        if select.select([idle.control], [], [], 0.1)[0] and ended is None:
            assert socks.recv_end(idle.control) == (b"", "eof")
            ended = time.monotonic() - began
            idle.control = socket.socket()
    assert 1.9 < ended < 4.5, f"{ended} minutes"
    assert program.wait_session(command="udp")["reason"] == "idle"
    busy.ask("127.0.0.1", 7000, b"x")
    busy.close()
    idle.close()


# How much.


def test_burst(tabi):
    """20,000 at once: what is lost is counted, and nobody stumbles."""
    program = tabi(LOCAL)
    remote = udp.udp_socket()
    one = udp.Association()
    wire = udp.datagram(*remote.getsockname(), b"x" * 100)
    for _ in range(20000):
        one.sock.sendto(wire, one.relay)
    while select.select([remote], [], [], 0.3)[0]:
        remote.recv(200)
    one.send(*remote.getsockname(), b"end")
    assert remote.recv(200) == b"end"
    record = end(program, one)
    counted = sum(int(v) for k, v in record.items() if k.startswith("drop-") or k == "packets-up")
    assert counted == 20001


def test_flood_of_strangers(tabi, echo):
    """100,000 from another address, from other ports of the client's, and from remotes that nobody
    wrote to: none relayed, and the client is served throughout."""
    seen = echo()
    program = tabi(LOCAL)
    one = udp.Association()
    one.ask("127.0.0.1", 7000, b"mine")
    outside = seen.seen[0][1]
    strangers = [udp.udp_socket("127.0.0.9"), udp.udp_socket()]
    forged = udp.datagram("127.0.0.1", 7000, b"theirs")
    mine = 1
    for _ in range(50):
        for _ in range(666):
            for stranger in strangers:
                stranger.sendto(forged, one.relay)
            strangers[0].sendto(b"unasked", outside)
        # In the crowd before the door one may be lost.
        while True:
            mine += 1
            one.send("127.0.0.1", 7000, b"mine")
            if select.select([one.sock], [], [], 0.2)[0]:
                assert one.recv()[1] == b"mine"
                break
    assert {data for data, _ in seen.seen} == {b"mine"}
    assert one.is_quiet()
    record = end(program, one)
    dropped = sum(int(v) for k, v in record.items() if k.startswith("drop-"))
    assert dropped + int(record["packets-down"]) == 50 * 666 * 3 + mine


def test_hundred_associations(tabi, echo):
    """All at work at once; then nothing of them is left."""
    echo()
    program = tabi(LOCAL)
    idle = program.descriptors()
    with udp.Association() as one:
        one.ask("127.0.0.1", 7000, b"warm up")
    program.wait_descriptors(idle)
    memory = program.memory()
    held = [udp.Association() for _ in range(100)]
    for turn in range(10):
        for i, one in enumerate(held):
            one.send("127.0.0.1", 7000, b"%d %d" % (turn, i))
        for i, one in enumerate(held):
            assert one.recv()[1] == b"%d %d" % (turn, i)
    assert sum(program.descriptors().values()) - sum(idle.values()) == 300
    grown = program.memory() - memory
    print(f"\nuser memory per association: {grown / 100:.0f} bytes")
    check_memory(grown, 100 * 8192)
    for one in held:
        one.close()
    program.wait_descriptors(idle)
    program.wait_session(101)


def test_many_remotes(tabi):
    """More than are remembered: each is reached, the last one is heard, the first one no more."""
    program = tabi(LOCAL)
    one = udp.Association()
    listening = udp.udp_socket("0.0.0.0", shared=True)
    port = listening.getsockname()[1]
    base = struct.unpack(">I", socket.inet_aton("127.1.0.0"))[0]
    hosts = [socket.inet_ntoa(struct.pack(">I", base + i)) for i in range(1, 3001)]
    for host in hosts:
        one.send(host, port, b"x")
        _, outside = listening.recvfrom(10)
    for host in (hosts[0], hosts[-1]):
        with udp.udp_socket(host, port, shared=True) as remote:
            remote.sendto(host.encode(), outside)
    assert one.recv() == ((hosts[-1], port), hosts[-1].encode())
    record = end(program, one)
    assert record["packets-up"] == "3000" and record["drop-unasked"] == "1"


def try_to_associate():
    """None where there is no room: refused, or left waiting to be accepted."""
    try:
        return udp.Association(timeout=1)
    except (AssertionError, TimeoutError):
        return None


def test_descriptors_are_reckoned_with(tabi):
    """An association counts for two sessions: the last descriptors are never promised twice."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))

    program = tabi(LOCAL, preexec=few)
    held = []
    while (one := try_to_associate()) is not None:
        held.append(one)
        assert len(held) < 20
    assert held
    remote4, remote6 = udp.udp_socket(), udp.udp_socket("::1")
    for one in held:
        for remote in (remote4, remote6):
            one.send(*remote.getsockname()[:2], b"x")
            assert remote.recv(10) == b"x"
    for one in held:
        one.close()
    program.wait_session(len(held), command="udp", reason="done")
