# SPDX-License-Identifier: MIT
"""`tabi probe --conformance` against other servers says what doc/conformance.md says; and its tables
are whole."""

import pytest

import conformance
import conformance_notes
from harness.tabi import run

# All that ./test installs; the others' columns are of the day that they name.
TESTED = conformance.tested()
COLUMNS = [(s, kind) for s, server in conformance.SERVERS.items() for kind in server.ports]


def check_as_committed(server, tmp_path):
    tmp_path.chmod(0o755)
    for kind, checks in conformance.probe(server, str(tmp_path)).items():
        got = {c["id"]: c for c in checks}
        want = conformance.committed(server, kind)
        differ = [(i, c["verdict"], want[i], c["seen"]) for i, c in got.items() if c["verdict"] != want[i]]
        assert set(got) == set(want)
        assert not differ, differ


# Tor's is in a file of its own: files are run side by side, and this takes a minute.
@pytest.mark.parametrize("server", [s for s in TESTED if s != "tor"])
def test_as_committed(server, tmp_path):
    check_as_committed(server, tmp_path)


def test_what_is_compared():
    """So that none of them gets out of it unseen."""
    assert TESTED == ["tabi", "tabi, password", "Dante", "microsocks", "microsocks, password", "ssh -D",
                      "tor", "ncat", "ncat, password", "tinyproxy", "tinyproxy, password"]  # fmt: skip


def test_page_has_every_check():
    """And with the words that the program has for it."""
    listed = [line.split(None, 1) for line in run("probe", "--list").stdout.splitlines()]
    with open(conformance.PAGE) as f:
        rows = [[c.strip() for c in line.split("|")[1:4]] for line in f if line.startswith("| ")]
    rows = {r[0]: r[2] for r in rows if r[0][1:].isdigit()}
    assert sorted(rows) == sorted(i for i, _ in listed)
    for i, rest in listed:
        assert rows[i] in rest


@pytest.mark.parametrize("server, kind", COLUMNS)
def test_page_explains_every_failure(server, kind):
    failed = {i for i, v in conformance.committed(server, kind).items() if v in ("fail", "unsteady")}
    told = {i for ids, _ in conformance_notes.NOTES[kind].get(server, ()) for i in ids.split()}
    assert told == failed


@pytest.mark.parametrize("server, kind", [c for c in COLUMNS if c[0].startswith("tabi")])
def test_this_server_passes(server, kind):
    assert "fail" not in conformance.committed(server, kind).values()
