# SPDX-License-Identifier: MIT
"""HAProxy in front: it takes curl's connections in, and says in its headers whose they are."""

import socket
import subprocess

import pytest

from harness import netns
from harness.tabi import wait_until
from interop_helpers import NAME, OUTSIDE, PAGE

CLIENT, CLIENT6 = "198.51.100.20", "2001:db8::20"
FRONT, FRONT6 = OUTSIDE, "2001:db8::7"

CONF = """\
workers 1
listen 127.0.0.1:1080 proxy-protocol from 127.0.0.1
resolver 127.0.0.1:5353
log level debug
allow from 198.51.100.20,2001:db8::20
"""

# Each is a port of the front: how the header is sent.
HOW = {
    3001: "send-proxy",
    3002: "send-proxy-v2",
    3003: "send-proxy-v2 proxy-v2-options crc32c",
    3004: "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    3005: "send-proxy check check-send-proxy inter 200ms",
    3006: "send-proxy-v2 check check-send-proxy inter 200ms proxy-v2-options crc32c",
}


def config():
    text = """\
global
    maxconn 100
defaults
    mode tcp
    retries 0
    timeout connect 5s
    timeout client 20s
    timeout server 20s
"""
    for port, how in HOW.items():
        text += f"""\
listen front{port}
    bind {FRONT}:{port}
    bind [{FRONT6}]:{port}
    unique-id-format %pid.%ci.%cp
    server tabi 127.0.0.1:1080 {how}
"""
    return text


@pytest.fixture
def haproxy(outside, tmp_path):
    for address in (CLIENT, CLIENT6):
        netns.add_address(address)
    path = tmp_path / "haproxy.cfg"
    path.write_text(config())
    log = open(tmp_path / "haproxy.log", "wb")
    process = subprocess.Popen(
        ["/usr/sbin/haproxy", "-db", "-f", str(path)], stdout=log, stderr=log
    )

    def listens():
        assert process.poll() is None, (tmp_path / "haproxy.log").read_text()
        try:
            socket.create_connection((FRONT, 3001), 1).close()
            return True
        except OSError:
            return False

    wait_until(listens, what="haproxy to listen")
    yield process
    process.terminate()
    process.wait(10)
    log.close()


def fetch(client, port, source, scheme="socks5h", front=FRONT):
    front = f"[{front}]" if ":" in front else front
    return client(
        "curl", "-sS", "-m", "20", "--interface", source, "-p", "-x", f"{scheme}://{front}:{port}",
        f"http://{NAME}:8000/page",
    )  # fmt: skip


@pytest.mark.parametrize("port", HOW, ids=lambda p: HOW[p].replace(" ", "+"))
@pytest.mark.parametrize("scheme", ("socks5h", "socks4a", "http"))
def test_curl_through_haproxy(tabi, client, web, names, haproxy, port, scheme):
    program = tabi(CONF)
    if port >= 3005:
        # It sends nobody to a server that its checks have found down.
        program.wait_session(8)
    assert fetch(client, port, CLIENT, scheme) == PAGE
    line = program.wait_session(1, verdict="allow")
    assert line["from"].startswith(f"{CLIENT}:")
    assert line["proxied-by"].startswith("127.0.0.1:")
    assert line["proxied-to"] == f"{FRONT}:{port}"
    assert line["reason"] == "done"


@pytest.mark.parametrize("port", (3001, 3002, 3003))
def test_ipv6_client_over_ipv4(tabi, client, web, names, haproxy, port):
    program = tabi(CONF)
    assert fetch(client, port, CLIENT6, front=FRONT6) == PAGE
    line = program.wait_session(1, verdict="allow")
    assert line["from"].startswith(f"[{CLIENT6}]:")
    assert line["proxied-to"] == f"[{FRONT6}]:{port}"


@pytest.mark.parametrize("port", (3001, 3003))
def test_another_client_is_denied(tabi, home, web, names, haproxy, port):
    """The rules see who comes to the balancer, not the balancer."""
    program = tabi(CONF)
    done = subprocess.run(
        ["curl", "-sS", "-m", "20", "--interface", FRONT, "-x", f"socks5h://{FRONT}:{port}",
         f"http://{NAME}:8000/page"], env=home, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 97
    line = program.wait_session(1, verdict="deny")
    assert line["from"].startswith(f"{FRONT}:")
    assert web.peers == []


def test_health_checks_make_no_noise(tabi, haproxy):
    """They say LOCAL (v2) or themselves (v1), and go by a reset."""
    program = tabi(CONF)
    program.wait_session(6)
    seen = program.sessions()
    assert {(r.level, r["reason"]) for r in seen} <= {("debug", "client-reset"), ("debug", "client-gone")}
    assert all(r["from"].startswith("127.0.0.1:") for r in seen)
