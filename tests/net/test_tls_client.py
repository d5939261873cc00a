# SPDX-License-Identifier: MIT
"""tabi connect through proxies with TLS: net/chain and net/tls from the client's side."""

import hashlib
import socket
import ssl
import threading

import pytest

from harness import certs, connect, socks, targets
from harness.config import ALLOW_ALL
from harness.connect import check
from harness.tabi import run

TARGET = "127.0.0.1:7000"
MB = 1 << 20


def serve(ca, port=1443, words="", plain=1080):
    """Plain on one port, TLS on another."""
    files = f"{ca.path('server.pem')} {ca.path('server.key')}"
    return (
        f"workers 1\nlisten 127.0.0.1:{plain}\nlisten 127.0.0.1:{port} tls {files} {words}\n"
        f"resolver 127.0.0.1:5353\n{ALLOW_ALL}"
    )


def client(chain, *options, data=b"hello", to=TARGET):
    return connect.connect("-x", chain, *options, to, data=data)


def check_echo(done, data=b"hello"):
    assert (done.returncode, done.stderr) == (0, b"")
    targets.check_same(done.stdout, data)


@pytest.mark.parametrize("scheme", ("socks5+tls", "https"))
@pytest.mark.parametrize("host", ("localhost", "127.0.0.1"))
def test_one_proxy(tabi, target, authority, scheme, host):
    """By name and by address; its certificate is for both."""
    target(targets.echo)
    program = tabi(serve(authority))
    check_echo(client(f"{scheme}://{host}:1443", "--ca", authority.pem))
    line = program.wait_session(reason="done", listener="127.0.0.1:1443")
    assert line["protocol"] == ("http" if scheme == "https" else "socks5")
    assert (line["up"], line["down"]) == ("5", "5")


@pytest.mark.parametrize(
    "chain",
    (
        "socks4a://127.0.0.1:1080,socks5+tls://localhost:2443",
        "socks5+tls://localhost:1443,socks5h://127.0.0.1:2080",
        "https://localhost:1443,socks5+tls://localhost:2443",
        "socks5+tls://localhost:1443,https://127.0.0.1:2443",
    ),
)
def test_chains(tabi, target, dns_server, authority, chain):
    """TLS before, behind and inside of what is not, and TLS in TLS."""
    dns_server({"localhost": ["127.0.0.1"]})
    target(targets.echo)
    first = tabi(serve(authority))
    second = tabi(serve(authority, 2443, plain=2080))
    data = targets.pattern(8 * MB, chain)
    check_echo(client(chain, "--ca", authority.pem, data=data), data)
    assert int(first.wait_session(reason="done")["up"]) > 8 * MB
    assert second.wait_session(reason="done")["up"] == str(8 * MB)


def test_certificate_of_our_own(tabi, target, authority):
    target(targets.echo)
    program = tabi(serve(authority, words=f"client-ca {authority.pem}"))
    mine = ("--cert", authority.path("alice.pem"), "--key", authority.path("alice.key"))
    check_echo(client("socks5+tls://localhost:1443", "--ca", authority.pem, *mine))
    program.wait_session(method="cert", user="alice", reason="done")
    done = client("socks5+tls://localhost:1443", "--ca", authority.pem)
    check(done, connect.TLS, "certificate required")


def test_password_inside(tabi, target, authority, tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    target(targets.echo)
    tabi(f"auth password {tmp_path}/users\n" + serve(authority))
    for scheme in ("socks5+tls", "https"):
        check_echo(client(f"{scheme}://alice:secret@localhost:1443", "--ca", authority.pem))
    done = client("socks5+tls://alice:wrong@localhost:1443", "--ca", authority.pem)
    check(done, connect.AUTH, "did not accept the user or the password")


@pytest.mark.parametrize(
    "kind, why",
    (
        ("another name", "hostname mismatch"),
        ("another address", "IP address mismatch"),
        ("expired", "certificate has expired"),
        ("unknown", "unable to get local issuer"),
        ("for clients", "purpose"),
        ("system", "unable to get local issuer"),
    ),
)
def test_proxies_that_are_not_believed(tabi, target, authority, tmp_path, kind, why):
    """And that are when nothing is to be believed: but only where somebody says so."""
    ca = certs.Authority(tmp_path)
    names = "DNS:localhost,IP:127.0.0.1"
    how = {
        "another name": {"names": "DNS:other.test,IP:127.0.0.1"},
        "another address": {"names": "DNS:localhost,IP:127.0.0.2,DNS:127.0.0.1"},
        "expired": {"names": names, "days": -1},
        "for clients": {"names": names, "purpose": "clientAuth"},
    }
    ca.issue("server", "/CN=localhost", **how.get(kind, {"names": names}))
    seen = target(targets.echo)
    program = tabi(serve(ca))
    host = "127.0.0.1" if kind == "another address" else "localhost"
    trusted = {"unknown": ("--ca", authority.pem), "system": ()}.get(kind, ("--ca", ca.pem))
    done = client(f"socks5+tls://{host}:1443", *trusted)
    check(done, connect.TLS, "the certificate is missing or was not accepted: ", why)
    assert done.stdout == b""
    assert seen.accepted == 0
    program.wait_session(reason="tls-handshake")
    check_echo(client(f"socks5+tls://{host}:1443", "--insecure"))


def test_a_proxy_that_speaks_no_tls(tabi, authority):
    tabi(serve(authority))
    done = client("https://localhost:1080", "--ca", authority.pem)
    check(done, connect.TLS)


def test_a_stream_that_is_cut_off(authority):
    """A proxy that ends without close_notify: what came before is there, and it is no success."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.path("server.pem"), authority.path("server.key"))
    listener = socket.create_server(("127.0.0.1", 1443))

    def proxy():
        raw, _ = listener.accept()
        with context.wrap_socket(raw, server_side=True) as sock:
            socks.recv_exact(sock, 3)
            sock.sendall(b"\x05\x00")
            socks.recv_exact(sock, 10)
            sock.sendall(b"\x05\x00\x00\x01" + bytes(6) + b"half")
            raw = sock.detach()
        socket.socket(fileno=raw).close()

    thread = threading.Thread(target=proxy)
    thread.start()
    done = client("socks5+tls://localhost:1443", "--ca", authority.pem)
    thread.join()
    listener.close()
    check(done, connect.CUT, "the connection broke")
    assert done.stdout == b"half"


def test_half_close(tabi, target, authority):
    """Standard input ends, and the answer that follows from that still arrives."""
    seen = target(targets.answer_after_eof(b"the answer"))
    tabi(serve(authority))
    done = client("socks5+tls://localhost:1443", "--ca", authority.pem, data=b"question")
    check_echo(done, b"the answer")
    assert seen.wait_result() == (b"question", "eof")


def test_digest_of_what_went_through(tabi, target, authority):
    """8 MB up, to a target that tells what it got."""

    def digest(sock):
        data, _ = socks.recv_end(sock)
        sock.sendall(hashlib.sha256(data).hexdigest().encode())
        sock.close()

    target(digest)
    tabi(serve(authority))
    data = targets.pattern(8 * MB, "digest")
    done = client("https://localhost:1443", "--ca", authority.pem, data=data)
    check_echo(done, hashlib.sha256(data).hexdigest().encode())
