# SPDX-License-Identifier: MIT
"""The log tells the truth, one line per session, and no secret."""

import json
import os
import signal
import socket

import pytest

from harness import netns, socks, targets
from harness.config import LOCAL, PROXY, local
from harness.logs import Record
from harness.tabi import run, wait_until

CANARY = "c4nary-in-the-mine"


def finish(sock):
    sock.shutdown(socket.SHUT_WR)
    assert socks.recv_end(sock)[1] == "eof"


@pytest.mark.parametrize("mode", ("", "log json"))
@pytest.mark.parametrize("protocol", socks.OPEN)
def test_one_true_line(tabi, target, dns_server, protocol, mode):
    dns_server({"echo.test": ["127.0.0.1"]})
    target(targets.greet(b"hello"))
    program = tabi(local(mode))
    host = "127.0.0.1" if protocol == "socks4" else "echo.test"
    with socks.OPEN[protocol](PROXY, host, 7000) as sock:
        mine = sock.getsockname()[1]
        sock.sendall(b"abc")
        assert socks.recv_exact(sock, 8) == b"helloabc"
        finish(sock)
    line = program.wait_session()
    assert line.whole and line.level == "info"
    got = {name: str(line.get(name)) for name in line}
    lines = LOCAL.count("\n") + 1
    want = {
        "from": f"127.0.0.1:{mine}",
        "listener": "127.0.0.1:1080",
        "protocol": protocol,
        "command": "connect",
        "to": f"{host}:7000",
        "verdict": "allow",
        "rule": f"tabi.conf:{lines}",
        "up": "3",
        "down": "8",
        "reason": "done",
    }
    assert {k: v for k, v in got.items() if k in want} == want
    if host == "echo.test":
        assert got["address"] == "127.0.0.1:7000"
    assert 0 <= float(got["seconds"]) < 5
    assert "user" not in got
    program.stop()
    assert len(program.sessions()) == 1


@pytest.mark.parametrize(
    "host, port, reason, verdict",
    (
        ("127.0.0.1", 7001, "refused", "allow"),
        ("127.0.0.1", 7002, "denied", "deny"),
        ("nosuch.test", 80, "not-found", None),
        ("127.0.0.1", 1080, "self", "deny"),
        ("0.0.0.0", 80, "self", None),
    ),
)
def test_refusals(tabi, dns_server, host, port, reason, verdict):
    dns_server()
    program = tabi(local("deny port 7002"))
    assert socks.ask5(PROXY, host, port) != 0
    line = program.wait_session()
    if reason:
        assert line["reason"] == reason
    if verdict:
        assert line["verdict"] == verdict
    assert line["to"] == f"{host}:{port}"
    if reason == "denied":
        assert line["rule"].endswith("tabi.conf:5")
    program.stop()
    assert len(program.sessions()) == 1


HOSTILE = (
    b'a"b',
    b'x" reason=done user="root',
    b"a\nb",
    b"a\r\n2026-01-01T00:00:00.000Z info session user=root reason=done",
    b"\x1b[31mred",
    b"back\\slash",
    b"sp ace",
    b"user=root",
    b"\xff\xfe\x80",
    b"\x7f",
    b"",
    "h\u00e4".encode(),
    b"x" * 255,
)


@pytest.mark.parametrize("mode", ("", "log json"))
def test_no_network_text_can_forge_a_line(tabi, target, dns_server, mode):
    """As a SOCKS4 user id, a user name and a destination."""
    dns_server()
    target(targets.echo)
    program = tabi(local(mode))
    claims = []
    for text in HOSTILE:
        with socks.open4(PROXY, "127.0.0.1", 7000, text) as sock:
            finish(sock)
        claims.append(text)
    for text in HOSTILE:
        with socks.dial(PROXY) as sock:
            sock.sendall(socks.greeting(0) + socks.request5(text, 7001))
            socks.recv_end(sock)
    program.wait_session(2 * len(HOSTILE))
    program.stop()
    records = program.sessions()
    assert len(records) == 2 * len(HOSTILE)
    for record, text in zip(records, claims):
        assert record.whole, record.line
        assert record["reason"] == "done"
        assert record.get("userid", "").encode("latin-1") == text
        assert "user" not in record
    for line in program.lines:
        assert line.isprintable() and line.isascii(), repr(line)
        if mode:
            json.loads(line)


@pytest.mark.parametrize("mode", ("log level trace", "log json level trace"))
def test_no_secret_in_the_log(tabi, target, tmp_path, mode):
    target(targets.echo)
    run("passwd", str(tmp_path / "users"), "alice", input=CANARY + "\n")
    program = tabi(local(f"auth password {tmp_path}/users", mode))
    with socks.open5(PROXY, "127.0.0.1", 7000, "alice", CANARY) as sock:
        targets.ping(sock)
    headers = socks.basic("alice", CANARY)
    with socks.open_http(PROXY, "127.0.0.1:7000", headers) as sock:
        targets.ping(sock)
    for wrong in (CANARY + "x", CANARY[:-1]):
        with socks.dial(PROXY) as sock:
            sock.sendall(socks.greeting(2) + socks.userpass("alice", wrong))
            socks.recv_end(sock)
    assert socks.ask_http(PROXY, "127.0.0.1", 7000, socks.basic("alice", CANARY + "x")) == 407
    for malformed in (
        b"\x05\x01\x02" + socks.userpass("alice", CANARY)[:-1],
        b"\x05\x01\x02\x05" + socks.userpass("alice", CANARY)[1:],
        b"CONNECT x HTTP/1.1\r\n" + headers + b"\r\n",
        b"GET http://alice:" + CANARY.encode() + b"@x/ HTTP/1.1\r\n" + headers + b"\r\n",
    ):
        with socks.dial(PROXY) as sock:
            sock.sendall(malformed)
            sock.shutdown(socket.SHUT_WR)
            socks.recv_end(sock)
    program.wait_session(2, user="alice", reason="done")
    program.stop()
    text = program.log()
    assert CANARY[:-1] not in text
    token = headers.split()[-1].decode()
    assert token not in text and token[:-4] not in text


def test_log_word_of_a_rule(tabi, target):
    target(targets.echo)
    program = tabi(local("allow port 7000 log"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    line = program.wait_for_log(lambda r: r.event == "decision")
    assert line["verdict"] == "allow"


def test_level_warn_is_quiet(tabi, target):
    target(targets.echo)
    program = tabi(local("log level warn"), wait=False)
    def served():
        try:
            with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
                targets.ping(sock)
            return True
        except ConnectionRefusedError:
            return False

    wait_until(served, what="the first session")
    program.stop()
    assert program.lines == []


def test_nobody_waits_for_a_log_that_nobody_reads(tabi, target):
    """A pager or a hung log collector at the other end of standard error."""
    target(targets.echo)
    program = tabi(LOCAL)
    with program.hold_log():
        for _ in range(500):
            with socks.open4(PROXY, "127.0.0.1", 7000, b"u" * 255) as sock:
                targets.ping(sock)
    # What was lost is told once there is room again.
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    line = program.wait_for_log(lambda r: "dropped" in r.line)
    assert line.whole


def test_ready_is_logged_once_and_last(tabi):
    program = tabi(LOCAL)
    assert sum(Record(line).event == "ready" for line in program.lines) == 1


def test_systemd_is_told(tabi, tmp_path):
    """sd_notify(3): READY=1 on the socket named by NOTIFY_SOCKET, and STOPPING=1 at the end."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(10)
        tabi(LOCAL, env={"NOTIFY_SOCKET": str(path)})
        assert b"READY=1" in sock.recv(4096)


def test_health_checks_are_no_news(tabi, target):
    """Who leaves without a word, by FIN or by RST as HAProxy's check does, is told at debug only."""
    target(targets.echo)
    program = tabi(local("log level debug"))
    with socks.dial(PROXY):
        pass
    socks.reset(socks.dial(PROXY))
    for reason in ("client-gone", "client-reset"):
        assert program.wait_session(reason=reason).level == "debug"


@pytest.fixture
def syslog(tmp_path):
    """A directory to stand in for /dev, with a /dev/log that this socket reads."""
    dev = tmp_path / "dev"
    dev.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(dev / "log"))
        os.chmod(dev / "log", 0o666)
        sock.settimeout(10)
        yield sock


def wait_syslog(sock, text):
    while True:
        line = sock.recv(65536).decode()
        if text in line:
            return line


def test_syslog_has_the_lines_of_workers(tabi, target, syslog, tmp_path):
    """A worker's connection to syslog is its own: the supervisor's is not there any more, and
    what has its number then is the channel, or somebody's session."""
    target(targets.echo)
    dev = str(tmp_path / "dev")
    program = tabi(
        local("log syslog"), wait=False, preexec=lambda: netns.mount_over(dev, "/dev")
    )
    assert "listen=127.0.0.1:1080" in wait_syslog(syslog, "ready ")
    for _ in range(2):
        with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
            targets.ping(sock)
        line = wait_syslog(syslog, "session ")
        assert "worker=0" in line and "to=127.0.0.1:7000" in line and "reason=done" in line
        program.signal(signal.SIGHUP)
        wait_syslog(syslog, "was reloaded")
    program.write_config(local())
    program.signal(signal.SIGHUP)
    program.wait_text("was reloaded")
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    program.wait_session()
