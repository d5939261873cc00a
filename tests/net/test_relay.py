# SPDX-License-Identifier: MIT
"""The bytes: neither end may notice that somebody is between them."""

import hashlib
import socket
import threading
import time

import pytest

from harness import dns, socks, targets
from harness.config import LOCAL, PROXY, local
from harness.tabi import check_memory, cpu_seconds, wait_until

MB = 1 << 20


def send_all_then_end(sock, data):
    def run():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("protocol", socks.OPEN)
def test_eight_megabytes_both_ways_at_once(tabi, target, protocol):
    up, down = targets.pattern(8 * MB, "up"), targets.pattern(8 * MB, "down")

    def serve(sock):
        thread = send_all_then_end(sock, down)
        data, end = socks.recv_end(sock)
        thread.join()
        return hashlib.sha256(data).digest(), end

    seen = target(serve)
    program = tabi(LOCAL)
    with socks.OPEN[protocol](PROXY, "127.0.0.1", 7000) as sock:
        thread = send_all_then_end(sock, up)
        data, end = socks.recv_end(sock)
        thread.join()
    assert end == "eof"
    assert hashlib.sha256(data).digest() == hashlib.sha256(down).digest()
    assert seen.wait_result() == (hashlib.sha256(up).digest(), "eof")
    line = program.wait_session()
    assert (line["up"], line["down"]) == (str(8 * MB), str(8 * MB))


@pytest.mark.parametrize("reset_by", ("target", "client"))
@pytest.mark.parametrize("when", ("idle", "after data", "after half-close"))
def test_reset_arrives_as_reset(tabi, target, reset_by, when):
    seen = target()
    program = tabi(LOCAL)
    idle = program.descriptors()
    client = socks.open5(PROXY, "127.0.0.1", 7000)
    there = seen.wait_accepted()
    here, other = (there, client) if reset_by == "target" else (client, there)
    if when == "after data":
        here.sendall(b"some")
        assert socks.recv_exact(other, 4) == b"some"
    elif when == "after half-close":
        here.shutdown(socket.SHUT_WR)
        assert other.recv(1) == b""
    socks.reset(here)
    if when == "after half-close":
        # Nothing is to be read any more; what is sent must meet the reset.
        def reset_seen():
            try:
                other.send(b"x")
                return False
            except (ConnectionResetError, BrokenPipeError):
                return True

        wait_until(reset_seen, what="the reset")
    else:
        assert socks.recv_end(other) == (b"", "reset")
    other.close()
    line = program.wait_session()
    if when != "after half-close":
        assert line["reason"] == f"{reset_by}-reset"
    program.wait_descriptors(idle)


@pytest.mark.case("R27")
def test_target_ends_first(tabi, target):
    """What the client sends afterwards still arrives."""

    def serve(sock):
        sock.sendall(b"bye")
        sock.shutdown(socket.SHUT_WR)
        return socks.recv_end(sock)

    seen = target(serve)
    tabi(LOCAL)
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        assert socks.recv_end(sock) == (b"bye", "eof")
        payload = targets.pattern(MB, "after")
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)
        got, end = seen.wait_result()
        targets.check_same(got, payload)
        assert end == "eof"


def test_client_ends_first(tabi, target):
    answer = targets.pattern(MB, "answer")
    seen = target(targets.answer_after_eof(answer))
    tabi(LOCAL)
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        got, end = socks.recv_end(sock)
        targets.check_same(got, answer)
        assert end == "eof"
    assert seen.wait_result() == (b"question", "eof")


def test_end_right_behind_data(tabi, target):
    """The end of stream must not overtake what could not be written at once."""
    data = targets.pattern(4 * MB, "tail")

    def serve(sock):
        sock.sendall(data)
        sock.close()

    target(serve)
    tabi(LOCAL)
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        time.sleep(0.1)
        got, end = socks.recv_end(sock)
    targets.check_same(got, data)
    assert end == "eof"


def fill(sock, limit):
    """Sends until nobody takes any more (half a second without progress); returns the count."""
    sock.settimeout(0.5)
    sent = 0
    block = bytes(65536)
    try:
        while sent < limit:
            sent += sock.send(block)
    except TimeoutError:
        pass
    sock.settimeout(socks.TIMEOUT)
    return sent


def small_buffers(sock):
    """So that what the kernel keeps does not hide what the proxy keeps."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)


@pytest.mark.case("R26")
@pytest.mark.parametrize("stuck", ("connect", "lookup"))
def test_early_data_is_bounded(tabi, dns_server, stuck):
    held = targets.blackhole()
    dns_server({"never.test": dns.DROP})
    program = tabi(local("timeout connect 20s"))
    before = program.memory()
    with socks.dial(PROXY) as sock:
        small_buffers(sock)
        host, port = ("127.0.0.1", 7009) if stuck == "connect" else ("never.test", 80)
        sock.sendall(socks.greeting(0) + socks.request5(host, port))
        sent = fill(sock, 10 * MB)
        grown = program.memory() - before
    assert sent < 8 * MB, "the client must stop being read"
    check_memory(grown, MB)
    for one in held:
        one.close()


@pytest.mark.case("R26")
@pytest.mark.parametrize("direction", ("up", "down"))
def test_back_pressure(tabi, target, direction):
    """Whoever sends to somebody who does not read is not read either; later all arrives."""
    seen = target()
    program = tabi(LOCAL)
    with socks.open5(PROXY, "127.0.0.1", 7000) as client:
        there = seen.wait_accepted()
        sender, reader = (client, there) if direction == "up" else (there, client)
        before = program.memory()
        (pid,) = program.workers()
        sent = fill(sender, 64 * MB)
        grown = program.memory() - before
        assert sent < 64 * MB
        check_memory(grown, MB)
        # A relay that cannot write must wait, not spin.
        cpu = cpu_seconds(pid)
        time.sleep(1)
        assert cpu_seconds(pid) - cpu < 0.2
        sender.shutdown(socket.SHUT_WR)
        got, end = socks.recv_end(reader)
        assert (len(got), end) == (sent, "eof")


def test_a_fast_stream_does_not_starve_another(tabi, target):
    def source(sock):
        block = bytes(MB)
        while True:
            sock.sendall(block)

    target(source, port=7001)
    target(targets.echo)
    tabi(LOCAL)
    stop = threading.Event()

    def drain(sock):
        while not stop.is_set():
            sock.recv(MB)
        sock.close()

    fast = [socks.open5(PROXY, "127.0.0.1", 7001) for _ in range(3)]
    threads = [threading.Thread(target=drain, args=(sock,)) for sock in fast]
    for thread in threads:
        thread.start()
    try:
        with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
            begin = time.monotonic()
            for _ in range(20):
                targets.ping(sock)
            took = time.monotonic() - begin
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert took < 5, f"20 round trips took {took:.1f} s beside bulk streams"


def test_idle_timeout(tabi, target):
    seen = target(targets.collect)
    program = tabi(local("timeout idle 1s"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        begin = time.monotonic()
        for _ in range(5):
            time.sleep(0.3)
            sock.sendall(b"x")
        socks.recv_end(sock)
        took = time.monotonic() - begin
    assert 2.4 < took < 6, "bytes push the idle deadline back; silence does not"
    assert program.wait_session()["reason"] == "idle"
    assert seen.wait_result()[0] == b"xxxxx"


def test_halfclose_timeout(tabi, target):
    target()
    program = tabi(local("timeout halfclose 1s"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.shutdown(socket.SHUT_WR)
        begin = time.monotonic()
        socks.recv_end(sock)
        assert 0.9 < time.monotonic() - begin < 5
    assert program.wait_session()["reason"] == "idle"


@pytest.mark.parametrize("size", (1, 100))
def test_small_messages_in_order(tabi, target, size):
    target(targets.echo)
    tabi(LOCAL)
    data = targets.pattern(1000 * size, "small")
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        socks.send_split(sock, data, size)
        targets.check_same(socks.recv_exact(sock, len(data)), data)


@pytest.mark.parametrize("when", ("handshake", "lookup", "relay"))
def test_urgent_data_does_not_keep_a_worker_busy(tabi, target, dns_server, when):
    """It sets a poll event of its own, for as long as nobody reads it."""
    stub = dns_server({"slow.test": ["127.0.0.1"]})
    stub.hold("slow.test")
    target(targets.echo)
    program = tabi(LOCAL)
    (pid,) = program.workers()
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0))
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        if when == "relay":
            sock.sendall(socks.request5("127.0.0.1", 7000))
            assert socks.recv_reply5(sock)[0] == 0
            targets.ping(sock)
        elif when == "lookup":
            sock.sendall(socks.request5("slow.test", 7000))
            stub.wait_asked("slow.test")
        sock.send(b"!", socket.MSG_OOB)
        before = cpu_seconds(pid)
        time.sleep(1)
        assert cpu_seconds(pid) - before < 0.2
        if when == "lookup":
            stub.release("slow.test")
            assert socks.recv_reply5(sock)[0] == 0
        if when != "handshake":
            assert socks.recv_exact(sock, 1) == b"!", "in line, and not lost"
            targets.ping(sock)


def test_many_sessions_at_once_stay_apart(tabi, target):
    target(targets.echo)
    tabi(LOCAL.replace("workers 1", "workers 2"))
    failures = []

    def one(n):
        data = targets.pattern(200_000, f"session {n}")
        with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
            thread = send_all_then_end(sock, data)
            got, end = socks.recv_end(sock)
            thread.join()
        if (got, end) != (data, "eof"):
            failures.append(n)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
