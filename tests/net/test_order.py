# SPDX-License-Identifier: MIT
"""Messages in every order: no way past authentication.

Every sequence of up to five of these messages is sent to a server that asks for proof. A sequence
after which the server has ended is not made longer: it would not read on. Nor is one whose last two
messages got no answer: they are bytes of something that is not whole yet (in a header block of HTTP
any message is). None has the right proof, so none may be granted anything, or reach the target.
"""

import itertools
import re
import socket

import pytest

from harness import socks, targets
from harness.config import HEAD, PROXY
from harness.tabi import run, wait_until

LENGTH = 5
AT_ONCE = 200

WRONG = itertools.count()


def source(n):
    """Each try from a loopback address of its own: guessers are slowed by theirs."""
    return f"127.{1 + n // 62500 % 200}.{1 + n // 250 % 250}.{1 + n % 250}"


def guess(_):
    return socks.userpass(f"nobody{next(WRONG)}", "wrong")


def frame(kind, token):
    return lambda _: bytes([1, kind]) + len(token).to_bytes(2, "big") + token


CONNECT = socks.request5("127.0.0.1", 7000)

MESSAGES = {
    "offer-none": lambda _: socks.greeting(0),
    "offer-gssapi": lambda _: socks.greeting(1),
    "offer-password": lambda _: socks.greeting(2),
    "offer-tls": lambda _: socks.greeting(0x80, 0x82),
    "offer-all": lambda _: socks.greeting(*range(255)),
    "offer-nothing": lambda _: socks.greeting(),
    "password": guess,
    "password-empty": lambda _: socks.userpass("", ""),
    "connect": lambda _: CONNECT,
    "bind": lambda _: socks.request5("127.0.0.1", 7000, socks.BIND),
    "udp": lambda _: socks.request5("0.0.0.0", 0, socks.UDP),
    "resolve": lambda _: socks.request5("127.0.0.1", 0, 0xF0),
    "socks4": lambda _: socks.request4("127.0.0.1", 7000, b"alice"),
    "http": lambda _: socks.request_http("127.0.0.1:7000"),
    "http-password": lambda _: socks.request_http(
        "127.0.0.1:7000", socks.basic(f"nobody{next(WRONG)}", "wrong")
    ),
    "gssapi-token": frame(1, b"\x60" + bytes(40)),
    "gssapi-level": frame(2, b"\x00"),
    "gssapi-data": frame(3, CONNECT),
}

# What a grant looks like: of SOCKS5, 4 and HTTP.
GRANTED = re.compile(rb"\x05\x00\x00[\x01\x03\x04]|\x00\x5a|HTTP/1\.[01] 200", re.S)


def ask(sequence, n):
    """Sends it and the end of the stream. Returns the socket: who is waited for costs time."""
    sock = socket.socket()
    sock.settimeout(socks.TIMEOUT)
    sock.bind((source(n), 0))
    sock.connect(PROXY)
    port = sock.getsockname()[1]
    try:
        sock.sendall(b"".join(MESSAGES[name](n) for name in sequence))
        sock.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError, OSError):
        pass  # it ended before it had read all
    return sock, (sock.getsockname()[0] if port else "", port)


class Asker:
    def __init__(self, program):
        self.program = program
        self.n = 0
        self.answers = {(): 0}  # bytes that each sequence was answered with

    def round(self, sequences):
        """Those to make longer."""
        alive = []
        for at in range(0, len(sequences), AT_ONCE):
            batch = sequences[at : at + AT_ONCE]
            asked = {}
            for sequence in batch:
                sock, peer = ask(sequence, self.n)
                self.n += 1
                asked[f"{peer[0]}:{peer[1]}"] = (sequence, sock)
            for sequence, sock in asked.values():
                data, _ = socks.recv_end(sock)
                sock.close()
                assert not GRANTED.search(data), (sequence, data)
                self.answers[sequence] = len(data)
            alive += self.still_alive(asked)
        return alive

    def still_alive(self, asked):
        seen = {}

        def complete():
            for record in self.program.sessions()[-4 * AT_ONCE :]:
                if record["from"] in asked:
                    seen[record["from"]] = record["reason"]
            return len(seen) == len(asked)

        wait_until(complete, what="a line for each session")
        assert "ok" not in seen.values()
        waited = [asked[peer][0] for peer, reason in seen.items() if reason == "client-gone"]
        return [one for one in waited if len(one) < 2 or self.answers[one] > self.answers[one[:-2]]]


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    done = run("passwd", str(path), "alice", input="secret\n")
    assert done.returncode == 0, done.stderr
    return path


SERVERS = {
    "password": ["auth password {users}"],
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", SERVERS)
def test_no_order_of_messages_gets_past(tabi, target, users, server):
    goal = target(targets.echo)
    lines = [line.format(users=users) for line in SERVERS[server]]
    program = tabi(HEAD + "\n".join(lines) + "\nallow from loopback to any\n")
    asker = Asker(program)
    alive = [()]
    lengths = []
    for _ in range(LENGTH):
        sequences = [(*known, name) for known in alive for name in MESSAGES]
        lengths.append(len(sequences))
        alive = asker.round(sequences)
    print(f"{server}: {asker.n} sequences, {lengths} of each length")
    assert all(lengths[:3]), "nothing was waited for: the messages do not fit the server"
    assert goal.accepted == 0
    # And the proof itself still counts.
    assert socks.open5(PROXY, "127.0.0.1", 7000, "alice", "secret")
