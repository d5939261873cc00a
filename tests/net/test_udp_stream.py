# SPDX-License-Identifier: MIT
"""The stream report of bench/rtp keeps honest books: what it says is what the server counted."""

import os
import subprocess

from harness.config import LOCAL, PROXY
from harness.tabi import BINARY

PER_SECOND, SECONDS = 1000, 2
SENT = PER_SECOND * SECONDS


def report():
    program = os.path.join(os.path.dirname(BINARY), "bench", "bench-rtp")
    done = subprocess.run(
        [program, PROXY[0], str(PROXY[1]), str(PER_SECOND), str(SECONDS)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names, *rows = [line.split() for line in done.stdout.splitlines()[:5]]
    return {row[0]: dict(zip(names[1:], row[1:])) for row in rows}


def test_each_packet_is_accounted_for(tabi):
    program = tabi(LOCAL)
    flows = report()
    record = program.wait_session(command="udp", reason="done")
    assert list(flows) == ["direct-up", "direct-down", "relay-up", "relay-down"]
    for flow in flows.values():
        assert int(flow["sent"]) == int(flow["received"]) + int(flow["lost"])
        assert int(flow["twice"]) == 0
        assert 0 <= float(flow["jitter"]) <= float(flow["jit-max"])
        assert float(flow["p50"]) <= float(flow["p99"]) <= float(flow["p99.9"]) <= float(flow["max"])
    up, down = flows["relay-up"], flows["relay-down"]
    assert int(up["sent"]) == int(flows["direct-up"]["sent"]) == SENT
    # A remote sends back what it gets, and the server passed on what it counts.
    assert int(down["sent"]) == int(up["received"]) <= int(record["packets-up"])
    assert int(down["received"]) <= int(record["packets-down"])
    dropped = sum(int(n) for name, n in record.items() if name.startswith("drop-"))
    assert int(record["packets-up"]) + dropped <= SENT + int(down["sent"])


def test_without_a_proxy_it_says_so():
    program = os.path.join(os.path.dirname(BINARY), "bench", "bench-rtp")
    done = subprocess.run([program, *map(str, PROXY), "10", "1"], capture_output=True, text=True)
    assert done.returncode == 1 and "cannot connect" in done.stderr
