# SPDX-License-Identifier: MIT
"""The enhanced UDP mode from the client's side: control messages, and data both ways."""

import ipaddress
import struct

from harness import socks, udp
from harness.config import PROXY

MULTICAST = 4  # the command
BIND, RELEASE, SET_TTL = 5, 6, 7
RECEIVE, SEND, UNICAST, TCP, GROUP, MU, MM = 1, 2, 4, 8, 16, 32, 64
BAD_AID, NO_RECEIVE, NO_SEND, BAD_CONTEXT, BAD_GROUP, BAD_TTL = 10, 11, 12, 13, 14, 15

ENTRY = bytes([5, MULTICAST, 0, 1]) + bytes(6)
GRANTED = bytes([1, 0, 0, 1]) + bytes(6)
NOBODY = ("0.0.0.0", 0)


def address(host, port):
    return socks.address5(host) + struct.pack(">H", port)


def message(command, flags, ttl=0, tid=1, aid=0, local=NOBODY, remote=NOBODY, bare=False):
    body = struct.pack(">BHBHI", command, flags, ttl, tid, aid)
    if not bare:
        body += address(*local) + address(*remote)
    return struct.pack(">BH", 1, 3 + len(body)) + body


def encapsulated(aid, data):
    return struct.pack(">BHI", 3, 7 + len(data), aid) + data


def packet(aid, data, frag=0, dgid=0, rsv=0):
    return struct.pack(">BBHI", rsv, frag, dgid, aid) + data


def _address(raw):
    size = 4 if raw[0] == 1 else 16
    host = str(ipaddress.ip_address(raw[1 : 1 + size]))
    return (host, struct.unpack(">H", raw[1 + size : 3 + size])[0]), raw[3 + size :]


class Reply:
    def __init__(self, raw):
        self.code, self.flags, self.ttl, self.tid, self.aid = struct.unpack(">BHBHI", raw[:10])
        self.local, rest = _address(raw[10:])
        self.remote, rest = _address(rest)
        assert not rest

    def __repr__(self):
        return f"<reply {self.code} flags {self.flags:#x} aid {self.aid:#x}>"


class Client:
    """A control connection on which the mode was granted, and a socket for datagrams."""

    def __init__(self, proxy=PROXY, user=None, password=None, source=None, dial=socks.dial):
        self.control = dial(proxy)
        socks.hello5(self.control, user, password)
        self.control.sendall(ENTRY)
        answer = socks.recv_exact(self.control, 10)
        assert answer == GRANTED, answer
        self.sock = udp.udp_socket(source or self.control.getsockname()[0])
        self.tid = 0
        self.data = []  # what came over the connection beside the replies

    @property
    def local(self):
        return self.sock.getsockname()[:2]

    def recv_message(self):
        kind, size = struct.unpack(">BH", socks.recv_exact(self.control, 3))
        return kind, socks.recv_exact(self.control, size - 3)

    def recv_reply(self):
        while True:
            kind, raw = self.recv_message()
            if kind == 2:
                return Reply(raw)
            assert kind == 3
            self.data.append((struct.unpack(">I", raw[:4])[0], raw[4:]))

    def recv_data(self):
        if not self.data:
            kind, raw = self.recv_message()
            assert kind == 3, kind
            return struct.unpack(">I", raw[:4])[0], raw[4:]
        return self.data.pop(0)

    def ask(self, command, flags, **fields):
        self.tid += 1
        self.control.sendall(message(command, flags, tid=self.tid, **fields))
        reply = self.recv_reply()
        assert reply.tid == self.tid
        return reply

    def bind(self, flags, remote, **fields):
        """One that is granted."""
        fields.setdefault("local", self.local)
        reply = self.ask(BIND, flags, remote=remote, **fields)
        assert reply.code == 0, reply
        assert reply.aid
        return reply

    def join(self, group, port, **fields):
        return self.bind(RECEIVE | GROUP, (group, port), **fields)

    def both(self, group, port, ttl=1, **fields):
        return self.bind(RECEIVE | SEND | GROUP, (group, port), ttl=ttl, **fields)

    def send_half(self):
        """A message in two pieces, the first of which has to be kept."""
        whole = message(BIND, RECEIVE | GROUP, remote=("239.1.2.3", 6000))
        self.control.sendall(whole[:9])
        self.control.sendall(whole[9:])
        self.recv_reply()

    def send(self, reply, data, **header):
        self.sock.sendto(packet(reply.aid, data, **header), reply.local)

    def recv(self, reply):
        raw, sender = self.sock.recvfrom(65536)
        assert sender[:2] == reply.local
        assert raw[:2] == b"\0\0" and raw[4:8] == struct.pack(">I", reply.aid), raw[:8]
        return raw[8:]

    def is_quiet(self, seconds=udp.QUIET):
        return udp.is_quiet(self.sock, seconds)

    def close(self):
        self.control.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
