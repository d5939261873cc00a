# SPDX-License-Identifier: MIT
"""A datagram's way through an association allocates nothing (doc/HACKING.md, invariant 13)."""

import os
import struct
import subprocess

import pytest

from harness import udp
from harness.config import HEAD, local
from harness.tabi import SANITIZED

TURNS = 1000


@pytest.fixture
def allocations(tmp_path):
    """(environment, count): what the program under test has asked its allocator for so far."""
    source = os.path.join(os.path.dirname(__file__), "countalloc.c")
    library, counter = str(tmp_path / "countalloc.so"), tmp_path / "count"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-fno-builtin", "-o", library, source], check=True
    )
    counter.write_bytes(bytes(4096))
    counter.chmod(0o666)
    tmp_path.chmod(0o755)
    env = {"LD_PRELOAD": library, "COUNT_FILE": str(counter)}
    return env, lambda: struct.unpack_from("@L", counter.read_bytes())[0]


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
def test_nothing_for_each_datagram(tabi, allocations, dns_server, conf):
    """Of the client's, to addresses and to a name; of remotes; strangers'; what is refused."""
    env, count = allocations
    dns_server({"echo.test": ["127.0.0.1"]})
    tabi(conf, env=env)
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
