# SPDX-License-Identifier: MIT
"""Tor's RESOLVE and RESOLVE_PTR: names and addresses told to clients, and what is kept from them."""

import socket
import struct
import time

import pytest

from harness import dns, socks
from harness.config import HEAD, LOCAL, PROXY, local
from harness.tabi import run

ZONE = {
    "both.test": ["2001:db8::1", "192.0.2.1", "192.0.2.2"],
    "four.test": ["192.0.2.4"],
    "six.test": ["2001:db8::6"],
    "gone.test": dns.NXDOMAIN,
    "broken.test": dns.SERVFAIL,
    "inside.test": ["10.0.0.5"],
    "mixed.test": ["10.0.0.5", "198.51.100.9"],
    "zero.test": ["0.0.0.0"],
    dns.reverse("192.0.2.1"): dns.Pointer("host.test"),
    dns.reverse("2001:db8::1"): dns.Pointer("six.host.test"),
    dns.reverse("10.0.0.5"): dns.Pointer("inside.test"),
    dns.reverse("198.51.100.9"): dns.Pointer("secret.test"),
    dns.reverse("192.0.2.9"): dns.NXDOMAIN,
}


def ask5(host, command=socks.RESOLVE, port=0, proxy=PROXY):
    """All that is answered to a request, which must then be the end."""
    with socks.dial(proxy) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5(host, port, command))
        raw, end = socks.recv_end(sock)
        assert end == "eof"
        return raw


def ask4(host, command=socks.RESOLVE, port=0):
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.request4(host, port, b"", command))
        raw, end = socks.recv_end(sock)
        assert end == "eof"
        return raw


def found4(address):
    return b"\x05\x00\x00\x01" + socket.inet_aton(address) + b"\0\0"


def found6(address):
    return b"\x05\x00\x00\x04" + socket.inet_pton(socket.AF_INET6, address) + b"\0\0"


def found_name(name):
    return b"\x05\x00\x00\x03" + bytes([len(name)]) + name + b"\0\0"


@pytest.mark.parametrize("port", (0, 80))
def test_the_answer_is_an_address_and_the_end(tabi, dns_server, port):
    dns_server(ZONE)
    program = tabi(LOCAL)
    assert ask5("four.test", port=port) == found4("192.0.2.4")
    assert ask5("six.test", port=port) == found6("2001:db8::6")
    line = program.wait_session(2)
    assert (line["command"], line["answer"], line["verdict"], line["reason"]) == (
        "resolve", "2001:db8::6", "allow", "done",
    )  # fmt: skip
    assert line["to"] == f"six.test:{port}"


def test_ipv4_goes_first(tabi, dns_server):
    dns_server(ZONE)
    tabi(LOCAL)
    assert ask5("both.test") in (found4("192.0.2.1"), found4("192.0.2.2"))


@pytest.mark.parametrize("host", ("four.test", b"192.0.2.4", "192.0.2.4"))
def test_socks4(tabi, dns_server, host):
    dns_server(ZONE)
    tabi(LOCAL)
    assert ask4(host) == b"\x00\x5a\0\0" + socket.inet_aton("192.0.2.4")


@pytest.mark.parametrize("host", ("six.test", b"2001:db8::6", "gone.test", "0.0.0.0"))
def test_socks4_has_no_words_for_it(tabi, dns_server, host):
    dns_server(ZONE)
    tabi(LOCAL)
    assert ask4(host) == socks.FAILURE4


def test_socks4_knows_no_reverse(tabi, dns_server):
    dns_server(ZONE)
    tabi(LOCAL)
    assert ask4("192.0.2.1", socks.RESOLVE_PTR) == socks.FAILURE4


@pytest.mark.case("O7")
@pytest.mark.parametrize("host", (b"192.0.2.77", "192.0.2.77"))
def test_literal_is_its_own_answer(tabi, host):
    """Without a name server: nothing is looked up."""
    tabi(LOCAL)
    assert ask5(host) == found4("192.0.2.77")


@pytest.mark.case("O7")
@pytest.mark.parametrize("host", (b"2001:db8::77", b"[2001:db8::77]", "2001:db8::77"))
def test_ipv6_literal_is_its_own_answer(tabi, host):
    tabi(LOCAL)
    assert ask5(host) == found6("2001:db8::77")


@pytest.mark.parametrize("host, name", (
    ("192.0.2.1", b"host.test"),
    (b"192.0.2.1", b"host.test"),
    ("2001:db8::1", b"six.host.test"),
    (b"2001:DB8:0::1", b"six.host.test"),
    ("::ffff:192.0.2.1", b"host.test"),
))  # fmt: skip
def test_name_of_an_address(tabi, dns_server, host, name):
    dns_server(ZONE)
    program = tabi(LOCAL)
    assert ask5(host, socks.RESOLVE_PTR) == found_name(name)
    line = program.wait_session()
    assert (line["command"], line["answer"], line["reason"]) == ("resolve", name.decode(), "done")


@pytest.mark.case("O8")
@pytest.mark.parametrize("host", ("host.test", b"four.test", b"a..b", b"127.1", b"\0"))
def test_name_of_a_name(tabi, dns_server, host):
    stub = dns_server(ZONE)
    tabi(LOCAL)
    assert ask5(host, socks.RESOLVE_PTR) == socks.failure5(8)
    assert stub.count() == 0


@pytest.mark.parametrize("host, command, reason", (
    ("gone.test", socks.RESOLVE, "not-found"),
    ("broken.test", socks.RESOLVE, "resolver"),
    ("192.0.2.9", socks.RESOLVE_PTR, "not-found"),
    ("203.0.113.1", socks.RESOLVE_PTR, "not-found"),
))  # fmt: skip
def test_no_answer_is_4(tabi, dns_server, host, command, reason):
    dns_server(ZONE)
    program = tabi(LOCAL)
    assert ask5(host, command) == socks.failure5(4)
    assert program.wait_session()["reason"] == reason


@pytest.mark.parametrize("labels", (
    b"\x03a\nb\x04test\0",
    b"\x03a\0b\x04test\0",
    b"\x03192\x010\x012\x0266\0",
    b"\x0a192.0.2.66\0",
    b"\0",
    b"\x09\"injected\0",
    b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\x3f" + b"a" * 63 + b"\0",
    b"\x05trunc",
    b"\xc0\x0c",
), ids=repr)  # fmt: skip
def test_hostile_ptr_record(tabi, dns_server, labels):
    """What no host name is gets nowhere: not to the client, not into the log."""
    dns_server({dns.reverse("192.0.2.1"): dns.Pointer(labels)})
    program = tabi(LOCAL)
    got = ask5("192.0.2.1", socks.RESOLVE_PTR)
    if labels == b"\xc0\x0c":
        # It points at the question, whose name is one.
        assert got in (found_name(dns.reverse("192.0.2.1").encode()), socks.failure5(4))
        return
    assert got in (socks.failure5(4), socks.failure5(1))
    assert "answer" not in program.wait_session()


def test_ptr_is_asked_for_once(tabi, dns_server):
    stub = dns_server(ZONE)
    tabi(LOCAL)
    for _ in range(3):
        assert ask5("192.0.2.1", socks.RESOLVE_PTR) == found_name(b"host.test")
    assert stub.count(dns.reverse("192.0.2.1"), "PTR") == 1


@pytest.mark.parametrize("host, command", (
    ("slow.test", socks.RESOLVE), ("192.0.2.8", socks.RESOLVE_PTR),
))  # fmt: skip
def test_silent_name_server(tabi, dns_server, host, command):
    dns_server({"slow.test": dns.DROP, dns.reverse("192.0.2.8"): dns.DROP})
    program = tabi(local("timeout connect 500ms"))
    begin = time.monotonic()
    assert ask5(host, command) == socks.failure5(4)
    assert time.monotonic() - begin < 5
    assert program.wait_session()["reason"] == "timeout"


@pytest.mark.parametrize("command", (socks.RESOLVE, socks.RESOLVE_PTR))
def test_client_that_leaves_meanwhile(tabi, dns_server, command):
    stub = dns_server(ZONE)
    name = "four.test" if command == socks.RESOLVE else dns.reverse("192.0.2.1")
    stub.hold(name)
    program = tabi(LOCAL)
    before = program.descriptors()
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        host = "four.test" if command == socks.RESOLVE else "192.0.2.1"
        sock.sendall(socks.request5(host, 0, command))
        stub.wait_asked(name)
        socks.reset(sock)
    assert program.wait_session()["reason"] == "client-reset"
    stub.release(name)
    assert ask5("six.test") == found6("2001:db8::6")
    assert len(program.descriptors()) == len(before)


# Who may ask what.


def rules(*lines):
    return HEAD + "".join(line + "\n" for line in lines)


@pytest.mark.parametrize("lines, verdict", (
    (("allow command resolve",), True),
    (("allow from loopback",), True),
    (("allow to *.test port 80,443",), True),
    (("deny port 25", "allow all"), True),
    (("deny command resolve", "allow all"), False),
    (("allow command connect,bind,udp",), False),
    (("allow to *.example",), False),
    (("deny to four.test", "allow all"), False),
    (("deny to 192.0.2.0/24", "allow all"), False),
    (("deny to 192.0.2.0/24 port 80", "allow port 80"), False),
    (("deny port 1-65535", "allow all"), False),
    (("allow protocol socks4",), False),
))  # fmt: skip
def test_rules(tabi, dns_server, lines, verdict):
    dns_server(ZONE)
    program = tabi(rules(*lines))
    assert ask5("four.test") == (found4("192.0.2.4") if verdict else socks.failure5(2))
    line = program.wait_session()
    assert line["verdict"] == ("allow" if verdict else "deny")
    assert line["reason"] == ("done" if verdict else "denied")


def test_denied_name_is_not_looked_up(tabi, dns_server):
    stub = dns_server(ZONE)
    tabi(rules("deny to four.test", "allow all"))
    assert ask5("four.test") == socks.failure5(2)
    assert stub.count() == 0


def test_denied_addresses_are_not_told(tabi, dns_server):
    """Neither which it is, nor, among others, that there is one."""
    dns_server(ZONE)
    tabi(rules("deny to private", "allow all"))
    assert ask5("inside.test") == socks.failure5(2)
    for _ in range(5):
        assert ask5("mixed.test") == found4("198.51.100.9")
    assert ask4("inside.test") == socks.FAILURE4
    assert ask5("zero.test") == socks.failure5(2)


@pytest.mark.parametrize("host", ("10.0.0.5", b"10.0.0.5", "::ffff:10.0.0.5", "64:ff9b::10.0.0.5"))
def test_denied_address_has_no_name(tabi, dns_server, host):
    stub = dns_server(ZONE)
    tabi(rules("deny to private", "allow all"))
    assert ask5(host, socks.RESOLVE_PTR) == socks.failure5(2)
    assert stub.count() == 0


def test_denied_name_is_not_told(tabi, dns_server):
    """The address may be asked for, its name may not be known."""
    dns_server(ZONE)
    program = tabi(rules("deny to secret.test", "allow all"))
    assert ask5("198.51.100.9", socks.RESOLVE_PTR) == socks.failure5(2)
    assert "secret" not in program.wait_session().line
    assert ask5("192.0.2.1", socks.RESOLVE_PTR) == found_name(b"host.test")


def test_a_name_in_the_zone_of_the_client_opens_nothing(tabi, dns_server):
    """A PTR record is what its owner says: a rule that allows a name does not allow the address."""
    dns_server(ZONE)
    tabi(rules("allow to host.test", "deny all"))
    assert ask5("192.0.2.1", socks.RESOLVE_PTR) == socks.failure5(2)


def test_only_after_authentication(tabi, dns_server, tmp_path):
    dns_server(ZONE)
    users = tmp_path / "users"
    assert run("passwd", str(users), "alice", input="secret\n").returncode == 0
    tabi(local(f"auth password {users}"))
    assert ask4("four.test") == socks.FAILURE4
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0) + socks.request5("four.test", 0, socks.RESOLVE))
        assert socks.recv_end(sock) == (b"\x05\xff", "eof")
    with socks.dial(PROXY) as sock:
        socks.hello5(sock, "alice", "secret")
        sock.sendall(socks.request5("four.test", 0, socks.RESOLVE))
        assert socks.recv_end(sock) == (found4("192.0.2.4"), "eof")


def test_what_follows_the_request_is_nobodys(tabi, dns_server):
    dns_server(ZONE)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        ask = socks.request5("four.test", 0, socks.RESOLVE)
        sock.sendall(socks.greeting(0) + ask + ask + b"more")
        assert socks.recv_end(sock) == (b"\x05\x00" + found4("192.0.2.4"), "eof")


@pytest.mark.case("O10")
@pytest.mark.parametrize("command", (0x10, 0x80, 0x81, 0xF2, 0xF3, 0xFF))
def test_extensions_of_others_are_7(tabi, command):
    """LIST-FEATURES, NEC's ping and traceroute, gost's: read to the end, and refused."""
    program = tabi(LOCAL)
    for flag in (0, 1, 2):
        with socks.dial(PROXY) as sock:
            socks.hello5(sock)
            ask = bytearray(socks.request5("127.0.0.1", 0, command))
            ask[2] = flag
            sock.sendall(ask)
            assert socks.recv_end(sock) == (socks.failure5(7), "eof")
    assert program.wait_session(3)["reason"] == "bad-command"


def test_socks4_extensions_of_others(tabi):
    tabi(LOCAL)
    for command in (0, 3, 0x80, 0x81, 0xF1, 0xF2, 0xFF):
        with socks.dial(PROXY) as sock:
            sock.sendall(struct.pack(">BBH", 4, command, 80) + b"\x7f\0\0\x01user\0")
            assert socks.recv_end(sock) == (socks.FAILURE4, "eof")
