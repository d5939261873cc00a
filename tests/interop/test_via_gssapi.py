# SPDX-License-Identifier: MIT
"""The server and `tabi forward` through SOCKS5 proxies that want GSS-API (RFC 1961), with a real KDC,
which may be slow, silent or dead."""

import errno
import os
import re
import shutil
import signal
import socket
import statistics
import threading
import time

import pytest

from harness import kdc, socks, targets, udp
from harness.config import PROXY
from harness.tabi import SANITIZED, Tabi, check_memory, run, wait_until
from interop_helpers import OUTSIDE, PAGE, PASSWORD
from test_faults import fault

GATE = "gate/client@EXAMPLE.ORG"
MIB = 1 << 20
ALL_LEVELS = "level integrity,confidential,clear"
SLOW_KDC = 8899


@pytest.fixture(scope="session")
def gate(databases):
    """The keytab of who we are toward other proxies."""
    for name in ("gate/client", "gate/other"):
        databases.admin(kdc.REALM, f"addprinc -randkey {name}")
    return databases.keytab("gate.keytab", "gate/client", "gate/other")


@pytest.fixture
def nobody(monkeypatch):
    """Nobody has a ticket in the environment: what is used was fetched."""
    monkeypatch.setenv("KRB5CCNAME", "FILE:/nonexistent")


def front(words, url="socks5h://localhost:1081", rules="allow from loopback to any via up\n", more=""):
    """Ours: everything goes through `up`."""
    return (
        f"workers 1\nlisten 127.0.0.1:1080\nresolver 127.0.0.1:5353\n{more}"
        f"proxy up {url} {words}\n{rules}"
    )


def back(kerberos, words="", port=1081, listen="", rules="allow from loopback to any\n"):
    """Another one, which wants a ticket."""
    return (
        f"workers 1\nlisten 127.0.0.1:{port}{listen}\nresolver 127.0.0.1:5353\n"
        f"auth gssapi keytab {kerberos.keytab} {words}\n{rules}"
    )


def check_echo(n=100_000, seed="gss", proxy=PROXY):
    sock = socks.open5(proxy, "127.0.0.1", 7000)
    data = targets.pattern(n, seed)
    thread = threading.Thread(target=sock.sendall, args=(data,))
    thread.start()
    targets.check_same(socks.recv_exact(sock, len(data)), data)
    thread.join()
    sock.shutdown(socket.SHUT_WR)
    assert socks.recv_end(sock) == (b"", "eof")
    sock.close()


def check_refused(first, reason, detail=None, n=1):
    assert socks.ask5(PROXY, "127.0.0.1", 7000) != 0
    line = first.wait_session(n, reason=reason)
    if detail:
        down = first.wait_for_log(lambda r: r.event == "proxy-down" and r.get("detail"), n=n)
        assert re.search(detail, down["detail"]), down.line
    return line


class Requests:
    """What the KDC was asked for since this was made."""

    def __init__(self, server):
        self._log, self._from = server.log, os.path.getsize(server.log)

    def count(self, kind, whom):
        with open(self._log) as f:
            f.seek(self._from)
            lines = [line for line in f if f"{kind}_REQ" in line and "ISSUE" in line]
        return len([line for line in lines if whom in line])


# ---- the way, at every level


@pytest.mark.parametrize("nec", (False, True))
@pytest.mark.parametrize("asked, agreed", (
    ("clear", "clear"), ("integrity", "integrity"), ("confidential", "confidential"),
    ("any", "confidential"),
))  # fmt: skip
def test_levels(tabi, kerberos, gate, nobody, target, asked, agreed, nec):
    target(targets.echo)
    second = tabi(back(kerberos, ALL_LEVELS + " nec" * nec))
    first = tabi(front(f"gssapi keytab {gate} level {asked}" + " nec" * nec))
    check_echo(8 * MIB)
    line = second.wait_session(reason="done", user=GATE)
    assert (line["method"], line["protection"]) == ("gssapi", agreed)
    line = first.wait_session(reason="done")
    assert (line["via"], line["proxy"], line["up"]) == ("up", "localhost:1081", str(8 * MIB))


def test_confidential_unless_said(tabi, kerberos, gate, nobody, target):
    """And what is weaker is not used."""
    seen = target(targets.echo)
    tabi(back(kerberos, "level integrity"))
    first = tabi(front(f"gssapi keytab {gate}"))
    line = check_refused(first, "proxy-auth")
    assert (line["proxy-stage"], line["proxy-error"]) == ("auth", "bad-level")
    assert seen.accepted == 0


def test_nec_is_off(tabi, kerberos, gate, nobody):
    """The level is not taken unprotected from a proxy that would have it so, nor offered."""
    tabi(back(kerberos))
    check_refused(tabi(front(f"gssapi keytab {gate} nec")), "proxy-auth")


@pytest.mark.parametrize("level", ("integrity", "confidential"))
def test_both_ways_at_once(tabi, kerberos, gate, nobody, target, level):
    """Through slow readers at either end, with half-close."""
    total = 16 * MIB

    def serve(sock):
        sock.sendall(targets.pattern(total, "down"))
        sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
        return b"".join(iter(lambda: sock.recv(MIB), b""))

    got = target(serve)
    tabi(back(kerberos))
    tabi(front(f"gssapi keytab {gate} level {level}"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        up = targets.pattern(total, "up")
        thread = threading.Thread(target=sock.sendall, args=(up,))
        thread.start()
        time.sleep(0.2)
        targets.check_same(socks.recv_exact(sock, total), targets.pattern(total, "down"))
        assert sock.recv(1) == b""
        thread.join()
        sock.shutdown(socket.SHUT_WR)
        targets.check_same(got.wait_result(), up)


@pytest.mark.parametrize("chain", (
    "socks5h://127.0.0.1:1082,{}", "http://127.0.0.1:1082,{}", "socks5h://localhost:1083,{}",
    "socks5+tls://localhost:1084,{}",
))  # fmt: skip
def test_in_a_chain(tabi, kerberos, gate, nobody, target, authority, dns_server, chain):
    """Behind one that wants nobody's name, and protected twice behind another with GSS-API."""
    dns_server({"localhost": ["127.0.0.1"]})
    target(targets.echo)
    files = f" tls {authority.path('server.pem')} {authority.path('server.key')}"
    second = tabi(back(kerberos))
    plain = f"workers 1\nlisten 127.0.0.1:1082\nlisten 127.0.0.1:1084{files}\nallow from loopback\n"
    tabi(plain.replace("workers 1", "workers 1\nresolver 127.0.0.1:5353"))
    tabi(back(kerberos, port=1083))
    words = f"gssapi keytab {gate}" + f" ca {authority.pem}" * ("tls" in chain)
    tabi(front(words, chain.format("socks5h://localhost:1081")))
    check_echo(2 * MIB)
    assert second.wait_session(reason="done", user=GATE)["protection"] == "confidential"


@pytest.mark.parametrize("level", ("clear", "integrity", "confidential"))
def test_inside_tls(tabi, kerberos, gate, nobody, target, authority, dns_server, level):
    dns_server({"localhost": ["127.0.0.1"]})
    target(targets.echo)
    files = f" tls {authority.path('server.pem')} {authority.path('server.key')}"
    second = tabi(back(kerberos, ALL_LEVELS, listen=files))
    words = f"gssapi keytab {gate} level {level} ca {authority.pem}"
    tabi(front(words, "socks5+tls://localhost:1081"))
    check_echo(2 * MIB)
    assert second.wait_session(reason="done", user=GATE)["protection"] == level


def test_bind(tabi, kerberos, gate, nobody):
    tabi(back(kerberos))
    tabi(front(f"gssapi keytab {gate}"))
    with socks.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 0, socks.BIND) + b"early")
        code, host, port, _ = socks.recv_reply5(sock)
        assert code == 0
        with socket.create_connection((host, port)) as peer:
            assert socks.recv_reply5(sock)[0] == 0
            assert socks.recv_exact(peer, 5) == b"early"
            peer.sendall(b"hello")
            assert socks.recv_exact(sock, 5) == b"hello"


@pytest.mark.parametrize("level", ("integrity", "confidential"))
def test_plain_http(tabi, kerberos, gate, nobody, client, web, level):
    """Several requests on one connection, each through the proxy."""
    second = tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {gate} level {level}"))
    page = f"http://{OUTSIDE}:8000/page"
    out = client("curl", "-sS", "-x", "http://127.0.0.1:1080", page, page, page)
    assert out == PAGE * 3
    assert second.wait_session(user=GATE, reason="done")["to"] == f"{OUTSIDE}:8000"
    first.wait_for_log(lambda r: r.event == "request", n=3)


def test_a_cut_stream_stays_a_cut_one(tabi, kerberos, gate, nobody, target):
    """What arrives from the proxy and is not genuine ends the client's stream as a reset."""
    reset = threading.Event()

    def serve(sock):
        sock.sendall(b"genuine")
        reset.wait(10)
        socks.reset(sock)

    target(serve)
    tabi(back(kerberos))
    tabi(front(f"gssapi keytab {gate}"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        assert socks.recv_exact(sock, 7) == b"genuine"
        reset.set()
        assert socks.recv_end(sock) == (b"", "reset")


# ---- who refuses whom


@pytest.mark.parametrize("answer, reason", ((b"\5\xff", "proxy-no-method"), (b"\5\0", None),
                                            (b"\5\2", None)))  # fmt: skip
def test_no_less_than_was_said(tabi, kerberos, gate, nobody, target, answer, reason):
    """A proxy, or whoever is on the way, that wants no login gets none, and no request either."""

    def serve(sock):
        hello = socks.recv_exact(sock, 3)
        sock.sendall(answer)
        return hello, socks.recv_end(sock)

    other = target(serve, port=1081)
    first = tabi(front(f"gssapi keytab {gate}"))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    line = first.wait_session(via="up")
    assert line["reason"] == (reason or "proxy-protocol"), line.line
    hello, rest = other.wait_result()
    assert hello == b"\5\1\1" and rest[0] == b""


@pytest.mark.parametrize("words, detail", (
    ("service nobody", "not found"),
    ("service rcmd principal gate/gone", "not found|revoked|expired"),
    ("principal gate/stale", "Decrypt integrity check failed|Preauthentication failed"),
))  # fmt: skip
def test_wrong_principal(tabi, kerberos, databases, nobody, target, words, detail):
    """Of the service, or ours: unknown to the KDC, or with a key that is no more. Others are served."""
    seen = target(targets.echo)
    for name in ("gone", "stale"):
        databases.admin(kdc.REALM, f"addprinc -randkey gate/{name}")
    keytab = databases.keytab("wrong.keytab", "gate/gone", "gate/stale")
    databases.admin(kdc.REALM, "delprinc -force gate/gone")
    databases.admin(kdc.REALM, "cpw -randkey gate/stale")
    tabi(back(kerberos))
    rules = "allow from loopback to 127.0.0.1 via up\nallow all\n"
    first = tabi(front(f"gssapi keytab {keytab} {words}", rules=rules))
    line = check_refused(first, "proxy-auth", detail)
    assert line["proxy-stage"] == "auth"
    assert seen.accepted == 0
    os.unlink(keytab)


def test_not_a_user_there(tabi, kerberos, gate, nobody):
    """The ticket is good, and the proxy has no use for whom it names."""
    second = tabi(back(kerberos, "user alice@EXAMPLE.ORG"))
    check_refused(tabi(front(f"gssapi keytab {gate}")), "proxy-auth")
    second.wait_for_log(lambda r: r.event == "auth-failed")


@pytest.mark.parametrize("words, user", (
    ("", "gate/client"), ("principal gate/other", "gate/other"),
    ("principal gate/other@EXAMPLE.ORG", "gate/other"),
))  # fmt: skip
def test_principal(tabi, kerberos, gate, nobody, target, words, user):
    """Unless said it is the keytab's first one."""
    target(targets.echo)
    second = tabi(back(kerberos))
    tabi(front(f"gssapi keytab {gate} {words}"))
    check_echo(10)
    assert second.wait_session(reason="done")["user"] == f"{user}@EXAMPLE.ORG"


@pytest.mark.parametrize("how, why", (
    ("open", "chmod 600"), ("missing", "does not exist"), ("none", "is not a keytab"),
    ("cut", "cut off"), ("principal", "holds no key of that principal"),
    ("name", "the principal is none"),
))  # fmt: skip
def test_bad_keytabs(kerberos, gate, tmp_path, how, why):
    """By `tabi serve` and by `tabi check`, with the line."""
    mine = tmp_path / "mine.keytab"
    shutil.copy(gate, mine)
    mine.chmod(0o644 if how == "open" else 0o600)
    if how == "missing":
        mine.unlink()
    elif how == "none":
        mine.write_bytes(b"no keytab")
    elif how == "cut":
        mine.write_bytes(mine.read_bytes()[:40])
    words = {"principal": "principal gate/nobody", "name": 'principal "a@b@c"'}.get(how, "")
    (tmp_path / "t.conf").write_text(front(f"gssapi keytab mine.keytab {words}"))
    for command in (("serve", "-c"), ("check",)):
        done = run(*command, str(tmp_path / "t.conf"))
        assert done.returncode == (0 if how == "missing" and command == ("check",) else 1)
        assert "t.conf:4: keytab " in done.stderr and why in done.stderr, done.stderr


# ---- the KDC


class Middle:
    """Between us and the KDC: passes bytes on, late, or never, or is not there."""

    def __init__(self):
        self.delay, self.silent, self.asked = 0, False, 0
        self._sock, self._kept = None, []
        self.open()

    def open(self):
        self._sock = socket.create_server(("127.0.0.1", SLOW_KDC))
        threading.Thread(target=self._accept, args=(self._sock,), daemon=True).start()

    def close(self):
        """Whoever connects is refused, and who waits is let go."""
        if self._sock:
            self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
        self._sock = None
        for one in self._kept:
            one.close()
        self._kept = []

    def _accept(self, listening):
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            self._kept.append(sock)
            self.asked += 1
            if not self.silent:
                threading.Thread(target=self._pass, args=(sock,), daemon=True).start()

    def _pass(self, sock):
        try:
            data = sock.recv(65536)
            time.sleep(self.delay)
            with socket.create_connection(("127.0.0.1", kdc.PORT[kdc.REALM])) as server:
                server.sendall(data)
                while answer := server.recv(65536):
                    sock.sendall(answer)
        except OSError:
            pass
        sock.close()


@pytest.fixture
def middle(kerberos, databases):
    """A KDC that may be bad, and the environment that leads there."""
    conf = databases.directory + "/slow.conf"
    with open(databases.directory + "/krb5.conf") as f:
        text = f.read()
    with open(conf, "w") as f:
        f.write(text.replace(f":{kdc.PORT[kdc.REALM]}", f":{SLOW_KDC}"))
    one = Middle()
    one.environment = {"KRB5_CONFIG": conf}
    yield one
    one.close()


def ask_in_threads(n):
    """As many that want to go through the proxy; returns the threads, and the codes that they got."""
    codes = []
    threads = [
        threading.Thread(target=lambda: codes.append(socks.ask5(PROXY, "127.0.0.1", 7000)), daemon=True)
        for _ in range(n)
    ]
    for one in threads:
        one.start()
    return threads, codes


def threads_of(program):
    with open(f"/proc/{program.workers()[0]}/status") as f:
        return int(re.search(r"Threads:\s+(\d+)", f.read())[1])


@pytest.mark.parametrize("what", ("silent", "delay"))
def test_slow_kdc_holds_up_nobody_else(tabi, kerberos, gate, nobody, target, users, middle, what):
    """Thirty sessions wait for a ticket, and one worker serves all others meanwhile: connections, and
    passwords, whose hashes need the pool of threads."""
    target(targets.echo)
    target(targets.echo, "127.0.0.2")
    tabi(back(kerberos))
    rules = "allow from loopback to 127.0.0.1 via up\nallow from loopback to any\n"
    more = f"auth none\nauth password {users}\ntimeout drain 500ms\n"
    first = tabi(front(f"gssapi keytab {gate}", rules=rules, more=more), env=middle.environment)
    idle = threads_of(first)
    middle.silent, middle.delay = what == "silent", 2
    waiting, codes = ask_in_threads(30)
    wait_until(lambda: middle.asked, what="the KDC to be asked")
    took = []
    for _ in range(100):
        begin = time.monotonic()
        with socks.open5(PROXY, "127.0.0.2", 7000) as sock:
            sock.sendall(b"ping")
            assert socks.recv_exact(sock, 4) == b"ping"
        took.append(time.monotonic() - begin)
    for name in range(3):
        socks.open5(PROXY, "127.0.0.2", 7000, "alice", PASSWORD).close()
    # Beside libuv's pool of four there is the one thread that waits, and perhaps a sanitizer's.
    assert threads_of(first) <= idle + 6
    assert codes == [] and middle.asked == 1
    print(f"median {statistics.median(took) * 1000:.1f} ms, most {max(took) * 1000:.1f} ms")
    assert max(took) < (2 if SANITIZED else 0.5)
    if what == "delay":
        for one in waiting:
            one.join(20)
        assert codes == [0] * 30
        return
    # It ends when it is told to, and does not wait for the KDC.
    begin = time.monotonic()
    first.stop()
    assert time.monotonic() - begin < 4


def test_one_ticket_for_all(tabi, kerberos, gate, nobody, target):
    target(targets.echo)
    tabi(back(kerberos))
    tabi(front(f"gssapi keytab {gate}"))
    asked = Requests(kerberos)
    for _ in range(20):
        check_echo(10)
    assert (asked.count("AS", "gate/client"), asked.count("TGS", "rcmd/localhost")) == (1, 1)


def test_dead_kdc(tabi, kerberos, gate, nobody, target, middle):
    """Refused at once, and again served when it is there."""
    target(targets.echo)
    tabi(back(kerberos))
    middle.close()
    first = tabi(front(f"gssapi keytab {gate}"), env=middle.environment)
    check_refused(first, "proxy-auth", "Cannot contact any KDC")
    middle.open()

    def works():
        return socks.ask5(PROXY, "127.0.0.1", 7000) == 0

    wait_until(works, what="the proxy to be used again")
    first.wait_for_log(lambda r: r.event == "proxy-up")


@pytest.mark.skipif(SANITIZED, reason="a sanitizer has its own pthread_create()")
def test_no_thread_for_the_kdc(tabi, kerberos, gate, nobody, target):
    """A shortage of ours, which is no fault of the proxy's, and passes."""
    target(targets.echo)
    tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {gate}"), **fault("pthread_create", errno.EAGAIN, 1, 1))
    assert socks.ask5(PROXY, "127.0.0.1", 7000) == 1
    first.wait_session(reason="no-memory")
    check_echo(10)
    assert "proxy-down" not in first.log()


def test_another_proxy_is_tried(tabi, kerberos, gate, nobody, target, middle):
    """One whose KDC is silent is at fault after five seconds, like one that is silent itself."""
    target(targets.echo)
    tabi(back(kerberos))
    tabi("workers 1\nlisten 127.0.0.1:1082\nallow from loopback\n")
    middle.silent = True
    more = f"proxy up socks5h://localhost:1081 gssapi keytab {gate}\n"
    first = tabi(front("", "socks5h://127.0.0.1:1082", more=more), env=middle.environment)
    begin = time.monotonic()
    check_echo(10)
    assert 4 < time.monotonic() - begin < 8
    assert first.wait_session(reason="done")["proxy"] == "127.0.0.1:1082"
    check_echo(10)
    first.wait_session(2, reason="done")


@pytest.fixture
def brief(databases):
    """A keytab of one whose tickets live for four seconds."""
    databases.admin(kdc.REALM, "addprinc -randkey gate/brief")
    databases.admin(kdc.REALM, 'modprinc -maxlife "4 seconds" gate/brief')
    return databases.keytab("brief.keytab", "gate/brief")


def strict(kerberos, databases):
    """A proxy whose Kerberos forgives no difference of clocks: an expired ticket is refused."""
    conf = databases.directory + "/strict.conf"
    with open(databases.directory + "/krb5.conf") as f:
        text = f.read()
    with open(conf, "w") as f:
        f.write(text.replace("[libdefaults]\n", "[libdefaults]\n clockskew = 1\n"))
    return {"KRB5_CONFIG": conf}


def test_expired_ticket_is_renewed(tabi, kerberos, databases, nobody, target, brief):
    """Over the lives of several, not one session meets an old one, or waits for the new one."""
    target(targets.echo)
    second = tabi(back(kerberos), env=strict(kerberos, databases))
    first = tabi(front(f"gssapi keytab {brief}"))
    asked = Requests(kerberos)
    end = time.monotonic() + 13
    n = 0
    while time.monotonic() < end:
        check_echo(10)
        n += 1
        time.sleep(0.1)
    assert 3 <= asked.count("AS", "gate/brief") <= 8
    assert len(first.sessions()) >= n - 1
    assert not [r for r in first.sessions() + second.sessions() if r["reason"] != "done"]


def test_old_ticket_serves_while_the_kdc_is_dead(
    tabi, kerberos, databases, nobody, target, brief, middle
):
    """To its end and no longer; then the sessions are told why."""
    target(targets.echo)
    tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {brief}"), env=middle.environment)
    check_echo(10)
    middle.close()
    wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 7000) != 0, what="the ticket to expire")
    first.wait_text("cannot be renewed; the old one serves for")
    line = first.wait_session(reason="proxy-auth")
    assert line["proxy-stage"] == "auth"
    down = first.wait_for_log(lambda r: r.event == "proxy-down")
    assert "Cannot contact" in down["detail"]
    middle.open()
    wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 7000) == 0, what="a new one")


def test_reload(tabi, kerberos, gate, nobody, target, middle):
    """What is known of the same client stays, KDC or not; another client is another."""
    target(targets.echo)
    second = tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {gate}"), env=middle.environment)
    check_echo(10)
    middle.close()
    first.write_config(front(f"gssapi keytab {gate} level integrity"))
    first.signal(signal.SIGHUP)
    first.wait_text("was reloaded")
    check_echo(10)
    second.wait_session(protection="integrity", user=GATE)
    middle.open()
    live = socks.open5(PROXY, "127.0.0.1", 7000)
    first.write_config(front(f"gssapi keytab {gate} principal gate/other"))
    first.signal(signal.SIGHUP)
    first.wait_text("was reloaded", n=2)
    check_echo(10)
    second.wait_session(user="gate/other@EXAMPLE.ORG", reason="done")
    live.sendall(b"still here")
    assert socks.recv_exact(live, 10) == b"still here"
    live.close()


def test_reload_while_a_ticket_is_fetched(tabi, kerberos, gate, nobody, target, middle):
    """Who waits goes on under the old configuration, and gets it."""
    target(targets.echo)
    tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {gate}"), env=middle.environment)
    middle.delay = 1
    waiting, codes = ask_in_threads(5)
    wait_until(lambda: middle.asked, what="the KDC to be asked")
    for n, words in enumerate(("principal gate/other", "level integrity"), 1):
        first.write_config(front(f"gssapi keytab {gate} {words}"))
        first.signal(signal.SIGHUP)
        first.wait_text("was reloaded", n=n)
    for one in waiting:
        one.join(20)
    assert codes == [0] * 5


def test_clients_that_leave_while_a_ticket_is_fetched(tabi, kerberos, gate, nobody, target, middle):
    """Nothing is left of them, and the ticket is there for the next one."""
    target(targets.echo)
    tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {gate}"), env=middle.environment)
    before = first.descriptors()
    middle.delay = 1
    for _ in range(10):
        with socks.dial(PROXY) as sock:
            socks.hello5(sock)
            sock.sendall(socks.request5("127.0.0.1", 7000))
            wait_until(lambda: middle.asked, what="the KDC to be asked")
            socks.reset(sock)
    first.wait_session(10, reason="client-reset")
    first.wait_descriptors(before)
    check_echo(10)


# ---- a cache of credentials


@pytest.fixture
def cache(databases, kerberos):
    """One that workers can read, who may be nobody."""
    path = databases.directory + "/shared.cache"

    def fill(principal="alice", *options):
        kdc.kinit({"KRB5CCNAME": f"FILE:{path}.new"}, principal, *options)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)

    fill.name = f"FILE:{path}"
    yield fill
    if os.path.exists(path):
        os.unlink(path)


def test_cache(tabi, kerberos, nobody, target, cache):
    """Somebody else keeps it; nothing is written there, and what he renews is seen."""
    target(targets.echo)
    second = tabi(back(kerberos))
    first = tabi(front(f"gssapi ccache {cache.name}"))
    check_refused(first, "proxy-auth", "No credentials cache found")
    cache("alice", "-l", "4s")
    wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 7000) == 0, what="the cache to be used")
    second.wait_session(user="alice@EXAMPLE.ORG")
    wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 7000) != 0, what="the ticket to expire")
    cache("bob")
    wait_until(lambda: socks.ask5(PROXY, "127.0.0.1", 7000) == 0, what="the new one")
    second.wait_session(user="bob@EXAMPLE.ORG")


# ---- what it costs, and what it does not do


def test_memory(tabi, kerberos, gate, nobody, target):
    """An idle session through GSS-API has the context of the library; all that is for the handshake
    alone is gone."""
    target()
    tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {gate}"))
    held = [socks.open5(PROXY, "127.0.0.1", 7000) for _ in range(20)]
    before = first.memory()
    held += [socks.open5(PROXY, "127.0.0.1", 7000) for _ in range(500)]
    each = (first.memory() - before) / 500
    print(f"{each:.0f} bytes a session")
    check_memory(each, 16 * 1024)
    for sock in held:
        sock.close()


def test_no_keys_in_the_log(tabi, kerberos, gate, nobody, target):
    target(targets.echo)
    tabi(back(kerberos))
    first = tabi(front(f"gssapi keytab {gate}", more="log level trace\n"))
    check_echo(10)
    first.stop()
    with open(gate, "rb") as f:
        keys = f.read()
    log = first.log().encode()
    for at in range(0, len(keys) - 8):
        piece = keys[at : at + 8]
        if not piece.isascii():
            assert piece not in log and piece.hex().encode() not in log


@pytest.mark.parametrize("level", ("clear", "integrity", "confidential"))
def test_datagrams(tabi, kerberos, gate, nobody, echo, level):
    """Each is protected by itself, and may be lost or come out of order."""
    echo()
    second = tabi(back(kerberos, ALL_LEVELS))
    first = tabi(front(f"gssapi keytab {gate} level {level}"))
    client = udp.Association(PROXY)
    for n in range(20):
        client.ask("127.0.0.1", 7000, b"%d" % n * 300)
    client.send("127.0.0.1", 7000, bytes(65507 - 10))
    if level != "clear":
        assert client.is_quiet()
    else:
        assert len(client.recv()[1]) == 65507 - 10
    client.close()
    line = first.wait_session(command="udp")
    assert (line["via"], line.get("drop-size")) == ("up", None if level == "clear" else "1")
    line = second.wait_session(command="udp", user=GATE)
    assert (line["protection"], line["packets-down"]) == (level, line["packets-up"])
    assert "drop-protection" not in line


@pytest.mark.parametrize("urls", (
    "socks5h://localhost:1081,socks5h://localhost:1082", "socks5h://localhost:1083,socks5h://localhost:1081",
    "socks5h://localhost:1081,socks5h://localhost:1083,socks5h://localhost:1082",
))  # fmt: skip
def test_datagrams_through_a_chain(tabi, kerberos, gate, nobody, echo, dns_server, urls):
    """Frames in headers in frames; 1083 wants no ticket, which only who is not the last may do."""
    dns_server({"localhost": ["127.0.0.1"]})
    echo()
    for port in (1081, 1082):
        tabi(back(kerberos, ALL_LEVELS, port))
    tabi("workers 1\nlisten 127.0.0.1:1083\nresolver 127.0.0.1:5353\nallow from loopback\n")
    first = tabi(front(f"gssapi keytab {gate} level any", url=urls))
    client = udp.Association(PROXY)
    for n in range(20):
        client.ask("127.0.0.1", 7000, b"%d" % n * 300)
    client.ask("127.0.0.1", 7000, b"")
    for n in range(20):
        client.send("127.0.0.1", 7000, b"%d" % n)
    assert sorted(client.recv()[1] for _ in range(20)) == sorted(b"%d" % n for n in range(20))
    client.close()
    line = first.wait_session(command="udp")
    assert (line["packets-up"], line["packets-down"]) == ("41", "41")
    assert not [k for k in line if k.startswith("drop-")]


def test_datagrams_through_a_group_of_two_kinds(tabi, kerberos, gate, nobody, echo):
    """One with GSS-API, the other without; none is at fault."""
    one = echo("127.0.0.1", 7001)
    tabi(back(kerberos))
    tabi("workers 1\nlisten 127.0.0.1:1082\nallow from loopback\n")
    more = f"proxy up socks5h://localhost:1081 gssapi keytab {gate}\n"
    ours = tabi(front("", "socks5h://127.0.0.1:1082", more=more))
    with udp.Association(PROXY) as client:
        assert client.ask("127.0.0.1", 7001, b"x") == ("127.0.0.1", 7001)
    assert [data for data, _ in one.seen] == [b"x"]
    assert "proxy-down" not in ours.log()


# ---- tabi forward


@pytest.fixture
def forward(tmp_path, cache, monkeypatch):
    started = []
    cache()
    monkeypatch.setenv("KRB5CCNAME", cache.name)

    def start(*args):
        started.append(Tabi(str(tmp_path), args=args, command="forward"))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.mark.parametrize("nec", (False, True))
@pytest.mark.parametrize("word, agreed", (
    ("none", "clear"), ("integrity", "integrity"), ("confidentiality", "confidential"),
    ("any", "confidential"),
))  # fmt: skip
def test_forward(tabi, kerberos, forward, target, word, agreed, nec):
    target(targets.echo)
    second = tabi(back(kerberos, ALL_LEVELS + " nec" * nec))
    forward("-x", "socks5h://localhost:1081", "--gssapi", word, *["--gssapi-nec"] * nec)
    check_echo(MIB)
    line = second.wait_session(reason="done", user="alice@EXAMPLE.ORG")
    assert line["protection"] == agreed


def test_forward_over_tls_with_a_certificate(tabi, kerberos, forward, target, authority):
    """All of it at once: a chain, TLS, a certificate, a ticket."""
    target(targets.echo)
    files = f" tls {authority.path('server.pem')} {authority.path('server.key')}"
    tls = f"workers 1\nlisten 127.0.0.1:1443{files} client-ca {authority.pem}\nallow from loopback\n"
    outer = tabi(tls)
    second = tabi(back(kerberos))
    forward(
        "-x", "https://127.0.0.1:1443,socks5h://localhost:1081", "--ca", authority.pem,
        "--cert", authority.path("alice.pem"), "--key", authority.path("alice.key"),
        "--gssapi", "confidentiality",
    )  # fmt: skip
    check_echo(MIB)
    assert outer.wait_session(reason="done")["user"] == "alice"
    assert second.wait_session(reason="done")["user"] == "alice@EXAMPLE.ORG"


def test_forward_wrong_service(tabi, kerberos, forward):
    tabi(back(kerberos))
    words = ("--gssapi", "any", "--gssapi-service", "no body")
    check_refused(forward("-x", "socks5h://localhost:1081", *words), "proxy-auth", "not found")


@pytest.mark.parametrize("args, why", (
    (("--gssapi", "much"), "expected integrity, confidentiality, any or none"),
    (("--gssapi-nec",), "means nothing without --gssapi"),
    (("--gssapi", "any", "-x", "http://127.0.0.1:1"), "speaks SOCKS5"),
    (("--gssapi", "any", "-x", "socks5://a:b@127.0.0.1:1"), "has credentials already"),
    (("--gssapi", "any", "-x", "socks5://127.0.0.1:1,http://127.0.0.1:1"), "does not speak"),
))  # fmt: skip
def test_forward_mistakes(args, why):
    done = run("forward", "-x", "socks5h://127.0.0.1:1", *args)
    assert done.returncode in (1, 2)
    assert why in done.stderr
