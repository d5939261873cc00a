# SPDX-License-Identifier: MIT
"""System calls that fail: what the program does then, and that it goes on when they no longer do."""

import errno
import os
import resource
import signal
import socket
import time

import pytest

from harness import socks, targets
from harness.config import LOCAL, PROXY, local
from harness.tabi import BINARY, wait_until

SHIM = os.path.join(os.path.dirname(BINARY), "tests", "fault", "fault.so")


def fault(call, number, first, last):
    """Arguments of tabi(): `call` fails so from its first-th to its last-th time."""
    # A sanitizer's run time wants to be loaded first, and says so.
    return {
        "env": {
            "LD_PRELOAD": SHIM,
            "TABI_FAULT": f"{call}:{number}:{first}:{last}",
            "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", ""),
        }
    }


def serves():
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("error", ("EACCES", "EPERM", "ENOMEM", "EMFILE", "EINVAL"))
def test_accept_that_fails_is_tried_later_not_at_once(tabi, target, error):
    """The connection waits on, so polling reports it again and again: a security module that
    forbids accept() must not cost a processor."""
    target(targets.echo)
    program = tabi(LOCAL, **fault("accept4", getattr(errno, error), 1, 6))
    (worker,) = program.workers()
    begin, used = time.monotonic(), cpu_seconds(worker)
    serves()
    assert time.monotonic() - begin > 0.4, "it is not tried again at once"
    assert cpu_seconds(worker) - used < 0.3
    program.wait_text("cannot accept: " + os.strerror(getattr(errno, error)))


@pytest.mark.parametrize("error", ("ECONNABORTED", "EPROTO", "ENETDOWN", "EHOSTUNREACH"))
def test_accept_of_a_lost_connection_costs_nobody_else(tabi, target, error):
    target(targets.echo)
    program = tabi(LOCAL, **fault("accept4", getattr(errno, error), 1, 3))
    begin = time.monotonic()
    serves()
    assert time.monotonic() - begin < 0.4
    assert "cannot accept" not in program.log()


@pytest.mark.parametrize("nth", (4, 5))
def test_descriptor_that_cannot_be_watched_is_tried_again(tabi, target, nth):
    """/proc/sys/fs/epoll/max_user_watches, say. These two are the listeners of a worker
    at its start: neither may stay deaf."""
    target(targets.echo)
    program = tabi(LOCAL, **fault("epoll_ctl", errno.ENOSPC, nth, nth), wait=False)
    program.expect_lost_workers = True
    program.wait_ready()
    for proxy in (PROXY, ("::1", 1080)):
        with socks.open5(proxy, "127.0.0.1", 7000) as sock:
            targets.ping(sock)


@pytest.mark.parametrize(
    "call, error",
    (("memfd_create", errno.EMFILE), ("sendmsg", errno.ENOBUFS), ("fork", errno.EAGAIN)),
)
def test_worker_gets_its_configuration_in_the_end(tabi, target, call, error):
    target(targets.echo)
    program = tabi(LOCAL, **fault(call, error, 1, 3))
    serves()
    said = "cannot start" if call == "fork" else "cannot configure"
    program.wait_text(f"{said} worker 0: {os.strerror(error)}")


def test_start_of_a_worker_that_fails_is_not_tried_at_once(tabi, target):
    target(targets.echo)
    begin = time.monotonic()
    program = tabi(LOCAL, **fault("fork", errno.EAGAIN, 1, 4))
    assert time.monotonic() - begin > 0.65, "it waits 0, 100, 200 and 400 ms"
    assert program.log().count("cannot start worker 0") == 4
    serves()


def test_reload_reaches_a_worker_when_it_can(tabi, target):
    """One that did not get the new rules must not go on under the old ones for ever."""
    target(targets.echo)
    program = tabi(LOCAL, **fault("memfd_create", errno.ENOMEM, 2, 4))
    serves()
    program.write_config(local("deny to loopback"))
    program.signal(signal.SIGHUP)
    program.wait_text("cannot configure worker 0")
    wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 7000) == 2, what="the new rules")


def many_listeners(first_port):
    return "".join(f"listen 127.0.0.1:{first_port + i}\n" for i in range(14))


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))


def test_worker_without_room_for_a_configuration_is_replaced(tabi, target):
    """The kernel drops the descriptors that do not fit: what came of them is not served by half."""
    target(targets.echo)
    rules = "workers 1\nallow from loopback to any\n"
    program = tabi(many_listeners(2000) + rules, preexec=few_descriptors)
    program.expect_lost_workers = True
    (worker,) = program.workers()
    program.write_config(many_listeners(3000) + rules)
    program.signal(signal.SIGHUP)
    program.wait_text("worker 0 cannot serve: " + os.strerror(errno.EMFILE))
    wait_until(lambda: program.workers() not in ([], [worker]), what="another worker")
    for port in (3000, 3013):
        with socks.open5(("127.0.0.1", port), "127.0.0.1", 7000) as sock:
            targets.ping(sock)


# The worker's first two calls of accept4() are for the client: one that has him, one that has nobody.
@pytest.mark.parametrize("error, code", (("EMFILE", 1), ("ENOMEM", 1), ("EACCES", 2), ("EINVAL", 1)))
def test_peer_who_cannot_be_accepted_ends_the_bind(tabi, error, code):
    program = tabi(LOCAL, **fault("accept4", getattr(errno, error), 3, 1000))
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 0, socks.BIND))
        first, host, port, _ = socks.recv_reply5(sock)
        assert first == 0
        with socket.create_connection((host, port)):
            assert socks.recv_end(sock) == (socks.failure5(code), "eof")
    assert program.wait_session(1, command="bind")["reason"] != "done"


@pytest.mark.parametrize("error", ("ECONNABORTED", "EPROTO"))
def test_peer_who_was_lost_costs_the_next_nothing(tabi, error):
    tabi(LOCAL, **fault("accept4", getattr(errno, error), 3, 5))
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 0, socks.BIND))
        first, host, port, _ = socks.recv_reply5(sock)
        assert first == 0
        with socket.create_connection((host, port)) as peer:
            assert socks.recv_reply5(sock)[1:3] == peer.getsockname()


@pytest.mark.parametrize("nth", range(6, 12))
def test_bind_that_cannot_be_watched_leaves_nobody_waiting(tabi, nth):
    """Whichever descriptor it is that the kernel has no room to watch: the client learns soon that
    nobody will come, or somebody can. Some of these calls are libuv's own, which aborts then."""
    program = tabi(LOCAL, **fault("epoll_ctl", errno.ENOSPC, nth, nth))
    program.expect_lost_workers = True
    sock = socks.dial(PROXY)
    sock.sendall(socks.request4("127.0.0.1", 7000, command=socks.BIND))
    data = b""
    try:
        data = socks.recv_exact(sock, 8)
        assert data[:2] in (b"\0\x5a", b"\0\x5b")
    except (EOFError, ConnectionResetError):
        pass
    if data[:2] == b"\0\x5a":
        where = (socket.inet_ntoa(data[4:]), int.from_bytes(data[2:4], "big"))
        try:
            socket.create_connection(where).close()
        except OSError:
            pass
        data, _ = socks.recv_end(sock)
        assert data[:2] in (b"", b"\0\x5a", b"\0\x5b")
    sock.close()
