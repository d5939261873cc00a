# SPDX-License-Identifier: MIT
"""A scriptable DNS server for tests, over UDP and TCP, with the standard library alone.

    with DnsStub({
        "www.example": ["192.0.2.1", "2001:db8::1"],
        "gone.example": NXDOMAIN,          # also SERVFAIL, REFUSED, DROP
        "short.example": Records(["127.0.0.2"], ttl=1),
        "alias.example": Alias("www.example"),
        "rebind.example": Alternate(["192.0.2.1"], ["127.0.0.1"]),
        reverse("192.0.2.1"): Pointer("host.example"),
    }) as dns:
        config = f"resolver {dns.endpoint}"
        ...
        assert dns.count("www.example", "A") == 1

Names are compared without regard to case or a trailing dot; a name not listed is NXDOMAIN, one
whose list has no address of the type asked for has an empty answer. `dns.names` may be changed
while it runs.
"""

import argparse
import ipaddress
import json
import selectors
import socket
import struct
import threading
from dataclasses import dataclass, field

TYPES = {1: "A", 5: "CNAME", 12: "PTR", 28: "AAAA"}
UDP_MAX = 512  # without EDNS, RFC 1035 section 4.2.1
FLAG_REPLY, FLAG_TRUNCATED, FLAG_RECURSION = 0x8000, 0x0200, 0x0080


@dataclass(frozen=True)
class Failure:
    """An answer that is none: a response code, or silence where it is None."""

    rcode: int | None


SERVFAIL = Failure(2)
NXDOMAIN = Failure(3)
REFUSED = Failure(5)
DROP = Failure(None)


@dataclass(frozen=True)
class Records:
    """Addresses with a TTL of their own; `truncate` makes UDP say "ask again over TCP"."""

    addresses: list
    ttl: int = 60
    truncate: bool = False


@dataclass(frozen=True)
class Alias:
    """A CNAME to a name of the same server, given together with what that name has."""

    target: str
    ttl: int = 60


@dataclass(frozen=True)
class Pointer:
    """A PTR record to a name; with bytes, to labels of any bytes, as they stand on the wire."""

    target: str | bytes
    ttl: int = 60


def reverse(address):
    """The name under which the PTR record of an address stands."""
    return ipaddress.ip_address(address).reverse_pointer


class Alternate:
    """One answer after the other, over again, for each type by itself: since a look-up asks for A
    and for AAAA, the n-th look-up gets the n-th answer whole. With TTL 0 unless said otherwise."""

    def __init__(self, *answers, ttl=0):
        self.answers = [Records(a, ttl) if isinstance(a, list) else a for a in answers]
        self.asked = {}

    def pick(self, qtype):
        n = self.asked.get(qtype, 0)
        self.asked[qtype] = n + 1
        return self.answers[n % len(self.answers)]


def canonical(name):
    return name.rstrip(".").lower()


def pack_name(name):
    labels = [label.encode("latin-1") for label in name.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def parse_query(packet):
    """Id, name, type and the bytes of the question; None for what is no query of one question."""
    if len(packet) < 12:
        return None
    qid, flags, questions = struct.unpack_from("!HHH", packet)
    if flags & FLAG_REPLY or questions != 1:
        return None
    labels, at = [], 12
    while at < len(packet) and packet[at]:
        if packet[at] > 63:
            return None
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    if at + 5 > len(packet):
        return None
    return qid, ".".join(labels), struct.unpack_from("!H", packet, at + 1)[0], packet[12 : at + 5]


@dataclass
class Answer:
    rcode: int = 0
    records: list = field(default_factory=list)
    truncate: bool = False

    def add(self, name, rtype, ttl, data):
        self.records.append(pack_name(name) + struct.pack("!HHIH", rtype, 1, ttl, len(data)) + data)

    def packet(self, qid, question, over_udp):
        body = b"".join(self.records)
        truncated = over_udp and (self.truncate or 12 + len(question) + len(body) > UDP_MAX)
        flags = FLAG_REPLY | 0x0100 | FLAG_RECURSION | self.rcode
        count = len(self.records)
        if truncated:
            flags, count, body = flags | FLAG_TRUNCATED, 0, b""
        return struct.pack("!HHHHHH", qid, flags, 1, count, 0, 0) + question + body


class DnsStub:
    def __init__(self, names=None, address="127.0.0.1", port=0):
        self.names = dict(names or {})
        self.address = address
        self.queries = []  # (name, "A" or "AAAA" or number, "udp" or "tcp"), in order of arrival
        self._lock = threading.Lock()
        self._stop, self._stopped = socket.socketpair()
        self._udp, self._tcp = self._bind(port)
        self.port = self._udp.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def endpoint(self):
        """As the configuration writes it: 127.0.0.1:5353, [::1]:5353."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    def count(self, name=None, qtype=None):
        with self._lock:
            return sum(
                (name is None or canonical(n) == canonical(name))
                and (qtype is None or t == qtype)
                for n, t, _ in self.queries
            )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.send(b"x")
        self._thread.join()
        for sock in (self._udp, self._tcp, self._stop, self._stopped):
            sock.close()

    def _bind(self, port):
        """Both on the same port; one that only UDP could have is given back and another tried."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        for attempt in range(20):
            udp = socket.socket(family, socket.SOCK_DGRAM)
            tcp = socket.socket(family, socket.SOCK_STREAM)
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                udp.bind((self.address, port))
                tcp.bind((self.address, udp.getsockname()[1]))
                tcp.listen()
                return udp, tcp
            except OSError:
                udp.close()
                tcp.close()
                if port or attempt == 19:
                    raise

    def _serve(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._udp, selectors.EVENT_READ, self._on_udp)
            selector.register(self._tcp, selectors.EVENT_READ, self._on_tcp)
            selector.register(self._stopped, selectors.EVENT_READ, None)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    try:
                        key.data()
                    except OSError:
                        pass  # a client that went away concerns nobody else

    def _on_udp(self):
        packet, client = self._udp.recvfrom(65535)
        reply = self._reply(packet, "udp")
        if reply:
            self._udp.sendto(reply, client)

    def _on_tcp(self):
        client, _ = self._tcp.accept()
        threading.Thread(target=self._serve_tcp, args=(client,), daemon=True).start()

    def _serve_tcp(self, client):
        with client, client.makefile("rb") as stream:
            client.settimeout(10)
            try:
                while len(head := stream.read(2)) == 2:
                    packet = stream.read(struct.unpack("!H", head)[0])
                    reply = self._reply(packet, "tcp")
                    if reply:
                        client.sendall(struct.pack("!H", len(reply)) + reply)
            except OSError:
                pass  # closed by the other end, or silent for too long

    def _reply(self, packet, transport):
        query = parse_query(packet)
        if not query:
            return None
        qid, name, qtype, question = query
        with self._lock:
            self.queries.append((name, TYPES.get(qtype, qtype), transport))
            answer = self._answer(name, qtype)
        return answer and answer.packet(qid, question, transport == "udp")

    def _answer(self, name, qtype):
        known = {canonical(n): entry for n, entry in self.names.items()}
        answer = Answer()
        for _ in range(8):  # aliases, not for ever
            entry = known.get(canonical(name), NXDOMAIN)
            if isinstance(entry, Alternate):
                entry = entry.pick(qtype)
            if isinstance(entry, Failure):
                answer.rcode = entry.rcode
                return None if entry.rcode is None else answer
            if isinstance(entry, Alias):
                answer.add(name, 5, entry.ttl, pack_name(entry.target))
                name = entry.target
                continue
            if isinstance(entry, Pointer):
                target = entry.target
                data = target if isinstance(target, bytes) else pack_name(target)
                if qtype == 12:
                    answer.add(name, 12, entry.ttl, data)
                break
            if not isinstance(entry, Records):
                entry = Records(entry)
            for address in map(ipaddress.ip_address, entry.addresses):
                if {4: 1, 6: 28}[address.version] == qtype:
                    answer.add(name, qtype, entry.ttl, address.packed)
            answer.truncate = entry.truncate
            break
        return answer


def main():
    """Serves a JSON object of name -> addresses (or "NXDOMAIN", "SERVFAIL", "REFUSED", "DROP")."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("names", type=json.loads)
    args = parser.parse_args()
    failures = {"NXDOMAIN": NXDOMAIN, "SERVFAIL": SERVFAIL, "REFUSED": REFUSED, "DROP": DROP}
    names = {n: failures[e] if isinstance(e, str) else e for n, e in args.names.items()}
    with DnsStub(names, args.address, args.port) as dns:
        print(dns.endpoint, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
