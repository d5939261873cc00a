# SPDX-License-Identifier: MIT
"""A datagram's way through an association allocates nothing (doc/HACKING.md, invariant 13)."""

import os
import struct
import subprocess

import pytest

from harness import udp
from harness.config import HEAD, local
from harness.tabi import SANITIZED

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

TURNS = 1000


class Allocator:
    """What the program under test has asked its allocator for, and when that has nothing."""

    def __init__(self, directory):
        source = os.path.join(os.path.dirname(__file__), "countalloc.c")
        library, self._file = str(directory / "countalloc.so"), directory / "count"
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-fno-builtin", "-o", library, source], check=True
        )
        self._file.write_bytes(bytes(4096))
        self._file.chmod(0o666)
        directory.chmod(0o755)
        self.env = {"LD_PRELOAD": library, "COUNT_FILE": str(self._file)}

    def count(self):
        return struct.unpack_from("@L", self._file.read_bytes())[0]

    def fail(self, nth, n=1):
        """The nth of the allocations to come, and those behind it; with n = 0 none."""
        first = self.count() + nth
        with open(self._file, "r+b") as f:
            f.seek(struct.calcsize("@L"))
            f.write(struct.pack("@LL", first, first + n - 1))


@pytest.fixture
def allocator(tmp_path):
    return Allocator(tmp_path)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")
@pytest.mark.parametrize(
    "conf",
    (
        local(),
        local("udp-ports shared 5300"),
        HEAD + "allow command udp from loopback filter endpoint-independent rate 1gbit\n",
    ),
    ids=("own", "shared", "rate"),
)
def test_nothing_for_each_datagram(tabi, allocator, dns_server, conf):
    """Of the client's, to addresses and to a name; of remotes; strangers'; what is refused."""
    count = allocator.count
    dns_server({"echo.test": ["127.0.0.1"]})
    tabi(conf, env=allocator.env)
    assert count() > 0
    before_it = count()
    one = udp.Association()
    assert count() > before_it, "an association takes memory, or nothing is counted"
    remote4, remote6, stranger = udp.udp_socket(), udp.udp_socket("::1"), udp.udp_socket("127.0.0.9")
    forged = udp.datagram(*remote4.getsockname(), b"theirs")

    def turn():
        """Each of its datagrams has been read when it returns."""
        for host, remote in (
            ("127.0.0.1", remote4), ("::1", remote6), ("echo.test", remote4),
        ):  # fmt: skip
            stranger.sendto(forged, one.relay)
            one.send_raw(b"\0\0\0\2no header")
            one.send("127.0.0.1", 1, b"nobody is there")
            one.send(host, remote.getsockname()[1], b"up")
            data, outside = remote.recvfrom(10)
            assert data == b"up"
            remote.sendto(b"down", outside)
            assert one.recv()[1] == b"down"

    for _ in range(10):
        turn()
    before = count()
    for _ in range(TURNS):
        turn()
    assert count() == before
    one.close()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")
@pytest.mark.parametrize("n", (1, 1000), ids=("one", "all"))
@pytest.mark.parametrize("shared", (False, True), ids=("own", "shared"))
def test_without_memory(tabi, allocator, dns_server, shared, n):
    """At each allocation in turn: refused, or served with what can be; then all is as before."""
    dns_server({"echo.test": ["127.0.0.1"]})
    port = "udp-ports shared 5300" if shared else "udp-ports 5300-5309"
    program = tabi(
        HEAD + port + "\nallow command udp from loopback rate 1gbit\n", env=allocator.env
    )
    idle = program.descriptors()
    with udp.Echo() as echo, udp.Association(timeout=2) as one:
        one.ask("127.0.0.1", 7000, b"warm up")
    program.wait_descriptors(idle)
    refused = 0
    for nth in range(1, 41):
        allocator.fail(nth, n)
        try:
            with udp.Association(timeout=0.3) as one:
                one.send("127.0.0.1", 7000, b"x")
                one.send("echo.test", 7000, b"y")
                one.is_quiet(0.02)
        except (AssertionError, EOFError, OSError):
            refused += 1
        allocator.fail(0, 0)
        with udp.Echo() as echo, udp.Association() as one:
            one.ask("127.0.0.1", 7000, b"z")
            one.ask("echo.test", 7000, b"z")
            assert len(echo.seen) == 2
    assert refused > 3
    program.wait_descriptors(idle)
