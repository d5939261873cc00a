# SPDX-License-Identifier: MIT
"""The DNS stub answers what it was told: other tests rely on it."""

import socket
import struct

import pytest

from dnsstub import DROP, NXDOMAIN, SERVFAIL, Alias, Alternate, DnsStub, Records, pack_name

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

A, AAAA = 1, 28


def ask(dns, name, qtype, tcp=False):
    """Response code, truncated?, and the data and TTL of each record of the type asked for."""
    query = struct.pack("!HHHHHH", 77, 0x0100, 1, 0, 0, 0) + pack_name(name)
    query += struct.pack("!HH", qtype, 1)
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in dns.address else socket.AF_INET
    with socket.socket(family, kind) as s:
        s.settimeout(2)
        s.connect((dns.address, dns.port))
        if tcp:
            s.sendall(struct.pack("!H", len(query)) + query)
            stream = s.makefile("rb")
            reply = stream.read(struct.unpack("!H", stream.read(2))[0])
        else:
            s.send(query)
            reply = s.recv(65535)
    qid, flags, _, count = struct.unpack_from("!HHHH", reply)
    assert qid == 77 and reply[12 : len(query)] == query[12:]
    at, found = len(query), []
    for _ in range(count):
        at = reply.index(0, at) + 1
        rtype, _, ttl, length = struct.unpack_from("!HHIH", reply, at)
        at += 10
        if rtype == qtype:
            found.append((reply[at : at + length], ttl))
        at += length
    assert at == len(reply)
    return flags & 15, bool(flags & 0x0200), found


V4 = socket.inet_aton("192.0.2.1")
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("tcp", [False, True])
def test_addresses(address, tcp):
    names = {"Both.example": ["192.0.2.1", "2001:db8::1"], "six.example.": ["2001:db8::1"]}
    with DnsStub(names, address) as dns:
        assert ask(dns, "both.EXAMPLE", A, tcp) == (0, False, [(V4, 60)])
        assert ask(dns, "both.example", AAAA, tcp) == (0, False, [(V6, 60)])
        assert ask(dns, "six.example", A, tcp) == (0, False, [])
        assert dns.count("BOTH.example") == 2 and dns.count(qtype="A") == 2


def test_failures():
    with DnsStub({"bad.example": SERVFAIL, "no.example": NXDOMAIN, "mute.example": DROP}) as dns:
        assert ask(dns, "bad.example", A) == (2, False, [])
        assert ask(dns, "no.example", A) == (3, False, [])
        assert ask(dns, "unlisted.example", A) == (3, False, [])
        with pytest.raises(TimeoutError):
            ask(dns, "mute.example", A)
        assert dns.count("mute.example", "A") == 1


def test_alias_ttl_and_truncation():
    many = [f"192.0.2.{i}" for i in range(100)]
    names = {
        "alias.example": Alias("short.example"),
        "short.example": Records(["192.0.2.1"], ttl=1),
        "loop.example": Alias("loop.example"),
        "tc.example": Records(["192.0.2.1"], truncate=True),
        "many.example": many,
    }
    with DnsStub(names) as dns:
        assert ask(dns, "alias.example", A) == (0, False, [(V4, 1)])
        assert ask(dns, "loop.example", A) == (0, False, [])
        assert ask(dns, "tc.example", A) == (0, True, [])
        assert ask(dns, "tc.example", A, tcp=True) == (0, False, [(V4, 60)])
        assert ask(dns, "many.example", A) == (0, True, [])
        assert len(ask(dns, "many.example", A, tcp=True)[2]) == 100


def test_alternating():
    with DnsStub({"rebind.example": Alternate(["192.0.2.1"], ["2001:db8::1"])}) as dns:
        for _ in range(3):
            assert ask(dns, "rebind.example", A)[2] == [(V4, 0)]
            assert ask(dns, "rebind.example", AAAA)[2] == []
            assert ask(dns, "rebind.example", A)[2] == []
            assert ask(dns, "rebind.example", AAAA)[2] == [(V6, 0)]
