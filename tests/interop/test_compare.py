# SPDX-License-Identifier: MIT
"""bench/compare: from the measurement to the page, and what it makes of what it measured.

How fast anything is is nobody's business here."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from harness.tabi import BINARY, ROOT, wait_until

sys.path.append(os.path.join(ROOT, "bench"))

from comparing import page, summary  # noqa: E402

COMPARE = os.path.join(ROOT, "bench", "compare")
BUILD = os.path.dirname(BINARY)
MEASURES = ("down1", "rr64", "connect", "names", "udp64", "beside", "alone", "idle", "spread")
PROGRAMS = ("direct", "floor-copy", "floor-splice", "floor-udp", "haproxy", "ssh", "tabi", "tabi-2w")
# Takes connections and closes them.
LIAR = """\
import socket
s = socket.create_server(("127.0.0.1", {port}))
while True: s.accept()[0].close()
"""


def compare(*args, status=0):
    done = subprocess.run(
        ("/usr/bin/python3", COMPARE, "--build", BUILD, *args),
        capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done


def children():
    """What this process and those it has to answer for have started and not ended."""
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children", encoding="ascii") as f:
        return f.read().split()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_from_the_measurement_to_the_page(tmp_path):
    liar = tmp_path / "liar.py"
    liar.write_text("import sys\n" + LIAR.replace("{port}", "int(sys.argv[1])"))
    where = tmp_path / "doc" / "benchmarks.md"
    where.parent.mkdir()
    peers = ("--peer", f"liar=/usr/bin/python3 {liar} {{port}}", "--peer", "absent=/nowhere/to/be/found")
    only = ",".join((*MEASURES, *PROGRAMS, "liar", "absent"))
    how = ("--quick", "--rounds", "1", "--seconds", "0.1", "--warm-up", "0.05", "--only", only)
    done = compare(*how, *peers, "--json", str(tmp_path / "raw"), "--page", str(where))
    raw = json.loads((tmp_path / "raw").read_text())
    assert [r["counted"] for r in raw["rounds"]] == [False, True]
    results = summary.Results(raw)
    for program in ("floor-copy", "floor-splice", "tabi", "haproxy", "ssh"):
        assert results.median("rr64", program, "rate") > 0, done.stderr
        assert results.median("down1", program, "cpu") > 0
    assert results.median("connect", "direct", "rate") > 0
    assert results.median("udp64", "floor-udp", "cpu") > 0 and results.median("udp64", "tabi", "cpu") > 0
    assert results.median("names", "tabi", "cpu") > 0
    assert results.median("beside", "tabi", "bulk_rate") > 0
    assert sum(results._samples["spread", "tabi-2w"][0]["spread"]) == 200
    # Who fails has a dash and the reason, never a number.
    for program in ("liar", "absent"):
        assert not any(results.has(m, program) for m in MEASURES)
        assert results.failure("rr64", program)
    text = where.read_text()
    assert re.search(r"^\| liar \|( - \|)+$", text, re.M)
    assert "- liar, messages, 64 connections: " in text
    assert raw["machine"]["commit"] in text and raw["machine"]["kernel"] in text
    pictures = re.findall(r"!\[.*\]\((benchmarks/\w+\.svg)\)", text)
    assert len(pictures) == 4
    for name in pictures:
        root = xml.etree.ElementTree.parse(where.parent / name).getroot()
        assert "tabi" in [label.text for label in root.iter("{http://www.w3.org/2000/svg}text")]
    # It ended what it started, and the page can be had again from what it kept.
    assert not os.path.exists(raw["programs"]["haproxy"]["command"][-1])
    again = compare("--from", str(tmp_path / "raw"), "--page", str(tmp_path / "doc" / "again.md"))
    assert again.stdout == done.stdout
    assert (tmp_path / "doc" / "again.md").read_text() == text.replace("](benchmarks/", "](again/")
    wait_until(lambda: not children(), what="no process to be left")


def result(measure, program, steal=0.0, **figures):
    kept = {"figures": figures} if figures else {"failed": "no"}
    return {"measure": measure, "program": program, "steal": steal, "tries": 1, **kept}


def results_of(*rounds):
    kinds = {"floor-copy": "floor", "tabi": "tabi", "one": "peer", "two": "peer"}
    return summary.Results({
        "rounds": [{"round": n, "counted": n > 0, "results": r} for n, r in enumerate(rounds)],
        "programs": {name: {"kind": kind, "told": "", "version": ""} for name, kind in kinds.items()},
        "seconds": 60,
        "options": {"idle": 9000},
        "measures": {"rr64": "messages"},
    })  # fmt: skip


def test_medians_and_ratios():
    """Of medians, over the rounds that count: neither of rounds, nor with the first."""
    rounds = [
        [result("rr64", "tabi", cpu=tabi), result("rr64", "floor-copy", cpu=floor)]
        for tabi, floor in ((900, 1), (1, 10), (5, 2), (6, 4))
    ]
    got = results_of(*rounds)
    assert got.values("rr64", "tabi", "cpu") == [1, 5, 6]
    assert got.median("rr64", "tabi", "cpu") == 5
    assert got.ratio("rr64", "tabi", "cpu", to="floor-copy") == 5 / 4
    assert got.spread("rr64", "tabi", "cpu") == 0.5
    line = next(n for n in summary.lines(got) if "64 connections: CPU" in n.text)
    assert (line.value, line.met) == ("1.25", False)


def test_best_peer_and_what_is_missing():
    got = results_of([], [
        result("down64", "tabi", cpu=9.0, rate=5.0), result("down64", "one", cpu=11.0, rate=4.0),
        result("down64", "two", cpu=10.0, rate=5.1), result("rr64", "one"),
    ])  # fmt: skip
    assert got.best_peer("down64", "cpu") == got.best_peer("down64", "rate", highest=True) == "two"
    lines = [n for n in summary.lines(got) if "64 streams down" in n.text]
    assert [(n.value, n.met) for n in lines] == [("-", None), ("0.90", True), ("0.98", False)]
    assert list(page.failed(got)) == ["one, messages: no"]


def test_steal_is_told():
    got = results_of([result("rr64", "tabi", 9.0, cpu=1)], [result("rr64", "tabi", 1.5, cpu=1)])
    assert got.marked == [(1, "rr64", "tabi", 1.5)]


@pytest.mark.parametrize("args", (("--only", "nothing"), ("--peer", "nothing"), ("--build", "/nowhere")))
def test_called_wrongly(args):
    done = compare(*args, status=1)
    assert done.stderr.startswith("bench/compare: ")
