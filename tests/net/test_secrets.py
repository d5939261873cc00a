# SPDX-License-Identifier: MIT
"""A password is in no process's memory once it was checked, nor in the log; though the client goes
on with its handshake."""

import base64
import os
import time

import pytest

from harness import certs, socks, targets, tls
from harness.config import PROXY
from harness.tabi import SANITIZED, run

from test_pam import pam  # noqa: F401

PASSWORD = "s3cret-MARKER-pw"
WRONG = PASSWORD + "x"
NEEDLES = (PASSWORD.encode(), base64.b64encode(b"alice:" + PASSWORD.encode())[:-4])


def writable_memory(pid):
    """But for the stack, where libcrypto leaves pieces of what it decrypts until something else is
    put there."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights, *_ = line.split()
            begin, end = (int(n, 16) for n in place.split("-"))
            if not rights.startswith("rw") or line.endswith("[stack]\n"):
                continue
            memory.seek(begin)
            yield memory.read(end - begin)


def through(wrap, password):
    """A login by RFC 1929; returns the socket."""
    sock = wrap(socks.dial(PROXY))
    sock.sendall(socks.greeting(2) + socks.userpass("alice", password))
    assert socks.recv_exact(sock, 4)[3] == (password != PASSWORD)
    return sock


def by_http(wrap, password):
    sock = wrap(socks.dial(PROXY))
    sock.sendall(socks.request_http("127.0.0.1:7000", socks.basic("alice", password)))
    assert socks.recv_head(sock)[0] == (200 if password == PASSWORD else 407)
    return sock


def upgraded(sock):
    sock.sendall(socks.greeting(0x82))
    assert socks.recv_exact(sock, 2) == b"\x05\x82"
    return tls.Tls(sock, tls.client())


def behind_the_upgrade(wrap, password):
    sock = upgraded(socks.dial(PROXY))
    sock.sendall(socks.userpass("alice", password))
    assert socks.recv_exact(sock, 2)[1] == (password != PASSWORD)
    return sock


def in_tls(sock):
    return tls.Tls(sock, tls.client())


def plain(sock):
    return sock


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of workers")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer maps more than can be read")
@pytest.mark.parametrize("password", (PASSWORD, WRONG), ids=("right", "wrong"))
@pytest.mark.parametrize("auth", ("password {users}", "pam tabi"), ids=("file", "pam"))
@pytest.mark.parametrize(
    "listen, wrap, log_in",
    (
        ("", plain, through),
        ("", plain, by_http),
        (" tls {tls}", in_tls, through),
        (" tls {tls}", in_tls, by_http),
        (" tls-upgrade {tls}", None, behind_the_upgrade),
    ),
    ids=("socks", "http", "tls-socks", "tls-http", "upgrade"),
)
def test_no_trace_in_memory(
    tabi, target, pam, tmp_path, listen, wrap, log_in, auth, password  # noqa: F811
):
    target(targets.echo)
    ca = certs.Authority(tmp_path)
    ca.server()
    assert run("passwd", str(tmp_path / "users"), "alice", input=PASSWORD + "\n").returncode == 0
    pam.known("alice:" + PASSWORD)
    text = f"listen 127.0.0.1:1080{listen}\nauth {auth}\n".format(
        tls=f"{ca.path('server.pem')} {ca.path('server.key')}", users=tmp_path / "users"
    )
    program = tabi(
        f"workers 1\nresolver 127.0.0.1:5353\nlog level debug\n{text}allow all\nallow to loopback\n",
        preexec=pam.mount,
    )
    with log_in(wrap, password):
        time.sleep(0.1)
        for pid in (program.pid, *program.workers()):
            for memory in writable_memory(pid):
                for needle in NEEDLES:
                    at = memory.find(needle)
                    assert at < 0, (pid, memory[max(0, at - 40) : at + 40])
    assert PASSWORD not in program.log()
