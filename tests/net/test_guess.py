# SPDX-License-Identifier: MIT
"""What a login costs, and a guess: who is remembered, who has to wait."""

import os
import re
import signal
import socket
import threading
import time

import pytest

from harness import socks, targets
from harness.config import PROXY, local
from harness.tabi import ROOT, run, wait_until

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

# Of "secret", by SHA-512 crypt.
CHEAP = (
    "$6$tabi.tabi.tabi.$kf6Hm9lO6X0nQWBV2Vt3Y4GHG5Zh1sLAN07C3VsufYqSahsaOPROua0pTRfgBr4J2gv5c6Pg"
    ".tTWc2qkpjdjw/"
)


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


# The guesser


def answer_from(source, user, password):
    """The same for a client at an address of 127/8."""
    with socket.socket() as sock:
        sock.settimeout(50)
        sock.bind((source, 0))
        sock.connect(PROXY)
        sock.sendall(socks.greeting(2) + socks.userpass(user, password))
        return socks.recv_exact(sock, 4)[3]


@pytest.mark.slow
@pytest.mark.case("N20")
def test_a_guesser_waits_for_himself(tabi, tmp_path):
    """200 wrong passwords for one user from one source: 20 at once, then 10 a second. At another
    source that user and others log in meanwhile, whether they are known or have to be hashed."""
    users = tmp_path / "users"
    names = ["alice"] + [f"user{i}" for i in range(1000)]
    users.write_text("".join(f"{name}:{CHEAP}\n" for name in names))
    users.chmod(0o600)
    program = tabi(local(f"auth password {users}"))
    refused = []

    def guess(n):
        for _ in range(n):
            refused.append(answer_from("127.0.0.1", "alice", "guess") != 0)

    begin = time.monotonic()
    guessers = [threading.Thread(target=guess, args=(10,)) for _ in range(20)]
    for one in guessers:
        one.start()
    longest, logins = 0, 0
    while any(one.is_alive() for one in guessers):
        for user in ("alice", f"user{logins // 2}"):
            at = time.monotonic()
            assert answer_from("127.0.0.2", user, "secret") == 0
            longest = max(longest, time.monotonic() - at)
            logins += 1
        time.sleep(0.05)
    took = time.monotonic() - begin
    assert len(refused) == 200 and all(refused)
    assert took > 17.5, f"200 wrong tries were answered within {took:.1f} s"
    assert logins > 100
    assert longest < 1, f"another client waited {longest:.3f} s"
    # The guesser's own right password is worth a place in his queue, and that is short now.
    assert answer_from("127.0.0.1", "user0", "secret") == 0
    assert program.log().count(" auth-failed ") == 200


def test_who_is_held_is_let_go_at_the_deadline(tabi, users):
    """And leaves room behind: more tries than would be answered in that time."""
    program = tabi(local(f"auth password {users}", "timeout handshake 1s"))
    held = [socks.dial(PROXY) for _ in range(100)]
    for sock in held:
        sock.sendall(socks.greeting(2) + socks.userpass("alice", "guess"))
    answers = [socks.recv_end(sock) for sock in held]
    assert all(how == "eof" and b"\x01\x00" not in got[2:] for got, how in answers)
    logged(program, 100)
    reasons = [session["reason"] for session in program.sessions()]
    assert reasons.count("bad-credentials") < 40
    assert reasons.count("handshake-timeout") > 60
    assert len(reasons) == 100
    wait_until(lambda: answer("alice", "secret") == 0, what="the queue to be empty")


def test_who_gives_up_takes_his_place_along(tabi, users):
    """A thousand who do not wait for their answers, and the next one who does."""
    program = serve(tabi, users)
    for _ in range(1000):
        with socks.dial(PROXY) as sock:
            sock.sendall(socks.greeting(2) + socks.userpass("bob", "guess"))
            assert socks.recv_exact(sock, 2) == b"\x05\x02"
            socks.reset(sock)
    logged(program, 1000)
    assert hashes(program, "bob") < 200
    assert answer_from("127.0.0.2", "alice", "secret") == 0
    assert answer("alice", "secret") == 0


# What others read of it


def filter_of_the_manual():
    """The regular expression for fail2ban, as the reader sees it."""
    with open(os.path.join(ROOT, "man", "tabi-serve.8")) as f:
        line = re.search(r"^failregex = (.*)$", f.read(), re.M).group(1)
    return line.replace("\\e", "\\")


def banned(regex, line):
    """Whom fail2ban would count: it takes the time out of the line, and has an address for <ADDR>."""
    regex = regex.replace("<ADDR>", "(?P<addr>[0-9.]+|[0-9a-f:]+)")
    found = re.search(regex, re.sub(r"^\S+Z", "", line, count=1))
    return found and found.group("addr")


@pytest.mark.parametrize("proxy, host", (("127.0.0.1", "127.0.0.1"), ("::1", "::1")))
def test_fail2ban_finds_who_failed_and_nobody_else(tabi, users, proxy, host):
    regex = filter_of_the_manual()
    program = serve(tabi, users)
    forged = "x auth-failed from=192.0.2.1:1 user=y\n2026-01-01T00:00:00.000Z warn auth-failed from=192.0.2.1:1 "
    for user in ("alice", "nobody", forged):
        with socks.dial((proxy, 1080)) as sock:
            sock.sendall(socks.greeting(2) + socks.userpass(user, "guess"))
            assert socks.recv_exact(sock, 4)[3] != 0
    with socks.dial((proxy, 1080)) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000, forged.encode()))
        socks.recv_end(sock)
    assert answer("bob", "secret") == 0
    logged(program, 5)
    found = [banned(regex, line) for line in program.lines]
    assert [f for f in found if f] == [host] * 3
