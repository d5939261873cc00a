#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs `tabi probe --conformance` against the SOCKS servers and HTTP proxies that Debian ships and
writes doc/conformance.md.

usage: TABI=build/tabi tests/interop/conformance.py [--json] [SERVER...]        (as root, for danted)

Each server runs alone, in a network namespace of its own, with rules that allow everything, and a name
server that knows one name. Without a SERVER all are run that are installed; the columns of the others stay
as the page has them, with the version and the day they are of. What failed has to be explained in
conformance_notes.py or conformance_notes_kept.py, or nothing is written."""

import contextlib
import datetime
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [TESTS, os.path.join(TESTS, "net"), HERE]

from dnsstub import DnsStub  # noqa: E402
from harness import netns  # noqa: E402
from harness.tabi import BINARY, ROOT, wait_until  # noqa: E402
from conformance_page import CELLS, GROUPS, Column, committed_in, merged, page  # noqa: E402
from conformance_servers import SERVERS, listens  # noqa: E402

PAGE = os.path.join(ROOT, "doc", "conformance.md")
PACKAGES = os.path.join(ROOT, "tools", "packages")
TODAY = datetime.date.today().isoformat()
NAME = "target.example.test"
OUTSIDE, OUTSIDE6 = "192.0.2.1", "2001:db8::1"
# Now one verdict, now the other; the notes say why.
UNSTEADY = {("tor", "L11"), ("v2ray", "L06")}


def ask(server, kind, user, options):
    """What the kit says of who listens there."""
    scheme = server.scheme if kind == "socks5" else kind
    done = subprocess.run(
        [BINARY, "probe", "--only", GROUPS[kind], "--json", "--name", NAME, *server.options, *options,
         f"{scheme}://{user}127.0.0.1:{server.ports[kind]}"],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stderr == "", done.stderr
    return json.loads(done.stdout)["checks"]


@contextlib.contextmanager
def targets(outside):
    """Where they are: (the address of NAME, options of probe). Without `outside` it starts them itself."""
    if not outside:
        yield "127.0.0.1", ()
        return
    where = [f"{OUTSIDE}:7000", f"[{OUTSIDE6}]:7000"]
    netns.add_address(OUTSIDE)
    netns.add_address(OUTSIDE6)
    started = [subprocess.Popen([BINARY, "bench", "serve", w], stdout=subprocess.DEVNULL) for w in where]
    try:
        wait_until(lambda: listens(7000), 15, "the targets")
        yield OUTSIDE, ("--target", where[0], "--target", where[1])
    finally:
        for process in started:
            process.terminate()
            process.wait()


def settle(server, checks):
    """What is unsteady has a verdict of its own."""
    for c in checks:
        if (server, c["id"]) in UNSTEADY and c["verdict"] in ("pass", "fail"):
            c["verdict"] = "unsteady"
    return checks


def probe(name, directory):
    """{kind: what the kit says of it}, in a network of its own."""
    netns.enter_fresh()
    of = SERVERS[name]
    with contextlib.ExitStack() as stack:
        address, options = stack.enter_context(targets(of.outside))
        stack.enter_context(DnsStub({NAME: [address]}, port=53))
        user = stack.enter_context(of.start(directory))
        return {kind: settle(name, ask(of, kind, user, options)) for kind in of.ports}


def committed(server, kind):
    """{check: verdict} of the page as it is."""
    with open(PAGE) as f:
        return committed_in(f.read(), kind)[server].verdicts()


def version(package):
    """None where it is not installed."""
    if not package:
        return subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.split()[1]
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package],
        capture_output=True, text=True,
    )  # fmt: skip
    status, _, found = done.stdout.partition(" ")
    return found if status == "installed" else None


def tested():
    """The servers that ./test installs, and compares with the page."""
    with open(PACKAGES) as f:
        fields = [line.split() for line in f if not line.startswith("#")]
    packages = {f[1] for f in fields if len(f) > 1 and f[0] == "interop"}
    return [name for name, server in SERVERS.items() if not server.package or server.package in packages]


def results_of(names):
    """{kind: {server: its column}}"""
    results = {kind: {} for kind in GROUPS}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="tabi-conform-") as directory:
            os.chmod(directory, 0o755)
            for kind, checks in probe(name, directory).items():
                results[kind][name] = Column(version(SERVERS[name].package), TODAY, checks)
                counts = {v: sum(c["verdict"] == v for c in checks) for v in CELLS}
                print(name, kind, counts, file=sys.stderr)
    return results


def main():
    netns.enter_user_namespace()
    names = [a for a in sys.argv[1:] if a != "--json"]
    unknown = set(names) - set(SERVERS)
    assert not unknown, unknown
    # tabi in any case: it is the one that says which checks there are.
    names = [
        name
        for name, server in SERVERS.items()
        if (name in names or name == "tabi" or not names) and version(server.package)
    ]
    results = results_of(names)
    if "--json" in sys.argv:
        print(json.dumps({k: {n: c._asdict() for n, c in v.items()} for k, v in results.items()}, indent=1))
        return
    with open(PAGE) as f:
        old = f.read()
    text = page(merged(results, old), tested())
    with open(PAGE, "w") as f:
        f.write(text)


if __name__ == "__main__":
    main()
