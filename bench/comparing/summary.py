# SPDX-License-Identifier: MIT
"""Medians, spreads and ratios of what was measured, and what they have to show."""

import statistics
from dataclasses import dataclass

from comparing.measures import MEASURES, SPREAD, is_disturbed, least_disturbed

LIMIT_MINUTES = 15
LEAST = {m.key: m.least for m in MEASURES if m.least}


class Results:
    """Of the rounds that count."""

    def __init__(self, raw):
        self.raw = raw
        self.rounds = [r for r in raw["rounds"] if r["counted"]]
        self.programs = raw["programs"]
        self.order = list(self.programs)
        self._samples, self._failures, self.marked = {}, {}, []
        for one in raw["rounds"]:
            taken = {}
            for result in one["results"]:
                self._sort(one, result, taken)
            for key, found in taken.items():
                by = LEAST.get(key[0])
                kept = [least_disturbed(found, by)] if by else found
                self._samples.setdefault(key, []).extend(kept)

    def _sort(self, one, result, taken):
        key = result["measure"], result["program"]
        if "failed" in result:
            self._failures.setdefault(key, []).append(result["failed"])
        elif one["counted"]:
            taken.setdefault(key, []).append(result["figures"])
            if is_disturbed(result):
                self.marked.append((one["round"], *key, result["steal"], result.get("others", 0)))

    def has(self, measure, program):
        return (measure, program) in self._samples

    def failure(self, measure, program):
        """Why there is no figure; what failed once and then went well is told as well."""
        return self._failures.get((measure, program), [None])[-1]

    def failures(self):
        return self._failures

    def notes(self):
        """What is to be said of figures that there are."""
        for key, samples in self._samples.items():
            found = [s["note"] for s in samples if s.get("note")]
            if found:
                yield key, found[-1]

    def values(self, measure, program, figure):
        found = (s.get(figure) for s in self._samples.get((measure, program), []))
        return [v for v in found if v is not None]

    def median(self, measure, program, figure):
        values = self.values(measure, program, figure)
        return statistics.median(values) if values else None

    def spread(self, measure, program, figure):
        """Half of the distance from the least to the greatest, as a share of the median."""
        values = self.values(measure, program, figure)
        middle = statistics.median(values) if values else 0
        return (max(values) - min(values)) / 2 / middle if middle else None

    def ratio(self, measure, program, figure, *, to, of=None, than=None):
        """Of medians: of `measure` on `program` to that of `of`, or the same, on `to`; there of the
        figure `than`, or the same."""
        above = self.median(measure, program, figure)
        below = self.median(of or measure, to, than or figure)
        return above / below if above is not None and below else None

    def measured(self, measure):
        return [name for name in self.order if self.has(measure, name)]

    def best_peer(self, measure, figure, highest=False):
        peers = [
            name for name in self.measured(measure)
            if self.programs[name]["kind"] == "peer" and self.median(measure, name, figure)
        ]  # fmt: skip
        choose = max if highest else min
        return choose(peers, key=lambda n: self.median(measure, n, figure), default=None)


@dataclass
class Line:
    """One thing that has to be shown: `met` is None where nothing was asked or nothing measured."""

    number: str
    text: str
    value: str
    bound: str = ""
    met: object = None


class Lines:
    def __init__(self, results):
        self.r, self.lines = results, []

    def add(self, number, text, value, bound, *, most=None, least=None, form="{:.2f}"):
        if value is None:
            self.lines.append(Line(number, text, "-", bound))
            return
        met = (most is None or value <= most) and (least is None or value >= least)
        self.lines.append(Line(number, text, form.format(value), bound, met))

    def tell(self, number, text, value):
        self.lines.append(Line(number, text, value if value is not None else "-"))

    def to_floor(self, number, measure, text, most, floor="floor-copy", figure="cpu"):
        value = self.r.ratio(measure, "tabi", figure, to=floor)
        self.add(number, f"{text}, to {floor}", value, f"at most {most:.2f}", most=most)

    def to_best(self, number, measure, text, *, most=None, least=None, figure="cpu"):
        best = self.r.best_peer(measure, figure, highest=least is not None)
        value = self.r.ratio(measure, "tabi", figure, to=best) if best else None
        bound = f"at most {most:.2f}" if most else f"at least {least:.2f}"
        self.add(number, f"{text}, to the best peer ({best or 'none'})", value, bound, most=most, least=least)

    def bulk(self):
        for measure, what in (
            ("down1", "1 stream down"), ("up1", "1 stream up"), ("down64", "64 streams down"),
            ("up64", "64 streams up"),
        ):  # fmt: skip
            self.to_floor("1", measure, f"{what}: CPU per byte", 1.05, "floor-splice")
            if measure != "up64":
                self.to_best("1", measure, f"{what}: CPU per byte", most=0.9)
                self.to_best("1", measure, f"{what}: throughput", least=1.0, figure="rate")

    def messages(self):
        self.to_floor("2", "rr64", "64 connections: CPU per message", 1.05)
        self.to_floor("2", "rr1", "1 connection: mean round trip", 1.02, figure="mean")

    def sessions(self):
        self.to_floor("3", "connect", "CPU per session", 1.10)
        names = self.r.ratio("names", "tabi", "cpu", of="connect", to="floor-copy")
        text = "CPU per session by cached names, to floor-copy with addresses"
        self.add("3", text, names, "at most 1.25", most=1.25)

    def datagrams(self):
        self.to_floor("4", "udp64", "64 outstanding: CPU per round trip", 0.70, "floor-udp")
        for measure, what in (("udp64", "64 outstanding"), ("udp100", "100 associations")):
            self.to_best("4", measure, f"{what}: CPU per round trip", most=1.0)
        lost = self.r.median("burst", "tabi", "lost_share")
        told = f"{lost:.2%}" if lost is not None else None
        self.tell("4", "burst of 20,000 datagrams: share that was lost", told)

    def beside_bulk(self):
        p99 = self.r.ratio("beside", "tabi", "p99", of="alone", to="tabi")
        self.add("5", "p99 of messages beside a bulk stream, to that without", p99, "at most 2.00", most=2.0)

    def idle(self):
        n = self.r.raw["options"]["idle"]
        memory = self.r.median("idle", "tabi", "memory")
        text = f"user memory of an idle session, {n} at once, bytes"
        self.add("6", text, memory, "at most 512", most=512, form="{:.0f}")
        wakeups = self.r.median("idle", "tabi", "wakeups")
        self.add("6", f"wake-ups per second with {n} idle, all processes", wakeups, "at most 1 per worker",
                 most=1.0)  # fmt: skip
        beside = self.r.ratio("besideidle", "tabi", "cpu", to="tabi", than="cpu_without")
        text = f"CPU per message with {n} idle beside, to that without"
        self.add("6", text, beside, "at most 1.05", most=1.05)

    def workers(self):
        for measure, what in (
            ("both64", "64 streams: throughput"), ("bothrr", "messages per second"),
            ("bothconnect", "sessions per second"),
        ):  # fmt: skip
            value = self.r.ratio(measure, "tabi-2w", "rate", to="tabi-1w")
            self.tell("8", f"2 workers to 1, {what}", value and f"{value:.2f}")
        each = self.r.values("spread", "tabi-2w", "spread")
        text = f"{SPREAD} connections over 2 workers, the least of one"
        self.tell("8", text, ", ".join(str(one[0]) for one in each) if each else None)

    def rules(self):
        value = self.r.ratio("names", "tabi-10000", "cpu", to="tabi-10")
        text = "CPU per session by cached names, 10,000 nets and hosts in rules, to 10"
        self.add("9", text, value, "at most 1.05", most=1.05)

    def whole(self):
        minutes = self.r.raw["seconds"] / 60
        text = f"minutes for {len(self.r.rounds)} rounds that count"
        self.add("11", text, minutes, f"under {LIMIT_MINUTES}", most=LIMIT_MINUTES, form="{:.1f}")


def lines(results):
    all_lines = Lines(results)
    for part in (
        all_lines.bulk, all_lines.messages, all_lines.sessions, all_lines.datagrams,
        all_lines.beside_bulk, all_lines.idle, all_lines.workers, all_lines.rules, all_lines.whole,
    ):  # fmt: skip
        part()
    # Of what nobody asked to be measured nothing is missing.
    part_of_all = results.raw["options"].get("only")
    return [line for line in all_lines.lines if line.value != "-" or not part_of_all]
