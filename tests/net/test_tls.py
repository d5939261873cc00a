# SPDX-License-Identifier: MIT
"""TLS to clients: SOCKS and HTTP inside, who is let in, how streams end, and what it costs."""

import hashlib
import os
import random
import select
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from harness import certs, socks, targets, tls, udp
from harness.config import ALLOW_ALL, HEAD, LOCAL
from harness.tabi import check_memory, run, wait_until

PROXY = ("127.0.0.1", 1443)
MB = 1 << 20
IDLE_SESSIONS = 500


def config(ca, listen="", rules=ALLOW_ALL, head=HEAD):
    pem, key = ca.path("server.pem"), ca.path("server.key")
    return head + f"listen 127.0.0.1:1443 tls {pem} {key} {listen}\n" + rules


def with_certificates(ca, rules=ALLOW_ALL, head=HEAD):
    return config(ca, f"client-ca {ca.pem}", rules, head)


def as_client(ca, name):
    return tls.client(ca.pem, ca.path(name + ".pem"), ca.path(name + ".key"))


# SOCKS and HTTP inside


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
@pytest.mark.parametrize("protocol", ("socks4", "socks5", "http"))
def test_every_protocol_inside(tabi, target, authority, protocol, version):
    target(targets.echo)
    program = tabi(config(authority))
    with tls.dial(PROXY, tls.client(authority.pem, version=version)) as sock:
        if protocol == "socks5":
            socks.hello5(sock)
            sock.sendall(socks.request5("127.0.0.1", 7000))
            assert socks.recv_reply5(sock)[0] == 0
        elif protocol == "socks4":
            sock.sendall(socks.request4("127.0.0.1", 7000))
            assert socks.recv_exact(sock, 8)[1] == socks.GRANTED4
        else:
            sock.sendall(socks.request_http("127.0.0.1:7000"))
            assert socks.recv_head(sock)[0] == 200
        targets.ping(sock)
        sock.end()
        assert sock.recv(1) == b""
    line = program.wait_session(reason="done", protocol=protocol, method="none")
    assert line["up"] == line["down"] == "17", "bytes of the stream, not of its encryption"
    assert line["listener"] == "127.0.0.1:1443"


def test_password_inside(tabi, target, authority, tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    target(targets.echo)
    program = tabi(config(authority, head=HEAD + f"auth password {tmp_path}/users\n"))
    with tls.dial(PROXY) as sock:
        socks.hello5(sock, "alice", "secret")
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
    program.wait_session(method="password", user="alice")


def test_refusal_arrives_and_ends_cleanly(tabi, authority):
    program = tabi(config(authority, rules="deny all\n"))
    with tls.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_end(sock) == (socks.failure5(2), "eof")
    program.wait_session(reason="denied")


@pytest.mark.parametrize("size", (1, 7))
def test_byte_by_byte(tabi, target, authority, size):
    """Every record of the handshake and of the request in segments of their own."""
    target(targets.echo)
    tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000, write_size=size) as sock:
        targets.ping(sock)


def test_early_data_in_the_record_of_the_request(tabi, target, authority):
    """More than the handshake's buffer holds, all of it in one record, and the end behind it."""
    early = targets.pattern(12000, "early")
    seen = target(targets.collect)
    tabi(config(authority))
    with tls.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000) + early)
        sock.end()
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        assert socks.recv_reply5(sock)[0] == 0
        data, end = seen.wait_result()
        targets.check_same(data, early)
        assert end == "eof"


def test_bind_inside(tabi, authority):
    tabi(config(authority))
    early = targets.pattern(12000, "early")
    with tls.dial(PROXY) as sock:
        socks.hello5(sock)
        sock.sendall(socks.request5("127.0.0.2", 0, socks.BIND) + early)
        code, host, port, _ = socks.recv_reply5(sock)
        assert code == 0
        with socket.create_connection((host, port), 10, ("127.0.0.2", 0)) as peer:
            assert socks.recv_reply5(sock)[0] == 0
            targets.check_same(socks.recv_exact(peer, len(early)), early)
            peer.sendall(b"back")
            assert socks.recv_exact(sock, 4) == b"back"


def test_udp_association_inside(tabi, authority):
    """Its datagrams are outside of TLS, as everywhere; its end is that of the TLS connection."""
    program = tabi(config(authority))
    echo = udp.Echo()
    with tls.dial(PROXY) as sock:
        socks.hello5(sock)
        # More in the same record: it means nothing, but must not wake anybody for ever.
        sock.sendall(socks.request5("0.0.0.0", 0, socks.UDP) + b"x" * 3000)
        code, host, port, _ = socks.recv_reply5(sock)
        assert code == 0
        with udp.udp_socket() as mine:
            mine.sendto(udp.datagram("127.0.0.1", 7000, b"q"), (host, port))
            assert mine.recv(100).endswith(b"q")
        sock.end()
        program.wait_session(command="udp", reason="done")
    echo.close()


# How streams end


def test_client_ends_first(tabi, target, authority):
    seen = target(targets.answer_after_eof(b"answer"))
    program = tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.sendall(b"question")
        # close_notify alone is the end of a half; FIN need not follow.
        sock.end(fin=False)
        assert socks.recv_end(sock) == (b"answer", "eof")
    assert seen.wait_result() == (b"question", "eof")
    program.wait_session(reason="done", up="8", down="6")


def test_target_ends_first(tabi, target, authority):
    def serve(sock):
        sock.sendall(b"first")
        sock.shutdown(socket.SHUT_WR)
        return socks.recv_end(sock)

    seen = target(serve)
    program = tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        assert socks.recv_exact(sock, 5) == b"first"
        assert sock.recv(1) == b"", "close_notify"
        sock.sendall(b"still here")
        sock.end()
        assert seen.wait_result() == (b"still here", "eof")
    program.wait_session(reason="done")


def test_client_that_has_closed_behind_its_end(tabi, target, authority):
    """Our close_notify meets a reset then: no broken stream, for all had been said."""
    go = threading.Event()

    def serve(sock):
        got = socks.recv_end(sock)
        go.wait(10)
        return got

    seen = target(serve)
    program = tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.sendall(b"all of it")
        sock.end()
    go.set()
    assert seen.wait_result() == (b"all of it", "eof")
    seen.socks[0].close()
    program.wait_session(reason="done", up="9")


@pytest.mark.parametrize("how", ("fin", "reset"))
def test_truncation_is_passed_on_as_reset(tabi, target, authority, how):
    """A connection that ends without close_notify never looks complete at the other side."""
    seen = target(targets.collect)
    program = tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.sendall(b"half of a sentence")
        seen.wait_accepted()
        if how == "fin":
            sock.sock.shutdown(socket.SHUT_WR)
            assert seen.wait_result() == (b"half of a sentence", "reset")
        else:
            socks.reset(sock.sock)
            assert seen.wait_result()[1] == "reset"
    program.wait_session(reason="tls-truncated" if how == "fin" else "client-reset")


def test_reset_of_the_target_is_no_clean_end(tabi, target, authority):
    seen = target()
    program = tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        socks.reset(seen.wait_accepted())
        assert socks.recv_end(sock) == (b"", "reset")
    program.wait_session(reason="target-reset")


def test_a_broken_record(tabi, target, authority):
    seen = target(targets.collect)
    program = tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        sock.sendall(b"good")
        seen.wait_accepted()
        sock.sock.sendall(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        assert seen.wait_result()[1] == "reset"
    line = program.wait_session(reason="tls-broken")
    assert line["detail"]


# Bulk


def push(sock, data, stop_when_full=False):
    """Sends raw bytes; returns what nobody took."""
    data = memoryview(data)
    while data:
        if stop_when_full and not select.select([], [sock], [], 0.5)[1]:
            return data
        data = data[sock.send(data[: 64 << 10], socket.MSG_DONTWAIT if stop_when_full else 0) :]
    return data


def transfer(there, data, go):
    """Sends `data` and its end, and once `go` is set takes what comes."""

    def send():
        there.sendall(data)
        there.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    go.wait(30)
    got, end = socks.recv_end(there)
    thread.join()
    return hashlib.sha256(got).digest(), end


@pytest.mark.parametrize("pace", ("fast", "slow"))
def test_megabytes_both_ways_at_once(tabi, target, authority, pace):
    """Slow: nobody reads before both have stopped writing, so that everything is full: more than
    the 32 MB to which the kernel may let a socket's buffer grow."""
    sizes = {"up": 64 * MB if pace == "slow" else 8 * MB, "down": 8 * MB}
    up, down = (targets.pattern(size, way) for way, size in sizes.items())
    go = threading.Event()
    seen = target(lambda sock: transfer(sock, down, go))
    program = tabi(config(authority))
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        memory = program.memory()
        records = sock.encrypt_all(up)
        if pace == "slow":
            records = push(sock.sock, records, stop_when_full=True)
            assert records, "back-pressure"
            check_memory(program.memory() - memory, 2 * MB)
        go.set()
        thread = threading.Thread(target=push, args=(sock.sock, records))
        thread.start()
        got, end = socks.recv_end(sock)
        thread.join()
        assert end == "eof"
        assert hashlib.sha256(got).digest() == hashlib.sha256(down).digest()
        assert seen.wait_result() == (hashlib.sha256(up).digest(), "eof")
    line = program.wait_session(reason="done")
    assert {way: int(line[way]) for way in sizes} == sizes


# Who is let in


def ask(sock):
    socks.hello5(sock)
    sock.sendall(socks.request5("127.0.0.1", 7000))
    return socks.recv_reply5(sock)[0]


@pytest.mark.parametrize("protocol", ("socks4", "socks5", "http"))
def test_certificate_is_who_one_is(tabi, target, authority, protocol):
    target(targets.echo)
    program = tabi(with_certificates(authority, "allow user alice method cert\n"))
    with tls.dial(PROXY, as_client(authority, "alice")) as sock:
        if protocol == "socks5":
            assert ask(sock) == 0
        elif protocol == "socks4":
            sock.sendall(socks.request4("127.0.0.1", 7000, b"somebody"))
            assert socks.recv_exact(sock, 8)[1] == socks.GRANTED4
        else:
            # A name that is only claimed changes nothing.
            sock.sendall(socks.request_http("127.0.0.1:7000", socks.basic("bob", "x")))
            assert socks.recv_head(sock)[0] == 200
        targets.ping(sock)
    line = program.wait_session(verdict="allow", method="cert", user="alice")
    assert line["protocol"] == protocol


@pytest.mark.parametrize(
    "rules, reply",
    (
        ("allow user bob\n", 2),
        ("allow method password\n", 2),
        ("allow method none\n", 2),
        ("group staff alice\nallow group staff\n", 0),
        ("deny user alice\nallow all\n", 2),
    ),
)
def test_rules_judge_the_name(tabi, target, authority, tmp_path, rules, reply):
    run("passwd", str(tmp_path / "users"), "bob", input="secret\n")
    target(targets.echo)
    auth = f"auth none\nauth password {tmp_path}/users\n"
    tabi(with_certificates(authority, rules, HEAD + auth))
    with tls.dial(PROXY, as_client(authority, "alice")) as sock:
        assert ask(sock) == reply


def test_certificate_outranks_a_password(tabi, target, authority, tmp_path):
    """Where a certificate is asked for no password is: a client that has only one is told so."""
    run("passwd", str(tmp_path / "users"), "bob", input="secret\n")
    program = tabi(with_certificates(authority, head=HEAD + f"auth password {tmp_path}/users\n"))
    target(targets.echo)
    with tls.dial(PROXY, as_client(authority, "alice")) as sock:
        sock.sendall(socks.greeting(0, 2))
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        # RFC 1929 all the same, as some clients do: answered, and without effect.
        sock.sendall(socks.userpass("bob", "secret") + socks.request5("127.0.0.1", 7000))
        assert socks.recv_exact(sock, 2) == b"\x01\x00"
        assert socks.recv_reply5(sock)[0] == 0
    program.wait_session(method="cert", user="alice")
    with tls.dial(PROXY, as_client(authority, "alice")) as sock:
        sock.sendall(socks.greeting(2))
        assert socks.recv_end(sock) == (b"\x05\xff", "eof")
    program.wait_session(reason="no-method")


def refused(program, context, detail, alert, reason="tls-certificate"):
    """The client hears an alert, and not a byte of SOCKS was answered."""
    with pytest.raises((ssl.SSLError, ConnectionError)) as error:
        with tls.dial(PROXY, context) as sock:
            sock.sendall(socks.greeting(0) + socks.request5("127.0.0.1", 7000))
            data = sock.recv(100)
            assert data, "no SOCKS behind a refusal"
            pytest.fail(f"answered: {data}")
    assert alert in str(error.value).lower(), error.value
    line = program.wait_session(reason=reason)
    assert detail in line["detail"], line.line
    assert line["up"] == line["down"] == "0" and "protocol" not in line


@pytest.mark.parametrize("version", (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
@pytest.mark.case("O12")
def test_no_certificate(tabi, target, authority, version):
    seen = target()
    program = tabi(with_certificates(authority))
    alert = "certificate required" if version == ssl.TLSVersion.TLSv1_3 else "handshake failure"
    refused(program, tls.client(authority.pem, version=version), "no certificate", alert)
    assert seen.accepted == 0


@pytest.mark.parametrize(
    "kind, detail, alert",
    (
        ("expired", "expired", "expired"),
        ("stranger", "issuer", "unknown ca"),
        ("server only", "purpose", "alert"),
        ("no name", "no user", "alert"),
        ("two names", "no user", "alert"),
        ("control byte", "no user", "alert"),
        ("two mails", "no user", "alert"),
    ),
)
def test_certificates_that_are_not_accepted(
    tabi, target, authority, tmp_path, kind, detail, alert
):
    ca = authority
    if kind == "stranger":
        ca = certs.Authority(tmp_path, "other")
    how = {
        "expired": {"days": -1},
        "server only": {"purpose": "serverAuth"},
        "no name": {"subject": "/O=nobody"},
        "two names": {"subject": "/CN=alice/CN=bob"},
        "control byte": {"subject": "/CN=ali\nce"},
        "two mails": {"subject": "/O=x", "names": "email:a@example.org,email:b@example.org"},
    }
    name = "bad-" + kind.replace(" ", "-")
    pem, key = ca.issue(name, **how.get(kind, {}))
    seen = target()
    program = tabi(with_certificates(authority))
    refused(program, tls.client(authority.pem, pem, key), detail, alert)
    assert seen.accepted == 0


@pytest.mark.parametrize(
    "subject, names, user",
    (
        ("/O=x", "email:carol@example.org", "carol@example.org"),
        ("/CN=carol", "email:other@example.org", "carol"),
        ("/CN=J\u00fcrgen M", None, "J\u00fcrgen M"),
    ),
)
def test_names_in_certificates(tabi, target, authority, subject, names, user):
    target(targets.echo)
    pem, key = authority.issue("named", subject, names)
    program = tabi(with_certificates(authority, f'allow user "{user}"\n'))
    with tls.dial(PROXY, tls.client(authority.pem, pem, key)) as sock:
        assert ask(sock) == 0
    assert program.wait_session(method="cert", verdict="allow")["user"]


def test_the_limit_of_a_name(tabi, target, authority):
    """A common name has at most 64 characters by X.520, so an e-mail address has to be long."""
    target(targets.echo)
    program = tabi(with_certificates(authority))
    for length, accepted in ((255, True), (256, False)):
        mail = "m" * (length - len("@example.org")) + "@example.org"
        pem, key = authority.issue(f"long{length}", "/O=x", f"email:{mail}")
        context = tls.client(authority.pem, pem, key)
        if accepted:
            with tls.dial(PROXY, context) as sock:
                assert ask(sock) == 0
            program.wait_session(user=mail)
        else:
            refused(program, context, "no user", "alert")


# What is not spoken


def s_client(*options, text=""):
    out = subprocess.run(
        ("openssl", "s_client", "-connect", "127.0.0.1:1443", *options),
        input=text, capture_output=True, text=True, timeout=20,
    )
    return out.stdout + out.stderr


@pytest.mark.parametrize("version", ("-tls1", "-tls1_1"))
def test_old_versions(tabi, authority, version):
    program = tabi(config(authority))
    out = s_client(version, "-cipher", "DEFAULT@SECLEVEL=0")
    assert "protocol version" in out and "Cipher is (NONE)" in out, out
    assert program.wait_session(reason="tls-handshake")["detail"]


@pytest.mark.parametrize("cipher", ("AES128-SHA256", "ECDHE-ECDSA-AES128-SHA256", "aNULL", "NULL"))
def test_weak_ciphers(tabi, authority, cipher):
    program = tabi(config(authority))
    out = s_client("-tls1_2", "-cipher", cipher + "@SECLEVEL=0")
    assert "Cipher is (NONE)" in out, out
    program.wait_session(reason="tls-handshake")


def test_no_renegotiation_tickets_or_early_data(tabi, authority, tmp_path):
    tabi(config(authority))
    # "R" alone on a line asks openssl to renegotiate.
    out = s_client("-tls1_2", "-legacy_renegotiation", text="R\n")
    assert "RENEGOTIATING" in out and "no renegotiation" in out, out
    assert "Compression: NONE" in out
    for version in ("-tls1_2", "-tls1_3"):
        saved = str(tmp_path / "session")
        out = s_client(version, "-sess_out", saved, text="")
        assert "session ticket" not in out.lower(), out
        if os.path.exists(saved) and os.path.getsize(saved):
            assert "Reused" not in s_client(version, "-sess_in", saved), "a session was resumed"
    assert "Early data was not sent" in out or "Max Early Data: 0" in out, out


def test_alpn_is_left_alone(tabi, authority):
    tabi(config(authority))
    context = tls.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with tls.dial(PROXY, context) as sock:
        assert sock.tls.selected_alpn_protocol() is None


@pytest.mark.parametrize("data", (b"\x05\x01\x00", b"\x04", b"GET / HTTP/1.1\r\n\r\n", b"\0"))
def test_plain_client_at_a_tls_listener(tabi, authority, data):
    """Told at once, though what it sent is no whole record."""
    program = tabi(config(authority))
    with socks.dial(PROXY) as sock:
        sock.sendall(data)
        assert socks.recv_end(sock) == (b"", "eof")
    program.wait_session(reason="not-tls")


def test_tls_client_at_a_plain_listener(tabi, authority):
    program = tabi(config(authority))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        tls.dial(("127.0.0.1", 1080))
    program.wait_session(reason="tls-unexpected")


@pytest.mark.parametrize("sent", ("nothing", "half a greeting", "a handshake"))
def test_deadline_covers_the_handshake(tabi, authority, sent):
    program = tabi(config(authority, head=HEAD + "timeout handshake 500ms\n"))
    idle = program.descriptors()
    sock = socks.dial(PROXY)
    if sent == "half a greeting":
        sock.sendall(tls.client_hello()[:100])
    elif sent == "a handshake":
        sock = tls.Tls(sock, tls.client())
    program.wait_session(reason="handshake-timeout")
    program.wait_descriptors(idle)
    sock.close()


# What is left behind


def test_a_thousand_aborted_handshakes(tabi, target, authority):
    target(targets.echo)
    program = tabi(config(authority))
    rng = random.Random(5)
    hello = tls.client_hello()
    whole = tls.client(authority.pem)

    def abort():
        if rng.random() < 0.2:
            with tls.dial(PROXY, whole) as sock:
                sock.sendall((socks.greeting(0) + socks.request5("127.0.0.1", 7000))[: rng.randrange(14)])
            return
        sock = socks.dial(PROXY)
        data = bytearray(hello[: rng.randrange(len(hello) + 1)])
        if data and rng.random() < 0.3:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        sock.sendall(bytes(data))
        if rng.random() < 0.5:
            socks.reset(sock)
        else:
            sock.close()

    for _ in range(200):
        abort()
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    before = settle(program)
    memory = program.memory()
    for _ in range(1000):
        abort()
    assert settle(program) == before
    left = program.memory() - memory
    print(f"\nleft after 1,000 aborted TLS handshakes: {left} bytes")
    check_memory(left, MB)
    with tls.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)


def settle(program):
    """Descriptors, once no session lingers any more."""
    (pid,) = program.workers()
    last = [None] * 20

    def same():
        last.append(program.descriptors()[pid])
        time.sleep(0.05)
        return len(set(last[-20:])) == 1 and last[-1]

    return wait_until(same, 20, "descriptors to settle")


def test_what_an_idle_session_costs(tabi, target, authority, record_property):
    seen = target()
    program = tabi(config(authority))
    context = tls.client()
    warm = [tls.open5(PROXY, "127.0.0.1", 7000, context) for _ in range(20)]
    memory = program.memory()
    held = [tls.open5(PROXY, "127.0.0.1", 7000, context) for _ in range(IDLE_SESSIONS)]
    seen.wait_accepted(20 + IDLE_SESSIONS)
    each = (program.memory() - memory) // IDLE_SESSIONS
    record_property("bytes per idle TLS session", each)
    print(f"\nuser memory per idle TLS session: {each} bytes")
    check_memory(each, 16 << 10)
    for sock in warm + held:
        sock.close()


# Reload


def test_reload_under_load(tabi, target, tmp_path):
    """A new certificate by SIGHUP while many connect at once: none fails, and live ones go on."""
    ca = certs.Authority(tmp_path)
    ca.server()
    target(targets.echo)
    program = tabi(config(ca).replace("workers 1", "workers 2"))
    context = tls.client(ca.pem)
    live = tls.open5(PROXY, "127.0.0.1", 7000, context)
    old = live.tls.getpeercert()["serialNumber"]
    stop, failures, counts, seen = threading.Event(), [], [], set()

    def client():
        n = 0
        while not stop.is_set():
            try:
                with tls.open5(PROXY, "127.0.0.1", 7000, context) as sock:
                    targets.ping(sock)
                    sock.end()
                    assert sock.recv(1) == b""
                    seen.add(sock.tls.getpeercert()["serialNumber"])
                n += 1
            except Exception as err:  # whatever it is, it is what this test looks for
                failures.append(err)
        counts.append(n)

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    for n in range(1, 6):
        ca.server()
        program.signal(signal.SIGHUP)
        program.wait_text("the configuration was reloaded", n=n)
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]
    print(f"\n{sum(counts)} connections, {len(seen)} certificates, {len(failures)} failed")
    assert sum(counts) > 50 and len(seen) > 2
    targets.ping(live)
    with tls.open5(PROXY, "127.0.0.1", 7000, context) as sock:
        assert sock.tls.getpeercert()["serialNumber"] != old


@pytest.mark.parametrize(
    "what, said",
    (
        ("not PEM", "holds no certificate"),
        ("another's key", "is not the key of the certificate"),
        ("open key", "others may read"),
        ("no key", "does not exist"),
        ("encrypted key", "is encrypted"),
    ),
)
def test_bad_files(tabi, target, tmp_path, what, said):
    """At start and to `tabi check` a clear error; on reload the old certificate stays."""
    ca = certs.Authority(tmp_path)
    pem, key = ca.server()
    target(targets.echo)
    program = tabi(config(ca))
    if what == "not PEM":
        with open(pem, "w") as f:
            f.write("hello\n")
    elif what == "another's key":
        os.rename(ca.issue("other")[1], key)
    elif what == "open key":
        os.chmod(key, 0o644)
    elif what == "no key":
        os.unlink(key)
    else:
        subprocess.run(("openssl", "pkey", "-in", key, "-aes128", "-passout", "pass:x", "-out",
                        key + ".new"), check=True, capture_output=True)
        os.chmod(key + ".new", 0o600)
        os.rename(key + ".new", key)
    program.signal(signal.SIGHUP)
    program.wait_text("the old one stays in force")
    assert said in program.log()
    with tls.open5(PROXY, "127.0.0.1", 7000, tls.client(ca.pem)) as sock:
        targets.ping(sock)
    checked = run("check", program.config_path)
    assert said in checked.stderr
    # What is not there may be elsewhere; what is there and wrong is a mistake.
    assert checked.returncode == (0 if what == "no key" else 1)
    started = run("serve", "-c", program.config_path)
    assert started.returncode == 1 and said in started.stderr


def test_one_file_for_both_must_be_private(tabi, tmp_path):
    ca = certs.Authority(tmp_path)
    pem, key = ca.server()
    both = ca.path("both.pem")
    with open(both, "w") as f:
        f.write(open(pem).read() + open(key).read())
    os.chmod(both, 0o644)
    text = HEAD + f"listen 127.0.0.1:1443 tls {both} {both}\n" + ALLOW_ALL
    conf = tmp_path / "both.conf"
    conf.write_text(text)
    assert "others may read" in run("serve", "-c", str(conf)).stderr
    os.chmod(both, 0o600)
    tabi(text)
    with tls.dial(PROXY, tls.client(ca.pem)) as sock:
        socks.hello5(sock)


# gost's methods: TLS begins behind the greeting, on the same connection


def upgrade(ca, head=HEAD, rules=ALLOW_ALL):
    files = f"{ca.path('server.pem')} {ca.path('server.key')}"
    return head + f"listen 127.0.0.1:1443 tls-upgrade {files}\n" + rules


def gost_hello(sock, *methods):
    """The method that was chosen."""
    sock.sendall(socks.greeting(*methods))
    version, method = socks.recv_exact(sock, 2)
    assert version == 5
    return method


@pytest.fixture
def users(tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    return HEAD + f"auth password {tmp_path}/users\n"


@pytest.mark.parametrize("size", (None, 1))
@pytest.mark.case("O6")
def test_gost_without_password(tabi, target, authority, size):
    target(targets.echo)
    program = tabi(upgrade(authority))
    sock = socks.dial(PROXY)
    assert gost_hello(sock, 0, 2, 0x80, 0x82) == 0x80
    with tls.Tls(sock, tls.client(authority.pem), write_size=size) as inside:
        inside.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(inside)[0] == 0
        targets.ping(inside)
        inside.end()
        assert inside.recv(1) == b""
    line = program.wait_session(reason="done", protocol="socks5", method="none")
    assert line["up"] == line["down"] == "17"


@pytest.mark.parametrize("password, reply", (("secret", 0), ("wrong", 1)))
@pytest.mark.case("O6")
def test_gost_with_password(tabi, target, authority, users, password, reply):
    target(targets.echo)
    program = tabi(upgrade(authority, users))
    sock = socks.dial(PROXY)
    assert gost_hello(sock, 0, 2, 0x80, 0x82) == 0x82
    with tls.Tls(sock, tls.client(authority.pem)) as inside:
        inside.sendall(socks.userpass("alice", password))
        assert socks.recv_exact(inside, 2) == bytes([1, reply])
        if reply:
            assert socks.recv_end(inside) == (b"", "eof")
            program.wait_session(reason="bad-credentials")
            return
        inside.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(inside)[0] == 0
        targets.ping(inside)
    program.wait_session(method="password", user="alice", verdict="allow")


def test_gost_pipelined(tabi, target, authority):
    """The first record of TLS in the segment of the greeting, as nobody should but may."""
    target(targets.echo)
    tabi(upgrade(authority))

    class Behind:
        """Sends the greeting with the first record, and takes the choice out of the first answer."""

        def __init__(self, sock):
            self.sock, self.first, self.answered = sock, True, False

        def sendall(self, data):
            self.sock.sendall(socks.greeting(0x80) + data if self.first else data)
            self.first = False

        def recv(self, n):
            if not self.answered:
                assert socks.recv_exact(self.sock, 2) == b"\x05\x80"
                self.answered = True
            return self.sock.recv(n)

        def __getattr__(self, name):
            return getattr(self.sock, name)

    with tls.Tls(Behind(socks.dial(PROXY)), tls.client(authority.pem)) as inside:
        inside.sendall(socks.request5("127.0.0.1", 7000) + b"early")
        assert socks.recv_reply5(inside)[0] == 0
        assert socks.recv_exact(inside, 5) == b"early"


@pytest.mark.case("O6")
def test_gost_at_a_server_without_tls(tabi, target, users):
    target(targets.echo)
    tabi(users.replace("1080", "1443") + ALLOW_ALL)
    with socks.dial(PROXY) as sock:
        assert gost_hello(sock, 0, 2, 0x80, 0x82) == 2
        sock.sendall(socks.userpass("alice", "secret"))
        assert socks.recv_exact(sock, 2) == b"\x01\x00"
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)


def test_others_at_an_upgrading_listener(tabi, target, authority, users):
    """Who offers no TLS is served without, as the rules of `auth` say."""
    target(targets.echo)
    program = tabi(upgrade(authority, users))
    with socks.open5(PROXY, "127.0.0.1", 7000, "alice", "secret") as sock:
        targets.ping(sock)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0, 0x80))
        assert socks.recv_end(sock) == (b"\x05\xff", "eof")
    program.wait_session(reason="no-method")
    with socks.dial(PROXY) as sock:
        assert gost_hello(sock, 0x82) == 0x82
        sock.sendall(socks.userpass("alice", "secret"))
        assert socks.recv_end(sock)[0] == b""
    program.wait_session(reason="not-tls")


def test_behind_a_proxy_protocol_header(tabi, target, authority):
    """The balancer's header is in front of TLS, not in it."""
    target(targets.echo)
    words = "proxy-protocol from 127.0.0.1 client-ca " + authority.pem
    program = tabi(config(authority, words, "allow method cert\n"))
    sock = socks.dial(PROXY)
    sock.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 1443\r\n")
    with tls.Tls(sock, as_client(authority, "alice")) as inside:
        assert ask(inside) == 0
        targets.ping(inside)
    line = program.wait_session(verdict="allow", user="alice")
    assert line["from"] == "203.0.113.9:4711"


def test_plain_http_inside(tabi, target, authority):
    """Requests in absolute form, two of them on one connection."""

    def web(sock):
        for _ in range(2):
            data = b""
            while not data.endswith(b"\r\n\r\n"):
                data += socks.recv_exact(sock, 1)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    target(web)
    program = tabi(config(authority))
    with tls.dial(PROXY) as sock:
        for _ in range(2):
            sock.sendall(b"GET http://127.0.0.1:7000/ HTTP/1.1\r\nHost: 127.0.0.1:7000\r\n\r\n")
            assert socks.recv_head(sock)[0] == 200
            assert socks.recv_exact(sock, 5) == b"hello"
        sock.end()
    program.wait_session(protocol="http", requests="2", reason="done")
