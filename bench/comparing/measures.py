# SPDX-License-Identifier: MIT
"""What is measured, on whom, and how one measurement is taken."""

import json
import math
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import Callable

from comparing import programs
from comparing.machine import Others, Steal
from comparing.programs import NAMED_TARGETS, QUICK_SERVER, SERVER, TARGETS, Failed, pinned

IDLE = 9000
IDLE_OF_PEERS = 1000  # some cannot hold more, or take minutes
SPREAD = 200
BURST = 20000
QUIET_RUNS = 4
SHORT_RUNS = 5
LONG = 3.5  # times as long as others: what needs time to wake up
PERCENTILE = 2.5  # what needs many messages for one
STEAL_PERCENT = 1.0
OTHERS_PERCENT = 20.0
TRIES = 3  # of one measurement, where the hypervisor or others took more than that
REPEAT_SECONDS = 60  # of a whole run: on a machine that is never quiet nothing would be gained
LIMIT_SECONDS = 15  # beside what is measured
WRONG_SHARE = 0.001  # errors beyond which nothing was measured


@dataclass
class Load:
    """Where from: tabi bench, its server, and how long."""

    tabi: str
    cpus: object
    seconds: float
    warm_up: float
    idle: int = IDLE
    repeat_seconds: float = REPEAT_SECONDS
    realtime: bool = False

    def command(self, mode, args, seconds, warm_up):
        return [
            self.tabi, "bench", *mode, "-s", f"{seconds or self.seconds:g}",
            "-w", f"{self.warm_up if warm_up is None else warm_up:g}", "--json", *args,
        ]  # fmt: skip

    def begin(self, mode, args, *, cpus=None, seconds=None, warm_up=None, realtime=False):
        return subprocess.Popen(
            self.command(mode, args, seconds, warm_up),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(cpus or self.cpus.load, realtime and self.realtime),
        )

    def finish(self, process, seconds=None):
        try:
            out, complaint = process.communicate(timeout=LIMIT_SECONDS + (seconds or self.seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"not over in {LIMIT_SECONDS} s") from None
        try:
            return json.loads(out)
        except json.JSONDecodeError:
            raise Failed((complaint.strip().splitlines() or ["no result"])[0]) from None

    def run(self, mode, args, **how):
        return check(self.finish(self.begin(mode, args, **how), how.get("seconds")))


def check(got):
    """A few errors among thousands are told; where there are more it is no figure."""
    wrong = sum(e["count"] for e in got["errors"])
    made = got.get("connections_made", got["connections"])
    if got["mode"] not in ("connect", "udp") and made < got["connections"]:
        raise Failed(f"{made} of {got['connections']} sessions were made{first_error(got)}")
    if got["mode"] != "idle" and got["total"]["up_bytes"] + got["total"]["down_bytes"] == 0:
        raise Failed(f"nothing came through{first_error(got)}")
    if not got["ok"] or (wrong > 0 and wrong > WRONG_SHARE * max(1, got["units"])):
        raise Failed(f"{wrong} errors{first_error(got)}")
    return got


def first_error(got):
    if not got["errors"]:
        return ""
    worst = max(got["errors"], key=lambda e: e["count"])
    return f": {worst['stage']} {worst['error']}"


def figures(got):
    """Of what tabi bench says: rate per second, CPU per unit, latency."""
    if got["units"] == 0:
        raise Failed("nothing was over in that time")
    cost = got.get("proxy_process", {})
    kept = {
        "rate": got["units_per_second"],
        "cpu": cost.get("cpu_seconds_per_unit"),
        "user": cost.get("user_seconds"),
        "system": cost.get("system_seconds"),
        "load_cpu": got["own_cpu_seconds"] / got["seconds"] if got["seconds"] else None,
        "errors": sum(e["count"] for e in got["errors"]),
    }
    for name in ("p50", "p99"):
        if got["latency_us"]["count"]:
            kept[name] = got["latency_us"][name]
    if got["units_per_second"]:
        kept["mean"] = got["connections"] / got["units_per_second"] * 1e6
    if cost.get("processes_lost"):
        kept.update(cpu=None, user=None, system=None, note="processes of it ended: their CPU is not known")
    return kept


# ---- one measurement of each kind ----


def plain(*mode, targets=None):
    def take(load, program):
        return figures(load.run(mode, program.load_args(targets or TARGETS[:1])))

    return take


def burst(load, program):
    """Of the whole run, for one may not be over in the time that is measured."""
    got = load.run(("udp", "-c", "1", "-B", str(BURST)), program.load_args(TARGETS[:1]))
    return {"lost_share": got["lost"] / (got["lost"] + got["total"]["units"])}


def by_name(load, program):
    # One session to each of them, so that all are in the cache: what was begun is also ended.
    load.run(("connect", "-c", str(len(NAMED_TARGETS))), program.by_name(NAMED_TARGETS), seconds=0.01)
    return figures(load.run(("connect", "-c", "32"), program.by_name(NAMED_TARGETS)))


def on_both(*mode, targets=None):
    """Client, server and proxy wherever the scheduler puts them."""

    def take(load, program):
        args = program.load_args(targets or TARGETS[:1])
        return figures(load.run(mode, args, cpus=load.cpus.both))

    return take


def round_trip(load, program):
    """Most of it is two processors that wake each other, which wavers by a third from one moment to the
    next and now and then takes thrice as long: so the middle one of some short runs."""
    args, part = program.load_args(TARGETS[:1]), 4
    short = {"seconds": load.seconds / part, "warm_up": load.warm_up / part}
    runs = [figures(load.run(("rr", "-c", "1"), args, **short)) for _ in range(SHORT_RUNS)]
    return sorted(runs, key=lambda one: one["mean"])[SHORT_RUNS // 2]


MESSAGES = ("rr", "-c", "8", "-r", "4000")


def alone(load, program):
    target = [f"127.0.0.1:{QUICK_SERVER}"]
    seconds = PERCENTILE * load.seconds
    return figures(load.run(MESSAGES, program.load_args(target), realtime=True, seconds=seconds))


def beside_bulk(load, program):
    seconds = PERCENTILE * load.seconds
    bulk = load.begin(("stream",), program.load_args(TARGETS[:1]), seconds=seconds + 60)
    try:
        time.sleep(0.2)
        target = [f"127.0.0.1:{QUICK_SERVER}"]
        got = figures(load.run(MESSAGES, program.load_args(target), realtime=True, seconds=seconds))
    finally:
        bulk.send_signal(signal.SIGINT)
        stream = load.finish(bulk)
    check(stream)
    got["bulk_rate"] = stream["units_per_second"]
    return got


def idle(load, program):
    """Of a program that was just started: one that kept memory from before would look lean."""
    seconds = LONG * load.seconds
    n = min(load.idle, IDLE_OF_PEERS) if program.kind == "peer" else load.idle
    mode = ("idle", "-c", str(n))
    got = load.run(mode, program.load_args(TARGETS), seconds=seconds)
    cost = got["proxy_process"]
    if got["connections_at_end"] < got["connections"]:
        raise Failed(f"{got['connections_at_end']} of {got['connections']} sessions lived")
    return {
        "memory": cost["memory_per_session"],
        "memory_before": cost["memory_before"],
        "memory_after": cost["memory_after"],
        "wakeups": cost["wakeups"] / got["seconds"],
        "sessions": got["connections"],
    }


def is_socket(path):
    try:
        return os.readlink(path).startswith("socket:")
    except FileNotFoundError:  # closed meanwhile
        return False


def sockets_of(pid):
    """Pipes come and go by themselves."""
    folder = f"/proc/{pid}/fd"
    try:
        return sum(is_socket(f"{folder}/{fd}") for fd in os.listdir(folder))
    except PermissionError:
        raise Failed("its descriptors may not be counted") from None


class Held:
    """So many idle sessions through a program, while it lasts."""

    def __init__(self, load, program, n):
        self.program, self.n, self.load = program, n, load
        self.before = self.settled()
        mode = ("idle", "-c", str(n))
        self.process = load.begin(mode, program.load_args(TARGETS), seconds=120)

    def count(self):
        return {pid: sockets_of(pid) for pid in programs.descendants(self.program.process.pid)}

    def settled(self):
        """When what went before is over."""
        until, was = time.monotonic() + 2, None
        while (now := self.count()) != was and time.monotonic() < until:
            was = now
            time.sleep(0.1)
        return now

    def each(self):
        now = self.count()
        return {pid: round((now[pid] - self.before.get(pid, 0)) / 2) for pid in now}

    def __enter__(self):
        until = time.monotonic() + LIMIT_SECONDS
        while sum(self.each().values()) < self.n:
            if time.monotonic() > until or self.process.poll() is not None:
                self.__exit__()
                raise Failed(f"{self.n} sessions were not made")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.load.finish(self.process)


def least_disturbed(runs, by):
    """Whatever disturbs a run makes the figure `by` greater, and the run slower, which tells where it is
    not known."""

    def cost(one):
        figure = one.get(by)
        return math.inf if figure is None else figure, -one.get("rate", 0)

    return min(runs, key=cost)


def quietest(load, program, runs):
    command, args = ("rr", "-c", "64"), program.load_args(TARGETS[:1])
    return least_disturbed([figures(load.run(command, args)) for _ in range(runs)], "cpu")


def beside_idle(load, program):
    """And without, right before and after: what was measured minutes ago is of another machine, where
    neighbours come and go."""
    before = quietest(load, program, QUIET_RUNS // 2)
    with Held(load, program, load.idle) as held:
        time.sleep(1)  # what so many beginnings leave behind in the kernel is no part of it
        beside = quietest(load, program, QUIET_RUNS)
    held.settled()
    after = quietest(load, program, QUIET_RUNS // 2)
    return {**beside, "cpu_without": min(before["cpu"], after["cpu"])}


def spread(load, program):
    with Held(load, program, SPREAD) as held:
        workers = {pid: n for pid, n in held.each().items() if pid != program.process.pid}
    return {"spread": sorted(workers.values())}


# ---- all of them ----


@dataclass
class Measure:
    key: str
    title: str
    take: Callable
    who: Callable
    fresh: bool = False  # of a program that was just started
    slow: bool = False  # of peers only in some rounds
    once: bool = False  # in a round
    least: str = ""  # of a round's measurements the one counts where this figure is the least
    group: str = field(default="")


def tcp(program):
    return program.tcp and not getattr(program, "own_measures", False)


def socks(program):
    return tcp(program) and program.kind != "direct"


def datagrams(program):
    return program.udp and not getattr(program, "own_measures", False)


def named(*names):
    return lambda program: program.name in names


FLOOR = ("direct", "floor-copy", "floor-splice", "tabi")
BOTH = ("tabi-1w", "tabi-2w")
RULES = ("tabi-10", "tabi-10000")

MEASURES = [
    Measure("down1", "1 stream down", plain("stream", "-c", "1"), tcp),
    Measure("up1", "1 stream up", plain("stream", "-c", "1", "-d", "up"), tcp),
    Measure("down64", "64 streams down", plain("stream", "-c", "64"), tcp),
    Measure("up64", "64 streams up", plain("stream", "-c", "64", "-d", "up"), named(*FLOOR)),
    Measure("rr64", "messages, 64 connections", plain("rr", "-c", "64"), tcp, least="cpu"),
    Measure("rr1", "messages, 1 connection", round_trip, tcp),
    Measure("connect", "short sessions, 32 at once", plain("connect", "-c", "32", targets=TARGETS),
            lambda p: tcp(p) or p.name == "tabi-errors", least="cpu"),
    Measure("names", "short sessions by cached names", by_name, named("tabi", *RULES), least="cpu"),
    Measure("udp64", "datagrams, 1 association, 64 outstanding", plain("udp", "-c", "1", "-o", "64"),
            datagrams, least="cpu"),
    Measure("udp100", "datagrams, 100 associations", plain("udp", "-c", "100", "-o", "1"), datagrams,
            least="cpu"),
    Measure("burst", f"a burst of {BURST} datagrams", burst, datagrams, slow=True, once=True),
    Measure("alone", "messages at a fixed rate, alone", alone, tcp, slow=True, least="p99"),
    Measure("beside", "the same beside a bulk stream", beside_bulk, tcp, slow=True, least="p99"),
    Measure("both64", "64 streams, all processors", on_both("stream", "-c", "64"), named(*BOTH)),
    Measure("bothrr", "messages, all processors", on_both("rr", "-c", "64"), named(*BOTH)),
    Measure("bothconnect", "short sessions, all processors",
            on_both("connect", "-c", "32", targets=TARGETS), named(*BOTH)),
    Measure("spread", f"{SPREAD} connections over the workers", spread, named("tabi-2w"), slow=True,
            once=True),
    Measure("idle", "idle sessions", idle, socks, fresh=True, slow=True, once=True),
    Measure("besideidle", "messages beside idle sessions", beside_idle, named("tabi"), slow=True, once=True),
]  # fmt: skip


class Servers:
    """The other ends, one for bulk and one that is quick to answer beside it."""

    def __init__(self, load, wide):
        at = "0.0.0.0" if wide else "127.0.0.1"
        self.processes = [self._start(load, f"{at}:{SERVER}", False)]
        self.processes.append(self._start(load, f"127.0.0.1:{QUICK_SERVER}", True))

    @staticmethod
    def _start(load, at, realtime):
        process = subprocess.Popen(
            (load.tabi, "bench", "serve", at),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=pinned(load.cpus.load, realtime and load.realtime),
        )
        if not process.stdout.readline().startswith("ready"):
            raise SystemExit(f"bench/compare: no server at {at}")
        return process

    def pin(self, cpus):
        for process in self.processes:
            os.sched_setaffinity(process.pid, cpus)

    def stop(self):
        for process in self.processes:
            programs.end(process)
            process.stdout.close()


def is_disturbed(result):
    return result["steal"] > STEAL_PERCENT or result.get("others", 0) > OTHERS_PERCENT


def measure_once(load, measure, program):
    """Figures, or why there are none; again where somebody else took too much meanwhile."""
    result = {"measure": measure.key, "program": program.name}
    began = time.monotonic()
    alone_there = not (program.both_cpus or load.cpus.shared or program.kind == "direct")
    for tries in range(1, TRIES + 1):
        at = time.monotonic()
        steal = Steal()
        others = Others(load.cpus.proxy, program.family()) if alone_there else None
        try:
            if not program.runs():
                raise Failed("has ended")
            result["figures"] = measure.take(load, program)
        except Failed as failure:
            result["failed"] = str(failure)
        result["steal"] = round(steal.percent(), 2)
        if others:
            result["others"] = round(others.percent(program.family()), 1)
        result["tries"] = tries
        if "failed" in result or not is_disturbed(result) or tries == TRIES or load.repeat_seconds <= 0:
            break
        load.repeat_seconds -= time.monotonic() - at
    result["took"] = round(time.monotonic() - began, 2)
    return result
