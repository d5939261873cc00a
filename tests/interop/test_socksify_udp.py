# SPDX-License-Identifier: MIT
"""UDP ASSOCIATE with Dante's socksify as the SOCKS client and programs inside that know nothing of
it. (dig is none of them: it sends by a system call that socksify does not see.)"""

import os

import pytest

from harness import udp
from harness.config import local
from interop_helpers import OUTSIDE

# An unconnected socket: Dante then asks with the address that it will send from.
ASK = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
for n in (0, 1, 512, 8000):
    sock.sendto(b"x" * n, ("%s", 7000))
    assert len(sock.recvfrom(65536)[0]) == n, n
print("whole")
""" % OUTSIDE


@pytest.fixture
def echo(outside):
    one = udp.Echo(OUTSIDE)
    yield one
    one.close()


@pytest.fixture
def socksify(client, tmp_path):
    def call(*command, **options):
        config = tmp_path / "socks.conf"
        config.write_text(
            "logoutput: stderr\n"
            "route {\n  from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = 1080\n"
            "  proxyprotocol: socks_v5\n  protocol: tcp udp\n  command: connect udpassociate\n"
            "  method: none\n}\n"
        )
        # The server's address is this host's, which socksify would send to by itself.
        env = {"SOCKS_CONF": os.fspath(config), "SOCKS_AUTOADD_LANROUTES": "no"}
        return client("socksify", *command, env=env, timeout=30, **options)

    return call


def check(program, echo, packets):
    record = program.wait_session(command="udp", reason="done")
    assert record["packets-up"] == record["packets-down"] == str(packets)
    assert not [name for name in record if name.startswith("drop-")]
    # What arrived came from the proxy's own port, without a header.
    assert len(echo.seen) == packets


def test_netcat(tabi, socksify, echo):
    program = tabi(local())
    assert socksify("nc.openbsd", "-u", "-w", "1", OUTSIDE, "7000", input=b"hello\n") == b"hello\n"
    check(program, echo, 1)
    assert echo.seen[0][0] == b"hello\n"


def test_datagrams_of_many_sizes(tabi, socksify, echo):
    program = tabi(local())
    assert socksify("/usr/bin/python3", "-c", ASK) == b"whole\n"
    check(program, echo, 4)
