# SPDX-License-Identifier: MIT
"""Memory taken away from handshakes with TLS, PAM, ident and the PROXY protocol, one allocation at a
time: the client is refused or served, and then all is as it was."""

import ssl
import time

import pytest

from harness import certs, proxyproto, socks, targets, tls
from harness.config import PROXY
from harness.tabi import SANITIZED, run, wait_until

from test_ident import identd, is_user  # noqa: F401
from test_pam import pam  # noqa: F401
from test_udp_alloc import allocator  # noqa: F401

HEAD = "workers 1\nresolver 127.0.0.1:5353\ntimeout handshake 3s\n"
RULES = "allow all\nallow to loopback\n"


def connect(sock, *user):
    socks.hello5(sock, *user)
    sock.sendall(socks.request5("127.0.0.1", 7000))
    code = socks.recv_reply5(sock)[0]
    if code != 0:
        raise OSError(f"reply {code}")
    targets.ping(sock)
    sock.close()


def through_tls(files):
    connect(tls.Tls(socks.dial(PROXY), tls.client(files["ca"], *files["alice"])))


def through_upgrade(files):
    sock = socks.dial(PROXY)
    sock.sendall(socks.greeting(0x80))
    socks.recv_exact(sock, 2)
    with tls.Tls(sock, tls.client(files["ca"])) as inside:
        inside.sendall(socks.request5("127.0.0.1", 7000))
        if socks.recv_reply5(inside)[0] != 0:
            raise OSError("refused")
        targets.ping(inside)


def through_password(files):
    connect(socks.dial(PROXY), "alice", "secret")


def through_ident(files):
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000, b"fred"))
        if socks.recv_exact(sock, 8)[1] != socks.GRANTED4:
            raise OSError("refused")
        targets.ping(sock)


def through_balancer(files):
    sock = socks.dial(PROXY)
    sock.sendall(proxyproto.v1("192.0.2.1")[:20])
    sock.sendall(proxyproto.v1("192.0.2.1")[20:])
    connect(sock)


# The listener and the proof; the client; how many of a login's allocations are taken away.
KINDS = {
    "certificate": ("listen 127.0.0.1:1080 tls {tls} client-ca {ca}\n", through_tls, 700),
    "upgrade": ("listen 127.0.0.1:1080 tls-upgrade {tls} open\n", through_upgrade, 700),
    "password": ("listen 127.0.0.1:1080\nauth password {users}\n", through_password, 20),
    "pam": ("listen 127.0.0.1:1080\nauth pam tabi\n", through_password, 20),
    "ident": ("listen 127.0.0.1:1080\nauth ident from loopback\n", through_ident, 12),
    "balancer": ("listen 127.0.0.1:1080 proxy-protocol from loopback open\n", through_balancer, 12),
}


@pytest.fixture
def files(tmp_path):
    ca = certs.Authority(tmp_path)
    ca.server()
    ca.issue("alice")
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    return {
        "tls": f"{ca.path('server.pem')} {ca.path('server.key')}", "ca": ca.pem,
        "alice": (ca.path("alice.pem"), ca.path("alice.key")), "users": tmp_path / "users",
    }  # fmt: skip


def at_rest(program):
    """Its descriptors with no session left."""
    settled = []

    def same_twice():
        settled.append(program.descriptors())
        time.sleep(0.1)
        return settled[-1] == program.descriptors()

    wait_until(same_twice)
    return settled[-1]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")
@pytest.mark.parametrize("kind", KINDS)
def test_without_memory(tabi, target, allocator, pam, identd, files, kind):  # noqa: F811
    """From the nth allocation on, for each n: that one alone, and all behind it."""
    target(targets.echo)
    identd(is_user(b"fred"), "127.0.0.1")
    text, log_in, most = KINDS[kind]
    program = tabi(HEAD + text.format(**files) + RULES, env=allocator.env, preexec=pam.mount)
    log_in(files)
    idle = at_rest(program)
    served = refused = 0
    for n in (1, 1000):
        for nth in range(1, most + 1):
            allocator.fail(nth, n)
            try:
                log_in(files)
                served += 1
            except (AssertionError, EOFError, OSError, ssl.SSLError):
                refused += 1
            allocator.fail(1, 0)
    assert refused > 5, "no allocation of a login was among them"
    program.wait_descriptors(idle)
    log_in(files)
    print(f"{kind}: {refused} refused, {served} served")
