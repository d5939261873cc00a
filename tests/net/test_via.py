# SPDX-License-Identifier: MIT
"""Through other proxies: chains, groups, names, credentials, failures."""

import itertools
import socket
import struct
import threading

import pytest

from harness import dns, socks, targets
from harness.config import PROXY
from harness.tabi import run, wait_until

MB = 1 << 20
NAMES = {"www.example": ["127.0.0.1"], "localhost": ["127.0.0.1"]}


def front(*lines, rules="allow from loopback to any via up\n", words=""):
    """Ours: everything goes through `up`."""
    return (
        f"workers 1\nlisten 127.0.0.1:1080{words}\nresolver 127.0.0.1:5353\n"
        + "".join(line + "\n" for line in lines)
        + rules
    )


def back(port, *lines, words="", rules="allow from loopback to any\n"):
    """Another one, which is gone through."""
    return (
        f"workers 1\nlisten 127.0.0.1:{port}{words}\nresolver 127.0.0.1:5353\n"
        + "".join(line + "\n" for line in lines)
        + rules
    )


def tls(authority):
    return f" tls {authority.path('server.pem')} {authority.path('server.key')}"


def check_echo(sock, n=100_000, seed="via"):
    data = targets.pattern(n, seed)
    thread = threading.Thread(target=sock.sendall, args=(data,))
    thread.start()
    targets.check_same(socks.recv_exact(sock, len(data)), data)
    thread.join()
    sock.shutdown(socket.SHUT_WR)
    assert socks.recv_end(sock) == (b"", "eof")
    sock.close()


def read_socks5_request(sock):
    """What a SOCKS5 client without credentials asks for: (ATYP, address, port)."""
    greeting = socks.recv_exact(sock, 2)
    socks.recv_exact(sock, greeting[1])
    sock.sendall(b"\5\0")
    head = socks.recv_exact(sock, 4)
    size = {1: 4, 4: 16}.get(head[3]) or socks.recv_exact(sock, 1)[0]
    address = socks.recv_exact(sock, size)
    return head[3], address, struct.unpack(">H", socks.recv_exact(sock, 2))[0]


def says(code):
    """A proxy that answers every request with this code."""

    def serve(sock):
        asked = read_socks5_request(sock)
        sock.sendall(socks.failure5(code))
        return asked

    return serve


# ---- one hop and more ----


@pytest.mark.parametrize("scheme", ("socks4", "socks4a", "socks5", "socks5h", "http"))
@pytest.mark.parametrize("mine", ("socks4", "socks5", "http"))
def test_one_hop(tabi, target, scheme, mine):
    target(targets.echo)
    second = tabi(back(1081))
    first = tabi(front(f"proxy up {scheme}://127.0.0.1:1081"))
    check_echo(socks.OPEN[mine](PROXY, "127.0.0.1", 7000))
    line = first.wait_session(reason="done")
    assert (line["via"], line["proxy"], line["to"]) == ("up", "127.0.0.1:1081", "127.0.0.1:7000")
    assert (line["verdict"], line["up"], line["down"]) == ("allow", "100000", "100000")
    spoken = {"socks4a": "socks4", "socks5h": "socks5"}.get(scheme, scheme)
    assert second.wait_session(reason="done")["protocol"] == spoken


@pytest.mark.parametrize("scheme", ("socks5+tls", "https"))
def test_tls_hop(tabi, target, authority, dns_server, scheme):
    dns_server(NAMES)
    target(targets.echo)
    tabi(back(1081, words=tls(authority)))
    first = tabi(front(f"proxy up {scheme}://localhost:1081 ca {authority.pem}"))
    check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 8 * MB)
    assert first.wait_session(reason="done")["proxy"] == "localhost:1081"


KINDS = {
    "socks4a": "socks4a://127.0.0.1:{}",
    "socks5h": "socks5h://127.0.0.1:{}",
    "http": "http://127.0.0.1:{}",
    "tls": "socks5+tls://localhost:{}",
}


@pytest.mark.parametrize("kinds", list(itertools.permutations(KINDS, 3)))
def test_chain_of_three(tabi, target, authority, dns_server, kinds):
    """All kinds in any order; TLS runs inside of what comes before it."""
    dns_server(NAMES)
    target(targets.echo)
    hops = []
    for port, kind in zip((1081, 1082, 1083), kinds):
        tabi(back(port, words=tls(authority) if kind == "tls" else ""))
        hops.append(KINDS[kind].format(port))
    words = f" ca {authority.pem}" if "tls" in kinds else ""
    first = tabi(front(f"proxy up {','.join(hops)}{words}"))
    check_echo(socks.open5(PROXY, "127.0.0.1", 7000), MB)
    line = first.wait_session(reason="done")
    assert line["proxy"].count(",") == 2


def test_bytes_behind_the_request(tabi, target):
    """What a client sends ahead waits until the chain stands."""
    target(targets.echo)
    tabi(back(1081))
    tabi(front("proxy up socks5h://127.0.0.1:1081"))
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000) + b"early")
        assert socks.recv_exact(sock, 2) == b"\5\0"
        assert socks.recv_reply5(sock)[0] == 0
        assert socks.recv_exact(sock, 5) == b"early"


def test_bound_address_is_the_proxys(tabi, target):
    """BND tells the end that the destination sees."""
    peers = target(targets.echo)
    tabi(back(1081))
    tabi(front("proxy up socks5h://127.0.0.1:1081"))
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 7000))
        code, host, port, _ = socks.recv_reply5(sock)
        peers.wait_accepted()
        assert (code, (host, port)) == (0, peers.peers[0])


def test_half_close_through_the_chain(tabi, target):
    target(targets.answer_after_eof(b"bye"))
    tabi(back(1081))
    tabi(front("proxy up socks5h://127.0.0.1:1081"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        assert socks.recv_end(sock)[1] == "eof"


@pytest.mark.parametrize("scheme", ("socks5h", "socks5+tls"))
def test_reset_through_the_chain(tabi, target, authority, dns_server, scheme):
    dns_server(NAMES)

    def serve(sock):
        socks.recv_exact(sock, 1)
        socks.reset(sock)

    target(serve)
    secure = scheme != "socks5h"
    tabi(back(1081, words=tls(authority) if secure else ""))
    words = f" ca {authority.pem}" if secure else ""
    first = tabi(front(f"proxy up {scheme}://localhost:1081{words}"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.sendall(b"x")
        assert socks.recv_end(sock) == (b"", "reset")
    assert first.wait_session(via="up")["reason"] in ("target-reset", "tls-truncated")


def test_plain_http(tabi, target, dns_server):
    """Forwarded requests go the same way, and a connection behind the proxy is used again."""
    dns_server(NAMES)

    def serve(sock):
        for _ in range(2):
            targets_head = b""
            while not targets_head.endswith(b"\r\n\r\n"):
                targets_head += socks.recv_exact(sock, 1)
            assert targets_head.startswith(b"GET /path HTTP/1.1\r\n")
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        sock.close()

    server = target(serve)
    second = tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    with socks.dial(PROXY) as sock:
        for _ in range(2):
            sock.sendall(b"GET http://www.example:7000/path HTTP/1.1\r\nHost: www.example:7000\r\n\r\n")
            assert socks.recv_head(sock)[0] == 200
            assert socks.recv_exact(sock, 2) == b"ok"
    line = first.wait_for_log(lambda r: r.event == "request", n=2)
    assert line["via"] == "up"
    assert len(server.peers) == 1
    second.wait_session(command="connect", to="www.example:7000")


# ---- names ----


@pytest.mark.parametrize(
    "scheme, asked", (("socks5h", (3, b"www.example", 7000)), ("socks5", (1, b"\x7f\0\0\1", 7000)))
)
def test_who_looks_the_name_up(tabi, target, dns_server, scheme, asked):
    names = dns_server(NAMES)
    proxy = target(says(5), port=1081)
    tabi(front(f"proxy up {scheme}://127.0.0.1:1081"))
    assert socks.ask5(PROXY, b"www.example", 7000) == 5
    proxy.wait_result()
    assert proxy.results == [asked]
    assert names.count("www.example") == (0 if scheme == "socks5h" else 2)


@pytest.mark.parametrize("before", ("deny to private", "allow to 10.0.0.0/8"))
def test_rule_about_addresses_comes_first(tabi, target, dns_server, before):
    """Then the name is looked up here, the address is judged, and it is what the proxy gets."""
    dns_server({"www.example": ["127.0.0.1"], "inside.example": ["10.1.2.3"]})
    proxy = target(says(5), port=1081)
    first = tabi(front("proxy up socks5h://127.0.0.1:1081", before,
                       "timeout connect 1s"))
    assert socks.ask5(PROXY, b"www.example", 7000) == 5
    proxy.wait_result()
    assert proxy.results == [(1, b"\x7f\0\0\1", 7000)]
    code = socks.ask5(PROXY, b"inside.example", 7000)
    assert code == 2 if before.startswith("deny") else code in (3, 4)
    assert len(proxy.results) == 1
    assert first.wait_session(n=2).get("via") is None


def test_name_that_only_the_proxy_knows(tabi, target, dns_server):
    """A rule about names before those about addresses needs no look-up here."""
    names = dns_server({})
    proxy = target(says(4), port=1081)
    tabi(front("proxy up socks5h://127.0.0.1:1081", "allow to *.onion via up", "deny to private"))
    name = b"duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"
    assert socks.ask5(PROXY, name, 80) == 4
    proxy.wait_result()
    assert proxy.results == [(3, name, 80)]
    assert not names.count(name.decode())


def test_rule_of_the_address_decides_the_way(tabi, target, dns_server):
    """Inside directly, outside through the proxy."""
    dns_server({"in.example": ["127.0.0.1"], "out.example": ["127.9.9.9"]})
    target(targets.echo)
    target(targets.echo, "127.9.9.9")
    tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081",
                       rules="allow to 127.0.0.0/16\nallow to any via up\n"))
    check_echo(socks.open5(PROXY, b"in.example", 7000), 10)
    check_echo(socks.open5(PROXY, b"out.example", 7000), 10)
    assert first.wait_session(to="in.example:7000").get("via") is None
    assert first.wait_session(to="out.example:7000")["via"] == "up"


def test_proxy_by_name_is_looked_up_again(tabi, target, dns_server):
    """It moves, and nobody restarts anything."""
    names = dns_server({"proxy.example": dns.Records(["127.0.0.2"], ttl=1)})
    old = target(says(4), "127.0.0.2", 1081)
    new = target(says(5), "127.0.0.3", 1081)
    tabi(front("proxy up socks5h://proxy.example:1081"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 4
    old.close()
    names.names["proxy.example"] = dns.Records(["127.0.0.3"], ttl=1)
    wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 7000) == 5, 15)
    new.wait_result()


def test_resolve_is_asked_of_the_proxy(tabi, dns_server):
    names = dns_server(NAMES)
    tabi(back(1081, "resolver 127.0.0.1:5353").replace("resolver 127.0.0.1:5353\n", "", 1))
    tabi(front("proxy up socks5h://127.0.0.1:1081").replace("5353", "5399"))
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5(b"www.example", 0, 0xF0))
        assert socks.recv_reply5(sock)[:2] == (0, "127.0.0.1")
    assert names.count("www.example")


def resolve_name_of(address):
    """RESOLVE_PTR: (code, name)."""
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5(address, 0, socks.RESOLVE_PTR))
        _, code, _, kind = socks.recv_exact(sock, 4)
        return code, socks.recv_exact(sock, socks.recv_exact(sock, 1)[0]) if kind == 3 else None


def test_name_of_an_address_is_asked_of_the_proxy(tabi, dns_server):
    """By RESOLVE_PTR, and nobody here looks it up; a name that our rules deny is not told."""
    names = dns_server({dns.reverse("192.0.2.1"): dns.Pointer("www.example"),
                        dns.reverse("192.0.2.2"): dns.Pointer("secret.example")})
    tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081", "deny to secret.example")
                 .replace("5353", "5399"))
    assert resolve_name_of("192.0.2.1") == (0, b"www.example")
    line = first.wait_session(command="resolve", reason="done")
    assert (line["via"], line["answer"]) == ("up", "www.example")
    assert resolve_name_of("192.0.2.2")[0] == 2
    assert resolve_name_of("192.0.2.3")[0] == 4
    assert first.wait_session(command="resolve", n=3)["reason"] == "host-unreachable"
    assert names.count(dns.reverse("192.0.2.1"))


def test_name_of_an_address_through_a_chain(tabi, dns_server):
    dns_server({dns.reverse("192.0.2.1"): dns.Pointer("www.example")})
    tabi(back(1081).replace("5353", "5399"))
    tabi(back(1082))
    tabi(front("proxy up http://127.0.0.1:1081,socks5h://127.0.0.1:1082").replace("5353", "5399"))
    assert resolve_name_of("192.0.2.1") == (0, b"www.example")


@pytest.mark.parametrize("scheme", ("socks4", "socks4a", "http"))
def test_name_of_an_address_where_the_proxy_cannot(tabi, scheme):
    tabi(back(1081))
    first = tabi(front(f"proxy up {scheme}://127.0.0.1:1081"))
    assert resolve_name_of("192.0.2.1")[0] == 7
    assert first.wait_session(command="resolve")["reason"] == "bad-command"


@pytest.mark.parametrize("command, host", ((socks.RESOLVE, b"www.example"), (socks.RESOLVE_PTR, "192.0.2.1")))
def test_resolve_that_the_proxy_does_not_know(tabi, target, command, host):
    """Most have no such command; the client hears that, and the log whose answer it is."""
    target(says(7), port=1081)
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    assert socks.ask5(PROXY, host, 0, command) == 7
    line = first.wait_session(command="resolve")
    assert (line["reason"], line["proxy-stage"], line["proxy-code"]) == ("bad-command", "reply", "7")
    assert "proxy-down" not in first.log()


# ---- what went wrong, and where ----


@pytest.mark.parametrize(
    "code, reason",
    (
        (1, "proxy-refused"),
        (2, "proxy-denied"),
        (3, "net-unreachable"),
        (4, "host-unreachable"),
        (5, "refused"),
        (7, "bad-command"),
        (8, "bad-address-type"),
    ),
)
def test_answer_is_passed_on(tabi, target, code, reason):
    target(says(code), port=1081)
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == code
    line = first.wait_session(reason=reason)
    assert (line["via"], line["proxy-stage"], line["proxy-code"]) == ("up", "reply", str(code))
    assert not any(r.event == "proxy-down" for r in first._records)


def test_nobody_listens(tabi):
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    line = first.wait_session(reason="proxy-unreachable")
    assert (line["via"], line["proxy-stage"], line["proxy-error"]) == ("up", "dial", "refused")
    down = first.wait_for_log(lambda r: r.event == "proxy-down")
    assert (down["via"], down["proxy"], down["error"]) == ("up", "127.0.0.1:1081", "refused")


def test_name_of_the_proxy_is_unknown(tabi, dns_server):
    dns_server({})
    first = tabi(front("proxy up socks5h://nowhere.example:1081"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    line = first.wait_session(reason="proxy-unreachable")
    assert (line["proxy-stage"], line["proxy-error"]) == ("resolve", "not-found")


def test_wrong_password(tabi, tmp_path):
    made = run("passwd", str(tmp_path / "users"), "alice", input="right\n")
    assert made.returncode == 0, made.stderr
    tabi(back(1081, f"auth password {tmp_path}/users", rules="allow user alice\n"))
    first = tabi(front("proxy up socks5h://alice:s3cr3t-wr0ng@127.0.0.1:1081"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    line = first.wait_session(reason="proxy-auth")
    assert (line["proxy-stage"], line["proxy-code"]) == ("auth", "1")
    assert "s3cr3t" not in first.log() and "alice" not in first.log()


@pytest.mark.parametrize("host, trusted", (("127.0.0.1", False), ("proxy.example", True)))
def test_certificate_is_refused(tabi, authority, dns_server, host, trusted):
    """Of an authority that is not trusted, and for another name."""
    dns_server({"proxy.example": ["127.0.0.1"]})
    tabi(back(1081, words=tls(authority)))
    ca = f" ca {authority.pem}" if trusted else ""
    first = tabi(front(f"proxy up socks5+tls://{host}:1081{ca}"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    line = first.wait_session(reason="proxy-tls")
    assert (line["proxy-stage"], line["proxy-error"]) == ("tls", "tls-certificate")


def test_first_hop_works_and_the_second_does_not(tabi):
    tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081,socks5h://127.0.0.1:1099"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    line = first.wait_session(reason="proxy-unreachable")
    assert (line["proxy-hop"], line["proxy-stage"], line["proxy-code"]) == ("1", "reply", "5")


# ---- loops ----


@pytest.mark.parametrize(
    "urls",
    ("socks5h://127.0.0.1:1080", "http://127.5.5.5:1080", "socks5h://localhost:1080",
     "socks5h://127.0.0.1:1081,socks5h://127.0.0.1:1080"),
)  # fmt: skip
def test_loop_through_ourselves(tabi, dns_server, urls):
    """By address, by another of ours, by name, and by way of another proxy."""
    dns_server(NAMES)
    tabi(back(1081))
    first = tabi(front(f"proxy up {urls}").replace("127.0.0.1:1080\n", "0.0.0.0:1080\n", 1))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 2
    assert first.wait_session(reason="self")["via"] == "up"
    assert len(first.sessions()) == 1


# ---- credentials ----


def users(tmp_path, **passwords):
    for user, password in passwords.items():
        made = run("passwd", str(tmp_path / "users"), user, input=password + "\n")
        assert made.returncode == 0, made.stderr
    return f"auth password {tmp_path}/users"


def test_credentials_of_the_url(tabi, target, tmp_path):
    target(targets.echo)
    second = tabi(back(1081, users(tmp_path, alice="p:@ss/w%"), rules="allow user alice\n"))
    tabi(front("proxy up socks5h://alice:p%3A%40ss%2Fw%25@127.0.0.1:1081"))
    check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 10)
    second.wait_session(user="alice", reason="done")


@pytest.mark.parametrize("user, text", (("", "alice:pa:ss\n"), ("alice@", "pa:ss")))
def test_credentials_of_a_file(tabi, target, tmp_path, user, text):
    target(targets.echo)
    second = tabi(back(1081, users(tmp_path, alice="pa:ss"), rules="allow user alice\n"))
    (tmp_path / "secret").write_text(text)
    (tmp_path / "secret").chmod(0o600)
    first = tabi(front(f"proxy up http://{user}127.0.0.1:1081 password-file secret"))
    check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 10)
    second.wait_session(user="alice", reason="done")
    assert "pa:ss" not in first.log()


@pytest.mark.parametrize("text, mode, why", (
    ("alice:x\n", 0o644, "chmod 600"),
    ("alice\n", 0o600, "not USER:PASSWORD"),
    ("alice:\n", 0o600, "not USER:PASSWORD"),
    (None, 0, "does not exist"),
))  # fmt: skip
def test_bad_password_file(tmp_path, text, mode, why):
    if text is not None:
        (tmp_path / "secret").write_text(text)
        (tmp_path / "secret").chmod(mode)
    (tmp_path / "t.conf").write_text(front("proxy up http://127.0.0.1:1081 password-file secret"))
    done = run("serve", "-c", str(tmp_path / "t.conf"))
    assert done.returncode == 1
    assert f"{tmp_path}/t.conf:4: password file" in done.stderr and why in done.stderr
    done = run("check", str(tmp_path / "t.conf"))
    assert why in done.stderr
    assert done.returncode == (0 if text is None else 1)


@pytest.mark.parametrize("mine", ("socks5", "http"))
def test_clients_credentials_only_where_said(tabi, target, tmp_path, mine):
    target(targets.echo)
    auth = users(tmp_path, alice="hers")
    second = tabi(back(1081, auth, rules="allow user alice\n"))
    asks = auth, "proxy up socks5h://127.0.0.1:1081"
    tabi(front(*asks, rules="allow user alice to 127.0.0.1 via up credentials forward\n"
                            "allow user alice via up\n"))

    def open_to(host):
        if mine == "http":
            with socks.dial(PROXY) as sock:
                sock.sendall(socks.request_http(f"{host}:7000", socks.basic("alice", "hers")))
                return socks.recv_head(sock)[0] == 200
        with socks.dial(PROXY) as sock:
            socks.hello5(sock, "alice", "hers")
            sock.sendall(socks.request5(host, 7000))
            return socks.recv_reply5(sock)[0] == 0

    assert open_to("127.0.0.1")
    second.wait_session(user="alice", to="127.0.0.1:7000")
    assert not open_to("127.0.0.2")
    assert second.wait_session(reason="no-method").get("user") is None


def credentials_of(sock):
    """A proxy that takes any credentials and tells them."""
    greeting = socks.recv_exact(sock, 2)
    assert 2 in socks.recv_exact(sock, greeting[1])
    sock.sendall(b"\5\2")
    user = socks.recv_exact(sock, socks.recv_exact(sock, 2)[1])
    password = socks.recv_exact(sock, socks.recv_exact(sock, 1)[0])
    sock.sendall(b"\1\0")
    head = socks.recv_exact(sock, 4)
    assert head[3] == 1
    socks.recv_exact(sock, 6)
    sock.sendall(socks.failure5(5))
    return user, password


@pytest.mark.parametrize("how", ("user", "destination", "session"))
def test_isolation(tabi, target, tmp_path, how):
    """The proxy can tell apart what is to be kept apart, and nothing else."""
    proxy = target(credentials_of, port=1081)
    tabi(front(users(tmp_path, alice="a", bob="b"),
               f"proxy up socks5h://127.0.0.1:1081 isolate {how}",
               rules="allow user alice,bob via up\n"))
    asked = [("alice", "127.0.0.1"), ("alice", "127.0.0.1"), ("bob", "127.0.0.1"), ("bob", "127.0.0.2")]
    for n, (user, host) in enumerate(asked, 1):
        with socks.dial(PROXY) as sock:
            socks.hello5(sock, user, user[0])
            sock.sendall(socks.request5(host, 7000))
            assert socks.recv_reply5(sock)[0] == 5
        proxy.wait_result(n)
    got = [user for user, _ in proxy.results]
    same = {"user": "0011", "destination": "0001", "session": "0123"}[how]
    assert [got.index(g) for g in got] == [same.index(c) for c in same]
    assert not any(b"alice" in g or b"bob" in g for g in got)


# ---- groups ----


def group(*ports, how=""):
    lines = [f"proxy up socks5h://127.0.0.1:{port}" for port in ports]
    return [lines[0] + how, *lines[1:]]


def test_failover_and_return(tabi, target):
    """Must-show 6: of three one is dead and one dies under load: nobody fails after the first; and
    when they come back they are used again."""
    target(targets.echo)
    second, third = tabi(back(1082)), tabi(back(1083))
    first = tabi(front(*group(1081, 1082, 1083, how=" balance random")))
    failed, stop = [], threading.Event()
    done = itertools.count()

    def load():
        while not stop.is_set():
            try:
                check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 100)
            except (AssertionError, OSError) as err:
                failed.append(err)
            next(done)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    first.wait_for_log(lambda r: r.event == "proxy-down" and r["proxy"].endswith("1081"))
    wait_until(lambda: third.sessions() and second.sessions())
    second.stop()
    first.wait_for_log(lambda r: r.event == "proxy-down" and r["proxy"].endswith("1082"))
    before = len(third.sessions())
    wait_until(lambda: len(third.sessions()) > before + 50)
    tabi(back(1081))
    fourth = tabi(back(1082))
    for port in (1081, 1082):
        first.wait_for_log(lambda r: r.event == "proxy-up" and r["proxy"].endswith(str(port)), 30)
    wait_until(fourth.sessions)
    stop.set()
    for thread in threads:
        thread.join()
    # Whose echo was under way when its proxy was stopped saw that; nobody was refused.
    assert not [f for f in failed if "reply" in str(f)], failed
    assert not [r for r in first.sessions() if r["reason"] not in ("done", "target-reset", "client-reset")]


def test_target_that_refuses_is_no_reason_to_ask_another(tabi, target):
    proxies = [target(says(5), port=port) for port in (1081, 1082)]
    tabi(front(*group(1081, 1082)))
    for _ in range(3):
        assert socks.ask5(PROXY, "127.0.0.1", 7000) == 5
    proxies[0].wait_result(3)
    assert not proxies[1].results


def test_silent_proxy_does_not_hold_up_for_long(tabi, target):
    """It takes connections and says nothing."""
    target(lambda sock: sock.recv(100) and sock.recv(100), port=1081)
    target(targets.echo)
    tabi(back(1082))
    first = tabi(front(*group(1081, 1082)))
    check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 10)
    down = first.wait_for_log(lambda r: r.event == "proxy-down")
    assert (down["stage"], down["error"]) == ("method", "timeout")


@pytest.mark.parametrize("how, spread", (("first", (12, 0, 0)), ("least", (4, 4, 4)), ("hash", None)))
def test_balance(tabi, target, how, spread):
    """Twelve sessions that live at the same time."""
    target(targets.echo)
    others = [tabi(back(port)) for port in (1081, 1082, 1083)]
    tabi(front(*group(1081, 1082, 1083, how=f" balance {how}")))
    live = [socks.open5(PROXY, "127.0.0.1", 7000) for _ in range(12)]
    for sock in live:
        sock.close()
    wait_until(lambda: sum(len(one.sessions()) for one in others) == 12)
    counts = tuple(len(one.sessions()) for one in others)
    assert sorted(counts) == [0, 0, 12] if spread is None else counts == spread


def test_reload_keeps_what_is_known(tabi, target):
    """A dead proxy is left alone after a reload too."""
    target(targets.echo)
    tabi(back(1082))
    first = tabi(front(*group(1081, 1082)))
    for _ in range(2):
        check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 10)
    live = socks.open5(PROXY, "127.0.0.1", 7000)
    first.write_config(front(*group(1081, 1082), "timeout idle 1h"))
    first.signal(1)
    first.wait_for_log(lambda r: r.event == "reloaded" or "reload" in r.line)
    check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 10)
    check_echo(live, 10)
    assert len([r for r in first._records if r.event == "proxy-down"]) <= 2


# ---- BIND ----


def test_bind(tabi):
    """Both replies; the peer is told where to connect to, and gets there by way of two proxies."""
    tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 0, 2) + b"early")
        code, host, port, _ = socks.recv_reply5(sock)
        assert code == 0
        with socket.create_connection((host, port)) as peer:
            code, host, port, _ = socks.recv_reply5(sock)
            assert (code, (host, port)) == (0, peer.getsockname())
            assert socks.recv_exact(peer, 5) == b"early"
            peer.sendall(b"hello")
            assert socks.recv_exact(sock, 5) == b"hello"
    line = first.wait_session(command="bind")
    assert (line["via"], line["peer"]) == ("up", f"127.0.0.1:{port}")


@pytest.mark.parametrize("scheme", ("socks4", "socks4a", "socks5"))
@pytest.mark.parametrize("mine", (4, 5))
def test_bind_of_each_kind(tabi, scheme, mine):
    """Both replies of the last proxy, behind another one, in the words of ours."""
    tabi(back(1081))
    tabi(back(1082))
    first = tabi(front(f"proxy up http://127.0.0.1:1081,{scheme}://127.0.0.1:1082"))
    with socks.dial(PROXY) as sock:
        if mine == 5:
            socks.hello5(sock)
            sock.sendall(socks.request5("127.0.0.1", 0, 2))
        else:
            sock.sendall(socks.request4("127.0.0.1", 0, command=2))
        where = recv_bound(sock, mine)
        with socket.create_connection(where) as peer:
            assert recv_bound(sock, mine) == peer.getsockname()
            peer.sendall(b"hello")
            assert socks.recv_exact(sock, 5) == b"hello"
            sock.sendall(b"there")
            assert socks.recv_exact(peer, 5) == b"there"
    assert first.wait_session(command="bind", via="up")["proxy"] == "127.0.0.1:1081,127.0.0.1:1082"


def recv_bound(sock, protocol):
    if protocol == 5:
        code, host, port, _ = socks.recv_reply5(sock)
        assert code == 0
        return host, port
    reply = socks.recv_exact(sock, 8)
    assert reply[:2] == b"\0\x5a"
    return socket.inet_ntoa(reply[4:]), struct.unpack(">H", reply[2:4])[0]


def test_bind_second_answer_is_a_failure(tabi, target):
    """The proxy lets nobody in after all."""
    def serve(sock):
        read_socks5_request(sock)
        sock.sendall(b"\5\0\0\1\x7f\0\0\1\x1b\x58" + socks.failure5(4))

    target(serve, port=1081)
    tabi(front("proxy up socks5h://127.0.0.1:1081"))
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 0, 2))
        assert socks.recv_reply5(sock)[:3] == (0, "127.0.0.1", 7000)
        assert socks.recv_reply5(sock)[0] == 4


def test_bind_where_the_proxy_cannot(tabi):
    tabi(back(1081))
    first = tabi(front("proxy up http://127.0.0.1:1081"))
    assert socks.ask5(PROXY, "127.0.0.1", 0, 2) == 7
    assert first.wait_session(command="bind")["reason"] == "bad-command"


# ---- what is left of it ----


def test_nothing_is_left(tabi, target):
    """Descriptors and what the group counts, after clients that left at every moment."""
    target(targets.echo)
    target(lambda sock: sock.recv(1) and sock.recv(1000), port=1082)
    second = tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081", "proxy slow socks5h://127.0.0.1:1082",
                       rules="allow to 127.0.0.1 via up\nallow all via slow\n"))
    before = first.descriptors()
    check_echo(socks.open5(PROXY, "127.0.0.1", 7000), 10)
    first.wait_descriptors(before)
    second.wait_session(reason="done")
    for host in ("127.0.0.1", "127.0.0.2"):
        for _ in range(10):
            with socks.dial(PROXY) as sock:
                socks.hello5(sock)
                sock.sendall(socks.request5(host, 7000))
                if host.endswith("1"):
                    socks.recv_reply5(sock)
                socks.reset(sock)
    first.wait_session(n=20, reason="client-reset")
    first.wait_descriptors(before)
