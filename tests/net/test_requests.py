# SPDX-License-Identifier: MIT
"""SOCKS5 requests and what is answered: the true code, in ten bytes, and the true address."""

import socket
import time

import pytest

from harness import dns, netns, socks, targets
from harness.config import LOCAL, PROXY, local


@pytest.mark.case("R19", "R24")
def test_refused_port_is_5(tabi):
    program = tabi(LOCAL)
    assert socks.ask5(PROXY, "127.0.0.1", 7001) == 5
    assert program.wait_session()["reason"] == "refused"


@pytest.mark.case("R24")
@pytest.mark.parametrize("what", (dns.NXDOMAIN, dns.SERVFAIL, []), ids=("nxdomain", "servfail", "nodata"))
def test_unresolvable_is_4(tabi, dns_server, what):
    dns_server({"bad.test": what})
    tabi(LOCAL)
    assert socks.ask5(PROXY, "bad.test", 80) == 4


@pytest.mark.case("R24")
@pytest.mark.parametrize("host", ("127.0.0.1", "::1", "echo.test"))
def test_denied_is_2(tabi, dns_server, target, host):
    dns_server({"echo.test": ["127.0.0.1"]})
    seen = target()
    program = tabi(local("deny port 7000"))
    assert socks.ask5(PROXY, host, 7000) == 2
    assert program.wait_session()["reason"] == "denied"
    assert seen.accepted == 0


@pytest.mark.case("R2")
@pytest.mark.parametrize("command", (0, 5, 0x10, 0xFF))
@pytest.mark.parametrize("host", ("127.0.0.1", "::1", "echo.test"))
def test_unknown_command_is_7(tabi, command, host):
    tabi(LOCAL)
    assert socks.ask5(PROXY, host, 7000, command) == 7


@pytest.mark.case("R2")
def test_unknown_command_is_answered_after_the_whole_request(tabi):
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        ask = socks.request5("a.test", 80, 9)
        sock.sendall(ask[:-1])
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(10)
        sock.sendall(ask[-1:])
        assert socks.recv_end(sock) == (socks.failure5(7), "eof")


@pytest.mark.case("R3")
@pytest.mark.parametrize("kind", (0, 2, 5, 0xFF))
def test_unknown_address_type_is_8(tabi, kind):
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(bytes([5, 1, 0, kind]))
        assert socks.recv_end(sock) == (socks.failure5(8), "eof")


@pytest.mark.case("R4")
def test_reserved_byte_is_no_error(tabi, target):
    target(targets.echo)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        ask = bytearray(socks.request5("127.0.0.1", 7000))
        ask[2] = 1
        sock.sendall(ask)
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)


@pytest.mark.case("R1")
def test_socks4_after_negotiation(tabi, target):
    seen = target()
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request4("127.0.0.1", 7000))
        assert socks.recv_end(sock)[0] in (socks.failure5(1), b"")
    assert seen.accepted == 0


@pytest.mark.case("R5", "R9", "R11", "R12")
@pytest.mark.parametrize(
    "name, codes",
    (
        (b"", {1}),
        (b"good.test\0.evil.test", {1}),
        (b"good.test\0", {1}),
        (b"\0", {1}),
        (b"good .test", {1}),
        (b"good\n.test", {1}),
        (b".", {1, 4}),
        (b"..", {1, 4}),
        (b"a..b", {1, 4}),
        (b"good.test..", {1, 4}),
        (b".good.test", {1, 4}),
        (b"a" * 255, {1, 4}),
        (b"a." * 127 + b"a", {1, 4}),
        (b"a" * 64 + b".test", {1, 4}),
        (b"\xff" * 255, {1, 4}),
        (b"good.test/", {1, 4}),
        (b"good.test:80", {1, 4}),
        (b"[good.test]", {1, 4}),
        (b"[127.0.0.1", {1, 4}),
    ),
    ids=repr,
)
def test_bad_names(tabi, target, dns_server, name, codes):
    stub = dns_server({"good.test": ["127.0.0.1"], "good": ["127.0.0.1"]})
    seen = target(targets.echo)
    tabi(LOCAL)
    begin = time.monotonic()
    assert socks.ask5(PROXY, name, 7000) in codes
    assert time.monotonic() - begin < 5
    assert seen.accepted == 0
    assert stub.count("good.test") == 0


@pytest.mark.case("R6", "R7")
@pytest.mark.parametrize("name", (b"127.0.0.1", b"::1", b"[::1]", b"0:0:0:0:0:0:0:1", b"::ffff:127.0.0.1"))
@pytest.mark.parametrize("rule", ("", "deny to 127.0.0.1 ::1", "deny to loopback"))
def test_literal_sent_as_name(tabi, target, name, rule):
    """Chromium sends every destination as a name. Without a name server: none is needed."""
    hits = [target(targets.echo), target(targets.echo, address="::1")]
    if "127.0.0.1 ::1" in rule:
        rule = "deny to 127.0.0.1,::1"
    tabi(local(rule))
    assert socks.ask5(PROXY, name, 7000) == (2 if rule else 0)
    assert sum(h.accepted for h in hits) == (0 if rule else 1)


@pytest.mark.case("R10", "R13")
@pytest.mark.parametrize("name", ("good.test", "good.test.", "GOOD.TEST", "Good.Test."))
@pytest.mark.parametrize("rule", ("deny to good.test", "deny to *.test", "deny to GOOD.test"))
def test_names_are_compared_without_case_and_trailing_dot(tabi, target, dns_server, name, rule):
    dns_server({"good.test": ["127.0.0.1"]})
    seen = target(targets.echo)
    tabi(local(rule))
    assert socks.ask5(PROXY, name, 7000) == 2
    assert seen.accepted == 0


@pytest.mark.case("R10")
@pytest.mark.parametrize("name", ("good.test", "good.test.", "GOOD.TEST"))
def test_spellings_that_work(tabi, target, dns_server, name):
    dns_server({"good.test": ["127.0.0.1"]})
    target(targets.echo)
    tabi(LOCAL)
    with socks.open5(PROXY, name, 7000) as sock:
        targets.ping(sock)


@pytest.mark.case("R17")
@pytest.mark.parametrize("host", ("127.0.0.1", "::1", "good.test"))
def test_port_zero_is_refused(tabi, dns_server, host):
    dns_server({"good.test": ["127.0.0.1"]})
    tabi(LOCAL)
    assert socks.ask5(PROXY, host, 0) in (1, 2, 8)


@pytest.mark.case("R20")
def test_blackholed_target(tabi):
    held = targets.blackhole()
    program = tabi(local("timeout connect 1s"))
    begin = time.monotonic()
    assert socks.ask5(PROXY, "127.0.0.1", 7009) in (4, 6)
    assert 0.9 < time.monotonic() - begin < 5
    assert program.wait_session()["reason"] == "timeout"
    for one in held:
        one.close()


@pytest.mark.case("R20")
def test_silent_name_server(tabi, dns_server):
    dns_server({"never.test": dns.DROP})
    tabi(local("timeout connect 1s"))
    begin = time.monotonic()
    assert socks.ask5(PROXY, "never.test", 80) == 4
    assert time.monotonic() - begin < 5


@pytest.mark.case("R21")
@pytest.mark.parametrize("host", ("2001:db8::1", "203.0.113.9"))
def test_no_route(tabi, host):
    tabi(LOCAL)
    assert socks.ask5(PROXY, host, 80) in (3, 8)


@pytest.mark.case("R22")
@pytest.mark.parametrize("dead", ("refusing", "silent", "no route"))
def test_falls_back_to_the_other_family(tabi, target, dns_server, dead):
    six = {"refusing": "::1", "silent": "::1", "no route": "2001:db8::1"}[dead]
    dns_server({"both.test": [six, "127.0.0.1"]})
    held = targets.blackhole("::1", 7000) if dead == "silent" else ()
    target(targets.echo)
    tabi(LOCAL)
    begin = time.monotonic()
    with socks.open5(PROXY, "both.test", 7000) as sock:
        targets.ping(sock)
    assert time.monotonic() - begin < 3
    for one in held:
        one.close()


@pytest.mark.case("R24")
def test_the_most_telling_failure_of_several(tabi, dns_server):
    dns_server({"both.test": ["2001:db8::1", "127.0.0.1"]})
    tabi(LOCAL)
    assert socks.ask5(PROXY, "both.test", 7001) == 5


@pytest.mark.parametrize("target_host", ("127.0.0.1", "198.51.100.7", "127.8.9.10"))
def test_bound_address_is_true(tabi, target, target_host):
    netns.add_address("198.51.100.7")
    seen = target(targets.echo, address=target_host)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5(target_host, 7000))
        code, host, port, raw = socks.recv_reply5(sock)
        seen.wait_accepted()
        assert (code, len(raw)) == (0, 10)
        assert (host, port) == seen.peers[0]


@pytest.mark.case("R23")
@pytest.mark.parametrize("how", ("literal", "name"))
def test_ipv6_reply_is_22_bytes_and_true(tabi, target, dns_server, how):
    netns.add_address("2001:db8::7")
    dns_server({"six.test": ["2001:db8::7"]})
    seen = target(targets.greet(b"!"), address="2001:db8::7")
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("six.test" if how == "name" else "2001:db8::7", 7000))
        code, host, port, raw = socks.recv_reply5(sock)
        seen.wait_accepted()
        assert (code, raw[3], len(raw)) == (0, 4, 22)
        assert (host, port) == seen.peers[0]
        assert socks.recv_exact(sock, 1) == b"!"


def test_over_ipv6_to_the_proxy(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    with socks.open5(("::1", 1080), "127.0.0.1", 7000) as sock:
        targets.ping(sock)
        port = sock.getsockname()[1]
    assert program.wait_session()["from"] == f"[::1]:{port}"


@pytest.mark.case("N4", "N1", "N6", "N7")
@pytest.mark.parametrize("methods", ((), (1,), (0x80, 0x82), (0xFF,), (2,)))
def test_no_acceptable_method(tabi, methods):
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(*methods))
        assert socks.recv_end(sock) == (b"\x05\xff", "eof")


@pytest.mark.case("N2", "N5")
@pytest.mark.parametrize("methods", (tuple(range(255)), (0, 0, 0), (0x80, 0x82, 0)))
def test_acceptable_method_among_others(tabi, target, methods):
    target(targets.echo)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(*methods))
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)


def test_client_that_ends_halfway(tabi):
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 7000)[:-1])
        sock.shutdown(socket.SHUT_WR)
        assert socks.recv_end(sock)[0] in (b"", socks.failure5(1))
    program.wait_session()
