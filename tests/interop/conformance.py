#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs `tabi probe --conformance` against the SOCKS servers and HTTP proxies that Debian ships and
writes doc/conformance.md.

usage: TABI=build/tabi tests/interop/conformance.py        (as root, for danted)

Each server runs alone, in a network namespace of its own, with rules that allow everything, and a name
server that knows one name. What failed has to be explained in conformance_notes.py, or nothing is written."""

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import sys
import tempfile
import typing

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [TESTS, os.path.join(TESTS, "net"), HERE]

from dnsstub import DnsStub  # noqa: E402
from harness import netns, tornet  # noqa: E402
from harness.tabi import BINARY, ROOT, Tabi, wait_until  # noqa: E402

PAGE = os.path.join(ROOT, "doc", "conformance.md")
NAME = "target.example.test"
PORT, HTTP_PORT = 1080, 8080
ALICE = "alice:secret@"
CELLS = {"pass": "pass", "fail": "**fail**", "not applicable": "n/a", "untested": "?", "unsteady": "+-"}
# Now one verdict, now the other; conformance_notes.py says why.
UNSTEADY = {("tor", "L11")}

DANTED = """\
logoutput: {dir}/log
internal: 127.0.0.1 port = 1080
external: 127.0.0.1
external: ::1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 command: bind connect udpassociate }}
socks pass {{ from: 0/0 to: 0/0 command: bindreply udpreply }}
"""
SSHD = """\
ListenAddress 127.0.0.1
Port 2222
HostKey {dir}/host
AuthorizedKeysFile {dir}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
"""
TINYPROXY = """\
Port 1080
Listen 127.0.0.1
Timeout 600
MaxClients 300
Allow 127.0.0.1
LogFile "{dir}/tinyproxy.log"
"""


def listens(port):
    """Does somebody of this network, by TCP?"""
    with open("/proc/net/tcp") as f:
        return any(
            fields[1].endswith(f":{port:04X}") and fields[3] == "0A"
            for fields in (line.split() for line in f.readlines()[1:])
        )


class Processes:
    """Of one server; all end with it."""

    def __init__(self, directory):
        self.directory = directory
        self.started = []
        self.resolv = os.path.join(directory, "resolv.conf")
        with open(self.resolv, "w") as f:
            f.write("nameserver 127.0.0.1\n")

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text.format(dir=self.directory))
        return path

    def start(self, *command, port):
        with open(os.path.join(self.directory, "output"), "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: netns.mount_over(self.resolv, "/etc/resolv.conf"),
            )
        self.started.append(process)
        wait_until(lambda: listens(port) or process.poll() is not None, 15, f"{command[0]}")
        assert process.poll() is None, f"{command[0]} ended: see {log.name}"

    def stop(self):
        for process in reversed(self.started):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def processes(directory):
    all_of_them = Processes(directory)
    try:
        yield all_of_them
    finally:
        all_of_them.stop()


# ---- the servers: each yields who we are, as a URL has it ----


@contextlib.contextmanager
def start_tabi(directory, statements, user=""):
    program = Tabi(
        directory, f"listen 127.0.0.1:1080\nresolver 127.0.0.1:53\n{statements}\nallow all\n"
    )
    try:
        yield user
    finally:
        program.stop()


def tabi(directory):
    return start_tabi(directory, "")


def tabi_password(directory):
    path = os.path.join(directory, "users")
    subprocess.run(
        [BINARY, "passwd", path, "alice"], input="secret\n", text=True, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return start_tabi(directory, "auth password users", ALICE)


@contextlib.contextmanager
def run_program(directory, *command, user=""):
    with processes(directory) as p:
        p.start(*command, port=PORT)
        yield user


@contextlib.contextmanager
def dante(directory):
    with processes(directory) as p:
        p.start("danted", "-f", p.write("danted.conf", DANTED), "-N", "1", port=PORT)
        yield ""


MICROSOCKS = ("microsocks", "-i", "127.0.0.1", "-p", str(PORT))


def microsocks(directory):
    return run_program(directory, *MICROSOCKS)


def microsocks_password(directory):
    return run_program(directory, *MICROSOCKS, "-u", "alice", "-P", "secret", user=ALICE)


NCAT = ("ncat", "-l", "--proxy-type", "http", "127.0.0.1", str(PORT))


def ncat(directory):
    return run_program(directory, *NCAT)


def ncat_password(directory):
    return run_program(directory, *NCAT, "--proxy-auth", "alice:secret", user=ALICE)


@contextlib.contextmanager
def tinyproxy(directory, words="", user=""):
    with processes(directory) as p:
        p.start("tinyproxy", "-d", "-c", p.write("tinyproxy.conf", TINYPROXY + words), port=PORT)
        yield user


def tinyproxy_password(directory):
    return tinyproxy(directory, "BasicAuth alice secret\n", ALICE)


@contextlib.contextmanager
def ssh(directory):
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/{name}"], check=True
        )
    shutil.copy(f"{directory}/user.pub", f"{directory}/authorized")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    with processes(directory) as p:
        p.start("/usr/sbin/sshd", "-D", "-e", "-f", p.write("sshd_config", SSHD), port=2222)
        p.start(
            "ssh", "-F", "none", "-N", "-D", f"127.0.0.1:{PORT}", "-p", "2222",
            "-i", f"{directory}/user", "-l", getpass.getuser(),
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "BatchMode=yes", "127.0.0.1", port=PORT,
        )  # fmt: skip
        yield ""


@contextlib.contextmanager
def tor(directory):
    """A network of its own, the exits in this one."""
    with processes(directory) as p:
        with tornet.TorNetwork(f"{directory}/net", PORT, p.resolv, HTTP_PORT):
            yield ""


class Server(typing.NamedTuple):
    start: typing.Callable  # with a directory
    package: str  # None: this one
    ports: dict  # kind of table -> where


SOCKS = {"socks5": PORT}
HTTP = {"http": PORT}
# By their columns.
SERVERS = {
    "tabi": Server(tabi, None, SOCKS | HTTP),
    "tabi, password": Server(tabi_password, None, SOCKS | HTTP),
    "Dante": Server(dante, "dante-server", SOCKS),
    "microsocks": Server(microsocks, "microsocks", SOCKS),
    "microsocks, password": Server(microsocks_password, "microsocks", SOCKS),
    "ssh -D": Server(ssh, "openssh-client", SOCKS),
    "tor": Server(tor, "tor", SOCKS | {"http": HTTP_PORT}),
    "ncat": Server(ncat, "ncat", HTTP),
    "ncat, password": Server(ncat_password, "ncat", HTTP),
    "tinyproxy": Server(tinyproxy, "tinyproxy-bin", HTTP),
    "tinyproxy, password": Server(tinyproxy_password, "tinyproxy-bin", HTTP),
}
# Each kind's checks.
GROUPS = {"socks5": "T,M,R,L,B,U,F,A,X", "http": "H,L,X"}


def ask(kind, user, port):
    done = subprocess.run(
        [BINARY, "probe", "--only", GROUPS[kind], "--json", "--name", NAME,
         f"{kind}://{user}127.0.0.1:{port}"],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.stderr == "", done.stderr
    return json.loads(done.stdout)["checks"]


def settle(server, checks):
    """What is unsteady has a verdict of its own."""
    for c in checks:
        if (server, c["id"]) in UNSTEADY and c["verdict"] in ("pass", "fail"):
            c["verdict"] = "unsteady"
    return checks


def probe(server, directory):
    """{kind: what the kit says of it}, in a network of its own."""
    netns.enter_fresh()
    start, _, ports = SERVERS[server]
    with DnsStub({NAME: ["127.0.0.1"]}, port=53), start(directory) as user:
        return {kind: settle(server, ask(kind, user, port)) for kind, port in ports.items()}


def version(package):
    if not package:
        return subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.split()[1]
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=True
    )
    return done.stdout


# ---- the page ----


def committed(server, kind):
    """{check: verdict} of the page as it is, in the table that has H01 or that has not."""
    verdicts = {cell: verdict for verdict, cell in CELLS.items()}
    tables = []
    with open(PAGE) as f:
        column = None
        for line in f:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            if line.startswith("| check "):
                column = cells.index(server) if server in cells else None
                tables.append({})
            elif line.startswith("| ") and column and len(cells) > column and cells[0][1:].isdigit():
                tables[-1][cells[0]] = verdicts[cells[column]]
    (found,) = [t for t in tables if t and ("H01" in t) == (kind == "http")]
    return found


def table(results):
    names = list(results)
    yield "| check | level | what | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 3) + "|"
    for row in zip(*results.values()):
        cells = " | ".join(CELLS[c["verdict"]] for c in row)
        level = "must" if row[0]["level"] == "required" else "should"
        yield f"| {row[0]['id']} | {level} | {row[0]['what']} | {cells} |"


def sums(results):
    yield "| server | version | " + " | ".join(
        f"{level}: {v}" for level in ("must", "should") for v in ("pass", "fail")
    ) + " | n/a | ? |"
    yield "|---" * 8 + "|"
    for name, checks in results.items():
        cells = [
            sum(c["level"] == level and c["verdict"] == verdict for c in checks)
            for level in ("required", "recommended")
            for verdict in ("pass", "fail")
        ] + [
            sum(c["verdict"] in v for c in checks)
            for v in (("not applicable",), ("untested", "unsteady"))
        ]
        yield f"| {name} | {version(SERVERS[name].package)} | " + " | ".join(map(str, cells)) + " |"


def surprises(results, notes):
    """Every failure has its note, and every note a failure."""
    for name, checks in results.items():
        failed = {c["id"]: c for c in checks if c["verdict"] in ("fail", "unsteady")}
        told = [i for ids, _ in notes.get(name, ()) for i in ids.split()]
        assert sorted(told) == sorted(failed), (
            name, "to be explained:", sorted(set(failed) - set(told)),
            "not there:", sorted(set(told) - set(failed)),
        )  # fmt: skip
        if not failed:
            continue
        yield f"### {name}\n"
        for ids, text in notes[name]:
            yield f"- **{', '.join(ids.split())}.** {text}"
        yield ""


def results_of(names):
    """{kind: {server: checks}}"""
    results = {kind: {} for kind in GROUPS}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="tabi-conform-") as directory:
            os.chmod(directory, 0o755)
            for kind, checks in probe(name, directory).items():
                results[kind][name] = checks
                counts = {v: sum(c["verdict"] == v for c in checks) for v in CELLS}
                print(name, kind, counts, file=sys.stderr)
    return results


def main():
    netns.enter_user_namespace()
    results = results_of(SERVERS)
    if "--json" in sys.argv:
        print(json.dumps(results, indent=1))
        return
    import conformance_notes as notes

    lines = [notes.HEAD]
    for kind, of_kind in results.items():
        lines += [notes.BEFORE[kind], *sums(of_kind), "", notes.CHECKS, *table(of_kind), ""]
        lines += [notes.SURPRISES, *surprises(of_kind, notes.NOTES[kind])]
    with open(PAGE, "w") as f:
        f.write("\n".join(lines).rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
