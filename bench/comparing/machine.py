# SPDX-License-Identifier: MIT
"""The machine: which processors are whose, what it is, and what others take of it."""

import hashlib
import os
import platform
import re
import struct
import subprocess
import time
from pathlib import Path


def _siblings(cpu):
    """The processors that share a core with `cpu`."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    found = set()
    try:
        for part in path.read_text().strip().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        pass
    return found | {cpu}


def parse_cpus(text):
    cpus = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


class Cpus:
    """The proxy alone on the last processor; client and server on those of other cores."""

    def __init__(self, proxy=None, load=None):
        here = os.sched_getaffinity(0)
        self.proxy = parse_cpus(proxy) if proxy else {max(here)}
        self.load = parse_cpus(load) if load else here - self.proxy
        if not load:
            apart = self.load - set().union(*(_siblings(cpu) for cpu in self.proxy))
            self.load = apart or self.load or here
        self.both = self.proxy | self.load
        self.shared = bool(self.proxy & self.load)

    def told(self):
        def of(cpus):
            return ",".join(str(cpu) for cpu in sorted(cpus))

        return {"proxy": of(self.proxy), "load": of(self.load)}


class Awake:
    """Keeps idle processors from sleep that takes long to end, while it lasts: as long as a message
    otherwise, and nothing that a proxy could change."""

    HALT_POLL = Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns")
    HALT_POLL_NS = 200_000
    DMA_LATENCY = "/dev/cpu_dma_latency"
    EXIT_US = 10

    def __init__(self):
        self.told = []
        self._device, self._was = None, None

    def __enter__(self):
        try:
            # A request that lasts as long as the descriptor.
            self._device = os.open(self.DMA_LATENCY, os.O_WRONLY)
            os.write(self._device, struct.pack("i", self.EXIT_US))
            self.told.append(f"sleep only in states that end within {self.EXIT_US} us")
        except OSError:
            pass
        try:
            was = self.HALT_POLL.read_text()
            if int(was) < self.HALT_POLL_NS:
                self.HALT_POLL.write_text(str(self.HALT_POLL_NS))
                self._was = was
            self.told.append(f"poll {self.HALT_POLL_NS // 1000} us before they leave it to the hypervisor")
        except (OSError, ValueError):
            pass
        return self

    def __exit__(self, *_):
        if self._device is not None:
            os.close(self._device)
        if self._was is not None:
            self.HALT_POLL.write_text(self._was)


class Steal:
    """The share of time that the hypervisor kept from this machine, in hundredths."""

    def __init__(self):
        self.before = self._read()

    @staticmethod
    def _read():
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
        return fields[7], sum(fields)

    def percent(self):
        now = self._read()
        whole = now[1] - self.before[1]
        return 100 * (now[0] - self.before[0]) / whole if whole > 0 else 0.0


class Others:
    """How much of the proxy's processors somebody else took: what was neither idle nor the proxy's.

    Interrupts and the ways into and out of idleness are in it too, so a tenth is nothing unusual.
    """

    def __init__(self, cpus, pids):
        self.cpus, self.pids = cpus, pids
        self.at, self.unused, self.used = time.monotonic(), self._unused(), self._used()

    def _unused(self):
        """Seconds of idleness, waiting for devices, and what the hypervisor took."""
        ticks = 0
        with open("/proc/stat", encoding="ascii") as stat:
            for line in stat:
                name, *fields = line.split()
                if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in self.cpus:
                    ticks += sum(int(fields[i]) for i in (3, 4, 7))
        return ticks / os.sysconf("SC_CLK_TCK")

    def _used(self):
        return {pid: _clock_of(pid) for pid in self.pids}

    def percent(self, pids):
        """`pids` are the proxy's now."""
        took = (time.monotonic() - self.at) * len(self.cpus)
        used = sum(_clock_of(pid) - self.used.get(pid, 0) for pid in pids)
        return max(0.0, 100 * (took - (self._unused() - self.unused) - used) / took)


def _clock_of(pid):
    """Of all its threads; the clock's number is what clock_getcpuclockid(3) makes of the process."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _model():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _os_name():
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M)
    return found.group(1) if found else "Linux"


def git(top, *args):
    done = subprocess.run(
        ("git", "-C", str(top), *args), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def describe(top, binary):
    """What a reader has to know of where the figures are from."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": _model(),
        "cpus": os.cpu_count(),
        "memory_gb": round(memory / (1 << 30), 1),
        "kernel": platform.release(),
        "congestion": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "os": _os_name(),
        "root": os.geteuid() == 0,
        "commit": git(top, "rev-parse", "--short=12", "HEAD"),
        "changed": bool(git(top, "status", "--porcelain", "--untracked-files=no", "--", "src", "bench")),
        "binary": hashlib.sha256(Path(binary).read_bytes()).hexdigest()[:12],
    }
