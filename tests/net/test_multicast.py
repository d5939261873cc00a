# SPDX-License-Identifier: MIT
"""Multicast: datagrams to groups leave as the rules say."""

import socket

import pytest

from harness import segment, udp
from harness.config import HEAD
from harness.tabi import wait_until

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

GROUPS = {"v4": ("239.1.2.3", "239.9.9.9"), "v6": ("ff18::1:3", "ff18::9:9")}
PORT = 5004
EAST, WEST = "198.51.100", "203.0.113"


@pytest.fixture(params=("v4", "v6"))
def groups(request):
    return GROUPS[request.param]


@pytest.fixture
def links():
    """Two links: the routes would lead to the first."""
    east = segment.Segment(
        "east", [f"{EAST}.1/24", "2001:db8:e::1/64"], [f"{EAST}.2/24", "2001:db8:e::2/64"]
    )
    west = segment.Segment(
        "west", [f"{WEST}.1/24", "2001:db8:f::1/64"], [f"{WEST}.2/24", "2001:db8:f::2/64"]
    )
    segment.ip("route", "add", "default", "dev", "east")
    segment.ip("-6", "route", "add", "default", "dev", "east")
    segment.ip("-6", "route", "add", "multicast", "ff00::/8", "dev", "east", "table", "local",
               "metric", "1")
    return east, west


def config(*rules):
    return HEAD + "".join(rule + "\n" for rule in rules)


def end(program, association, **fields):
    """The session's line after its client has gone."""
    association.close()
    return program.wait_session(command="udp", **fields)


def test_leaves_by_the_interface_of_the_rule_with_its_ttl(tabi, links, groups):
    east, west = links
    group, other = groups
    rules = (f"allow to {group} ttl 4 interface west", f"allow to {other} ttl 255 interface east")
    program = tabi(config(*rules))
    members = {
        (link, g): side.member(g, PORT)
        for link, side in (("east", east), ("west", west))
        for g in groups
    }
    one = udp.Association()
    # One socket, and each datagram goes its own way.
    for _ in range(3):
        one.send(group, PORT, b"four")
        assert members["west", group].recv()[:2] == (b"four", 4)
        one.send(other, PORT, b"far")
        assert members["east", other].recv()[:2] == (b"far", 255)
    for wrong in (("east", group), ("west", other)):
        assert udp.is_quiet(members[wrong].sock)
    record = end(program, one)
    assert record["packets-up"] == "6"
    assert not [name for name in record if name.startswith("drop-")]


def test_without_words_one_hop_by_the_kernels_way(tabi, links, groups):
    east, west = links
    tabi(config("allow to multicast"))
    near, far = east.member(groups[0], PORT), west.member(groups[0], PORT)
    with udp.Association() as one:
        one.send(groups[0], PORT, b"x")
        data, ttl, sender = near.recv()
        assert (data, ttl) == (b"x", 1)
        assert sender[0] in (f"{EAST}.1", "2001:db8:e::1")
        assert udp.is_quiet(far.sock)


def test_answer_to_a_group_comes_from_a_member(tabi, links):
    """As in SSDP: who answers was not sent to, so a rule must let him."""
    east, _ = links
    program = tabi(config(
        "allow to 239.1.2.3 interface east",
        f"allow to {EAST}.0/24 filter endpoint-independent",
    ))
    member = east.member("239.1.2.3", PORT)
    one = udp.Association()
    one.send("239.1.2.3", PORT, b"who?")
    _, _, sender = member.recv()
    member.sock.sendto(b"me", sender)
    assert one.recv() == ((f"{EAST}.2", PORT), b"me")
    end(program, one)


@pytest.mark.case("U29")
@pytest.mark.parametrize(
    "rule",
    ("to any", "from loopback", "to 0.0.0.0/0,::/0", "to 192.0.0.0/2,fe00::/7", "to internet",
     "to *", "to 239.9.0.0/16,ff18::9:0/112", "to multicast port 5005",
     "to multicast command connect,bind"),
)
def test_rules_that_do_not_name_the_group_do_not_open_it(tabi, links, groups, rule):
    """As wide as they may be."""
    east, _ = links
    program = tabi(config(f"allow {rule}", "allow to 127.0.0.1"))
    member = east.member(groups[0], PORT)
    one = udp.Association()
    one.send(groups[0], PORT, b"x")
    assert udp.is_quiet(member.sock)
    assert end(program, one)["drop-denied"] == "1"


@pytest.mark.case("U29")
def test_name_does_not_open_a_group(tabi, links, dns_server):
    dns_server({"tv.test": ["239.1.2.3"], "radio.test": ["239.9.9.9"]})
    east, _ = links
    program = tabi(config("allow to *.test", "allow to any", "allow to 239.9.9.9 ttl 7"))
    closed, opened = east.member("239.1.2.3", PORT), east.member("239.9.9.9", PORT)
    one = udp.Association()
    one.send("tv.test", PORT, b"x")
    one.send("radio.test", PORT, b"y")
    assert opened.recv()[:2] == (b"y", 7)
    assert udp.is_quiet(closed.sock)
    assert end(program, one)["drop-denied"] == "1"


@pytest.mark.parametrize("host", ("239.1.2.3", "tv.test"))
def test_interface_comes_and_goes(tabi, links, dns_server, host):
    """Never by another; the log tells it once."""
    dns_server({"tv.test": ["239.1.2.3"]})
    east, _ = links
    program = tabi(config("allow to 239.1.2.3 interface north"))
    member = east.member("239.1.2.3", PORT)
    one = udp.Association()
    one.send(host, PORT, b"x")
    one.send(host, PORT, b"y")
    assert udp.is_quiet(member.sock)
    north = segment.Segment("north", ["192.0.2.1/24"], ["192.0.2.2/24"])
    heard = north.member("239.1.2.3", PORT)
    heard.sock.settimeout(0.1)

    def arrives():
        one.send(host, PORT, b"z")
        try:
            return heard.recv()[0] == b"z"
        except TimeoutError:
            return False

    # Asked for again after five seconds.
    wait_until(arrives, 15)
    segment.ip("link", "delete", "north")
    for _ in range(3):
        one.send(host, PORT, b"nowhere")
    one.send("127.0.0.1", 9, b"denied")
    assert udp.is_quiet(member.sock)
    record = end(program, one)
    assert int(record["drop-interface"]) >= 5
    assert record["drop-denied"] == "1"
    assert program.log().count("no interface north") == 1
    # By the rule that was to have let it out.
    assert record["rule"] == "tabi.conf:5"


def test_groups_of_others_are_not_heard(tabi, links):
    """Somebody on this host is a member; whoever sends to that group at the port of an association
    reaches nobody by it."""
    east, _ = links
    program = tabi(config(
        "allow to 239.1.2.3 interface east",
        f"allow to {EAST}.0/24 filter endpoint-independent",
    ))
    here, there = segment.Member("239.1.2.3", PORT, "east"), east.socket(f"{EAST}.2")
    member = east.member("239.1.2.3", PORT)
    one = udp.Association()
    one.send("239.1.2.3", PORT, b"x")
    _, _, outside = member.recv()
    # Members on this host get what leaves it, too.
    assert here.recv()[0] == b"x"
    there.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
    there.sendto(b"to the group", ("239.1.2.3", outside[1]))
    there.sendto(b"to the member", outside)
    assert one.recv()[1] == b"to the member"
    assert one.is_quiet()
    assert "drop-unasked" not in end(program, one)
