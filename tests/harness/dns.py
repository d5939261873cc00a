# SPDX-License-Identifier: MIT
"""The name server of the network tests: net/dnsstub.py where the program is told to look for it,
and answers that can be held back."""

import threading

from dnsstub import (
    DROP, NXDOMAIN, SERVFAIL, Alternate, DnsStub, Pointer, Records, canonical, parse_query, reverse,
)  # fmt: skip

__all__ = ["DROP", "NXDOMAIN", "SERVFAIL", "Alternate", "Dns", "Pointer", "Records", "reverse"]


class Dns(DnsStub):
    """Serves at once, at 127.0.0.1:5353 unless said. What was asked for by UDP since `hold(name)` is answered at
    `release(name)`."""

    def __init__(self, names=None, port=5353):
        super().__init__(names, port=port)
        self._held = {}
        self._seen = set()
        self._asked = threading.Condition()
        self._thread.start()

    def close(self):
        self.__exit__()

    def hold(self, name):
        self._held[name] = []

    def release(self, name):
        """The addresses from which it was asked for."""
        with self._asked:
            held = self._held.pop(name)
            for reply, client in held:
                self._udp.sendto(reply, client)
            return {client for _, client in held}

    def wait_asked(self, name, timeout=10):
        with self._asked:
            assert self._asked.wait_for(lambda: self.count(name), timeout), f"{name} not asked for"

    def wait_names(self, n, timeout=10):
        """Until n different names have been asked for."""

        with self._asked:
            seen = self._asked.wait_for(lambda: len(self._seen) >= n, timeout)
            assert seen, f"{len(self._seen)} names asked for"

    def _on_udp(self):
        packet, client = self._udp.recvfrom(65535)
        query = parse_query(packet)
        with self._asked:
            reply = self._reply(packet, "udp")
            self._seen.add(canonical(query[1]) if query else None)
            held = self._held.get(canonical(query[1])) if query else None
            if reply and held is not None:
                held.append((reply, client))
            elif reply:
                self._udp.sendto(reply, client)
            self._asked.notify_all()
