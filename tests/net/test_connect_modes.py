# SPDX-License-Identifier: MIT
"""tabi connect's other modes: datagrams, listening, scanning, handing the connection over."""

import fcntl
import os
import re
import socket

import pytest

from harness import connect as c
from harness import socks, targets, udp
from harness.config import LOCAL, local
from harness.connect import check, connect, start
from harness.tabi import run
from test_bind import stray

SOCKS5 = "socks5h://127.0.0.1:1080"
TO = ("127.0.0.1", "7000")

# Datagrams


@pytest.mark.parametrize("way", (("-x", SOCKS5), ("-D",)))
@pytest.mark.parametrize("to", (TO, ("::1", "7000"), ("localhost", "7000")))
def test_a_datagram_for_each_write(tabi, echo, way, to):
    """And back, until the idle time is over."""
    echo("::1" if to[0] == "::1" else "127.0.0.1")
    other = echo("::1", 7001) if to[0] == "::1" else echo("127.0.0.1", 7001)
    tabi(LOCAL)
    if to[0] == "localhost" and way == ("-D",):
        to = ("127.0.0.1", "7000")
    with start("-u", "-i", "1", *way, *to) as p:
        for text in (b"one", b"two\nlines\n", bytes(20000), b"\0"):
            os.write(p.stdin.fileno(), text)
            got = b""
            while len(got) < len(text):
                got += os.read(p.stdout.fileno(), 65536)
            assert got == text
        assert p.wait(10) == c.TIMEOUT
    assert other.seen == []


def test_datagrams_are_counted_one_by_one(tabi, echo):
    remote = echo()
    program = tabi(LOCAL)
    with start("-u", "-q", "0.3", "-x", SOCKS5, *TO) as p:
        for text in (b"one", b"two", b"three"):
            os.write(p.stdin.fileno(), text)
            assert os.read(p.stdout.fileno(), 100) == text
        p.stdin.close()
        assert p.wait(10) == c.OK
    assert [data for data, _ in remote.seen] == [b"one", b"two", b"three"]
    record = program.wait_session(command="udp", reason="done")
    assert record["packets-up"] == record["packets-down"] == "3"


def test_the_longest_datagram(tabi, echo):
    """A file is cut into datagrams as long as they may be with the proxy's header."""
    remote = echo()
    tabi(LOCAL)
    data = targets.pattern(65507 - 10 + 100, "udp")
    done = connect("-u", "-q", "0.5", "-x", SOCKS5, *TO, data=data)
    check(done, c.OK)
    assert [len(d) for d, _ in remote.seen][0] in (65507 - 10, 65536 - 4096)
    assert b"".join(d for d, _ in remote.seen) == data
    assert done.stdout == data


def test_datagrams_with_a_password(tabi, echo, tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    echo()
    tabi(local(f"auth password {tmp_path}/users"))
    proxy = "socks5h://alice:secret@127.0.0.1:1080"
    done = check(connect("-u", "-q", "0.3", "-x", proxy, *TO, data=b"text"), c.OK)
    assert done.stdout == b"text"


def chain_of(tabi, n):
    """`n` proxies in a row, and the URLs of them."""
    programs = [tabi(LOCAL.replace(":1080", f":{1080 + i}")) for i in range(n)]
    return programs, ",".join(f"socks5h://127.0.0.1:{1080 + i}" for i in range(n))


@pytest.mark.parametrize("n", (2, 3))
def test_datagrams_through_a_chain(tabi, echo, n):
    """As long as they may be with the headers of all proxies, each of which has an association."""
    remote = echo()
    programs, urls = chain_of(tabi, n)
    data = targets.pattern(65507 - 10 * n + 100, "udp")
    done = check(connect("-u", "-v", "-q", "0.5", "-x", urls, *TO, data=data), c.OK)
    assert [len(d) for d, _ in remote.seen][0] in (65507 - 10 * n, 65536 - 4096)
    assert done.stdout == data == b"".join(d for d, _ in remote.seen)
    for i, program in enumerate(programs):
        line = program.wait_session(command="udp")
        assert line["packets-up"] == str(len(remote.seen))
        assert len([r for r in program.sessions() if r["command"] == "connect"]) <= n - 1 - i


def test_datagrams_through_a_chain_by_name(tabi, echo, dns_server):
    """The last proxy looks it up."""
    dns_server({"www.example": ["127.0.0.1"]})
    echo()
    programs, urls = chain_of(tabi, 1)
    last = tabi(LOCAL.replace(":1080", ":1090"))
    done = connect("-u", "-q", "0.3", "-x", f"{urls},socks5h://127.0.0.1:1090", "www.example", "7000",
                   data=b"text")
    assert check(done, c.OK).stdout == b"text"
    assert last.wait_session(command="udp")["packets-down"] == "1"


@pytest.mark.parametrize("deny", (0, 1))
def test_datagrams_refused_in_a_chain(tabi, deny):
    """It is said by whom, and that it was UDP that he refused."""
    for i in range(2):
        tabi(local("deny command udp" if i == deny else "").replace(":1080", f":{1080 + i}"))
    done = connect("-u", "-x", "socks5h://127.0.0.1:1080,socks5h://127.0.0.1:1081", *TO, data=b"x")
    check(done, c.DENIED, f"127.0.0.1:{1080 + deny}: UDP: denied")


@pytest.mark.parametrize("urls", ("http://127.0.0.1:1080,socks5h://127.0.0.1:1081",
                                  "socks5h://127.0.0.1:1081,socks4a://127.0.0.1:1080"))  # fmt: skip
def test_datagrams_where_a_proxy_of_a_chain_has_none(tabi, urls):
    chain_of(tabi, 2)
    done = connect("-u", "-x", urls, *TO, data=b"x")
    check(done, c.UNSUPPORTED, "127.0.0.1:1080", "no word for this command")


@pytest.mark.parametrize("hop", (0, 1))
def test_a_proxy_of_the_chain_ends(tabi, echo, hop):
    echo()
    programs, urls = chain_of(tabi, 2)
    with start("-u", "-x", urls, *TO) as p:
        os.write(p.stdin.fileno(), b"text")
        assert os.read(p.stdout.fileno(), 100) == b"text"
        programs[hop].stop()
        assert p.wait(10) == c.CUT


def test_datagrams_refused(tabi):
    tabi(local("deny command udp"))
    check(connect("-u", "-x", SOCKS5, *TO, data=b"text"), c.DENIED, "UDP: denied")


def test_datagrams_to_nobody():
    """Directly ICMP tells; through a proxy nothing does."""
    done = connect("-u", "-D", *TO, data=b"text")
    check(done, c.REFUSED, "127.0.0.1:7000: connection refused")


def relay_of(target, told="127.0.0.1"):
    """A proxy of ours that grants UDP; returns its socket for datagrams and its target."""
    relay = udp.udp_socket()

    def serve(sock):
        sock.recv(100)
        sock.sendall(b"\5\0")
        sock.recv(100)
        port = relay.getsockname()[1].to_bytes(2, "big")
        sock.sendall(b"\5\0\0\1" + socket.inet_aton(told) + port)
        sock.recv(1)

    return relay, target(serve, port=1080)


@pytest.mark.case("U24")
def test_zeros_stand_for_the_proxy(target):
    relay, _ = relay_of(target, "0.0.0.0")
    with start("-u", "-x", SOCKS5, *TO) as p:
        os.write(p.stdin.fileno(), b"text")
        data, client = relay.recvfrom(1000)
        assert data == udp.datagram("127.0.0.1", 7000, b"text")
        relay.sendto(data, client)
        assert os.read(p.stdout.fileno(), 100) == b"text"
        p.kill()


def test_the_association_ends(target):
    """The proxy closes the connection on which it was asked for."""
    relay, seen = relay_of(target)
    with start("-u", "-x", SOCKS5, *TO) as p:
        os.write(p.stdin.fileno(), b"text")
        relay.recvfrom(1000)
        seen.wait_accepted().shutdown(socket.SHUT_RDWR)
        assert p.wait(10) == c.CUT


def test_datagrams_of_others(target):
    """From another port, another address, fragments and nonsense: dropped, each of them."""
    relay, _ = relay_of(target)
    with start("-u", "-x", SOCKS5, *TO) as p:
        os.write(p.stdin.fileno(), b"text")
        _, client = relay.recvfrom(1000)
        for bad in (
            udp.datagram("127.0.0.1", 7001, b"bad"),
            udp.datagram("127.0.0.2", 7000, b"bad"),
            udp.datagram("127.0.0.1", 7000, b"bad", frag=1),
            b"",
            b"\0\0\0",
            b"\0\0\0\7bad",
        ):
            relay.sendto(bad, client)
        relay.sendto(udp.datagram("127.0.0.1", 7000, b"good"), client)
        assert os.read(p.stdout.fileno(), 100) == b"good"
        p.kill()


# Listening


def listening(p):
    line = p.stderr.readline().decode()
    found = re.fullmatch(r"tabi connect: listening on 127\.0\.0\.1:(\d+)\n", line)
    assert found, line
    return "127.0.0.1", int(found[1])


@pytest.mark.parametrize("scheme", ("socks4", "socks5h"))
@pytest.mark.parametrize("peer", ((), ("--peer", "127.0.0.2"), ("--peer", "127.0.0.2:0")))
def test_listen(tabi, scheme, peer):
    tabi(LOCAL)
    with start("-l", *peer, "-x", f"{scheme}://127.0.0.1:1080") as p:
        where = listening(p)
        if peer and scheme == "socks5h":
            # SOCKS4 ends it all for a stranger.
            assert stray(where)
        with socket.create_connection(where, 10, ("127.0.0.2", 0)) as sock:
            said = p.stderr.readline().decode()
            assert said == "tabi connect: connection from 127.0.0.2:%d\n" % sock.getsockname()[1]
            sock.sendall(b"to the client")
            assert p.stdout.read(13) == b"to the client"
            p.stdin.write(b"to the peer")
            p.stdin.close()
            assert socks.recv_end(sock) == (b"to the peer", "eof")
            sock.close()
        assert p.wait(10) == c.OK


def test_listen_refused(tabi):
    tabi(local("deny command bind"))
    check(connect("-l", "-x", SOCKS5), c.DENIED, "listening: denied")
    check(connect("-l", "-x", "http://127.0.0.1:1080"), c.UNSUPPORTED, "no word for this command")


def test_nobody_comes(tabi):
    """The proxy's time for it is over."""
    tabi(local("timeout bind 300ms"))
    check(connect("-l", "-x", SOCKS5), c.TIMEOUT, "listening on", "nobody came")


# Scanning


@pytest.mark.parametrize("way", (("-x", SOCKS5), ("-x", "http://127.0.0.1:1080"), ("-D",)))
def test_scan(tabi, target, way):
    seen = target(port=7000)
    target(port=7002)
    tabi(local("deny to any port 7003-7005"))
    through = way[0] == "-x"
    done = check(connect("-z", *way, "127.0.0.1", "7000-7004,6999"), c.OK)
    closed = "unreachable" if "http" in way[-1] else "refused"
    denied = "denied" if through else "refused"
    words = ("open", closed, "open", denied, denied, closed)
    ports = (7000, 7001, 7002, 7003, 7004, 6999)
    assert done.stdout.decode() == "".join(
        f"127.0.0.1:{port} {word}\n" for port, word in zip(ports, words)
    )
    assert socks.recv_end(seen.wait_accepted()) == (b"", "eof")


@pytest.mark.parametrize(
    "port, status, word", (("7000", c.OK, "open"), ("7001", c.REFUSED, "refused"), ("7003", c.DENIED, "denied"))
)
def test_scan_one(tabi, target, port, status, word):
    target()
    tabi(local("deny to any port 7003"))
    done = connect("-z", "-x", SOCKS5, "127.0.0.1:" + port)
    assert (done.returncode, done.stdout.decode()) == (status, f"127.0.0.1:{port} {word}\n")


def test_scan_many(tabi, target):
    """In order, however they come; standard input is left alone."""
    target()
    tabi(LOCAL)
    done = check(connect("-z", "-x", SOCKS5, "127.0.0.1", "6500-7499"), c.OK)
    lines = done.stdout.decode().splitlines()
    assert [int(line.split()[0].split(":")[1]) for line in lines] == list(range(6500, 7500))
    assert [line for line in lines if not line.endswith("refused")] == ["127.0.0.1:7000 open"]


def test_scan_without_a_proxy():
    """What is wrong is said once, not for each port."""
    done = connect("-z", "-x", SOCKS5, "127.0.0.1", "1-1000")
    check(done, c.UNREACHABLE_PROXY)
    assert done.stdout == b"" and done.stderr.count(b"connection refused") == 1


def test_scan_with_time(tabi):
    held = targets.blackhole()
    done = connect("-z", "-w", "0.3", "-D", "127.0.0.1", "7009")
    assert (done.returncode, done.stdout) == (c.TIMEOUT, b"127.0.0.1:7009 timeout\n")
    for sock in held:
        sock.close()


# Handing over


def test_pass_fd(tabi, target):
    """As ssh wants it with ProxyUseFdpass: a byte and a descriptor, which blocks."""
    target(targets.greet(b"first"))
    program = tabi(LOCAL)
    theirs, ours = socket.socketpair()
    theirs.settimeout(10)
    with start("-F", "-x", SOCKS5, *TO, stdout=ours) as p:
        ours.close()
        data, fds, _, _ = socket.recv_fds(theirs, 10, 4)
        assert (data, len(fds)) == (b"\0", 1)
        assert p.wait(10) == c.OK
    assert not fcntl.fcntl(fds[0], fcntl.F_GETFL) & os.O_NONBLOCK
    with socket.socket(fileno=fds[0]) as sock:
        sock.settimeout(10)
        assert socks.recv_exact(sock, 5) == b"first"
        targets.ping(sock)
    program.wait_session(reason="done")
    theirs.close()


def test_pass_fd_to_what_takes_none(tabi, target):
    target(targets.echo)
    tabi(LOCAL)
    check(connect("-F", "-x", SOCKS5, *TO), c.LOCAL, "takes no descriptor")


def test_pass_fd_with_tls():
    done = connect("-F", "-x", "https://127.0.0.1:1443", *TO)
    check(done, c.USAGE, "--pass-fd", "TLS")
