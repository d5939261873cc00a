# SPDX-License-Identifier: MIT
"""RFC 1929 and Basic: who is let in, and that nobody learns more than that."""

import socket
import threading
import time

import pytest

from harness import socks, targets
from harness.config import HEAD, PROXY, local
from harness.tabi import run

LONG_USER = "u" * 255
LONG_PASSWORD = "p" * 255
USERS = {
    "alice": "secret",
    "bob": "s3cr:t",
    "space": "with space and \xe4",
    LONG_USER: LONG_PASSWORD,
}


# Of "secret", by SHA-512 crypt: some milliseconds of work, where yescrypt takes many.
CHEAP = (
    "carol:$6$tabi.tabi.tabi.$kf6Hm9lO6X0nQWBV2Vt3Y4GHG5Zh1sLAN07C3VsufYqSahsaOPROua0pTRfgBr4J2gv5c6Pg"
    ".tTWc2qkpjdjw/\n"
)


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    for user, password in USERS.items():
        done = run("passwd", str(path), user, input=password + "\n")
        assert done.returncode == 0, done.stderr
    return path


def serve(tabi, users, *rules):
    return tabi(local(f"auth password {users}", *rules))


@pytest.mark.case("N3", "N10")
@pytest.mark.parametrize("user", USERS, ids=lambda u: u[:8])
def test_right_password(tabi, target, users, user):
    target(targets.echo)
    program = serve(tabi, users)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0, 2))
        assert socks.recv_exact(sock, 2) == b"\x05\x02", "password is what this listener wants"
        sock.sendall(socks.userpass(user, USERS[user]))
        assert socks.recv_exact(sock, 2) == b"\x01\x00"
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)
    assert program.wait_session()["user"] == user


@pytest.mark.case("N4")
@pytest.mark.parametrize("methods", ((0,), (), (0, 1, 0x80)))
def test_method_none_is_not_enough(tabi, target, users, methods):
    seen = target()
    serve(tabi, users)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(*methods) + socks.request5("127.0.0.1", 7000))
        assert socks.recv_end(sock) == (b"\x05\xff", "eof")
    assert seen.accepted == 0


@pytest.mark.case("N9", "N11", "N12", "N13")
@pytest.mark.parametrize(
    "user, password",
    (
        ("alice", "wrong"),
        ("alice", "secre"),
        ("alice", "secrets"),
        ("alice", "Secret"),
        ("alice", ""),
        ("alice", b"secret\0"),
        ("alice", b"secret\0more"),
        (b"alice\0", "secret"),
        ("nobody", "secret"),
        ("bob", "secret"),
        ("", ""),
        ("", "secret"),
        ("Alice", "secret"),
        ("alice:", "secret"),
        ("alice\n", "secret"),
        (LONG_USER, LONG_PASSWORD[:-1]),
        (LONG_USER[:-1], LONG_PASSWORD),
    ),
    ids=lambda v: repr(v)[:20],
)
def test_wrong_credentials(tabi, target, users, user, password):
    """Refused with a status that is not zero; what was pipelined behind is not done."""
    seen = target()
    program = serve(tabi, users)
    with socks.dial(PROXY) as sock:
        sock.sendall(
            socks.greeting(2)
            + socks.userpass(user, password)
            + socks.request5("127.0.0.1", 7000)
        )
        got, how = socks.recv_end(sock)
        assert (len(got), how) == (4, "eof")
        assert got[:3] == b"\x05\x02\x01" and got[3] != 0
    line = program.wait_session()
    assert line["reason"] == "bad-credentials"
    assert seen.accepted == 0


@pytest.mark.case("N8")
@pytest.mark.parametrize("version", (0, 2, 5))
def test_wrong_version_of_the_password_message(tabi, target, users, version):
    seen = target()
    serve(tabi, users)
    with socks.dial(PROXY) as sock:
        message = bytearray(socks.userpass("alice", "secret"))
        message[0] = version
        sock.sendall(socks.greeting(2) + message + socks.request5("127.0.0.1", 7000))
        got, how = socks.recv_end(sock)
        assert got[:2] == b"\x05\x02" and how == "eof"
        assert got[2:] in (b"\x01\x01", b"")
    assert seen.accepted == 0


@pytest.mark.case("N14")
def test_password_message_although_none_was_chosen(tabi, target):
    """Broken clients do that; either it is taken as harmless, or refused cleanly."""
    target(targets.echo)
    tabi(local())
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.greeting(0))
        assert socks.recv_exact(sock, 2) == b"\x05\x00"
        sock.sendall(socks.userpass("user", "pass"))
        assert socks.recv_exact(sock, 2) == b"\x01\x00"
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 0
        targets.ping(sock)


def test_auth_none_beside_password(tabi, target, users):
    """Both are offered; rules tell them apart."""
    target(targets.echo)
    tabi(local(f"auth password {users}", "auth none", "deny method none port 7001"))
    with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
        targets.ping(sock)
    assert socks.ask5(PROXY, "127.0.0.1", 7001) == 2
    with socks.dial(PROXY) as sock:
        socks.hello5(sock, "alice", "secret")
        sock.sendall(socks.request5("127.0.0.1", 7001))
        assert socks.recv_reply5(sock)[0] == 5


def test_rules_by_user(tabi, target, users):
    seen = target(targets.echo)
    program = tabi(HEAD + f"auth password {users}\nallow user alice to any\ndeny all\n")
    with socks.open5(PROXY, "127.0.0.1", 7000, "alice", "secret") as sock:
        targets.ping(sock)
    with socks.dial(PROXY) as sock:
        socks.hello5(sock, "bob", "s3cr:t")
        sock.sendall(socks.request5("127.0.0.1", 7000))
        assert socks.recv_reply5(sock)[0] == 2
    assert seen.accepted == 1
    assert program.wait_session(user="bob")["reason"] == "denied"


@pytest.mark.case("H6", "H7")
def test_http_407_and_retry_on_the_same_connection(tabi, target, users):
    target(targets.echo)
    program = serve(tabi, users)
    with socks.dial(PROXY) as sock:
        sock.sendall(socks.request_http("127.0.0.1:7000"))
        status, head = socks.recv_head(sock)
        assert status == 407
        assert socks.header(head, b"Proxy-Authenticate").lower().startswith(b"basic ")
        length = int(socks.header(head, b"Content-Length") or 0)
        socks.recv_exact(sock, length)
        sock.sendall(socks.request_http("127.0.0.1:7000", socks.basic("bob", "s3cr:t")))
        assert socks.recv_head(sock)[0] == 200
        targets.ping(sock)
    assert program.wait_session()["user"] == "bob"


@pytest.mark.case("H6", "T2")
def test_http_retry_in_the_same_segment(tabi, target, users):
    """A client that knows what the 407 will say, and sends early data as well."""
    target(targets.echo)
    serve(tabi, users)
    ask = socks.request_http("127.0.0.1:7000")
    retry = socks.request_http("127.0.0.1:7000", socks.basic("alice", "secret"))
    with socks.dial(PROXY) as sock:
        sock.sendall(ask + retry + b"early")
        status, head = socks.recv_head(sock)
        assert status == 407
        socks.recv_exact(sock, int(socks.header(head, b"Content-Length") or 0))
        assert socks.recv_head(sock)[0] == 200
        assert socks.recv_exact(sock, 5) == b"early"
        targets.ping(sock)


@pytest.mark.case("H6")
@pytest.mark.parametrize(
    "headers",
    (
        socks.basic("alice", "wrong"),
        socks.basic("nobody", "secret"),
        b"Proxy-Authorization: Basic !!!\r\n",
        b"Proxy-Authorization: Basic\r\n",
        b"Proxy-Authorization: Bearer abc\r\n",
        b"Authorization: " + socks.basic("alice", "secret").partition(b": ")[2],
        socks.basic("alice", b"secret\0"),
        b"Proxy-Authorization: Basic YWxpY2U=\r\n",
    ),
)
def test_http_wrong_credentials(tabi, target, users, headers):
    seen = target()
    serve(tabi, users)
    assert socks.ask_http(PROXY, "127.0.0.1", 7000, headers) in (400, 407)
    assert seen.accepted == 0


def test_http_scheme_is_case_insensitive(tabi, target, users):
    target(targets.echo)
    serve(tabi, users)
    headers = socks.basic("alice", "secret").replace(b"Basic", b"bASIC")
    with socks.open_http(PROXY, "127.0.0.1:7000", headers) as sock:
        targets.ping(sock)


@pytest.mark.case("N20")
def test_a_thousand_wrong_passwords_do_not_keep_others_waiting(tabi, target, tmp_path):
    """The hashes are computed on threads; the loop serves everybody else meanwhile. From twenty
    sources at twenty names, for one source would be slowed."""
    users = tmp_path / "users"
    users.write_text(CHEAP)
    users.chmod(0o600)
    target(targets.echo)
    tabi(local(f"auth password {users}", "auth none"))
    refused = []

    def force(me, n):
        for _ in range(n):
            with socket.socket() as sock:
                sock.settimeout(60)
                sock.bind((f"127.0.1.{me}", 0))
                sock.connect(PROXY)
                sock.sendall(socks.greeting(2) + socks.userpass(f"user{me}", "guess"))
                refused.append(socks.recv_end(sock)[0] == b"\x05\x02\x01\x01")

    attackers = [threading.Thread(target=force, args=(me, 1000 // 20)) for me in range(20)]
    for one in attackers:
        one.start()
    longest = 0
    while any(one.is_alive() for one in attackers):
        begin = time.monotonic()
        with socks.open5(PROXY, "127.0.0.1", 7000) as sock:
            targets.ping(sock)
        longest = max(longest, time.monotonic() - begin)
        time.sleep(0.01)
    assert len(refused) == 1000 and all(refused)
    assert longest < 1, f"another client waited {longest:.3f} s"
    with socks.open5(PROXY, "127.0.0.1", 7000, "carol", "secret") as sock:
        targets.ping(sock)


@pytest.mark.parametrize("mode", (0o640, 0o604, 0o666))
def test_password_file_open_to_others_is_refused(tabi, users, mode):
    users.chmod(mode)
    program = tabi(local(f"auth password {users}"), wait=False)
    assert program.wait_exit() != 0
    program.stopped = True
    assert str(users) in program.log()


def test_missing_password_file_is_refused(tabi, tmp_path):
    program = tabi(local(f"auth password {tmp_path}/none"), wait=False)
    assert program.wait_exit() != 0
    program.stopped = True
    assert f"{tmp_path}/none" in program.log()


def first_file(tmp_path, name, user, password):
    path = tmp_path / name
    done = run("passwd", str(path), user, input=password + "\n")
    assert done.returncode == 0, done.stderr
    return path


SOME = "127.0.0.2"  # for whom `auth none` is, beside everybody's password
OTHERS = "127.0.0.3"


def from_address(address):
    return socket.create_connection(PROXY, timeout=10, source_address=(address, 0))


def chosen(address, *methods):
    """What SOCKS5 answers to a greeting that comes from that address."""
    with from_address(address) as sock:
        sock.sendall(socks.greeting(*methods))
        return socks.recv_exact(sock, 2)


@pytest.mark.case("N3", "N4")
def test_methods_by_address(tabi, target, users):
    """`auth none from NET` beside `auth password`: no password is needed there, and only there."""
    target(targets.echo)
    program = tabi(local(f"auth none from {SOME}", f"auth password {users}"))
    assert chosen(SOME, 0) == b"\x05\x00"
    assert chosen(SOME, 0, 2) == b"\x05\x02"
    assert chosen(OTHERS, 0) == b"\x05\xff"
    assert chosen(OTHERS, 0, 2) == b"\x05\x02"
    for address, code in ((SOME, 90), (OTHERS, 91)):
        with from_address(address) as sock:
            sock.sendall(socks.request4("127.0.0.1", 7000))
            assert socks.recv_exact(sock, 8)[1] == code
    for address, status in ((SOME, 200), (OTHERS, 407)):
        with from_address(address) as sock:
            sock.sendall(socks.request_http("127.0.0.1:7000"))
            assert socks.recv_head(sock)[0] == status
    with from_address(OTHERS) as sock:
        sock.sendall(
            socks.request_http("127.0.0.1:7000", socks.basic("alice", "secret"))
        )
        assert socks.recv_head(sock)[0] == 200
    program.wait_session(reason="no-method", protocol="socks5")


def test_whom_nothing_is_offered(tabi, target, users):
    """No statement is for this client: every protocol refuses it, and the log says why."""
    seen = target()
    program = tabi(local(f"auth password {users} from {SOME}"))
    with from_address(OTHERS) as sock:
        sock.sendall(socks.greeting(0, 1, 2))
        assert socks.recv_end(sock) == (b"\x05\xff", "eof")
    with from_address(OTHERS) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000))
        assert socks.recv_end(sock)[0][:2] == b"\x00\x5b"
    with from_address(OTHERS) as sock:
        sock.sendall(
            socks.request_http("127.0.0.1:7000", socks.basic("alice", "secret"))
        )
        status, head = socks.recv_head(sock)
        assert status == 403 and socks.header(head, b"Proxy-Authenticate") is None
    for protocol in ("socks5", "socks4", "http"):
        program.wait_session(protocol=protocol, reason="not-offered")
    assert seen.accepted == 0


def ask(address, user, password):
    """The status of RFC 1929, or None where no password is wanted there."""
    with from_address(address) as sock:
        sock.sendall(socks.greeting(2))
        if socks.recv_exact(sock, 2) != b"\x05\x02":
            return None
        sock.sendall(socks.userpass(user, password))
        return socks.recv_exact(sock, 2)[1]


def test_which_file_counts_for_whom(tabi, users, tmp_path):
    """Files for all, for some addresses, and for some users; being known from one place proves
    nothing at another."""
    inside = first_file(tmp_path, "inside", "ian", "indoors")
    mine = first_file(tmp_path, "mine", "alice", "other")
    tabi(
        local(
            f"auth password {users}",
            f"auth password {inside} from {SOME}",
            f"auth password {mine} user root",
        )
    )
    for _ in range(2):  # the second time from the cache
        assert ask(SOME, "ian", "indoors") == 0
        assert ask(OTHERS, "ian", "indoors") != 0
        assert ask(OTHERS, "alice", "secret") == 0
        assert ask(OTHERS, "alice", "other") != 0


def test_a_user_out_of_a_list_takes_as_long(tabi, tmp_path):
    """The right password of a user for whom the file does not count costs what a wrong one costs:
    one hash, however often it is tried."""
    path = first_file(tmp_path, "users", "alice", "secret")
    program = tabi(local(f"auth password {path} user bob", "log level debug"))
    for tries in range(1, 4):
        assert ask(OTHERS, "alice", "secret") != 0
        assert program.log().count(" password-hash ") == tries
