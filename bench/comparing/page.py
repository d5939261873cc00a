# SPDX-License-Identifier: MIT
"""What was measured, told: a table for a terminal, a page with plots for readers."""

import os
from dataclasses import dataclass
from typing import Callable

from comparing import plots, summary
from comparing.measures import BURST, OTHERS_PERCENT, QUIET_RUNS, SHORT_RUNS, STEAL_PERCENT

GBIT, US, S_PER_GB = 8e-9, 1e6, 1e9


@dataclass
class Column:
    head: str
    measure: str
    figure: str
    scale: float = 1.0
    plot: str = ""  # which picture it is in
    form: Callable = plots.number


def share(value):
    return f"{value:.2%}"


@dataclass
class Group:
    title: str
    told: str
    columns: list


def streams(what, measure):
    return [
        Column(f"{what}, Gbit/s", measure, "rate", GBIT, "throughput"),
        Column(f"{what}, CPU s/GB", measure, "cpu", S_PER_GB, "cpu"),
    ]


GROUPS = [
    Group(
        "Bulk",
        "As many bytes as there is room for, one way. Throughput is that of all streams together.",
        [*streams("1 down", "down1"), *streams("1 up", "up1"),
         *streams("64 down", "down64"), *streams("64 up", "up64")],
    ),
    Group(
        "Messages",
        "64 bytes there and back, then the next. With one connection the mean round trip is the"
        " time of all by their number.",
        [
            Column("64 conn., per s", "rr64", "rate", 1, "throughput"),
            Column("64 conn., CPU us", "rr64", "cpu", US, "cpu"),
            Column("64 conn., p50 us", "rr64", "p50"),
            Column("64 conn., p99 us", "rr64", "p99", 1, "latency"),
            Column("1 conn., mean us", "rr1", "mean", 1, "latency"),
            Column("1 conn., p99 us", "rr1", "p99"),
            Column("1 conn., CPU us", "rr1", "cpu", US),
        ],
    ),
    Group(
        "Short sessions",
        "A connection, the handshake, a message of 64 bytes and its echo, the end; 32 at once, to"
        " 50 addresses. The time is that of all this.",
        [
            Column("sessions per s", "connect", "rate", 1, "throughput"),
            Column("CPU us", "connect", "cpu", US, "cpu"),
            Column("p50 us", "connect", "p50"),
            Column("p99 us", "connect", "p99", 1, "latency"),
            Column("by cached names, CPU us", "names", "cpu", US),
        ],
    ),
    Group(
        "Datagrams",
        f"64 bytes there and back by UDP ASSOCIATE. The burst is {BURST:,} at once through one"
        " association; what is not back in half a second is lost.",
        [
            Column("1 assoc., per s", "udp64", "rate", 1, "throughput"),
            Column("1 assoc., CPU us", "udp64", "cpu", US, "cpu"),
            Column("100 assoc., per s", "udp100", "rate"),
            Column("100 assoc., CPU us", "udp100", "cpu", US, "cpu"),
            Column("burst, lost", "burst", "lost_share", form=share),
        ],
    ),
    Group(
        "Messages beside a bulk stream",
        "4,000 messages per second on 8 connections, timed from when each was due, alone and with"
        " one stream down through the same proxy.",
        [
            Column("p50 alone, us", "alone", "p50"),
            Column("p99 alone, us", "alone", "p99", 1, "latency"),
            Column("p50 beside, us", "beside", "p50"),
            Column("p99 beside, us", "beside", "p99", 1, "latency"),
            Column("the stream, Gbit/s", "beside", "bulk_rate", GBIT),
        ],
    ),
    Group(
        "Idle sessions",
        "Sessions that said one byte and then only are there. Memory is what belongs to the"
        " processes alone, by how much it grew, for each session; the kernel's own is not in it.",
        [
            Column("sessions", "idle", "sessions"),
            Column("bytes per session", "idle", "memory", 1, "memory"),
            Column("before, KB", "idle", "memory_before", 1e-3),
            Column("wake-ups per s", "idle", "wakeups"),
            Column("messages beside, CPU us", "besideidle", "cpu", US),
        ],
    ),
    Group(
        "All processors",
        "One worker and two, the load and the proxy wherever the scheduler puts them.",
        [
            Column("64 streams, Gbit/s", "both64", "rate", GBIT),
            Column("messages per s", "bothrr", "rate"),
            Column("sessions per s", "bothconnect", "rate"),
        ],
    ),
]

PICTURES = {
    "throughput": "Throughput (more is better)",
    "cpu": "CPU per unit (less is better)",
    "latency": "Latency (less is better)",
    "memory": "User memory (less is better)",
}


def cell(results, column, program):
    value = results.median(column.measure, program, column.figure)
    if value is None:
        return "-"
    return column.form(value * column.scale)


def rows_of(results, group):
    """Head, then a row for each program of which anything in it was tried."""
    yield ["program", *(column.head for column in group.columns)]
    for program in results.order:
        cells = [cell(results, column, program) for column in group.columns]
        tried = any(results.failure(c.measure, program) for c in group.columns)
        if tried or any(text != "-" for text in cells):
            yield [program, *cells]


def groups(results):
    for group in GROUPS:
        rows = list(rows_of(results, group))
        if len(rows) > 1:
            yield group, rows


def met(line):
    return {True: "met", False: "NOT met", None: ""}[line.met]


def failed(results):
    """Each with its reason, once."""
    for (measure, program), reasons in results.failures().items():
        told = f"{program}, {results.raw['measures'][measure]}: {reasons[-1]}"
        if results.has(measure, program):
            told += f" ({len(reasons)} times; at others it went well)"
        yield told
    for (measure, program), note in results.notes():
        yield f"{program}, {results.raw['measures'][measure]}: {note}"


# ---- for a terminal ----


def columns(rows):
    rows = [[str(one) for one in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        figures = (text.rjust(width) for text, width in zip(row[1:], widths[1:]))
        yield "  ".join([row[0].ljust(widths[0]), *figures])


def table(results):
    text = []
    for group, rows in groups(results):
        text += [group.title, *("  " + line for line in columns(rows)), ""]
    lines = summary.lines(results)
    width = max(len(line.text) for line in lines)
    for line in lines:
        told = f"{line.number:>2} {line.text.ljust(width)} {line.value:>9}  {line.bound:22} {met(line)}"
        text.append(told.rstrip())
    text += ["", *(f"not measured: {one}" for one in failed(results))]
    return "\n".join(text).rstrip()


# ---- for readers ----


def markdown(rows, words=1):
    """The first `words` columns are text, the others figures."""
    head, *rest = rows
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * words + "---:|" * (len(head) - words)
    for row in rest:
        yield "| " + " | ".join(row) + " |"


METHOD = """\
Every figure is the median over {rounds} rounds; a first one, which makes everything warm, does not count. In a round each
measurement is taken of one program after the other ({seconds:g} s, after {warm_up:g} s of the same load that do not count){twice}, and each time
another one is the first. All programs are started anew in every round. A ratio is that of two medians.

What a stream costs depends on how its bytes happen to come together, so of streams all measurements count. A message, a short
session or a datagram is the same work each time, and what disturbs a measurement can only make it dearer, so of those of one round the
cheapest counts: on a virtual machine two processors may be one core for some seconds, and then everything costs a third more. Of
the messages beside a bulk stream, and of the same alone, it is the one with the least p99. With one connection most of the time is that
of two processors which wake each other, and wavers both ways: there all measurements count, and each is the middle one of {short_runs} short
runs.

The load is `tabi bench`, and its other end `tabi bench serve`. The proxy has processor {proxy} for itself, client and server
have {load}{shared}. All run in a network namespace of their own, over its loopback interface: no loss, no delay, packets
of 64 KB. *CPU* is the user and system time of the proxy with all its processes and threads, by the kernel's
clocks of processes, for each byte, message, session or datagram that came through. On loopback who sends does much of the work of the
receiver's side, so part of the client's and the server's is in it, with every program alike. *direct* is the
same load without a proxy. Where the load rather than the proxy is what limits, rates say little and CPU says all.

*floor-copy* and *floor-splice* are [bench/floor.c](../bench/floor.c), *floor-udp* is [bench/udpfloor.c](../bench/udpfloor.c): relays that do nothing but relay, without
authentication, rules, names, logs or limits. tabi writes one line for each session to a file, as its users have it{errors}; no
program writes to a terminal. Dante, microsocks and the like are configured to let everybody on this host do everything; HAProxy speaks
no SOCKS, so it saves the handshake; ssh encrypts, and its server's CPU is counted as well.

Short sessions go to 50 addresses of this host, and the kernel may choose among 55,000 ports, so that its search for a free one is no part of the
comparison. Of peers, the burst, the messages beside a stream and the idle sessions are measured in two rounds only. The burst and
the idle sessions are measured once in a round.

Messages beside idle sessions are compared with those without in the same minute and process: in each round the cheapest of {quiet_runs}
runs with them, and of {quiet_runs} without, half of which come before and half after.

Client and server of the messages beside a bulk stream {realtime}. Idle processors {awake}.

A measurement during which the hypervisor took more than {steal:g} % of the time, or somebody else more than {others:g} % of the
proxy's processor, is taken again, up to twice and as long as a minute in all is not over: {repeated}. {marked}
"""


def how_often(results):
    samples = [s for r in results.rounds for s in r["results"]]
    repeated = sum(s["tries"] > 1 for s in samples)
    return f"{repeated} of {len(samples)} were"


def what_is_marked(results):
    if not results.marked:
        return "None was above that in the end."
    told = [
        f"{results.raw['measures'][m]} of {p} in round {n} (hypervisor {steal} %, others {others} %)"
        for n, m, p, steal, others in results.marked
    ]
    more = f" and {len(told) - 12} more" if len(told) > 12 else ""
    return f"Above that all the same, and counted: {'; '.join(told[:12])}{more}."


def method(results):
    raw, cost = results.raw, ""
    quiet, usual = (results.median("connect", name, "cpu") for name in ("tabi-errors", "tabi"))
    if quiet and usual:
        cost = f"{quiet * US:.1f} us in place of {usual * US:.1f}"
        cost = f" (with `log level error` a short session costs {cost})"
    realtime = (
        "run at a realtime priority, since they share a processor with the stream's ends and what is"
        " asked is how long the proxy lets them wait"
        if raw["realtime"]
        else "share a processor with the stream's ends and wait for it too (a realtime priority was"
        " not to be had)"
    )
    return METHOD.format(
        **{**raw["options"], "rounds": len(results.rounds)},
        **raw["cpus"],
        shared=", of which one is both, so that rates mean nothing" if raw["shared_cpus"] else "",
        twice=", and once more when all else is done" if raw["options"].get("halves", 1) > 1 else "",
        errors=cost,
        realtime=realtime,
        quiet_runs=QUIET_RUNS,
        awake=" and ".join(raw.get("awake") or ["sleep as they usually do"]),
        short_runs=SHORT_RUNS,
        steal=STEAL_PERCENT,
        others=OTHERS_PERCENT,
        repeated=how_often(results),
        marked=what_is_marked(results),
    )


def machine(results):
    m = results.raw["machine"]
    yield f"- {m['when']}, {results.raw['seconds'] / 60:.1f} minutes, by `{results.raw['command']}`"
    yield f"- {m['cpu']}, {m['cpus']} processors, {m['memory_gb']} GB; Linux {m['kernel']}, {m['os']}"
    yield f"- TCP's congestion control: {m['congestion']} (bbr paces what is sent, so that bulk varies more)"
    commit = f"{m['commit'] or 'unknown'}{', with changes' if m['changed'] else ''}"
    how = "as root" if m["root"] else "without root"
    yield f"- tabi of commit {commit} (SHA-256 {m['binary']}...); run {how}"
    for name, p in results.programs.items():
        version = f", {p['version']}" if p["version"] else ""
        yield f"- {name}: {p['told']}{version}"
    if results.raw["missing"]:
        yield f"- not installed: {', '.join(results.raw['missing'])}"


SPREADS = {
    "down1": "1 down", "down64": "64 down", "rr64": "rr 64", "rr1": "rr 1", "connect": "connect",
    "udp64": "udp",
}  # fmt: skip


def spreads(results):
    yield ["program", *SPREADS.values()]
    for program in results.order:
        row = [results.spread(m, program, "cpu") for m in SPREADS]
        if any(one is not None for one in row):
            yield [program, *("-" if one is None else f"{one:.1%}" for one in row)]


def user_shares(results):
    yield ["program", *SPREADS.values()]
    for program in results.order:
        both = [[results.median(m, program, f) for f in ("user", "system")] for m in SPREADS]
        if any(u is not None and u + s > 0 for u, s in both):
            shares = (f"{u / (u + s):.0%}" if u is not None and u + s > 0 else "-" for u, s in both)
            yield [program, *shares]


def panels(results, picture):
    for group in GROUPS:
        for column in group.columns:
            if column.plot != picture:
                continue
            bars = []
            for program in results.measured(column.measure):
                values = results.values(column.measure, program, column.figure)
                if values and not (program != "tabi" and program.startswith("tabi-")):
                    middle = results.median(column.measure, program, column.figure)
                    ends = (max(0, v * column.scale) for v in (middle, min(values), max(values)))
                    bars.append(plots.Bar(program, results.programs[program]["kind"], *ends))
            yield plots.Panel(f"{group.title}: {column.head}", bars)


def draw_all(results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for picture, title in PICTURES.items():
        some = [p for p in panels(results, picture) if p.bars]
        path = folder / f"{picture}.svg"
        if some:
            path.write_text("\n".join(plots.draw(title, some)) + "\n")
            yield path.name, title
        elif path.exists():
            path.unlink()


def page(results, pictures, folder):
    yield "# Benchmarks"
    yield ""
    yield "tabi beside other proxies and beside the least that a proxy can cost, measured in one run by"
    yield "`bench/compare`, which wrote this page."
    yield "Figures of one machine: compare them with each other, not with those of another."
    yield ""
    yield "## What has to hold"
    yield ""
    lines = ([n.number, n.text, n.value, n.bound, met(n)] for n in summary.lines(results))
    yield from markdown([["", "what", "figure", "asked", ""], *lines], words=2)
    for group, rows in groups(results):
        yield from ("", f"## {group.title}", "", group.told, "")
        yield from markdown(rows)
    reasons = list(failed(results))
    if reasons:
        yield from ("", "A dash is where nothing was or could be measured:", "")
        yield from (f"- {one}" for one in reasons)
    yield from ("", "## Plots", "")
    yield "The bar is the median, the line in it reaches from the least to the greatest."
    for name, title in pictures:
        yield from ("", f"![{title}]({folder}/{name})")
    yield from ("", "## Method", "", method(results).rstrip())
    yield from ("", "Spread of the CPU figures, half the way from the least to the greatest by the median:")
    yield ""
    yield from markdown(list(spreads(results)))
    yield from ("", "Share of CPU that was spent in user space, by clock ticks; the rest is the kernel's:")
    yield ""
    yield from markdown(list(user_shares(results)))
    yield from ("", "## Where", "", *machine(results))


def write(results, path):
    """The page, and its plots in a directory of its name beside it."""
    folder = path.parent / path.stem
    pictures = list(draw_all(results, folder))
    text = "\n".join(page(results, pictures, folder.name)) + "\n"
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)
