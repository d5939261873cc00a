# SPDX-License-Identifier: MIT
"""tabi probe of proxies over TLS: the same checks inside of it, whom it trusts, and its own certificate."""

import pytest

from harness import certs
from harness.config import ALLOW_ALL, HEAD
from harness.tabi import run
from test_probe import FAILED, SLOW, USAGE, check_all_pass, conform, failed, probe, verdicts

# A name of the certificate, that no resolver has to be asked for.
SOCKS, HTTP = "socks5+tls://127.0.0.1:1443", "https://127.0.0.1:1443"
NOTHING = 4


def config(ca, words=""):
    files = f"{ca.path('server.pem')} {ca.path('server.key')}"
    return HEAD + f"listen 127.0.0.1:1443 tls {files} {words}\n" + ALLOW_ALL


def test_socks(tabi, authority):
    tabi(config(authority))
    result = conform("--ca", authority.pem, SOCKS)
    check_all_pass(result, SLOW | {"R08"})


def test_http(tabi, authority):
    tabi(config(authority))
    result = conform("--ca", authority.pem, HTTP)
    check_all_pass(result, {i for i in SLOW if i[0] == "H"})
    assert "pass" in {v for i, v in verdicts(result).items() if i[0] == "L"}


@pytest.mark.parametrize("url", (SOCKS, HTTP))
def test_times_tell_of_it(tabi, authority, url):
    tabi(config(authority))
    got = probe("--ca", authority.pem, url)
    assert got["times_us"]["tls"] > 0
    assert probe("--insecure", url)["proxy"] == url


def test_nobody_is_trusted_unasked(tabi, authority, tmp_path):
    tabi(config(authority))
    stranger = certs.Authority(tmp_path)
    for options in ((), ("--ca", stranger.pem)):
        done = run("probe", *options, SOCKS)
        assert done.returncode == NOTHING and done.stdout == ""
        assert "no TLS with the proxy" in done.stderr and "certificate" in done.stderr


def test_certificate_of_our_own(tabi, authority):
    tabi(config(authority, f"client-ca {authority.pem}"))
    ours = ("--cert", authority.path("alice.pem"), "--key", authority.path("alice.key"))
    assert not failed(conform("--ca", authority.pem, *ours, "-o", "R01,L03,U04,H01", SOCKS))
    assert failed(conform("--ca", authority.pem, "-o", "H01", HTTP, status=FAILED)) == {"H01"}


@pytest.mark.parametrize(
    "args",
    (
        (SOCKS, "--cert", "alice.pem"),
        (SOCKS, "--ca", "/nonexistent"),
        ("socks5://127.0.0.1:1080", "--ca", "x"),
        (HTTP, "--gssapi", "any"),
        (SOCKS, "--gssapi-nec"),
    ),
)
def test_wrong_usage(args):
    done = run("probe", *args)
    assert done.returncode == USAGE and done.stdout == "" and done.stderr != ""
