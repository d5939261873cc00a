# SPDX-License-Identifier: MIT
"""SOCKS4 and 4A."""

import ipaddress

import pytest

from harness import netns, socks, targets
from harness.config import LOCAL, PROXY, local
from harness.tabi import run


@pytest.mark.case("S8")
@pytest.mark.parametrize("host", ("127.0.0.1", "echo.test", "127.0.0.1."[:-1].encode()))
def test_granted_reply_is_eight_bytes_and_begins_with_zero(tabi, target, dns_server, host):
    dns_server({"echo.test": ["127.0.0.1"]})
    target(targets.greet(b"hello"))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.request4(host, 7000))
        got = socks.recv_exact(sock, 8 + 5)
        assert got[:2] == b"\x00\x5a"
        assert got[8:] == b"hello"


@pytest.mark.case("S8")
@pytest.mark.parametrize("host, port", (("127.0.0.1", 7001), ("nosuch.test", 80)))
def test_refusal_is_eight_bytes_and_begins_with_zero(tabi, dns_server, host, port):
    dns_server()
    tabi(LOCAL)
    assert socks.ask4(PROXY, host, port) == 91


@pytest.mark.case("S1")
def test_userid_without_end(tabi):
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"\x04\x01\x1b\x58\x7f\x00\x00\x01" + b"u" * 300)
        assert socks.recv_end(sock) == (socks.FAILURE4, "eof")


@pytest.mark.case("S2")
def test_address_zero_is_not_4a(tabi, target):
    seen = target(address="0.0.0.0")
    tabi(LOCAL)
    assert socks.ask4(PROXY, "0.0.0.0", 7000) == 91
    assert seen.accepted == 0


@pytest.mark.case("S3")
def test_any_0_0_0_x_means_a_name(tabi, target, dns_server):
    dns_server({"host.test": ["127.0.0.1"]})
    target(targets.echo)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"\x04\x01\x1b\x58\x00\x00\x00\x05fred\x00host.test\x00")
        assert socks.recv_exact(sock, 8)[:2] == b"\x00\x5a"
        targets.ping(sock)


@pytest.mark.case("S4")
def test_empty_name(tabi):
    tabi(LOCAL)
    assert socks.ask4(PROXY, b"", 7000) == 91


@pytest.mark.case("S5")
@pytest.mark.parametrize("rule, answer", (("", 90), ("deny to 127.0.0.1", 91)))
def test_literal_as_name(tabi, target, rule, answer):
    seen = target(targets.echo)
    tabi(local(rule))
    assert socks.ask4(PROXY, b"127.0.0.1", 7000) == answer
    assert seen.accepted == (1 if answer == 90 else 0)


@pytest.mark.case("S6")
def test_name_with_ipv6_only(tabi, target, dns_server):
    """SOCKS4 cannot say an IPv6 address, so the reply's address is zeros; the target is reached."""
    dns_server({"six.test": ["::1"]})
    target(targets.echo, address="::1")
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.request4("six.test", 7000))
        assert socks.recv_exact(sock, 8) == b"\x00\x5a" + bytes(6)
        targets.ping(sock)


@pytest.mark.case("S7")
@pytest.mark.parametrize("command", (0, 3, 0xF1, 0xFF))
def test_unknown_command(tabi, command):
    tabi(LOCAL)
    assert socks.ask4(PROXY, "127.0.0.1", 7000, command=command) == 91


@pytest.mark.case("S14")
def test_port_zero(tabi):
    tabi(LOCAL)
    assert socks.ask4(PROXY, "127.0.0.1", 0) == 91


@pytest.mark.case("S15")
def test_userid_is_opaque_and_no_user(tabi, target, tmp_path):
    """Nobody has checked it, so no rule about users may believe it."""
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    target(targets.echo)
    program = tabi(local(f"auth password {tmp_path}/users", "auth none", "deny user alice"))
    with socks.open4(PROXY, "127.0.0.1", 7000, b"alice") as sock:
        targets.ping(sock)
    with socks.open4(PROXY, "127.0.0.1", 7000, bytes(range(0x80, 0x100))) as sock:
        targets.ping(sock)
    assert "user" not in program.wait_session(1)
    assert "user" not in program.wait_session(2)


def test_not_served_where_authentication_is_demanded(tabi, target, tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    seen = target(targets.echo)
    tabi(local(f"auth password {tmp_path / 'users'}"))
    assert socks.ask4(PROXY, "127.0.0.1", 7000, b"alice") == 91
    assert seen.accepted == 0


def test_bound_address_of_the_outgoing_socket(tabi, target):
    netns.add_address("198.51.100.7")
    seen = target(targets.echo, address="198.51.100.7")
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.request4("198.51.100.7", 7000))
        reply = socks.recv_exact(sock, 8)
        seen.wait_accepted()
        host, port = seen.peers[0]
        true = port.to_bytes(2, "big") + ipaddress.ip_address(host).packed
        assert reply[2:] in (true, bytes(6))
