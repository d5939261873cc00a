# SPDX-License-Identifier: MIT
"""auth ident: SOCKS4 clients whose own host is asked who they are (RFC 1413)."""

import socket
import threading
import time

import pytest

from harness import netns, socks, targets
from harness.config import PROXY, local
from harness.tabi import wait_until

from test_auth import OTHERS, SOME, from_address

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

GRANTED, REJECTED, NO_IDENTD, MISMATCH = 90, 91, 92, 93


class Identd:
    """Answers each query with what `answer` makes of it; None closes without an answer."""

    def __init__(self, answer, address=SOME):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, 113))
        self.sock.listen(64)
        self.answer = answer
        self.queries = []  # (query, who asked)
        self.ended = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                sock, peer = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock, peer), daemon=True).start()

    def _serve(self, sock, peer):
        with sock:
            query = b""
            while not query.endswith(b"\r\n"):
                got = sock.recv(100)
                if not got:
                    self.ended += 1
                    return
                query += got
            self.queries.append((query, peer[0]))
            answer = self.answer(query.strip())
            for piece in answer if isinstance(answer, list) else [answer or b""]:
                if piece is WAIT:
                    while sock.recv(100):
                        pass
                    self.ended += 1
                    return
                try:
                    sock.sendall(piece)
                except OSError:
                    self.ended += 1
                    return
                time.sleep(0.01)

    def close(self):
        self.sock.close()


WAIT = object()  # for the asker to go away


@pytest.fixture
def identd():
    started = []

    def start(answer, address=SOME):
        started.append(Identd(answer, address))
        return started[-1]

    yield start
    for one in started:
        one.close()


def is_user(name):
    return lambda query: query + b" : USERID : UNIX : " + name + b"\r\n"


def serve(tabi, *lines, auth=f"auth ident from {SOME}"):
    return tabi(local(auth, *lines))


def ask(userid, address=SOME, host="127.0.0.1", port=7000):
    """(reply code, what came with it)."""
    with from_address(address) as sock:
        sock.sendall(socks.request4(host, port, userid))
        reply = socks.recv_exact(sock, 8)
        assert reply[0] == 0
        if reply[1] != GRANTED:
            assert reply[2:] == bytes(6) and socks.recv_end(sock) == (b"", "eof")
        return reply[1]


def test_the_right_user(tabi, target, identd):
    """Who his host says he is has proved it, and is the user of rules and log."""
    target(targets.echo)
    host = identd(is_user(b"fred"))
    program = tabi(
        "workers 1\nlisten 127.0.0.1:1080\nlog level debug\n"
        f"auth ident from {SOME}\nallow user fred method ident protocol socks4\n"
    )
    with from_address(SOME) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000, b"fred") + b"early data")
        assert socks.recv_exact(sock, 8)[:2] == bytes([0, GRANTED])
        assert socks.recv_exact(sock, 10) == b"early data"
        port = sock.getsockname()[1]
    assert host.queries == [(b"%d,1080\r\n" % port, "127.0.0.1")]
    line = program.wait_session(reason="done")
    assert line["user"] == "fred" and line["method"] == "ident" and line["verdict"] == "allow"
    assert "userid" not in line


@pytest.mark.case("S9")
def test_nobody_listens_there(tabi, target):
    seen = target()
    program = serve(tabi)
    assert ask(b"fred") == NO_IDENTD
    assert program.wait_session(reason="no-identd")["userid"] == "fred"
    assert seen.accepted == 0


@pytest.mark.case("S10")
def test_another_user(tabi, target, identd):
    seen = target()
    identd(is_user(b"george"))
    program = serve(tabi)
    assert ask(b"fred") == MISMATCH
    assert program.wait_session(reason="ident-mismatch")["userid"] == "fred"
    assert seen.accepted == 0


@pytest.mark.parametrize(
    "userid, name",
    ((b"fred", b"Fred"), (b"fred", b"fredd"), (b"fredd", b"fred"), (b"fred", b"fred "), (b"", b"fred")),
)
def test_it_is_the_same_or_another(tabi, identd, userid, name):
    identd(is_user(name))
    serve(tabi)
    assert ask(userid) == MISMATCH


@pytest.mark.case("S15")
def test_any_byte(tabi, target, identd):
    target(targets.echo)
    identd(is_user(b"\x80\xff:, x"))
    serve(tabi)
    assert ask(b"\x80\xff:, x") == GRANTED


@pytest.mark.parametrize(
    "answer",
    (
        lambda q: q + b" : ERROR : NO-USER\r\n",
        lambda q: q + b" : ERROR : HIDDEN-USER\r\n",
        lambda q: b"1,2 : USERID : UNIX : fred\r\n",
        lambda q: b",".join(reversed(q.split(b","))) + b":USERID:UNIX:fred\r\n",
        lambda q: q + b":USERID:UNIX:fred",
        lambda q: q + b":USERID:UNIX:\r\n",
        lambda q: None,
        lambda q: b"x" * 5000,
        lambda q: [b" " * 900, b" " * 100 + q + b":USERID:UNIX:fred\r\n"],
        lambda q: b"SSH-2.0-OpenSSH\r\n",
        lambda q: b"\0" * 100 + b"\n",
    ),
)
def test_what_is_no_answer(tabi, target, identd, answer):
    seen = target()
    identd(answer)
    serve(tabi)
    assert ask(b"fred") == NO_IDENTD
    assert seen.accepted == 0


def test_answer_in_pieces(tabi, target, identd):
    target(targets.echo)
    identd(lambda q: [bytes([c]) for c in q + b":USERID:UNIX:fred\r\n"])
    serve(tabi)
    assert ask(b"fred") == GRANTED


def test_host_that_says_nothing(tabi, identd):
    """It is waited for five seconds, and meanwhile others are served."""
    host = identd(lambda q: [WAIT])
    serve(tabi, f"auth none from {OTHERS}")
    with from_address(SOME) as sock:
        began = time.monotonic()
        sock.sendall(socks.request4("127.0.0.1", 7000, b"fred"))
        wait_until(lambda: host.queries, 5, "the query")
        assert ask(b"", OTHERS, port=7001) == REJECTED  # nobody listens: it was tried
        assert socks.recv_exact(sock, 8)[1] == NO_IDENTD
        assert 4.5 < time.monotonic() - began < 7
    wait_until(lambda: host.ended == 1, 5, "the connection to be closed")


def test_client_that_leaves(tabi, identd):
    """So does the question."""
    host = identd(lambda q: [WAIT])
    program = serve(tabi)
    before = program.descriptors()
    with from_address(SOME) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000, b"fred"))
        wait_until(lambda: host.queries, 5, "the query")
        socks.reset(sock)
    wait_until(lambda: host.ended == 1, 5, "the question to end")
    program.wait_descriptors(before)


def test_handshake_deadline_comes_first(tabi, identd):
    identd(lambda q: [WAIT])
    program = serve(tabi, "timeout handshake 1s")
    assert ask(b"fred") == REJECTED
    program.wait_session(reason="handshake-timeout")


def test_what_else_is_offered(tabi, target, identd):
    """With `none` beside it: who gives a name has it checked, who gives none is nobody. SOCKS5 and
    HTTP have no such thing."""
    target(targets.echo)
    identd(is_user(b"fred"))
    serve(tabi, auth=f"auth ident\nauth none from {SOME}")
    assert ask(b"") == GRANTED
    assert ask(b"fred") == GRANTED
    assert ask(b"george") == MISMATCH
    with from_address(OTHERS) as sock:
        sock.sendall(socks.greeting(0, 2))
        assert socks.recv_end(sock) == (b"\x05\xff", "eof")
    with from_address(OTHERS) as sock:
        sock.sendall(socks.request_http("127.0.0.1:7000"))
        assert socks.recv_head(sock)[0] == 403


def test_for_some_users(tabi, target, identd):
    target(targets.echo)
    identd(lambda q: is_user(users[0])(q))
    users = [b"fred"]
    serve(tabi, auth="auth ident user fred")
    assert ask(b"fred") == GRANTED
    users[0] = b"root"
    assert ask(b"root") == MISMATCH


def test_asks_from_where_it_was_reached(tabi, target, identd):
    """A host with several addresses: identd finds the connection by both of its ends."""
    target(targets.echo)
    mine = netns.add_address("198.51.100.7")
    netns.add_address("198.51.100.8")
    host = identd(is_user(b"fred"), "198.51.100.8")
    tabi(
        "workers 1\nlisten 0.0.0.0:1080\nauth ident from 198.51.100.8\n"
        "allow user fred from 198.51.100.8\n"
    )
    with socket.create_connection((mine, 1080), 10, ("198.51.100.8", 0)) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000, b"fred"))
        assert socks.recv_exact(sock, 8)[1] == GRANTED
    assert host.queries[0][1] == mine


def test_ipv6(tabi, target, identd):
    target(targets.echo)
    host = identd(is_user(b"fred"), "::1")
    tabi("workers 1\nlisten [::1]:1080\nauth ident from ::1\nallow user fred\n")
    with socket.create_connection(("::1", 1080), 10) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000, b"fred"))
        assert socks.recv_exact(sock, 8)[1] == GRANTED
    assert host.queries[0][1] == "::1"


def test_unix_socket(tabi, tmp_path, identd):
    """There is no host to ask, least of all that of 127.0.0.1."""
    host = identd(is_user(b"fred"), "127.0.0.1")
    path = tmp_path / "socket"
    tabi(f"workers 1\nlisten {path}\nauth ident from loopback\nallow user fred\n")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(socks.request4("127.0.0.1", 7000, b"fred"))
        assert socks.recv_exact(sock, 8)[1] == NO_IDENTD
    assert host.queries == []


def test_many_at_once(tabi, target, identd):
    target(targets.echo)
    identd(is_user(b"fred"))
    program = serve(tabi)
    before = program.descriptors()
    got = []
    clients = [threading.Thread(target=lambda: got.append(ask(b"fred"))) for _ in range(100)]
    for one in clients:
        one.start()
    for one in clients:
        one.join(20)
    assert got == [GRANTED] * 100
    program.wait_descriptors(before)
