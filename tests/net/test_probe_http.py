# SPDX-License-Identifier: MIT
"""tabi probe of HTTP proxies: this server passes every check; bad ones fail those that they should, and no
others; nothing that one does makes it hang."""

import json
import time

import pytest

from badhttp import BadHttp
from harness.config import HEAD, LOCAL
from harness.tabi import run
from test_probe import FAILED, SLOW, check_all_pass, conform, failed, probe, verdicts

URL = "http://127.0.0.1:1080"
LOGIN = "http://alice:secret@127.0.0.1:1080"
PASSWORDS = {f"H{n}" for n in range(60, 71)}
SLOW_HTTP = {i for i in SLOW if i[0] == "H"}


@pytest.fixture
def bad():
    started = []

    def start(*habits, **options):
        started.append(BadHttp(*habits, **options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    assert run("passwd", str(path), "alice", input="secret\n").returncode == 0
    return path


# ---- this server ----


def none(result):
    return {i for i, v in verdicts(result).items() if v == "not applicable"}


def test_open_proxy(tabi):
    """Of HTTP alone: nothing of SOCKS is asked."""
    program = tabi(LOCAL)
    result = conform(URL)
    check_all_pass(result, SLOW_HTTP)
    assert {i[0] for i in set(verdicts(result)) - none(result)} == {"H", "L", "X"}
    assert none(result) & {i for i in verdicts(result) if i[0] == "H"} == PASSWORDS
    assert "X02" not in none(result)
    program.stop()
    assert {s["protocol"] for s in program.sessions() if s.get("verdict") == "allow"} == {"http"}


def test_with_passwords(tabi, users):
    tabi(HEAD + "auth password users\nallow user alice to any\n")
    result = conform(LOGIN)
    check_all_pass(result, SLOW_HTTP)
    assert not none(result) & PASSWORDS
    assert "secret" not in json.dumps(result)


def test_by_ipv6(tabi):
    tabi(LOCAL)
    result = conform("-o", "H", "http://[::1]:1080")
    assert not failed(result)


def test_facts(tabi):
    tabi(LOCAL)
    got = probe(URL)
    facts = {f["key"]: f for f in got["facts"]}
    assert {f["section"] for f in facts.values()} == {"http", "streams"}
    for key in ("http4", "http6", "http_name", "http_pieces", "http_early_data", "http_refused",
                "http_no_such_name", "http_numbers", "half_close", "reset"):  # fmt: skip
        assert facts[key]["answer"] == "yes", facts[key]
    assert facts["http_login"]["answer"] == "none"
    assert set(got["times_us"]) == {"connect", "reply", "echo"}


@pytest.mark.once
def test_facts_of_passwords(tabi, users):
    tabi(HEAD + "auth password users\nallow user alice to any\n")
    facts = {f["key"]: f["answer"] for f in probe(LOGIN)["facts"]}
    assert facts["http_login"] == facts["http4"] == "yes"
    facts = {f["key"]: f for f in probe(URL, status=FAILED)["facts"]}
    assert facts["http4"]["answer"] == "no" and facts["http4"]["detail"] == "status 407"


def test_target_denied(tabi):
    """What needs the target cannot be told."""
    tabi(HEAD + "deny from any to any\n")
    result = conform(URL, status=FAILED)
    assert failed(result) == {"H01", "H02", "H03"}
    assert verdicts(result)["H04"] == verdicts(result)["L01"] == "untested"
    probe(URL, status=FAILED)


def test_password_from_a_file(tabi, users, tmp_path):
    tabi(HEAD + "auth password users\nallow user alice to any\n")
    path = tmp_path / "secret"
    path.write_text("secret\n")
    path.chmod(0o600)
    got = probe("--password-file", str(path), "http://alice@127.0.0.1:1080")
    assert got["facts"][0]["answer"] == "yes"


# ---- bad servers ----

# What our small server does not trouble to do right.
LEFT_OUT = {"H35", "H36", "H40"} | SLOW_HTTP

# Each habit, and the checks that notice it; no others may.
# fmt: off
HABITS = {
    "": set(),
    "length": {"H04"},
    "one-recv": {"H05", "H06", "H07", "H08", "H09"},
    "grants-first": {"H11", "H12", "H13", "H15", "H16", "H44"},
    "vague": {"H11", "H12"},
    "no-length": {"H14", "H15"},
    "closes": {"H14"},
    "says-close": set(),
    "lenient": {"H22", "H23", "H24"},
    "atoi": {"H19", "H42"},
    "nul": {"H43"},
    "last-port": {"H17", "H18", "H19", "H20", "H21", "H42"},
    "strict-host": {"H26"},
    "no-http10": {"H27"},
    "no-empty-line": {"H28"},
    "waits": {"H32", "H33", "H34", "H43", "H50"},
    "anywhere": {"H37"},
    "userinfo": {"H41"},
    "stops-at-folds": {"H25"},
    "hoards": {"H45", "H46"},
    "any-method": {"H29", "H30"},
    "any-version": {"H31"},
    "no-half-close": {"H09"},
    "silent": {"H01", "H02", "H03"},
    "endless": {"H01", "H02", "H03"},
}
LOGIN_HABITS = {
    "": set(),
    "no-challenge": {"H60"},
    "connects-anyway": {"H60", "H61", "H62", "H64", "H65", "H66", "H67", "H68", "H69"},
    "capitals": {"H63"},
    "closes": {"H64"},
    "says-close": set(),
    "c-string": {"H65"},
    "prefix": {"H66"},
}
# fmt: on


def chosen(group):
    ids = [line.split()[0] for line in run("probe", "--list").stdout.splitlines()]
    return [i for i in ids if i in group or (i[0] == "H" and not PASSWORDS & {i} and "H" in group)]


def conform_in_time(seconds, expected, *words):
    """With more time where something else than expected came out: on a busy machine the servers of these
    tests, which wait for it, may take longer than the proxies that they stand for."""
    result = conform("-T", str(seconds), *words, status=None)
    return result if expected(result) else conform("-T", "10", *words, status=None)


def check_habit(result, want):
    assert failed(result) == want, [
        (c["id"], c["seen"]) for c in result["checks"] if c["verdict"] == "fail"
    ]


@pytest.mark.once
@pytest.mark.parametrize("habit", HABITS)
def test_bad_server(bad, habit):
    bad(habit)
    ids = set(chosen("H")) - LEFT_OUT

    def expected(result):
        whole = habit != "" or set(verdicts(result).values()) == {"pass"}
        return whole and failed(result) == HABITS[habit]

    result = conform_in_time(2, expected, "-o", ",".join(ids), URL)
    check_habit(result, HABITS[habit])
    if habit == "":
        assert set(verdicts(result).values()) == {"pass"}
    if habit in ("silent", "endless"):
        assert set(verdicts(result).values()) == {"untested", "fail"}


@pytest.mark.once
@pytest.mark.parametrize("habit", LOGIN_HABITS)
def test_bad_login(bad, habit):
    bad(habit, login="alice:secret")
    want = LOGIN_HABITS[habit] if habit != "connects-anyway" else set()
    result = conform_in_time(1, lambda r: failed(r) == want, "-o", ",".join(PASSWORDS), LOGIN)
    check_habit(result, want)
    expected = "not applicable" if habit == "connects-anyway" else "pass"
    assert expected in verdicts(result).values()


@pytest.mark.once
@pytest.mark.parametrize("habit", ("silent", "endless"))
def test_never_hangs(bad, habit):
    bad(habit)
    began = time.monotonic()
    conform("-T", "0.3", URL, status=FAILED)
    probe("-T", "0.3", URL, status=FAILED)
    assert time.monotonic() - began < 20


@pytest.mark.once
def test_extra_byte_behind_the_answer(bad):
    bad("extra-byte")
    result = conform("-T", "1", "-o", "H01,H10,L01", URL, status=FAILED)
    # The target's first byte is none of the target's: nothing can be told of what lies behind.
    assert verdicts(result) == {"H01": "fail", "H10": "untested", "L01": "untested"}
