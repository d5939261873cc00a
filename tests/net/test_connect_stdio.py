# SPDX-License-Identifier: MIT
"""tabi connect's standard input and output: pipes, sockets, files and terminals, their ends, and what
is left of them."""

import fcntl
import hashlib
import os
import pty
import resource
import select
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest

from harness import connect as c
from harness import netns, socks, targets
from harness.config import LOCAL, local
from harness.connect import check, connect, environment, start
from harness.tabi import BINARY, SANITIZED, cpu_seconds, run, wait_until

SOCKS5 = "socks5h://127.0.0.1:1080"
MB = 1 << 20
TO = ("127.0.0.1", "7000")
WAY = ("-x", SOCKS5, *TO)


def is_blocking(fd):
    return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


def without_proc(tmp_path):
    """To be called in a process about to be started. A sanitizer cannot do without."""
    (tmp_path / "empty").mkdir()
    return None if SANITIZED else lambda: netns.mount_over(str(tmp_path / "empty"), "/proc")


# Ends


def test_half_close(tabi, target):
    """Standard input ends, and the answer that follows from that still arrives."""
    seen = target(targets.answer_after_eof(b"the answer"))
    tabi(LOCAL)
    done = check(connect(*WAY, data=b"question"), c.OK)
    assert done.stdout == b"the answer"
    assert seen.wait_result() == (b"question", "eof")


def test_the_other_half_close(tabi, target):
    """The target ends first: whoever reads sees that at once, and what is written still goes up."""

    def serve(sock):
        sock.sendall(b"the answer")
        sock.shutdown(socket.SHUT_WR)
        return socks.recv_end(sock)

    seen = target(serve)
    tabi(LOCAL)
    with start(*WAY) as p:
        assert p.stdout.read() == b"the answer"
        p.stdin.write(b"question")
        p.stdin.close()
        assert p.wait(10) == c.OK
    assert seen.wait_result() == (b"question", "eof")


def test_quit_when_the_target_ends(tabi, target):
    """With -q 0 standard input need not end."""
    target(lambda sock: (sock.sendall(b"bye"), sock.close()))
    tabi(LOCAL)
    with start("-q", "0", *WAY) as p:
        assert p.stdout.read() == b"bye"
        assert p.wait(10) == c.OK


def test_empty_input(tabi, target):
    target(targets.answer_after_eof(b"nothing came"))
    tabi(LOCAL)
    assert connect(*WAY, stdin=None).stdout == b"nothing came"


@pytest.mark.parametrize("out", ("pipe", "socket"))
def test_nobody_reads(tabi, target, out):
    """Whoever read our output goes away, while there is nothing to write: no reason to stay."""
    seen = target(targets.greet(b"hello"))
    tabi(LOCAL)
    if out == "pipe":
        theirs, ours = os.pipe()
    else:
        theirs, ours = (s.detach() for s in socket.socketpair())
    with start(*WAY, stdout=ours) as p:
        os.close(ours)
        assert os.read(theirs, 5) == b"hello"
        os.close(theirs)
        assert p.wait(10) == c.LOCAL
        assert p.stderr.read() == b""
    socks.recv_end(seen.wait_accepted())


def test_nobody_reads_what_there_is(tabi, target):
    """As `| head -c 5`."""

    def flood(sock):
        while True:
            sock.sendall(bytes(65536))

    target(flood)
    tabi(LOCAL)
    with start(*WAY) as p:
        p.stdout.read(5)
        p.stdout.close()
        assert p.wait(10) == c.LOCAL
        assert p.stderr.read() == b""


def test_a_full_disk(tabi, target):
    target(targets.greet(b"hello"))
    tabi(LOCAL)
    with open("/dev/full", "wb") as full, start(*WAY, stdout=full) as p:
        assert p.wait(10) == c.LOCAL
        assert b"standard output: No space left" in p.stderr.read()


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
def test_signals(tabi, target, number):
    """They end it as they would any program, and the target sees an end."""
    seen = target()
    tabi(LOCAL)
    with start(*WAY) as p:
        p.stdin.write(b"x")
        p.stdin.flush()
        assert socks.recv_exact(seen.wait_accepted(), 1) == b"x"
        p.send_signal(number)
        assert p.wait(10) == -number
    assert socks.recv_end(seen.wait_accepted())[0] == b""


# Bytes


def digest_of_both(sock):
    """Sends 8 MB of its own, takes what comes, then tells its digest."""
    mine = targets.pattern(8 * MB, "down")
    sender = threading.Thread(target=sock.sendall, args=(mine,))
    sender.start()
    data, _ = socks.recv_end(sock)
    sender.join()
    sock.sendall(hashlib.sha256(data).hexdigest().encode())
    sock.close()


@pytest.mark.parametrize("proxy", (SOCKS5, "http://127.0.0.1:1080", None))
def test_both_directions_at_once(tabi, target, proxy):
    target(digest_of_both)
    tabi(LOCAL)
    data = targets.pattern(8 * MB, "up")
    way = ("-x", proxy) if proxy else ("-D",)
    done = check(connect(*way, *TO, data=data), c.OK)
    targets.check_same(done.stdout[: 8 * MB], targets.pattern(8 * MB, "down"))
    assert done.stdout[8 * MB :] == hashlib.sha256(data).hexdigest().encode()


@pytest.mark.parametrize("kind", ("file", "socket", "one socket", "pipe of another"))
def test_what_input_and_output_may_be(tabi, target, tmp_path, kind):
    """epoll takes no files; a pipe of another user's cannot be opened again."""
    target(targets.echo)
    tabi(LOCAL)
    data = targets.pattern(8 * MB, kind)
    if kind == "file":
        (tmp_path / "in").write_bytes(data)
        with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
            with start(*WAY, stdin=source, stdout=sink) as p:
                assert p.wait(30) == c.OK
        targets.check_same((tmp_path / "out").read_bytes(), data)
    elif kind == "pipe of another":
        # No /proc: the pipe cannot be opened again, and goes in small pieces.
        done = check(connect(*WAY, data=data, preexec_fn=without_proc(tmp_path)), c.OK)
        targets.check_same(done.stdout, data)
    else:
        theirs, ours = socket.socketpair()
        back, out = socket.socketpair() if kind == "socket" else (theirs, ours)
        with start(*WAY, stdin=ours, stdout=out) as p:
            ours.close()
            out.close()

            def send():
                theirs.sendall(data)
                theirs.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            back.settimeout(30)
            got, _ = socks.recv_end(back)
            sender.join()
            assert p.wait(30) == c.OK
        targets.check_same(got, data)
        theirs.close()
        back.close()


@pytest.mark.parametrize("proc", (True, False))
def test_back_pressure_down(tabi, target, tmp_path, proc):
    """Nobody reads for a while: the target is stopped, nothing is lost, nothing spins, and the other
    direction goes on."""
    sent = [0]
    heard = threading.Event()

    def serve(sock):
        def take():
            socks.recv_exact(sock, MB)
            heard.set()

        threading.Thread(target=take, daemon=True).start()
        for _ in range(64):
            sock.sendall(bytes(MB))
            sent[0] += MB
        sock.shutdown(socket.SHUT_WR)

    target(serve)
    tabi(LOCAL)
    with start(*WAY, preexec_fn=None if proc else without_proc(tmp_path)) as p:
        p.stdin.write(bytes(MB))
        p.stdin.flush()
        assert heard.wait(20), "the other direction stands still"
        last = -1

        def stands_still():
            nonlocal last
            last, before = sent[0], last
            time.sleep(0.2)
            return sent[0] == last == before

        wait_until(stands_still, 20)
        assert sent[0] < 48 * MB
        before = cpu_seconds(p.pid)
        time.sleep(0.5)
        assert cpu_seconds(p.pid) - before < 0.2
        p.stdin.close()
        total = 0
        while more := p.stdout.read(MB):
            total += len(more)
        assert total == 64 * MB
        assert p.wait(10) == c.OK


def test_back_pressure_up(tabi, target):
    """The target does not read: standard input is not taken, and the other direction goes on."""
    go = threading.Event()

    def serve(sock):
        sock.sendall(b"hello")
        go.wait(30)
        got = 0
        while more := len(sock.recv(MB)):
            got += more
        sock.close()
        return got

    seen = target(serve)
    tabi(LOCAL)
    with start(*WAY) as p:
        taken = [0]

        def write():
            for _ in range(64):
                p.stdin.write(bytes(MB))
                taken[0] += MB
            p.stdin.close()

        writer = threading.Thread(target=write)
        writer.start()
        assert p.stdout.read(5) == b"hello"
        before = -1
        while taken[0] != before:
            before = taken[0]
            time.sleep(0.3)
        assert taken[0] < 48 * MB
        go.set()
        writer.join()
        assert seen.wait_result() == 64 * MB
        assert p.wait(10) == c.OK


def test_closed_descriptors(tabi, target):
    """Those of standard input and output that are closed are not given to a socket."""
    seen = target(targets.answer_after_eof(b"answer"))
    tabi(LOCAL)
    with start(*WAY, stdout=None, preexec_fn=lambda: os.close(1)) as p:
        p.stdin.write(b"text")
        p.stdin.close()
        assert seen.wait_result() == (b"text", "eof")
        assert p.wait(10) == c.OK
    with start(*WAY, stdin=None, preexec_fn=lambda: os.close(0)) as p:
        assert p.stdout.read() == b"answer"
        assert p.wait(10) == c.OK
    assert seen.wait_result(2) == (b"", "eof")


# What is left behind


@pytest.mark.parametrize("kind", ("pipes", "sockets", "terminal"))
def test_nothing_is_left_non_blocking(tabi, target, kind):
    """The open files are shared with whoever started us, who does not expect EAGAIN."""
    target(targets.echo)
    tabi(LOCAL)
    if kind == "pipes":
        (ours_in, write), (read, ours_out) = os.pipe(), os.pipe()
    elif kind == "sockets":
        ours_in, write = (s.detach() for s in socket.socketpair())
        read, ours_out = (s.detach() for s in socket.socketpair())
    else:
        write, ours_in = pty.openpty()
        read, ours_out = write, os.dup(ours_in)
    with start(*WAY, stdin=ours_in, stdout=ours_out) as p:
        os.write(write, b"text\n")
        assert os.read(read, 4)[:4] == b"text"
        for fd in (ours_in, ours_out, write, read):
            assert is_blocking(fd)
        p.send_signal(signal.SIGKILL)
        p.wait(10)
        for fd in (ours_in, ours_out, write, read):
            assert is_blocking(fd)
    for fd in {ours_in, ours_out, write, read}:
        os.close(fd)


def on_terminal(master, slave, *args, env=None, **options):
    """Started with the terminal as its own, whatever its standard input and output are."""

    def own():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    return start(*args, env=env, preexec_fn=own, pass_fds=(slave,), **options)


def read_until(fd, text, timeout=10):
    """What a terminal shows, up to `text`."""
    shown, end = b"", time.monotonic() + timeout
    while text not in shown:
        ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
        assert ready, (text, shown)
        shown += os.read(fd, 1000)
    return shown


def echoes(fd):
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


@pytest.fixture
def asking(tabi, target, tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    target(targets.echo)
    return tabi(local(f"auth password {tmp_path}/users"))


ALICE = ("-x", "socks5h://alice@127.0.0.1:1080", *TO)


def test_a_person_at_the_terminal(tabi, target, terminal):
    """A line goes out, its answer comes; and when the target has ended there is nothing to wait for."""
    master, slave = terminal

    def serve(sock):
        sock.sendall(b"got " + socks.recv_exact(sock, 5))
        sock.close()

    target(serve)
    tabi(LOCAL)
    with on_terminal(master, slave, *WAY, stdin=slave, stdout=slave) as p:
        os.write(master, b"text\n")
        read_until(master, b"got text")
        assert p.wait(10) == c.OK
    assert is_blocking(slave)


def test_end_of_input_at_the_terminal(tabi, target, terminal):
    master, slave = terminal
    seen = target(targets.answer_after_eof(b"bye"))
    tabi(LOCAL)
    with on_terminal(master, slave, *WAY, stdin=slave) as p:
        os.write(master, b"text\n\x04")
        assert p.stdout.read() == b"bye"
        assert p.wait(10) == c.OK
    assert seen.wait_result() == (b"text\n", "eof")


def test_asking_for_the_password(asking, terminal):
    """On the terminal, though standard input and output are pipes; it is not shown."""
    master, slave = terminal
    with on_terminal(master, slave, *ALICE) as p:
        shown = read_until(master, b": ")
        assert shown == b"Password for socks5h://alice@127.0.0.1:1080: "
        assert not echoes(slave)
        os.write(master, b"secret\n")
        out, err = p.communicate(b"hello", 10)
        assert (p.returncode, out, err) == (c.OK, b"hello", b"")
    assert echoes(slave)
    assert b"secret" not in read_until(master, b"\n")
    asking.wait_session(user="alice", reason="done")


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
def test_signals_while_asking(asking, terminal, number):
    """The terminal shows again what is typed."""
    master, slave = terminal
    with on_terminal(master, slave, *ALICE) as p:
        read_until(master, b": ")
        os.write(master, b"sec")
        assert not echoes(slave)
        if number == signal.SIGINT:
            os.write(master, b"\x03")
        else:
            p.send_signal(number)
        assert p.wait(10) == -number
    assert echoes(slave)


def test_stopped_while_asking(asking, terminal):
    """By ^Z, under a shell: what is typed is shown; asked again when it goes on."""
    master, slave = terminal

    def own():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    words = " ".join((BINARY, "connect", *ALICE))
    script = f"set -m; {words} </dev/null; echo stopped >&2; read go; fg >/dev/null"
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    with c.Running(
        ("/bin/sh", "-c", script), env=environment(), preexec_fn=own, pass_fds=(slave,), **pipes
    ) as shell:
        read_until(master, b": ")
        assert not echoes(slave)
        os.write(master, b"\x1a")
        while b"stopped" not in shell.stderr.readline():
            pass
        assert echoes(slave)
        shell.stdin.write(b"go\n")
        shell.stdin.flush()
        read_until(master, b": ")
        assert not echoes(slave)
        os.write(master, b"secret\n")
        assert shell.wait(10) == c.OK
    assert echoes(slave)
    asking.wait_session(user="alice", reason="done")


def test_end_of_input_while_asking(asking, terminal):
    master, slave = terminal
    with on_terminal(master, slave, *ALICE) as p:
        read_until(master, b": ")
        os.write(master, b"\x04")
        assert p.wait(10) == c.USAGE
        assert b"has no password" in p.stderr.read()
    assert echoes(slave)


@pytest.mark.skipif(SANITIZED, reason="it keeps copies of its own")
def test_passwords_are_not_in_memory(tabi, target, tmp_path):
    """Once the way is open: what a core dump would hold."""
    run("passwd", str(tmp_path / "users"), "alice", input="hush-hush-hush\n")
    target(targets.echo)
    tabi(local(f"auth password {tmp_path}/users"))
    url = "socks5h://alice:hush-hush-hush@127.0.0.1:1080"
    with start("-x", url, *TO) as p:
        p.stdin.write(b"x")
        p.stdin.flush()
        assert p.stdout.read(1) == b"x"
        found = []
        with open(f"/proc/{p.pid}/maps") as maps, open(f"/proc/{p.pid}/mem", "rb", 0) as memory:
            for line in maps:
                where, mode = line.split()[:2]
                first, last = (int(n, 16) for n in where.split("-"))
                if "w" not in mode:
                    continue
                memory.seek(first)
                if b"hush-hush" in memory.read(last - first):
                    found.append(line)
        assert not found, found
        p.kill()
