# SPDX-License-Identifier: MIT
"""libtabi and names whose server is slow or dead, and proxies with several addresses."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from harness import netns, targets
from harness.config import ALLOW_ALL
from harness.library import VALGRIND
from harness.tabi import wait_until

HOST, PORT = "127.0.0.1", 7000
PROXY_NAME, TARGET_NAME = "proxy.test", "target.test"
# The proxy's own name, and the one that it is asked for: both are looked up here.
WAYS = (
    (PROXY_NAME, f"socks5h://{PROXY_NAME}:1080", HOST),
    (TARGET_NAME, f"socks5://{HOST}:1080", TARGET_NAME),
)


def server(*addresses):
    listens = "".join(f"listen {address}\n" for address in addresses or (f"{HOST}:1080",))
    return f"workers 1\n{listens}resolver 127.0.0.1:5353\n{ALLOW_ALL}"


@pytest.fixture
def resolver(tmp_path):
    """For a process about to be started: its names are asked for at 127.0.0.1, port 53, with more
    patience than any test has."""
    resolv, nsswitch = tmp_path / "resolv.conf", tmp_path / "nsswitch.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    nsswitch.write_text("hosts: files dns\n")

    def enter():
        netns.mount_over(str(resolv), "/etc/resolv.conf")
        if os.path.exists("/etc/nsswitch.conf"):
            netns.mount_over(str(nsswitch), "/etc/nsswitch.conf")

    return enter


@pytest.fixture
def hosts(tmp_path):
    """hosts(ADDRESS...): for a process about to be started, the addresses of two.test."""

    def make(*addresses):
        path = tmp_path / "hosts"
        path.write_text("".join(f"{a} two.test\n" for a in addresses))
        return lambda: netns.mount_over(str(path), "/etc/hosts")

    return make


def start(libtabi, program, *args, preexec=None, env=None):
    return subprocess.Popen(
        [libtabi.build(f"tests/lib/{program}.c"), *map(str, args)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=preexec, env={**os.environ, "LD_LIBRARY_PATH": libtabi.lib, **(env or {})},
    )  # fmt: skip


@pytest.mark.parametrize("name, proxy, host", WAYS)
def test_a_slow_resolver_holds_nothing_up(libtabi, tabi, target, dns_server, resolver, name, proxy, host):
    """The loop goes on with its own work until there is an answer, and then the dial does."""
    target(targets.echo)
    tabi(server())
    names = dns_server({name: [HOST]}, 53)
    names.hold(name)
    with start(libtabi, "ticks", 30000, 0, proxy, host, PORT, preexec=resolver) as p:
        names.wait_asked(name)
        # All of these come while nobody has answered.
        for _ in range(5):
            assert p.stdout.readline() == b"tick\n"
        names.release(name)
        rest = p.stdout.read()
        assert rest.endswith(b"through\n"), (rest, p.stderr.read())
        assert p.wait(10) == 0


@pytest.mark.parametrize("name, proxy, host", WAYS)
def test_a_dead_resolver_ends_with_the_deadline(libtabi, tabi, resolver, name, proxy, host):
    """Without blocking, and in the calls that do block. Neither the dial's end nor the program's waits
    for the look-up, which goes on for minutes."""
    tabi(server())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((HOST, 53))
        program = libtabi.build("tests/lib/ticks.c")
        done = libtabi.run(program, 3000, 0, proxy, host, PORT, preexec=resolver)
        assert done.returncode == 1 and b"a call took" not in done.stdout, done
        assert done.stdout.count(b"tick") >= 10
        assert b"no answer in time" in done.stderr, done
        assert silent.recv(512)
        program = libtabi.build("tests/lib/streams.c")
        args = (program, "bare", 0, 0, "", proxy, host, PORT)
        done = libtabi.run(*args, preexec=resolver, env={"TIMEOUT": "700"})
        assert done.returncode == 1 and b"no answer in time" in done.stderr, done


def test_a_child_looks_up_for_itself(libtabi, tabi, target, dns_server, resolver):
    """fork() in the middle of a look-up: the thread is the parent's alone."""
    target(targets.echo)
    tabi(server())
    names = dns_server({PROXY_NAME: [HOST]}, 53)
    names.hold(PROXY_NAME)
    proxy = f"socks5h://{PROXY_NAME}:1080"
    with start(
        libtabi, "ticks", 30000, 0, proxy, HOST, PORT, preexec=resolver, env={"FORK": "1"}
    ) as p:
        # Each asks for both types of address.
        wait_until(lambda: names.count(PROXY_NAME, "A") >= 2, what="the child to ask")
        clients = names.release(PROXY_NAME)
        rest = p.stdout.read()
        assert rest.endswith(b"through\n"), (rest[-99:], p.stderr.read())
        assert p.wait(10) == 0
    # With one for both, who reads first has the other's answer too.
    assert len(clients) == 2, "the child asked through its parent's socket"


def test_a_name_that_is_none(libtabi, dns_server, resolver):
    """What the system says of it is told."""
    dns_server({}, 53)
    program = libtabi.build("tests/lib/streams.c")
    for how in ("bare", "poll"):
        done = libtabi.run(
            program, how, 0, 0, "", f"socks5h://{PROXY_NAME}:1080", HOST, PORT, preexec=resolver
        )
        assert done.stderr == (
            b"proxy 1 (socks5h://proxy.test:1080), connecting to it: name has no address:"
            b" Name or service not known\n"
        ), done


# ---- several addresses ----

# Where another thread calls meanwhile a call is told when it begins, and again when it is over.
CALL = re.compile(r"(?:\[pid +\d+\] )?(\w+)\((\d+)(?:, (.*))?(?:\)\s+= -?\d| <unfinished \.\.\.>)")


def calls_of(libtabi, tmp_path, how, hosts, proxy):
    """The calls that connect and close, as (call, descriptor, what), and how it ended."""
    assert shutil.which("strace"), "strace is not installed"
    log = tmp_path / "strace"
    done = libtabi.run(
        libtabi.build("tests/lib/streams.c"), how, 0, 0, "", proxy, HOST, PORT,
        data=b"question", preexec=hosts,
        before=("strace", "-f", "-qq", "-e", "trace=connect,close", "-o", str(log)),
    )  # fmt: skip
    calls = []
    for line in log.read_text().splitlines():
        match = CALL.search(line)
        if match:
            name, fd, rest = match.groups()
            port = re.search(r"port=htons\((\d+)\)", rest or "")
            if name == "close" or (port and port[1] == "1080"):
                family = "6" if "AF_INET6" in (rest or "") else "4"
                calls.append((name, int(fd), family if name == "connect" else ""))
    return done, calls


@pytest.mark.parametrize("how", ("bare", "poll"))
def test_the_first_address_is_silent(libtabi, tabi, target, hosts, tmp_path, how):
    """Another one is tried while the first goes on, and is given up when the other has answered."""
    target(targets.echo)
    tabi(server())
    held = targets.blackhole("::1", 1080)
    done, calls = calls_of(
        libtabi, tmp_path, how, hosts("::1", HOST), "socks5h://two.test:1080"
    )
    assert (done.returncode, done.stdout) == (0, b"question"), done
    connects = [c for c in calls if c[0] == "connect"]
    assert [family for _, _, family in connects] == ["6", "4"]
    first, second = connects[0][1], connects[1][1]
    assert first != second
    begun = calls.index(connects[1])
    # It was not given up before the second was begun, and nobody waited for its end.
    assert ("close", first, "") not in calls[calls.index(connects[0]) : begun]
    assert ("close", first, "") in calls[begun:]
    assert calls.index(("close", first, ""), begun) < calls.index(("close", second, ""), begun)
    del held


@pytest.mark.parametrize("how", ("bare", "poll"))
def test_the_first_address_refuses(libtabi, tabi, target, hosts, tmp_path, how):
    target(targets.echo)
    tabi(server())
    done, calls = calls_of(
        libtabi, tmp_path, how, hosts("::1", HOST), "socks5h://two.test:1080"
    )
    assert (done.returncode, done.stdout) == (0, b"question"), done
    assert [family for name, _, family in calls if name == "connect"] == ["6", "4"]


@pytest.mark.parametrize("how", ("bare", "poll"))
def test_no_address_answers(libtabi, hosts, how):
    """The error is the one that says most: somebody has answered."""
    held = targets.blackhole("::1", 1080)
    done = libtabi.run(
        libtabi.build("tests/lib/streams.c"), how, 0, 0, "", "socks5h://two.test:1080", HOST, PORT,
        preexec=hosts("::1", HOST), env={"TIMEOUT": "1000"},
    )  # fmt: skip
    assert done.returncode == 1 and b"connecting to it: no answer in time" in done.stderr, done
    del held
    done = libtabi.run(
        libtabi.build("tests/lib/streams.c"), how, 0, 0, "", "socks5h://two.test:1081", HOST, PORT,
        preexec=hosts("::1", HOST),
    )  # fmt: skip
    assert b"connecting to it: cannot be reached: connection refused" in done.stderr, done


def test_valgrind(libtabi, tabi, target, hosts):
    """A look-up on its thread, a race and its loser: nothing is left."""
    target(targets.echo)
    tabi(server())
    held = targets.blackhole("::1", 1080)
    assert shutil.which("valgrind"), "valgrind is not installed"
    done = libtabi.run(
        libtabi.build("tests/lib/streams.c"), "poll", 0, 0, "", "socks5h://two.test:1080", HOST, PORT,
        data=b"question", preexec=hosts("::1", HOST),
        before=VALGRIND,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"question", b""), done
    del held
