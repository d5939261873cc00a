# SPDX-License-Identifier: MIT
"""`egress`: from where connections and datagrams leave; the target tells whom it sees."""

import contextlib
import ipaddress
import os
import signal
import socket
import time

import pytest

from harness import mcast, netns, segment, socks, targets, udp
from harness.config import HEAD, PROXY
from harness.tabi import run, wait_until

# This host's addresses, none of them loopback's; targets are at the second of each family.
OWN, OTHER, THIRD = "198.51.100.1", "198.51.100.7", "198.51.100.8"
OWN6, OTHER6 = "2001:db8:e::1", "2001:db8:e::7"
FAR, FAR6 = "198.51.100.2", "2001:db8:e::2"
POOL, POOL6 = ipaddress.ip_network("203.0.113.0/28"), ipaddress.ip_network("2001:db8:f::/64")
BOTH = f"{OTHER},{OTHER6}"
NAMES = {"both.test": [FAR6, FAR], "four.test": [FAR], "six.test": [FAR6]}


def config(*rules, head=HEAD):
    return head + "".join(rule + "\n" for rule in rules)


@pytest.fixture
def addresses():
    for address in (OWN, OTHER, THIRD, FAR, OWN6, OTHER6, FAR6):
        netns.add_address(address)


@pytest.fixture
def pools(addresses):
    """Nets that are routed here, whose addresses no interface has."""
    segment.ip("route", "add", "local", str(POOL), "dev", "lo")
    segment.ip("-6", "route", "add", "local", str(POOL6), "dev", "lo")


@pytest.fixture
def both(addresses, target):
    """{family: target}"""
    return {4: target(targets.echo, address=FAR), 6: target(targets.echo, address=FAR6)}


def seen(server, sock):
    """Whom the target sees at the other end of this connection through the proxy."""
    targets.ping(sock)
    sock.close()
    return server.peers[-1][0]


def login(user, host, port=7000, proxy=PROXY):
    return socks.open5(proxy, host, port, user, user + "'s")


def users(tmp_path, *names):
    for name in names:
        made = run("passwd", str(tmp_path / "users"), name, input=f"{name}'s\n")
        assert made.returncode == 0, made.stderr
    return f"auth password {tmp_path}/users"


# ---- an address ----


@pytest.mark.parametrize("protocol", ("socks4", "socks4a", "socks5", "http"))
def test_address(tabi, both, protocol):
    program = tabi(config(f"allow all egress {BOTH}"))
    assert seen(both[4], socks.OPEN[protocol](PROXY, FAR, 7000)) == OTHER
    line = program.wait_session(reason="done")
    assert (line["egress"], line["rule"]) == (OTHER, "tabi.conf:5")
    if protocol not in ("socks4", "socks4a"):
        assert seen(both[6], socks.OPEN[protocol](PROXY, FAR6, 7000)) == OTHER6
        assert program.wait_session(2, reason="done")["egress"] == OTHER6


@pytest.mark.parametrize("name, family", (("both.test", 6), ("four.test", 4), ("six.test", 6)))
def test_name(tabi, both, dns_server, name, family):
    dns_server(NAMES)
    tabi(config(f"allow all egress {BOTH}"))
    expected = OTHER if family == 4 else OTHER6
    assert seen(both[family], socks.open5(PROXY, name, 7000)) == expected


def test_reply_tells_the_address(tabi, both):
    tabi(config(f"allow all egress {BOTH}"))
    for host, expected in ((FAR, OTHER), (FAR6, OTHER6)):
        with socks.dial(PROXY) as sock:
            socks.hello5(sock)
            sock.sendall(socks.request5(host, 7000))
            code, address, port, _ = socks.recv_reply5(sock)
            assert (code, address) == (0, expected) and port != 0


def test_rules_have_each_their_own(tabi, both):
    """And where they say nothing, the settings; `any` is the kernel's choice."""
    program = tabi(config(
        f"allow to {FAR} port 7000 egress {OTHER}", f"allow to {FAR} port 7001 egress any",
        f"allow to {FAR} port 7002", f"egress {THIRD},{OTHER6}", f"allow to {FAR6}",
    ))  # fmt: skip
    more = [targets.Target(targets.echo, address=FAR, port=port) for port in (7001, 7002)]
    assert seen(both[4], socks.open5(PROXY, FAR, 7000)) == OTHER
    assert seen(more[0], socks.open5(PROXY, FAR, 7001)) == FAR
    assert seen(more[1], socks.open5(PROXY, FAR, 7002)) == THIRD
    assert seen(both[6], socks.open5(PROXY, FAR6, 7000)) == OTHER6
    assert "egress" not in program.wait_session(to=f"{FAR}:7001")
    for one in more:
        one.close()


def test_missing_family_is_not_tried(tabi, both, dns_server):
    """Closed: not by the kernel's address, and a name goes the way that there is."""
    dns_server(NAMES)
    program = tabi(config(f"allow all egress {OTHER}"))
    assert seen(both[4], socks.open5(PROXY, "both.test", 7000)) == OTHER
    assert socks.ask5(PROXY, FAR6, 7000) == 8
    assert socks.ask5(PROXY, "six.test", 7000) == 8
    assert socks.ask_http(PROXY, FAR6, 7000) == 502
    assert both[6].accepted == 0
    for n in (1, 2, 3):
        assert program.wait_session(n, reason="no-egress-family")
    # Of what was tried the error is told, not of what was not.
    assert socks.ask5(PROXY, "both.test", 7009) == 5


def test_address_that_is_not_there(tabi, both):
    """Refused with a reason; nothing leaves from elsewhere. It may come at any time."""
    program = tabi(config("allow all egress 192.0.2.7,2001:db8:9::7"))
    program.wait_text("tabi.conf:5: egress 192.0.2.7,2001:db8:9::7: 192.0.2.7 is not an address of this machine")
    for host in (FAR, FAR6):
        assert socks.ask5(PROXY, host, 7000) == 3
        assert socks.ask_http(PROXY, host, 7000) == 503
    assert socks.ask4(PROXY, FAR, 7000) == 91
    line = program.wait_session(5, reason="no-egress")
    assert line["verdict"] == "allow" and "egress" not in line
    # One line tells of many.
    program.wait_text("is not an address of this machine", n=2)
    assert len([x for x in program.lines if "is not an address of this machine" in x]) == 2
    assert both[4].accepted == both[6].accepted == 0
    netns.add_address("192.0.2.7")
    netns.add_address("2001:db8:9::7")
    assert seen(both[4], socks.open5(PROXY, FAR, 7000)) == "192.0.2.7"
    assert seen(both[6], socks.open5(PROXY, FAR6, 7000)) == "2001:db8:9::7"


def test_loopback_reaches_loopback_alone(tabi, both, target):
    """The kernel would send from ::1, and no answer could find back."""
    near = target(targets.echo)
    near6 = target(targets.echo, address="::1")
    program = tabi(config("allow all egress 127.0.0.5,::1"))
    assert seen(near, socks.open5(PROXY, "127.0.0.1", 7000)) == "127.0.0.5"
    assert seen(near6, socks.open5(PROXY, "::1", 7000)) == "::1"
    assert socks.ask5(PROXY, FAR, 7000) == 3
    assert socks.ask5(PROXY, FAR6, 7000) == 3
    program.wait_session(2, reason="no-egress")
    program.wait_text("egress 127.0.0.5,::1: the destination is not reached from there")


def test_a_port_serves_many_destinations(tabi, both):
    """Bound too early it would serve one: the port is chosen when the destination is known."""
    with contextlib.ExitStack() as stack:
        more = targets.Target(targets.echo, address=FAR, port=7001)
        stack.callback(more.close)
        program = tabi(config(f"allow all egress {OTHER}"))
        for _ in range(20):
            for port in (7000, 7001):
                stack.enter_context(socks.open5(PROXY, FAR, port))
        both[4].wait_accepted(20)
        more.wait_accepted(20)
        taken = {peer[1] for peer in both[4].peers + more.peers}
        first = next(n for n in range(40000, 50000, 4) if not taken & set(range(n, n + 4)))
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
            f.write(f"{first} {first + 3}")
        opened = 0
        for port in (7000, 7001):
            for _ in range(4):
                # The client's own connection has to have a port, too.
                sock = socket.socket()
                stack.enter_context(sock)
                sock.settimeout(10)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind(("127.0.0.1", 50000 + opened))
                sock.connect(PROXY)
                socks.hello5(sock)
                sock.sendall(socks.request5(FAR, port))
                assert socks.recv_reply5(sock)[0] == 0, opened
                opened += 1
        both[4].wait_accepted(24)
        more.wait_accepted(24)
        ports = [peer[1] for peer in both[4].peers + more.peers if first <= peer[1] <= first + 3]
        assert len(ports) == 8 and len(set(ports)) == 4
        # And when there is really none left, that is told.
        sock = stack.enter_context(socket.socket())
        sock.settimeout(10)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 50100))
        sock.connect(PROXY)
        socks.hello5(sock)
        sock.sendall(socks.request5(FAR, 7000))
        assert socks.recv_reply5(sock)[0] == 3
        program.wait_session(reason="no-source")


# ---- an interface ----


WEST, WEST6 = "203.0.113.1", "2001:db8:a::1"


def make_west(addresses=(f"{WEST}/24", f"{WEST6}/64")):
    return segment.Segment("west", addresses, [f"{FAR}/32", f"{FAR6}/128"])


@pytest.fixture
def east():
    """The routes lead here, to a target that must see nothing."""
    side = segment.Segment(
        "east", [f"{OWN}/24", f"{OWN6}/64"], [f"{FAR}/24", f"{FAR6}/64"]
    )
    for family in ("-4", "-6"):
        segment.ip(family, "route", "add", "default", "dev", "east", "metric", "10")
    return side


def route_west():
    for family in ("-4", "-6"):
        segment.ip(family, "route", "add", "default", "dev", "west", "metric", "20")


def far_target(side, address, serve=targets.echo):
    return side.do(lambda: targets.Target(serve, address=address))


def test_interface(tabi, east):
    """What the routes say does not matter: the same destination is at the end of both."""
    west = make_west()
    route_west()
    wrong = [far_target(east, host) for host in (FAR, FAR6)]
    right = {host: far_target(west, host) for host in (FAR, FAR6)}
    program = tabi(config("allow port 7000 egress west", "allow all"))
    for host, expected in ((FAR, WEST), (FAR6, WEST6)):
        assert seen(right[host], socks.open5(PROXY, host, 7000)) == expected
        program.wait_session(egress=expected)
    assert all(not one.peers for one in wrong)
    for one in wrong + list(right.values()):
        one.close()


def test_interface_without_an_address(tabi, east):
    """The kernel would take another interface's."""
    west = make_west([])
    route_west()
    reached = [far_target(west, host) for host in (FAR, FAR6)]
    program = tabi(config("allow all egress west"))
    for host in (FAR, FAR6):
        assert socks.ask5(PROXY, host, 7000) == 8
    program.wait_session(2, reason="no-egress-family")
    segment.ip("address", "add", f"{WEST}/24", "dev", "west")
    assert seen(reached[0], socks.open5(PROXY, FAR, 7000)) == WEST
    assert socks.ask5(PROXY, FAR6, 7000) == 8
    assert len(reached[0].peers) == 1 and not reached[1].peers
    for one in reached:
        one.close()


def test_interface_comes_and_goes(tabi, east):
    wrong = far_target(east, FAR)
    program = tabi(config("allow all egress west"))
    program.wait_text("tabi.conf:5: egress west: there is no interface west")
    assert socks.ask5(PROXY, FAR, 7000) == 3
    west = make_west()
    route_west()
    right = far_target(west, FAR)
    assert seen(right, socks.open5(PROXY, FAR, 7000)) == WEST
    segment.ip("link", "del", "west")
    assert socks.ask5(PROXY, FAR, 7000) == 3
    assert socks.ask_http(PROXY, FAR, 7000) == 503
    program.wait_session(3, reason="no-egress")
    assert not wrong.peers
    for one in (wrong, right):
        one.close()


def test_broadcast_address_is_no_address(tabi, east):
    """To bind to it is allowed, and the kernel then takes another one."""
    reached = far_target(east, FAR, targets.collect)
    program = tabi(config("allow all egress 198.51.100.255"))
    assert socks.ask5(PROXY, FAR, 7000) == 3
    program.wait_session(reason="no-egress")
    reached.close()


# ---- the address that the client has reached ----


def test_same(tabi, both, target, tmp_path):
    near = target(targets.echo)
    path = tmp_path / "s"
    head = HEAD + f"listen {OTHER}:1080\nlisten [{OTHER6}]:1080\nlisten {path}\n"
    program = tabi(config("allow from any egress same", head=head.replace("1080\n", "1080 open\n")))
    assert seen(both[4], socks.open5((OTHER, 1080), FAR, 7000)) == OTHER
    assert seen(both[6], socks.open5((OTHER6, 1080), FAR6, 7000)) == OTHER6
    assert seen(near, socks.open5(PROXY, "127.0.0.1", 7000)) == "127.0.0.1"
    # Of another family; of no use there; none at all.
    assert socks.ask5((OTHER, 1080), FAR6, 7000) == 8
    assert socks.ask5((OTHER6, 1080), FAR, 7000) == 8
    assert socks.ask5(PROXY, FAR, 7000) == 3
    assert socks.ask5(path, FAR, 7000) == 3
    program.wait_session(2, reason="no-egress-family")
    program.wait_session(2, reason="no-egress")
    program.wait_text("egress same: the client has reached none from which the destination is reached")
    assert both[4].accepted == both[6].accepted == 1


# ---- a pool ----


def test_pool(tabi, both, pools):
    program = tabi(config(f"allow all egress pool {POOL},{POOL6}"))
    assert "not an address" not in program.log()
    got = {4: set(), 6: set()}
    for _ in range(60):
        got[4].add(seen(both[4], socks.open5(PROXY, FAR, 7000)))
        got[6].add(seen(both[6], socks.open5(PROXY, FAR6, 7000)))
    hosts = {str(ip) for ip in POOL.hosts()}
    assert len(hosts) == 14 and got[4] <= hosts and len(got[4]) > 7
    assert len(got[6]) == 60
    assert all(ipaddress.ip_address(ip) in POOL6 for ip in got[6])
    # All of the net's bits vary, not only some.
    numbers = [int(ipaddress.ip_address(ip)) - int(POOL6[0]) for ip in got[6]]
    assert all(any(n >> bit & 1 for n in numbers) for bit in range(64))
    assert program.wait_session(60, to=f"[{FAR6}]:7000")["egress"] in got[6]


def test_pool_that_is_not_routed_here(tabi, both):
    program = tabi(config(f"allow all egress pool {POOL},{POOL6}"))
    program.wait_text("is not an address of this machine, and no local route has it")
    assert socks.ask5(PROXY, FAR, 7000) == 3
    assert socks.ask5(PROXY, FAR6, 7000) == 3
    program.wait_session(2, reason="no-egress")
    assert both[4].accepted == both[6].accepted == 0


def test_pool_of_one(tabi, both, pools):
    tabi(config("allow all egress pool 203.0.113.9,2001:db8:f::9/128"))
    assert seen(both[4], socks.open5(PROXY, FAR, 7000)) == "203.0.113.9"
    assert seen(both[6], socks.open5(PROXY, FAR6, 7000)) == "2001:db8:f::9"


def test_pool_leaves_by_a_real_link(tabi, east):
    """The answers come back by the route that the other side has to the net."""
    segment.ip("-6", "route", "add", "local", str(POOL6), "dev", "lo")
    east.do(segment.ip, "-6", "route", "add", str(POOL6), "via", OWN6)
    reached = far_target(east, FAR6)
    tabi(config(f"allow all egress pool {POOL6}"))
    got = {seen(reached, socks.open5(PROXY, FAR6, 7000)) for _ in range(5)}
    assert len(got) == 5 and all(ipaddress.ip_address(ip) in POOL6 for ip in got)
    reached.close()


def test_sticky(tabi, both, pools, tmp_path):
    """The same user has the same address, in whatever worker, over reload and death of workers."""
    rule = f"allow user alice,bob egress pool {POOL},{POOL6} sticky per user"
    head = HEAD.replace("workers 1", "workers 3") + users(tmp_path, "alice", "bob") + "\n"
    program = tabi(config(rule, head=head))
    program.expect_lost_workers = True

    def of(user):
        four = {seen(both[4], login(user, FAR)) for _ in range(9)}
        six = {seen(both[6], login(user, FAR6)) for _ in range(9)}
        assert len(four) == len(six) == 1, (four, six)
        return four.pop(), six.pop()

    def of_workers():
        return {r["worker"] for r in program.sessions()}

    alice, bob = of("alice"), of("bob")
    assert alice[1] != bob[1]
    wait_until(lambda: len(of_workers()) == 3 or (of("alice"), False)[1], 30, "all workers to serve")
    for address, pool in ((alice[0], POOL), (alice[1], POOL6)):
        assert ipaddress.ip_address(address) in pool
    program.signal(signal.SIGHUP)
    program.wait_text("the configuration was reloaded")
    assert (of("alice"), of("bob")) == (alice, bob)
    before = program.workers()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(program.workers()) - set(before)) == 3, what="new workers")
    assert (of("alice"), of("bob")) == (alice, bob)


def test_sticky_without_users(tabi, both, pools):
    """Then it is the client's address that counts, and a name is no address."""
    tabi(config(f"allow all egress pool {POOL6} sticky per user"))
    got = {}
    for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3") * 3:
        with socks.dial(PROXY, source) as sock:
            socks.hello5(sock)
            sock.sendall(socks.request5(FAR6, 7000))
            assert socks.recv_reply5(sock)[0] == 0
            got.setdefault(source, set()).add(seen(both[6], sock))
    assert all(len(addresses) == 1 for addresses in got.values())
    assert len({ip for addresses in got.values() for ip in addresses}) == 3


def test_pool_address_is_ourselves(tabi, pools):
    """An address that is only routed here leads to our own listener like any other."""
    head = "workers 1\nlisten [::]:1080 open\n"
    program = tabi(config(f"allow all egress pool {POOL6}", head=head))
    assert socks.ask5(("::1", 1080), str(POOL6[77]), 1080) == 2
    program.wait_session(reason="self")


# ---- BIND ----


def bind(host, proxy=PROXY, protocol=5):
    """Where it is listened for that peer; and the socket."""
    sock = socks.dial(proxy)
    socks.hello5(sock)
    sock.sendall(socks.request5(host, 0, socks.BIND))
    code, address, port, _ = socks.recv_reply5(sock)
    return sock, code, (address, port)


@pytest.mark.parametrize("egress", (BOTH, f"pool {POOL},{POOL6}"))
def test_bind(tabi, pools, egress):
    program = tabi(config(f"allow all egress {egress}"))
    for host, anybody in ((FAR, "0.0.0.0"), (FAR6, "::")):
        for expected in (host, anybody):
            client, code, where = bind(expected)
            assert code == 0
            if egress == BOTH:
                # Anybody is expected where the client itself talks, if there is an egress.
                assert where[0] == (OTHER6 if expected == FAR6 else OTHER)
            else:
                assert any(ipaddress.ip_address(where[0]) in pool for pool in (POOL, POOL6))
            source = FAR6 if ":" in where[0] else FAR
            with socket.create_connection(where, 10, (source, 0)) as peer:
                assert socks.recv_reply5(client)[:2] == (0, source)
                peer.sendall(b"hello")
                assert socks.recv_exact(client, 5) == b"hello"
            client.close()
    assert program.wait_session(4, command="bind")["reason"] == "done"


def test_bind_in_a_range(tabi, addresses):
    tabi(config("bind-ports 40000-40001", f"allow all egress {OTHER}"))
    held = [bind(FAR) for _ in range(2)]
    assert {where[1] for _, _, where in held} == {40000, 40001}
    assert {where[0] for _, _, where in held} == {OTHER}
    assert bind(FAR)[1] == 1
    for sock, *_ in held:
        sock.close()


def test_bind_without_egress(tabi, addresses):
    program = tabi(config(f"allow to {FAR},{FAR6} egress {OTHER}", "allow all egress 192.0.2.7"))
    assert bind(FAR6)[1] == 8
    assert bind("127.0.0.2")[1] == 3
    assert program.wait_session(reason="no-egress-family", command="bind")
    assert program.wait_session(reason="no-egress", command="bind")


def test_bind_for_anybody_by_another_rule(tabi, addresses):
    """A peer whose rule has another egress has come to the wrong address."""
    program = tabi(config(f"egress {OTHER}", f"allow to {FAR} egress {THIRD}", f"allow to {OWN}",
                          "deny to 127.0.0.0/8"))  # fmt: skip
    client, code, where = bind("0.0.0.0")
    assert (code, where[0]) == (0, OTHER)
    # Turned away: connect() may see that already.
    with contextlib.suppress(ConnectionResetError):
        with socket.create_connection(where, 10, (FAR, 0)) as stray:
            assert socks.recv_end(stray) == (b"", "reset")
    with socket.create_connection(where, 10, (OWN, 0)):
        assert socks.recv_reply5(client)[:2] == (0, OWN)
    client.close()
    assert program.wait_session(command="bind")["strays"] == "1"


def test_bind_at_an_interface(tabi, east):
    program = tabi(config("allow all egress east"))
    client, code, where = bind(FAR)
    assert (code, where[0]) == (0, OWN)
    peer = east.do(lambda: socket.create_connection(where, 10, (FAR, 0)))
    assert socks.recv_reply5(client)[:2] == (0, FAR)
    peer.close()
    client.close()
    program.wait_session(command="bind", reason="done")
    client, code, where = bind("0.0.0.0")
    assert (code, where[0]) == (0, OWN)
    client.close()


# ---- datagrams ----


def test_udp(tabi, addresses, echo):
    four, six = echo(FAR), echo(FAR6)
    program = tabi(config(f"allow all egress {BOTH}"))
    with udp.Association() as one:
        assert one.ask(FAR, 7000, b"x") == (FAR, 7000)
        assert one.ask(FAR6, 7000, b"y") == (FAR6, 7000)
    assert four.seen[0][1][0] == OTHER and six.seen[0][1][0] == OTHER6
    line = program.wait_session(command="udp")
    assert set(line["egress"].split(",")) == {OTHER, OTHER6}
    assert (line["packets-up"], line["packets-down"]) == ("2", "2")


def test_udp_each_rule_its_own(tabi, addresses, dns_server, echo):
    """Of one association, to addresses and to a name."""
    dns_server({"four.test": [FAR]})
    first, second, third = echo(FAR, 7000), echo(FAR, 7001), echo(FAR, 7002)
    fourth = echo(FAR, 7003)
    program = tabi(config(f"allow port 7000 egress {OTHER}", f"allow port 7001 egress {THIRD}",
                          "allow port 7002", f"allow to four.test port 7003 egress {THIRD}"))  # fmt: skip
    with udp.Association() as one:
        for _ in range(2):
            for port in (7000, 7001, 7002):
                assert one.ask(FAR, port, b"x") == (FAR, port)
            one.send(b"four.test", 7003, b"x")
            assert one.recv() == ((FAR, 7003), b"x")
    assert [server.seen[0][1][0] for server in (first, second, third)] == [OTHER, THIRD, FAR]
    assert fourth.seen[0][1] == second.seen[0][1] == second.seen[1][1]
    assert program.wait_session(command="udp")["packets-down"] == "8"
    assert program.wait_session(command="udp")["egress"] == f"{THIRD},{OTHER}"


def test_udp_name_and_its_address(tabi, addresses, dns_server, echo):
    """Two verdicts about one place: what goes to the name leaves as the rule for the name says, and
    what goes to the address as that for the address does, in whatever order."""
    dns_server({"four.test": [FAR]})
    remote = echo(FAR)
    program = tabi(config(f"allow to four.test egress {OTHER}", f"allow to {FAR} egress {THIRD}"))
    with udp.Association() as one:
        for host in (FAR, b"four.test", FAR, FAR, b"four.test", b"four.test", FAR):
            assert one.ask(host, 7000, b"x") == (FAR, 7000)
    assert [sender[0] for _, sender in remote.seen] == [
        THIRD, OTHER, THIRD, THIRD, OTHER, OTHER, THIRD
    ]  # fmt: skip
    assert program.wait_session(command="udp")["packets-down"] == "7"


def test_udp_has_one_address_of_a_pool(tabi, pools, echo):
    four, six, other = echo(FAR), echo(FAR6), echo(FAR, 7001)
    tabi(config(f"allow all egress pool {POOL},{POOL6}"))
    for _ in range(8):
        with udp.Association() as one:
            for _ in range(3):
                one.ask(FAR, 7000, b"x")
                one.ask(FAR, 7001, b"x")
                one.ask(FAR6, 7000, b"x")
    fours, sixes = [s[1] for s in four.seen], [s[1] for s in six.seen]
    assert all(len(set(seen[i : i + 3])) == 1 for seen in (fours, sixes) for i in range(0, 24, 3))
    assert fours == [s[1] for s in other.seen]
    assert len({s[0] for s in sixes}) == 8 and len({s[0] for s in fours}) > 1
    assert all(ipaddress.ip_address(s[0]) in POOL for s in fours)
    assert all(ipaddress.ip_address(s[0]) in POOL6 for s in sixes)


def test_udp_sticky(tabi, pools, echo, tmp_path):
    """The same address as the user's connections."""
    six = echo(FAR6)
    tabi(config(users(tmp_path, "alice", "bob"),
                f"allow user alice,bob egress pool {POOL6} sticky per user"))  # fmt: skip
    server = targets.Target(targets.echo, address=FAR6, port=7001)
    for user in ("alice", "bob"):
        address = seen(server, login(user, FAR6, 7001))
        for _ in range(2):
            with udp.Association(user=user, password=user + "'s") as one:
                one.ask(FAR6, 7000, b"x")
            assert six.seen[-1][1][0] == address
    assert len({s[1][0] for s in six.seen}) == 2
    server.close()


def test_udp_without_egress(tabi, addresses, echo):
    """Dropped and counted, not sent from elsewhere; what comes later is sent."""
    four, six = echo(FAR), echo(FAR6)
    program = tabi(config(f"allow to {FAR6} egress {OTHER}", "allow all egress 192.0.2.7"))
    with udp.Association() as one:
        for _ in range(3):
            one.send(FAR6, 7000, b"x")
            one.send(FAR, 7000, b"x")
        assert one.is_quiet()
        netns.add_address("192.0.2.7")
        extra = 0

        def arrives():
            nonlocal extra
            one.send(FAR, 7000, b"now")
            extra += one.is_quiet(0.2)
            return four.seen

        wait_until(arrives)
    assert not six.seen and four.seen[0][1][0] == "192.0.2.7"
    assert program.wait_session(command="udp")["drop-egress"] == str(6 + extra)


def test_udp_by_interface(tabi, east):
    west = make_west()
    route_west()
    wrong, right = east.socket(FAR, 7000), west.socket(FAR, 7000)
    right6 = west.socket(FAR6, 7000)
    tabi(config("allow all egress west"))
    with udp.Association() as one:
        for sock, host, expected in ((right, FAR, WEST), (right6, FAR6, WEST6)):
            one.send(host, 7000, b"x")
            data, sender = sock.recvfrom(100)
            assert (data, sender[0]) == (b"x", expected)
            sock.sendto(b"y", sender)
            assert one.recv() == ((host, 7000), b"y")
        assert udp.is_quiet(wrong)


def arrives_at(remote, client, data):
    """Sends until it arrives; returns from where, and how many did not."""
    lost = -1
    remote.settimeout(0.2)

    def sent():
        nonlocal lost, sender
        client.send(FAR, 7000, data)
        lost += 1
        with contextlib.suppress(TimeoutError):
            got, sender = remote.recvfrom(100)
            return got == data

    sender = None
    wait_until(sent)
    return sender[0], lost


def test_udp_at_an_interface_whose_address_changes(tabi, east):
    """The association goes on from the other one."""
    segment.ip("address", "add", "192.0.2.7/32", "dev", "east")
    remote = east.socket(FAR, 7000)
    program = tabi(config("allow all egress east"))
    before = program.descriptors()
    with udp.Association() as one:
        assert arrives_at(remote, one, b"1") == (OWN, 0)
        segment.ip("address", "del", f"{OWN}/24", "dev", "east")
        sender, lost = arrives_at(remote, one, b"2")
        assert sender == "192.0.2.7"
    line = program.wait_session(command="udp")
    assert (line["egress"], int(line["drop-error"])) == ("192.0.2.7", lost)
    program.wait_descriptors(before)


def test_udp_address_goes_and_comes(tabi, east):
    """What is lost meanwhile is counted as what could not leave from there."""
    remote = east.socket(FAR, 7000)
    segment.ip("address", "add", "192.0.2.7/32", "dev", "east")
    program = tabi(config("allow all egress 192.0.2.7"))
    before = program.descriptors()
    with udp.Association() as one:
        assert arrives_at(remote, one, b"1") == ("192.0.2.7", 0)
        segment.ip("address", "del", "192.0.2.7/32", "dev", "east")
        for _ in range(20):
            one.send(FAR, 7000, b"lost")
            time.sleep(0.01)
        assert udp.is_quiet(remote)
        segment.ip("address", "add", "192.0.2.7/32", "dev", "east")
        sender, lost = arrives_at(remote, one, b"2")
        assert sender == "192.0.2.7"
    line = program.wait_session(command="udp")
    assert int(line["drop-egress"]) == 19 + lost and line["drop-error"] == "1"
    program.wait_descriptors(before)


def test_udp_many_egresses_in_one_association(tabi, addresses, echo):
    """A bound for the sockets that one association may have."""
    echoes = [echo(FAR, 7000 + i) for i in range(20)]
    program = tabi(config(
        *(f"allow port {7000 + i} egress 198.51.100.{i + 100}" for i in range(20))
    ))
    for i in range(20):
        netns.add_address(f"198.51.100.{i + 100}")
    before = program.descriptors()
    with udp.Association() as one:
        for i in range(20):
            one.send(FAR, 7000 + i, b"x")
        for _ in range(16):
            one.recv()
        assert one.is_quiet()
    assert [e.seen[0][1][0] for e in echoes[:16]] == [f"198.51.100.{i + 100}" for i in range(16)]
    assert not any(e.seen for e in echoes[16:])
    assert program.wait_session(command="udp")["drop-error"] == "4"
    program.wait_descriptors(before)


def test_group_from_an_address(tabi):
    side = segment.Segment(
        "east", [f"{OWN}/24", f"{OTHER}/24", f"{OWN6}/64", f"{OTHER6}/64"], [f"{FAR}/24", f"{FAR6}/64"]
    )
    groups = {"239.1.2.3": OTHER, "ff18::1:3": OTHER6}
    members = {group: side.member(group, 5004) for group in groups}
    tabi(config(f"allow to multicast command udp,multicast interface east egress {BOTH}"))
    with udp.Association() as one:
        for group, expected in groups.items():
            one.send(group, 5004, b"x")
            data, _, sender = members[group].recv()
            assert (data, sender[0]) == (b"x", expected)
    with mcast.Client() as one:
        for group, expected in groups.items():
            reply = one.both(group, 5004)
            one.send(reply, b"y")
            data, _, sender = members[group].recv()
            assert (data, sender[0]) == (b"y", expected)


# ---- plain HTTP, and other proxies ----


def answer(sock):
    """Serves one request after the other, and tells whom it sees."""
    data = b""
    while more := sock.recv(65536):
        data += more
        while b"\r\n\r\n" in data:
            data = data.partition(b"\r\n\r\n")[2]
            body = sock.getpeername()[0].encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def ask_page(sock, url):
    sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % url.encode())
    status, head = socks.recv_head(sock)
    return status, socks.recv_exact(sock, int(socks.header(head, b"Content-Length")))


def test_http(tabi, addresses, target):
    """Each request by its own rule, the connection kept where it may be."""
    servers = [target(answer, address=FAR), target(answer, address=FAR, port=7001),
               target(answer, address=FAR6)]  # fmt: skip
    program = tabi(config(f"allow to {FAR} port 7000 egress {BOTH}", f"allow all egress {THIRD}"))
    with socks.dial(PROXY) as sock:
        for _ in range(3):
            assert ask_page(sock, f"http://{FAR}:7000/") == (200, OTHER.encode())
        assert ask_page(sock, f"http://{FAR}:7001/") == (200, THIRD.encode())
        assert ask_page(sock, f"http://{FAR}:7000/") == (200, OTHER.encode())
        assert ask_page(sock, f"http://[{FAR6}]:7000/")[0] == 502
    assert [len(server.peers) for server in servers] == [2, 1, 0]
    line = program.wait_for_log(lambda r: r.event == "request" and r["to"] == f"{FAR}:7001")
    assert line["egress"] == THIRD
    program.wait_session(reason="no-egress-family", requests=5)


def front(*lines, rules):
    return HEAD + "".join(line + "\n" for line in lines) + rules


def test_via(tabi, addresses, target):
    """It is the connection to the first proxy that leaves from there; the last has its own."""
    server = target(targets.echo, address=FAR)
    second = tabi(f"workers 1\nlisten {FAR}:1081\nallow from {OTHER} egress {THIRD}\n")
    third = tabi(f"workers 1\nlisten [{FAR6}]:1082\nallow from {OTHER6}\n")
    first = tabi(front(f"proxy four socks5h://{FAR}:1081", f"proxy six http://[{FAR6}]:1082",
                       rules=f"egress {BOTH}\nallow to {FAR} port 7000 via four\nallow all via six\n"))  # fmt: skip
    assert seen(server, socks.open5(PROXY, FAR, 7000)) == THIRD
    assert first.wait_session(via="four")["egress"] == OTHER
    assert second.wait_session()["from"].startswith(OTHER + ":")
    more = targets.Target(targets.echo, address=FAR, port=7001)
    socks.open5(PROXY, FAR, 7001).close()
    assert first.wait_session(via="six")["egress"] == OTHER6
    assert third.wait_session()["from"].startswith(f"[{OTHER6}]:")
    more.close()


def test_via_without_egress(tabi, addresses, target):
    """No proxy is to blame; one that can be reached from there is chosen."""
    target(targets.echo, address=FAR)
    tabi(f"workers 1\nlisten {FAR}:1081 open\nlisten [{FAR6}]:1082 open\nallow all\n")
    first = tabi(front(
        f"proxy up socks5h://[{FAR6}]:1082", f"proxy up socks5h://{FAR}:1081", f"proxy six http://[{FAR6}]:1082",
        rules=f"allow port 7000 via up egress {OTHER}\nallow port 7001 via up egress 192.0.2.7\n"
              f"allow port 7002 via six egress {OTHER}\n",
    ))  # fmt: skip
    for _ in range(3):
        with socks.open5(PROXY, FAR, 7000) as sock:
            targets.ping(sock)
    first.wait_session(3, proxy=f"{FAR}:1081", reason="done")
    assert socks.ask5(PROXY, FAR, 7001) == 3
    assert first.wait_session(reason="no-egress")["proxy-stage"] == "dial"
    assert socks.ask5(PROXY, FAR, 7002) == 8
    first.wait_session(reason="no-egress-family")
    assert "proxy-down" not in first.log()
    # The same proxies are in order for whoever can reach them.
    with socks.open5(PROXY, FAR, 7000) as sock:
        targets.ping(sock)


@pytest.mark.parametrize("egress", (BOTH, f"pool {POOL},{POOL6}"))
def test_udp_via(tabi, pools, echo, egress):
    """The connection to the proxy and the datagrams to its relay: the proxy compares them."""
    echo(FAR)
    second = tabi(f"workers 1\nlisten {FAR}:1081 open\nlisten [{FAR6}]:1082 open\nallow all\n")
    tabi(f"workers 1\nlisten {THIRD}:1083 open\nallow all\n")
    tabi(front(f"proxy four socks5h://{FAR}:1081", f"proxy six socks5h://[{FAR6}]:1082",
               f"proxy both socks5h://{FAR}:1081,socks5h://{THIRD}:1083",
               rules=f"egress {egress}\nallow port 7000 via four\nallow port 7001 via six\n"
                     "allow port 7002 via both\n"))  # fmt: skip
    echo(FAR, 7001)
    echo(FAR, 7002)
    seen_by = {7000: 4, 7001: 6, 7002: 4}
    for port, family in seen_by.items():
        with udp.Association() as one:
            for _ in range(3):
                assert one.ask(FAR, port, b"x") == (FAR, port)
    for n in (1, 2, 3):
        host = second.wait_session(n, command="udp")["from"].rpartition(":")[0].strip("[]")
        if egress == BOTH:
            assert host in (OTHER, OTHER6)
        else:
            assert any(ipaddress.ip_address(host) in pool for pool in (POOL, POOL6))


def test_udp_via_without_egress(tabi, addresses, echo):
    server = echo(FAR)
    tabi(f"workers 1\nlisten {FAR}:1081 open\nallow all\n")
    first = tabi(front(f"proxy four socks5h://{FAR}:1081",
                       rules="allow all via four egress 192.0.2.7\n"))  # fmt: skip
    with udp.Association() as one:
        one.send(FAR, 7000, b"x")
        assert one.is_quiet()
    assert not server.seen
    line = first.wait_session(command="udp")
    assert line["drop-proxy"] == "1" and line["proxy-error"] == "no-egress"
    assert "proxy-down" not in first.log()
