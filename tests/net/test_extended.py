# SPDX-License-Identifier: MIT
"""Tor's extended reply codes, where a listener offers them."""

import pytest

from harness import socks
from harness.config import PROXY

EXTENDED = ("127.0.0.1", 1081)
CONF = """\
workers 1
listen 127.0.0.1:1080
listen 127.0.0.1:1081 extended-replies
resolver 127.0.0.1:5353
deny to *.denied.onion
allow all
"""
GOOD = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"
MISTYPED = "3" + GOOD[1:]


def answer(proxy, host, command=socks.CONNECT, port=80):
    with socks.dial(proxy) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5(host, port, command))
        return socks.recv_end(sock)


@pytest.mark.parametrize("command", (socks.CONNECT, socks.BIND, socks.RESOLVE))
@pytest.mark.parametrize("host", (MISTYPED, MISTYPED.upper(), "www." + MISTYPED, "x.onion", "onion.", "expyuzz4wqqyqhjn.onion"))
def test_bad_onion_name(tabi, dns_server, host, command):
    stub = dns_server({host: ["127.0.0.1"]})
    program = tabi(CONF)
    assert answer(EXTENDED, host, command, 0 if command != 1 else 80) == (socks.failure5(0xF6), "eof")
    assert answer(PROXY, host, command, 0 if command != 1 else 80) == (socks.failure5(4), "eof")
    assert {program.wait_session(n)["reason"] for n in (1, 2)} == {"bad-onion"}
    assert stub.count() == 0


@pytest.mark.parametrize("proxy", (PROXY, EXTENDED))
def test_a_name_that_could_be_one(tabi, dns_server, proxy):
    """Nobody is asked for it (RFC 7686), and what Tor would find out is not made up."""
    stub = dns_server({GOOD: ["127.0.0.1"]})
    program = tabi(CONF)
    assert answer(proxy, GOOD) == (socks.failure5(4), "eof")
    assert program.wait_session()["reason"] == "not-found"
    assert stub.count() == 0


def test_the_rules_come_first(tabi):
    program = tabi(CONF)
    assert answer(EXTENDED, "x.denied.onion") == (socks.failure5(2), "eof")
    assert program.wait_session()["reason"] == "denied"


@pytest.mark.parametrize("host, port, code", (("127.0.0.1", 7001, 5), ("127.0.0.1", 1080, 2), ("a..b", 80, 1)))
def test_all_else_is_as_it_was(tabi, host, port, code):
    tabi(CONF)
    assert answer(EXTENDED, host, port=port) == (socks.failure5(code), "eof")


def test_other_protocols_have_none(tabi):
    tabi(CONF)
    assert socks.ask4(EXTENDED, MISTYPED, 80) == 91
    assert socks.ask_http(EXTENDED, MISTYPED, 80) == 502
