# SPDX-License-Identifier: MIT
"""The program under test, its log and its processes."""

import contextlib
import ctypes
import fcntl
import os
import re
import resource
import signal
import subprocess
import threading
import time

from harness.logs import Record

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("TABI") or os.path.join(ROOT, "build", "tabi"))
# How relays move bytes wherever a test does not say: the suite runs once with each of them.
RELAY = os.environ.get("TABI_RELAY")

SYS_PIDFD_GETFD = 438
_libc = ctypes.CDLL(None)

# A sanitizer keeps what was freed for a while, to catch its use: then sizes say nothing.
SANITIZED = bool(os.environ.get("TABI_SANITIZED"))
SANITIZER = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "Sanitizer: CHECK")


def wait_until(condition, timeout=10, what=None):
    """Until condition() is true; returns what it returned."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"timed out: {what or condition}"
        time.sleep(0.005)


def run(*args, **options):
    """Any other subcommand, to its end."""
    return subprocess.run(
        [BINARY, *args], capture_output=True, text=True, timeout=30, **options
    )


class Tabi:
    """`tabi serve` from start to stop, or another `command` that serves. Usable when the constructor
    returns."""

    def __init__(
        self, directory, config=None, args=(), wait=True, env=None, preexec=None, command="serve"
    ):
        self.config_path = os.path.join(directory, "tabi.conf")
        command = [BINARY, command, *args]
        if config is not None:
            self.write_config(config)
            command += ["-c", "tabi.conf"]
        self.lines = []
        self._records = []
        self.expect_lost_workers = False
        self.stopped = False
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._ended = False
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=directory,
            env={**os.environ, **(env or {})},
            preexec_fn=preexec,
        )
        # It drops lines rather than wait for whoever reads them.
        fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, 1 << 20)
        threading.Thread(target=self._read, daemon=True).start()
        self.first_workers = []
        if wait:
            self.wait_ready()

    def write_config(self, text):
        if RELAY and not re.search(r"^relay\s", text, re.MULTILINE):
            text += f"\nrelay {RELAY}\n"
        with open(self.config_path, "w") as f:
            f.write(text)
        os.chmod(self.config_path, 0o644)

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "backslashreplace").rstrip("\n")
            record = Record(line)
            with self._reading, self._changed:
                self.lines.append(line)
                self._records.append(record)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @contextlib.contextmanager
    def hold_log(self):
        """Nobody reads standard error meanwhile, and its pipe is small."""
        with self._reading:
            fcntl.fcntl(self.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
            yield

    @property
    def pid(self):
        return self.process.pid

    def log_end(self):
        """Enough to see what went wrong."""
        return "\n".join(self.lines[-40:])

    def log(self):
        with self._changed:
            return "\n".join(self.lines)

    def wait_for_log(self, predicate, timeout=10, n=1):
        """The n-th line for which predicate(record) holds, waiting for it."""

        hits = []
        at = 0

        def found():
            nonlocal at
            hits.extend(r for r in self._records[at:] if predicate(r))
            at = len(self._records)
            return len(hits) >= n

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, timeout)
            assert found(), "no such line in the log:\n" + self.log_end()
            return hits[n - 1]

    def wait_text(self, text, timeout=10, n=1):
        return self.wait_for_log(lambda r: text in r.line, timeout, n)

    def wait_ready(self, n=1, timeout=20):
        self.wait_for_log(lambda r: r.event == "ready" or r.get("message") == "ready", timeout, n)
        if not self.first_workers:
            self.first_workers = self.workers()
            assert self.first_workers

    def sessions(self):
        """The records of finished sessions so far."""
        with self._changed:
            return [r for r in self._records if r.event == "session"]

    def wait_session(self, n=1, timeout=10, **fields):
        """The n-th session line with these fields."""
        return self.wait_for_log(
            lambda r: r.event == "session"
            and all(str(r.get(k)) == str(v) for k, v in fields.items()),
            timeout,
            n,
        )

    def workers(self):
        """Process ids of the supervisor's children."""
        try:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
                return sorted(map(int, f.read().split()))
        except FileNotFoundError:
            return []

    def descriptors(self):
        """{worker: open descriptors}."""
        return {pid: count_descriptors(pid) for pid in self.workers()}

    def memory(self):
        """Private bytes of all workers together."""
        return sum(memory_of(pid) for pid in self.workers())

    def wait_descriptors(self, wanted, timeout=15):
        wait_until(
            lambda: self.descriptors() == wanted, timeout, f"descriptors to be {wanted} again"
        )

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, timeout=15):
        status = self.process.wait(timeout)
        with self._changed:
            assert self._changed.wait_for(lambda: self._ended, 5)
        return status

    def stop(self):
        """Ends it and says what is wrong with how it lived and died; once."""
        if self.stopped:
            return
        self.stopped = True
        lost = [p for p in self.first_workers if p not in self.workers()]
        died_early = self.process.poll()
        if died_early is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(3)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)
        try:
            status = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait_exit()
            raise AssertionError("does not stop\n" + self.log_end()) from None
        self.check_end(status, lost if died_early is None else [])

    def check_end(self, status, lost):
        text = self.log()
        for mark in SANITIZER:
            assert mark not in text, text[text.index(mark) - 100 :][:4000]
        assert self.expect_lost_workers or not lost, f"workers {lost} died:\n{self.log_end()}"
        assert status == 0, f"exit status {status}:\n{self.log_end()}"


def count_descriptors(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        pass
    # A worker cannot be dumped, so its /proc/PID/fd is root's, who is nobody in our namespace.
    # Asking for one descriptor after the other is allowed all the same.
    return _count_by_asking(pid)


def _count_by_asking(pid):
    limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    whom = os.pidfd_open(pid)
    found = 0
    for number in range(limit):
        copy = _libc.syscall(SYS_PIDFD_GETFD, whom, number, 0)
        if copy >= 0:
            os.close(copy)
            found += 1
    os.close(whom)
    return found


def memory_of(pid):
    """Bytes that belong to this process alone."""
    total = 0
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) * 1024
    return total


def check_memory(grown, bound):
    assert grown < bound or SANITIZED, f"{grown} bytes of memory"


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
