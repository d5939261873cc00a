# SPDX-License-Identifier: MIT
"""Sessions over TCP while there is no memory: each is refused or served, and nothing is lost."""

import pytest
from test_http_forward import ask, page, recv_page, request, serve_pages
from test_udp_alloc import allocator  # noqa: F401

from harness import certs, socks, targets, tls
from harness import proxyproto as pp
from harness.config import PROXY, local
from harness.tabi import SANITIZED, run

pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")

ALICE = socks.basic("alice", "secret").rstrip()
LARGE = targets.pattern(300_000, "down")


def forward(sock, credentials):
    """Two requests, the second with a body, large answers, and then a tunnel."""
    sock.settimeout(2)
    for method, body in ((b"GET", b""), (b"PUT", b"3\r\nabc\r\n0\r\n\r\n")):
        fields = [credentials] + [b"Transfer-Encoding: chunked"] * bool(body)
        status, _, got = ask(
            sock, b"/", *fields, method=method, body=body, url=b"http://web.test:7000"
        )
        assert status == 200 and got == LARGE, status
    sock.sendall(socks.request_http("127.0.0.1:7001", credentials + b"\r\n"))
    assert socks.recv_head(sock)[0] == 200
    targets.ping(sock)


def connect(sock, _):
    sock.settimeout(2)
    socks.hello5(sock, "alice", "secret")
    sock.sendall(socks.request5("web.test", 7001))
    assert socks.recv_reply5(sock)[0] == 0
    targets.ping(sock)


def behind_a_balancer(sock, credentials):
    """A header that comes in two pieces, then TLS."""
    sock.settimeout(2)
    header = pp.v2("127.0.0.1", tlvs=bytes(600))
    sock.sendall(header[:20])
    sock.sendall(header[20:])
    inside = tls.Tls(sock, tls.client())
    inside.sendall(request(b"/", credentials) * 2)
    for _ in range(2):
        assert recv_page(inside)[0] == 200
    inside.end()


def associate(sock, _):
    sock.settimeout(2)
    socks.hello5(sock, "alice", "secret")
    sock.sendall(socks.request5("0.0.0.0", 0, socks.UDP))
    assert socks.recv_reply5(sock)[0] == 0


@pytest.mark.parametrize("n", (1, 1000), ids=("one", "all"))
@pytest.mark.parametrize("talk", (forward, connect, associate, behind_a_balancer))
def test_without_memory(tabi, target, allocator, dns_server, tmp_path, talk, n):  # noqa: F811
    """At each allocation in turn, of one session, or from there on."""
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    dns_server({"web.test": ["127.0.0.1"]})
    target(serve_pages(lambda head, body: page(LARGE)))
    target(targets.echo, port=7001)
    ca = certs.Authority(tmp_path)
    ca.server()
    program = tabi(local(f"auth password {tmp_path}/users", "udp-ports 5300-5309",
                         f"listen 127.0.0.1:1443 proxy-protocol from 127.0.0.1 tls {ca.path('server.pem')} "
                         + ca.path("server.key")), env=allocator.env)  # fmt: skip
    where = ("127.0.0.1", 1443) if talk is behind_a_balancer else PROXY
    idle = program.descriptors()
    with socks.dial(where) as sock:
        talk(sock, ALICE)
    program.wait_descriptors(idle)
    refused = 0
    for nth in range(1, 81 if talk is behind_a_balancer else 41):
        with socks.dial(where) as sock:
            allocator.fail(nth, n)
            try:
                talk(sock, ALICE)
            except (AssertionError, EOFError, OSError):
                refused += 1
        allocator.fail(0, 0)
        with socks.dial(where) as sock:
            talk(sock, ALICE)
    assert refused > 3
    program.wait_descriptors(idle)
