# SPDX-License-Identifier: MIT
"""UDP ASSOCIATE from the client's side, and remotes to send to."""

import ipaddress
import socket
import struct
import threading

from harness import socks
from harness.config import PROXY

QUIET = 0.3  # seconds in which something that must not come would have come


def datagram(host, port, data, frag=0, rsv=b"\0\0"):
    return rsv + bytes([frag]) + socks.address5(host) + struct.pack(">H", port) + data


def parse(raw):
    """((host, port), data) of a datagram from the proxy."""
    assert raw[:3] == b"\0\0\0" and raw[3] in (1, 4), raw[:4]
    end = 8 if raw[3] == 1 else 20
    host = str(ipaddress.ip_address(raw[4:end]))
    return (host, struct.unpack(">H", raw[end : end + 2])[0]), raw[end + 2 :]


def udp_socket(host="127.0.0.1", port=0, shared=False):
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(socks.TIMEOUT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock


def is_quiet(sock, seconds=QUIET):
    sock.settimeout(seconds)
    try:
        sock.recvfrom(65536)
        return False
    except TimeoutError:
        return True
    finally:
        sock.settimeout(socks.TIMEOUT)


def waiting(*ports):
    """Bytes that nobody has read yet at these ports of this network."""
    n = 0
    for name in ("udp", "udp6"):
        with open("/proc/net/" + name) as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if int(fields[1].split(":")[1], 16) in ports:
                    n += int(fields[4].split(":")[1], 16)
    return n


class Association:
    """One that was granted: the control connection, where to send, and a socket to send from."""

    def __init__(self, proxy=PROXY, declared=("0.0.0.0", 0), source=None, user=None, password=None,
                 timeout=socks.TIMEOUT, client=None):
        """`client` is the address to come from, where the kernel should not choose it."""
        self.control = socks.dial(proxy, client)
        self.control.settimeout(timeout)
        socks.hello5(self.control, user, password)
        self.control.sendall(socks.request5(*declared, socks.UDP))
        code, host, port, _ = socks.recv_reply5(self.control)
        assert code == 0, f"reply {code}"
        self.relay = (host, port)
        self.sock = udp_socket(source or self.control.getsockname()[0])

    def send(self, host, port, data, **header):
        self.sock.sendto(datagram(host, port, data, **header), self.relay)

    def send_raw(self, raw):
        self.sock.sendto(raw, self.relay)

    def recv(self):
        raw, sender = self.sock.recvfrom(65536)
        assert sender[:2] == self.relay, sender
        return parse(raw)

    def ask(self, host, port, data):
        """To a remote that echoes, and back."""
        self.send(host, port, data)
        source, answer = self.recv()
        assert answer == data, (len(answer), len(data))
        return source

    def is_quiet(self, seconds=QUIET):
        return is_quiet(self.sock, seconds)

    def close(self):
        self.control.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Echo:
    """Sends back what it gets, and remembers who sent what."""

    def __init__(self, host="127.0.0.1", port=7000):
        self.sock = udp_socket(host, port)
        self.sock.settimeout(None)
        self.seen = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            data, sender = self.sock.recvfrom(65536)
            if data == b"quit" and sender == self.sock.getsockname():
                return
            self.seen.append((data, sender))
            self.sock.sendto(data, sender)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.sendto(b"quit", self.sock.getsockname())
        self._thread.join()
        self.sock.close()
