# SPDX-License-Identifier: MIT
"""curl: every proxy scheme it knows, with and without a password, by address and by name."""

import re
import subprocess

import pytest

from harness.config import local
from interop_helpers import NAME, OUTSIDE, OUTSIDE6, PAGE, PASSWORD, check_line

CURL = ("curl", "-sS", "-f", "--max-time", "20", "--noproxy", "")


def fetch(client, proxy, host, *options, port=8000):
    host = f"[{host}]" if ":" in host else host
    tunnel = ("-p",) if proxy.startswith("http") else ()
    out = client(*CURL, *tunnel, *options, "-x", proxy, f"http://{host}:{port}/page")
    assert out == PAGE


@pytest.mark.parametrize(
    "scheme, host, protocol, to",
    (
        ("socks4", OUTSIDE, "socks4", OUTSIDE),
        ("socks4a", NAME, "socks4a", NAME),
        ("socks4a", OUTSIDE, "socks4a", OUTSIDE),
        ("socks5", OUTSIDE, "socks5", OUTSIDE),
        ("socks5", OUTSIDE6, "socks5", f"[{OUTSIDE6}]"),
        ("socks5h", NAME, "socks5", NAME),
        ("socks5h", "six.example.test", "socks5", "six.example.test"),
        ("socks5h", OUTSIDE, "socks5", OUTSIDE),
        ("socks5h", OUTSIDE6, "socks5", f"[{OUTSIDE6}]"),
        ("http", OUTSIDE, "http", OUTSIDE),
        ("http", OUTSIDE6, "http", f"[{OUTSIDE6}]"),
        ("http", NAME, "http", NAME),
    ),
)
def test_without_password(tabi, client, web, names, scheme, host, protocol, to):
    program = tabi(local())
    fetch(client, f"{scheme}://127.0.0.1:1080", host)
    line = check_line(program, to=f"{to}:8000")
    # curl sends an address that was given to socks4a:// as a name or as an address.
    assert line["protocol"] in (protocol, "socks4")
    assert int(line["down"]) > len(PAGE)
    assert line["reason"] == "done"


@pytest.mark.parametrize(
    "scheme, host, protocol",
    (
        ("socks5", OUTSIDE, "socks5"),
        ("socks5h", NAME, "socks5"),
        ("http", NAME, "http"),
        ("http", OUTSIDE6, "http"),
    ),
)
def test_with_password(tabi, client, web, names, users, scheme, host, protocol):
    program = tabi(local(f"auth password {users}"))
    fetch(client, f"{scheme}://127.0.0.1:1080", host, "--proxy-user", f"alice:{PASSWORD}")
    line = check_line(program, user="alice")
    assert (line["protocol"], line["method"]) == (protocol, "password")


@pytest.mark.parametrize("scheme", ("socks5", "socks5h", "socks4", "socks4a", "http"))
@pytest.mark.parametrize("credentials", ((), ("--proxy-user", "alice:wrong")))
def test_turned_away(tabi, client, home, web, names, users, scheme, credentials):
    program = tabi(local(f"auth password {users}"))
    done = subprocess.run(
        [*CURL, *(("-p",) if scheme == "http" else ()), *credentials]
        + ["-x", f"{scheme}://127.0.0.1:1080", f"http://{OUTSIDE}:8000/page"],
        env=home,
        capture_output=True,
    )
    # 97: the proxy's handshake failed; of HTTP curl tells the 407 as 22 with -f, or 56.
    assert done.returncode in ((22, 56) if scheme == "http" else (97,)), done
    assert done.stdout == b""
    program.wait_for_log(lambda r: r.event == "session")
    assert web.peers == []
    assert all(r.get("verdict") != "allow" for r in program.sessions())


@pytest.mark.parametrize(
    "host, said",
    (
        ("127.0.0.1", r"\(5\)"),
        ("nosuch.test", r"\(4\)"),
        ("denied.test", r"\(2\)"),
    ),
)
def test_errors_are_told(tabi, home, names, host, said):
    """curl shows what the reply code means."""
    tabi(local("deny to denied.test"))
    done = subprocess.run(
        [*CURL, "-x", "socks5h://127.0.0.1:1080", f"http://{host}:8001/"],
        env=home,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 97
    assert re.search(said, done.stderr), done.stderr


def test_unix_socket(tabi, client, web, names, tmp_path):
    program = tabi(f"listen {tmp_path}/s\nresolver 127.0.0.1:5353\nallow all\n")
    fetch(client, f"socks5h://localhost{tmp_path}/s", NAME)
    assert check_line(program)["from"] == "unix"


def test_over_ipv6(tabi, client, web, names):
    program = tabi(local())
    fetch(client, "socks5h://[::1]:1080", NAME)
    assert check_line(program)["from"].startswith("[::1]:")


# TLS to the proxy


def tls_config(ca, listen="", rules="allow all\n"):
    files = f"{ca.path('server.pem')} {ca.path('server.key')}"
    return f"workers 1\nlisten 127.0.0.1:1443 tls {files} {listen}\nresolver 127.0.0.1:5353\n{rules}"


@pytest.mark.parametrize("host", (OUTSIDE, OUTSIDE6, NAME))
def test_https_proxy(tabi, client, web, names, authority, host):
    program = tabi(tls_config(authority))
    fetch(client, "https://127.0.0.1:1443", host, "--proxy-cacert", authority.pem)
    assert check_line(program, protocol="http")["reason"] == "done"


def test_https_proxy_with_a_certificate(tabi, client, web, authority):
    program = tabi(tls_config(authority, f"client-ca {authority.pem}", "allow user alice method cert\n"))
    mine = ("--proxy-cert", authority.path("alice.pem"), "--proxy-key", authority.path("alice.key"))
    fetch(client, "https://127.0.0.1:1443", OUTSIDE, "--proxy-cacert", authority.pem, *mine)
    check_line(program, method="cert", user="alice")


def test_https_proxy_without_its_certificate(tabi, client, web, authority):
    program = tabi(tls_config(authority, f"client-ca {authority.pem}"))
    with pytest.raises(AssertionError):
        fetch(client, "https://127.0.0.1:1443", OUTSIDE, "--proxy-cacert", authority.pem)
    program.wait_session(reason="tls-certificate")
