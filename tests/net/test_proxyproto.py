# SPDX-License-Identifier: MIT
"""The PROXY protocol: listeners that are told whose a connection is, by those whom they believe."""

import itertools
import os
import socket
import ssl
import time

import pytest

from harness import proxyproto as pp
from harness import certs, socks, targets, tls, udp
from harness.config import PROXY
from harness.tabi import cpu_seconds, run, wait_until

PLAIN = ("127.0.0.1", 1081)
CLIENT = "192.0.2.7"

# Balancers are 127.0.0.1 and ::1, clients 192.0.2.0/24 and 2001:db8:7::/48.
HEAD = """\
workers 1
net balancers 127.0.0.1 ::1
listen 127.0.0.1:1080 proxy-protocol from balancers
listen [::1]:1080 proxy-protocol from balancers
listen 127.0.0.1:1081
resolver 127.0.0.1:5353
"""
CONF = HEAD + "allow from 192.0.2.0/24,2001:db8:7::/48\nallow from loopback listener 127.0.0.1:1081\n"

ASK = socks.greeting(0) + socks.request5("127.0.0.1", 7000)
HEADERS = {
    "v1-tcp4": pp.v1(CLIENT),
    "v1-tcp6": pp.v1("2001:db8:7::9"),
    "v2-tcp4": pp.v2(CLIENT),
    "v2-tcp6": pp.v2("2001:db8:7::9"),
    "v2-tlvs": pp.v2(CLIENT, tlvs=pp.tlv(1, b"h2") + pp.tlv(5, b"u" * 128) + pp.tlv(0xE0, b"x" * 1500)),
    "v2-crc32c": pp.v2_summed(CLIENT),
}
every_header = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())


def dial(header, proxy=PROXY, source=None):
    sock = socks.dial(proxy, source)
    sock.sendall(header)
    return sock


def code5(header, host="127.0.0.1", port=7000, proxy=PROXY):
    """The reply's code to a CONNECT behind the header."""
    with dial(header, proxy) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5(host, port))
        return socks.recv_reply5(sock)[0]


@every_header
@pytest.mark.parametrize("proxy", (PROXY, ("::1", 1080)), ids=("v4", "v6"))
def test_the_client_is_whom_the_header_names(tabi, target, header, proxy):
    target(targets.echo)
    program = tabi(CONF)
    with dial(header, proxy) as sock:
        me = sock.getsockname()
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
    line = program.wait_session()
    six = b"2001:" in header or len(header) == 52
    assert line["from"] == ("[2001:db8:7::9]:54321" if six else f"{CLIENT}:54321")
    assert line["proxied-to"] == ("[2001:db8::1080]:1080" if six else "198.51.100.1:1080")
    assert line["proxied-by"] == (f"[::1]:{me[1]}" if ":" in me[0] else f"127.0.0.1:{me[1]}")
    assert (line["verdict"], line["reason"]) == ("allow", "done")


@every_header
@pytest.mark.case("T1", "T2")
@pytest.mark.parametrize("size", (1, 2, 13, 4000))
def test_pieces_and_what_is_pipelined(tabi, target, header, size):
    target(targets.echo)
    tabi(CONF)
    with dial(b"") as sock:
        socks.send_split(sock, header + ASK + b"early", size)
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        assert socks.recv_reply5(sock)[0] == 0
        assert socks.recv_exact(sock, 5) == b"early"
        targets.ping(sock)


@pytest.mark.parametrize("header", (HEADERS["v1-tcp4"], HEADERS["v2-crc32c"]), ids=("v1", "v2"))
def test_every_place_to_split(tabi, header):
    """Each piece is read before the next is sent."""
    program = tabi(CONF)
    for at in range(1, len(header)):
        with dial(header[:at]) as sock:
            worker = program.workers()[0]
            wait_until(lambda: unread(worker, sock) == 0, what="the first piece to be read")
            sock.sendall(header[at:] + socks.greeting(0))
            assert socks.recv_exact(sock, 2) == b"\x05\x00", at


def unread(_, sock):
    """Bytes that the other end's socket holds, as the kernel tells."""
    port = f"{sock.getsockname()[1]:04X}"
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            fields = line.split()
            if fields[2].endswith(":" + port) and fields[1].endswith(":0438"):
                return int(fields[4].split(":")[1], 16)
    return 0


@pytest.mark.parametrize("ask, answer", (
    (socks.request4("127.0.0.1", 7000), b"\x00\x5a"),
    (socks.request_http("127.0.0.1:7000"), b"HTTP/1.1 200"),
), ids=("socks4", "http"))  # fmt: skip
def test_other_protocols_behind_it(tabi, target, ask, answer):
    target(targets.echo)
    tabi(CONF)
    with dial(pp.v2(CLIENT) + ask) as sock:
        assert socks.recv_exact(sock, len(answer)) == answer


def test_rules_are_about_the_client(tabi, target):
    seen = target(targets.echo)
    program = tabi(CONF)
    assert code5(pp.v1("192.0.3.7")) == 2
    assert code5(pp.v2("203.0.113.1")) == 2
    assert code5(pp.v2("2001:db8:8::1")) == 2
    # The balancer itself is no client of these rules.
    assert code5(pp.v1("127.0.0.1")) == 2
    assert seen.accepted == 0
    assert program.wait_session()["from"] == "192.0.3.7:54321"
    assert code5(pp.v1("::ffff:192.0.2.7", to="::ffff:198.51.100.1")) == 0
    assert program.wait_session(5)["from"] == f"{CLIENT}:54321"


REAL_ENDPOINTS = {
    "unknown": b"PROXY UNKNOWN\r\n",
    "unknown-with-more": b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    "local": pp.v2_raw(b"", pp.UNSPEC, pp.LOCAL),
    "local-junk": pp.v2_raw(b"junkjunkjunk", pp.UNSPEC, pp.LOCAL),
    "local-addresses": pp.v2(CLIENT, command=pp.LOCAL),
    "unspec": pp.v2_raw(b"", pp.UNSPEC),
    "unix": pp.v2_raw(b"/run/a".ljust(216, b"\0"), pp.UNIX),
    "datagram": pp.v2_raw(pp.addresses(CLIENT), pp.UDP4),
}


@pytest.mark.case("T9")
@pytest.mark.parametrize("header", REAL_ENDPOINTS.values(), ids=REAL_ENDPOINTS.keys())
def test_no_client_named_means_the_sender(tabi, target, header):
    target(targets.echo)
    program = tabi(HEAD + "allow from loopback\n")
    with dial(header) as sock:
        port = sock.getsockname()[1]
        sock.sendall(ASK)
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
    line = program.wait_session()
    assert line["from"] == f"127.0.0.1:{port}"
    assert "proxied-by" not in line


@pytest.mark.case("T9")
def test_local_is_no_way_in(tabi, target):
    """A named sender that names no client is judged itself."""
    seen = target(targets.echo)
    tabi(CONF)
    for header in REAL_ENDPOINTS.values():
        assert code5(header) == 2
    assert seen.accepted == 0


BAD = {
    "socks5": socks.greeting(0),
    "socks4": socks.request4("127.0.0.1", 7000),
    "http": socks.request_http("127.0.0.1:7000"),
    "tls": bytes.fromhex("160301020001"),
    "nothing-like-it": b"\0",
    "small-letters": b"proxy UNKNOWN\r\n",
    "no-crlf": b"PROXY UNKNOWN " + b"a" * 93,
    "no-crlf-and-on": b"PROXY TCP4 " + b" " * 3000,
    "leading-zero": b"PROXY TCP4 192.0.02.1 198.51.100.1 54321 1080\r\n",
    "two-spaces": b"PROXY  TCP4 192.0.2.1 198.51.100.1 54321 1080\r\n",
    "lf-alone": b"PROXY TCP4 192.0.2.1 198.51.100.1 54321 1080\n" + b"x" * 70,
    "wrong-sum": pp.v2_summed(CLIENT, wrong=1),
    "version-1": pp.v2_raw(pp.addresses(CLIENT), version=1),
    "version-3": pp.v2_raw(pp.addresses(CLIENT), version=3),
    "command-2": pp.v2_raw(pp.addresses(CLIENT), command=2),
    "family-4": pp.v2_raw(pp.addresses(CLIENT), 0x41),
    "too-short": pp.v2_raw(pp.addresses(CLIENT)[:-1]),
    "too-long": pp.v2_raw(pp.addresses(CLIENT) + pp.tlv(4, b"\0" * 2040)),
    "tlv-overrun": pp.v2_raw(pp.addresses(CLIENT) + b"\x04\xff\xff"),
    "unspecified": pp.v1("0.0.0.0"),
    "multicast": pp.v2("ff02::1"),
}


@pytest.mark.case("T8", "T10", "T11", "T12")
@pytest.mark.parametrize("first", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("split", (False, True), ids=("whole", "bytewise"))
def test_anything_else_is_the_end(tabi, target, first, split):
    """Nothing is answered, and nothing that follows is served."""
    seen = target(targets.echo)
    program = tabi(CONF)
    with dial(b"") as sock:
        try:
            socks.send_split(sock, first + ASK, 1 if split else 1 << 20)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert socks.recv_end(sock)[0] == b""
    line = program.wait_session()
    assert line["reason"] == "bad-proxy-header"
    assert "proxied-by" not in line and "protocol" not in line
    assert seen.accepted == 0


@pytest.mark.case("T7")
@pytest.mark.parametrize("header", (pp.v1(CLIENT), pp.v2(CLIENT)), ids=("v1", "v2"))
def test_a_header_where_none_is_asked_for(tabi, target, header):
    """It is garbage of some other protocol, and changes nobody's address."""
    seen = target(targets.echo)
    program = tabi(CONF)
    with dial(header + ASK, PLAIN) as sock:
        got, _ = socks.recv_end(sock)
        assert got == b"" or got.startswith(b"HTTP/1.1 400")
    assert program.wait_session()["from"].startswith("127.0.0.1:")
    assert seen.accepted == 0


@pytest.mark.case("T7")
@pytest.mark.parametrize("first, second", itertools.product((pp.v1(CLIENT), pp.v2(CLIENT)), repeat=2))
def test_a_second_header_is_garbage(tabi, target, first, second):
    seen = target(targets.echo)
    program = tabi(CONF)
    with dial(first + second + ASK) as sock:
        got, _ = socks.recv_end(sock)
        assert got == b"" or got.startswith(b"HTTP/1.1 400")
    assert program.wait_session()["from"] == f"{CLIENT}:54321"
    assert seen.accepted == 0


@pytest.mark.parametrize("first", (pp.v1(CLIENT) + ASK, pp.v2(CLIENT) + ASK, ASK, b""))
def test_only_named_senders(tabi, target, first):
    """Who is not one is nobody here: neither believed, nor served as a plain client."""
    seen = target(targets.echo)
    program = tabi(CONF)
    with socks.dial(PROXY, "127.0.0.2") as sock:
        port = sock.getsockname()[1]
        try:
            sock.sendall(first)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert socks.recv_end(sock)[0] == b""
    line = program.wait_session(reason="unnamed-sender")
    assert line["from"] == f"127.0.0.2:{port}"
    assert seen.accepted == 0


def test_a_header_that_does_not_come(tabi):
    """The handshake's time is for both together; waiting for a rest costs nothing."""
    program = tabi("timeout handshake 1s\n" + CONF)
    worker = program.workers()[0]
    before = cpu_seconds(worker)
    begin = time.monotonic()
    socks_ = [dial(first) for first in (b"", b"P", pp.v1(CLIENT)[:-1], pp.v2(CLIENT)[:-1], b"\r")]
    for sock in socks_:
        assert socks.recv_end(sock)[0] == b""
        sock.close()
    assert 0.9 < time.monotonic() - begin < 5
    assert cpu_seconds(worker) - before < 0.3
    assert program.wait_session(5)["reason"] == "handshake-timeout"


def test_trickled_header_gains_no_time(tabi):
    program = tabi("timeout handshake 1s\n" + CONF)
    begin = time.monotonic()
    with dial(b"") as sock:
        with pytest.raises(OSError):
            for byte in pp.v2(CLIENT) + ASK:
                time.sleep(0.1)
                sock.sendall(bytes([byte]))
    assert time.monotonic() - begin < 4
    assert program.wait_session()["reason"] == "handshake-timeout"


@pytest.mark.parametrize("first", (b"", b"PROXY ", pp.v2(CLIENT)[:20]))
def test_sender_that_goes(tabi, first):
    """A balancer looks whether somebody listens: no news, and nothing is left of it."""
    program = tabi("log level debug\n" + CONF)
    before = program.descriptors()
    with dial(first) as sock:
        if first:
            wait_until(lambda: unread(None, sock) == 0)
    line = program.wait_session()
    assert (line["reason"], line.level) == ("client-gone", "debug")
    program.wait_descriptors(before)


def test_unix_socket(tabi, target, tmp_path):
    target(targets.echo)
    path = tmp_path / "front.sock"
    program = tabi(
        f"workers 1\nlisten {path} mode 0600 proxy-protocol\nallow from 192.0.2.0/24\n"
    )
    assert code5(pp.v2(CLIENT), proxy=path) == 0
    line = program.wait_session()
    assert (line["from"], line["proxied-by"]) == (f"{CLIENT}:54321", "unix")
    assert code5(pp.v2("198.51.100.9"), proxy=path) == 2
    assert code5(pp.v2_raw(b"", pp.UNSPEC, pp.LOCAL), proxy=path) == 2
    assert program.wait_session(3)["from"] == "unix"
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_methods_are_for_the_client(tabi, tmp_path):
    users = tmp_path / "users"
    assert run("passwd", str(users), "alice", input="secret\n").returncode == 0
    program = tabi(HEAD + f"auth none from 192.0.2.0/24\nauth password {users}\nallow all\n")
    with dial(pp.v1(CLIENT) + socks.greeting(0)) as sock:
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
    with dial(pp.v1("198.51.100.9") + socks.greeting(0)) as sock:
        assert socks.recv_end(sock)[0] == b"\x05\xff"
    with dial(pp.v1("198.51.100.9") + socks.greeting(2) + socks.userpass("alice", "wrong")) as sock:
        assert socks.recv_end(sock)[0] == b"\x05\x02\x01\x01"
    line = program.wait_for_log(lambda r: r.event == "auth-failed")
    assert line["from"] == "198.51.100.9:54321"
    # What fail2ban looks at comes first.
    assert "auth-failed worker=0 from=198.51.100.9:54321 " in line.line


def test_guesses_are_counted_for_the_client(tabi, tmp_path):
    """One client behind the balancer that guesses does not slow down the others there."""
    users = tmp_path / "users"
    assert run("passwd", str(users), "alice", input="secret\n").returncode == 0
    tabi(HEAD + f"auth password {users}\nallow all\n")

    def login(client, user, password):
        begin = time.monotonic()
        with dial(pp.v2(client) + socks.greeting(2) + socks.userpass(user, password)) as sock:
            answer = socks.recv_exact(sock, 4)
        return answer[3] == 0, time.monotonic() - begin

    guesses = [login("192.0.2.66", f"user{i}", "x") for i in range(24)]
    assert not any(ok for ok, _ in guesses)
    slow = [
        dial(pp.v2("192.0.2.66") + socks.greeting(2) + socks.userpass(f"more{i}", "x"))
        for i in range(20)
    ]
    ok, seconds = login("192.0.2.8", "alice", "secret")
    assert ok and seconds < 1
    for sock in slow:
        sock.close()


def test_the_front_is_self(tabi, target):
    """Connecting to where the client was taken in would come back here, and again."""
    seen = target(targets.echo)
    program = tabi(CONF)
    header = pp.v2(CLIENT, 54321, "127.0.0.1", 7000)
    assert code5(header) == 2
    assert program.wait_session()["reason"] == "self"
    assert code5(header, port=1080) == 2
    assert seen.accepted == 0
    assert code5(pp.v2(CLIENT, 54321, "127.0.0.1", 7001)) == 0


class Proxied(udp.Association):
    """Whose connection comes through a balancer: `source` is the client's own address."""

    def __init__(self, header, source):
        self.control = dial(header)
        socks.hello5(self.control)
        self.control.sendall(socks.request5("0.0.0.0", 0, socks.UDP))
        code, host, port, _ = socks.recv_reply5(self.control)
        assert code == 0, f"reply {code}"
        self.relay = (host, port)
        self.sock = udp.udp_socket(source)


def test_datagrams_come_from_the_client(tabi):
    """Neither from the balancer nor from anybody else."""
    echo = udp.Echo()
    program = tabi(HEAD + "allow from 127.0.0.5\n")
    with Proxied(pp.v2("127.0.0.5"), "127.0.0.5") as a:
        other = udp.udp_socket("127.0.0.1")
        other.sendto(udp.datagram("127.0.0.1", 7000, b"from the balancer"), a.relay)
        assert a.ask("127.0.0.1", 7000, b"mine") == ("127.0.0.1", 7000)
        assert udp.is_quiet(other)
        other.close()
    assert [data for data, _ in echo.seen] == [b"mine"]
    line = program.wait_session()
    assert (line["from"], line["drop-stranger"]) == ("127.0.0.5:54321", "1")
    echo.close()


def test_datagrams_of_a_client_of_the_other_family(tabi):
    """It could not reach the socket; better to be told."""
    program = tabi(CONF)
    with dial(pp.v2("2001:db8:7::9")) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("::", 0, socks.UDP))
        assert socks.recv_end(sock) == (socks.failure5(8), "eof")
    assert program.wait_session()["reason"] == "no-family"


def test_reload_changes_the_senders(tabi, target):
    target(targets.echo)
    program = tabi(CONF)
    assert code5(pp.v2(CLIENT)) == 0
    program.write_config(CONF.replace("net balancers 127.0.0.1 ", "net balancers 127.0.0.9 "))
    program.signal(1)
    program.wait_text("the configuration was reloaded")
    with dial(pp.v2(CLIENT)) as sock:
        assert socks.recv_end(sock)[0] == b""
    with dial(pp.v2(CLIENT), source="127.0.0.9") as sock:
        socks.hello5(sock)


def test_many_at_once(tabi, target):
    """Headers of different clients on connections that live together are not mixed up."""
    target(targets.echo)
    program = tabi(CONF)
    open_ = []
    for i in range(1, 200):
        sock = dial(pp.v2(f"192.0.2.{i}", 1000 + i)[: 3 + i % 20])
        open_.append((i, sock))
    for i, sock in open_:
        sock.sendall(pp.v2(f"192.0.2.{i}", 1000 + i)[3 + i % 20 :] + ASK)
    for i, sock in open_:
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
        sock.close()
    for i, _ in open_:
        line = program.wait_session(**{"from": f"192.0.2.{i}:{1000 + i}"})
        assert line["reason"] == "done"


def test_socket_options_survive(tabi, target):
    """The end of the client's stream behind the header is still an end of stream."""
    target(targets.answer_after_eof(b"the answer"))
    tabi(CONF)
    with dial(pp.v1(CLIENT) + ASK) as sock:
        assert socks.recv_exact(sock, 12)[2:4] == b"\x05\x00"
        sock.shutdown(socket.SHUT_WR)
        assert socks.recv_end(sock) == (b"the answer", "eof")


class Fronted:
    """A socket before whose first bytes a header goes, in the same segment or apart."""

    def __init__(self, header, together):
        self.sock = dial(b"" if together else header, ("127.0.0.1", 1443))
        self.first = header if together else b""

    def sendall(self, data):
        self.sock.sendall(self.first + data)
        self.first = b""

    def __getattr__(self, name):
        return getattr(self.sock, name)


@pytest.mark.parametrize("together", (True, False), ids=("together", "apart"))
@pytest.mark.parametrize("header", (pp.v1(CLIENT), pp.v2_summed(CLIENT)), ids=("v1", "v2"))
def test_tls_behind_the_header(tabi, target, tmp_path, header, together):
    """Not a byte of the TLS handshake is taken for the header's."""
    target(targets.echo)
    ca = certs.Authority(tmp_path)
    pem, key = ca.server()
    program = tabi(
        "workers 1\n"
        f"listen 127.0.0.1:1443 tls {pem} {key} proxy-protocol from 127.0.0.1\n"
        "allow from 192.0.2.0/24\n"
    )
    with tls.Tls(Fronted(header, together), tls.client(ca.pem)) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
        sock.end()
        assert sock.recv(1) == b""
    line = program.wait_session()
    assert (line["from"], line["reason"]) == (f"{CLIENT}:54321", "done")


def test_tls_without_the_header(tabi, tmp_path):
    ca = certs.Authority(tmp_path)
    pem, key = ca.server()
    program = tabi(
        "workers 1\n"
        f"listen 127.0.0.1:1443 proxy-protocol from 127.0.0.1 tls {pem} {key}\n"
        "allow from 192.0.2.0/24\n"
    )
    with pytest.raises((ssl.SSLError, OSError)):
        tls.Tls(dial(b"", ("127.0.0.1", 1443)), tls.client(ca.pem))
    assert program.wait_session()["reason"] == "bad-proxy-header"
