# SPDX-License-Identifier: MIT
"""bench/compare: from the measurement to the page, and what it makes of what it measured.

How fast anything is is nobody's business here."""

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from harness.tabi import BINARY, ROOT, wait_until

sys.path.append(os.path.join(ROOT, "bench"))

from comparing import machine, page, summary  # noqa: E402

COMPARE = os.path.join(ROOT, "bench", "compare")
BUILD = os.path.relpath(os.path.dirname(BINARY))
MEASURES = ("down1", "rr64", "connect", "names", "udp64", "beside", "alone", "idle", "spread")
PROGRAMS = ("direct", "floor-copy", "floor-splice", "floor-udp", "haproxy", "ssh", "tabi", "tabi-2w")
# Takes connections and closes them.
LIAR = """\
import socket
s = socket.create_server(("127.0.0.1", {port}))
while True: s.accept()[0].close()
"""


@pytest.fixture
def place(tmp_path):
    """Where its temporary files are; all that it started has to be gone in the end."""
    where = tmp_path / "here"
    where.mkdir()
    yield where
    wait_until(lambda: not left_of(where), what="all that was started to end")
    assert not list(where.iterdir())


def left_of(place):
    """The processes that were told of this directory, or are in it."""
    mark, found = os.fsencode(f"TMPDIR={place}"), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ:
                if mark in environ.read() or os.readlink(f"/proc/{pid}/cwd").startswith(str(place)):
                    found.append(pid)
        except OSError:
            continue
    return found


def begin(place, *args):
    return subprocess.Popen(
        ("/usr/bin/python3", COMPARE, "--build", BUILD, *args),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )  # fmt: skip


def compare(place, *args, status=0):
    process = begin(place, *args)
    out, complaint = process.communicate(timeout=170)
    assert process.returncode == status, complaint
    return out, complaint


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_from_the_measurement_to_the_page(place, tmp_path):
    liar = tmp_path / "liar.py"
    liar.write_text("import sys\n" + LIAR.replace("{port}", "int(sys.argv[1])"))
    where = tmp_path / "doc" / "benchmarks.md"
    where.parent.mkdir()
    peers = ("--peer", f"liar=/usr/bin/python3 {liar} {{port}}", "--peer", "absent=/nowhere/to/be/found")
    only = ",".join((*MEASURES, *PROGRAMS, "liar", "absent"))
    how = ("--quick", "--rounds", "1", "--seconds", "0.1", "--warm-up", "0.05", "--only", only)
    out, complaint = compare(place, *how, *peers, "--json", str(tmp_path / "raw"), "--page", str(where))
    raw = json.loads((tmp_path / "raw").read_text())
    assert [r["counted"] for r in raw["rounds"]] == [False, True]
    results = summary.Results(raw)
    for program in ("floor-copy", "floor-splice", "tabi", "haproxy", "ssh"):
        assert results.median("rr64", program, "rate") > 0, complaint
        assert results.median("down1", program, "cpu") > 0
    assert results.median("connect", "direct", "rate") > 0
    assert results.median("udp64", "floor-udp", "cpu") > 0 and results.median("udp64", "tabi", "cpu") > 0
    assert results.median("names", "tabi", "cpu") > 0
    assert results.median("beside", "tabi", "bulk_rate") > 0
    assert sum(results.values("spread", "tabi-2w", "spread")[0]) == 200
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
    # The page can be had again from what it kept.
    again = str(tmp_path / "doc" / "again.md")
    assert compare(place, "--from", str(tmp_path / "raw"), "--page", again)[0] == out
    assert (tmp_path / "doc" / "again.md").read_text() == text.replace("](benchmarks/", "](again/")


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_ended_early(place, number):
    """Whatever it has started is gone with it, and its directory."""
    process = begin(place, "--quick", "--no-page", "--only", "tabi,floor-copy,ssh,haproxy,beside")
    wait_until(lambda: len(left_of(place)) >= 8, 20)
    process.send_signal(number)
    assert process.wait(20) != 0
    process.communicate()


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


def test_of_one_round():
    """Of what costs the same each time the least counts, for each program its own, and of streams all."""
    twice = [
        result("rr64", "tabi", cpu=4), result("rr64", "floor-copy", cpu=2), result("down64", "tabi", cpu=4),
        result("rr64", "tabi", cpu=3), result("rr64", "floor-copy", cpu=5), result("down64", "tabi", cpu=3),
    ]  # fmt: skip
    unknown = [result("rr64", "one", cpu=None, rate=r) for r in (7, 9)]
    got = results_of([], twice, [*twice, result("rr64", "tabi", cpu=None, rate=9), *unknown])
    assert got.values("rr64", "tabi", "cpu") == [3, 3] and got.values("rr64", "floor-copy", "cpu") == [2, 2]
    assert got.values("down64", "tabi", "cpu") == [4, 3, 4, 3]
    assert got.values("rr64", "one", "rate") == [9]


def test_best_peer_and_what_is_missing():
    got = results_of([], [
        result("down64", "tabi", cpu=9.0, rate=5.0), result("down64", "one", cpu=11.0, rate=4.0),
        result("down64", "two", cpu=10.0, rate=5.1), result("rr64", "one"),
    ])  # fmt: skip
    assert got.best_peer("down64", "cpu") == got.best_peer("down64", "rate", highest=True) == "two"
    lines = [n for n in summary.lines(got) if "64 streams down" in n.text]
    assert [(n.value, n.met) for n in lines] == [("-", None), ("0.90", True), ("0.98", False)]
    assert list(page.failed(got)) == ["one, messages: no"]


def test_disturbances_are_told():
    quiet, stolen = result("rr64", "tabi", cpu=1), result("rr64", "tabi", 1.5, cpu=1)
    got = results_of([stolen], [stolen, quiet, {**quiet, "others": 30.0}])
    assert [row[3:] for row in got.marked] == [(1.5, 0), (0.0, 30.0)]


def test_others_on_the_processor():
    """Who else runs where the proxy is alone is seen; what the proxy takes itself is not meant."""
    cpu = {max(os.sched_getaffinity(0))}
    burn = "import os; os.sched_setaffinity(0, {%d})\nwhile True: pass" % min(cpu)
    with subprocess.Popen(("/usr/bin/python3", "-c", burn)) as one:
        try:
            wait_until(lambda: os.sched_getaffinity(one.pid) == cpu)
            own, foreign = machine.Others(cpu, [one.pid]), machine.Others(cpu, [])
            wait_until(lambda: machine._clock_of(one.pid) - own.used[one.pid] > 0.3, 30)
            assert foreign.percent([]) > own.percent([one.pid]) + 1
            assert foreign.percent([]) > 20 or own.percent([one.pid]) > 20
        finally:
            one.kill()


@pytest.mark.parametrize("args", (("--only", "nothing"), ("--peer", "nothing"), ("--build", "/nowhere")))
def test_called_wrongly(place, args):
    assert compare(place, *args, status=1)[1].startswith("bench/compare: ")
