# SPDX-License-Identifier: MIT
"""The server through other people's proxies, and `tabi forward` for programs that lack what a proxy
wants."""

import select
import socket
import subprocess

import pytest

from harness import udp
from harness.config import local
from harness.tabi import Tabi, run
from interop_helpers import NAME, OUTSIDE, PAGE, PASSWORD
from test_clients import CHROMIUM
from test_tabi_connect import PROXIES, host_for, hosts, serving  # noqa: F401

assert hosts


def via(url, *words):
    return local(f"proxy up {url} {' '.join(words)}").replace(
        "allow from loopback to any\n", "allow from loopback to any via up\n"
    )


@pytest.mark.parametrize("name", PROXIES)
def test_through_others(tabi, client, web, sshd, home, hosts, tmp_path, name):  # noqa: F811
    """A page, and a target that nobody listens at: its refusal is told apart from the proxy's."""
    make, urls = PROXIES[name]
    more = (sshd,) if name == "ssh -D" else ()
    with make(tmp_path, hosts, home, *more):
        for url in urls:
            program = tabi(via(url))
            known = not url.startswith("socks4:") and host_for(name) != OUTSIDE
            host = NAME if known else OUTSIDE
            out = client("curl", "-sS", "-x", "socks5h://127.0.0.1:1080", f"http://{host}:8000/page")
            assert out == PAGE
            line = program.wait_session(to=f"{host}:8000", reason="done")
            assert (line["via"], line["proxy"]) == ("up", "127.0.0.1:1081")
            done = subprocess.run(
                ["curl", "-sS", "-x", "socks5h://127.0.0.1:1080", f"http://{OUTSIDE}:8009/"],
                env=home, capture_output=True, timeout=60,
            )  # fmt: skip
            assert done.returncode == 97, done
            line = program.wait_session(to=f"{OUTSIDE}:8009")
            assert line["proxy-stage"] == "reply" and line["reason"] != "done"
            assert not [r for r in program.lines if "proxy-down" in r]
            program.stop()


def test_tor(tabi, client, home, tmp_path):
    """A real tor, without a network: it takes the credentials that keep users apart, and the name."""
    (tmp_path / "torrc").write_text(
        f"SocksPort 127.0.0.1:9050\nDataDirectory {tmp_path}/tor\nSocksTimeout 2\n"
        f"Log notice file {tmp_path}/tor.log\nGeoIPFile /dev/null\nGeoIPv6File /dev/null\n"
    )
    with serving(9050, "tor", "-f", str(tmp_path / "torrc"), env=home):
        program = tabi(via("socks5h://127.0.0.1:9050", "isolate", "user"))
        name = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"
        done = subprocess.run(
            ["curl", "-sS", "-m", "30", "-x", "socks5h://127.0.0.1:1080", f"http://{name}/"],
            env=home, capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 97, done
        line = program.wait_session(to=f"{name}:80")
        assert (line["via"], line["proxy-stage"]) == ("up", "reply")
        assert not [r for r in program.lines if "proxy-down" in r]


# ---- tabi forward ----


def start_forward(directory, *args):
    """`tabi forward` from start to stop."""
    return Tabi(directory, args=args, command="forward")


@pytest.fixture
def guarded(tabi, users, authority, names):
    """A server that wants a password, over TLS."""
    words = f"tls {authority.path('server.pem')} {authority.path('server.key')}"
    return tabi(
        f"workers 1\nlisten 127.0.0.1:1443 {words}\nresolver 127.0.0.1:5353\n"
        f"auth password {users}\nallow user alice to any\n"
    )


@pytest.fixture
def forward(guarded, authority, tmp_path):
    """With the password in a file, and a name for the server that its certificate has."""
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    (tmp_path / "secret").chmod(0o600)
    started = start_forward(
        str(tmp_path), "-x", "socks5+tls://alice@127.0.0.1:1443", "--ca", authority.pem,
        "--password-file", str(tmp_path / "secret"),
    )  # fmt: skip
    yield started
    started.stop()


@pytest.mark.parametrize("scheme", ("socks4a", "socks5h", "http"))
def test_forward_curl(guarded, forward, client, web, scheme):
    out = client("curl", "-sS", "-p", "-x", f"{scheme}://127.0.0.1:1080", f"http://{NAME}:8000/page")
    assert out == PAGE
    line = guarded.wait_session(user="alice", to=f"{NAME}:8000", reason="done")
    assert line["method"] == "password"
    assert PASSWORD not in forward.log()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ("socks5", "http"))
def test_forward_chromium(guarded, forward, client, web, tmp_path, scheme):
    """Chromium has no SOCKS authentication."""
    out = client(
        *CHROMIUM, f"--user-data-dir={tmp_path}/profile", f"--proxy-server={scheme}://127.0.0.1:1080",
        "--dump-dom", f"http://{NAME}:8000/page.html",
    )  # fmt: skip
    assert b"tabi-was-here" in out
    guarded.wait_for_log(lambda r: r.get("user") == "alice" and r.get("to") == f"{NAME}:8000")


def test_forward_shows_no_password(guarded, client, web, authority, tmp_path):
    """In the URL it is hidden from ps(1); nor is it in the environment or the log."""
    url = "https://alice:pa%3Ass%25word@127.0.0.1:1443"
    started = start_forward(str(tmp_path), "-x", url, "--ca", authority.pem, "-l", "127.0.0.1:1085")
    try:
        out = client("curl", "-sS", "-x", "socks5h://127.0.0.1:1085", f"http://{OUTSIDE}:8000/page")
        assert out == PAGE
        with open(f"/proc/{started.pid}/cmdline", "rb") as f:
            assert b"word" not in f.read()
    finally:
        started.stop()
    assert "word" not in started.log().replace("password", "")


@pytest.mark.parametrize("args, why", (
    ((), "no proxy"),
    (("-x", "socks5h://127.0.0.1:1", "more"), "too many arguments"),
    (("-x", "socks5h://127.0.0.1:1", "-l", "127.0.0.1:1 open"), "not an address to listen on"),
    (("-x", "socks5h://127.0.0.1:1", "-a", "any\nallow all"), "not a list of nets"),
    (("-x", "socks5h://127.0.0.1:1", "-l", "nowhere"), "nowhere"),
    (("-x", "socks5h://127.0.0.1:1", "-l", "0.0.0.0:1", "-a", "any"), "strangers may use"),
))  # fmt: skip
def test_forward_mistakes(home, args, why):
    done = run("forward", *args, env=home)
    assert done.returncode in (1, 2)
    assert why in done.stderr


def test_forward_is_for_this_host(guarded, forward, outside):
    """Nothing listens where others could come in."""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((OUTSIDE, 1080)).close()


# ---- datagrams ----

# With a port range for UDP, 0 for any; it lets all of this host in.
DANTED = """\
logoutput: {dir}/log{port}
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 command: connect udpassociate }}
socks pass {{ from: 0/0 to: 0/0 command: udpreply }}
"""


def danted(directory, port, preexec):
    path = directory / f"danted{port}.conf"
    path.write_text(DANTED.format(dir=directory, port=port))
    return serving(port, "danted", "-f", str(path), "-p", f"{path}.pid", preexec_fn=preexec)


def ask(client, host, text):
    """Dante connects its socket to the first remote, and may lose what comes meanwhile."""
    for _ in range(5):
        client.send(host, 7000, text)
        if select.select([client.sock], [], [], 1)[0]:
            assert client.recv() == (("127.0.0.1", 7000), text)
            return
    raise AssertionError("no answer")


@pytest.mark.parametrize("urls", (
    "socks5h://127.0.0.1:1081", "socks5h://127.0.0.1:1081,socks5h://127.0.0.1:1082",
    "socks5h://127.0.0.1:1082,socks5h://127.0.0.1:1081",
), ids=("alone", "first", "last"))  # fmt: skip
def test_datagrams_through_dante(tabi, echo, hosts, tmp_path, urls):  # noqa: F811
    """Alone, and before and behind a tabi in a chain: Dante's relay takes headers in headers."""
    remote = echo()
    with danted(tmp_path, 1081, hosts):
        if "," in urls:
            tabi("workers 1\nlisten 127.0.0.1:1082\nallow from loopback to any\n")
        program = tabi(via(urls))
        association = udp.Association()
        for n in range(3):
            ask(association, "127.0.0.1", b"text %d" % n)
        ask(association, b"localhost", b"by name")
        association.close()
        line = program.wait_session(command="udp")
        assert line["via"] == "up" and "drop-proxy" not in line
        assert {data for data, _ in remote.seen} >= {b"text 0", b"text 2", b"by name"}


def test_no_datagrams_through_others(tabi, hosts, home, tmp_path):  # noqa: F811
    """microsocks has none: the log says so, and nothing is held against it."""
    with PROXIES["microsocks"][0](tmp_path, hosts, home):
        program = tabi(via("socks5h://127.0.0.1:1081"))
        association = udp.Association()
        association.send("127.0.0.1", 7000, b"x")
        line = program.wait_for_log(lambda r: r.event == "udp-proxy-failed")
        assert (line["proxy-stage"], line["proxy-code"]) == ("reply", "7")
        association.close()
        assert program.wait_session(command="udp")["drop-proxy"] == "1"
        assert "proxy-down" not in program.log()


def test_tabi_connect_datagrams_through_dante(echo, tabi, hosts, tmp_path):  # noqa: F811
    """`tabi connect --udp` through Dante and on through us."""
    echo()
    tabi("workers 1\nlisten 127.0.0.1:1082\nallow from loopback to any\n")
    with danted(tmp_path, 1081, hosts):
        for urls in ("socks5h://127.0.0.1:1081,socks5h://127.0.0.1:1082",
                     "socks5h://127.0.0.1:1082,socks5h://127.0.0.1:1081"):
            done = run("connect", "-u", "-q", "1", "-x", urls, "127.0.0.1", "7000", input="text")
            assert (done.returncode, done.stdout) == (0, "text"), done.stderr
