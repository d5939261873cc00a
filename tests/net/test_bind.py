# SPDX-License-Identifier: MIT
"""BIND: the server listens for a peer that the client expects, and for nobody else."""

import os
import signal
import socket
import struct
import threading

import pytest

from harness import netns, socks, targets
from harness.config import HEAD, LOCAL, PROXY, local
from harness.tabi import wait_until

PEER = "127.0.0.2"
STRAY = "127.0.0.3"


def begin5(proxy=PROXY, host=PEER, port=0, more=b""):
    """Greeting and BIND; returns (socket, where the server listens) behind a first reply that
    grants."""
    sock = socks.dial(proxy)
    socks.hello5(sock)
    sock.sendall(socks.request5(host, port, socks.BIND) + more)
    code, address, port, _ = socks.recv_reply5(sock)
    assert code == 0, f"reply {code}"
    return sock, (address, port)


def recv_reply4(sock):
    raw = socks.recv_exact(sock, 8)
    assert raw[0] == 0
    return raw[1], (socket.inet_ntoa(raw[4:]), struct.unpack(">H", raw[2:4])[0])


def begin4(host=PEER, port=7000, more=b""):
    sock = socks.dial(PROXY)
    sock.sendall(socks.request4(host, port, b"me", socks.BIND) + more)
    code, where = recv_reply4(sock)
    assert code == 90, f"reply {code}"
    return sock, where


def come(where, source=PEER):
    """Connects as the peer."""
    return socket.create_connection(where, socks.TIMEOUT, (source, 0))


def is_reset(sock):
    """Did the other side turn this connection away, without a byte?"""
    with sock:
        return socks.recv_end(sock) == (b"", "reset")


def stray(where, source=STRAY):
    """Connects as somebody else, and is turned away; that may be seen by connect() already."""
    try:
        sock = come(where, source)
    except ConnectionResetError:
        return True
    return is_reset(sock)


def refuses(where, source=PEER):
    """Nobody listens there (any more)."""
    try:
        sock = come(where, source)
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It was listened when this began.
        return False
    sock.close()
    return False


def talk(client, peer):
    """Both directions, and both ends."""
    client.sendall(b"to the peer")
    assert socks.recv_exact(peer, 11) == b"to the peer"
    peer.sendall(b"to the client")
    assert socks.recv_exact(client, 13) == b"to the client"
    peer.close()
    assert socks.recv_end(client) == (b"", "eof")
    client.close()


@pytest.mark.case("B1", "B11")
@pytest.mark.parametrize("host, listens", ((PEER, "127.0.0.1"), ("::1", "::1")))
def test_socks5(tabi, host, listens):
    program = tabi(LOCAL)
    client, where = begin5(host=host)
    assert where[0] == listens and where[1] >= 1024
    with come(where, host) as peer:
        code, address, port, _ = socks.recv_reply5(client)
        assert (code, address, port) == (0, *peer.getsockname()[:2])
        me = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        talk(client, peer)
    line = program.wait_session(1, command="bind", reason="done")
    assert line["peer"] == me
    assert line["bound"].endswith(f":{where[1]}")
    assert (line["up"], line["down"], line["verdict"]) == ("11", "13", "allow")


@pytest.mark.case("B1")
def test_socks4(tabi):
    program = tabi(LOCAL)
    client, where = begin4()
    assert where[0] == "127.0.0.1" and where[1] >= 1024
    with come(where) as peer:
        assert recv_reply4(client) == (90, peer.getsockname())
        talk(client, peer)
    line = program.wait_session(1, protocol="socks4", reason="done")
    assert (line["command"], line["to"], line["userid"]) == ("bind", f"{PEER}:7000", "me")


def test_listens_before_the_first_reply(tabi):
    """A peer that comes in the same instant is not turned away; a hundred times."""
    tabi(LOCAL)
    for _ in range(100):
        client, where = begin5()
        with come(where) as peer:
            assert socks.recv_reply5(client)[0] == 0
            talk(client, peer)


def test_the_address_is_the_one_towards_the_peer(tabi):
    """The client came by 127.0.0.1; the peer is elsewhere."""
    netns.add_address("198.51.100.7")
    netns.add_address("2001:db8::7")
    tabi(LOCAL)
    for host in ("198.51.100.7", "2001:db8::7"):
        client, where = begin5(host=host)
        assert where[0] == host
        assert refuses(("127.0.0.1", where[1]))
        with come(where, host) as peer:
            assert socks.recv_reply5(client)[:2] == (0, host)
            talk(client, peer)


def test_mapped_address_is_the_ipv4_address(tabi):
    tabi(LOCAL)
    client, where = begin5(host="::ffff:" + PEER)
    assert where[0] == "127.0.0.1"
    with come(where) as peer:
        assert socks.recv_reply5(client)[:2] == (0, PEER)
        talk(client, peer)


@pytest.mark.case("B2")
def test_socks5_stray_is_reset_and_the_peer_still_gets_in(tabi):
    program = tabi(local("log level debug"))
    client, where = begin5()
    for _ in range(3):
        assert stray(where)
    with come(where) as peer:
        assert socks.recv_reply5(client)[:2] == (0, PEER)
        talk(client, peer)
    assert program.wait_session(1, command="bind")["strays"] == "3"
    program.wait_for_log(lambda r: r.event == "stray" and r["peer"].startswith(STRAY), n=3)


@pytest.mark.case("B2", "S11")
def test_socks4_stray_ends_both(tabi):
    program = tabi(LOCAL)
    client, where = begin4()
    assert stray(where)
    assert socks.recv_end(client) == (socks.FAILURE4, "eof")
    assert refuses(where)
    assert program.wait_session(1, command="bind")["reason"] == "stranger"


@pytest.mark.case("B3")
@pytest.mark.parametrize("how", ("close", "shutdown", "reset"))
def test_client_that_leaves_takes_the_listener_along(tabi, how):
    program = tabi(LOCAL)
    client, where = begin5()
    if how == "reset":
        socks.reset(client)
    elif how == "shutdown":
        client.shutdown(socket.SHUT_WR)
    else:
        client.close()
    line = program.wait_session(1, command="bind")
    assert line["reason"] == ("client-reset" if how == "reset" else "client-gone")
    wait_until(lambda: refuses(where), what="the listener to be closed")
    assert "peer" not in line
    client.close()


@pytest.mark.case("B4")
@pytest.mark.parametrize("size", (0, 1, 1000, 16384, 100000))
def test_early_data_reaches_the_peer(tabi, size):
    """Some of it with the request, the rest between the replies; more than is kept waits in the
    kernel."""
    tabi(LOCAL)
    data = targets.pattern(size, "early")
    client, where = begin5(more=data[:700])
    sender = threading.Thread(target=client.sendall, args=(data[700:],))
    sender.start()
    with come(where) as peer:
        assert socks.recv_reply5(client)[0] == 0
        targets.check_same(socks.recv_exact(peer, size), data)
        sender.join()
        talk(client, peer)


@pytest.mark.case("B4")
def test_early_data_is_bounded(tabi):
    program = tabi(LOCAL)
    client, where = begin5()
    before = program.memory()
    client.settimeout(0.3)
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            client.sendall(bytes(65536))
    assert program.memory() - before < 1 << 20
    client.close()
    program.stop()


@pytest.mark.case("B5")
def test_port_that_is_taken(tabi, target):
    target(port=7000)
    program = tabi(LOCAL)
    assert socks.ask5(PROXY, PEER, 7000, socks.BIND) == 1
    assert program.wait_session()["reason"] == "port-busy"


@pytest.mark.case("B5")
def test_port_that_another_client_waits_on(tabi):
    tabi(LOCAL)
    client, where = begin5(port=7000)
    assert where[1] == 7000
    assert socks.ask5(PROXY, PEER, 7000, socks.BIND) == 1
    client.close()


def test_wanted_port_again_and_again(tabi):
    """The connection before is hardly over: its end must not keep the port."""
    tabi(LOCAL)
    for _ in range(20):
        client, where = begin5(port=7000)
        assert where == ("127.0.0.1", 7000)
        with come(where) as peer:
            assert socks.recv_reply5(client)[0] == 0
            client.close()
            assert socks.recv_end(peer) == (b"", "eof")


@pytest.mark.case("B6")
@pytest.mark.parametrize("port", (1, 21, 1023))
def test_privileged_port(tabi, port):
    program = tabi(LOCAL)
    assert socks.ask5(PROXY, PEER, port, socks.BIND) == 2
    assert program.wait_session()["reason"] == "bad-port"


@pytest.mark.case("B7")
def test_socks5_nobody_comes(tabi):
    program = tabi(local("timeout bind 300ms"))
    client, where = begin5()
    assert socks.recv_end(client) == (socks.failure5(4), "eof")
    assert refuses(where)
    assert program.wait_session(1, command="bind")["reason"] == "timeout"


@pytest.mark.case("B7", "S13")
def test_socks4_nobody_comes(tabi):
    program = tabi(local("timeout bind 300ms"))
    client, where = begin4()
    assert socks.recv_end(client) == (socks.FAILURE4, "eof")
    assert refuses(where)
    assert program.wait_session(1, command="bind")["reason"] == "timeout"


def test_strays_do_not_move_the_deadline(tabi):
    tabi(local("timeout bind 500ms"))
    client, where = begin5()
    result = []
    waiter = threading.Thread(target=lambda: result.append(socks.recv_end(client)))
    waiter.start()
    strays = 0
    while waiter.is_alive() and strays < 100000:
        try:
            assert stray(where)
            strays += 1
        except OSError:
            pass
    waiter.join()
    assert result == [(socks.failure5(4), "eof")] and strays > 10


@pytest.mark.case("B8")
@pytest.mark.parametrize("source", (PEER, "127.0.0.4"))
@pytest.mark.parametrize("version", (4, 5))
def test_any_address_of_a_name(tabi, dns_server, source, version):
    dns_server({"ftp.test": [PEER, "127.0.0.4", "2001:db8::9"]})
    program = tabi(LOCAL)
    client, where = begin4("ftp.test") if version == 4 else begin5(host="ftp.test")
    assert where[0] == "127.0.0.1"
    with come(where, source) as peer:
        if version == 4:
            assert recv_reply4(client) == (90, peer.getsockname())
        else:
            assert socks.recv_reply5(client)[:2] == (0, source)
        talk(client, peer)
    line = program.wait_session(1, command="bind")
    assert line["address"].startswith(source + ":") and line["to"].startswith("ftp.test:")


@pytest.mark.case("B8")
def test_address_of_a_name_that_is_denied_is_a_stray(tabi, dns_server):
    dns_server({"ftp.test": [PEER, "127.0.0.4"]})
    tabi(local("deny to 127.0.0.4"))
    client, where = begin5(host="ftp.test")
    assert stray(where, "127.0.0.4")
    with come(where) as peer:
        assert socks.recv_reply5(client)[:2] == (0, PEER)
        talk(client, peer)


@pytest.mark.case("B9")
@pytest.mark.parametrize("host", ("255.255.255.255", "224.0.0.1", "ff02::1", b"255.255.255.255"))
def test_address_that_nobody_comes_from(tabi, host):
    tabi(LOCAL)
    assert socks.ask5(PROXY, host, 0, socks.BIND) == 8


@pytest.mark.case("B9")
def test_name_with_address_zero_is_not_anybody(tabi, dns_server):
    dns_server({"zero.test": ["0.0.0.0"]})
    tabi(LOCAL)
    assert socks.ask5(PROXY, "zero.test", 0, socks.BIND) == 2


@pytest.mark.case("B10")
@pytest.mark.parametrize("host", (PEER, "0.0.0.0"))
def test_second_peer_is_refused(tabi, host):
    tabi(LOCAL)
    client, where = begin5(host=host)
    first = come(where)
    assert socks.recv_reply5(client)[0] == 0
    assert refuses(where)
    talk(client, first)


@pytest.mark.case("B10")
def test_of_peers_that_queue_only_the_first_gets_in(tabi):
    """They connect while the server is stopped, so all are in its queue before it looks."""
    program = tabi(LOCAL)
    client, where = begin5()
    worker = program.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    peers = [come(where) for _ in range(5)]
    os.kill(worker, signal.SIGCONT)
    assert socks.recv_reply5(client)[1:3] == peers[0].getsockname()
    for one in peers[1:]:
        assert is_reset(one)
    talk(client, peers[0])


@pytest.mark.timeout(120)
def test_race_for_the_port(tabi):
    """Somebody who sees every port at once and connects as fast as he can, a thousand times."""
    program = tabi(LOCAL)
    stolen = []
    where = []
    ready, over = threading.Barrier(2), threading.Event()

    def race():
        while True:
            ready.wait(30)
            if over.is_set():
                return
            for _ in range(3):
                try:
                    with come(where[0], STRAY) as sock:
                        # A listener that closes just now may forget us without a word: then
                        # this is what the kernel answers with a reset.
                        sock.sendall(b"it is me")
                        stolen.append(sock.recv(100))
                except OSError:
                    pass
            ready.wait(30)

    racer = threading.Thread(target=race)
    racer.start()
    for i in range(1000):
        client, address = begin5()
        where[:] = [address]
        client.sendall(b"secret")
        ready.wait(30)
        with come(address) as peer:
            assert socks.recv_reply5(client)[1:3] == peer.getsockname()
            assert socks.recv_exact(peer, 6) == b"secret"
            peer.sendall(b"mine")
            assert socks.recv_exact(client, 4) == b"mine"
            client.close()
        ready.wait(30)
    over.set()
    ready.wait(30)
    racer.join()
    assert set(stolen) <= {b""}
    lines = [program.wait_session(n, command="bind", timeout=30) for n in (1, 1000)]
    assert lines[1]["peer"].startswith(PEER)
    assert sum(int(r.get("strays", 0)) for r in program.sessions()) > 100


# Who may come back: the rules.


@pytest.mark.parametrize("rule", ("deny command bind", "deny to 127.0.0.2", "deny from loopback to loopback"))
def test_denied(tabi, rule):
    program = tabi(local(rule))
    assert socks.ask5(PROXY, PEER, 0, socks.BIND) == 2
    assert socks.ask4(PROXY, PEER, 7000, command=socks.BIND) == 91
    assert program.wait_session()["reason"] == "denied"


def test_granted_alone(tabi, target):
    tabi(HEAD + "allow command bind to 127.0.0.2\n")
    target()
    assert socks.ask5(PROXY, "127.0.0.2", 7000) == 2
    assert socks.ask5(PROXY, STRAY, 0, socks.BIND) == 2
    client, where = begin5()
    client.close()


@pytest.mark.parametrize("version", (4, 5))
def test_anybody_is_judged_when_he_comes(tabi, version):
    """Of 0.0.0.0 no rule can know who it will be."""
    program = tabi(HEAD + "deny to 127.0.0.3\nallow command bind to loopback\n")
    client, where = begin4("0.0.0.0", 0) if version == 4 else begin5(host="0.0.0.0")
    assert where[0] == "127.0.0.1"
    if version == 4:
        assert stray(where)
        assert socks.recv_end(client) == (socks.FAILURE4, "eof")
        assert program.wait_session(1, command="bind")["reason"] == "stranger"
        return
    assert stray(where)
    with come(where) as peer:
        assert socks.recv_reply5(client)[:2] == (0, PEER)
        talk(client, peer)
    line = program.wait_session(1, command="bind")
    assert (line["to"], line["verdict"]) == ("0.0.0.0:0", "allow")
    assert line["rule"].endswith(":6")


@pytest.mark.parametrize("rules", ("deny command bind\nallow all", "allow command bind to *.test", "allow command connect"))
def test_nobody_may_be_anybody(tabi, rules):
    tabi(HEAD + rules + "\n")
    assert socks.ask5(PROXY, "0.0.0.0", 0, socks.BIND) == 2
    assert socks.ask5(PROXY, "::", 0, socks.BIND) == 2


def test_anybody_over_ipv6(tabi):
    tabi(LOCAL)
    client, where = begin5(("::1", 1080), "::")
    assert where[0] == "::1"
    with come(where, "::1") as peer:
        assert socks.recv_reply5(client)[:2] == (0, "::1")
        talk(client, peer)


def test_peer_may_be_on_this_host_and_not_the_proxy_itself(tabi):
    """`self` is about connecting: a BIND is no way to the proxy's own port, whatever it names."""
    tabi(LOCAL)
    assert socks.ask5(PROXY, "127.0.0.1", 1080, socks.BIND) == 1


# Ports and addresses from the configuration.


def test_ports_from_the_range_until_it_is_used_up(tabi):
    program = tabi(local("bind-ports 40000-40009"))
    clients, ports = [], set()
    for _ in range(10):
        client, where = begin5()
        clients.append(client)
        ports.add(where[1])
    assert ports == set(range(40000, 40010))
    assert socks.ask5(PROXY, PEER, 0, socks.BIND) == 1
    assert program.wait_session()["reason"] == "port-busy"
    for one in clients:
        one.close()
    program.wait_session(10, reason="client-gone")
    client, where = begin5(port=40003)
    assert where[1] == 40003
    client.close()


def test_ports_of_the_range_are_not_predictable(tabi):
    tabi(local("bind-ports 40000-49999"))
    ports = []
    for _ in range(8):
        client, where = begin5()
        ports.append(where[1])
        client.close()
    assert all(40000 <= p <= 49999 for p in ports)
    steps = {b - a for a, b in zip(ports, ports[1:])}
    assert len(steps) > 2, ports


@pytest.mark.case("B6")
def test_wanted_port_outside_of_the_range(tabi):
    tabi(local("bind-ports 40000-40009"))
    for port in (1024, 39999, 40010):
        assert socks.ask5(PROXY, PEER, port, socks.BIND) == 2


@pytest.mark.case("B11")
def test_advertised_address(tabi):
    netns.add_address("198.51.100.7")
    head = HEAD.replace("127.0.0.1:1080\n", "127.0.0.1:1080 advertise 203.0.113.7,2001:db8::77\n")
    program = tabi(head + "allow from loopback\n")
    client, where = begin5(host="198.51.100.7")
    assert where[0] == "203.0.113.7"
    with come(("198.51.100.7", where[1]), "198.51.100.7") as peer:
        assert socks.recv_reply5(client)[:2] == (0, "198.51.100.7")
        talk(client, peer)
    assert program.wait_session(1, command="bind")["bound"] == f"198.51.100.7:{where[1]}"
    client, where = begin5(host="::1")
    assert where[0] == "2001:db8::77"
    client.close()
    # The other listener advertises nothing.
    client, where = begin5(("::1", 1080), host="198.51.100.7")
    assert where[0] == "198.51.100.7"
    client.close()


@pytest.mark.case("B11")
def test_anybody_where_an_address_is_advertised(tabi):
    """Listens at what a peer outside reaches, not where the client came in."""
    netns.add_address("198.51.100.7")
    head = HEAD.replace("127.0.0.1:1080\n", "127.0.0.1:1080 advertise 198.51.100.7\n")
    tabi(head + "allow from loopback\n")
    client, where = begin5(host="0.0.0.0")
    assert where[0] == "198.51.100.7"
    with come(where, "198.51.100.7") as peer:
        assert socks.recv_reply5(client)[:2] == (0, "198.51.100.7")
        talk(client, peer)


def test_unix_socket(tabi, tmp_path):
    """Its clients have reached no address, so anybody can be listened for only where one is
    advertised."""
    path, other = tmp_path / "s", tmp_path / "t"
    program = tabi(f"workers 1\nlisten {path}\nlisten {other} advertise 127.0.0.1\nallow all\n")
    client, where = begin5(path)
    assert where[0] == "127.0.0.1"
    with come(where) as peer:
        assert socks.recv_reply5(client)[:2] == (0, PEER)
        talk(client, peer)
    assert socks.ask5(path, "0.0.0.0", 0, socks.BIND) == 3
    assert program.wait_session(1, reason="no-source")
    client, where = begin5(other, "0.0.0.0")
    with come(where) as peer:
        assert socks.recv_reply5(client)[:2] == (0, PEER)
        talk(client, peer)


# The rest of a server's life.


def test_ipv6_only_name_in_socks4(tabi, dns_server):
    dns_server({"six.test": ["::1"]})
    tabi(LOCAL)
    assert socks.ask4(PROXY, "six.test", 7000, command=socks.BIND) == 91


def test_no_way_to_the_peer(tabi):
    tabi(LOCAL)
    assert socks.ask5(PROXY, "203.0.113.9", 0, socks.BIND) == 3


def test_stop_while_waiting(tabi):
    program = tabi(local("timeout drain 200ms"))
    client, where = begin5()
    program.signal(signal.SIGTERM)
    assert socks.recv_end(client) in ((socks.failure5(1), "eof"), (socks.failure5(1), "reset"))
    assert program.wait_session(1, command="bind")["reason"] == "shutdown"
    assert program.wait_exit() == 0


def test_nothing_is_left_behind(tabi):
    """Descriptors and memory, whichever way it ends."""
    program = tabi(local("timeout bind 200ms"))
    before = program.descriptors()
    for _ in range(50):
        client, where = begin5()
        client.close()
        client, where = begin5()
        assert stray(where)
        with come(where) as peer:
            assert socks.recv_reply5(client)[0] == 0
            talk(client, peer)
        client, where = begin4()
        assert stray(where)
        assert socks.recv_end(client)[0] == socks.FAILURE4
        client.close()
    client, where = begin5()
    assert socks.recv_end(client)[0] == socks.failure5(4)
    client.close()
    wait_until(lambda: program.descriptors() == before, what="descriptors as before")
