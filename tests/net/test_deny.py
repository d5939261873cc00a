# SPDX-License-Identifier: MIT
"""A deny holds against every spelling of an address, whatever the protocol; and the proxy cannot be
made to connect to itself.

A spelling is a text (a literal where it is one, otherwise sent as a name) or bytes (always sent as a
name).
"""

import ipaddress

import pytest

from harness import dns, netns, socks, targets
from harness.config import HEAD, PROXY, local

PORT = 7000

# All of these could come out at a listener on 127.0.0.1 or ::1.
LITERALS = (
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "::ffff:0:127.0.0.1",
    "2002:7f00:1::",
    "::ffff:0.0.0.0",
)
NAMES = (
    b"127.0.0.1",
    b"127.1",
    b"127.0.1",
    b"127.0.0.1.",
    b"2130706433",
    b"0x7f000001",
    b"0x7f.1",
    b"0X7F.0.0.0x1",
    b"017700000001",
    b"0177.0.0.1",
    b"0177.0x0.0.1",
    b"00000000177.0.0.1",
    b"0",
    b"0.0.0.0",
    b"[127.0.0.1]",
    b"::1",
    b"[::1]",
    b"0:0:0:0:0:0:0:1",
    b"::ffff:127.0.0.1",
    b"[::FFFF:7F00:1]",
    b"::ffff:7f00:0001",
    b"::1%lo",
    b"[::1%25lo]",
    b"127.0.0.1\0.good.test",
    b"localhost",
    b"LOCALHOST",
    b"localhost.",
    b"foo.localhost",
    b"rebind.test",
    b"REBIND.test",
    b"Rebind.Test.",
    b"rebind6.test",
    b"mapped.test",
    b"zero.test",
    b"rebind.test\0",
    b" 127.0.0.1",
    b"127.0.0.1 ",
    b"127.0.0.1\n",
    b"\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1",
)
ZONE = {
    "rebind.test": ["127.0.0.1"],
    "rebind6.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "zero.test": ["0.0.0.0", "::"],
    "good.test": ["127.0.0.1"],
    "localhost": ["127.0.0.1"],
}
RULES = ("deny to loopback", "deny to 127.0.0.0/8,::1", "allow to internet\ndeny all")


def spellings():
    for protocol in ("socks4", "socks4a", "socks5", "http"):
        for spelling in LITERALS + NAMES:
            literal = isinstance(spelling, str)
            if protocol == "socks4" and (not literal or ":" in spelling):
                continue
            if protocol == "socks4a" and literal:
                continue
            if protocol == "socks4a" and b"\0" in spelling:
                # The NUL ends the field there: what is asked for is what stands before it.
                spelling = spelling.partition(b"\0")[0]
            yield protocol, spelling


def refused(protocol, spelling):
    """Asks; whether it was refused, and cleanly."""
    if protocol in ("socks4", "socks4a"):
        return socks.ask4(PROXY, spelling, PORT) == 91
    if protocol == "socks5":
        return socks.ask5(PROXY, spelling, PORT) != 0
    return socks.ask_http(PROXY, spelling, PORT) >= 400


@pytest.mark.case("R8", "R9", "R14", "R15", "R16", "S2", "S5")
@pytest.mark.parametrize("rule", RULES, ids=("set", "nets", "internet"))
@pytest.mark.parametrize("protocol", ("socks4", "socks4a", "socks5", "http"))
def test_denied_in_every_spelling(tabi, target, dns_server, protocol, rule):
    dns_server(ZONE)
    hits = [target(address="0.0.0.0", port=PORT), target(address="::1", port=PORT)]
    tabi(local(*rule.split("\n")))
    granted = [s for p, s in spellings() if p == protocol and not refused(p, s)]
    assert not granted, "granted although denied"
    assert [h.accepted for h in hits] == [0, 0]


@pytest.mark.case("R8", "R15", "R16")
def test_the_code_is_not_allowed(tabi, target, dns_server):
    """For what is an address, 2; so nobody takes a deny for a failure."""
    dns_server(ZONE)
    tabi(local("deny to loopback"))
    for spelling in ("127.0.0.1", "::1", "::ffff:127.0.0.1", b"127.0.0.1", b"rebind.test", b"127.1"):
        assert socks.ask5(PROXY, spelling, PORT) == 2, spelling
    for spelling in ("0.0.0.0", "::"):
        assert socks.ask5(PROXY, spelling, PORT) in (2, 8), spelling


@pytest.mark.case("R16")
@pytest.mark.parametrize("host", ("0.0.0.0", "::", b"0.0.0.0", b"::", "0.0.0.1", b"zero.test"))
def test_unspecified_is_refused_whatever_the_rules_say(tabi, target, dns_server, host):
    dns_server(ZONE)
    hits = [target(address="0.0.0.0", port=PORT), target(address="::", port=PORT + 1)]
    tabi(HEAD + "allow all\n")
    assert socks.ask5(PROXY, host, PORT) != 0
    assert socks.ask5(PROXY, host, PORT + 1) != 0
    assert [h.accepted for h in hits] == [0, 0]


def test_a_name_with_allowed_and_denied_addresses(tabi, target, dns_server):
    """The denied ones are skipped, not tried; the allowed one is reached."""
    netns.add_address("203.0.113.5")
    dns_server({"both.test": ["127.0.0.1", "203.0.113.5", "::1"]})
    bad = [target(address="127.0.0.1"), target(address="::1")]
    good = target(targets.echo, address="203.0.113.5")
    tabi(local("deny to loopback"))
    for _ in range(5):
        with socks.open5(PROXY, "both.test", PORT) as sock:
            targets.ping(sock)
    assert [b.accepted for b in bad] == [0, 0]
    assert good.accepted == 5


@pytest.mark.case("R14")
def test_dns_rebinding(tabi, target, dns_server):
    """Answers alternate between a public address and loopback, with no TTL. What is judged must be
    what is connected to."""
    netns.add_address("8.8.8.1")
    flip = {f"flip{n}.test": dns.Alternate(["8.8.8.1"], ["127.0.0.1"]) for n in range(10)}
    flop = {f"flop{n}.test": dns.Alternate(["127.0.0.1"], ["8.8.8.1"]) for n in range(10)}
    dns_server(flip | flop)
    bad = target(address="127.0.0.1")
    good = target(targets.echo, address="8.8.8.1")
    tabi(local("allow to internet", "deny all"))
    codes = [socks.ask5(PROXY, name, PORT) for name in flip | flop for _ in range(3)]
    assert bad.accepted == 0
    assert set(codes) <= {0, 2}
    assert good.accepted == codes.count(0) > 0


@pytest.mark.case("R18")
@pytest.mark.parametrize(
    "listen",
    ("127.0.0.1:1080 [::1]:1080", "*:1080", "0.0.0.0:1080 [::]:1080"),
    ids=("loopback", "any", "each"),
)
def test_the_proxy_does_not_connect_to_itself(tabi, dns_server, listen):
    netns.add_address("203.0.113.5")
    netns.add_address("2001:db8::7")
    dns_server({"me.test": ["127.0.0.1"], "me2.test": ["203.0.113.5"], "me6.test": ["::1"]})
    statements = "".join(
        f"listen {address}{'' if '1:' in address else ' open'}\n" for address in listen.split()
    )
    program = tabi(f"workers 1\n{statements}resolver 127.0.0.1:5353\nallow all\n")
    mine = [
        "127.0.0.1", "::1", "::ffff:127.0.0.1", b"localhost", b"me.test", b"me6.test", b"127.0.0.1",
        b"127.1", b"0.0.0.0", "0.0.0.0", "::", "127.5.5.5", "203.0.113.5", b"me2.test", "2001:db8::7",
    ]  # fmt: skip
    for n, host in enumerate(mine, 1):
        assert socks.ask5(PROXY, host, 1080) == 2, host
        assert program.wait_session(n).get("verdict") != "allow"
    assert socks.ask4(PROXY, "127.0.0.1", 1080) == 91
    assert socks.ask_http(PROXY, "127.0.0.1", 1080) == 403
    program.stop()
    # One line per request: had it come back to itself, there would be more.
    assert len(program.sessions()) == len(mine) + 2


def test_a_denied_name_is_not_looked_up(tabi, dns_server):
    """The look-up itself would tell the name's owner who asks."""
    stub = dns_server({"denied.test": ["127.0.0.1"]})
    tabi(local("deny to denied.test"))
    assert socks.ask5(PROXY, "denied.test", PORT) == 2
    assert socks.ask5(PROXY, "DENIED.test.", PORT) == 2
    assert stub.count("denied.test") == 0


def test_every_spelling_is_reachable_where_it_is_allowed(tabi, target, dns_server):
    """The other half of the first test: the listener there would have noticed."""
    dns_server(ZONE)
    hits = [target(targets.echo, address="0.0.0.0"), target(targets.echo, address="::1")]
    tabi(local())
    for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", b"rebind.test", b"rebind6.test", b"[::1]"):
        with socks.open5(PROXY, host, PORT) as sock:
            targets.ping(sock)
    assert [h.accepted for h in hits] == [4 - 1, 3]


def test_matrix_is_as_large_as_it_looks():
    assert len(list(spellings())) > 100
    assert all(ipaddress.ip_address(text) for text in LITERALS)
