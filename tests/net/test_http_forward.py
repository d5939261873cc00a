# SPDX-License-Identifier: MIT
"""Plain HTTP: requests for http:// URLs, forwarded one after the other."""

import hashlib
import socket
import ssl
import subprocess
import threading

import pytest

from harness import dns, netns, socks, targets
from harness.config import HEAD, LOCAL, PROXY, local
from harness.tabi import check_memory, run, wait_until

MB = 1 << 20
URL = b"http://127.0.0.1:7000"
OK = b"HTTP/1.1 200 OK\r\n"


def head_lines(head):
    return head.split(b"\r\n")[:-2]


def recv_head(sock):
    """A header block, or b"" at the end of the stream."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            assert data == b"", data
            return b""
        data += byte
    return data


def recv_chunked(sock):
    """(data, trailers) of a chunked body, not a byte more."""
    data = b""
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            line += socks.recv_exact(sock, 1)
        size = int(line, 16)
        if size == 0:
            break
        data += socks.recv_exact(sock, size)
        assert socks.recv_exact(sock, 2) == b"\r\n"
    trailers = b""
    while not (b"\r\n" + trailers).endswith(b"\r\n\r\n"):
        trailers += socks.recv_exact(sock, 1)
    return data, trailers[:-2]


def recv_body(sock, head):
    """What the head says that there is; None where it says nothing."""
    length = socks.header(head, b"Content-Length")
    if length is not None:
        return socks.recv_exact(sock, int(length))
    if socks.header(head, b"Transfer-Encoding") == b"chunked":
        return recv_chunked(sock)[0]
    return None


def page(body, *fields):
    lines = b"".join(field + b"\r\n" for field in fields)
    return OK + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def serve_pages(answer):
    """Every request of a connection is answered with answer(head, body); returns all heads."""

    def serve(sock):
        heads = []
        while True:
            head = recv_head(sock)
            if not head:
                return heads
            heads.append(head)
            sock.sendall(answer(head, recv_body(sock, head)))

    return serve


def echo_request(head, body):
    """The page is the request as it arrived."""
    return page(head + (body or b""))


def request(path, *fields, method=b"GET", url=URL, body=b""):
    lines = b"".join(field + b"\r\n" for field in (b"Host: x", *fields))
    return method + b" " + url + path + b" HTTP/1.1\r\n" + lines + b"\r\n" + body


def recv_page(sock, is_head=False):
    """(status, head, body) of an answer whose length is told."""
    status, head = socks.recv_head(sock)
    return status, head, None if is_head or status in (204, 304) else recv_body(sock, head)


def ask(sock, *args, **options):
    sock.sendall(request(*args, **options))
    return recv_page(sock)


def answer_to(raw):
    """Of a request that is the last one on its connection."""
    with socks.dial(PROXY) as sock:
        sock.sendall(raw)
        status, _, body = recv_page(sock)
        assert socks.recv_end(sock) == (b"", "eof")
        return status, body


def requests_of(program, n, timeout=10):
    """The first n lines of forwarded requests."""
    found = []

    def one(record):
        if record.event == "request":
            found.append(record)
        return len(found) == n

    program.wait_for_log(one, timeout)
    return found


# What is sent to the destination.


@pytest.mark.case("H11")
@pytest.mark.parametrize("host", (b"other.test", b"other.test:81", b"127.0.0.1", b""))
def test_host_is_the_targets(tabi, target, host):
    target(serve_pages(echo_request))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"GET " + URL + b"/a?b=c HTTP/1.1\r\nHost: " + host + b"\r\nAccept: */*\r\n\r\n")
        status, head, seen = recv_page(sock)
    assert status == 200
    assert seen == (
        b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:7000\r\nAccept: */*\r\nVia: 1.1 tabi\r\n\r\n"
    )
    assert socks.header(head, b"Via") == b"1.1 tabi"


@pytest.mark.case("H12")
def test_what_concerns_one_hop_stays_behind(tabi, target):
    target(serve_pages(echo_request))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        status, _, seen = ask(
            sock, b"/", b"Connection: X-Foo, Upgrade", b"X-Foo: 1", b"Upgrade: websocket",
            b"Keep-Alive: timeout=9", b"Proxy-Connection: keep-alive", b"TE: trailers", b"X-Bar: 2",
        )  # fmt: skip
    assert status == 200
    assert head_lines(seen)[2:] == [b"X-Bar: 2", b"Via: 1.1 tabi"]


@pytest.mark.case("H12")
def test_what_concerns_one_hop_stays_behind_in_answers(tabi, target):
    fields = (b"Connection: X-Foo", b"X-Foo: 1", b"Keep-Alive: timeout=9", b"X-Bar: 2",
              b"Proxy-Authenticate: Basic realm=x", b"Upgrade: h2")  # fmt: skip
    target(serve_pages(lambda *_: page(b"x", *fields)))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        _, head, body = ask(sock, b"/")
    assert body == b"x"
    assert head_lines(head)[1:] == [b"X-Bar: 2", b"Via: 1.1 tabi", b"Content-Length: 1"]


@pytest.mark.case("H13")
@pytest.mark.parametrize("wanted", (True, False))
def test_credentials_for_us_are_not_forwarded(tabi, target, tmp_path, wanted):
    """Neither where they are asked for nor where a client brings them unasked."""
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    target(serve_pages(echo_request))
    program = tabi(local(f"auth password {tmp_path}/users") if wanted else LOCAL)
    with socks.dial(PROXY) as sock:
        mine = socks.basic("alice", "secret").rstrip()
        status, _, seen = ask(sock, b"/", mine, b"Authorization: Basic YTpi")
    assert status == 200
    assert b"authorization: basic ytpi" in seen.lower()
    assert b"proxy-authorization" not in seen.lower()
    (line,) = requests_of(program, 1)
    assert line.get("user") == ("alice" if wanted else None)


@pytest.mark.case("H14")
def test_trace_that_ends_here(tabi, target):
    seen = target(serve_pages(echo_request))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/", b"Max-Forwards: 0", b"X: y", b"Cookie: c", b"Authorization: z",
                             socks.basic("a", "b").rstrip(), method=b"TRACE"))  # fmt: skip
        got, end = socks.recv_end(sock)
    head, _, body = got.partition(b"\r\n\r\n")
    assert end == "eof"
    assert head.startswith(OK) and socks.header(head, b"Content-Type") == b"message/http"
    assert body == b"TRACE " + URL + b"/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\nX: y\r\n\r\n"
    assert seen.accepted == 0


@pytest.mark.case("H14")
def test_max_forwards_is_counted_down(tabi, target):
    seen = target(serve_pages(echo_request))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        _, _, got = ask(sock, b"/", b"Max-Forwards: 2", method=b"TRACE")
        assert b"\r\nMax-Forwards: 1\r\n" in got
        _, _, got = ask(sock, b"", b"Max-Forwards: 1", method=b"OPTIONS")
        assert got.startswith(b"OPTIONS * HTTP/1.1\r\n") and b"\r\nMax-Forwards: 0\r\n" in got
    with socks.dial(PROXY) as sock:
        status, head, _ = ask(sock, b"", b"Max-Forwards: 0", method=b"OPTIONS")
        assert status == 200 and b"CONNECT" in socks.header(head, b"Allow")
    assert seen.accepted == 1


# Several requests.


@pytest.mark.case("H15")
def test_two_requests_two_hosts(tabi, target, dns_server):
    """Two decisions, two destinations, two lines; and what one is allowed the other is not."""
    dns_server({"one.test": ["127.0.0.1"], "two.test": ["127.0.0.2"], "three.test": ["127.0.0.1"]})
    one = target(serve_pages(lambda *_: page(b"one")))
    two = target(serve_pages(lambda *_: page(b"two")), address="127.0.0.2")
    program = tabi(local("deny to three.test"))
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/", url=b"http://one.test:7000")[2] == b"one"
        assert ask(sock, b"/", url=b"http://two.test:7000")[2] == b"two"
        status, _, _ = ask(sock, b"/", url=b"http://three.test:7000")
        assert status == 403
        assert socks.recv_end(sock) == (b"", "eof")
    first, second = requests_of(program, 2)
    assert (first["to"], first["address"]) == ("one.test:7000", "127.0.0.1:7000")
    assert (second["to"], second["address"]) == ("two.test:7000", "127.0.0.2:7000")
    assert first["verdict"] == second["verdict"] == "allow"
    assert (first["http"], first["status"], first["reason"]) == ("GET", "200", "done")
    line = program.wait_session()
    assert (line["to"], line["verdict"], line["reason"]) == ("three.test:7000", "deny", "denied")
    assert line["requests"] == "2"
    assert (one.accepted, two.accepted) == (1, 1)


def test_a_thousand_requests_on_one_connection(tabi, target):
    """One connection to the destination serves them all, and nothing grows."""
    seen = target(serve_pages(lambda head, _: page(head.split(b" ")[1] * 10)))
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        for i in range(100):
            ask(sock, b"/%d" % i)
        memory, held = program.memory(), program.descriptors()
        for i in range(1000):
            assert ask(sock, b"/%d" % i)[2] == b"/%d" % i * 10
        check_memory(program.memory() - memory, 64 * 1024)
        assert program.descriptors() == held
    line = program.wait_session()
    assert (line["requests"], line["reason"]) == ("1100", "done")
    assert len(requests_of(program, 1100)) == 1100
    assert seen.accepted == 1


def test_pipelined_requests_are_answered_in_order(tabi, target):
    """To two destinations in turn, with bodies of both kinds, all sent before any answer."""
    one = target(serve_pages(lambda head, body: page(b"1" + head.split(b" ")[1] + (body or b""))))
    two = target(serve_pages(lambda head, body: page(b"2" + head.split(b" ")[1] + (body or b""))),
                 port=7001)  # fmt: skip
    tabi(LOCAL)
    raw, wanted = b"", []
    for i in range(200):
        body = b"%d," % i * (i % 50)
        url = b"http://127.0.0.1:%d" % (7000 + i % 3 % 2)
        if i % 2:
            raw += request(b"/%d?" % i, b"Transfer-Encoding: chunked", method=b"POST", url=url,
                           body=(b"%x\r\n" % len(body) + body + b"\r\n" if body else b"") + b"0\r\n\r\n")  # fmt: skip
        else:
            raw += request(b"/%d?" % i, b"Content-Length: %d" % len(body), method=b"PUT", url=url, body=body)
        wanted.append(b"%d/%d?" % (1 + i % 3 % 2, i) + body)
    with socks.dial(PROXY) as sock:
        thread = threading.Thread(target=sock.sendall, args=(raw,))
        thread.start()
        for text in wanted:
            assert recv_page(sock)[2] == text
        thread.join()
    assert one.accepted > 0 and two.accepted > 0


@pytest.mark.case("T1")
def test_byte_by_byte(tabi, target):
    def serve(sock):
        head = recv_head(sock)
        data, trailers = recv_chunked(sock)
        socks.send_split(sock, OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nT: u\r\n\r\n", 1)
        return head, data, trailers

    seen = target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        socks.send_split(sock, request(b"/", b"Transfer-Encoding: chunked", method=b"POST",
                                       body=b"3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n"), 1)  # fmt: skip
        status, head = socks.recv_head(sock)
        assert status == 200 and recv_chunked(sock) == (b"abcd", b"T: u\r\n")
    _, data, trailers = seen.wait_result()
    assert (data, trailers) == (b"abc", b"A: b\r\n")


def test_a_tunnel_behind_a_request(tabi, target):
    """The same connection may ask for one; what is kept of the request goes first."""
    target(serve_pages(lambda *_: page(b"x")))
    target(targets.echo, port=7001)
    program = tabi(LOCAL)
    idle = program.descriptors()
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[2] == b"x"
        sock.sendall(socks.request_http("127.0.0.1:7001"))
        assert socks.recv_head(sock)[0] == 200
        targets.ping(sock)
        (worker,) = idle
        # Its two sockets alone, once a pipe that was of use for a moment is gone.
        program.wait_descriptors({worker: idle[worker] + 2})
    line = program.wait_session()
    assert (line["to"], line["requests"]) == ("127.0.0.1:7001", "1")
    program.wait_descriptors(idle)


def test_a_destination_that_closes_between_requests(tabi, target):
    seen = target(lambda sock: sock.sendall(page(recv_head(sock))) or sock.close())
    program = tabi(LOCAL)
    (worker,) = idle = program.descriptors()
    with socks.dial(PROXY) as sock:
        for i in range(20):
            status, _, body = ask(sock, b"/%d" % i)
            assert status == 200 and body.startswith(b"GET /%d " % i)
            wait_until(lambda: program.descriptors()[worker] == idle[worker] + 1, what="the close")
    assert seen.accepted == 20


@pytest.mark.parametrize("how", ("end", "reset"))
def test_a_destination_that_closes_as_the_next_request_comes(tabi, target, how):
    """Whether the request can be repeated is the client's to say: its connection ends without a
    word, as the destination's did."""

    def serve(sock):
        head = recv_head(sock)
        sock.sendall(page(b"x"))
        assert recv_head(sock)
        if how == "reset":
            socks.reset(sock)
        else:
            sock.close()
        return head

    target(serve)
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[2] == b"x"
        sock.sendall(request(b"/"))
        assert socks.recv_end(sock) == (b"", "eof")
    assert requests_of(program, 2)[1]["reason"] in ("cut-answer", "target-reset")


def test_bytes_that_nobody_asked_for(tabi, target):
    """An answer ahead of its request is nobody's; the connection is not used again."""
    count = []

    def serve(sock):
        recv_head(sock)
        count.append(1)
        sock.sendall(page(b"%d" % len(count)) + page(b"poison"))
        return socks.recv_end(sock)

    seen = target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        for i in range(5):
            assert ask(sock, b"/")[2] == b"%d" % (i + 1)
    assert seen.accepted == 5


def test_a_late_answer_that_nobody_asked_for(tabi, target):
    go = threading.Event()

    def serve(sock):
        recv_head(sock)
        sock.sendall(page(b"x"))
        go.wait(10)
        sock.sendall(page(b"poison"))
        return socks.recv_end(sock)

    seen = target(serve)
    program = tabi(LOCAL)
    (worker,) = program.descriptors()
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[2] == b"x"
        held = program.descriptors()[worker]
        go.set()
        wait_until(lambda: program.descriptors()[worker] == held - 1, what="the close")
        assert ask(sock, b"/")[2] == b"x"
    assert seen.accepted == 2


# Bodies.


def in_chunks(data, size=50000):
    out = b"".join(
        b"%x\r\n" % len(data[at : at + size]) + data[at : at + size] + b"\r\n"
        for at in range(0, len(data), size)
    )
    return out + b"0\r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize("up_chunked", (True, False))
@pytest.mark.parametrize("down", ("length", "chunked", "close"))
def test_eight_megabytes_both_ways(tabi, target, up_chunked, down):
    """Twice on one connection, where the answer allows that."""
    up_data, down_data = targets.pattern(8 * MB, "up"), targets.pattern(8 * MB, "down")
    answers = {
        "length": OK + b"Content-Length: %d\r\n\r\n" % len(down_data) + down_data,
        "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(down_data),
        "close": OK + b"\r\n" + down_data,
    }
    n = 1 if down == "close" else 2

    def serve(sock):
        for _ in range(n):
            head = recv_head(sock)
            sums.append(hashlib.sha256(recv_body(sock, head)).digest())
            sock.sendall(answers[down])
        sock.close()
        return True

    sums = []
    seen = target(serve)
    program = tabi(LOCAL)
    field = b"Transfer-Encoding: chunked" if up_chunked else b"Content-Length: %d" % len(up_data)
    raw = request(b"/", field, method=b"POST", body=in_chunks(up_data) if up_chunked else up_data)
    with socks.dial(PROXY) as sock:
        for _ in range(n):
            thread = threading.Thread(target=sock.sendall, args=(raw,))
            thread.start()
            status, head = socks.recv_head(sock)
            assert status == 200
            got = recv_body(sock, head)
            if got is None:
                got, end = socks.recv_end(sock)
                assert end == "eof"
            targets.check_same(got, down_data)
            thread.join()
    seen.wait_result()
    assert sums == n * [hashlib.sha256(up_data).digest()]
    for line in requests_of(program, n):
        assert int(line["up"]) > 8 * MB and int(line["down"]) > 8 * MB


def test_slow_reader(tabi, target):
    """The destination is read no faster than the client reads."""
    body = targets.pattern(64 * MB, "slow")
    sent = []

    def serve(sock):
        recv_head(sock)
        sock.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), MB):
            sock.sendall(body[at : at + MB])
            sent.append(1)
        return True

    target(serve)
    program = tabi(LOCAL)
    memory = program.memory()
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/"))
        assert socks.recv_head(sock)[0] == 200
        last = -1
        while last != len(sent):
            last = len(sent)
            threading.Event().wait(0.3)
        assert len(sent) < 40
        check_memory(program.memory() - memory, 2 * MB)
        targets.check_same(socks.recv_exact(sock, len(body)), body)


def test_slow_destination(tabi, target):
    """The client is read no faster than the destination reads."""
    body = targets.pattern(64 * MB, "slow")
    go = threading.Event()
    sent = []

    def serve(sock):
        recv_head(sock)
        go.wait(30)
        data = socks.recv_exact(sock, len(body))
        sock.sendall(page(b"x"))
        return hashlib.sha256(data).digest()

    def send(sock):
        for at in range(0, len(body), MB):
            sock.sendall(body[at : at + MB])
            sent.append(1)

    seen = target(serve)
    program = tabi(LOCAL)
    memory = program.memory()
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/", b"Content-Length: %d" % len(body), method=b"PUT"))
        thread = threading.Thread(target=send, args=(sock,))
        thread.start()
        last = -1
        while last != len(sent):
            last = len(sent)
            threading.Event().wait(0.3)
        assert len(sent) < 40
        check_memory(program.memory() - memory, 2 * MB)
        go.set()
        thread.join()
        assert recv_page(sock)[2] == b"x"
    assert seen.wait_result() == hashlib.sha256(body).digest()


@pytest.mark.parametrize("raw, body", (
    (OK + b"Content-Length: 99\r\n\r\n", None),
    (b"HTTP/1.1 204 No Content\r\n\r\n", None),
    (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
))  # fmt: skip
def test_answers_without_a_body(tabi, target, raw, body):
    """The next answer begins right behind them."""
    method = b"HEAD" if b"200" in raw else b"GET"

    def serve(sock):
        recv_head(sock)
        sock.sendall(raw)
        recv_head(sock)
        sock.sendall(page(b"next"))

    target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/", method=method))
        assert recv_page(sock, is_head=True)[0] == int(raw.split(b" ")[1])
        assert ask(sock, b"/")[2] == b"next"


def test_expect_100_continue(tabi, target):
    """Only what the destination says makes the client send."""

    def serve(sock):
        head = recv_head(sock)
        sock.settimeout(0.3)
        try:
            early = sock.recv(1)
        except TimeoutError:
            early = None
        sock.settimeout(10)
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = socks.recv_exact(sock, 5)
        sock.sendall(page(b"thanks"))
        return head, early, body

    seen = target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/", b"Expect: 100-continue", b"Content-Length: 5", method=b"PUT"))
        assert socks.recv_head(sock)[0] == 100
        sock.sendall(b"hello")
        assert recv_page(sock)[2] == b"thanks"
    head, early, body = seen.wait_result()
    assert b"\r\nExpect: 100-continue\r\n" in head
    assert (early, body) == (None, b"hello")


@pytest.mark.parametrize("version", (b"1.0", b"1.1"))
def test_interim_answers_without_end(tabi, target, version):
    """Some hundreds may be in order; who never comes to the answer has none."""

    def serve(sock):
        recv_head(sock)
        sock.sendall(b"HTTP/1.1 102 Soon\r\n\r\n" * 1000 + page(b"x"))
        recv_head(sock)
        try:
            while True:
                sock.sendall(b"HTTP/1.1 102 Soon\r\n\r\n" * 100)
        except OSError:
            return

    target(serve)
    program = tabi(LOCAL)
    asked = request(b"/").replace(b"HTTP/1.1", b"HTTP/" + version)
    with socks.dial(PROXY) as sock:
        sock.sendall(asked.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
        status = 102
        while status == 102:
            status, head = socks.recv_head(sock)
        assert status == 200 and recv_body(sock, head) == b"x"
        sock.sendall(asked)
        data, end = socks.recv_end(sock)
        if version == b"1.0":
            assert data.startswith(b"HTTP/1.1 502 ") and end == "eof"
        else:
            assert end == "reset" and b" 200 " not in data and data.count(b" 102 ") <= 1000
    assert program.wait_session()["reason"] == "bad-answer"


@pytest.mark.parametrize("fields", ((), (b"Connection: keep-alive",)))
def test_http_1_0(tabi, target, fields):
    """No interim answer, no chunks, and the connection stays only if asked for."""

    def serve(sock):
        for _ in range(2):
            head = recv_head(sock)
            if not head:
                return
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + page(b"x"))

    target(serve)
    target(lambda sock: recv_head(sock) and sock.sendall(
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(b"chunks", 4)), port=7001)  # fmt: skip
    tabi(LOCAL)
    lines = b"".join(f + b"\r\n" for f in fields)
    with socks.dial(PROXY) as sock:
        for _ in range(2 if fields else 1):
            sock.sendall(b"GET " + URL + b"/ HTTP/1.0\r\n" + lines + b"\r\n")
            status, head, body = recv_page(sock)
            assert (status, body) == (200, b"x")
            assert socks.header(head, b"Connection") == (b"keep-alive" if fields else b"close")
        if not fields:
            assert socks.recv_end(sock) == (b"", "eof")
    with socks.dial(PROXY) as sock:
        sock.sendall(b"GET http://127.0.0.1:7001/ HTTP/1.0\r\n" + lines + b"\r\n")
        head, _, body = socks.recv_end(sock)[0].partition(b"\r\n\r\n")
        assert body == b"chunks" and b"chunked" not in head


# Clients that end.


def test_client_that_ends_its_half_gets_its_answer(tabi, target):
    target(serve_pages(echo_request))
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/1") + request(b"/2"))
        sock.shutdown(socket.SHUT_WR)
        got, end = socks.recv_end(sock)
    assert end == "eof"
    assert got.count(b"HTTP/1.1 200") == 2 and b"GET /2 " in got
    assert program.wait_session()["reason"] == "done"


def test_client_that_leaves_while_it_waits(tabi, target):
    """It is not waited for longer than `timeout halfclose`."""
    seen = target(lambda sock: recv_head(sock) and socks.recv_end(sock))
    program = tabi(local("timeout halfclose 1s"))
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/"))
        seen.wait_accepted()
    assert seen.wait_result()
    line = program.wait_session(timeout=5)
    assert line["reason"] == "idle"


@pytest.mark.parametrize("how", ("end", "reset"))
def test_client_that_leaves_in_its_body(tabi, target, how):
    """The destination must not take half a body for a whole one."""
    arrived = threading.Event()

    def serve(sock):
        recv_head(sock)
        data = socks.recv_exact(sock, 5)
        arrived.set()
        return data, socks.recv_end(sock)

    seen = target(serve)
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/", b"Content-Length: 10", method=b"POST", body=b"hello"))
        assert arrived.wait(10)
        if how == "reset":
            socks.reset(sock)
        else:
            sock.shutdown(socket.SHUT_WR)
            assert recv_page(sock)[0] == 400
    assert seen.wait_result() == (b"hello", (b"", "reset"))
    assert program.wait_session()["reason"] == ("client-reset" if how == "reset" else "truncated")


def test_client_that_resets_in_its_answer(tabi, target):
    def serve(sock):
        recv_head(sock)
        sock.sendall(OK + b"\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    seen = target(serve)
    program = tabi(LOCAL)
    idle = program.descriptors()
    sock = socks.dial(PROXY)
    sock.sendall(request(b"/"))
    socks.recv_exact(sock, 100000)
    socks.reset(sock)
    assert isinstance(seen.wait_error(), (ConnectionResetError, BrokenPipeError))
    assert program.wait_session()["reason"] == "client-reset"
    program.wait_descriptors(idle)


# Destinations that are not as they should be.


@pytest.mark.parametrize(
    "raw, status",
    (
        (b"", 502),
        (b"hello\r\n\r\n", 502),
        (b"\x16\x03\x01\x00\x05hello", 502),
        (b"HTTP/2 200 OK\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 502),
        (b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000 + b"\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000, 502),
        (b"HTTP/1.1 200 O", 502),
    ),
    ids=lambda v: repr(v)[:40],
)
def test_no_answer(tabi, target, raw, status):
    def serve(sock):
        recv_head(sock)
        try:
            sock.sendall(raw)
            sock.shutdown(socket.SHUT_WR)
            return socks.recv_end(sock)
        except OSError:
            return None

    target(serve)
    program = tabi(LOCAL)
    assert answer_to(request(b"/"))[0] == status
    assert program.wait_session()["reason"] in ("bad-answer", "cut-answer")


def test_a_long_head_passes(tabi, target):
    field = b"X: " + b"y" * 60000
    target(serve_pages(lambda *_: page(b"body", field)))
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        for _ in range(3):
            _, head, body = ask(sock, b"/")
            assert field in head and body == b"body"


@pytest.mark.parametrize("down", ("length", "chunked", "close"))
@pytest.mark.parametrize("how", ("end", "reset"))
def test_half_an_answer_does_not_look_whole(tabi, target, down, how):
    heads = {
        "length": OK + b"Content-Length: 100\r\n\r\nhalf",
        "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        "close": OK + b"\r\nhalf",
    }
    go = threading.Event()

    def serve(sock):
        recv_head(sock)
        sock.sendall(heads[down])
        go.wait(10)
        if how == "reset":
            socks.reset(sock)
        sock.close()

    target(serve)
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/"))
        status, head = socks.recv_head(sock)
        assert status == 200
        assert socks.recv_exact(sock, 8 if down == "chunked" else 4)[-4:] == b"half"
        go.set()
        got, end = socks.recv_end(sock)
    # Without a length the end is the end, unless it is a reset.
    whole = down == "close" and how == "end"
    assert got == b"" and end == ("eof" if whole else "reset")
    (line,) = requests_of(program, 1)
    assert line["reason"] == ("done" if whole else "target-reset" if how == "reset" else "cut-answer")


def test_bad_chunks_end_in_a_reset(tabi, target):
    go = threading.Event()

    def serve(sock):
        recv_head(sock)
        sock.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        go.wait(10)
        sock.sendall(b"0x5\r\nhello\r\n0\r\n\r\n")
        return socks.recv_end(sock)

    target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/"))
        socks.recv_head(sock)
        assert socks.recv_exact(sock, 10) == b"5\r\nhello\r\n"
        go.set()
        assert socks.recv_end(sock)[1] == "reset"


def test_an_answer_before_the_body_is_there(tabi, target):
    """The client gets it, and is told that the connection ends: nobody knows what it sends next."""

    def serve(sock):
        recv_head(sock)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n")
        return socks.recv_end(sock)

    seen = target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/", b"Content-Length: 1000000", method=b"PUT", body=b"x" * 1000))
        status, head, body = recv_page(sock)
        assert (status, body) == (413, b"no\n")
        assert socks.header(head, b"Connection") == b"close"
        sock.sendall(b"x" * 30000)
        assert socks.recv_end(sock) == (b"", "eof")
    assert seen.wait_result()[1] == "reset"


def test_an_answer_from_a_destination_that_stops_reading(tabi, target):
    """It answers and resets while the client still sends."""

    def serve(sock):
        recv_head(sock)
        sock.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
        threading.Event().wait(0.2)
        socks.reset(sock)

    target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(request(b"/", b"Content-Length: 100000000", method=b"PUT", body=b"x" * 100000))
        assert recv_page(sock)[0] == 403


# What is refused, and the deadlines.


@pytest.mark.parametrize(
    "url, status, says",
    (
        (b"https://echo.test/", 501, b"CONNECT"),
        (b"ftp://echo.test/", 501, b"http://"),
        (b"/", 501, b"no pages of its own"),
        (b"*", 501, b"no pages of its own"),
        (b"echo.test", 501, b"no pages of its own"),
        (b"http:///", 400, b"host name"),
        (b"http://user@echo.test/", 400, b"host name"),
        (b"http://echo.test:0/", 400, b"address"),
        (b"http://127.1/", 403, b"four decimal numbers"),
        (b"http://0.0.0.0/", 403, b"this proxy"),
        (b"http://127.0.0.1:1080/", 403, b"this proxy"),
        (b"http://[::1]:1080/", 403, b"this proxy"),
        (b"http://[::ffff:127.0.0.1]:1080/", 403, b"this proxy"),
        (b"http://denied.test/", 403, b"policy"),
        (b"http://nosuch.test/", 502, b"no address"),
        (b"http://127.0.0.1:7009/", 502, b"refused"),
    ),
)
def test_refusals_say_why(tabi, dns_server, url, status, says):
    dns_server({"echo.test": ["127.0.0.1"]})
    tabi(local("deny to denied.test"))
    got, text = answer_to(b"GET " + url + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert got == status and says in text, text


def test_rules_for_http(tabi, target):
    """A forwarded request is a `connect` of protocol http to the port in its URL."""
    target(serve_pages(lambda *_: page(b"x")))
    target(serve_pages(lambda *_: page(b"x")), port=7001)
    tabi(HEAD + "allow protocol http command connect to any port 7000\n")
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[0] == 200
    assert answer_to(request(b"/", url=b"http://127.0.0.1:7001"))[0] == 403


SMUGGLED = b"GET http://127.0.0.1:7000/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.case("H8", "H9", "H10")
@pytest.mark.parametrize(
    "fields, body",
    (
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"),
        (b"Content-Length: 0\r\nContent-Length: 44\r\n", b""),
        (b"Content-Length: 44\r\nContent-Length: 44\r\n", b""),
        (b"Content-Length: 0, 44\r\n", b""),
        (b"Content-Length: +0\r\n", b""),
        (b"Content-Length: 18446744073709551616\r\n", b""),
        (b"Content-Length : 44\r\n", b""),
        (b"Content-Length\t: 44\r\n", b""),
        (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n"),
        (b"X: y\r\n Content-Length: 44\r\n", b""),
        (b"X: y\nContent-Length: 44\r\n", b""),
        (b"X: y\rContent-Length: 44\r\n", b""),
        (b"X: y\0\r\n", b""),
        (b"X\0: y\r\n", b""),
        (b": y\r\n", b""),
        (b"Host: y\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n", b"5\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"0x5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"10000000000000000\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhelloX\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"0;\nx\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\nContent-Length: 5\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"0\n\n"),
    ),
)
def test_smuggled_requests(tabi, target, fields, body):
    """Nothing that two readers could read differently reaches the destination as a request of its
    own, and nothing behind it is read as one."""
    got = []

    def serve(sock):
        data, _ = socks.recv_end(sock)
        got.append(data)

    seen = target(serve)
    tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        sock.sendall(b"POST " + URL + b"/ HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + body + SMUGGLED)
        status, _ = socks.recv_head(sock)
        assert status in (400, 501)
        socks.recv_end(sock)
    for _ in range(seen.accepted):
        wait_until(lambda: got, what="the end of the connection")
    assert all(b"smuggled" not in data for data in got)


def test_credentials_with_every_request(tabi, target, tmp_path):
    """Each stands for itself; who brought them before is asked again."""
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    target(serve_pages(echo_request))
    program = tabi(local(f"auth password {tmp_path}/users"))
    mine = socks.basic("alice", "secret").rstrip()
    with socks.dial(PROXY) as sock:
        status, head, _ = ask(sock, b"/")
        assert status == 407 and socks.header(head, b"Proxy-Authenticate").startswith(b"Basic ")
        assert ask(sock, b"/", mine)[0] == 200
        assert ask(sock, b"/", mine)[0] == 200
        assert ask(sock, b"/")[0] == 407
        assert ask(sock, b"/", socks.basic("alice", "wrong").rstrip())[0] == 407
        assert ask(sock, b"/", mine)[0] == 200
    assert {r["user"] for r in requests_of(program, 3)} == {"alice"}
    # A body would be in the way of the next try.
    with socks.dial(PROXY) as sock:
        status, head, _ = ask(sock, b"/", b"Content-Length: 5", method=b"POST", body=b"hello")
        assert status == 407 and socks.header(head, b"Connection") == b"close"
        assert socks.recv_end(sock) == (b"", "eof")


def test_time_between_requests(tabi, target):
    target(serve_pages(echo_request))
    program = tabi(local("timeout keepalive 500ms"))
    idle = program.descriptors()
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[0] == 200
        assert socks.recv_end(sock) == (b"", "eof")
    assert program.wait_session()["reason"] == "idle"
    program.wait_descriptors(idle)


def test_time_for_the_next_head(tabi, target):
    target(serve_pages(echo_request))
    program = tabi(local("timeout handshake 500ms"))
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[0] == 200
        sock.sendall(b"GET http://")
        assert recv_page(sock)[0] == 408
        assert socks.recv_end(sock) == (b"", "eof")
    assert program.wait_session()["reason"] == "handshake-timeout"


def test_time_for_the_answer(tabi, target):
    target(lambda sock: recv_head(sock) and socks.recv_end(sock))
    program = tabi(local("timeout idle 500ms"))
    assert answer_to(request(b"/"))[0] == 504
    assert requests_of(program, 1)[0]["reason"] == "idle"


def test_time_to_connect(tabi):
    held = targets.blackhole("127.0.0.9", 7001)
    tabi(local("timeout connect 500ms"))
    assert answer_to(request(b"/", url=b"http://127.0.0.9:7001"))[0] == 504
    for one in held:
        one.close()


def test_a_stop_ends_who_waits_for_nothing(tabi, target):
    """At once, not when the time to drain is over."""
    target(serve_pages(echo_request))
    program = tabi(local("timeout drain 30s"))
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[0] == 200
        program.signal(15)
        assert socks.recv_end(sock) == (b"", "eof")
        program.wait_exit(5)


def test_a_reload_holds_for_the_next_request(tabi, target):
    """A connection that rests has no right to the old rules."""
    target(serve_pages(echo_request))
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[0] == 200
        program.write_config(HEAD + "deny from any\n")
        program.signal(1)
        program.wait_text("reload")
        sock.sendall(request(b"/"))
        assert socks.recv_end(sock)[0] == b""
    assert answer_to(request(b"/"))[0] == 403


def test_ipv6_and_names(tabi, target, dns_server):
    netns.add_address("2001:db8::7")
    dns_server({"six.test": ["2001:db8::7"], "none.test": dns.NXDOMAIN})
    target(serve_pages(echo_request), address="2001:db8::7")
    program = tabi(LOCAL)
    with socks.dial(PROXY) as sock:
        _, _, seen = ask(sock, b"/", url=b"http://[2001:DB8::7]:7000")
        assert b"\r\nHost: [2001:db8::7]:7000\r\n" in seen
        _, _, seen = ask(sock, b"/", url=b"HTTP://Six.test:7000")
        assert b"\r\nHost: Six.test:7000\r\n" in seen
    assert requests_of(program, 2)[1]["address"] == "[2001:db8::7]:7000"


def test_over_a_unix_socket(tabi, target, tmp_path):
    target(serve_pages(echo_request))
    program = tabi(f"listen {tmp_path}/s\nallow all\n")
    with socks.dial(tmp_path / "s") as sock:
        for _ in range(3):
            assert ask(sock, b"/")[0] == 200
    assert program.wait_session()["reason"] == "done"


@pytest.mark.slow
def test_idle_connections_cost_little(tabi, target):
    """A client that rests holds its socket, the destination's, and no buffer."""
    target(serve_pages(lambda *_: page(b"x")))
    program = tabi(LOCAL)
    idle = program.descriptors()
    resting = []

    def rest(n):
        for _ in range(n):
            resting.append(socks.dial(PROXY))
            assert ask(resting[-1], b"/")[0] == 200

    rest(20)
    memory = program.memory()
    rest(1000)
    each = (program.memory() - memory) / 1000
    print(f"\nuser memory per resting session: {each:.0f} bytes")
    check_memory(each, 1024)
    for sock in resting:
        sock.close()
    program.wait_descriptors(idle)


@pytest.fixture
def certificate(tmp_path):
    """The words of a `listen` statement that make it speak TLS."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-subj", "/CN=localhost", "-days", "1", "-keyout", tmp_path / "key.pem",
         "-out", tmp_path / "cert.pem"], check=True, capture_output=True)  # fmt: skip
    (tmp_path / "key.pem").chmod(0o600)
    return f"tls {tmp_path}/cert.pem {tmp_path}/key.pem"


def dial_tls():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socks.dial(PROXY))


def test_inside_tls(tabi, target, certificate):
    """Requests one after the other, sent ahead, and large in both directions: no byte may wait
    unseen in the layer between."""
    up, down = targets.pattern(8 * MB, "up"), targets.pattern(8 * MB, "down")

    def answer(head, body):
        if body and len(body) == len(up):
            return page(down if body == up else b"other")
        return page(head.split(b" ")[1])

    target(serve_pages(answer))
    program = tabi(LOCAL.replace("1080\n", f"1080 {certificate}\n", 1))
    with dial_tls() as sock:
        for i in range(100):
            assert ask(sock, b"/%d" % i)[2] == b"/%d" % i
        sock.sendall(b"".join(request(b"/%d" % i) for i in range(100)))
        for i in range(100):
            assert recv_page(sock)[2] == b"/%d" % i
        for chunked in (False, True):
            field = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(up)
            sock.sendall(request(b"/", field, method=b"PUT", body=in_chunks(up) if chunked else up))
            targets.check_same(recv_page(sock)[2], down)
        status, _, body = ask(sock, b"/", url=b"http://127.0.0.1:7009")
        assert status == 502 and b"refused" in body
        assert sock.recv(1) == b""
    line = program.wait_session()
    assert (line["requests"], line["reason"]) == ("202", "refused")


def test_half_an_answer_inside_tls(tabi, target, certificate):
    """An end that is no end of TLS."""
    def serve(sock):
        recv_head(sock)
        sock.sendall(OK + b"\r\nhalf")
        socks.recv_exact(sock, 1)
        socks.reset(sock)

    target(serve)
    tabi(LOCAL.replace("1080\n", f"1080 {certificate}\n", 1))
    with dial_tls() as sock:
        sock.sendall(request(b"/", b"Content-Length: 2", method=b"PUT", body=b"a"))
        assert socks.recv_head(sock)[0] == 200
        assert socks.recv_exact(sock, 4) == b"half"
        sock.suppress_ragged_eofs = False
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            sock.recv(1)
