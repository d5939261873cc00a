# SPDX-License-Identifier: MIT
"""The page doc/conformance.md: read, merged with what was found now, and written."""

import typing

import conformance_notes as notes
from conformance_servers import SERVERS

# Each kind of table has these checks.
GROUPS = {"socks5": "T,M,R,L,B,U,F,A,X", "http": "H,L,X"}
CELLS = {"pass": "pass", "fail": "**fail**", "not applicable": "n/a", "untested": "?", "unsteady": "+-"}
VERDICTS = {cell: verdict for verdict, cell in CELLS.items()}
# Instead of a day: whoever runs ./test sees it again.
ALWAYS = "each test"


class Column(typing.NamedTuple):
    """What one server does."""

    version: str
    day: str
    checks: list  # {id, level, what, verdict}, in the order of the program

    def verdicts(self):
        return {c["id"]: c["verdict"] for c in self.checks}


def _cells(line):
    return [c.strip() for c in line.strip().strip("|").split("|")]


def committed_in(text, kind):
    """{server: its Column} of the page's table of this kind."""
    part = text.split("\n## ")[1 + list(GROUPS).index(kind)]
    about, rows, servers = {}, [], []
    for line in part.splitlines():
        cells = _cells(line)
        if line.startswith("| check |"):
            servers = cells[3:]
        elif line.startswith("| ") and servers and cells[0][1:].isdigit():
            rows.append(cells)
        elif line.startswith("| ") and not servers and cells[0] != "server":
            about[cells[0]] = cells[1:3]
    level = {"must": "required", "should": "recommended"}
    return {
        server: Column(
            *about[server],
            [
                {"id": r[0], "level": level[r[1]], "what": r[2], "verdict": VERDICTS[r[3 + i]]}
                for r in rows
            ],
        )
        for i, server in enumerate(servers)
    }


def _kept(column, model):
    """An old column with the checks that there are now: one that is newer than it is untested, one that
    is no more goes, and the words are those of now."""
    had = column.verdicts()
    checks = [{**c, "verdict": had.get(c["id"], "untested")} for c in model.checks]
    return column._replace(checks=checks)


def merged(fresh, old, servers=SERVERS):
    """{kind: {server: Column}}, in the order of `servers`: what was found now, else what the page says.
    tabi has to be among the fresh ones."""
    result = {}
    for kind in GROUPS:
        before = committed_in(old, kind)
        now = fresh[kind]
        of_kind = [name for name, server in servers.items() if kind in server.ports]
        missing = [name for name in of_kind if name not in now and name not in before]
        assert not missing, (kind, "neither run nor in the page:", missing)
        result[kind] = {
            name: now[name] if name in now else _kept(before[name], now["tabi"]) for name in of_kind
        }
    return result


def _table(columns):
    yield "| check | level | what | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 3) + "|"
    for row in zip(*(column.checks for column in columns.values()), strict=True):
        assert len({c["id"] for c in row}) == 1, row
        cells = " | ".join(CELLS[c["verdict"]] for c in row)
        level = "must" if row[0]["level"] == "required" else "should"
        yield f"| {row[0]['id']} | {level} | {row[0]['what']} | {cells} |"


def _sums(columns, tested):
    yield "| server | version | seen | " + " | ".join(
        f"{level}: {v}" for level in ("must", "should") for v in ("pass", "fail")
    ) + " | n/a | ? |"
    yield "|---" * 9 + "|"
    for name, column in columns.items():
        counts = [
            sum(c["level"] == level and c["verdict"] == verdict for c in column.checks)
            for level in ("required", "recommended")
            for verdict in ("pass", "fail")
        ] + [
            sum(c["verdict"] in v for c in column.checks)
            for v in (("not applicable",), ("untested", "unsteady"))
        ]
        seen = ALWAYS if name in tested else column.day
        yield f"| {name} | {column.version} | {seen} | " + " | ".join(map(str, counts)) + " |"


def _surprises(columns, words):
    """Every failure has its note, and every note a failure."""
    for name, column in columns.items():
        failed = [i for i, v in column.verdicts().items() if v in ("fail", "unsteady")]
        told = [i for ids, _ in words.get(name, ()) for i in ids.split()]
        assert sorted(told) == sorted(failed), (
            name, "to be explained:", sorted(set(failed) - set(told)),
            "not there:", sorted(set(told) - set(failed)),
        )  # fmt: skip
        if not failed:
            continue
        yield f"### {name}\n"
        for ids, text in words[name]:
            yield f"- **{', '.join(ids.split())}.** {text}"
        yield ""


def page(results, tested, words=notes.NOTES):
    """The whole text."""
    lines = [notes.HEAD]
    for kind, columns in results.items():
        lines += [notes.BEFORE[kind], *_sums(columns, tested), "", notes.CHECKS, *_table(columns), ""]
        lines += [notes.SURPRISES, *_surprises(columns, words[kind])]
    return "\n".join(lines).rstrip("\n") + "\n"
