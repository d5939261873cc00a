# SPDX-License-Identifier: MIT
"""More than one interface: pairs of them, whose other ends lie in network namespaces of their own."""

import ctypes
import queue
import socket
import struct
import subprocess
import threading

from harness import netns
from harness.tabi import wait_until

_libc = ctypes.CDLL(None)

IP_RECVTTL = 12
IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 49, 51, 52
IP_MULTICAST_ALL, IPV6_MULTICAST_ALL = 49, 29


def ip(*words):
    subprocess.run(
        ["ip", *map(str, words)], check=True, capture_output=True, preexec_fn=netns.keep_net_admin
    )


def _usable(address):
    """Without this IPv6 addresses are tentative for a while, and so is the link-local one, but
    that is not used here."""
    return ["nodad"] if ":" in address else []


class Segment:
    """A link from the test's namespace (`name`, with `addresses`) to a namespace of its own, in
    which `far` addresses live. Sockets made by do() are there, whoever uses them."""

    def __init__(self, name, addresses, far):
        self.name = name
        self._jobs = queue.Queue()
        self._done = queue.Queue()
        threading.Thread(target=self._run, daemon=True).start()
        tid = self._done.get()
        ip("link", "add", name, "type", "veth", "peer", "name", "far0", "netns", tid)
        for address in addresses:
            ip("address", "add", address, "dev", name, *_usable(address))
        ip("link", "set", name, "up")
        self.do(self._set_up_far, far)
        self._wait_link(name)
        self.do(self._wait_link, "far0")

    def _run(self):
        netns.enter_fresh()
        self._done.put(_libc.gettid())
        while True:
            job, args = self._jobs.get()
            try:
                self._done.put((job(*args), None))
            except Exception as err:  # for the test to see
                self._done.put((None, err))

    def do(self, job, *args):
        """Calls job(*args) over there; returns what it returns."""
        self._jobs.put((job, args))
        result, err = self._done.get(timeout=10)
        if err:
            raise err
        return result

    @staticmethod
    def _set_up_far(far):
        for address in far:
            ip("address", "add", address, "dev", "far0", *_usable(address))
        ip("link", "set", "far0", "up")
        ip("route", "add", "default", "dev", "far0")
        ip("-6", "route", "add", "default", "dev", "far0")

    @staticmethod
    def _wait_link(name):
        def up():
            shown = subprocess.run(
                ["ip", "address", "show", name], check=True, capture_output=True, text=True
            ).stdout
            return "LOWER_UP" in shown

        wait_until(up, what=f"{name} to be up")

    def member(self, group, port):
        """A member of a group over there."""
        return self.do(Member, group, port, "far0")

    def socket(self, host, port=0):
        """A plain UDP socket over there."""

        def make():
            sock = socket.socket(
                socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
            )
            sock.settimeout(10)
            sock.bind((host, port))
            return sock

        return self.do(make)


class Member:
    """Hears a group on one interface, and sees the TTL of what comes."""

    def __init__(self, group, port, interface):
        self.v6 = ":" in group
        index = socket.if_nametoindex(interface)
        self.sock = socket.socket(
            socket.AF_INET6 if self.v6 else socket.AF_INET, socket.SOCK_DGRAM
        )
        self.sock.settimeout(10)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.v6:
            self.sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
            self.sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
            self.sock.bind(("::", port))
            request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
            self.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        else:
            self.sock.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
            self.sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            self.sock.bind(("", port))
            request = socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)

    def recv(self):
        """(data, ttl, (host, port) of the sender)"""
        data, controls, _, sender = self.sock.recvmsg(65536, 256)
        level, kind = (
            (socket.IPPROTO_IPV6, IPV6_HOPLIMIT) if self.v6 else (socket.IPPROTO_IP, socket.IP_TTL)
        )
        (ttl,) = [struct.unpack("@i", c[2])[0] for c in controls if c[:2] == (level, kind)]
        return data, ttl, sender[:2]
