# SPDX-License-Identifier: MIT
"""tabi bench: every mode, directly and through every protocol; its sums, errors and exit status.

How fast anything is is nobody's business here."""

import json
import os
import signal
import socket
import struct
import subprocess
import threading

import pytest

from harness.config import HEAD, LOCAL
from harness.tabi import BINARY, run, wait_until

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

TARGET = "127.0.0.1:7000"
SCHEMES = ("socks4", "socks4a", "socks5", "socks5h", "http")
BRIEF = ("-s", "0.2", "-w", "0.05")
MODES = {
    "down": ("stream", "-d", "down", "-c", "3"),
    "up": ("stream", "-d", "up", "-c", "3"),
    "both": ("stream", "-d", "both", "-c", "3"),
    "rr": ("rr", "-c", "5", "-b", "100"),
    "big": ("rr", "-c", "2", "-b", "1048576"),
    "rate": ("rr", "-c", "4", "-r", "500"),
    "connect": ("connect", "-c", "4"),
    "idle": ("idle", "-c", "20"),
}
# Through SOCKS5 alone.
DATAGRAMS = {
    "udp": ("udp", "-c", "3", "-o", "16"),
    "rate": ("udp", "-c", "3", "-r", "500"),
    "burst": ("udp", "-c", "2", "-B", "100", "-b", "1000"),
    "trains": ("udp", "-c", "2", "-t", "-b", "500"),
    "long": ("udp", "-o", "2", "-b", "65245"),
    "short": ("udp", "-o", "1", "-b", "8"),
}


class Server:
    """`tabi bench serve`; stop() tells what it counted."""

    def __init__(self, at=TARGET, trains=False):
        self.process = subprocess.Popen(
            (BINARY, "bench", "serve", *["--trains"] * trains, at),
            stdout=subprocess.PIPE,
            text=True,
        )
        word, self.at = self.process.stdout.readline().split()
        assert word == "ready"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=10)
        assert self.process.returncode == 0
        return {k: int(v) for k, v in (field.split("=") for field in out.split())}

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def server():
    started = Server()
    yield started
    started.close()


def bench(*args, status=0, to=TARGET, brief=BRIEF):
    done = run("bench", args[0], *brief, "--json", *args[1:], to)
    assert done.stderr == ""
    assert done.returncode == status, done.stdout
    return json.loads(done.stdout)


def way_of(scheme):
    return ("--direct",) if scheme == "direct" else ("-x", f"{scheme}://127.0.0.1:1080")


def check_sums(got, counted):
    """What we counted is what the server counted, from the first byte to the last."""
    total = got["total"]
    assert got["errors"] == []
    assert got["ok"] is True
    assert counted["refused"] == 0
    assert (counted["received"], counted["sent"]) == (total["up_bytes"], total["down_bytes"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scheme", ("direct", *SCHEMES))
def test_mode(tabi, server, scheme, mode):
    if scheme != "direct":
        tabi(LOCAL)
    got = bench(*MODES[mode], *way_of(scheme))
    counted = server.stop()
    check_sums(got, counted)
    assert got["units"] > 0
    total, size = got["total"], got["size"]
    if got["mode"] == "stream":
        assert got["units"] == got["up_bytes"] + got["down_bytes"]
        assert (total["up_bytes"] > 0) == (mode in ("up", "both"))
        assert (total["down_bytes"] > 0) == (mode in ("down", "both"))
    elif got["mode"] in ("rr", "connect"):
        assert total["up_bytes"] == total["down_bytes"] == total["units"] * size
        assert 0 < got["latency_us"]["count"] <= total["units"]
        order = [got["latency_us"][k] for k in ("p50", "p90", "p99", "p999", "max")]
        assert order == sorted(order) and order[0] > 0
    if mode == "connect":
        assert counted["connections"] == total["units"]
    else:
        assert got["connections_made"] == got["connections_at_end"] == got["connections"]
        assert counted["connections"] == got["connections"]


def test_ipv6(server):
    six = Server("[::1]:7000")
    try:
        got = bench("rr", "--direct", to=six.at)
        check_sums(got, six.stop())
    finally:
        six.close()


@pytest.mark.parametrize("scheme", ("socks5", "socks5h", "http"))
def test_credentials(tabi, server, tmp_path, scheme):
    (tmp_path / "users").write_text("")
    done = run("passwd", str(tmp_path / "users"), "alice", input="a:b/c\n")
    assert done.returncode == 0
    tabi(HEAD + "auth password users\nallow user alice to any\n")
    good = bench("rr", "-x", f"{scheme}://alice:a%3Ab%2Fc@127.0.0.1:1080")
    assert good["ok"] and good["errors"] == []
    assert "alice" in good["way"] and "a%3Ab" not in good["way"]
    bad = bench("rr", "-c", "2", "-x", f"{scheme}://alice:no@127.0.0.1:1080", status=1)
    assert not bad["ok"] and bad["units"] == 0
    (error,) = bad["errors"]
    assert (error["stage"], error["error"]) == ("handshake", "proxy-auth")
    assert error["count"] == 2


def test_refused_by_rule(tabi, server):
    """With the code that the proxy gave for it."""
    tabi(HEAD + "deny from any to any\n")
    got = bench("rr", "-c", "3", *way_of("socks5h"), status=1)
    (error,) = got["errors"]
    assert (error["stage"], error["code"], error["count"]) == ("handshake", 2, 3)


@pytest.mark.parametrize("mode", MODES)
def test_dead_proxy(mode):
    got = bench(*MODES[mode], *way_of("socks5"), status=1)
    assert got["ok"] is False and got["units"] == 0
    (error,) = got["errors"]
    assert (error["stage"], error["error"]) == ("connect", "refused")
    assert error["count"] >= got["connections"]


def test_dead_proxy_in_words():
    done = run("bench", "rr", "-c", "2", *way_of("socks5"), TARGET)
    assert done.returncode == 1
    assert "error          connect: refused, 2 times" in done.stdout


@pytest.mark.parametrize("mode", ("down", "rr", "rate", "idle"))
def test_proxy_dies(tabi, server, mode):
    """In the midst of it: every connection is an error, and it ends before its time."""
    program = tabi(LOCAL)
    before = sum(program.descriptors().values())
    load = subprocess.Popen(
        (BINARY, "bench", *MODES[mode], "-s", "60", "--json", *way_of("socks5"), TARGET),
        stdout=subprocess.PIPE,
    )
    sockets = 2 * int(MODES[mode][MODES[mode].index("-c") + 1])
    wait_until(lambda: sum(program.descriptors().values()) >= before + sockets)
    program.expect_lost_workers = True
    os.kill(program.workers()[0], signal.SIGKILL)
    try:
        out, _ = load.communicate(timeout=20)
    finally:
        load.kill()
    got = json.loads(out)
    lost = [e for e in got["errors"] if e["error"] != "no-connection"]
    assert sum(e["count"] for e in lost) == got["connections"]
    assert {e["stage"] for e in lost} <= {"traffic", "handshake"}


def test_wrong_bytes():
    """A server that does not give back what it got."""
    listener = socket.create_server(("127.0.0.1", 7000))

    def answer():
        sock, _ = listener.accept()
        with sock:
            sock.recv(1000)
            sock.sendall(b"?" * 64)
            sock.recv(1000)

    thread = threading.Thread(target=answer)
    thread.start()
    got = bench("rr", "-c", "1", "--direct", status=1)
    thread.join()
    listener.close()
    assert [(e["stage"], e["error"]) for e in got["errors"]] == [("traffic", "wrong-bytes")]


def test_wrong_count():
    """A server that says another sum than ours."""
    listener = socket.create_server(("127.0.0.1", 7000))

    def sink():
        sock, _ = listener.accept()
        with sock:
            while sock.recv(1 << 16):
                pass
            sock.sendall(b"%019d %019d\n" % (7, 0))

    thread = threading.Thread(target=sink)
    thread.start()
    got = bench("stream", "-d", "up", "--direct")
    thread.join()
    listener.close()
    assert [(e["stage"], e["error"]) for e in got["errors"]] == [("traffic", "wrong-count")]


def test_waiting_is_not_hidden():
    """At a fixed rate the time counts from when a message was due, not from when it could be sent."""
    listener = socket.create_server(("127.0.0.1", 7000))
    held = threading.Event()

    def slow_once():
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock:
            assert sock.recv(2, socket.MSG_WAITALL) == b"E\n"
            first = True
            while data := sock.recv(1 << 16):
                if first:
                    held.wait(0.5)
                first = False
                sock.sendall(data)

    thread = threading.Thread(target=slow_once)
    thread.start()
    got = bench("rr", "-c", "1", "-r", "100", "--direct", brief=("-s", "0.4", "-w", "0"))
    thread.join()
    listener.close()
    assert got["errors"] == []
    # One was held for half a second; those that were due behind it waited for it.
    assert got["latency_us"]["count"] >= 39
    assert got["latency_us"]["p50"] > 200_000


def test_pid(tabi, server):
    """The supervisor and its workers; --pid of nobody is said before anything begins."""
    program = tabi(LOCAL)
    pid = ("-p", str(program.pid))
    brief = ("-s", "1", "-w", "0.05")
    got = bench("connect", *pid, *way_of("socks5"), brief=brief)["proxy_process"]
    assert got["pid"] == program.pid
    assert got["processes"] == 1 + len(program.workers())
    assert got["processes_lost"] == 0
    assert got["cpu_seconds"] > 0 and got["cpu_seconds_per_unit"] > 0
    idle = bench("idle", "-c", "2000", *pid, *way_of("socks5"))["proxy_process"]
    assert idle["memory_after"] > 0
    assert idle["wakeups"] < 50
    assert "memory_per_session" in idle
    done = run("bench", "rr", "--direct", "--pid", "4194304", TARGET)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such process" in done.stderr


def test_cpu_of_threads_and_children(server):
    """Each is counted, to less than a clock tick, a thread that has ended too."""
    script = (
        "import os, threading, time\n"
        "def burn():\n"
        "    end = time.thread_time() + 0.101\n"
        "    while time.thread_time() < end: pass\n"
        "time.sleep(0.3)\n"
        "if os.fork(): os.wait()\n"
        "else:\n"
        "    one = threading.Thread(target=burn); one.start(); one.join(); burn()\n"
        "    time.sleep(60)\n"
    )
    worker = subprocess.Popen(("/usr/bin/python3", "-c", script), start_new_session=True)
    try:
        got = bench("rr", "-c", "1", "--direct", "-p", str(worker.pid), brief=("-s", "3", "-w", "0"))
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    cost = got["proxy_process"]
    assert 0.202 <= cost["cpu_seconds"] < 0.5
    assert cost["cpu_seconds"] * 100 % 1 != 0
    assert abs(cost["user_seconds"] + cost["system_seconds"] - cost["cpu_seconds"]) < 0.05


def test_several_targets(tabi):
    """One connection after the other goes to the next; one server may have all the addresses."""
    tabi(LOCAL)
    everywhere = Server("0.0.0.0:7000")
    others = [Server(f"127.0.0.1:{port}") for port in (7001, 7002)]
    names = ("127.0.0.2:7000", "127.0.0.3:7000", "127.0.0.1:7001", "127.0.0.1:7002")
    for way in (("--direct",), way_of("socks5")):
        got = bench("rr", "-c", "8", *way, *names[:-1], to=names[-1])
        assert (got["targets"], got["target"]) == (4, names[0])
        assert got["errors"] == []
    assert everywhere.stop()["connections"] == 2 * 4
    assert [other.stop()["connections"] for other in others] == [2 * 2, 2 * 2]


def test_many_connections(tabi, server):
    """More than the queue of a listener and the soft limit of descriptors."""
    got = bench("idle", "-c", "3000", "--direct", brief=("-s", "0.05", "-w", "0"))
    assert got["connections_at_end"] == 3000
    assert server.stop()["connections"] == 3000


def test_interrupted(server):
    """What was measured till then is told."""
    load = subprocess.Popen(
        (BINARY, "bench", "rr", "--direct", "-s", "60", "-w", "0", "--json", TARGET),
        stdout=subprocess.PIPE,
    )
    wait_until(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) > 64)
    load.send_signal(signal.SIGINT)
    out, _ = load.communicate(timeout=20)
    assert json.loads(out)["interrupted"] is True


def test_table_and_progress(server):
    """A table on standard output; nothing on standard error, which is no terminal."""
    done = run("bench", "rr", "--direct", *BRIEF, TARGET)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("rr  direct  to 127.0.0.1:7000", "messages ", "p99.9", "errors         none"):
        assert word in done.stdout


def test_progress_on_a_terminal(server):
    leader, follower = os.openpty()
    done = subprocess.run(
        (BINARY, "bench", "rr", "--direct", "-s", "0.5", "-w", "0", TARGET),
        stdout=subprocess.PIPE,
        stderr=follower,
        timeout=20,
    )
    os.close(follower)
    shown = os.read(leader, 1 << 16)
    os.close(leader)
    assert done.returncode == 0
    assert b"measuring" in shown and b"messages" in shown


# ---- datagrams ----


def datagrams(scheme, mode):
    """One run, in which what was sent is what the server counted and what came back."""
    server = Server(trains=mode == "trains")
    got = bench(*DATAGRAMS[mode], *way_of(scheme))
    counted = server.stop()
    total, size = got["total"], got["size"]
    assert got["errors"] == [] and got["ok"] is True
    assert got["lost"] == got["late"] == got["own_overflow"] == 0
    assert 0 < got["units"] <= total["units"]
    assert total["up_bytes"] == total["down_bytes"] == total["units"] * size
    assert counted["datagrams"] == total["units"]
    assert counted["connections"] == 0
    order = [got["latency_us"][k] for k in ("p50", "p90", "p99", "p999", "max")]
    assert order == sorted(order) and order[0] > 0
    if mode == "burst":
        assert total["units"] % 100 == 0
    return got


@pytest.mark.parametrize("mode", DATAGRAMS)
@pytest.mark.parametrize("scheme", ("direct", "socks5", "socks5h"))
def test_datagrams(tabi, scheme, mode):
    program = tabi(LOCAL) if scheme != "direct" else None
    runs = [datagrams(scheme, mode)]
    if mode == "rate":
        # On a busy machine less than all is answered in the time that counts.
        while not 90 <= runs[-1]["units"] <= 110:
            assert len(runs) < 5, [got["units"] for got in runs]
            runs.append(datagrams(scheme, mode))
    if program:
        program.wait_session(n=sum(got["connections"] for got in runs), command="udp", reason="done")
        up = sum(int(r["packets-up"]) for r in program.sessions())
        assert up == sum(got["total"]["units"] for got in runs)


class Careless(threading.Thread):
    """An echo of datagrams that answers as it is told: answer(number, datagram)."""

    def __init__(self, answer):
        super().__init__()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 7000))
        self.answer = answer
        self.start()

    def run(self):
        number = 0
        while True:
            data, source = self.socket.recvfrom(1 << 16)
            if data == b"over":
                return
            for answer in self.answer(number, data):
                self.socket.sendto(answer, source)
            number += 1

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"over", ("127.0.0.1", 7000))
        self.join()
        self.socket.close()


@pytest.fixture
def careless():
    begun = []

    def begin(answer):
        begun.append(Careless(answer))

    yield begin
    begun[0].close()


def test_lost_datagrams(careless):
    """Every second one: they are counted, their places are used again, and the others go on."""
    sent = []
    careless(lambda number, data: (sent.append(number), [data] if number % 2 else [])[1])
    got = bench("udp", "-o", "4", "--direct", brief=("-s", "2", "-w", "0"))
    assert got["errors"] == []
    # All four places are lost at least three times in two seconds.
    assert got["lost"] >= 12
    assert got["lost"] + got["total"]["units"] == got["total"]["up_bytes"] / got["size"] == len(sent)


def test_late_datagrams(careless):
    """One that comes twice, or when it was given up, is no second echo."""
    careless(lambda number, data: [data, data])
    got = bench("udp", "-o", "1", "--direct")
    assert got["errors"] == [] and got["lost"] == 0
    assert got["late"] >= got["total"]["units"] - 1 > 0


@pytest.mark.parametrize("wrong", (b"", b"x" * 63, b"y" * 64, b"x" * 65), ids=len)
def test_wrong_datagrams(careless, wrong):
    careless(lambda number, data: [wrong])
    got = bench("udp", "-o", "1", "--direct", status=1)
    (error,) = got["errors"]
    assert (error["stage"], error["error"]) == ("traffic", "wrong-bytes")
    assert got["units"] == 0 < got["lost"]


def test_datagrams_refused(tabi):
    """By a rule, by nobody listening, by a proxy that does not know them."""
    tabi(HEAD + "deny command udp from any to any\nallow from any to any\n")
    got = bench("udp", "-c", "2", *way_of("socks5"), status=1)
    (error,) = got["errors"]
    assert (error["stage"], error["code"], error["count"]) == ("handshake", 2, 2)
    got = bench("udp", "--direct", status=1)
    (error,) = got["errors"]
    assert (error["stage"], error["error"]) == ("traffic", "refused")
    for args in (("-x", "http://127.0.0.1:1080"), ("-D", "-b", "7"), ("-D", "-r", "9", "-B", "9")):
        done = run("bench", "udp", *args, TARGET)
        assert (done.returncode, done.stdout) == (2, "")


def test_datagrams_and_their_connection(tabi, server):
    """An association ends with its connection."""
    program = tabi(LOCAL)
    before = sum(program.descriptors().values())
    load = subprocess.Popen(
        (BINARY, "bench", "udp", "-c", "3", "-s", "60", "--json", *way_of("socks5"), TARGET),
        stdout=subprocess.PIPE,
    )
    wait_until(lambda: sum(program.descriptors().values()) >= before + 9)
    program.expect_lost_workers = True
    os.kill(program.workers()[0], signal.SIGKILL)
    try:
        out, _ = load.communicate(timeout=20)
    finally:
        load.kill()
    assert sum(e["count"] for e in json.loads(out)["errors"]) == 3


# ---- the server alone ----


def test_server_echo_and_sink(server):
    with socket.create_connection(("127.0.0.1", 7000)) as sock:
        sock.sendall(b"E")
        sock.sendall(b"\nhello")
        assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    with socket.create_connection(("127.0.0.1", 7000)) as sock:
        sock.sendall(b"U\n" + b"x" * 1000)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100, socket.MSG_WAITALL) == b"%019d %019d\n" % (1000, 0)


def test_server_does_not_buffer_without_bound(server):
    """An echo that nobody takes stops the reading, and comes whole all the same."""
    data = os.urandom(1 << 20) * 16
    got = bytearray()
    with socket.create_connection(("127.0.0.1", 7000)) as sock:
        sock.settimeout(0.3)
        sent = 0
        sock.sendall(b"E\n")
        with pytest.raises(TimeoutError):
            while sent < 1 << 30:
                sent += sock.send(data[sent % len(data) :])
        sock.settimeout(10)
        sock.shutdown(socket.SHUT_WR)
        while chunk := sock.recv(1 << 20):
            got += chunk
    assert len(got) == sent
    assert got == (data * (sent // len(data) + 1))[:sent]


def test_server_refuses_others(server):
    """Who says something else is not kept waiting."""
    with socket.create_connection(("127.0.0.1", 7000)) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
    assert server.stop()["refused"] == 1


def test_server_datagrams(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        for size in (0, 1, 1400, 60000):
            sock.sendto(b"d" * size, ("127.0.0.1", 7000))
            assert sock.recv(65536) == b"d" * size
    assert server.stop()["datagrams"] == 4


def test_server_survives_resets(server):
    for _ in range(20):
        sock = socket.create_connection(("127.0.0.1", 7000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(b"B\n" + b"x" * 100)
        sock.close()
    assert bench("rr", "--direct")["ok"]


@pytest.mark.parametrize(
    "args",
    (
        (),
        ("nonsense",),
        ("serve",),
        ("serve", "localhost:7000"),
        ("serve", "7000"),
        ("rr", TARGET),
        ("rr", "--direct", "-x", "socks5://127.0.0.1", TARGET),
        ("stream", "--direct", "--rate", "5", TARGET),
    ),
)
def test_called_wrongly(args):
    done = run("bench", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(("tabi bench", "usage: tabi bench"))
