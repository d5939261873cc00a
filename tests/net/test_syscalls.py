# SPDX-License-Identifier: MIT
"""The system calls of one session, in order. doc/syscalls.md says why each of them stays."""

import os
import re
import signal
import socket
import subprocess

import pytest

from harness import socks, targets
from harness.config import PROXY, local
from harness.tabi import SANITIZED, wait_until

# Greeting and request come in one piece, or it would be chance whether the second is there when it
# is looked for. Without epoll_wait, of which there is one whenever nothing is left to do.
SESSION = """
accept4 recvfrom sendto epoll_ctl(ADD)
socket setsockopt(TCP_NODELAY) setsockopt(SO_OOBINLINE) connect=EINPROGRESS epoll_ctl(ADD)
accept4=EAGAIN
getsockname sendto
recvfrom sendto
recvfrom sendto
recvfrom shutdown
recvfrom shutdown LOG close close
""".split()

NOTED = re.compile(r"EPOLL_CTL_(ADD|MOD|DEL)|(TCP_NODELAY|SO_OOBINLINE)")


def word(line):
    """A line of strace as above."""
    name = line.split("(")[0].split()[-1]
    if name in ("write", "writev", "pwritev2"):
        return "LOG"
    noted = NOTED.search(line)
    if noted:
        name += f"({noted.group(1) or noted.group(2)})"
    failed = re.search(r"= -1 (E\w+)", line)
    return f"{name}={failed.group(1)}" if failed else name


class Strace:
    def __init__(self, pid, path):
        self.path = path
        self.process = subprocess.Popen(
            ("strace", "-f", "-qq", "-o", path, "-p", str(pid)), stderr=subprocess.PIPE
        )
        wait_until(lambda: self.tracer_of(pid) == self.process.pid, 10, "strace to attach")

    @staticmethod
    def tracer_of(pid):
        with open(f"/proc/{pid}/status") as f:
            return int(re.search(r"TracerPid:\s+(\d+)", f.read()).group(1))

    def calls(self):
        with open(self.path) as f:
            return [word(line) for line in f if "(" in line and "resumed" not in line]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        self.process.stderr.close()


def one_session(pid):
    """What the client sends is there when it is looked for, however slow anybody is."""
    os.kill(pid, signal.SIGSTOP)
    sock = socks.dial(PROXY)
    sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
    os.kill(pid, signal.SIGCONT)
    assert socks.recv_exact(sock, 12)[:4] == b"\x05\x00\x05\x00"
    targets.ping(sock)
    sock.shutdown(socket.SHUT_WR)
    assert socks.recv_end(sock) == (b"", "eof")
    sock.close()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer makes calls of its own")
def test_calls_of_a_session(tabi, target, tmp_path):
    target(targets.echo)
    program = tabi(local("relay auto"))
    (pid,) = program.workers()
    one_session(pid)
    program.wait_session(1)
    strace = Strace(pid, str(tmp_path / "strace"))
    one_session(pid)
    program.wait_session(2)
    wait_until(lambda: strace.calls()[-1] == "epoll_wait", 10, "the worker to rest")
    strace.stop()
    calls = [c for c in strace.calls() if c not in ("restart_syscall", "---", "rt_sigreturn")]
    waits = calls.count("epoll_wait")
    rest = [c for c in calls if not c.startswith("epoll_wait")]
    print("\n" + " ".join(rest), f"and epoll_wait {waits} times")
    assert rest == SESSION
    # One for each step, and perhaps one more where its parts come one after the other.
    assert waits <= 12
