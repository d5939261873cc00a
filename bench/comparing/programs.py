# SPDX-License-Identifier: MIT
"""The programs that are compared: how each is configured, started and ended."""

import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

SERVER = 7000  # 'tabi bench serve'
QUICK_SERVER = 7001  # another, for messages beside a bulk stream
NAMES = 5300  # the name server
FIRST_PORT = 4001  # of the proxies
START_SECONDS = 10
TARGETS = [f"127.0.0.{i}:{SERVER}" for i in range(1, 51)]
NAMED_TARGETS = [f"n{i}.bench.test:{SERVER}" for i in range(1, 51)]
PIPE = 1 << 18


class Failed(Exception):
    """What is told in the place of a figure."""


def descendants(pid):
    """`pid` and all that it started."""
    found = [pid]
    for one in found:
        try:
            for task in os.listdir(f"/proc/{one}/task"):
                text = Path(f"/proc/{one}/task/{task}/children").read_text()
                found += [int(child) for child in text.split()]
        except OSError:
            continue
    return found


def pinned(cpus, realtime=False):
    """What a process does before it begins."""

    def prepare():
        os.sched_setaffinity(0, cpus)
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))

    return prepare


def end(process):
    """A process and all that it started, each by its id."""
    family = descendants(process.pid) if process.poll() is None else []
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    for pid in family[1:]:
        _end_left(pid)


def _end_left(pid):
    """A child that outlives the one who started it: a second to end by itself, then no more."""
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            try:
                os.kill(pid, number)
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            except (ProcessLookupError, FileNotFoundError):
                return
            if state == "Z":
                return
            number = 0
            time.sleep(0.02)


class Program:
    """One that runs, or can be. `kind` is floor, tabi or peer, or direct for none."""

    kind = "peer"
    way = "socks5"
    names = False  # asked for names in this comparison
    udp = False
    tcp = True
    both_cpus = False

    def __init__(self, name, told):
        self.name, self.told = name, told
        self.process = None
        self.version = ""
        self.command = []
        self.port = 0
        self.here = None

    def write(self, name, text):
        path = self.here / name
        path.write_text(text)
        path.chmod(0o644)
        return path

    def configure(self):
        """Writes what it needs; returns its command line."""
        raise NotImplementedError

    def prepare(self, here, port):
        self.here, self.port = here / self.name, port
        self.here.mkdir(exist_ok=True)
        self.here.chmod(0o755)
        self.command = [str(word) for word in self.configure()]

    def start(self, cpus):
        with open(self.here / "output", "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.here,
                preexec_fn=pinned(cpus.both if self.both_cpus else cpus.proxy),
            )
        try:
            self.wait_ready()
        except Failed:
            self.stop()
            raise

    def wait_ready(self):
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Failed(f"does not start: {self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Failed("does not listen")

    def last_words(self):
        lines = (self.here / "output").read_text(errors="replace").strip().splitlines()
        return lines[-1][:120] if lines else f"status {self.process.returncode}"

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def family(self):
        """The processes of which it consists."""
        return descendants(self.process.pid) if self.runs() else []

    def stop(self):
        if self.process is not None:
            end(self.process)
            self.process = None

    def load_args(self, targets):
        """What 'tabi bench' is told, for these targets and with the cost of this program."""
        return ["-x", f"{self.way}://127.0.0.1:{self.port}", "-p", str(self.process.pid), *targets]


class Direct(Program):
    kind = "direct"
    udp = True

    def __init__(self):
        super().__init__("direct", "no proxy")

    def configure(self):
        return []

    def start(self, cpus):
        pass

    def runs(self):
        return True

    def load_args(self, targets):
        return ["--direct", *targets]


class Floor(Program):
    kind = "floor"

    def __init__(self, build, name="floor-copy", pipe=0):
        super().__init__(name, "bench/floor.c, " + ("splice" if pipe else "copy"))
        self.binary, self.pipe = build / "bench" / "bench-floor", pipe

    def configure(self):
        return [self.binary, self.port, self.pipe]


class UdpFloor(Program):
    kind = "floor"
    tcp = False
    udp = True

    def __init__(self, build):
        super().__init__("floor-udp", "bench/udpfloor.c, recvfrom and sendto")
        self.binary = build / "bench" / "udpfloor"

    def configure(self):
        return [self.binary, self.port]


def many(n):
    """Statements of `n` nets and `n` hosts, none of them next to another or of use to anybody."""
    nets = (f"10.{i >> 7}.{(i & 127) * 2}.0/24" for i in range(n))
    hosts = (f"h{i}.site{i % 97}.example" for i in range(n))
    glue = " \\\n  "
    return f"net bad-nets {glue.join(nets)}\nhost bad-hosts {glue.join(hosts)}\n"


class Tabi(Program):
    kind = "tabi"
    names = True
    udp = True
    log = "info"
    rules = ""

    def __init__(self, build, name="tabi", told="one worker, log to a file", **more):
        super().__init__(name, told)
        self.binary = build / "tabi"
        self.workers = more.get("workers", 1)
        self.both_cpus = more.get("both_cpus", False)
        self.log = more.get("log", "info")
        self.rules = more.get("rules", "")
        self.own_measures = more.get("own_measures", False)

    def configure(self):
        self.write(
            "tabi.conf",
            f"listen 127.0.0.1:{self.port}\nworkers {self.workers}\nresolver 127.0.0.1:{NAMES}\n"
            f"log file {self.here}/log level {self.log}\n"
            f"{self.rules}allow from loopback to loopback\n",
        )
        return [self.binary, "serve", "-c", "tabi.conf"]

    def wait_ready(self):
        super().wait_ready()
        until = time.monotonic() + START_SECONDS
        while len(descendants(self.process.pid)) <= self.workers:
            if time.monotonic() > until:
                raise Failed("has fewer workers than it should")
            time.sleep(0.02)

    def by_name(self, targets):
        words = self.load_args(targets)
        return [word.replace("socks5:", "socks5h:") for word in words]


DANTE = """\
logoutput: {here}/log
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""


class Dante(Program):
    udp = True

    def __init__(self):
        super().__init__("dante", "Dante, danted as Debian has it")

    def configure(self):
        self.version = first_match(("danted", "-v"), r"v([\d.]+\d)")
        return ["danted", "-f", self.write("conf", DANTE.format(here=self.here, port=self.port))]


class Microsocks(Program):
    def __init__(self):
        super().__init__("microsocks", "microsocks as Debian has it")

    def configure(self):
        self.version = debian_version("microsocks")
        return ["microsocks", "-i", "127.0.0.1", "-p", self.port]


HAPROXY = """\
global
    nbthread 1
    maxconn 9200
    maxpipes 200
defaults
    mode tcp
    option splice-auto
    timeout connect 10s
    timeout client 5m
    timeout server 5m
listen all
    bind 127.0.0.1:{port}
    balance roundrobin
"""


class Haproxy(Program):
    """It speaks no SOCKS: a client connects to it as to the target."""

    def __init__(self):
        super().__init__("haproxy", "HAProxy, plain TCP to fixed targets: no SOCKS handshake")

    def configure(self):
        self.version = first_match(("haproxy", "-v"), r"version ([\d.]+)")
        text = HAPROXY.format(port=self.port)
        text += "".join(f"    server s{i} {to}\n" for i, to in enumerate(TARGETS))
        return ["haproxy", "-db", "-f", self.write("conf", text)]

    def load_args(self, targets):
        return ["--direct", "-p", str(self.process.pid), f"127.0.0.1:{self.port}"]


SSHD = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {here}/host
AuthorizedKeysFile {here}/user.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
PidFile none
"""


class Ssh(Program):
    def __init__(self):
        super().__init__("ssh", "ssh -D with an sshd on this host: both are counted")

    def configure(self):
        self.version = first_match(("ssh", "-V"), r"OpenSSH_([\w.]+)")
        for name in ("host", "user"):
            key = self.here / name
            if not key.exists():
                run = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
                subprocess.run(run, check=True, stdin=subprocess.DEVNULL)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", exist_ok=True)
        inner = self.port + 500
        self.write("sshd", SSHD.format(here=self.here, port=inner))
        options = (
            f"-F none -N -D 127.0.0.1:{self.port} -p {inner} -i {self.here}/user"
            f" -l {getpass.getuser()} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
            " -o BatchMode=yes -o LogLevel=ERROR 127.0.0.1"
        )
        # The server is the client's child, so that one process id stands for both.
        server = shutil.which("sshd") or "/usr/sbin/sshd"
        return ["sh", "-c", f"{server} -D -e -f sshd & sleep 0.3; exec ssh {options}"]


class Other(Program):
    """Anybody's, from --peer NAME=COMMAND."""

    udp = True

    def __init__(self, name, command):
        super().__init__(name, "from --peer")
        self.template = command

    def configure(self):
        return shlex.split(self.template.format(port=self.port, dir=self.here))


def first_match(command, pattern):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else ""


def debian_version(package):
    return first_match(("dpkg-query", "-W", package), r"\t(\S+)")


def installed():
    """The peers that are there, and the Debian packages of those that are not."""
    there, missing = [], []
    for package, witness, make in (
        ("dante-server", "danted", Dante),
        ("microsocks", "microsocks", Microsocks),
        ("haproxy", "haproxy", Haproxy),
        ("openssh-server", "sshd", Ssh),
    ):
        if shutil.which(witness, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            there.append(make())
        else:
            missing.append(package)
    return there, missing


def ours(build):
    """The floors, and tabi in the forms that are measured against each other."""
    yield Direct()
    yield Floor(build)
    yield Floor(build, "floor-splice", PIPE)
    yield UdpFloor(build)
    yield Tabi(build)
    variant = {"own_measures": True}
    yield Tabi(build, "tabi-errors", "the same, log level error", log="error", **variant)
    for workers in (1, 2):
        yield Tabi(
            build,
            f"tabi-{workers}w",
            f"{workers} worker{'s' * (workers > 1)} on all processors",
            workers=workers,
            both_cpus=True,
            **variant,
        )
    for n in (10, 10000):
        rules = many(n) + "deny to bad-nets\ndeny to bad-hosts\n"
        told = f"{n} nets and {n} hosts in rules before the one that allows"
        yield Tabi(build, f"tabi-{n}", told, rules=rules, **variant)
