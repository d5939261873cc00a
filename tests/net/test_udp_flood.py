# SPDX-License-Identifier: MIT
"""A million datagrams that are nobody's: none is relayed, and each is counted."""

import os
import socket
import subprocess

import pytest

from harness import udp
from harness.config import LOCAL, local
from harness.tabi import check_memory, cpu_seconds

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

TURNS = 20
EACH = 50000 // 3  # of each kind in one turn


@pytest.fixture
def flood(tmp_path):
    """flood(kind, port, count, avoid, payload): from invented sources, and all of them read."""
    source = os.path.join(os.path.dirname(__file__), "flood.c")
    program = str(tmp_path / "flood")
    subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", program, source], check=True)
    seeds = iter(range(1, 1 << 30))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:

        def send(kind, port, count, avoid, payload):
            args = (raw.fileno(), kind, port, count, next(seeds), avoid, payload.hex())
            subprocess.run(
                [program, *map(str, args)], pass_fds=(raw.fileno(),), check=True, timeout=120
            )

        yield send


def port_line(program):
    program.wait_text(" udp-port ")
    (line,) = [line for line in program.log().splitlines() if " udp-port " in line]
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.case("U1", "U2", "U27", "U32")
@pytest.mark.parametrize("shared", (False, True), ids=("own", "shared"))
def test_million(tabi, flood, shared, record_property):
    """From other addresses, from other ports of the client's, and from remotes never written to,
    before the client is heard and after."""
    program = tabi(local("udp-ports shared 5300") if shared else LOCAL)
    one = udp.Association()
    remote = udp.udp_socket()
    forged = udp.datagram(*remote.getsockname(), b"theirs")
    # The first to speak at the client's address would be taken for it, so others speak first.
    flood("hosts", one.relay[1], EACH, 0, forged)
    strangers, unasked = EACH, 0
    one.send(*remote.getsockname(), b"mine")
    data, outside = remote.recvfrom(100)
    assert data == b"mine"
    (worker,) = program.workers()
    cpu = cpu_seconds(worker)
    for turn in range(TURNS):
        flood("hosts", one.relay[1], EACH, 0, forged)
        flood("ports", one.relay[1], EACH, one.sock.getsockname()[1], forged)
        flood("both", outside[1], EACH, remote.getsockname()[1], b"unasked")
        strangers += 2 * EACH
        unasked += EACH
        one.send(*remote.getsockname(), b"mine %d" % turn)
        assert remote.recvfrom(100) == (b"mine %d" % turn, outside)
        remote.sendto(b"answer %d" % turn, outside)
        assert one.recv() == (remote.getsockname(), b"answer %d" % turn)
        if turn == 0:
            memory = program.memory()  # with the receive buffers in use
    cpu = (cpu_seconds(worker) - cpu) / (TURNS * EACH * 3)
    check_memory(program.memory() - memory, 1 << 17)
    assert udp.is_quiet(remote) and one.is_quiet()
    one.close()
    record = program.wait_session(command="udp", reason="done")
    assert record["packets-up"] == str(1 + TURNS) and record["packets-down"] == str(TURNS)
    assert record.pop("drop-unasked") == str(unasked)
    counted = port_line(program) if shared else record
    assert counted.pop("drop-stranger") == str(strangers)
    assert not [name for name in (*record, *counted) if name.startswith("drop-")]
    assert strangers + unasked >= 1000000
    record_property("CPU us per stranger", round(cpu * 1e6, 2))
    print(f"\n{strangers + unasked} strangers, {cpu * 1e6:.2f} us of CPU each")
