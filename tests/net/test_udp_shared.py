# SPDX-License-Identifier: MIT
"""One port for all UDP associations of a worker: whose is a datagram, and whose never."""

import os
import signal
import socket

import pytest

from harness import netns, socks, udp
from harness.config import PROXY, local
from harness.tabi import wait_until

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

SHARED = local("udp-ports shared 5300")


def bound(family=""):
    with open("/proc/net/udp" + family) as f:
        return [line.split()[1] for line in f.readlines()[1:]]


def port_line(program):
    """The fields of the line about a shared port that was closed."""
    program.wait_text(" udp-port ")
    (line,) = [line for line in program.log().splitlines() if " udp-port " in line]
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


@pytest.mark.case("U31")
def test_clients_are_told_apart(tabi, echo):
    """A hundred at one port, each by its address."""
    seen = echo("127.0.0.1")
    program = tabi(SHARED)
    held = [udp.Association(client=f"127.0.1.{i}") for i in range(1, 101)]
    assert {one.relay for one in held} == {("127.0.0.1", 5300)}
    assert bound().count("0100007F:14B4") == 1
    for turn in range(3):
        for i, one in enumerate(held):
            one.send("127.0.0.1", 7000, b"%d %d" % (turn, i))
        for i, one in enumerate(held):
            assert one.recv()[1] == b"%d %d" % (turn, i)
    assert len({outside for _, outside in seen.seen}) == 100
    for one in held:
        one.close()
    program.wait_session(100, command="udp", reason="done")
    for record in program.sessions():
        assert record["packets-up"] == record["packets-down"] == "3"


@pytest.mark.parametrize("order", (1, -1))
def test_declared_ports_tell_clients_of_one_address_apart(tabi, echo, order):
    """As NAT has them: whoever speaks first, each gets what it declared."""
    seen = echo()
    program = tabi(SHARED)
    socks_ = [udp.udp_socket() for _ in range(5)]
    held = []
    for sock in socks_:
        one = udp.Association(declared=sock.getsockname())
        one.sock.close()
        one.sock = sock
        held.append(one)
    for one in held[::order]:
        one.ask("127.0.0.1", 7000, b"x")
    outside = dict(zip([one.sock.getsockname() for one in held[::order]],
                       [sender for _, sender in seen.seen]))
    assert len(set(outside.values())) == 5
    for one in held:
        one.ask("127.0.0.1", 7000, b"y")
        assert seen.seen[-1][1] == outside[one.sock.getsockname()]
        one.close()
    program.wait_session(5, command="udp", reason="done")
    assert " udp-port " not in program.log()


def test_undeclared_the_oldest_comes_first(tabi, echo):
    """A new port of an address belongs to the oldest association there that was not heard yet;
    with none left it is a stranger's."""
    seen = echo()
    program = tabi(SHARED)
    first, second = udp.Association(), udp.Association()
    second.ask("127.0.0.1", 7000, b"taken for the first one's")
    first.ask("127.0.0.1", 7000, b"taken for the second one's")
    stranger = udp.udp_socket()
    stranger.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), first.relay)
    second.ask("127.0.0.1", 7000, b"and so it stays")
    assert udp.is_quiet(stranger)
    assert [sender for _, sender in seen.seen][0::2] == [seen.seen[0][1]] * 2
    first.control.close()
    assert program.wait_session(command="udp")["packets-up"] == "2"
    first.ask("127.0.0.1", 7000, b"goes on, for it speaks for the other")
    # With the association the port is gone, and the next one of that address is a stranger's.
    second.send("127.0.0.1", 7000, b"of an association that has ended")
    assert second.is_quiet()
    first.close()
    second.close()
    program.wait_session(2, command="udp")
    assert port_line(program)["drop-stranger"] == "2"


def test_declared_goes_before_the_one_first_heard(tabi, echo):
    echo()
    program = tabi(SHARED)
    mine, theirs = udp.udp_socket(), udp.udp_socket()
    one = udp.Association(declared=mine.getsockname())
    one.sock.close()
    one.sock = theirs
    one.ask("127.0.0.1", 7000, b"theirs")
    one.sock = mine
    one.ask("127.0.0.1", 7000, b"mine")
    theirs.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), one.relay)
    assert udp.is_quiet(theirs) and one.is_quiet()
    one.close()
    assert program.wait_session(command="udp")["packets-up"] == "2"
    assert port_line(program)["drop-stranger"] == "1"


@pytest.mark.case("U1", "U2", "U32")
def test_strangers_neither_pass_nor_claim(tabi, echo):
    seen = echo()
    program = tabi(SHARED)
    one = udp.Association()
    stranger = udp.udp_socket("127.0.0.9")
    for _ in range(100):
        stranger.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), one.relay)
    one.ask("127.0.0.1", 7000, b"mine")
    for sock in (stranger, udp.udp_socket()):
        sock.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), one.relay)
        assert udp.is_quiet(sock)
    one.ask("127.0.0.1", 7000, b"mine")
    assert {data for data, _ in seen.seen} == {b"mine"}
    one.close()
    record = program.wait_session(command="udp", reason="done")
    assert not [name for name in record if name.startswith("drop-")]
    line = port_line(program)
    assert line["drop-stranger"] == "102"
    assert line["address"] == "127.0.0.1" and line["port"] == "5300"


def test_each_worker_has_its_own(tabi, echo):
    """And none takes what belongs to a client of the other."""
    seen = echo()
    program = tabi(SHARED.replace("workers 1", "workers 2"))
    held = [udp.Association(client=f"127.0.1.{i}") for i in range(1, 33)]
    assert {one.relay[1] for one in held} == {5300, 5301}
    for one in held:
        one.ask("127.0.0.1", 7000, b"x")
        other = (one.relay[0], 5300 + 5301 - one.relay[1])
        one.sock.sendto(udp.datagram("127.0.0.1", 7000, b"stray"), other)
        one.ask("127.0.0.1", 7000, b"y")
    assert {data for data, _ in seen.seen} == {b"x", b"y"}
    for one in held:
        one.close()
    program.wait_session(32, command="udp", reason="done")


@pytest.mark.case("U23")
def test_answers_come_from_the_address_that_was_reached(tabi, echo):
    """One socket for each address, and none at a wildcard."""
    echo()
    conf = SHARED.replace("127.0.0.1:1080", "*:1080 open").replace("listen [::1]:1080\n", "")
    tabi(conf.replace("from loopback", "from any"))
    netns.add_address("192.0.2.7")
    hosts = ("127.0.0.1", "127.0.0.2", "192.0.2.7", "::1")
    held = [udp.Association((host, 1080)) for host in hosts]
    for host, one in zip(hosts, held):
        assert one.relay == (host, 5300)
        one.ask("127.0.0.1", 7000, b"x")
    assert "00000000:14B4" not in bound() and "0" * 32 + ":14B4" not in bound("6")
    for one in held:
        one.close()


def test_open_as_long_as_it_is_used(tabi, echo):
    echo()
    program = tabi(SHARED)
    idle = program.descriptors()
    for _ in range(3):
        assert "0100007F:14B4" not in bound()
        a, b = udp.Association(), udp.Association(client="127.0.0.2")
        a.ask("127.0.0.1", 7000, b"x")
        a.close()
        b.ask("127.0.0.1", 7000, b"x")
        b.close()
        program.wait_descriptors(idle)


def test_port_that_is_taken(tabi):
    program = tabi(SHARED)
    with udp.udp_socket("127.0.0.1", 5300):
        assert socks.ask5(PROXY, "0.0.0.0", 0, socks.UDP) == 1
        assert program.wait_session(reason="unavailable")
    udp.Association().close()


def test_successor_of_a_dead_worker(tabi, echo):
    echo()
    program = tabi(SHARED)
    program.expect_lost_workers = True
    lost = udp.Association()
    (worker,) = program.workers()
    os.kill(worker, signal.SIGKILL)
    program.wait_text("was killed")
    wait_until(lambda: program.workers() not in ([], [worker]))
    with udp.Association() as one:
        assert one.relay == lost.relay
        one.ask("127.0.0.1", 7000, b"x")
        lost.send("127.0.0.1", 7000, b"x")
        assert lost.is_quiet()
    lost.close()


def test_reload_to_another_port(tabi, echo):
    """Those who were told the old one keep it."""
    echo()
    program = tabi(SHARED)
    old = udp.Association()
    program.write_config(local("udp-ports shared 5400"))
    program.signal(signal.SIGHUP)
    program.wait_text("was reloaded")

    def new_port():
        with udp.Association(client="127.0.0.2") as one:
            return one.relay[1] == 5400

    wait_until(new_port)
    old.ask("127.0.0.1", 7000, b"x")
    with udp.Association() as one:
        assert one.relay[1] == 5400
        one.ask("127.0.0.1", 7000, b"x")
    old.close()


@pytest.mark.case("U28")
def test_the_port_is_a_relay(tabi, echo):
    echo()
    program = tabi(SHARED)
    one, other = udp.Association(), udp.Association(client="127.0.0.2")
    for target in (one.relay, ("::ffff:127.0.0.1", 5300)):
        one.send(*target, udp.datagram("127.0.0.1", 7000, b"loop"))
    one.ask("127.0.0.1", 7000, b"x")
    one.close()
    assert program.wait_session(command="udp")["drop-denied"] == "2"
    other.close()


def test_many_leave_and_come(tabi, echo):
    """Members in any order, of few addresses, with and without declared ports; nothing is left."""
    seen = echo()
    program = tabi(SHARED)
    idle = program.descriptors()
    held = []
    for turn in range(300):
        client = f"127.0.1.{turn % 7}" if turn % 7 else "127.0.0.1"
        sock = udp.udp_socket(client)
        one = udp.Association(client=client, declared=("0.0.0.0", sock.getsockname()[1]))
        one.sock.close()
        one.sock = sock
        held.append(one)
        one.ask("127.0.0.1", 7000, b"%d" % turn)
        if turn % 3 == 2:
            held.pop(turn * 7 % len(held)).close()
    for one in held:
        one.ask("127.0.0.1", 7000, b"still")
    assert len({sender for data, sender in seen.seen if data == b"still"}) == len(held)
    for one in held:
        one.close()
    program.wait_descriptors(idle)
    assert " udp-port " not in program.log()


def test_over_ipv6(tabi, echo):
    echo("::1")
    tabi(SHARED)
    with udp.Association(("::1", 1080)) as one, udp.Association() as other:
        assert one.relay[1] == other.relay[1] == 5300
        one.ask("::1", 7000, b"x")
        other.ask("::1", 7000, b"x")
        assert one.sock.family == socket.AF_INET6
