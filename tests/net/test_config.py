# SPDX-License-Identifier: MIT
"""Starting and reloading: what is listened on, what is refused, what changes and what stays."""

import os
import signal
import socket
import stat

import pytest

from harness import dns, netns, socks, targets
from harness.config import ALLOW_ALL, HEAD, LOCAL, PROXY, local
from harness.tabi import check_memory, run, wait_until


def refused(tabi, config=None, args=()):
    """Starts what must not start; returns what it said."""
    program = tabi(config, args, wait=False)
    assert program.wait_exit() in (1, 2)
    program.stopped = True
    return program.log()


def listens(host, port=1080):
    try:
        socks.dial((host, port)).close()
        return True
    except OSError:
        return False


def test_default_listens_on_loopback_only(tabi, target):
    netns.add_address("203.0.113.5")
    netns.add_address("2001:db8::7")
    target(targets.echo)
    tabi()
    for host in ("127.0.0.1", "::1"):
        with socks.open5((host, 1080), "127.0.0.1", 7000) as sock:
            targets.ping(sock)
    assert not listens("203.0.113.5")
    assert not listens("2001:db8::7")


def test_listen_option_replaces_the_default(tabi, target):
    target(targets.echo)
    tabi(args=["--listen", "127.0.0.1:2080", "--listen", "127.0.0.1:2081"])
    for port in (2080, 2081):
        with socks.open5(("127.0.0.1", port), "127.0.0.1", 7000) as sock:
            targets.ping(sock)
    assert not listens("127.0.0.1", 1080)


@pytest.mark.parametrize("listen", ("0.0.0.0:1080", "*:1080", "[::]:1080", "203.0.113.5:1080"))
@pytest.mark.parametrize("rules", ("allow all", "allow from any to any", "allow to any port 443"))
def test_open_proxy_is_refused(tabi, listen, rules):
    netns.add_address("203.0.113.5")
    said = refused(tabi, f"listen {listen}\n{rules}\n")
    assert "tabi.conf:" in said and "open" in said
    assert not listens("127.0.0.1")


def test_open_proxy_by_option_is_refused_or_safe(tabi):
    """`--listen` keeps the rule of the default, which lets in loopback alone."""
    netns.add_address("203.0.113.5")
    program = tabi(args=["--listen", "203.0.113.5:1080"], wait=False)
    status = None
    try:
        program.wait_ready()
    except AssertionError:
        status = program.wait_exit()
        program.stopped = True
    assert status in (None, 1, 2)


@pytest.mark.parametrize(
    "config",
    (
        "listen 203.0.113.5:1080 open\nallow all\n",
        "listen 203.0.113.5:1080\nallow from loopback to any\n",
        "listen 203.0.113.5:1080\nauth password users\nallow all\n",
    ),
    ids=("said", "loopback", "password"),
)
def test_not_open_or_said_to_be(tabi, tmp_path, config):
    netns.add_address("203.0.113.5")
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    tabi(config.replace("users", str(tmp_path / "users")))
    assert listens("203.0.113.5")


@pytest.mark.parametrize(
    "config, said",
    (
        ("listen 127.0.0.1:1080\nallow all via edge\n", "tabi.conf:2:"),
        ("listen 127.0.0.1:1080\nbogus\n", "tabi.conf:2:1"),
        ("allow all\n", "listen"),
        ("listen 127.0.0.1:1080\nallow all rate 20mbit\n", "not in this version"),
        ("listen 127.0.0.1:1080 tls cert.pem key.pem\nallow all\n", "cert.pem: does not exist"),
    ),
)
def test_bad_configuration_is_refused(tabi, config, said):
    assert said in refused(tabi, config)
    assert not listens("127.0.0.1")


def test_all_mistakes_are_shown_at_once(tabi):
    said = refused(tabi, "listen 127.0.0.1:1080\nbogus\nallow to\nwrong\n")
    for line in (2, 3, 4):
        assert f"tabi.conf:{line}:" in said


def test_address_in_use_is_refused(tabi):
    with socket.create_server(("127.0.0.1", 1080)):
        said = refused(tabi, LOCAL)
    assert "127.0.0.1:1080" in said and "in use" in said


def test_a_second_tabi_does_not_share_the_port(tabi):
    """SO_REUSEPORT would let it."""
    tabi(LOCAL)
    assert "in use" in refused(tabi, LOCAL)


def test_missing_file(tabi):
    said = refused(tabi, args=["-c", "nosuch.conf"])
    assert "nosuch.conf" in said and "No such file" in said


def test_bad_option(tabi):
    assert "--nosuch" in refused(tabi, args=["--nosuch"])


@pytest.mark.parametrize(
    "address, said",
    (
        ("127.0.0.1:7000", "Address already in use; another program listens there"),
        ("203.0.113.7:1080", "this host has no such address"),
        ("/nosuchfolder/s", "its folder does not exist"),
    ),
)
def test_what_to_do_about_an_address(tabi, target, address, said):
    target()
    text = refused(tabi, f"listen {address}\n{ALLOW_ALL}")
    assert f"tabi.conf:1: cannot listen on {address}: " in text and said in text


# Unix sockets


def unix_config(path, *words):
    return f"workers 2\nlisten {path} {' '.join(words)}\n{ALLOW_ALL}"


def test_unix_socket(tabi, target, tmp_path):
    target(targets.echo)
    path = tmp_path / "s"
    program = tabi(unix_config(path))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with socks.open5(path, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    with socks.open4(path, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    assert program.wait_session()["from"] == "unix"
    program.stop()
    assert not path.exists(), "the file goes with the server"


def test_stale_unix_socket_is_replaced(tabi, target, tmp_path):
    target(targets.echo)
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    tabi(unix_config(path))
    with socks.open5(path, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def test_unix_socket_in_use_is_refused(tabi, tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(os.fspath(path))
        alive.listen()
        said = refused(tabi, unix_config(path))
        assert os.fspath(path) in said
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(os.fspath(path))


def test_other_file_in_the_way_is_left_alone(tabi, tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    assert os.fspath(path) in refused(tabi, unix_config(path))
    assert path.read_text() == "precious"


def test_socket_of_another_type_is_left_alone(tabi, tmp_path):
    """/dev/log, say: to connect to it fails, and somebody reads it all the same."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as alive:
        alive.bind(os.fspath(path))
        assert os.fspath(path) in refused(tabi, unix_config(path))
        assert path.exists()


# SIGHUP


def reload(program, config, wait=True):
    program.write_config(config)
    n = sum("ready" in line or "reload" in line for line in program.lines)
    program.signal(signal.SIGHUP)
    if wait:
        wait_until(
            lambda: sum("ready" in line or "reload" in line for line in program.lines) > n,
            what="the log to tell of the reload",
        )


def test_reload_applies_to_new_connections(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    workers = program.workers()
    with socks.open5(PROXY, "127.0.0.1", 7000) as old:
        assert socks.ask5(PROXY, "127.0.0.1", 7001) == 5
        reload(program, local("deny port 7001"))
        assert socks.ask5(PROXY, "127.0.0.1", 7001) == 2
        targets.ping(old)
        reload(program, LOCAL)
        assert socks.ask5(PROXY, "127.0.0.1", 7001) == 5
        targets.ping(old)
    assert program.workers() == workers


def test_reload_is_told_when_it_is_in_force(tabi, target):
    """Not while a worker still serves the old one."""
    target(targets.echo)
    program = tabi(LOCAL)
    (worker,) = program.workers()
    os.kill(worker, signal.SIGSTOP)
    program.write_config(local("listen 127.0.0.1:2080", "deny port 7001"))
    program.signal(signal.SIGHUP)
    # The supervisor has opened it, and the worker sleeps.
    wait_until(lambda: listens("127.0.0.1", 2080), what="the new listener")
    assert "reloaded" not in program.log()
    os.kill(worker, signal.SIGCONT)
    program.wait_text("reloaded")
    assert socks.ask5(PROXY, "127.0.0.1", 7001) == 2


@pytest.mark.parametrize(
    "before, after",
    (("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "*"), ("*", "[::1]")),
)
def test_reload_changes_the_address_of_a_port(tabi, target, before, after):
    """The old sockets are still there while the new ones are opened."""
    target(targets.echo)
    program = tabi(f"workers 2\nlisten {before}:1080\n{ALLOW_ALL}")
    reload(program, f"workers 2\nlisten {after}:1080\n{ALLOW_ALL}")
    program.wait_text("was reloaded")
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        wanted = after in ("*", host, f"[{host}]") or (after == "0.0.0.0" and ":" not in host)
        wait_until(lambda: listens(host) == wanted, what=f"{host}: {wanted}")


def test_reload_changes_the_mode_of_a_unix_socket(tabi, target, tmp_path):
    target(targets.echo)
    path = tmp_path / "s"
    program = tabi(unix_config(path))
    reload(program, unix_config(path, "mode 0666"))
    program.wait_text("was reloaded")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    with socks.open5(path, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def test_broken_configuration_is_reported_and_the_old_one_stays(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    program.write_config(LOCAL + "bogus\n")
    program.signal(signal.SIGHUP)
    program.wait_text("tabi.conf:6:1")
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    os.unlink(program.config_path)
    program.signal(signal.SIGHUP)
    program.wait_text("No such file")
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def test_open_proxy_by_reload_is_refused(tabi, target):
    target(targets.echo)
    netns.add_address("203.0.113.5")
    program = tabi(LOCAL)
    program.write_config("listen 203.0.113.5:1080\nallow all\n")
    program.signal(signal.SIGHUP)
    program.wait_for_log(lambda r: "tabi.conf:" in r.line)
    assert not listens("203.0.113.5")
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def test_listeners_come_and_go(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    with socks.open5(PROXY, "127.0.0.1", 7000) as old:
        reload(program, "workers 1\nlisten 127.0.0.1:2080\nlisten [::1]:1080\n" + ALLOW_ALL)
        with socks.open5(("127.0.0.1", 2080), "127.0.0.1", 7000) as sock:
            targets.ping(sock)
        with socks.open5(("::1", 1080), "127.0.0.1", 7000) as sock:
            targets.ping(sock)
        wait_until(lambda: not listens("127.0.0.1"), what="the old listener to close")
        targets.ping(old)
    reload(program, LOCAL)
    assert listens("127.0.0.1")


def test_listener_that_cannot_be_opened_leaves_the_old_ones(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    with socket.create_server(("127.0.0.1", 2080)):
        program.write_config(HEAD + "listen 127.0.0.1:2080\n" + ALLOW_ALL)
        program.signal(signal.SIGHUP)
        program.wait_text("127.0.0.1:2080")
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def test_passwords_are_read_again(tabi, target, tmp_path):
    target(targets.echo)
    users = tmp_path / "users"
    run("passwd", str(users), "alice", input="old\n")
    config = local(f"auth password {users}")
    program = tabi(config)
    with socks.open5(PROXY, "127.0.0.1", 7000, "alice", "old") as sock:
        targets.ping(sock)
    run("passwd", str(users), "alice", input="new\n")
    reload(program, config)
    with socks.open5(PROXY, "127.0.0.1", 7000, "alice", "new") as sock:
        targets.ping(sock)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(2) + socks.userpass("alice", "old"))
        assert socks.recv_end(sock)[0] == b"\x05\x02\x01\x01"


def test_log_file_is_reopened(tabi, target, tmp_path):
    """What logrotate does: rename, then SIGHUP."""
    target(targets.echo)
    log = tmp_path / "tabi.log"
    program = tabi(local(f"log file {log}"), wait=False)
    wait_until(lambda: log.exists() and "ready" in log.read_text(), what="ready in the log file")
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    wait_until(lambda: " session " in log.read_text(), what="the session's line")
    rotated = tmp_path / "tabi.log.1"
    log.rename(rotated)
    program.signal(signal.SIGHUP)
    wait_until(log.exists, what="the new log file")

    def serves_into_the_new_file():
        with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
            targets.ping(sock)
        return " session " in log.read_text()

    wait_until(serves_into_the_new_file, what="a session's line in the new file")
    old = rotated.read_text()
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    assert rotated.read_text() == old
    assert stat.S_IMODE(log.stat().st_mode) & 0o007 == 0, "nobody else's business"


def test_many_reloads_leave_nothing_behind(tabi, target):
    target(targets.echo)
    program = tabi(LOCAL)
    descriptors = program.descriptors()
    for _ in range(5):
        reload(program, LOCAL)
    workers = program.workers()
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    program.wait_session(1)
    program.wait_descriptors(descriptors)
    supervisor = len(os.listdir(f"/proc/{program.pid}/fd"))
    memory = program.memory()
    for n in range(50):
        reload(program, local(f"deny port {n + 1}"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    program.wait_session(2)
    assert program.workers() == workers
    program.wait_descriptors(descriptors)
    assert len(os.listdir(f"/proc/{program.pid}/fd")) == supervisor
    check_memory(program.memory() - memory, 1 << 20)


def test_other_name_servers_while_somebody_waits(tabi, target, dns_server):
    """The look-up under way ends in an answer or a refusal; the next asks the new server."""
    stub = dns_server({"slow.test": dns.DROP, "echo.test": ["127.0.0.1"]})
    target(targets.echo)
    program = tabi(local("timeout connect 1s").replace("5353", "5354"))
    (worker,) = program.workers()
    with socks.dial(PROXY) as waiting:
        waiting.sendall(socks.greeting(0) + socks.request5("slow.test", 80))
        assert socks.recv_exact(waiting, 2) == b"\x05\x00"
        reload(program, local("timeout connect 1s"))
        with socks.open5(PROXY, "echo.test", 7000) as sock:
            targets.ping(sock)
        assert stub.count("echo.test")
    program.wait_session(to="slow.test:80")
    assert program.workers() == [worker]
