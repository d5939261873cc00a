# SPDX-License-Identifier: MIT
"""SOCKS and HTTP CONNECT from the client's side: bytes in, bytes out, nothing clever."""

import base64
import ipaddress
import os
import socket
import struct

TIMEOUT = 10
CONNECT, BIND, UDP = 1, 2, 3
RESOLVE, RESOLVE_PTR = 0xF0, 0xF1  # Tor


def dial(proxy, source=None):
    """`proxy` is (host, port) or the path of a Unix socket; `source` an address to come from."""
    if isinstance(proxy, (str, os.PathLike)):
        sock = socket.socket(socket.AF_UNIX)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in proxy[0] else socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(TIMEOUT)
    if source:
        sock.bind((source, 0))
    sock.connect(proxy if isinstance(proxy, tuple) else os.fspath(proxy))
    return sock


def recv_exact(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise EOFError(f"end after {len(data)} of {n} bytes: {data!r}")
        data += more
    return data


def recv_end(sock):
    """All up to the end, and which end it was: ("eof" or "reset")."""
    data = bytearray()
    try:
        while True:
            more = sock.recv(65536)
            if not more:
                return bytes(data), "eof"
            data += more
    except ConnectionResetError:
        return bytes(data), "reset"


def send_split(sock, data, size):
    """In pieces of `size` bytes, each a segment of its own: TCP_NODELAY is on."""
    for at in range(0, len(data), size):
        sock.sendall(data[at : at + size])


def reset(sock):
    """Closes with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# SOCKS5


def greeting(*methods):
    return bytes([5, len(methods), *methods])


def userpass(user, password):
    user, password = _bytes(user), _bytes(password)
    return bytes([1, len(user)]) + user + bytes([len(password)]) + password


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode()


def address5(host):
    """ATYP and address. Text that is an IP address goes as one; bytes always go as a name."""
    if isinstance(host, str):
        try:
            ip = ipaddress.ip_address(host)
            return bytes([1 if ip.version == 4 else 4]) + ip.packed
        except ValueError:
            host = host.encode()
    return bytes([3, len(host)]) + host


def request5(host, port, command=CONNECT):
    return bytes([5, command, 0]) + address5(host) + struct.pack(">H", port)


def recv_reply5(sock):
    """(code, address, port, all bytes) of a reply."""
    raw = recv_exact(sock, 4)
    assert raw[0] == 5 and raw[2] == 0, raw
    assert raw[3] in (1, 4), f"address type {raw[3]} in a reply"
    raw += recv_exact(sock, (4 if raw[3] == 1 else 16) + 2)
    host = str(ipaddress.ip_address(raw[4:-2]))
    return raw[1], host, struct.unpack(">H", raw[-2:])[0], raw


FAILURE_TAIL = bytes([0, 1, 0, 0, 0, 0, 0, 0])


def failure5(code):
    return bytes([5, code]) + FAILURE_TAIL


def hello5(sock, user=None, password=None):
    """Greeting and, with a user, RFC 1929."""
    method = 0 if user is None else 2
    sock.sendall(greeting(method))
    answer = recv_exact(sock, 2)
    assert answer == bytes([5, method]), answer
    if user is not None:
        sock.sendall(userpass(user, password))
        answer = recv_exact(sock, 2)
        assert answer == b"\x01\x00", answer


def open5(proxy, host, port, user=None, password=None):
    """A connection through the proxy; fails unless granted."""
    sock = dial(proxy)
    hello5(sock, user, password)
    sock.sendall(request5(host, port))
    code, *_ = recv_reply5(sock)
    assert code == 0, f"reply {code}"
    return sock


def ask5(proxy, host, port, command=CONNECT):
    """The reply's code alone; a refusal must be all there is, and a clean end."""
    with dial(proxy) as sock:
        hello5(sock)
        sock.sendall(request5(host, port, command))
        code, _, _, raw = recv_reply5(sock)
        if code:
            assert raw == failure5(code)
            assert recv_end(sock) == (b"", "eof")
        return code


# SOCKS4 and 4A


def request4(host, port, userid=b"", command=CONNECT):
    """With an IPv4 address as text SOCKS4; with a name (text or bytes) 4A."""
    name = b""
    try:
        ip = ipaddress.IPv4Address(host) if isinstance(host, str) else None
    except ValueError:
        ip = None
    if ip is None:
        name = _bytes(host) + b"\0"
        ip = ipaddress.IPv4Address("0.0.0.1")
    return struct.pack(">BBH", 4, command, port) + ip.packed + _bytes(userid) + b"\0" + name


GRANTED4 = 90
FAILURE4 = bytes([0, 91, 0, 0, 0, 0, 0, 0])


def open4(proxy, host, port, userid=b""):
    sock = dial(proxy)
    sock.sendall(request4(host, port, userid))
    reply = recv_exact(sock, 8)
    assert reply[:2] == b"\x00\x5a", reply
    return sock


def ask4(proxy, host, port, userid=b"", command=CONNECT):
    with dial(proxy) as sock:
        sock.sendall(request4(host, port, userid, command))
        reply = recv_exact(sock, 8)
        assert reply[0] == 0
        if reply[1] != GRANTED4:
            assert reply == FAILURE4
            assert recv_end(sock) == (b"", "eof")
        return reply[1]


# HTTP CONNECT


def basic(user, password):
    token = base64.b64encode(_bytes(user) + b":" + _bytes(password))
    return b"Proxy-Authorization: Basic " + token + b"\r\n"


def request_http(authority, headers=b""):
    authority = _bytes(authority)
    line = b"CONNECT " + authority + b" HTTP/1.1\r\n"
    return line + b"Host: " + authority + b"\r\n" + headers + b"\r\n"


def recv_head(sock):
    """(status, header block) of a response, not a byte more."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += recv_exact(sock, 1)
    version, status, _ = data.split(b" ", 2)
    assert version in (b"HTTP/1.1", b"HTTP/1.0"), data
    return int(status), data


def header(head, name):
    """The value of a header, or None."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name.lower():
            return value.strip()
    return None


def open_http(proxy, authority, headers=b""):
    sock = dial(proxy)
    sock.sendall(request_http(authority, headers))
    status, head = recv_head(sock)
    assert status == 200, head
    return sock


def authority(host, port):
    if isinstance(host, bytes):
        return host + b":%d" % port
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ask_http(proxy, host, port, headers=b""):
    with dial(proxy) as sock:
        sock.sendall(request_http(authority(host, port), headers))
        return recv_head(sock)[0]


OPEN = {
    "socks4": open4,
    "socks4a": open4,
    "socks5": open5,
    "http": lambda proxy, host, port: open_http(proxy, authority(host, port)),
}
