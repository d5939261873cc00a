# SPDX-License-Identifier: MIT
"""Chromium, ncat, and the two wrappers that take unaware programs through a proxy."""

import socket

import pytest

from harness import targets
from harness.config import local
from harness.tabi import run
from interop_helpers import NAME, OUTSIDE, PAGE, PASSWORD, check_line

CHROMIUM = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--disable-extensions", "--disable-default-apps",
    "--proxy-bypass-list=<-loopback>",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme, protocol", (("socks5", "socks5"), ("socks4", "socks4"), ("http", "http"))
)
def test_chromium_loads_a_page(tabi, client, web, names, tmp_path, scheme, protocol):
    """By name where the protocol can say one. From an http:// proxy it asks a tunnel only for wss and
    https, so there the page comes by a forwarded request."""
    program = tabi(local())
    host = OUTSIDE if scheme == "socks4" else NAME
    out = client(
        *CHROMIUM, f"--user-data-dir={tmp_path}/profile", f"--proxy-server={scheme}://127.0.0.1:1080",
        "--dump-dom", f"http://{host}:8000/page.html",
    )  # fmt: skip
    assert b"tabi-was-here" in out
    if scheme == "http":
        line = program.wait_for_log(lambda r: r.event == "request" and r["to"] == f"{host}:8000")
        assert (line["protocol"], line["verdict"], line["http"]) == ("http", "allow", "GET")
        return
    line = program.wait_session(1, to=f"{host}:8000", protocol=protocol)
    assert line["verdict"] == "allow"
    # One line for each connection that reached the web server, and no other.
    program.stop()
    mine = [r for r in program.sessions() if r.get("to") == f"{host}:8000"]
    assert len(mine) == len(web.peers)


@pytest.mark.parametrize(
    "kind, host, protocol",
    (
        ("socks4", OUTSIDE, "socks4"),
        ("socks5", OUTSIDE, "socks5"),
        ("socks5", NAME, "socks5"),
        ("http", OUTSIDE, "http"),
        ("http", NAME, "http"),
    ),
)
def test_ncat(tabi, client, outside, names, target, kind, host, protocol):
    target(targets.answer_after_eof(b"the answer\n"), address=OUTSIDE)
    program = tabi(local())
    out = client(
        "ncat", "--proxy", "127.0.0.1:1080", "--proxy-type", kind, "--proxy-dns", "remote", host,
        "7000", input=b"question\n",
    )  # fmt: skip
    assert out == b"the answer\n"
    line = check_line(program, protocol=protocol, to=f"{host}:7000")
    assert (line["up"], line["down"]) == ("9", "11")


@pytest.mark.parametrize("kind", ("socks5", "http"))
def test_ncat_with_password(tabi, client, outside, names, users, target, kind):
    target(targets.answer_after_eof(b"the answer\n"), address=OUTSIDE)
    program = tabi(local(f"auth password {users}"))
    out = client(
        "ncat", "--proxy", "127.0.0.1:1080", "--proxy-type", kind, "--proxy-auth",
        f"alice:{PASSWORD}", OUTSIDE, "7000", input=b"question\n",
    )  # fmt: skip
    assert out == b"the answer\n"
    check_line(program, protocol=kind, user="alice")


@pytest.mark.parametrize(
    "version, protocol", (("4", "socks4"), ("5", "socks5"), ("connect", "http"))
)
def test_netcat(tabi, client, outside, names, target, version, protocol):
    """OpenBSD's, by name where it can, with the half-close that -N asks for."""
    target(targets.answer_after_eof(b"the answer\n"), address=OUTSIDE)
    program = tabi(local())
    host = OUTSIDE if version == "4" else NAME
    out = client(
        "nc.openbsd", "-N", "-X", version, "-x", "127.0.0.1:1080", host, "7000", input=b"question\n"
    )
    assert out == b"the answer\n"
    check_line(program, protocol=protocol, to=f"{host}:7000")


def write_proxychains(tmp_path, *proxies):
    path = tmp_path / "proxychains.conf"
    lines = ["strict_chain", "proxy_dns", "quiet_mode", "[ProxyList]", *proxies]
    path.write_text("\n".join(lines) + "\n")
    return "proxychains4", "-q", "-f", str(path)


@pytest.mark.parametrize("kind", ("socks4", "socks5", "http"))
def test_proxychains_curl(tabi, client, web, names, tmp_path, kind):
    chains = write_proxychains(tmp_path, f"{kind} 127.0.0.1 1080")
    program = tabi(local())
    host = OUTSIDE if kind == "socks4" else NAME
    out = client(*chains, "curl", "-sS", "--max-time", "20", f"http://{host}:8000/page")
    assert out == PAGE
    check_line(program, protocol=kind, to=f"{host}:8000")


@pytest.mark.parametrize("kind", ("socks5", "http"))
def test_proxychains_netcat_with_password(tabi, client, web, tmp_path, kind):
    users = tmp_path / "others"
    run("passwd", str(users), "alice", input="secret\n")
    chains = write_proxychains(tmp_path, f"{kind} 127.0.0.1 1080 alice secret")
    program = tabi(local(f"auth password {users}"))
    request = b"GET /page HTTP/1.0\r\n\r\n"
    out = client(*chains, "nc.openbsd", "-N", OUTSIDE, "8000", input=request)
    assert out.endswith(PAGE)
    check_line(program, protocol=kind, to=f"{OUTSIDE}:8000", user="alice")


@pytest.mark.parametrize("version", ("4", "5"))
@pytest.mark.parametrize("command", ("curl", "nc"))
def test_tsocks(tabi, client, web, tmp_path, version, command):
    """It leaves loopback alone, and takes the rest through the proxy."""
    config = tmp_path / "tsocks.conf"
    config.write_text(
        "local = 127.0.0.0/255.0.0.0\n"
        f"server = 127.0.0.1\nserver_port = 1080\nserver_type = {version}\n"
    )
    program = tabi(local())
    env = {"TSOCKS_CONF_FILE": str(config)}
    if command == "curl":
        out = client("tsocks", "curl", "-sS", "--max-time", "20", f"http://{OUTSIDE}:8000/page", env=env)
        assert out == PAGE
    else:
        request = b"GET /page HTTP/1.0\r\n\r\n"
        out = client("tsocks", "nc.openbsd", "-N", OUTSIDE, "8000", env=env, input=request)
        assert out.endswith(PAGE)
    check_line(program, protocol=f"socks{version}", to=f"{OUTSIDE}:8000")


def test_hosts_are_not_resolved_locally(outside):
    """The names of these tests exist at the stub alone: that a client got there by name proves that
    the proxy looked it up."""
    with pytest.raises(OSError):
        socket.getaddrinfo(NAME, 80)
