# SPDX-License-Identifier: MIT
"""tor-resolve, Tor's own client of its commands RESOLVE and RESOLVE_PTR, asks the proxy."""

import subprocess

import pytest

from harness import dns
from harness.config import local

ZONE = {
    "www.example.test": ["2001:db8::7", "198.51.100.7"],
    "six.example.test": ["2001:db8::7"],
    "inside.test": ["10.0.0.5"],
    dns.reverse("198.51.100.7"): dns.Pointer("www.example.test"),
}


def ask(home, *args):
    """Exit status and answer."""
    done = subprocess.run(
        ["tor-resolve", *args, "127.0.0.1:1080"], env=home, capture_output=True, text=True,
        timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout.strip()


@pytest.fixture
def program(tabi, dns_server):
    dns_server(ZONE)
    return tabi(local("deny to private"))


@pytest.mark.parametrize("version", ("-4", "-5"))
def test_address_of_a_name(program, home, version):
    assert ask(home, version, "www.example.test") == (0, "198.51.100.7")
    line = program.wait_session()
    assert line["protocol"] == {"-4": "socks4a", "-5": "socks5"}[version]
    assert (line["answer"], line["reason"]) == ("198.51.100.7", "done")


def test_ipv6_address(program, home):
    status, answer = ask(home, "-5", "six.example.test")
    assert (status, answer.strip("[]")) == (0, "2001:db8::7")
    assert ask(home, "-4", "six.example.test")[0] != 0


def test_name_of_an_address(program, home):
    assert ask(home, "-x", "198.51.100.7") == (0, "www.example.test")


@pytest.mark.parametrize("version", ("-4", "-5"))
@pytest.mark.parametrize("name, reason", (("nosuch.test", "not-found"), ("inside.test", "denied")))
def test_no_answer(program, home, version, name, reason):
    status, answer = ask(home, version, name)
    assert status != 0 and answer == ""
    assert program.wait_session()["reason"] == reason


def test_no_name(program, home):
    assert ask(home, "-x", "198.51.100.8")[0] != 0
    assert ask(home, "-x", "10.0.0.5")[0] != 0
    assert program.wait_session(2)["reason"] == "denied"
