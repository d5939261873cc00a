# SPDX-License-Identifier: MIT
"""Datagrams through other proxies: alone and in chains, names, hostile ones, failures."""

import contextlib
import socket
import struct
import threading
import time

import pytest

from harness import netns, socks, udp
from harness.config import PROXY
from harness.tabi import SANITIZED, check_memory, run, wait_until
from test_udp import fast_clock  # noqa: F401
from test_udp_alloc import allocator  # noqa: F401
from test_udp_rate import BURST, PAYLOAD, RATE, most, paced
from test_via import back, front, tls, users

ALL = "allow from loopback to any via up\n"
NAMES = {"www.example": ["127.0.0.1"], "localhost": ["127.0.0.1"], "six.example": ["::1"]}


def end(program, association, **fields):
    """Its line, once it is over."""
    association.close()
    return program.wait_session(command="udp", **fields)


# ---- one hop and more ----


@pytest.mark.parametrize("scheme", ("socks5", "socks5h"))
@pytest.mark.parametrize("host", ("127.0.0.1", "::1"))
def test_one_hop(tabi, echo, scheme, host):
    """Both families by one association upstream; the remote sees the other proxy."""
    remote = echo(host, 7000)
    second = tabi(back(1081))
    first = tabi(front(f"proxy up {scheme}://127.0.0.1:1081"))
    client = udp.Association(PROXY)
    for n in range(3):
        assert client.ask(host, 7000, b"x%d" % n) == (host, 7000)
    assert len({sender for _, sender in remote.seen}) == 1
    line = end(first, client)
    assert (line["via"], line["proxy"]) == ("up", "127.0.0.1:1081")
    assert (line["packets-up"], line["packets-down"]) == ("3", "3")
    assert (line["up"], line["down"], line["verdict"]) == ("6", "6", "allow")
    assert not [k for k in line if k.startswith("drop-")]
    behind = second.wait_session(command="udp")
    assert (behind["packets-up"], behind["packets-down"]) == ("3", "3")
    assert len(second.sessions()) == 1


def hops_of(tabi, n, first_words="", words=""):
    """`n` proxies in a row: their URLs, and who they are."""
    programs = [tabi(back(1081 + i)) for i in range(n)]
    return ",".join(f"socks5h://127.0.0.1:{1081 + i}" for i in range(n)), programs


@pytest.mark.parametrize("n", (2, 3))
@pytest.mark.parametrize("host", ("127.0.0.1", "::1", b"www.example"))
def test_chain(tabi, echo, dns_server, n, host):
    """Each hop has an association for us, and sees headers within headers."""
    names = dns_server(NAMES)
    remote = echo("::1" if host == "::1" else "127.0.0.1", 7000)
    urls, programs = hops_of(tabi, n)
    first = tabi(front(f"proxy up {urls}"))
    client = udp.Association(PROXY)
    source = client.ask(host, 7000, b"hello")
    assert source[1] == 7000
    client.ask(host, 7000, b"")
    assert [data for data, _ in remote.seen] == [b"hello", b""]
    line = end(first, client)
    assert line["proxy"].count(",") == n - 1
    assert (line["packets-up"], line["packets-down"], line["up"]) == ("2", "2", "5")
    for i, program in enumerate(programs):
        behind = program.wait_session(command="udp")
        # What it carries is payload with the headers of those behind it.
        header = 10 if i < n - 1 else 0
        assert behind["packets-up"] == "2"
        assert int(behind["up"]) >= 5 + 2 * header
        # Of the connections: one for each hop behind it.
        wait_until(lambda p=program, k=n - 1 - i: len(p.sessions()) == k + 1)
    if isinstance(host, bytes):
        assert names.count("www.example")


def test_chain_over_ipv6(tabi, echo):
    """The first hop is reached over IPv6, the second over IPv4."""
    echo()
    tabi(back(1082))
    tabi(back(1081).replace("listen 127.0.0.1", "listen [::1]"))
    tabi(front("proxy up socks5h://[::1]:1081,socks5h://127.0.0.1:1082"))
    with udp.Association(PROXY) as client:
        client.ask("127.0.0.1", 7000, b"x" * 1000)


def test_hops_by_name(tabi, echo, dns_server):
    """Each is looked up by the one before it; the first has two addresses, and one of them is dead."""
    dns_server({**NAMES, "one.example": ["127.0.0.9", "127.0.0.1"], "two.example": ["127.0.0.1"]})
    echo()
    tabi(back(1081))
    tabi(back(1082))
    tabi(front("proxy up socks5h://one.example:1081,socks5h://two.example:1082"))
    with udp.Association(PROXY) as client:
        client.ask("127.0.0.1", 7000, b"x")


def test_tls_protects_the_control_connection(tabi, echo, authority, dns_server):
    dns_server(NAMES)
    echo()
    tabi(back(1081, words=tls(authority)))
    second = tabi(back(1082))
    first = tabi(front("proxy up socks5+tls://localhost:1081,socks5h://127.0.0.1:1082 ca "
                       + authority.pem))
    client = udp.Association(PROXY)
    client.ask("127.0.0.1", 7000, b"x")
    assert end(first, client)["proxy"] == "localhost:1081,127.0.0.1:1082"
    second.wait_session(command="udp", reason="done")


@pytest.mark.parametrize("n, overhead", ((1, 10), (2, 20), (3, 30)))
def test_longest(tabi, echo, n, overhead):
    """All headers count; what is too long is dropped whole, and counted."""
    echo()
    urls, _ = hops_of(tabi, n)
    first = tabi(front(f"proxy up {urls}"))
    client = udp.Association(PROXY)
    # To us it has one header of the same size.
    room = 65507 - overhead
    assert client.ask("127.0.0.1", 7000, bytes(room))
    if n > 1:
        client.send("127.0.0.1", 7000, bytes(room + 1))
        assert client.is_quiet()
    assert client.ask("127.0.0.1", 7000, b"x")
    line = end(first, client)
    assert line["packets-up"] == "2"
    assert line.get("drop-size") == ("1" if n > 1 else None)


def test_many_in_order(tabi, echo):
    """A stream through two hops: all of it, in order, and in trains where the kernel can."""
    remote = echo()
    urls, _ = hops_of(tabi, 2)
    tabi(front(f"proxy up {urls}"))
    with udp.Association(PROXY) as client:
        client.ask("127.0.0.1", 7000, b"first")
        for n in range(40):
            for i in range(10):
                client.send("127.0.0.1", 7000, struct.pack(">I", n * 10 + i) + bytes(400))
            for i in range(10):
                _, data = client.recv()
                assert data == struct.pack(">I", n * 10 + i) + bytes(400)
    assert len(remote.seen) == 401


# ---- names ----


def test_name_goes_to_the_proxy(tabi, echo, dns_server):
    names = dns_server(NAMES)
    echo()
    tabi(back(1081))
    tabi(front("proxy up socks5h://127.0.0.1:1081").replace("5353", "5399"))
    with udp.Association(PROXY) as client:
        assert client.ask(b"www.example", 7000, b"x") == ("127.0.0.1", 7000)
    assert names.count("www.example") == 2  # A and AAAA, asked by the other


def test_name_that_the_proxy_does_not_take(tabi, echo, dns_server):
    """With socks5:// it is looked up here, and the address is judged."""
    names = dns_server({**NAMES, "bad.example": ["127.0.0.66"]})
    echo()
    bad = echo("127.0.0.66", 7000)
    tabi(back(1081).replace("5353", "5399"))
    first = tabi(front("proxy up socks5://127.0.0.1:1081", "deny to 127.0.0.66"))
    client = udp.Association(PROXY)
    assert client.ask(b"www.example", 7000, b"x") == ("127.0.0.1", 7000)
    client.send(b"bad.example", 7000, b"x")
    assert client.is_quiet()
    assert names.count("www.example")
    assert end(first, client)["drop-denied"] == "1" and not bad.seen


def test_rule_about_addresses_comes_first(tabi, echo, dns_server):
    """Then no name leaves here, whatever the scheme."""
    dns_server({**NAMES, "inside.example": ["10.1.2.3"]})
    echo()
    tabi(back(1081).replace("5353", "5399"))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081", "deny to private"))
    client = udp.Association(PROXY)
    assert client.ask(b"www.example", 7000, b"x") == ("127.0.0.1", 7000)
    client.send(b"inside.example", 7000, b"x")
    assert client.is_quiet()
    assert end(first, client)["drop-denied"] == "1"


# ---- the rules ----


def test_each_datagram_is_judged(tabi, echo):
    echo()
    denied = echo("127.0.0.2", 7000)
    second = tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081", "deny to 127.0.0.2"))
    client = udp.Association(PROXY)
    client.ask("127.0.0.1", 7000, b"x")
    client.send("127.0.0.2", 7000, b"x")
    client.send("127.0.0.1", 1080, b"ourselves")
    client.send("224.0.0.1", 7000, b"a group")
    client.ask("127.0.0.1", 7000, b"y")
    line = end(first, client)
    assert (line["drop-denied"], line["packets-up"]) == ("3", "2")
    assert second.wait_session(command="udp")["packets-up"] == "2"
    assert not denied.seen


def test_relay_of_ours_is_no_remote(tabi, echo):
    """Not by way of a proxy either: it would send in circles (U28)."""
    echo()
    tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    with udp.Association(PROXY) as other:
        client = udp.Association(PROXY)
        client.ask("127.0.0.1", 7000, b"x")
        client.send(*other.relay, b"y")
        client.ask("127.0.0.1", 7000, b"z")
        assert end(first, client)["drop-denied"] == "1"


def test_some_directly(tabi, echo, dns_server):
    """One association, three ways: directly, by one proxy and by another."""
    dns_server(NAMES)
    remotes = [echo(f"127.0.0.{i}", 7000) for i in (1, 2, 3)]
    others = [tabi(back(port)) for port in (1081, 1082)]
    first = tabi(front("proxy up socks5h://127.0.0.1:1081", "proxy two socks5h://127.0.0.1:1082",
                       rules="allow to 127.0.0.1\nallow to 127.0.0.2 via up\nallow all via two\n"))
    client = udp.Association(PROXY)
    for _ in range(2):
        for i in (1, 2, 3):
            assert client.ask(f"127.0.0.{i}", 7000, b"x") == (f"127.0.0.{i}", 7000)
    assert len({remote.seen[0][1] for remote in remotes}) == 3
    line = end(first, client)
    assert line["packets-up"] == "6"
    for other in others:
        assert other.wait_session(command="udp")["packets-up"] == "2"


def test_name_and_its_address(tabi, echo, dns_server):
    """Two verdicts about one place: the name goes through the proxy, the address does not, in
    whatever order."""
    dns_server({"far.example": ["127.0.0.2"]})
    remote = echo("127.0.0.2", 7000)
    other = tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081",
                       rules="deny to 192.0.2.0/24\nallow to far.example via up\nallow all\n"))
    client = udp.Association(PROXY)
    order = ("127.0.0.2", b"far.example", "127.0.0.2", b"far.example", b"far.example", "127.0.0.2")
    for host in order:
        assert client.ask(host, 7000, b"x") == ("127.0.0.2", 7000)
    senders = [sender for _, sender in remote.seen]
    assert [s == senders[0] for s in senders] == [isinstance(host, str) for host in order]
    assert end(first, client)["packets-down"] == "6"
    assert other.wait_session(command="udp")["packets-up"] == "3"


def test_datagrams_do_not_go_around_the_proxy(tabi, echo, dns_server):
    """Where there is no proxy just now, none that a rule with `via` allows is sent at all, and a
    name is not even looked up."""
    names = dns_server({"far.example": ["127.0.0.2"]})
    near, far = echo("127.0.0.1", 7001), echo("127.0.0.2", 7001)
    first = tabi(front("proxy up socks5h://127.0.0.1:1081",
                       rules="allow to *.example via up\nallow to 127.0.0.1\nallow all via up\n"))
    client = udp.Association(PROXY)
    client.send("127.0.0.2", 7001, b"x")
    client.send(b"far.example", 7001, b"y")
    assert client.ask("127.0.0.1", 7001, b"z") == ("127.0.0.1", 7001)
    line = end(first, client)
    assert (line["drop-proxy"], line["proxy-stage"], line["proxy-error"]) == ("2", "dial", "refused")
    assert not names.count("far.example")
    assert (len(near.seen), far.seen) == (1, [])


def test_who_was_not_sent_to_is_not_heard(tabi):
    """The proxy lets everybody in; here it is as without one."""
    with udp.udp_socket(port=7000) as asked, udp.udp_socket(port=7001) as stranger:
        tabi(back(1081, rules="allow all filter endpoint-independent\n"))
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        client.send("127.0.0.1", 7000, b"x")
        _, outside = asked.recvfrom(100)
        stranger.sendto(b"unasked", outside)
        asked.sendto(b"asked", outside)
        assert client.recv() == (("127.0.0.1", 7000), b"asked")
        assert end(first, client)["drop-unasked"] == "1"


@pytest.mark.parametrize("word, port, other", (("address", True, False),
                                               ("endpoint-independent", True, True)))
@pytest.mark.parametrize("host", ("127.0.0.1", b"www.example"))
def test_filter(tabi, dns_server, word, port, other, host):
    """`filter` of our rule, with an address and with a name that the proxy looks up."""
    dns_server(NAMES)
    with udp.udp_socket(port=7000) as asked, udp.udp_socket(port=7001) as same, \
            udp.udp_socket("127.0.0.2", 7001) as stranger:
        tabi(back(1081, rules="allow all filter endpoint-independent\n"))
        tabi(front("proxy up socks5h://127.0.0.1:1081", rules=f"allow all via up filter {word}\n"))
        with udp.Association(PROXY) as client:
            client.send(host, 7000, b"x")
            _, outside = asked.recvfrom(100)
            asked.sendto(b"asked", outside)
            assert client.recv()[1] == b"asked"
            for sock, heard in ((same, port), (stranger, other)):
                sock.sendto(b"?", outside)
                assert client.is_quiet() != heard


def test_rate(tabi, echo):
    """Of the rule with `via`: what its bucket holds passes, and the rest is counted."""
    echo()
    tabi(back(1081))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081",
                       rules=f"allow command udp from loopback via up rate {RATE}\n"))
    client = udp.Association(PROXY)
    client.ask("127.0.0.1", 7000, bytes(PAYLOAD))
    began = time.monotonic()
    paced(200, client.relay[1], lambda _: client.send("127.0.0.1", 7000, bytes(PAYLOAD)))
    bound = most(began) + 1
    line = end(first, client)
    assert BURST <= int(line["packets-up"]) <= bound
    assert int(line["packets-up"]) + int(line["drop-rate"]) >= 200


@pytest.mark.parametrize("urls", ("http://127.0.0.1:1081", "socks5h://127.0.0.1:1082,http://127.0.0.1:1081",
                                  "socks4a://127.0.0.1:1081,socks5h://127.0.0.1:1082"))  # fmt: skip
def test_chain_without_datagrams(tabi, echo, tmp_path, urls):
    """Refused where a rule for UDP names it; where a rule is about all that its proxies can, so is
    the association."""
    echo()
    bad = tmp_path / "bad.conf"
    bad.write_text(front(f"proxy up {urls}", rules="allow command connect,udp from loopback via up\n"))
    for done in (run("check", str(bad)), run("serve", "-c", str(bad))):
        assert done.returncode == 1
        assert "datagrams cannot go through" in done.stderr and "bad.conf:5:" in done.stderr
    first = tabi(front(f"proxy up {urls}"))
    assert socks.ask5(PROXY, "0.0.0.0", 0, 3) == 7
    assert first.wait_session(command="udp")["reason"] == "bad-command"


def test_multicast_goes_through_no_proxy(tmp_path):
    bad = tmp_path / "bad.conf"
    bad.write_text(front("proxy up socks5h://127.0.0.1:1081",
                         rules="allow command multicast from loopback to 239.0.0.0/8 via up\n"))
    done = run("check", str(bad))
    assert done.returncode == 1 and "no proxy can be asked to join a group" in done.stderr


# ---- credentials ----


@pytest.mark.parametrize("forward", (True, False))
def test_credentials_forward(tabi, echo, tmp_path, forward):
    """The password is kept for as long as the association may need it, where a rule says so."""
    echo()
    second = tabi(back(1081, users(tmp_path, alice="secret"), rules="allow user alice\n"))
    words = " credentials forward" if forward else ""
    first = tabi(front(users(tmp_path, alice="secret"), "proxy up socks5h://127.0.0.1:1081",
                       rules=f"allow user alice via up{words}\n"))
    client = udp.Association(PROXY, user="alice", password="secret")
    if forward:
        client.ask("127.0.0.1", 7000, b"x")
        end(first, client)
        assert second.wait_session(command="udp")["user"] == "alice"
    else:
        client.send("127.0.0.1", 7000, b"x")
        line = first.wait_for_log(lambda r: r.event == "udp-proxy-failed")
        assert (line["via"], line["proxy-error"]) == ("up", "proxy-no-method")
        line = end(first, client)
        assert (line["drop-proxy"], line["proxy-error"]) == ("1", "proxy-no-method")
    assert "secret" not in first.log()


@pytest.mark.parametrize("how, n", (("user", 1), ("session", 1), ("destination", 2)))
def test_isolation(tabi, how, n):
    """Where destinations are kept apart each has an association of its own."""
    with Upstream() as up:
        tabi(front(f"proxy up socks5h://127.0.0.1:1081 isolate {how}"))
        with udp.Association(PROXY) as client:
            for port in (7000, 7001, 7000):
                client.send("127.0.0.1", port, b"x")
                up.recv()
        assert len(up.users) == n == len(set(up.users))
        assert all(len(user) == 16 for user in up.users)


# ---- hostile ones ----


class Upstream:
    """A proxy that does as it is told: takes any credentials, and answers UDP ASSOCIATE with `reply`
    of where its socket is. Everything that it got is in `got`."""

    def __init__(self, port=1081, host="127.0.0.1", code=0, bound=None, relay="127.0.0.1"):
        self.sock = udp.udp_socket(relay)
        self.bound = bound or socks.address5(relay)
        self.port = self.sock.getsockname()[1]
        self.code, self.users, self.controls, self.asked = code, [], [], 0
        self._listener = socket.create_server((host, port))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(AssertionError, OSError):
                self._serve(sock)

    def _serve(self, sock):
        sock.settimeout(socks.TIMEOUT)
        methods = socks.recv_exact(sock, socks.recv_exact(sock, 2)[1])
        if 2 in methods:
            sock.sendall(b"\5\2")
            self.users.append(socks.recv_exact(sock, socks.recv_exact(sock, 2)[1]))
            socks.recv_exact(sock, socks.recv_exact(sock, 1)[0])
            sock.sendall(b"\1\0")
        else:
            sock.sendall(b"\5\0")
        head = socks.recv_exact(sock, 10)
        if head[1] == 1:
            sock.sendall(b"\5\0\0\1" + bytes(6))
            self._serve_behind(sock)
            return
        assert head[:4] == b"\5\3\0\1" and head[4:] == bytes(6)
        self.asked += 1
        if self.code:
            sock.sendall(socks.failure5(self.code))
            sock.close()
            return
        self.controls.append(sock)
        sock.sendall(b"\5\0\0" + self.bound + struct.pack(">H", self.port))

    def _serve_behind(self, sock):
        """The proxy that is reached through this one, whose relay is `behind`."""
        socks.recv_exact(sock, socks.recv_exact(sock, 2)[1])
        sock.sendall(b"\5\0")
        assert socks.recv_exact(sock, 10)[1] == 3
        host, port = self.behind
        self.controls.append(sock)
        sock.sendall(b"\5\0\0" + socks.address5(host) + struct.pack(">H", port))

    def recv(self):
        """The datagram that came, and whence; the port is where answers go."""
        raw, self.peer = self.sock.recvfrom(65536)
        return raw

    def answer(self, raw):
        self.sock.sendto(raw, self.peer)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for sock in self.controls:
            sock.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


REMOTE = ("127.0.0.1", 7000)
FROM_REMOTE = udp.datagram(*REMOTE, b"answer")


def test_what_the_proxy_gets(tabi):
    """The client's bytes behind a header, in which a name is a name; nothing of what it sent behind
    RSV and FRAG."""
    with Upstream() as up:
        tabi(front("proxy up socks5h://127.0.0.1:1081"))
        with udp.Association(PROXY) as client:
            client.send(*REMOTE, b"one", rsv=b"\7\7")
            assert up.recv() == udp.datagram(*REMOTE, b"one")
            client.send(b"www.example", 53, b"two")
            assert up.recv() == udp.datagram(b"www.example", 53, b"two")
            client.send("::1", 53, b"")
            assert up.recv() == udp.datagram("::1", 53, b"")
            up.answer(FROM_REMOTE)
            assert client.recv() == (REMOTE, b"answer")
            # A name that the proxy tells is told.
            up.answer(udp.datagram(b"www.example", 53, b"named"))
            raw, _ = client.sock.recvfrom(1000)
            assert raw == udp.datagram(b"www.example", 53, b"named")


BAD = {
    "cut": (FROM_REMOTE[:9], "malformed"),
    "empty": (b"", "malformed"),
    "fragment": (b"\0\0\1" + FROM_REMOTE[3:], "malformed"),
    "type": (b"\0\0\0\2" + FROM_REMOTE[4:], "malformed"),
    "lying name": (b"\0\0\0\3\xffabc", "malformed"),
    "bad name": (b"\0\0\0\3\3a\0b\0\x35x", "malformed"),
    "other remote": (udp.datagram("127.0.0.1", 7001, b"x"), "unasked"),
    "other name": (udp.datagram(b"other.example", 7000, b"x"), "unasked"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_datagrams(tabi, what):
    raw, reason = BAD[what]
    with Upstream() as up:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        client.send(*REMOTE, b"x")
        up.recv()
        up.answer(raw)
        up.answer(FROM_REMOTE)
        assert client.recv() == (REMOTE, b"answer")
        assert client.is_quiet(0.1)
        line = end(first, client)
        assert (line["drop-" + reason], line["packets-down"]) == ("1", "1")


def test_bad_datagrams_of_a_chain(tabi, echo):
    """The second hop's relay alone may speak, and what it says may be wrong at any depth."""
    relay2 = ("127.0.0.1", 4242)

    def chained(*parts):
        return b"".join(udp.datagram(*part[:2], b"") for part in parts) + b"answer"

    with Upstream() as up:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081,socks5h://127.0.0.1:1082"))
        up.behind = relay2
        client = udp.Association(PROXY)
        client.send(*REMOTE, b"x")
        assert up.recv() == udp.datagram(*relay2, udp.datagram(*REMOTE, b"x"))
        for bad in (chained(REMOTE), chained(("127.0.0.2", 4242), REMOTE),
                    chained(("127.0.0.1", 4243), REMOTE), chained(relay2, relay2),
                    chained(relay2)[:-6], chained(relay2, REMOTE)[:19],
                    chained((b"hop.example", 4242), REMOTE)):
            up.answer(bad)
        up.answer(chained(relay2, REMOTE))
        assert client.recv() == (REMOTE, b"answer")
        line = end(first, client)
        assert line["packets-down"] == "1"
        assert int(line["drop-unasked"]) + int(line["drop-malformed"]) == 7


def test_wrong_source(tabi):
    """Nobody but the relay is heard on that socket."""
    with Upstream() as up, udp.udp_socket() as stranger, udp.udp_socket("127.0.0.2") as other:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        client.send(*REMOTE, b"x")
        up.recv()
        for sock in (stranger, other):
            sock.sendto(FROM_REMOTE, up.peer)
        assert client.is_quiet()
        up.answer(FROM_REMOTE)
        assert client.recv() == (REMOTE, b"answer")
        assert end(first, client)["packets-down"] == "1"


@pytest.mark.case("U24")
@pytest.mark.parametrize("bound", ("0.0.0.0", "::"))
def test_relay_at_the_proxys_own_address(tabi, bound):
    with Upstream(bound=socks.address5(bound)) as up:
        tabi(front("proxy up socks5h://127.0.0.1:1081"))
        with udp.Association(PROXY) as client:
            client.send(*REMOTE, b"x")
            up.recv()
            up.answer(FROM_REMOTE)
            assert client.recv() == (REMOTE, b"answer")


def test_relay_on_our_own_loopback(tabi):
    """A proxy elsewhere that says so means itself, and could otherwise have us send to ourselves."""
    outside = netns.add_address("198.51.100.7")
    with udp.udp_socket() as victim:
        with Upstream(host=outside, bound=socks.address5("127.0.0.1"), relay=outside) as up:
            tabi(front(f"proxy up socks5h://{outside}:1081"))
            with udp.Association(PROXY) as client:
                client.send(*REMOTE, b"x")
                up.recv()
        assert udp.is_quiet(victim, 0.1)


@pytest.mark.parametrize("bound", (b"\3\x0bwww.example", socks.address5("224.0.0.1"),
                                   socks.address5("255.255.255.255")))
def test_relay_that_is_none(tabi, bound):
    with Upstream(bound=bound):
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        client.send(*REMOTE, b"x")
        line = first.wait_for_log(lambda r: r.event == "udp-proxy-failed")
        assert (line["proxy"], line["proxy-stage"]) == ("127.0.0.1:1081", "reply")
        assert end(first, client)["drop-proxy"] == "1"


def test_relay_that_is_ours(tabi):
    """The proxy says that its relay is where ours is."""
    with Upstream() as up:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        up.port = client.relay[1]
        client.send(*REMOTE, b"x")
        assert first.wait_for_log(lambda r: r.event == "udp-proxy-failed")["proxy-error"] == "self"
        assert end(first, client)["drop-proxy"] == "1"


@pytest.mark.parametrize("urls", ("socks5h://127.0.0.1:1080", "socks5h://127.0.0.1:1081,socks5h://127.5.5.5:1080"))
def test_loop_through_ourselves(tabi, urls):
    tabi(back(1081))
    first = tabi(front(f"proxy up {urls}").replace("127.0.0.1:1080\n", "0.0.0.0:1080\n", 1))
    client = udp.Association(PROXY)
    client.send(*REMOTE, b"x")
    assert first.wait_for_log(lambda r: r.event == "udp-proxy-failed")["proxy-error"] == "self"
    assert end(first, client)["drop-proxy"] == "1"
    assert len(first.sessions()) == 1


# ---- failures ----


@pytest.mark.parametrize("code", (7, 2, 1))
def test_refused(tabi, code):
    """The client is not told, the log is; a pause, in which the proxy is let alone; and nothing is
    held against it that it does well otherwise."""
    with Upstream(code=code) as up:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        client.send(*REMOTE, b"x")
        line = first.wait_for_log(lambda r: r.event == "udp-proxy-failed")
        assert (line["proxy-code"], line["proxy-error"]) == (str(code), "proxy-refused")
        for _ in range(20):
            client.send(*REMOTE, b"x")
        assert client.is_quiet()
        assert up.asked == 1
        up.code = 0
        wait_until(lambda: client.send(*REMOTE, b"y") or up.asked == 2)
        up.recv()
        up.answer(FROM_REMOTE)
        assert client.recv() == (REMOTE, b"answer")
        assert int(end(first, client)["drop-proxy"]) >= 21
        assert "proxy-down" not in first.log()


def test_failover(tabi, echo):
    """The first is dead, the second has no UDP, the third serves."""
    echo()
    with Upstream(1082, code=7) as refuses:
        third = tabi(back(1083))
        first = tabi(front(*(f"proxy up socks5h://127.0.0.1:{port}" for port in (1081, 1082, 1083))))
        for _ in range(2):
            client = udp.Association(PROXY)
            client.ask("127.0.0.1", 7000, b"x")
            line = end(first, client)
            assert line["proxy"] == "127.0.0.1:1083" and "drop-proxy" not in line
        assert refuses.asked == 2
        third.wait_session(command="udp", n=2)
        down = [r for r in first._records if r.event == "proxy-down"]
        assert [r["proxy"] for r in down] == ["127.0.0.1:1081"]


def test_member_without_datagrams_is_passed_over(tabi, echo):
    echo()
    second = tabi(back(1082))
    first = tabi(front("proxy up http://127.0.0.1:1081", "proxy up socks5h://127.0.0.1:1082"))
    client = udp.Association(PROXY)
    client.ask("127.0.0.1", 7000, b"x")
    assert end(first, client)["proxy"] == "127.0.0.1:1082"
    second.wait_session(command="udp")
    assert "proxy-down" not in first.log()


@pytest.mark.parametrize("hop", (0, 1))
def test_proxy_that_dies(tabi, echo, hop):
    """Its end ends the association with it; a later datagram makes another, after a pause, or at once
    with another member."""
    echo()
    urls, programs = hops_of(tabi, 2)
    fourth = tabi(back(1084))
    first = tabi(front(f"proxy up {urls}", "proxy up socks5h://127.0.0.1:1084"))
    client = udp.Association(PROXY)
    client.ask("127.0.0.1", 7000, b"x")
    programs[hop].stop()

    def served():
        client.send("127.0.0.1", 7000, b"y")
        return not client.is_quiet(0.05)

    wait_until(served, 20)
    line = end(first, client)
    assert line["proxy"] == "127.0.0.1:1084"
    assert fourth.wait_session(command="udp")


def test_control_connection_that_ends(tabi):
    """A proxy that hangs up at once is not asked for every datagram."""
    with Upstream() as up:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        client.send(*REMOTE, b"x")
        up.recv()
        before = first.descriptors()
        socks.reset(up.controls.pop())
        wait_until(lambda: sum(first.descriptors().values()) == sum(before.values()) - 2)
        for _ in range(10):
            client.send(*REMOTE, b"x")
        assert client.is_quiet(0.1)
        assert up.asked == 1
        wait_until(lambda: client.send(*REMOTE, b"y") or up.asked == 2)
        assert int(end(first, client)["drop-proxy"]) >= 10


def test_waiting_is_bounded(tabi, target):
    """While the proxy lets itself be waited for, a few datagrams are kept, and no more."""
    silent = threading.Event()

    def serve(sock):
        socks.recv_exact(sock, 3)
        silent.wait(20)
        sock.sendall(b"\5\0")
        socks.recv_exact(sock, 10)
        sock.sendall(b"\5\0\0" + socks.address5("127.0.0.1") + struct.pack(">H", relay.getsockname()[1]))
        sock.recv(1)

    with udp.udp_socket() as relay:
        target(serve, port=1081)
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        for n in range(100):
            client.send(*REMOTE, b"%d" % n)
        wait_until(lambda: not udp.waiting(client.relay[1]))
        silent.set()
        got = [relay.recv(100)[10:] for _ in range(32)]
        assert got == [b"%d" % n for n in range(32)]
        assert udp.is_quiet(relay, 0.1)
        line = end(first, client)
        assert (line["packets-up"], line["drop-proxy"]) == ("32", "68")


def test_end_while_it_is_made(tabi, target):
    """The client leaves, or the server stops, before the proxy has answered."""
    target(lambda sock: sock.recv(100) and sock.recv(100), port=1081)
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    before = first.descriptors()
    client = udp.Association(PROXY)
    client.send(*REMOTE, b"x")
    wait_until(lambda: sum(first.descriptors().values()) == sum(before.values()) + 3)
    assert end(first, client)["drop-proxy"] == "1"
    first.wait_descriptors(before)
    left = udp.Association(PROXY)
    left.send(*REMOTE, b"x")
    wait_until(lambda: sum(first.descriptors().values()) == sum(before.values()) + 3)
    first.stop()
    left.close()


def test_nothing_is_left(tabi, echo):
    echo()
    urls, programs = hops_of(tabi, 3)
    first = tabi(front(f"proxy up {urls}"))
    before = [one.descriptors() for one in (first, *programs)]
    for _ in range(5):
        with udp.Association(PROXY) as client:
            client.ask("127.0.0.1", 7000, b"x")
    for one, wanted in zip((first, *programs), before):
        one.wait_descriptors(wanted)


@pytest.mark.parametrize("how, spread", (("first", (4, 0)), ("least", (2, 2)), ("hash", None)))
def test_balance(tabi, echo, how, spread):
    """Four associations that live at the same time."""
    echo()
    others = [tabi(back(port)) for port in (1081, 1082)]
    tabi(front(f"proxy up socks5h://127.0.0.1:1081 balance {how}", "proxy up socks5h://127.0.0.1:1082"))
    live = [udp.Association(PROXY) for _ in range(4)]
    for one in live:
        one.ask("127.0.0.1", 7000, b"x")
    for one in live:
        one.close()
    wait_until(lambda: sum(len(one.sessions()) for one in others) == 4)
    counts = tuple(len(one.sessions()) for one in others)
    assert sorted(counts) == [0, 4] if spread is None else counts == spread


# ---- what lasts ----


def test_reload(tabi, echo):
    """Associations go on as they were decided, new ones go the new way."""
    echo()
    second, third = tabi(back(1081)), tabi(back(1082))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
    old = udp.Association(PROXY)
    old.ask("127.0.0.1", 7000, b"x")
    first.write_config(front("proxy up socks5h://127.0.0.1:1082"))
    first.signal(1)
    first.wait_for_log(lambda r: r.event == "reloaded" or "reload" in r.line)
    with udp.Association(PROXY) as new:
        new.ask("127.0.0.1", 7000, b"x")
        old.ask("127.0.0.1", 7000, b"y")
    third.wait_session(command="udp", **{"packets-up": 1})
    old.close()
    second.wait_session(command="udp", **{"packets-up": 2})


@pytest.mark.skipif(SANITIZED, reason="a sanitizer wants to be the first library")
def test_idle(tabi, echo, fast_clock):  # noqa: F811
    """An association through a proxy that carries something lives; one that does not ends, and with
    it that of the proxy."""
    echo()
    second = tabi(back(1081, "timeout udp 1h"))
    first = tabi(front("proxy up socks5h://127.0.0.1:1081", "timeout udp 2m"),
                 env=fast_clock)
    client = udp.Association(PROXY)
    client.ask("127.0.0.1", 7000, b"x")
    line = first.wait_session(command="udp", timeout=30)
    assert line["reason"] == "idle"
    second.wait_session(command="udp", reason="done")
    client.close()


def test_flood(tabi, echo):
    """As fast as Python can, through two hops to a remote that drops most: bounded, and the way is
    free again when it is over."""
    echo()
    urls, _ = hops_of(tabi, 2)
    first = tabi(front(f"proxy up {urls}"))
    client = udp.Association(PROXY)
    client.ask("127.0.0.1", 7000, b"x")
    before = first.memory()
    raw = udp.datagram("127.0.0.1", 9, bytes(1200))
    for _ in range(20000):
        client.send_raw(raw)
    wait_until(lambda: not udp.waiting(client.relay[1]))
    client.ask("127.0.0.1", 7000, b"y")
    check_memory(first.memory() - before, 4 << 20)
    line = end(first, client)
    lost = sum(int(line[k]) for k in line if k.startswith("drop-"))
    assert int(line["packets-up"]) + lost == 20002


def test_flood_from_the_proxy(tabi):
    """What nobody asked for, as fast as it comes, costs a count and is not passed on."""
    with Upstream() as up:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081"))
        client = udp.Association(PROXY)
        client.send(*REMOTE, b"x")
        up.recv()
        before = first.memory()
        for n in range(20000):
            up.answer(udp.datagram(f"10.{n >> 8 & 255}.{n & 255}.1", 1 + n % 60000, b"unasked"))
        wait_until(lambda: not udp.waiting(up.peer[1]))
        up.answer(FROM_REMOTE)
        assert client.recv() == (REMOTE, b"answer")
        check_memory(first.memory() - before, 1 << 20)
        line = end(first, client)
        assert line["packets-down"] == "1"
        assert int(line["drop-unasked"]) + int(line.get("drop-overflow", 0)) == 20000


def test_nothing_for_those_that_use_none(tabi, echo):
    """An association that goes directly opens nothing toward proxies."""
    echo()
    with Upstream() as up:
        first = tabi(front("proxy up socks5h://127.0.0.1:1081",
                           rules="allow to 127.0.0.1\nallow all via up\n"))
        client = udp.Association(PROXY)
        client.ask("127.0.0.1", 7000, b"x")
        assert "via" not in end(first, client)
        assert up.asked == 0


# ---- memory ----


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")
def test_nothing_for_each_datagram(tabi, allocator, dns_server):  # noqa: F811
    """Once the way stands, a datagram through two hops allocates nothing in either direction."""
    dns_server(NAMES)
    urls, _ = hops_of(tabi, 2)
    tabi(front(f"proxy up {urls}"), env=allocator.env)
    with udp.udp_socket() as remote, udp.Association(PROXY) as client:
        port = remote.getsockname()[1]

        def turn():
            for host in ("127.0.0.1", b"www.example"):
                client.send(host, port, b"up")
                data, outside = remote.recvfrom(10)
                assert data == b"up"
                remote.sendto(b"down", outside)
                assert client.recv()[1] == b"down"

        for _ in range(10):
            turn()
        before = allocator.count()
        for _ in range(300):
            turn()
        assert allocator.count() == before


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has an allocator of its own")
@pytest.mark.parametrize("n", (1, 1000), ids=("one", "all"))
def test_without_memory(tabi, allocator, echo, dns_server, n):  # noqa: F811
    """At each allocation in turn: dropped, or served with what can be; then all is as before, and
    nothing is held against the proxies."""
    dns_server(NAMES)
    echo()
    urls, _ = hops_of(tabi, 2)
    first = tabi(front(f"proxy up {urls}"), env=allocator.env)
    idle = first.descriptors()
    with udp.Association(PROXY, timeout=2) as one:
        one.ask("127.0.0.1", 7000, b"warm up")
    first.wait_descriptors(idle)
    dropped = 0
    for nth in range(1, 41):
        one = udp.Association(PROXY)
        allocator.fail(nth, n)
        one.send("127.0.0.1", 7000, b"x")
        one.send(b"www.example", 7000, b"y")
        dropped += one.is_quiet(0.05)
        allocator.fail(0, 0)
        one.close()
        with udp.Association(PROXY) as one:
            one.ask("127.0.0.1", 7000, b"z")
            one.ask(b"www.example", 7000, b"z")
    assert dropped > 3
    first.wait_descriptors(idle)
    assert "proxy-down" not in first.log()
