# SPDX-License-Identifier: MIT
"""How bytes may arrive: split, together, early, never; and how a client may leave."""

import socket
import threading
import time

import pytest

from harness import socks, targets
from harness.config import LOCAL, PROXY, local
from harness.tabi import run, wait_until

PAYLOAD = b"first payload"


@pytest.fixture
def passwords(tmp_path):
    """A password file with alice/secret and bob/s3cr:t."""
    path = tmp_path / "users"
    for user, password in (("alice", "secret"), ("bob", "s3cr:t")):
        done = run("passwd", str(path), user, input=password + "\n")
        assert done.returncode == 0, done.stderr
    return path


def conversation(protocol):
    """(bytes from the client, bytes the proxy answers) of a whole handshake with alice/secret where
    the protocol can say so."""
    if protocol == "socks4":
        return socks.request4("127.0.0.1", 7000, b"fred"), 8
    if protocol == "socks4a":
        return socks.request4("echo.test", 7000, b"fred"), 8
    if protocol == "socks5":
        return socks.greeting(0) + socks.request5("127.0.0.1", 7000), 2 + 10
    if protocol == "socks5-password":
        return (
            socks.greeting(2) + socks.userpass("alice", "secret") + socks.request5("echo.test", 7000),
            2 + 2 + 10,
        )
    return socks.request_http("echo.test:7000", socks.basic("alice", "secret")), None


PROTOCOLS = ("socks4", "socks4a", "socks5", "socks5-password", "http")


def config_for(protocol, passwords):
    auth = f"auth password {passwords}" if protocol in ("socks5-password", "http") else ""
    return local(auth)


@pytest.mark.case("T1", "T2", "H5", "N17")
@pytest.mark.parametrize("size", (1, 2, 7, 1 << 20))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_everything_at_once_or_in_pieces(tabi, target, dns_server, passwords, protocol, size):
    dns_server({"echo.test": ["127.0.0.1"]})
    target(targets.echo)
    tabi(config_for(protocol, passwords))
    ask, answer = conversation(protocol)
    # What follows a request is the destination's, even if it looks like another request.
    early = PAYLOAD + socks.request5("127.0.0.1", 7001) + socks.request_http("a.test:1")
    with socks.dial(PROXY) as sock:
        socks.send_split(sock, ask + early, size)
        if answer is None:
            assert socks.recv_head(sock)[0] == 200
        else:
            head = socks.recv_exact(sock, answer)
            assert head[-10:][:4] == b"\x05\x00\x00\x01" if answer > 8 else head[:2] == b"\x00\x5a"
        assert socks.recv_exact(sock, len(early)) == early
        targets.ping(sock)


@pytest.mark.case("T2")
def test_early_data_survive_a_slow_lookup(tabi, target, dns_server):
    """The early data lies in the proxy while the name is looked up."""
    stub = dns_server({"slow.test": ["127.0.0.1"]})
    stub.hold("slow.test")
    target(targets.echo)
    tabi(LOCAL)
    early = targets.pattern(60_000, "early")
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0) + socks.request5("slow.test", 7000) + early)
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        stub.wait_asked("slow.test")
        stub.release("slow.test")
        assert socks.recv_reply5(sock)[0] == 0
        targets.check_same(socks.recv_exact(sock, len(early)), early)


@pytest.mark.case("T3")
@pytest.mark.parametrize("said", (b"", b"\x05", b"\x05\x01\x00", b"\x04\x01\x00", b"CONNECT a:1 HT"))
def test_handshake_deadline(tabi, said):
    """One deadline for all of it, which more bytes do not push back."""
    program = tabi(local("timeout handshake 1s"))
    with socks.dial(PROXY) as sock:
        begin = time.monotonic()
        sock.sendall(said)
        got, how = socks.recv_end(sock)
        took = time.monotonic() - begin
    assert 0.9 < took < 5
    assert how == "eof"
    if said == b"":
        assert got == b"", "no reply to somebody who said nothing"
    if said == b"\x05\x01\x00":
        assert got[:2] == b"\x05\x00"
    program.wait_session(reason="handshake-timeout")


@pytest.mark.case("T3")
def test_slow_bytes_do_not_extend_the_deadline(tabi):
    tabi(local("timeout handshake 1s"))
    with socks.dial(PROXY) as sock:
        begin = time.monotonic()
        ended = threading.Event()

        def drip():
            try:
                while not ended.wait(0.1):
                    sock.send(b"x")
            except OSError:
                pass

        sock.sendall(b"\x04\x01\x00\x50\x7f\x00\x00\x01")
        thread = threading.Thread(target=drip)
        thread.start()
        socks.recv_end(sock)
        ended.set()
        thread.join()
        assert time.monotonic() - begin < 5


@pytest.mark.case("T4", "T5")
@pytest.mark.parametrize("first", (b"\x00", b"\x01", b"\x07", b"\x80", b"\xff", b"\x16\x03\x01"))
def test_unknown_protocol_is_closed_without_reply(tabi, first):
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(first)
        got, _ = socks.recv_end(sock)
        assert got == b""
    tls = first[0] == 0x16
    program.wait_session(reason="tls-unexpected" if tls else "unknown-protocol")


@pytest.mark.case("T13")
@pytest.mark.parametrize("protocol", ("socks4", "socks4a", "socks5", "http"))
def test_half_closed_request_is_answered(tabi, target, dns_server, passwords, protocol):
    """The client ends its side with the request; the answer comes after the target has waited."""
    dns_server({"echo.test": ["127.0.0.1"]})
    seen = target(targets.answer_after_eof(b"the answer"))
    tabi(LOCAL)
    ask, answer = conversation(protocol)
    with socks.dial(PROXY) as sock:
        sock.sendall(ask + PAYLOAD)
        sock.shutdown(socket.SHUT_WR)
        if answer is None:
            assert socks.recv_head(sock)[0] == 200
        else:
            socks.recv_exact(sock, answer)
        assert socks.recv_end(sock) == (b"the answer", "eof")
    assert seen.wait_result() == (PAYLOAD, "eof")


@pytest.mark.case("T13")
@pytest.mark.slow
def test_half_closed_request_is_answered_after_15_seconds(tabi, target):
    def serve(sock):
        data, end = socks.recv_end(sock)
        time.sleep(15)
        sock.sendall(b"late, but here")
        return data, end

    seen = target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.settimeout(30)
        ask = socks.greeting(0) + socks.request5("127.0.0.1", 7000)
        sock.sendall(ask + b"question")
        sock.shutdown(socket.SHUT_WR)
        socks.recv_exact(sock, 12)
        seen.wait_result()
        seen.close()
        assert socks.recv_end(sock) == (b"late, but here", "eof")


@pytest.mark.case("T13")
def test_half_close_before_the_lookup_is_done(tabi, target, dns_server):
    stub = dns_server({"slow.test": ["127.0.0.1"]})
    stub.hold("slow.test")
    seen = target(targets.answer_after_eof(b"the answer"))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0) + socks.request5("slow.test", 7000) + PAYLOAD)
        sock.shutdown(socket.SHUT_WR)
        stub.wait_asked("slow.test")
        stub.release("slow.test")
        socks.recv_exact(sock, 12)
        assert socks.recv_end(sock) == (b"the answer", "eof")
    assert seen.wait_result() == (PAYLOAD, "eof")


@pytest.mark.case("T14")
@pytest.mark.parametrize("early", (b"", b"some early data"))
def test_reset_while_looking_up(tabi, target, dns_server, early):
    stub = dns_server({"slow.test": ["127.0.0.1"]})
    stub.hold("slow.test")
    seen = target(targets.echo)
    program = tabi(LOCAL)
    idle = program.descriptors()
    sock = socks.dial(PROXY)
    sock.sendall(socks.greeting(0) + socks.request5("slow.test", 7000) + early)
    stub.wait_asked("slow.test")
    socks.recv_exact(sock, 2)
    socks.reset(sock)
    line = program.wait_session(to="slow.test:7000")
    assert line["reason"] in ("client-reset", "client-gone")
    stub.release("slow.test")
    with socks.open5(PROXY, "127.0.0.1", 7000) as other:
        targets.ping(other)
    assert seen.accepted == 1, "the answer of the name server must not revive the session"
    # The resolver keeps its socket to the name server; a session has left nothing if, once the
    # second one is over as well, no more than that was added.
    program.wait_session(to="127.0.0.1:7000")
    (before,) = idle.values()
    wait_until(lambda: sum(program.descriptors().values()) - before <= 1, what="descriptors")


@pytest.mark.case("T14")
def test_reset_while_connecting(tabi, target):
    held = targets.blackhole()
    program = tabi(LOCAL)
    idle = program.descriptors()
    sock = socks.dial(PROXY)
    sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7009))
    socks.recv_exact(sock, 2)
    wait_until(lambda: program.descriptors() != idle, what="connecting")
    socks.reset(sock)
    program.wait_session(to="127.0.0.1:7009")
    program.wait_descriptors(idle)
    for one in held:
        one.close()


@pytest.mark.case("T15", "R25")
@pytest.mark.parametrize(
    "ask, reply",
    (
        (socks.greeting(0) + socks.request5("127.0.0.1", 7001), b"\x05\x00" + socks.failure5(5)),
        (socks.greeting(0) + socks.request5("127.0.0.1", 7001, 9), b"\x05\x00" + socks.failure5(7)),
        (socks.greeting(0x80), b"\x05\xff"),
        (socks.request4("127.0.0.1", 7001), socks.FAILURE4),
    ),
    ids=("refused", "bad-command", "no-method", "socks4"),
)
@pytest.mark.parametrize("more", (1000, 48_000))
def test_refusal_survives_data_in_flight(tabi, ask, reply, more):
    """Closing a socket with unread data sends RST, and that can destroy the reply."""
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(ask + bytes(more))
        got, how = socks.recv_end(sock)
        assert (got, how) == (reply, "eof")


@pytest.mark.case("T15", "R25")
def test_refusal_reaches_a_client_that_goes_on_sending(tabi):
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        ask = socks.greeting(0) + socks.request5("127.0.0.1", 7001)

        def send():
            try:
                sock.sendall(ask)
                for _ in range(20):
                    sock.sendall(bytes(1000))
                    time.sleep(0.02)
            except OSError:
                pass

        thread = threading.Thread(target=send)
        thread.start()
        assert socks.recv_exact(sock, 12) == b"\x05\x00" + socks.failure5(5)
        thread.join()


@pytest.mark.case("T15")
@pytest.mark.slow
def test_refused_client_that_stays_is_closed_within_ten_seconds(tabi):
    """RFC 1928 section 6."""
    program = tabi(LOCAL)
    idle = program.descriptors()
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7001))
        socks.recv_exact(sock, 12)
        program.wait_descriptors(idle, timeout=10)
