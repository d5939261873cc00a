# SPDX-License-Identifier: MIT
"""Processes: what the death of a worker costs, how the program stops, what the workers may do."""

import os
import pwd
import signal
import socket
import time

import pytest

from harness import socks, targets
from harness.config import HEAD, LOCAL, PROXY, local
from harness.tabi import wait_until

TWO = LOCAL.replace("workers 1", "workers 2")


def is_alive(sock):
    try:
        targets.ping(sock)
        return True
    except (OSError, EOFError):
        return False


def test_killed_worker_costs_only_its_own_sessions(tabi, target):
    target(targets.echo)
    program = tabi(TWO)
    program.expect_lost_workers = True
    opened = [socks.open5(PROXY, "127.0.0.1", 7000) for _ in range(40)]
    victim, other = program.workers()
    counts = program.descriptors()
    assert min(counts.values()) > 10, "both workers hold sessions"
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    # These come in the gap: half of them on the socket of the dead.
    fresh = []
    for _ in range(20):
        sock = socks.dial(PROXY)
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
        fresh.append(sock)
    for sock in fresh:
        assert socks.recv_exact(sock, 12)[:4] == b"\x05\x00\x05\x00"
        targets.ping(sock)
    took = time.monotonic() - killed
    assert took < 1, f"service went on after {took:.2f} s"
    alive = [sock for sock in opened if is_alive(sock)]
    held_by_other = (counts[other] - min(program_idle(counts, len(opened)))) // 2
    assert 0 < len(alive) < 40
    assert len(alive) == held_by_other
    now = program.workers()
    assert other in now and victim not in now and len(now) == 2
    for sock in opened + fresh:
        sock.close()


def program_idle(counts, sessions):
    """What an idle worker has open, from the sum: each session takes two descriptors."""
    return [(sum(counts.values()) - 2 * sessions) // 2]


def test_the_only_worker_is_replaced_and_nobody_is_turned_away(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    program.expect_lost_workers = True
    for _ in range(2):
        (pid,) = program.workers()
        os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
            targets.ping(sock)
        assert time.monotonic() - begin < 2
        assert program.workers() != [pid]


def test_worker_death_is_logged(tabi):
    program = tabi(LOCAL)
    program.expect_lost_workers = True
    (pid,) = program.workers()
    os.kill(pid, signal.SIGKILL)
    program.wait_for_log(lambda r: r.level in ("warn", "error") and "worker" in r.line)


def test_killed_supervisor_takes_its_workers_along(tabi):
    program = tabi(TWO)
    workers = program.workers()
    os.kill(program.pid, signal.SIGKILL)
    program.process.wait(10)
    program.stopped = True
    wait_until(
        lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers), what="workers to end"
    )


def refuses_connections():
    try:
        socks.dial(PROXY).close()
        return False
    except ConnectionError:
        return True  # refused, or reset where it came while they were closing


def test_sigterm_without_sessions_ends_at_once(tabi):
    program = tabi(TWO)
    begin = time.monotonic()
    program.stop()
    assert time.monotonic() - begin < 2


def test_sigterm_drains(tabi, target):
    target(targets.echo)
    program = tabi(TWO)
    opened = [socks.open5(PROXY, "127.0.0.1", 7000) for _ in range(10)]
    program.signal(signal.SIGTERM)
    wait_until(refuses_connections, what="the listeners to close")
    for sock in opened:
        targets.ping(sock)
    assert program.process.poll() is None
    for sock in opened:
        sock.shutdown(socket.SHUT_WR)
        assert socks.recv_end(sock) == (b"", "eof"), "a draining session ends as any other"
        sock.close()
    assert program.wait_exit(5) == 0
    assert [r["reason"] for r in program.sessions()] == ["done"] * 10
    program.stop()


def test_drain_has_a_deadline(tabi, target):
    target(targets.echo)
    program = tabi(local("timeout drain 1s"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        begin = time.monotonic()
        program.signal(signal.SIGTERM)
        socks.recv_end(sock)
        assert 0.9 < time.monotonic() - begin < 4
        assert program.wait_exit(5) == 0
    assert program.wait_session()["reason"] == "shutdown"


@pytest.mark.parametrize("first", (signal.SIGTERM, signal.SIGINT))
def test_second_sigterm_ends_at_once(tabi, target, first):
    target(targets.echo)
    program = tabi(TWO)
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        program.signal(first)
        wait_until(refuses_connections, what="the listeners to close")
        targets.ping(sock)
        begin = time.monotonic()
        program.signal(signal.SIGTERM)
        assert program.wait_exit(5) == 0
        assert time.monotonic() - begin < 2
    assert program.wait_session()["reason"] == "shutdown"


def test_handshakes_under_way_are_served_while_draining(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0))
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        program.signal(signal.SIGTERM)
        wait_until(refuses_connections, what="the listeners to close")
        sock.sendall(socks.request5("127.0.0.1", 7000))
        code, *_ = socks.recv_reply5(sock)
        assert code in (0, 1)
    assert program.wait_exit(10) == 0


# Rights


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
@pytest.mark.parametrize("user", (None, "nobody", "daemon"))
def test_workers_of_root_give_up_everything(tabi, target, user):
    target(targets.echo)
    program = tabi(local(f"user {user}" if user else ""))
    account = pwd.getpwnam(user or "nobody")
    for pid in program.workers():
        status = status_of(pid)
        assert status["Uid"].split() == [str(account.pw_uid)] * 4
        assert status["Gid"].split() == [str(account.pw_gid)] * 4
        assert status["Groups"].split() in ([], [str(account.pw_gid)])
        for caps in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
            assert int(status[caps], 16) == 0, caps
        assert status["NoNewPrivs"] == "1"
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no user to become")
@pytest.mark.parametrize("user", ("nosuchuser", "root"))
def test_user_that_cannot_be_become_is_refused(tabi, user):
    program = tabi(local(f"user {user}"), wait=False)
    assert program.wait_exit() not in (0, None)
    assert user in program.log()
    program.stopped = True


def test_workers_have_no_new_privileges_without_root_too(tabi):
    program = tabi(TWO)
    for pid in program.workers():
        assert status_of(pid)["NoNewPrivs"] == "1"


def test_workers_auto_is_one_per_core(tabi):
    program = tabi(HEAD.replace("workers 1", "workers auto") + "allow from loopback to any\n")
    assert len(program.workers()) == len(os.sched_getaffinity(0))
