# SPDX-License-Identifier: MIT
"""`tabi probe --conformance` against other servers says what doc/conformance.md says; and its tables
are whole."""

import pytest

import conformance
import conformance_notes
from harness.tabi import run


@pytest.mark.parametrize("server", conformance.SERVERS)
def test_as_committed(server, tmp_path):
    tmp_path.chmod(0o755)
    got = {c["id"]: c for c in conformance.probe(server, str(tmp_path))}
    want = conformance.committed(server)
    assert set(got) == set(want)
    differ = [(i, c["verdict"], want[i], c["seen"]) for i, c in got.items() if c["verdict"] != want[i]]
    assert not differ, differ


def test_page_has_every_check():
    """And with the words that the program has for it."""
    listed = [line.split(None, 1) for line in run("probe", "--list").stdout.splitlines()]
    with open(conformance.PAGE) as f:
        rows = [[c.strip() for c in line.split("|")[1:4]] for line in f if line.startswith("| ")]
    rows = {r[0]: r[2] for r in rows if r[0][1:].isdigit()}
    assert sorted(rows) == sorted(i for i, _ in listed)
    for i, rest in listed:
        assert rows[i] in rest


@pytest.mark.parametrize("server", conformance.SERVERS)
def test_page_explains_every_failure(server):
    failed = {i for i, v in conformance.committed(server).items() if v == "fail"}
    told = {i for ids, _ in conformance_notes.NOTES.get(server, ()) for i in ids.split()}
    assert told == failed


@pytest.mark.parametrize("server", ("tabi", "tabi, password"))
def test_this_server_passes(server):
    assert "fail" not in conformance.committed(server).values()
