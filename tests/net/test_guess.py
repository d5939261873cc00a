# SPDX-License-Identifier: MIT
"""What a login costs: who is remembered."""

import re
import signal

import pytest

from harness import socks, targets
from harness.config import PROXY, local
from harness.tabi import run, wait_until


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    for user in ("alice", "bob"):
        done = run("passwd", str(path), user, input="secret\n")
        assert done.returncode == 0, done.stderr
    return path


def serve(tabi, users, *lines):
    return tabi(local("log level debug", f"auth password {users}", *lines))


def answer(user, password):
    """The status that the password is answered with."""
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(2) + socks.userpass(user, password))
        return socks.recv_exact(sock, 4)[3]


def hashes(program, user):
    """How often the thread pool was asked about somebody. Each has a line before its answer."""
    return len(re.findall(f"password-hash .*user={user}$", program.log(), re.M))


def logged(program, n):
    """Waits for the end of the n-th session; its hash is logged before."""
    wait_until(lambda: len(program.sessions()) >= n, what=f"{n} sessions")


def test_who_was_right_is_known_again(tabi, users):
    program = serve(tabi, users)
    for n in range(1, 21):
        assert answer("alice", "secret") == 0
        logged(program, n)
    assert hashes(program, "alice") == 1


def test_fifty_connections_of_a_browser_cost_a_few_hashes(tabi, target, users):
    """As many as run at once, which nobody could know the answer to yet."""
    target(targets.echo)
    program = serve(tabi, users)
    socks_ = [socks.dial(PROXY) for _ in range(50)]
    for sock in socks_:
        sock.sendall(socks.greeting(2) + socks.userpass("alice", "secret"))
    for sock in socks_:
        assert socks.recv_exact(sock, 4) == b"\x05\x02\x01\x00"
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
        sock.close()
    logged(program, 50)
    assert 1 <= hashes(program, "alice") <= 2


def test_a_wrong_password_is_never_known(tabi, users):
    program = serve(tabi, users)
    tries = ("secret", "wrong", "secre", "secret", "wrong", "secrets", "", "secret")
    for n, password in enumerate(tries, 1):
        assert (answer("alice", password) == 0) == (password == "secret")
        logged(program, n)
    assert answer("bob", "secret") == 0
    logged(program, len(tries) + 1)
    assert hashes(program, "alice") == 1 + sum(t != "secret" for t in tries)
    assert hashes(program, "bob") == 1


def test_http_shares_it(tabi, target, users):
    target(targets.echo)
    program = serve(tabi, users)
    for n in range(1, 4):
        with socks.open_http(PROXY, "127.0.0.1:7000", socks.basic("alice", "secret")) as sock:
            targets.ping(sock)
        logged(program, n)
    assert answer("alice", "secret") == 0
    logged(program, 4)
    assert hashes(program, "alice") == 1


def test_a_reload_forgets(tabi, users):
    """Who was removed is out with the first connection after it, who stays pays for one hash."""
    program = serve(tabi, users)
    for n, user in enumerate(("alice", "bob", "alice", "bob"), 1):
        assert answer(user, "secret") == 0
        logged(program, n)
    lines = users.read_text().splitlines(keepends=True)
    users.write_text("".join(line for line in lines if not line.startswith("alice:")))
    program.signal(signal.SIGHUP)
    program.wait_text("the configuration was reloaded")
    assert answer("alice", "secret") != 0
    assert answer("bob", "secret") == 0
    assert answer("bob", "secret") == 0
    logged(program, 7)
    assert hashes(program, "alice") == 2
    assert hashes(program, "bob") == 2
