# SPDX-License-Identifier: MIT
"""Servers for the proxy to connect to. They count what they accept."""

import hashlib
import socket
import threading

from harness import socks


class Target:
    """Listens at once; each accepted connection is handed to `serve(sock)` in a thread, or without
    one just kept."""

    def __init__(self, serve=None, address="127.0.0.1", port=7000, backlog=4096):
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address, self.port = address, port
        self.serve = serve
        self.peers = []
        self._probes = set()
        self.socks = []
        self.results = []
        self.errors = []
        self._changed = threading.Condition()
        self._sock = socket.socket(self.family, socket.SOCK_STREAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind((address, port))
        self._sock.listen(backlog)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def accepted(self):
        """How many connections were made so far. Our thread may be behind the kernel; but its queue
        is in order, so when a connection of our own has come out, all before it have."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)
        with socket.create_connection((host, self.port)) as probe:
            mine = probe.getsockname()[:2]
            with self._changed:
                seen = self._changed.wait_for(lambda: mine in self.peers, 10)
                assert seen, "the target does not accept"
                self._probes.add(mine)
                return len([peer for peer in self.peers if peer not in self._probes])

    def close(self):
        # shutdown() wakes the thread in accept(); close() alone leaves the port taken.
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._sock.close()
        for sock in self.socks:
            sock.close()

    def _accept(self):
        while True:
            try:
                sock, peer = self._sock.accept()
            except OSError:
                return
            sock.settimeout(60)
            with self._changed:
                self.peers.append(peer[:2])
                self.socks.append(sock)
                self._changed.notify_all()
            if self.serve:
                threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock):
        try:
            result = self.serve(sock)
        except OSError as err:
            with self._changed:
                self.errors.append(err)
                self._changed.notify_all()
            return
        with self._changed:
            self.results.append(result)
            self._changed.notify_all()

    def wait_accepted(self, n=1, timeout=10):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.peers) >= n, timeout), self.peers
        return self.socks[n - 1]

    def wait_result(self, n=1, timeout=30):
        """What the n-th finished serve() returned."""
        with self._changed:
            done = self._changed.wait_for(lambda: len(self.results) >= n, timeout)
            assert done, (self.results, self.errors)
        return self.results[n - 1]

    def wait_error(self, n=1, timeout=30):
        with self._changed:
            done = self._changed.wait_for(lambda: len(self.errors) >= n, timeout)
            assert done, (self.results, self.errors)
        return self.errors[n - 1]


def echo(sock):
    """Sends back what comes; ends when the other side does."""
    while True:
        data = sock.recv(65536)
        if not data:
            sock.shutdown(socket.SHUT_WR)
            return
        sock.sendall(data)


def collect(sock):
    """Takes everything, says nothing."""
    data, end = socks.recv_end(sock)
    return data, end


def greet(text):
    """Speaks first, then echoes."""

    def serve(sock):
        sock.sendall(text)
        echo(sock)

    return serve


def answer_after_eof(text):
    """Answers when the other side has ended: the habit of `tac`, inetd services and git."""

    def serve(sock):
        data, end = socks.recv_end(sock)
        sock.sendall(text)
        sock.close()
        return data, end

    return serve


def ping(sock, payload=b"is anybody there?"):
    """Through an echo target and back."""
    sock.sendall(payload)
    got = socks.recv_exact(sock, len(payload))
    assert got == payload, got


def blackhole(address="127.0.0.1", port=7009):
    """A listener whose queue is full: the kernel drops further SYNs, so connecting to it neither
    succeeds nor fails. Returns the sockets to keep."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind((address, port))
    listener.listen(0)
    filler = socket.create_connection((address, port))
    return listener, filler


def check_same(got, want):
    """Like assert, but a difference in megabytes is told in one line."""
    if got != want:
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        raise AssertionError(f"{len(got)} bytes instead of {len(want)}, different from {at} on")


def pattern(n, seed):
    """n bytes that no shift or cut leaves equal."""
    return hashlib.shake_128(seed.encode()).digest(n)
