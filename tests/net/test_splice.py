# SPDX-License-Identifier: MIT
"""Bytes that go through pipes: when they do, and that nobody notices when they no longer can."""

import errno
import hashlib
import resource
import selectors
import socket
import threading
import time

import pytest

from harness import socks, targets
from harness.config import LOCAL, PROXY, local
from harness.tabi import cpu_seconds, wait_until
from test_faults import fault
from test_relay import fill, send_all_then_end

# Each of these says how streams are relayed.
pytestmark = pytest.mark.once

MB = 1 << 20
MODES = ("auto", "splice")


def relay(mode):
    return local(f"relay {mode}")


def count(program):
    (number,) = program.descriptors().values()
    return number


def wait_count(program, wanted, what):
    wait_until(lambda: count(program) == wanted, 10, what)


def one_session(program):
    """Returns the client's end, and how many descriptors there are with it and without a pipe."""
    before = count(program)
    sock = socks.open5(PROXY, "127.0.0.1", 7000)
    wait_count(program, before + 2, "the session's sockets")
    return sock, before + 2


@pytest.mark.parametrize("mode, pipes", (("auto", 1), ("splice", 1), ("copy", 0)))
def test_a_stuck_stream_holds_a_pipe_and_gives_it_back(tabi, target, mode, pipes):
    """A pipe is two descriptors. It comes when bytes are stuck, and goes some time after them."""
    seen = target()
    program = tabi(relay(mode))
    client, idle = one_session(program)
    there = seen.wait_accepted()
    sent = fill(there, 64 * MB)
    assert sent < 64 * MB
    wait_count(program, idle + 2 * pipes, "the pipe")
    there.shutdown(socket.SHUT_WR)
    got, end = socks.recv_end(client)
    assert (len(got), end) == (sent, "eof")
    wait_count(program, idle, "the idle pipe to be closed")
    client.close()
    assert program.wait_session()["down"] == str(sent)


def test_small_messages_see_no_pipe_until_there_is_bulk(tabi, target):
    """And again after it: `auto` goes back to copying."""
    target(targets.echo)
    program = tabi(relay("auto"))
    sock, idle = one_session(program)

    def pings(n):
        for _ in range(n):
            targets.ping(sock)

    pings(20)
    assert count(program) == idle
    data = targets.pattern(32 * MB, "bulk")
    thread = threading.Thread(target=sock.sendall, args=(data,))
    thread.start()
    targets.check_same(socks.recv_exact(sock, len(data)), data)
    thread.join()
    wait_count(program, idle, "the pipes of the bulk to be closed")
    pings(20)
    # The first few of these took a pipe, which told that none was needed.
    wait_count(program, idle, "the last pipe to be closed")
    pings(20)
    assert count(program) == idle
    sock.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_fast_stream_that_pauses(tabi, target, mode):
    """While it flows the kernel reports much at once; what is less comes all the same, though the
    stream goes on."""
    seen = target()
    tabi(relay(mode))
    client = socks.open5(PROXY, "127.0.0.1", 7000)
    there = seen.wait_accepted()
    for size in (64 * MB, 1, 100_000, 32 * MB + 7, 1000, 32 * MB, *((70_000, 3) * 50)):
        data = targets.pattern(size, str(size))
        thread = threading.Thread(target=there.sendall, args=(data,))
        thread.start()
        targets.check_same(socks.recv_exact(client, size), data)
        thread.join()
    client.close()


def test_splice_takes_a_pipe_for_the_first_byte(tabi, target):
    target(targets.echo)
    program = tabi(relay("splice"))
    sock, idle = one_session(program)
    targets.ping(sock)
    assert count(program) == idle + 2
    wait_count(program, idle, "the idle pipe to be closed")
    sock.close()


@pytest.mark.case("R26")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reset_by", ("sender", "reader"))
def test_reset_while_a_pipe_is_full(tabi, target, mode, reset_by):
    """What came before the sender's reset arrives, then the reset; of a reader nothing is left."""
    seen = target()
    program = tabi(relay(mode))
    client, idle = one_session(program)
    there = seen.wait_accepted()
    sent = fill(there, 64 * MB)
    wait_count(program, idle + 2, "the pipe")
    if reset_by == "sender":
        socks.reset(there)
        got, end = socks.recv_end(client)
        # What the kernel had not taken from the sender went with its reset.
        assert end == "reset" and len(got) <= sent
        client.close()
        line = program.wait_session()
        assert (line["reason"], line["down"]) == ("target-reset", str(len(got)))
    else:
        socks.reset(client)
        wait_until(lambda: socks_broken(there), what="the reset")
        assert program.wait_session()["reason"] == "client-reset"
    wait_count(program, idle - 2, "all to be closed, the pipe with its bytes as well")


def socks_broken(sock):
    try:
        sock.send(b"x")
        return False
    except OSError as err:
        return err.errno in (errno.ECONNRESET, errno.EPIPE)


@pytest.mark.parametrize("mode", MODES)
def test_half_close_behind_a_full_pipe(tabi, target, mode):
    """The end waits for the pipe; the other direction goes on all the while and after it."""
    seen = target()
    program = tabi(relay(mode))
    client, idle = one_session(program)
    there = seen.wait_accepted()
    sent = fill(there, 64 * MB)
    there.shutdown(socket.SHUT_WR)
    wait_count(program, idle + 2, "the pipe")
    client.sendall(b"meanwhile")
    assert socks.recv_exact(there, 9) == b"meanwhile"
    got, end = socks.recv_end(client)
    assert (len(got), end) == (sent, "eof")
    data = targets.pattern(4 * MB, "after")
    thread = send_all_then_end(client, data)
    got, end = socks.recv_end(there)
    thread.join()
    targets.check_same(got, data)
    assert end == "eof"
    line = program.wait_session()
    assert (line["up"], line["down"]) == (str(9 + len(data)), str(sent))


@pytest.mark.parametrize("mode", MODES)
def test_slow_reader_gets_every_byte(tabi, target, mode):
    data = targets.pattern(16 * MB, "slowly")

    def serve(sock):
        sock.sendall(data)
        sock.close()

    target(serve)
    program = tabi(relay(mode))
    (pid,) = program.workers()
    got = bytearray()
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        cpu = cpu_seconds(pid)
        while piece := sock.recv(200_001):
            got += piece
            time.sleep(0.002)
        assert cpu_seconds(pid) - cpu < 1
    targets.check_same(bytes(got), data)
    assert program.wait_session()["down"] == str(len(data))


@pytest.mark.parametrize("mode", MODES)
def test_without_descriptors_for_pipes_it_copies(tabi, target, mode):
    """Of 64 descriptors pipes may have an eighth; the rest is the sessions'."""

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    seen = target()
    program = tabi(relay(mode), preexec=few)
    before = count(program)
    clients = [socks.open5(PROXY, "127.0.0.1", 7000) for _ in range(8)]
    seen.wait_accepted(8)
    sent = [fill(sock, 64 * MB) for sock in seen.socks]
    assert count(program) == before + 2 * 8 + 2 * 4
    for sock in seen.socks:
        sock.shutdown(socket.SHUT_WR)
    for sock, n in zip(clients, sent):
        assert sum_to_end(sock) == (n, "eof")


def sum_to_end(sock):
    got, end = socks.recv_end(sock)
    return len(got), end


# Of the calls of splice() on a stream, the second is the first that drains a pipe.
@pytest.mark.parametrize("first, last", ((1, 1000), (1, 1), (2, 2), (3, 3), (4, 4), (6, 1000)))
@pytest.mark.parametrize("error", ("EINVAL", "ENOSYS", "EPERM", "ENOMEM"))
def test_splice_that_fails_is_not_asked_again(tabi, target, error, first, last):
    both_ways_all_the_same(tabi, target, fault("splice", getattr(errno, error), first, last))


# For ever is what a program that others hooked into the sockets makes of it.
@pytest.mark.parametrize("first, last", ((1, 1_000_000), (1, 1), (1, 3), (5, 8), (6, 7)))
def test_splice_that_finds_nothing_does_not_stall_a_stream(tabi, target, first, last):
    both_ways_all_the_same(tabi, target, fault("splice", errno.EAGAIN, first, last))


# fcntl() is what makes a pipe larger and says how large it is. The first pipe is libuv's.
@pytest.mark.parametrize("error", ("EMFILE", "ENFILE", "ENOMEM", "EPERM"))
@pytest.mark.parametrize("call, first", (("pipe2", 2), ("fcntl", 1)))
def test_no_pipe_is_no_error(tabi, target, call, first, error):
    both_ways_all_the_same(tabi, target, fault(call, getattr(errno, error), first, 1_000_000))


def both_ways_all_the_same(tabi, target, options):
    up, down = targets.pattern(3 * MB + 7, "up"), targets.pattern(3 * MB + 1, "down")

    def serve(sock):
        thread = send_all_then_end(sock, down)
        data, end = socks.recv_end(sock)
        thread.join()
        return data == up, end

    seen = target(serve)
    program = tabi(relay("splice"), **options)
    (pid,) = program.workers()
    idle = count(program)
    for n in (1, 2):
        with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
            thread = send_all_then_end(sock, up)
            data, end = socks.recv_end(sock)
            thread.join()
        targets.check_same(data, down)
        assert end == "eof"
        assert seen.wait_result(n) == (True, "eof")
        line = program.wait_session(n)
        assert (line["up"], line["down"], line["reason"]) == (str(len(up)), str(len(down)), "done")
    program.wait_descriptors({pid: idle})
    cpu = cpu_seconds(pid)
    time.sleep(0.3)
    assert cpu_seconds(pid) - cpu < 0.1, "at rest it rests"


STREAMS = 600
SIZE = 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", MODES)
def test_six_hundred_bulk_streams(tabi, target, mode, record_property):
    """All of them at once, which is more than there are pipes. With `splice` all are stuck before
    anything is read; `auto` needs larger buffers to prove that they are bulk."""
    block = targets.pattern(2 * SIZE, "streams")

    def part(n):
        return memoryview(block)[n * 64 : n * 64 + SIZE]

    # So that it is the proxy that holds what is stuck.
    if mode == "splice":
        small_buffers()
    wanted = [hashlib.sha256(part(n)).digest() for n in range(STREAMS)]
    seen = target()
    program = tabi(relay(mode))
    idle = count(program)
    clients = []
    for n in range(STREAMS):
        sock = socks.open5(PROXY, "127.0.0.1", 7000)
        clients.append(sock)
    seen.wait_accepted(STREAMS)
    ways = selectors.DefaultSelector()
    left, digests = {}, {}
    for n, (client, there) in enumerate(zip(clients, in_order(clients, seen))):
        sender, reader = (client, there) if n % 2 else (there, client)
        sender.setblocking(False)
        reader.setblocking(False)
        left[sender] = (n, 0)
        digests[reader] = (n, hashlib.sha256())
        ways.register(sender, selectors.EVENT_WRITE)

    def write(sender):
        n, at = left[sender]
        try:
            at += sender.send(part(n)[at : at + 262144])
        except BlockingIOError:
            pass
        left[sender] = (n, at)
        if at == SIZE:
            ways.unregister(sender)
            sender.shutdown(socket.SHUT_WR)

    quiet_since = time.monotonic()
    while ways.get_map() and time.monotonic() - quiet_since < 1:
        for key, _ in ways.select(0.2):
            write(key.fileobj)
            quiet_since = time.monotonic()

    def stuck():
        return (count(program) - idle - 2 * STREAMS) // 2

    # A busy machine may give the proxy its turn later.
    if mode == "splice":
        wait_until(lambda: stuck() >= 100, 30, "bytes to be stuck in pipes")
    record_property("pipes in use", stuck())
    print(f"\n{len(ways.get_map())} streams stuck, {stuck()} pipes in use")
    for reader in digests:
        ways.register(reader, selectors.EVENT_READ)
    done = 0
    begin = time.monotonic()
    while done < STREAMS:
        events = ways.select(10)
        assert events, f"stalled with {done} of {STREAMS} streams done"
        for key, _ in events:
            if key.events == selectors.EVENT_WRITE:
                write(key.fileobj)
                continue
            n, digest = digests[key.fileobj]
            data = key.fileobj.recv(262144)
            digest.update(data)
            if not data:
                ways.unregister(key.fileobj)
                assert digest.digest() == wanted[n], f"stream {n}"
                done += 1
    print(f"all read in {time.monotonic() - begin:.1f} s")
    for sock in clients + seen.socks:
        sock.close()
    program.wait_session(STREAMS)
    for line in program.sessions():
        said = (int(line["up"]), int(line["down"]), line["reason"])
        assert said in ((4, SIZE, "done"), (4 + SIZE, 0, "done"))
    wait_count(program, idle, "all to be closed")


def small_buffers():
    """Of all sockets in this network namespace from now on."""
    for name in ("tcp_rmem", "tcp_wmem"):
        with open(f"/proc/sys/net/ipv4/{name}", "w") as f:
            f.write("4096 16384 65536")


def in_order(clients, seen):
    """Which of the target's sockets is whose: each client says who it is."""
    there = {}
    for n, sock in enumerate(clients):
        sock.sendall(b"%04d" % n)
    for sock in seen.socks:
        there[int(socks.recv_exact(sock, 4))] = sock
    return [there[n] for n in range(len(clients))]
