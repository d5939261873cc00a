# SPDX-License-Identifier: MIT
"""HTTP CONNECT on the same port."""

import pytest

from harness import dns, netns, socks, targets
from harness.config import LOCAL, PROXY, local


def answer_to(raw):
    with socks.dial(PROXY) as sock:
        sock.sendall(raw)
        return socks.recv_head(sock)[0]


@pytest.mark.case("H1", "H2")
@pytest.mark.parametrize(
    "authority",
    (
        b"echo.test",
        b"echo.test:",
        b"echo.test:0",
        b"echo.test:99999",
        b"echo.test:65536",
        b"echo.test:80x",
        b"echo.test:+80",
        b"echo.test: 80",
        b":80",
        b"[::1:80",
        b"::1:80",
        b"[127.0.0.1]x:80",
        b"user@echo.test:80",
        b"echo.test:80/",
        b"http://echo.test:80",
        b"/",
        b"",
    ),
    ids=repr,
)
def test_target_must_be_host_and_port(tabi, target, authority):
    tabi(LOCAL)
    assert answer_to(b"CONNECT " + authority + b" HTTP/1.1\r\nHost: a\r\n\r\n") == 400


@pytest.mark.case("H3")
@pytest.mark.parametrize("authority", ("[2001:db8::7]:7000", "[2001:DB8:0:0::7]:7000"))
def test_ipv6_literal(tabi, target, authority):
    netns.add_address("2001:db8::7")
    seen = target(targets.echo, address="2001:db8::7")
    program = tabi(LOCAL)
    with socks.open_http(PROXY, authority) as sock:
        targets.ping(sock)
    assert seen.accepted == 1
    assert program.wait_session()["to"] == "[2001:db8::7]:7000"


@pytest.mark.case("H4")
def test_success_has_no_length(tabi, target):
    target(targets.echo)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.request_http("127.0.0.1:7000"))
        status, head = socks.recv_head(sock)
        assert status == 200
        assert socks.header(head, b"Content-Length") is None
        assert socks.header(head, b"Transfer-Encoding") is None
        targets.ping(sock)


@pytest.mark.case("H8", "H9")
@pytest.mark.parametrize(
    "lines",
    (
        b"Host : a\r\n",
        b"Host: a\r\nX-Long: one\r\n two\r\n",
        b" X: first line begins with a space\r\nHost: a\r\n",
        b"Host: a\r\nno colon here\r\n",
        b"Host: a\r\nX: a\rb\r\n",
        b"Host: a\r\nX: a\0b\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"",
        b"Host: a\r\nContent-Length: 5\r\n",
        b"Host: a\r\nTransfer-Encoding: chunked\r\n",
    ),
    ids=repr,
)
def test_broken_headers(tabi, target, lines):
    seen = target(targets.echo)
    tabi(LOCAL)
    status = answer_to(b"CONNECT 127.0.0.1:7000 HTTP/1.1\r\n" + lines + b"\r\n")
    # obs-fold may also be unfolded (RFC 9112 section 5.2).
    assert status == 400 or (b"\r\n two" in lines and status == 200)
    assert seen.accepted == (1 if status == 200 else 0)


@pytest.mark.case("H16")
def test_http2_preface(tabi):
    """Not mistaken for PROXY, POST or a request."""
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        got, how = socks.recv_end(sock)
        assert how == "eof"
        assert got == b"" or got.startswith(b"HTTP/1.1 ") and b" 200 " not in got[:13]


@pytest.mark.case("T7")
def test_proxy_protocol_is_not_guessed(tabi, target):
    """Its source address is not believed: nobody said that this listener has a balancer before it."""
    seen = target(targets.echo)
    program = tabi(local("deny from 192.0.2.1"))
    with socks.dial(PROXY) as sock:
        sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 1080\r\n" + socks.greeting(0))
        socks.recv_end(sock)
        mine = sock.getsockname()[1]
    assert program.wait_session()["from"] == f"127.0.0.1:{mine}"
    assert seen.accepted == 0


@pytest.mark.case("H17")
@pytest.mark.parametrize("before", (b"\r\n", b"\n"))
def test_empty_line_before_the_request(tabi, target, before):
    target(targets.echo)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(before + socks.request_http("127.0.0.1:7000"))
        assert socks.recv_head(sock)[0] == 200
        targets.ping(sock)


@pytest.mark.case("T6", "H17")
@pytest.mark.parametrize("method", (b"GET", b"POST", b"PUT", b"OPTIONS"))
@pytest.mark.parametrize("uri", (b"/", b"*", b"https://echo.test/"))
def test_other_requests(tabi, method, uri):
    tabi(LOCAL)
    assert answer_to(method + b" " + uri + b" HTTP/1.1\r\nHost: echo.test\r\n\r\n") == 501


@pytest.mark.parametrize(
    "host, status",
    (
        ("127.0.0.1", 502),
        ("nosuch.test", 502),
        ("never.test", 504),
        ("2001:db8::1", 502),
        ("denied.test", 403),
    ),
)
def test_status_says_why(tabi, dns_server, host, status):
    held = targets.blackhole("127.0.0.9", 7001)
    dns_server({"never.test": ["127.0.0.9"]})
    tabi(local("timeout connect 1s", "deny to denied.test"))
    assert socks.ask_http(PROXY, host, 7001) == status
    for one in held:
        one.close()


def test_silent_name_server(tabi, dns_server):
    dns_server({"never.test": dns.DROP})
    tabi(local("timeout connect 1s"))
    assert socks.ask_http(PROXY, "never.test", 80) in (502, 504)


def test_header_block_without_end(tabi):
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"CONNECT a.test:80 HTTP/1.1\r\nHost: a\r\n")
        line = b"X: " + b"x" * 1000 + b"\r\n"
        status = None
        for _ in range(100):
            try:
                sock.sendall(line)
            except OSError:
                break
        status, _ = socks.recv_head(sock)
        assert status in (400, 431)


def test_http_1_0(tabi, target):
    target(targets.echo)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:7000 HTTP/1.0\r\n\r\n")
        assert socks.recv_head(sock)[0] == 200
        targets.ping(sock)


def test_lone_line_feeds(tabi, target):
    target(targets.echo)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"CONNECT 127.0.0.1:7000 HTTP/1.1\nHost: a\n\n")
        assert socks.recv_head(sock)[0] == 200
        targets.ping(sock)
