# SPDX-License-Identifier: MIT
"""What each can do is tested elsewhere; here two or three of them at once."""

import socket

import pytest
from test_http_forward import (
    ask, echo_request, page, recv_head, recv_page, request, requests_of, serve_pages,
)  # fmt: skip

from harness import dns, mcast, socks, targets, tls, udp
from harness import proxyproto as pp
from harness.config import HEAD, PROXY, local
from harness.tabi import run, wait_until

CLIENT = "192.0.2.7"
FRONT = "listen 127.0.0.1:1443 proxy-protocol from 127.0.0.1"


def front(ca, *words):
    """A balancer's listener with TLS."""
    return " ".join((FRONT, "tls", ca.path("server.pem"), ca.path("server.key"), *words))


def dial(ca, source=CLIENT, name=None):
    sock = socks.dial(("127.0.0.1", 1443))
    sock.sendall(pp.v2(source))
    mine = (ca.path(name + ".pem"), ca.path(name + ".key")) if name else ()
    return tls.Tls(sock, tls.client(ca.pem, *mine))


def users(tmp_path, *names):
    for name in names:
        run("passwd", str(tmp_path / "users"), name, input="secret\n")
    return f"auth password {tmp_path}/users"


def basic(name):
    return socks.basic(name, "secret").rstrip()


def test_http_with_a_certificate_behind_a_balancer(tabi, target, authority):
    """Every request is the certificate's, and judged by the rules that are in force."""
    target(serve_pages(echo_request))
    words = front(authority, "client-ca", authority.pem) + "\n"
    program = tabi(HEAD + words + f"allow from {CLIENT} method cert user alice to loopback\n")
    idle = program.descriptors()
    with dial(authority, name="alice") as sock:
        for _ in range(3):
            assert ask(sock, b"/")[0] == 200
        assert ask(sock, b"/", url=b"http://198.51.100.1:1080")[0] == 403, "the balancer is self"
    for line in requests_of(program, 3):
        assert (line["from"], line["user"], line["method"]) == (f"{CLIENT}:54321", "alice", "cert")
    with dial(authority, name="alice") as sock:
        assert ask(sock, b"/")[0] == 200
        program.write_config(HEAD + words + "deny from any\n")
        program.signal(1)
        program.wait_text("reload")
        sock.sendall(request(b"/"))
        assert socks.recv_end(sock)[0] == b""
    with dial(authority, name="alice") as sock:
        assert ask(sock, b"/")[0] == 403
    program.wait_descriptors(idle)


def test_users_take_turns_on_one_connection(tabi, target, tmp_path):
    """What a destination knows of one user's connection is not for another (RFC 4559 lets the
    connection stand for who has logged in there)."""
    opened = []

    def serve(sock):
        opened.append(sock)
        serve_pages(lambda *_: page(b"%d" % len(opened)))(sock)

    target(serve)
    program = tabi(HEAD + users(tmp_path, "alice", "bob", "carol")
                   + "\nallow from loopback user alice,bob to loopback\n")  # fmt: skip
    with socks.dial(PROXY) as sock:
        seen = []
        for name in ("alice", "alice", "bob", "bob", "alice"):
            status, _, body = ask(sock, b"/", basic(name))
            assert status == 200
            seen.append(body)
        assert seen == [b"1", b"1", b"2", b"2", b"3"]
        assert ask(sock, b"/", basic("carol"))[0] == 403
    who = [line["user"] for line in requests_of(program, 5)]
    assert who == ["alice", "alice", "bob", "bob", "alice"]


def test_name_that_moves_between_requests(tabi, target, dns_server):
    """What is judged is what is connected to: a connection to where the name no longer points is
    not used again, nor one to where the rules no longer let it point."""
    dns_server({"moves.test": dns.Alternate(["127.0.0.2"], ["127.0.0.3"], ["127.0.0.4"])})
    goals = [target(serve_pages(lambda head, body, last=last: page(b"%d" % last)), f"127.0.0.{last}")
             for last in (2, 3, 4)]  # fmt: skip
    program = tabi(HEAD + "deny to 127.0.0.4\nallow to loopback\n")
    with socks.dial(PROXY) as sock:
        url = b"http://moves.test:7000"
        assert ask(sock, b"/", url=url)[2] == b"2"
        assert ask(sock, b"/", url=url)[2] == b"2"
        # The answer is kept for a while.
        wait_until(lambda: ask(sock, b"/", url=url)[2] == b"3", what="the next address")
        wait_until(lambda: ask(sock, b"/", url=url)[0] == 403, what="the last address")
    assert [goal.accepted for goal in goals] == [1, 1, 0]
    assert program.wait_session()["address"] == "127.0.0.4:7000"


@pytest.mark.parametrize(
    "host",
    (b"127.0.0.1:1080", b"127.9.9.9:1080", b"[::1]:1080", b"[::ffff:127.0.0.1]:1080", b"0.0.0.0:1080",
     b"[::]:1080", b"self.test:1080"),
)  # fmt: skip
def test_requests_to_this_proxy(tabi, target, dns_server, host):
    """Behind one that was in order, and with its connection still there."""
    dns_server({"self.test": ["127.0.0.1"]})
    target(serve_pages(echo_request))
    program = tabi(local())
    with socks.dial(PROXY) as sock:
        assert ask(sock, b"/")[0] == 200
        assert ask(sock, b"/", url=b"http://" + host)[0] == 403
    assert program.wait_session()["reason"] == "self"


@pytest.mark.parametrize("source, code", (("127.0.0.5", 0), ("2001:db8:7::9", 8)))
def test_groups_behind_a_balancer(tabi, source, code):
    """Datagrams go between the client and us. To one of the other family there is no way; the
    connection serves him as well."""
    program = tabi(HEAD + FRONT + "\nallow command udp from 127.0.0.5,2001:db8:7::/48 to loopback\nallow command multicast from 127.0.0.5,2001:db8:7::/48 to 239.1.2.3\n")

    def begin(proxy):
        sock = socks.dial(proxy)
        sock.sendall(pp.v2(source))
        return sock

    with udp.Echo(port=7000), mcast.Client(("127.0.0.1", 1443), dial=begin, source="127.0.0.5") as one:
        reply = one.ask(mcast.BIND, mcast.RECEIVE | mcast.SEND | mcast.UNICAST,
                        remote=("127.0.0.1", 7000), local=("127.0.0.5", one.local[1]))  # fmt: skip
        assert reply.code == code
        if not code:
            stranger = udp.udp_socket("127.0.0.1")
            stranger.sendto(mcast.packet(reply.aid, b"from the balancer"), reply.local)
            one.send(reply, b"mine")
            assert one.recv(reply) == b"mine"
            assert udp.is_quiet(stranger)
            stranger.close()
        over = one.ask(mcast.BIND, mcast.RECEIVE | mcast.SEND | mcast.TCP,
                       remote=("127.0.0.1", 7000))  # fmt: skip
        assert over.code == 0
        one.control.sendall(mcast.encapsulated(over.aid, b"within"))
        assert one.recv_data() == (over.aid, b"within")
    line = program.wait_session(command="multicast")
    assert (line["from"].endswith(":54321"), line.get("drop-stranger")) == (True, None if code else "1")


@pytest.mark.parametrize("shared", ("", "udp-ports shared 5300\n"))
def test_association_behind_a_balancer_in_tls(tabi, authority, shared):
    with udp.Echo():
        program = tabi(HEAD + shared + front(authority) + "\nallow from 127.0.0.5\n")
        with dial(authority, "127.0.0.5") as sock, udp.udp_socket("127.0.0.5") as mine:
            socks.hello5(sock)
            sock.sendall(socks.request5("0.0.0.0", 0, socks.UDP))
            code, host, port, _ = socks.recv_reply5(sock)
            assert code == 0
            with udp.udp_socket("127.0.0.1") as other:
                other.sendto(udp.datagram("127.0.0.1", 7000, b"theirs"), (host, port))
            mine.sendto(udp.datagram("127.0.0.1", 7000, b"mine"), (host, port))
            assert udp.parse(mine.recv(100)) == (("127.0.0.1", 7000), b"mine")
            sock.end()
        assert program.wait_session(command="udp", reason="done")["packets-up"] == "1"


def test_bind_behind_a_balancer_in_tls(tabi, authority):
    """Early data, the second reply, and bytes both ways."""
    program = tabi(HEAD + front(authority) + f"\nallow from {CLIENT}\n")
    with dial(authority) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.2", 0, socks.BIND) + b"early")
        code, host, port, _ = socks.recv_reply5(sock)
        assert code == 0
        with socket.create_connection((host, port), 10, ("127.0.0.2", 0)) as peer:
            assert socks.recv_reply5(sock)[0] == 0
            assert socks.recv_exact(peer, 5) == b"early"
            peer.sendall(b"back")
            assert socks.recv_exact(sock, 4) == b"back"
            sock.end()
            assert peer.recv(1) == b""
    program.wait_session(command="bind", reason="done")


@pytest.mark.parametrize("address, code", (("192.0.2.1", 0), ("192.0.2.9", 2)))
def test_resolve_behind_a_balancer_in_tls(tabi, dns_server, authority, address, code):
    dns_server({"name.test": [address]})
    program = tabi(HEAD + front(authority, "extended-replies") + f"\ndeny to 192.0.2.9\nallow from {CLIENT}\n")
    with dial(authority) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("name.test", 0, 0xF0))
        reply = socks.recv_reply5(sock)
        assert reply[0] == code and (code or reply[1] == address)
        assert socks.recv_end(sock) == (b"", "eof")
    assert program.wait_session(command="resolve")["from"] == f"{CLIENT}:54321"


def test_stop_while_all_are_at_work(tabi, target, authority):
    """Whoever waits for nothing is ended at once, an answer on its way is not cut."""
    go = []

    def serve(sock):
        recv_head(sock)
        go.append(sock)
        socks.recv_end(sock)

    def is_refused():
        try:
            socks.dial(PROXY).close()
        except ConnectionRefusedError:
            return True

    target(serve)
    program = tabi(HEAD + front(authority) + f"\nallow from {CLIENT},127.0.0.1\n")
    half, rest = dial(authority), dial(authority)
    half.sendall(request(b"/"))
    wait_until(lambda: go, what="the request")
    associated = udp.Association()
    go[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf ")
    assert socks.recv_head(half)[0] == 200
    program.signal(15)
    wait_until(is_refused, what="the listeners to be closed")
    go[0].sendall(b"whole")
    assert socks.recv_exact(half, 10) == b"half whole"
    assert socks.recv_end(half) == (b"", "eof")
    for one in (half, rest, associated):
        one.close()
    assert program.wait_exit() == 0
