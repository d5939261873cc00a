# SPDX-License-Identifier: MIT
"""How doc/conformance.md is put together from what was run now and what it says itself."""

import collections

import pytest

import conformance
from conformance_page import ALWAYS, GROUPS, Column, committed_in, merged, page

Server = collections.namedtuple("Server", "ports package", defaults=(None,))
SERVERS = {
    "tabi": Server(("socks5", "http")),
    "near": Server(("socks5",), "near"),
    "far": Server(("socks5", "http"), "far"),
}
TESTED = ["tabi", "near"]


def column(version, day, **verdicts):
    """Ids that begin with R are required."""
    return Column(version, day, [
        {"id": i, "level": "required" if i[0] == "R" else "recommended", "what": f"{i}.", "verdict": v}
        for i, v in verdicts.items()
    ])  # fmt: skip


def results(day, **more):
    socks = {"R01": "pass", "L01": "fail", "L02": "untested"}
    web = {"H01": "pass", "L01": "not applicable"}
    return {
        "socks5": {
            "tabi": column("1", day, **socks),
            "near": column("2", day, **socks),
            "far": column("3", day, **{**socks, **more}),
        },
        "http": {"tabi": column("1", day, **web), "far": column("3", day, **web)},
    }


def words(found):
    """A note for each failure."""
    return {
        kind: {
            name: [(i, f"why {i}") for i, v in c.verdicts().items() if v in ("fail", "unsteady")]
            for name, c in columns.items()
        }
        for kind, columns in found.items()
    }


def written(found):
    return page(found, TESTED, words(found))


def test_page_is_read_as_it_was_written():
    found = results("2020-01-01", L02="unsteady")
    text = written(found)
    for kind, columns in found.items():
        read = committed_in(text, kind)
        assert list(read) == list(columns)
        for name, c in columns.items():
            assert read[name].checks == c.checks and read[name].version == c.version
            assert read[name].day == (ALWAYS if name in TESTED else "2020-01-01")


def test_what_is_not_run_stays():
    """With its verdicts, its version and its day; everything else is of now."""
    old = written(results("2020-01-01", L01="pass"))
    now = results("2026-02-03", L01="fail")
    for columns in now.values():
        del columns["far"]
    text = written(merged(now, old, SERVERS))
    assert text == old
    assert "| far | 3 | 2020-01-01 | 1 | 0 | 1 | 0 | 0 | 1 |" in text


def test_what_is_run_replaces():
    old = written(results("2020-01-01", L01="pass"))
    now = results("2026-02-03", L01="unsteady")
    found = merged(now, old, SERVERS)
    assert found == now
    text = written(found)
    assert "| far | 3 | 2026-02-03 |" in text and "2020-01-01" not in text
    assert "| L01 | should | L01. | **fail** | **fail** | +- |" in text


def test_a_new_check_is_untested_where_nobody_ran_it():
    old = written(results("2020-01-01"))
    now = {
        "socks5": {"tabi": column("1", "", R01="pass", R02="pass", L01="pass", L02="pass")},
        "http": {"tabi": column("1", "", H01="pass", L01="pass")},
    }
    found = merged(now, old, SERVERS)
    assert found["socks5"]["far"].verdicts() == {
        "R01": "pass", "R02": "untested", "L01": "fail", "L02": "untested",
    }  # fmt: skip


def test_a_check_that_is_no_more_goes():
    old = written(results("2020-01-01"))
    now = {
        "socks5": {"tabi": column("1", "", R01="pass", L02="pass")},
        "http": {"tabi": column("1", "", H01="pass", L01="pass")},
    }
    found = merged(now, old, SERVERS)
    assert found["socks5"]["far"].verdicts() == {"R01": "pass", "L02": "untested"}


def test_who_was_never_run_is_no_column():
    """Rather than an empty one."""
    old = written(results("2020-01-01"))
    now = results("2026-02-03")
    with pytest.raises(AssertionError, match="newcomer"):
        merged(now, old, {**SERVERS, "newcomer": Server(("http",), "newcomer")})


def test_a_failure_without_a_note_is_no_page():
    found = results("2020-01-01")
    missing = words(found)
    del missing["socks5"]["far"]
    with pytest.raises(AssertionError, match="far"):
        page(found, TESTED, missing)
    missing["socks5"]["far"] = [("L01 R01", "why")]
    with pytest.raises(AssertionError, match="far"):
        page(found, TESTED, missing)


def test_committed_page_is_what_is_written():
    """Nobody wrote in it by hand; and each column has its words."""
    with open(conformance.PAGE) as f:
        text = f.read()
    as_it_is = {kind: {"tabi": committed_in(text, kind)["tabi"]} for kind in GROUPS}
    assert page(merged(as_it_is, text), conformance.tested()) == text
