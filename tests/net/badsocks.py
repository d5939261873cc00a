# SPDX-License-Identifier: MIT
"""A small SOCKS5 server that does everything right, but for the habits it is given."""

import socket
import struct
import threading

from harness import socks

ENDLESS = 1 << 30


class BadSocks:
    """BadSocks(habit, ...): `habits` are words, each of which one method below knows."""

    def __init__(self, *habits, address=("127.0.0.1", 1080)):
        self.habits = set(habits)
        self._listener = socket.create_server(address, backlog=4096)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def has(self, habit):
        return habit in self.habits

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            self._converse(sock)
        except (OSError, EOFError, struct.error):
            pass
        finally:
            sock.close()

    def _read(self, sock, n):
        """n bytes; or as bad servers do it, what one recv() gives, and the rest is lost."""
        if not self.has("one-recv"):
            return socks.recv_exact(sock, n)
        data = sock.recv(65536)
        if len(data) < n:
            raise EOFError
        return data[:n]

    def _greeting(self, sock):
        if self.has("one-recv"):
            # The request, when it comes, is one recv() too.
            data = sock.recv(65536)
            return data[2 : 2 + data[1]] if data[:1] == b"\5" and len(data) > 1 else b""
        version, n = socks.recv_exact(sock, 2)
        if version != 5:
            raise EOFError
        return socks.recv_exact(sock, n)

    def _converse(self, sock):
        if self.has("silent"):
            sock.recv(1 << 16)
            self._wait_for_end(sock)
            return
        if self.has("reset"):
            sock.recv(1 << 16)
            socks.reset(sock)
            return
        if self.has("endless"):
            self._pour(sock)
            return
        methods = self._greeting(sock)
        if self.has("version-4"):
            sock.sendall(b"\4\0")
            return
        if self.has("unoffered"):
            sock.sendall(b"\5\2")
            self._wait_for_end(sock)
            return
        if 0 not in methods:
            sock.sendall(b"\5\xff")
            return
        sock.sendall(b"\5\0" + (b"\0" if self.has("long-choice") else b""))
        self._request(sock)

    def _pour(self, sock):
        for _ in range(ENDLESS):
            sock.sendall(b"\5" * 65536)

    def _wait_for_end(self, sock):
        while sock.recv(1 << 16):
            pass

    def _refuse(self, sock, code):
        sock.sendall(bytes([5, code]) + socks.FAILURE_TAIL[: 7 if self.has("nine-bytes") else 8])
        if self.has("keeps-open"):
            self._wait_for_end(sock)

    def _request(self, sock):
        if self.has("one-recv"):
            data = sock.recv(65536)
            if len(data) < 10:
                return
            version, command, _, kind = data[:4]
            rest = data[4:]
        else:
            version, command, _, kind = socks.recv_exact(sock, 4)
            rest = None
        sizes = {1: 4, 4: 16}
        if version != 5:
            return
        if kind == 3:
            n = rest[0] if rest is not None else socks.recv_exact(sock, 1)[0]
            rest = rest[1:] if rest is not None else None
        elif kind in sizes:
            n = sizes[kind]
        else:
            self._refuse(sock, 1 if self.has("vague") else 8)
            return
        rest = rest if rest is not None else socks.recv_exact(sock, n + 2)
        host, (port,) = rest[:n], struct.unpack(">H", rest[n : n + 2])
        if command != 1:
            self._refuse(sock, 1 if self.has("vague") else 7)
            return
        self._connect(sock, kind, host, port)

    def _connect(self, sock, kind, host, port):
        if self.has("grants-first"):
            sock.sendall(socks.failure5(0))
        try:
            if kind == 3:
                name = host.decode("ascii")
                other = socket.create_connection((name, port), 5)
            else:
                family = socket.AF_INET if kind == 1 else socket.AF_INET6
                other = socket.create_connection((socket.inet_ntop(family, host), port), 5)
        except ConnectionRefusedError:
            self._refuse(sock, 1 if self.has("vague") else 5)
            return
        except (OSError, ValueError):
            self._refuse(sock, 4)
            return
        other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.has("grants-first"):
            sock.sendall(self._granted(other))
        self._relay(sock, other)

    def _granted(self, other):
        host, port = other.getsockname()[:2]
        if self.has("lies"):
            host, port = "192.0.2.1", 1
        reply = b"\5\0" + (b"\1" if self.has("rsv") else b"\0")
        reply += socks.address5(host) + struct.pack(">H", port)
        if self.has("nine-bytes"):
            return reply[:-1]
        return reply + (b"!" if self.has("extra-byte") else b"")

    def _relay(self, one, other):
        state = {"reset": False}
        back = threading.Thread(target=self._pump, args=(other, one, state), daemon=True)
        back.start()
        self._pump(one, other, state)
        back.join()
        one.close()
        other.close()

    def _pump(self, source, sink, state):
        try:
            while data := source.recv(65536):
                if self.has("flips") and len(data) > 1000:
                    data = data[:-1] + bytes([(data[-1] + 1) & 255])
                sink.sendall(data)
        except OSError:
            state["reset"] = not self.has("soft-ends")
        if state["reset"]:
            # close() makes a reset of it; it wakes whoever waits, and sends nothing before.
            for sock in (source, sink):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._shutdown(sock, socket.SHUT_RD)
        elif self.has("no-half-close"):
            self._shutdown(source, socket.SHUT_RDWR)
            self._shutdown(sink, socket.SHUT_RDWR)
        elif not self.has("keeps-ends"):
            self._shutdown(sink, socket.SHUT_WR)

    @staticmethod
    def _shutdown(sock, how):
        try:
            sock.shutdown(how)
        except OSError:
            pass
