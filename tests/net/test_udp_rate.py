# SPDX-License-Identifier: MIT
"""`rate` of a rule, for the datagrams of an association: what passes, and what is counted."""

import select
import time

import pytest

from harness import udp
from harness.config import HEAD, LOCAL
from harness.tabi import wait_until

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

# Ten bytes a millisecond. Full, the bucket holds 65,535 bytes; each datagram has 28 of headers.
RATE = "80kbit"
BYTES_A_SECOND = 10000
FULL = 65535
PAYLOAD = 1000
COST = PAYLOAD + 28
BURST = FULL // COST


def config(*rules):
    return HEAD + "".join(rule + "\n" for rule in rules)


LIMITED = config(f"allow command udp from loopback to any rate {RATE}")


@pytest.fixture
def remote():
    with udp.udp_socket() as sock:
        yield sock


def end(program, association):
    association.close()
    return program.wait_session(command="udp", reason="done")


def drain(sock, seconds=0.3):
    """How many arrive until nothing has come for a while."""
    n = 0
    while not udp.is_quiet(sock, seconds):
        n += 1
    return n


def paced(n, port, send):
    """send(i) n times, and no buffer but the bucket is what overflows."""
    for i in range(n):
        send(i)
        if i % 25 == 24:
            wait_until(lambda: not udp.waiting(port))
    wait_until(lambda: not udp.waiting(port))


def most(began):
    """What a bucket that was full at `began` has let through by now at most."""
    return (FULL + BYTES_A_SECOND * (time.monotonic() - began + 0.1)) / COST


def test_to_the_remotes(tabi, remote):
    program = tabi(LIMITED)
    one = udp.Association()
    began = time.monotonic()
    paced(300, one.relay[1], lambda _: one.send(*remote.getsockname(), b"x" * PAYLOAD))
    passed = drain(remote)
    assert BURST <= passed <= most(began)
    record = end(program, one)
    assert int(record["packets-up"]) == passed
    assert int(record["drop-rate"]) == 300 - passed
    assert int(record["up"]) == passed * PAYLOAD


def test_to_the_client(tabi, remote):
    """The other direction has a bucket of its own."""
    program = tabi(LIMITED)
    one = udp.Association()
    one.send(*remote.getsockname(), b"x" * (FULL - 28 - 10))
    _, outside = remote.recvfrom(65536)
    began = time.monotonic()
    paced(300, outside[1], lambda _: remote.sendto(b"x" * PAYLOAD, outside))
    passed = drain(one.sock)
    assert BURST <= passed <= most(began)
    record = end(program, one)
    assert int(record["packets-down"]) == passed
    assert int(record["drop-rate"]) == 300 - passed


def test_over_time(tabi, remote):
    """A steady stream at half the rate passes whole; one at four times the rate keeps to it."""
    program = tabi(LIMITED)
    one = udp.Association()
    for i in range(20):
        one.send(*remote.getsockname(), b"%d" % i + b"x" * 450)
        assert remote.recv(1000).startswith(b"%d" % i)
        time.sleep(0.1)
    assert "drop-rate" not in end(program, one)
    two = udp.Association()
    began = time.monotonic()
    passed = 0
    while time.monotonic() - began < 3:
        two.send(*remote.getsockname(), b"x" * PAYLOAD)
        passed += not udp.is_quiet(remote, 0.025)
    passed += drain(remote)
    assert passed <= most(began)
    assert passed >= (FULL + BYTES_A_SECOND * 2) / COST
    two.close()
    program.wait_session(2, command="udp", reason="done")
    assert int(program.sessions()[-1]["packets-up"]) == passed


def test_empty_datagrams_are_not_free(tabi, remote):
    program = tabi(LIMITED)
    one = udp.Association()
    began = time.monotonic()
    passed = 0
    for _ in range(60):
        paced(100, one.relay[1], lambda _: one.send(*remote.getsockname(), b""))
        while select.select([remote], [], [], 0)[0]:
            passed += remote.recv(10) == b""
    passed += drain(remote)
    assert FULL // 28 <= passed <= most(began) * COST / 28
    record = end(program, one)
    assert int(record["drop-rate"]) == 6000 - passed


def test_longest_passes(tabi, remote):
    """At the lowest rate of all."""
    tabi(LIMITED.replace(RATE, "8bit"))
    with udp.Association() as one:
        data = b"x" * (65507 - 10)
        one.send(*remote.getsockname(), data)
        assert remote.recv(65536) == data


def test_each_association_has_its_own(tabi, remote):
    tabi(LIMITED)
    held = [udp.Association() for _ in range(3)]
    for one in held:
        began = time.monotonic()
        paced(100, one.relay[1], lambda _: one.send(*remote.getsockname(), b"x" * PAYLOAD))
        assert BURST <= drain(remote) <= most(began)
    for one in held:
        one.close()


def test_each_rule_has_its_own(tabi):
    """What one rule's remotes use up is not missing to another's; one without has no limit."""
    remotes = [udp.udp_socket(f"127.0.0.{i}") for i in (2, 3, 4, 5)]
    program = tabi(config(
        f"allow command udp from loopback to 127.0.0.2,127.0.0.3 rate {RATE}",
        f"allow command udp from loopback to 127.0.0.4 rate {RATE}",
        "allow command udp from loopback to any",
    ))  # fmt: skip
    one = udp.Association()
    began = time.monotonic()
    for remote in remotes:
        paced(100, one.relay[1], lambda _: one.send(*remote.getsockname(), b"x" * PAYLOAD))
    passed = [drain(remote) for remote in remotes]
    assert BURST <= passed[0] + passed[1] <= most(began)
    assert BURST <= passed[2] <= most(began)
    assert passed[3] == 100
    assert int(end(program, one)["drop-rate"]) == 400 - sum(passed)


def test_a_name_does_not_lift_the_limit_of_its_address(tabi, remote, dns_server):
    """Each datagram is under the rule that lets it out, by the name or by the address."""
    dns_server({"fast.test": ["127.0.0.1"]})
    program = tabi(config(
        "allow command udp from loopback to fast.test",
        f"allow command udp from loopback to 127.0.0.1 rate {RATE}",
    ))  # fmt: skip
    port = remote.getsockname()[1]
    one = udp.Association()
    one.send("fast.test", port, b"first")
    assert remote.recv(10) == b"first"
    began = time.monotonic()
    by_address = 0
    for _ in range(4):
        paced(25, one.relay[1], lambda _: one.send("fast.test", port, b"n" * PAYLOAD))
        paced(25, one.relay[1], lambda _: one.send("127.0.0.1", port, b"a" * PAYLOAD))
        by_address += drain(remote, 0.1) - 25
    record = end(program, one)
    assert BURST <= by_address <= most(began)
    assert int(record["drop-rate"]) == 100 - by_address


@pytest.mark.parametrize("word", ("address", "endpoint-independent"))
def test_those_that_a_filter_lets_in(tabi, remote, word):
    """Whoever may speak unasked speaks at the rate of the rule that lets him."""
    program = tabi(LIMITED.replace("rate", f"filter {word} rate"))
    host = "127.0.0.1" if word == "address" else "127.0.0.9"
    one = udp.Association()
    one.send(*remote.getsockname(), b"x")
    _, outside = remote.recvfrom(10)
    began = time.monotonic()
    with udp.udp_socket(host) as other:
        paced(200, outside[1], lambda _: other.sendto(b"x" * PAYLOAD, outside))
    passed = drain(one.sock)
    assert BURST <= passed <= most(began)
    assert int(end(program, one)["drop-rate"]) == 200 - passed


def test_rules_without_it_have_no_limit(tabi, remote):
    program = tabi(LOCAL)
    one = udp.Association()
    for i in range(1000):
        one.send(*remote.getsockname(), b"x" * PAYLOAD)
        remote.recv(PAYLOAD)
    assert "drop-rate" not in end(program, one)
