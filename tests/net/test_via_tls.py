# SPDX-License-Identifier: MIT
"""TLS toward other proxies, in the server and in `tabi forward`: our certificate, and theirs."""

import os
import shutil
import signal

import pytest

from harness import certs, socks, targets
from harness.config import PROXY
from harness.tabi import Tabi, run

NAMES = {"localhost": ["127.0.0.1"], "edge.example": ["127.0.0.1"]}
UP = "socks5+tls://localhost:1081"
SCHEMES = ("socks5+tls", "https")


@pytest.fixture(autouse=True)
def names(network, dns_server):
    return dns_server(NAMES)


def front(url, words=""):
    """Ours: everything goes through `up`."""
    return (
        f"workers 1\nlisten 127.0.0.1:1080\nresolver 127.0.0.1:5353\n"
        f"proxy up {url} {words}\nallow from loopback to any via up\n"
    )


def guard(ca, port=1081, words=None, clients=None):
    """One that wants a certificate of `clients`."""
    words = f"client-ca {(clients or ca).pem}" if words is None else words
    return (
        f"workers 1\nlisten 127.0.0.1:{port} tls {ca.path('server.pem')} {ca.path('server.key')} "
        f"{words}\nresolver 127.0.0.1:5353\nallow from loopback to any\n"
    )


def mine(ca, name="alice"):
    return f"cert {ca.path(name + '.pem')} {ca.path(name + '.key')}"


def check_echo(n=100_000):
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        data = targets.pattern(n, "mtls")
        sock.sendall(data)
        targets.check_same(socks.recv_exact(sock, n), data)


def check_refused(first, why, error=None):
    """No TLS, said in the log as what it is."""
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    line = first.wait_session(reason="proxy-tls")
    assert error is None or line["proxy-error"] == error
    down = first.wait_for_log(lambda r: r.event == "proxy-down")
    assert why in down["detail"], down.line


# ---- our certificate ----


@pytest.mark.parametrize("scheme", SCHEMES)
def test_accepted(tabi, target, authority, scheme):
    target(targets.echo)
    second = tabi(guard(authority))
    tabi(front(f"{scheme}://localhost:1081", f"ca {authority.pem} {mine(authority)}"))
    check_echo()
    assert second.wait_session(reason="done")["user"] == "alice"


@pytest.mark.parametrize("chain", (
    "socks5h://127.0.0.1:1082,{}", "{},http://127.0.0.1:1082", "https://localhost:1083,{}",
))  # fmt: skip
def test_in_a_chain(tabi, target, authority, chain):
    """Behind another, before another, and TLS in TLS: each that asks is shown it."""
    target(targets.echo)
    second = tabi(guard(authority))
    plain = guard(authority, 1083, "").replace("workers", "listen 127.0.0.1:1082\nworkers")
    tabi(plain)
    tabi(front(chain.format(UP), f"ca {authority.pem} {mine(authority)}"))
    check_echo()
    assert second.wait_session(reason="done")["user"] == "alice"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_missing(tabi, target, authority, scheme):
    seen = target(targets.echo)
    tabi(guard(authority))
    first = tabi(front(f"{scheme}://localhost:1081", f"ca {authority.pem}"))
    check_refused(first, "certificate required")
    assert seen.accepted == 0


@pytest.mark.parametrize("what, why", (("expired", "expired"), ("unknown", "unknown ca")))
def test_refused(tabi, target, authority, tmp_path, what, why):
    """Out of date, or of an authority that the proxy does not know."""
    seen = target(targets.echo)
    other = certs.Authority(tmp_path, "other")
    other.issue("alice", days=-1 if what == "expired" else 10)
    tabi(guard(authority, clients=other if what == "expired" else authority))
    first = tabi(front(UP, f"ca {authority.pem} {mine(other)}"))
    check_refused(first, why)
    assert seen.accepted == 0


def test_the_next_one_is_tried(tabi, target, authority):
    target(targets.echo)
    tabi(guard(authority))
    tabi(guard(authority, 1082, ""))
    first = tabi(
        front(UP, f"ca {authority.pem}\nproxy up socks5+tls://localhost:1082 ca {authority.pem}")
    )
    check_echo(10)
    assert first.wait_session(reason="done")["proxy"] == "localhost:1082"


def test_reload(tabi, target, authority, tmp_path):
    """The files are read anew: new connections show the new certificate, and live ones go on."""
    target(targets.echo)
    second = tabi(guard(authority))
    authority.issue("bob")
    for end in ("pem", "key"):
        shutil.copy(authority.path(f"alice.{end}"), tmp_path / f"me.{end}")
    config = front(UP, f"ca {authority.pem} cert me.pem me.key")
    first = tabi(config)
    live = socks.open5(PROXY, "127.0.0.1", 7000)
    for end in ("pem", "key"):
        shutil.copy(authority.path(f"bob.{end}"), tmp_path / f"me.{end}")
    first.signal(signal.SIGHUP)
    first.wait_text("was reloaded")
    check_echo(10)
    assert second.wait_session(reason="done", user="bob")
    live.sendall(b"still here")
    assert socks.recv_exact(live, 10) == b"still here"
    live.close()
    assert second.wait_session(reason="done", user="alice")


def test_reload_with_a_mistake(tabi, target, authority, tmp_path):
    """What does not belong together is not taken, and the old one stays."""
    target(targets.echo)
    second = tabi(guard(authority))
    for end in ("pem", "key"):
        shutil.copy(authority.path(f"alice.{end}"), tmp_path / f"me.{end}")
    first = tabi(front(UP, f"ca {authority.pem} cert me.pem me.key"))
    authority.issue("bob")
    shutil.copy(authority.path("bob.key"), tmp_path / "me.key")
    first.signal(signal.SIGHUP)
    first.wait_text("is not the key of the certificate")
    first.wait_text("the old one stays in force")
    check_echo(10)
    assert second.wait_session(reason="done", user="alice")


@pytest.mark.parametrize("name, make, why", (
    ("me.key", lambda path: os.chmod(path, 0o644), "chmod 600"),
    ("me.key", lambda path: os.unlink(path), "does not exist"),
    ("me.pem", lambda path: os.truncate(path, 0), "holds no certificate"),
    ("me.key", lambda path: os.truncate(path, 0), "holds no private key"),
))  # fmt: skip
def test_bad_files(authority, tmp_path, name, make, why):
    """By `tabi serve` and by `tabi check`, with the line."""
    for end in ("pem", "key"):
        shutil.copy(authority.path(f"alice.{end}"), tmp_path / f"me.{end}")
    make(tmp_path / name)
    (tmp_path / "t.conf").write_text(front(UP, f"ca {authority.pem} cert me.pem me.key"))
    for command in (("serve", "-c"), ("check",)):
        done = run(*command, str(tmp_path / "t.conf"))
        missing = "does not exist" in why and command == ("check",)
        assert done.returncode == (0 if missing else 1)
        assert "t.conf:4: " in done.stderr and name in done.stderr and why in done.stderr


# ---- theirs ----


def test_server_name(tabi, target, authority, tmp_path):
    """The name to check is not the one to connect to."""
    target(targets.echo)
    ca = certs.Authority(tmp_path)
    ca.issue("server", names="DNS:edge.example")
    tabi(guard(ca, words=""))
    first = tabi(front(UP, f"ca {ca.pem} server-name edge.example"))
    check_echo(10)
    assert first.wait_session(reason="done")["proxy"] == "localhost:1081"


@pytest.mark.parametrize("words", ("", "server-name localhost", "server-name 127.0.0.1"))
def test_wrong_name(tabi, target, tmp_path, words):
    seen = target(targets.echo)
    ca = certs.Authority(tmp_path)
    ca.issue("server", names="DNS:edge.example")
    tabi(guard(ca, words=""))
    first = tabi(front(UP, f"ca {ca.pem} {words}"))
    check_refused(first, "mismatch", "tls-certificate")
    assert seen.accepted == 0


def test_a_ca_for_each(tabi, target, authority, tmp_path):
    """Two lines of one group: each trusts its own, and not the other's."""
    target(targets.echo)
    other = certs.Authority(tmp_path)
    other.server()
    tabi(guard(authority, 1081, ""))
    tabi(guard(other, 1082, ""))
    line = "proxy up socks5+tls://localhost:{} ca {}\n"

    def two(first, second):
        text = front(UP).partition("proxy up")[0]
        text += line.format(1081, first.pem) + line.format(1082, second.pem)
        return text + "allow from loopback to any via up\n"

    first = tabi(two(authority, other).replace("ca ", "balance hash ca ", 1))
    check_echo(10)
    first.stop()
    first = tabi(two(other, authority))
    check_refused(first, "", "tls-certificate")
    first.wait_for_log(lambda r: r.event == "proxy-down", n=2)


def test_insecure(tabi, target, tmp_path):
    """Only where it is said, and then the log says so at every start and reload, and `tabi check`."""
    target(targets.echo)
    ca = certs.Authority(tmp_path)
    ca.issue("server", names="DNS:edge.example", days=-1)
    tabi(guard(ca, words=""))
    config = front(UP, "insecure")
    first = tabi(config)
    check_echo(10)
    first.wait_text("tabi.conf:4: 'insecure': anybody on the way can pretend to be the proxy")
    first.signal(signal.SIGHUP)
    first.wait_text("'insecure': anybody", n=2)
    (tmp_path / "t.conf").write_text(config)
    done = run("check", str(tmp_path / "t.conf"))
    assert done.returncode == 0 and "warning: " in done.stderr and "'insecure'" in done.stderr


# ---- tabi forward ----


@pytest.fixture
def forward(tmp_path):
    started = []

    def start(*args):
        started.append(Tabi(str(tmp_path), args=args, command="forward"))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_forward_with_a_certificate(tabi, forward, target, authority, scheme):
    target(targets.echo)
    second = tabi(guard(authority))
    first = forward(
        "-x", f"{scheme}://127.0.0.1:1081", "--ca", authority.pem,
        "--cert", authority.path("alice.pem"), "--key", authority.path("alice.key"),
    )  # fmt: skip
    check_echo()
    assert second.wait_session(reason="done")["user"] == "alice"
    assert "insecure" not in first.log()


def test_forward_without_one(tabi, forward, authority):
    tabi(guard(authority))
    check_refused(forward("-x", "https://127.0.0.1:1081", "--ca", authority.pem), "certificate")


@pytest.mark.parametrize("what, why", (("expired", "expired"), ("unknown", "unknown ca")))
def test_forward_with_a_bad_one(tabi, forward, authority, tmp_path, what, why):
    other = certs.Authority(tmp_path, "other")
    pem, key = other.issue("alice", days=-1 if what == "expired" else 10)
    tabi(guard(authority, clients=other if what == "expired" else authority))
    words = ("--ca", authority.pem, "--cert", pem, "--key", key)
    check_refused(forward("-x", "https://127.0.0.1:1081", *words), why)


@pytest.mark.parametrize("kind, why", (("name", "mismatch"), ("ca", "issuer")))
def test_forward_to_a_wrong_proxy(tabi, forward, target, authority, tmp_path, kind, why):
    """Its certificate is for another name, or of an authority that is not the one said."""
    seen = target(targets.echo)
    ca = certs.Authority(tmp_path)
    ca.issue("server", names="DNS:edge.example" if kind == "name" else "IP:127.0.0.1")
    tabi(guard(ca, words=""))
    trusted = ca.pem if kind == "name" else authority.pem
    check_refused(forward("-x", "socks5+tls://127.0.0.1:1081", "--ca", trusted), why, "tls-certificate")
    assert seen.accepted == 0


def test_forward_insecure(tabi, forward, target, tmp_path):
    """No authority is trusted that made this one."""
    target(targets.echo)
    ca = certs.Authority(tmp_path)
    ca.server()
    tabi(guard(ca, words=""))
    first = forward("-x", "https://127.0.0.1:1081")
    check_refused(first, "issuer", "tls-certificate")
    first.stop()
    first = forward("-x", "https://127.0.0.1:1081", "--insecure")
    check_echo(10)
    first.wait_text("'insecure': anybody")


@pytest.mark.parametrize("args, why", (
    (("--cert", "{ca}/alice.pem"), "--cert and --key go together"),
    (("--cert", "{ca}/alice.pem", "--key", "{ca}/ca.key"), "not the key of the certificate"),
    (("--insecure", "--ca", "{ca}/ca.pem"), "excludes --ca"),
    (("--insecure", "-x", "http://127.0.0.1:1"), "speaks TLS"),
    (("--cert", "{ca}/none.pem", "--key", "{ca}/alice.key"), "No such file"),
))  # fmt: skip
def test_forward_mistakes(authority, args, why):
    args = [one.format(ca=authority.directory) for one in args]
    done = run("forward", "-x", "https://127.0.0.1:1", *args)
    assert done.returncode == 2
    assert why in done.stderr
