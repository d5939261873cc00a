# SPDX-License-Identifier: MIT
"""Connections over several workers: each has its share, whatever happens to those on their way."""

import errno
import os
import re
import resource
import select
import signal
import socket
import time
from collections import Counter

import pytest

from harness import socks, targets
from harness.config import ALLOW_ALL, PROXY
from harness.tabi import cpu_seconds, wait_until
from test_faults import fault


def config(workers, first="", listen="listen 127.0.0.1:1080\n", rest=""):
    """Addresses in `first` come before ours, so that ours has another place in the list."""
    return f"workers {workers}\n{first}{listen}{rest}{ALLOW_ALL}"


def shares(program, workers, n):
    """How many sessions of n each worker has had, now that all are over."""
    program.wait_session(n)
    count = Counter(int(r["worker"]) for r in program.sessions())
    return [count[i] for i in range(workers)]


def are_even(counts):
    """What is promised: one takes a connection itself while it has no more sessions than another
    and a sixteenth of its own."""
    return max(counts) - min(counts) <= 1 + max(counts) // 16


def hold(n, port=7000):
    return [socks.open5(PROXY, "127.0.0.1", port) for _ in range(n)]


def close_all(opened):
    for sock in opened:
        sock.close()


# How they spread


@pytest.mark.parametrize("workers", (2, 4))
@pytest.mark.parametrize("n", (2, 8, 20, 200))
def test_connections_are_spread_evenly(tabi, target, workers, n):
    target(targets.echo)
    program = tabi(config(workers))
    opened = hold(n)
    close_all(opened)
    counts = shares(program, workers, n)
    print(counts)
    assert are_even(counts), counts


def test_what_ends_on_one_worker_comes_back_to_it(tabi, target):
    """Counted down as well as up, whatever way a session ends: by its client, by its target, by a
    reset, refused, and before a word was said, of which there is no line."""
    target(targets.echo)
    program = tabi(config(2))
    ended = 0
    for _ in range(6):
        opened = hold(4)
        socks.reset(opened[0])
        opened[1].shutdown(socket.SHUT_WR)
        assert socks.recv_end(opened[1]) == (b"", "eof")
        close_all(opened[1:])
        assert socks.ask5(PROXY, "127.0.0.1", 7099) != 0
        socks.dial(PROXY).close()
        ended += 5
        program.wait_session(ended)
    # What has just ended is forgotten.
    time.sleep(2.1)
    opened = hold(8)
    close_all(opened)
    program.wait_session(ended + 8)
    counts = Counter(r["worker"] for r in program.sessions()[ended:])
    assert sorted(counts.values()) == [4, 4], counts


def test_connections_that_come_at_once_are_spread(tabi, target):
    """Each sees those that are on their way to others. Nothing orders what two workers do at the
    same time, so this is not as even as one after the other."""
    target(targets.echo)
    program = tabi(config(2))
    opened = []
    for _ in range(100):
        sock = socks.dial(PROXY)
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
        opened.append(sock)
    for sock in opened:
        assert socks.recv_exact(sock, 12)[:4] == b"\x05\x00\x05\x00"
    close_all(opened)
    counts = shares(program, 2, 100)
    assert min(counts) >= 40, counts


def test_client_is_known_by_its_own_address(tabi, target):
    target(targets.echo)
    program = tabi(config(2))
    opened = hold(20)
    own = sorted("{}:{}".format(*s.getsockname()) for s in opened)
    close_all(opened)
    program.wait_session(20)
    assert sorted(r["from"] for r in program.sessions()) == own
    assert {r["listener"] for r in program.sessions()} == {"127.0.0.1:1080"}


def test_unix_listener_is_spread_too(tabi, target, tmp_path):
    target(targets.echo)
    path = str(tmp_path / "socket")
    program = tabi(config(2, listen=f"listen {path} mode 0666\n"))
    opened = []
    for _ in range(20):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(path)
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
        assert socks.recv_exact(sock, 12)[:4] == b"\x05\x00\x05\x00"
        opened.append(sock)
    close_all(opened)
    counts = shares(program, 2, 20)
    assert are_even(counts), counts


def test_proxy_protocol_is_read_by_who_serves(tabi, target):
    target(targets.echo)
    program = tabi(config(2, listen="listen 127.0.0.1:1080 proxy-protocol from loopback\n"))
    opened = []
    for i in range(20):
        sock = socks.dial(PROXY)
        sock.sendall(f"PROXY TCP4 127.0.0.9 127.0.0.1 {2000 + i} 1080\r\n".encode())
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
        assert socks.recv_exact(sock, 12)[:4] == b"\x05\x00\x05\x00"
        opened.append(sock)
    close_all(opened)
    counts = shares(program, 2, 20)
    assert are_even(counts), counts
    ports = sorted(r["from"] for r in program.sessions())
    assert ports == sorted(f"127.0.0.9:{2000 + i}" for i in range(20))


def test_idle_workers_sleep(tabi, target):
    target(targets.echo)
    program = tabi(config(4))
    opened = hold(20)
    before = [switches(pid) for pid in program.workers()]
    time.sleep(1.5)
    grown = [switches(pid) - b for pid, b in zip(program.workers(), before)]
    assert max(grown) <= 2, grown
    close_all(opened)


def switches(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", f.read(), re.M).group(1))


# On their way


def inbox_lengths(program):
    """Descriptors on their way, of each socket of the supervisor that may have some."""
    found = []
    for fd in os.listdir(f"/proc/{program.pid}/fdinfo"):
        with open(f"/proc/{program.pid}/fdinfo/{fd}") as f:
            text = f.read()
        n = re.search(r"scm_fds:\s+(\d+)", text)
        if n:
            found.append(int(n.group(1)))
    return found


def on_their_way(program):
    return sum(inbox_lengths(program))


def fill_inbox(program, n=60):
    """Stops a worker and has another hand something over to it. Returns it and the clients,
    who have asked for all they want."""
    victim = program.workers()[1]
    os.kill(victim, signal.SIGSTOP)
    opened = []
    for _ in range(n):
        sock = socks.dial(PROXY)
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
        opened.append(sock)
    # Half of them come to the other one, who keeps half of those.
    wait_until(lambda: on_their_way(program) >= 5, what="descriptors in the inbox")
    return victim, opened


def outcome(sock):
    """What came of one: served, or closed by the end of its stream or a reset."""
    try:
        got = socks.recv_exact(sock, 12)
    except (EOFError, ConnectionError):
        return "closed"
    assert got[:4] == b"\x05\x00\x05\x00"
    targets.ping(sock)
    return "served"


def test_inbox_of_a_killed_worker_is_its_successors(tabi, target):
    target(targets.echo)
    program = tabi(config(2))
    program.expect_lost_workers = True
    victim, opened = fill_inbox(program)
    os.kill(victim, signal.SIGKILL)
    assert [outcome(s) for s in opened] == ["served"] * len(opened)
    assert on_their_way(program) == 0
    close_all(opened)
    program.wait_session(len(opened))
    # The counters have come through it.
    time.sleep(2.1)
    fresh = hold(8)
    close_all(fresh)
    program.wait_session(len(opened) + 8)
    counts = Counter(r["worker"] for r in program.sessions()[len(opened) :])
    assert sorted(counts.values()) == [4, 4], counts


# A wrong place in the list would be a listener that waits for another protocol.
BEFORE = "listen 127.0.0.1:1079 proxy-protocol from loopback\nlisten 127.0.0.1:1078\n"


@pytest.mark.parametrize("kill", (False, True), ids=("overtaken", "successor"))
def test_reload_moves_the_listener_of_one_on_its_way(tabi, target, kill):
    target(targets.echo)
    program = tabi(config(2))
    program.expect_lost_workers = kill
    victim, opened = fill_inbox(program)
    program.write_config(config(2, first=BEFORE))
    program.signal(signal.SIGHUP)
    # The other one serves it.
    wait_until(lambda: listens(1079), what="the new configuration")
    os.kill(victim, signal.SIGKILL if kill else signal.SIGCONT)
    assert [outcome(s) for s in opened] == ["served"] * len(opened)
    close_all(opened)
    program.wait_session(len(opened))
    assert {r["listener"] for r in program.sessions()} == {"127.0.0.1:1080"}


def listens(port):
    try:
        socks.dial(("127.0.0.1", port)).close()
        return True
    except ConnectionError:
        return False


def test_reload_takes_the_listener_of_one_on_its_way(tabi, target):
    """It is not served by another listener's rules, and does not hang."""
    target(targets.echo)
    program = tabi(config(2))
    program.expect_lost_workers = True
    victim, opened = fill_inbox(program)
    program.write_config(config(2, listen="listen 127.0.0.1:1077\n"))
    program.signal(signal.SIGHUP)
    wait_until(lambda: listens(1077), what="the new configuration")
    os.kill(victim, signal.SIGKILL)
    came = Counter(outcome(s) for s in opened)
    assert came["closed"] >= 5 and came["served"] >= 5, came
    assert on_their_way(program) == 0
    with socks.open5(("127.0.0.1", 1077), "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def test_after_a_reload_they_are_spread_as_before(tabi, target):
    target(targets.echo)
    program = tabi(config(2))
    for i in range(3):
        program.write_config(config(2, first=BEFORE if i % 2 == 0 else ""))
        program.signal(signal.SIGHUP)
        program.wait_text("the configuration was reloaded", n=i + 1)
        opened = hold(8)
        close_all(opened)
        program.wait_session(8 * (i + 1))
        counts = Counter(r["worker"] for r in program.sessions()[8 * i :])
        assert sorted(counts.values()) == [4, 4], counts


def test_sigterm_serves_what_is_in_the_inbox(tabi, target):
    target(targets.echo)
    program = tabi(config(2))
    victim, opened = fill_inbox(program)
    waiting = on_their_way(program)
    program.signal(signal.SIGTERM)
    program.wait_text("stopping")
    os.kill(victim, signal.SIGCONT)
    came = [outcome(s) for s in opened]
    # Those in the victim's own queue are reset with its listening socket.
    assert came.count("served") >= 2 * waiting - 1, (Counter(came), waiting)
    close_all(opened)
    assert program.wait_exit(10) == 0
    assert len(program.sessions()) == came.count("served")


def test_second_sigterm_closes_what_is_in_the_inbox(tabi, target):
    target(targets.echo)
    program = tabi(config(2))
    victim, opened = fill_inbox(program)
    program.signal(signal.SIGTERM)
    program.wait_text("stopping")
    program.signal(signal.SIGTERM)
    time.sleep(0.2)
    os.kill(victim, signal.SIGCONT)
    assert program.wait_exit(10) == 0
    for sock in opened:
        sock.settimeout(5)
        try:
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass


# What fails


@pytest.mark.parametrize("error", ("EAGAIN", "ETOOMANYREFS", "EPIPE", "ENOBUFS", "EINTR"))
def test_what_cannot_be_handed_over_is_served_here(tabi, target, error):
    """The first calls of sendmsg() are the supervisor's, one for each worker, and the workers' answers."""
    target(targets.echo)
    program = tabi(config(2), **fault("sendmsg", getattr(errno, error), 5, 14))
    opened = hold(120)
    for sock in opened:
        targets.ping(sock)
    close_all(opened)
    counts = shares(program, 2, 120)
    # And when it can be again, they become even again.
    assert are_even(counts), counts


def test_what_can_never_be_handed_over_is_served_here(tabi, target):
    target(targets.echo)
    program = tabi(config(2), **fault("sendmsg", errno.EAGAIN, 5, 1000000))
    opened = hold(40)
    for sock in opened:
        targets.ping(sock)
    close_all(opened)
    assert sum(shares(program, 2, 40)) == 40


def test_full_inbox_is_no_error(tabi, target):
    """The kernel holds some hundred packets for a socket; all others stay where they came."""
    target(targets.echo)
    program = tabi(config(2))
    victim, opened = fill_inbox(program, 1600)
    wait_until(lambda: on_their_way(program) >= 200, what="a full inbox")
    os.kill(victim, signal.SIGCONT)
    assert [outcome(s) for s in opened] == ["served"] * len(opened)
    close_all(opened)


def test_without_descriptors_for_inboxes_the_kernel_spreads(tabi, target):
    target(targets.echo)
    # The socketpairs before are the helper's, and the channels' come after.
    program = tabi(config(2), **fault("socketpair", errno.EMFILE, 2, 2))
    assert "the kernel alone spreads connections" in program.log()
    opened = hold(20)
    for sock in opened:
        targets.ping(sock)
    close_all(opened)
    assert sum(shares(program, 2, 20)) == 20


def limited():
    resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70))


def test_more_than_all_have_room_for_wait_without_cost(tabi, target):
    """Workers that are all full hand nothing around."""
    target(targets.echo)
    program = tabi(config(2), preexec=limited)
    opened = []
    for _ in range(60):
        sock = socks.dial(PROXY)
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
        opened.append(sock)
    program.wait_text("are all that the limit of descriptors allows")
    time.sleep(0.5)
    used = [cpu_seconds(pid) for pid in program.workers()]
    time.sleep(1)
    assert max(cpu_seconds(p) - u for p, u in zip(program.workers(), used)) < 0.1
    while opened:
        ready = select.select(opened, [], [], 10)[0]
        assert ready, f"{len(opened)} wait for ever"
        for sock in ready:
            assert outcome(sock) == "served"
            sock.close()
            opened.remove(sock)
    program.wait_session(60)
