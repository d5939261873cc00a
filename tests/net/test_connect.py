# SPDX-License-Identifier: MIT
"""tabi connect: ways to go, what it says of those that fail, passwords, limits."""

import re
import socket
import time

import pytest

from harness import connect as c
from dnsstub import DnsStub
from harness import netns, socks, targets
from harness.config import HEAD, LOCAL, local
from harness.connect import check, connect, start
from harness.tabi import run

SOCKS5 = "socks5h://127.0.0.1:1080"
MB = 1 << 20
HOST, PORT = "127.0.0.1", "7000"
TO = (HOST, PORT)


def check_echo(done, data=b"hello"):
    check(done, c.OK)
    assert done.stderr == b""
    targets.check_same(done.stdout, data)


@pytest.fixture
def users(tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    return local(f"auth password {tmp_path}/users")


# Ways


@pytest.mark.parametrize(
    "scheme, host",
    [(s, h) for s in ("socks4", "socks4a", "socks5", "socks5h", "http") for h in (HOST, "localhost")]
    + [(s, "www.test") for s in ("socks4a", "socks5h", "http")],
)
def test_schemes(tabi, target, dns_server, scheme, host):
    """Names go to the proxy, but with socks4 and socks5, where they are looked up here: and this
    host knows localhost alone."""
    dns_server({"www.test": ["127.0.0.1"]})
    target(targets.echo)
    program = tabi(LOCAL)
    ours = scheme in ("socks4", "socks5")
    check_echo(connect("-x", f"{scheme}://127.0.0.1:1080", host, PORT, data=b"hello"))
    line = program.wait_session(reason="done")
    # What is no name is asked for without 4A's extension.
    spoken = {"socks5h": "socks5", "socks4a": "socks4" if host == HOST else "socks4a"}
    assert line["protocol"] == spoken.get(scheme, scheme)
    assert line["to"] == ("127.0.0.1" if ours else host) + ":7000"


@pytest.mark.parametrize(
    "words",
    (
        ("-x", SOCKS5, "127.0.0.1:7000"),
        ("127.0.0.1", "7000", "-x", SOCKS5),
        ("--proxy=" + SOCKS5, "--", "127.0.0.1", "7000"),
        ("-x", "127.0.0.1:1080", "127.0.0.1", "7000"),
        ("-D", "127.0.0.1", "7000"),
        ("--direct", "localhost:7000"),
    ),
)
def test_how_to_say_it(tabi, target, words):
    target(targets.echo)
    tabi(LOCAL)
    check_echo(connect(*words, data=b"hello"))


def test_ipv6(tabi, target):
    target(targets.echo, "::1")
    tabi(LOCAL)
    for words in (("::1", "7000"), ("[::1]:7000",)):
        check_echo(connect("-x", "socks5h://[::1]:1080", *words, data=b"hello"))
        check_echo(connect("-D", *words, data=b"hello"))


def test_a_chain(tabi, target, tmp_path):
    """Of three kinds, with a name for the last one."""
    target(targets.echo)
    first = tabi(LOCAL)
    second = tabi(LOCAL.replace("1080", "2080"))
    third = tabi(LOCAL.replace("1080", "3080"))
    chain = "socks4a://127.0.0.1:1080,http://127.0.0.1:2080,socks5h://127.0.0.1:3080"
    data = targets.pattern(8 * MB, "chain")
    check_echo(connect("-x", chain, "localhost", PORT, data=data), data)
    assert first.wait_session(reason="done")["to"] == "127.0.0.1:2080"
    assert second.wait_session(reason="done")["to"] == "127.0.0.1:3080"
    assert third.wait_session(reason="done")["to"] == "localhost:7000"


@pytest.mark.parametrize("name", ("TABI_PROXY", "ALL_PROXY", "all_proxy"))
def test_proxy_of_the_environment(tabi, target, name):
    target(targets.echo)
    program = tabi(LOCAL)
    check_echo(connect(*TO, data=b"hello", env={name: SOCKS5}))
    program.wait_session(reason="done")


def test_which_proxy_comes_first(tabi, target):
    """-x, TABI_PROXY, ALL_PROXY, all_proxy; what is empty is not set; --direct is none of them."""
    target(targets.echo)
    tabi(LOCAL)
    nowhere = "socks5h://127.0.0.1:1"
    env = {"TABI_PROXY": nowhere, "ALL_PROXY": nowhere, "all_proxy": nowhere}
    check_echo(connect("-x", SOCKS5, *TO, data=b"hello", env=env))
    check_echo(connect("-D", *TO, data=b"hello", env=env))
    check(connect(*TO, env=env), c.UNREACHABLE_PROXY)
    check_echo(connect(*TO, data=b"hello", env={**env, "TABI_PROXY": SOCKS5}))
    env["TABI_PROXY"] = ""
    check_echo(connect(*TO, data=b"hello", env={**env, "ALL_PROXY": SOCKS5}))
    env["ALL_PROXY"] = ""
    check_echo(connect(*TO, data=b"hello", env={**env, "all_proxy": SOCKS5}))


def test_no_proxy_is_no_way(target):
    """Who forgot to say one does not connect past it."""
    seen = target(targets.echo)
    check(connect(*TO), c.USAGE, "no proxy", "--direct")
    assert seen.accepted == 0


# What went wrong


@pytest.mark.parametrize(
    "words",
    (
        (),
        ("-x", SOCKS5),
        ("-x", SOCKS5, "127.0.0.1"),
        ("-x", SOCKS5, "127.0.0.1", "7000", "7001"),
        ("-x", SOCKS5, "127.0.0.1", "0"),
        ("-x", SOCKS5, "127.0.0.1", "65536"),
        ("-x", SOCKS5, "127.0.0.1:0"),
        ("-x", SOCKS5, "127.1", "7000"),
        ("-x", SOCKS5, "a b", "7000"),
        ("-x", "socks://127.0.0.1:1080", "127.0.0.1", "7000"),
        ("-x", "", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-D", "127.0.0.1", "7000"),
        ("-x", ",".join([SOCKS5] * 9), "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-u", "-l"),
        ("-x", SOCKS5, "-u", "-z", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-l", "127.0.0.1", "7000"),
        ("-D", "-l"),
        ("-x", SOCKS5, "--peer", "127.0.0.1", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-l", "--peer", "a b"),
        ("-x", SOCKS5, "-z", "127.0.0.1", "20-10"),
        ("-x", SOCKS5, "-z", "127.0.0.1", "20,"),
        ("-x", SOCKS5, "-z", "-i", "3", "127.0.0.1", "20"),
        ("-x", SOCKS5, "-z", "-q", "3", "127.0.0.1", "20"),
        ("-x", SOCKS5, "-F", "-u", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-F", "-q", "0", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-w", "soon", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-w", "nan", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-w", "-1", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "-i", "2000000", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "--ca", "/nonexistent", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "--insecure", "127.0.0.1", "7000"),
        ("-D", "--insecure", "127.0.0.1", "7000"),
        ("-x", "https://127.0.0.1:1443", "--cert", "/nonexistent", "127.0.0.1", "7000"),
        ("-x", "https://127.0.0.1:1443", "--ca", "/nonexistent", "127.0.0.1", "7000"),
        ("-x", "https://127.0.0.1:1443", "--ca", "/dev/null", "127.0.0.1", "7000"),
        ("-x", "https://127.0.0.1:1443", "--ca", "x", "--insecure", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "--password-file", "/dev/null", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "--gssapi", "much", "127.0.0.1", "7000"),
        ("-x", "http://127.0.0.1:1080", "--gssapi", "any", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "--gssapi-nec", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "--gssapi", "any", "-F", "127.0.0.1", "7000"),
        ("-x", SOCKS5, "--nothing", "127.0.0.1", "7000"),
    ),
)
def test_called_wrongly(words):
    done = connect(*words)
    assert done.returncode == c.USAGE and done.stdout == b"" and done.stderr, done


def test_help():
    done = connect("--help")
    assert done.returncode == 0 and b"usage: tabi connect" in done.stdout


def proxy_that_says(target, *answers, port=1080):
    """A SOCKS5 proxy's answers, whatever it is asked; then its end."""

    def serve(sock):
        for answer in answers:
            sock.recv(1000)
            sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1000)

    return target(serve, port=port)


@pytest.mark.parametrize(
    "reply, status, text",
    (
        (1, c.FAILED, "does not say why"),
        (2, c.DENIED, "denied by the proxy's rules"),
        (3, c.UNREACHABLE, "network unreachable"),
        (4, c.UNREACHABLE, "host unreachable"),
        (5, c.REFUSED, "connection refused"),
        (6, c.UNREACHABLE, "TTL expired"),
        (7, c.UNSUPPORTED, "command not supported"),
        (8, c.UNSUPPORTED, "address not supported"),
        (9, c.FAILED, "refused by the proxy"),
        (0xF0, c.NOT_FOUND, "onion"),
        (0xF6, c.NOT_FOUND, "onion"),
        (0xF4, c.AUTH, "authorization"),
        (0xF7, c.TIMEOUT, "in time"),
        (0xFF, c.FAILED, "refused by the proxy"),
    ),
)
@pytest.mark.case("R30")
def test_replies_of_socks5(target, reply, status, text):
    proxy_that_says(target, b"\5\0", socks.failure5(reply))
    done = check(connect("-x", SOCKS5, "www.test", "22"), status, text)
    first = done.stderr.decode().splitlines()[0]
    assert first.startswith(f"tabi connect: {SOCKS5}: www.test:22: ")
    assert first.endswith(f"(reply {reply})")


@pytest.mark.case("R29")
def test_a_refusal_that_was_cut_short(target):
    proxy_that_says(target, b"\5\0", b"\5\5")
    check(connect("-x", SOCKS5, *TO), c.REFUSED, "connection refused (reply 5)")


@pytest.mark.parametrize(
    "reply, status", ((91, c.FAILED), (92, c.AUTH), (93, c.AUTH), (7, c.FAILED))
)
def test_replies_of_socks4(target, reply, status):
    proxy_that_says(target, bytes([0, reply]) + bytes(6))
    check(connect("-x", "socks4://127.0.0.1", *TO), status, f"(reply {reply})")


@pytest.mark.parametrize(
    "code, status",
    (
        (400, c.UNSUPPORTED),
        (401, c.AUTH),
        (403, c.DENIED),
        (404, c.FAILED),
        (405, c.UNSUPPORTED),
        (407, c.AUTH),
        (500, c.FAILED),
        (501, c.UNSUPPORTED),
        (502, c.UNREACHABLE),
        (503, c.FAILED),
        (504, c.TIMEOUT),
        (302, c.FAILED),
    ),
)
def test_statuses_of_http(target, code, status):
    proxy_that_says(target, b"HTTP/1.1 %d Because\r\nContent-Length: 0\r\n\r\n" % code, port=8080)
    done = check(connect("-x", "http://127.0.0.1:8080", *TO), status)
    assert code == 407 or f"(status {code})" in done.stderr.decode()


def test_what_tabi_answers(tabi, dns_server, target):
    """Our own server's words, through our own client."""
    dns_server({"www.test": ["127.0.0.1"]})
    tabi(local("deny to 127.0.0.9"))
    for scheme in ("socks5h", "http"):
        proxy = f"{scheme}://127.0.0.1:1080"
        denied = connect("-x", proxy, "127.0.0.9", "22")
        check(denied, c.DENIED, f"{proxy}: 127.0.0.9:22: denied by the proxy's rules")
        check(connect("-x", proxy, "127.0.0.1", "1080"), c.DENIED)
        check(connect("-x", proxy, "gone.test", "22"), c.UNREACHABLE)
    check(connect("-x", SOCKS5, "www.test", "7000"), c.REFUSED)


def test_no_proxy_there():
    check(connect("-x", SOCKS5, *TO), c.UNREACHABLE_PROXY, SOCKS5, "connection refused")


def test_the_second_proxy_is_not_there(tabi):
    """And that is no fault of the target's."""
    tabi(LOCAL)
    done = connect("-x", f"{SOCKS5},http://127.0.0.1:2080", *TO)
    check(done, c.UNREACHABLE_PROXY, f"{SOCKS5}: http://127.0.0.1:2080: connection refused")


@pytest.mark.parametrize(
    "words, status",
    (
        (("-D", "www.test", "22"), c.NOT_FOUND),
        (("-x", "socks5://127.0.0.1", "www.test", "22"), c.NOT_FOUND),
        (("-x", "socks5h://www.test", "127.0.0.1", "22"), c.UNREACHABLE_PROXY),
    ),
)
def test_names_that_are_looked_up_here(tmp_path, words, status):
    """By a name server of this host that knows none."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    with DnsStub({}, port=53):
        done = connect(
            *words,
            preexec_fn=lambda: netns.mount_over(str(tmp_path / "resolv.conf"), "/etc/resolv.conf"),
        )
    check(done, status, "name has no address")
    assert "127.0.0.1" not in done.stderr.decode()


def test_directly_refused():
    check(connect("-D", *TO), c.REFUSED, "127.0.0.1:7000: connection refused")
    check(connect("-D", "192.0.2.1", "22"), c.UNREACHABLE, "192.0.2.1:22: ")


@pytest.mark.case("N16")
def test_a_proxy_that_wants_a_password(tabi, users):
    tabi(users)
    check(connect("-x", SOCKS5, *TO), c.AUTH, "who we are", "user:password@")
    check(connect("-x", "http://127.0.0.1:1080", *TO), c.AUTH, "who we are")
    for scheme in ("socks5h", "http"):
        done = connect("-x", f"{scheme}://alice:wrong@127.0.0.1:1080", *TO)
        check(done, c.AUTH, f"{scheme}://alice@127.0.0.1:1080: did not accept the user")
        assert b"wrong" not in done.stderr


@pytest.mark.case("N15")
@pytest.mark.parametrize(
    "answer", (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\5\2", b"\4\0", b"", b"\5")
)
def test_what_is_no_such_proxy(target, answer):
    proxy_that_says(target, answer)
    check(connect("-x", SOCKS5, *TO), c.BROKEN_PROXY, "scheme of the URL")


@pytest.mark.parametrize("scheme", ("socks4", "http"))
def test_what_a_protocol_cannot_say(target, scheme):
    seen = target(None, port=1080)
    what = ("-x", f"{scheme}://127.0.0.1:1080", "-u", *TO)
    check(connect(*what), c.UNSUPPORTED, "no word for this command")
    if scheme == "socks4":
        check(connect("-x", "socks4://127.0.0.1:1080", "::1", "22"), c.UNSUPPORTED, "address")
    assert seen.results == []


# Time


def test_time_to_get_there(target):
    """A proxy that does not answer, at each step; with the step in the message."""
    target(port=1080)
    done = connect("-w", "0.2", "-x", SOCKS5, *TO)
    check(done, c.TIMEOUT, f"{SOCKS5}: no answer within 0.2 seconds")

    def serve(sock):
        sock.recv(100)
        sock.sendall(b"\5\0")
        socks.recv_end(sock)

    target(serve, port=1081)
    done = connect("-w", "0.2", "-x", "socks5h://127.0.0.1:1081", "www.test", "22")
    check(done, c.TIMEOUT, "1081: www.test:22: no answer within 0.2 seconds")


def test_time_to_get_there_directly():
    held = targets.blackhole()
    done = connect("-w", "0.2", "-D", "127.0.0.1", "7009")
    check(done, c.TIMEOUT, "127.0.0.1:7009: no answer within 0.2 seconds")
    for sock in held:
        sock.close()


def test_time_without_movement(tabi, target):
    """Measured from the last byte of either direction."""
    target(targets.echo)
    tabi(LOCAL)
    with start("-i", "0.4", "-x", SOCKS5, *TO) as p:
        for _ in range(4):
            p.stdin.write(b"x")
            p.stdin.flush()
            assert p.stdout.read(1) == b"x"
            time.sleep(0.2)
        began = time.monotonic()
        assert p.wait(10) == c.TIMEOUT
        assert time.monotonic() - began < 5
        assert b"nothing moved" in p.stderr.read()


@pytest.mark.parametrize("seconds", ("0", "0.3"))
def test_quit_after_the_end(tabi, target, seconds):
    """Standard input has ended and the target says nothing."""
    seen = target()
    tabi(LOCAL)
    began = time.monotonic()
    done = connect("-q", seconds, "-x", SOCKS5, *TO, data=b"question")
    check(done, c.OK)
    assert float(seconds) <= time.monotonic() - began < 10
    assert socks.recv_end(seen.wait_accepted()) == (b"question", "eof")


# Passwords


@pytest.mark.parametrize("scheme", ("socks5h", "http"))
@pytest.mark.parametrize("where", ("url", "file", "environment"))
def test_passwords(tabi, target, users, tmp_path, scheme, where):
    target(targets.echo)
    program = tabi(users)
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "secret").chmod(0o600)
    more = {"file": ("--password-file", str(tmp_path / "secret"))}.get(where, ())
    env = {"TABI_PASSWORD": "secret" if where == "environment" else "wrong"}
    user = "alice:secret" if where == "url" else "alice"
    check_echo(
        connect("-x", f"{scheme}://{user}@127.0.0.1:1080", *more, *TO, data=b"hello", env=env)
    )
    program.wait_session(reason="done", user="alice")


def test_passwords_of_a_chain(tabi, target, users, tmp_path):
    """A line for each proxy that has a user without one, in their order."""
    target(targets.echo)
    run("passwd", str(tmp_path / "users"), "bob", input="other\n")
    tabi(users)
    tabi(users.replace("1080", "2080"))
    tabi(LOCAL.replace("1080", "3080"))
    chain = "socks5h://alice@127.0.0.1:1080,http://127.0.0.1:3080,socks5h://bob@127.0.0.1:2080"
    check_echo(connect("-x", chain, *TO, data=b"hello", env={"TABI_PASSWORD": "secret\nother"}))
    done = connect("-x", chain, *TO, env={"TABI_PASSWORD": "secret"}, start_new_session=True)
    check(done, c.USAGE, "TABI_PASSWORD has no password", "bob@127.0.0.1:2080")


def test_a_password_file_that_others_may_read(tmp_path):
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "secret").chmod(0o640)
    done = connect(
        "-x", "socks5h://alice@127.0.0.1:1080", "--password-file", str(tmp_path / "secret"), *TO
    )
    check(done, c.USAGE, "chmod 600")


def test_no_password_and_nobody_to_ask():
    done = connect("-x", "socks5h://alice@127.0.0.1:1080", *TO, start_new_session=True)
    check(done, c.USAGE, "no terminal to ask on", "user:@host")


def command_line_of(p):
    with open(f"/proc/{p.pid}/cmdline", "rb") as f:
        return f.read()


@pytest.mark.parametrize("by", ("option", "variable"))
def test_ps_shows_no_password(target, by):
    """Nor does the environment, of which ps tells with 'e'. The rest of the URL may be seen."""
    held = target(None, port=1080)
    chain = "socks5h://alice:hush%21hush@127.0.0.1:1080,http://bob:also-secret@127.0.0.1:2080"
    words = ("-x", chain) if by == "option" else ()
    env = {"TABI_PROXY": chain} if by == "variable" else {}
    with start(*words, *TO, env={**env, "TABI_PASSWORD": "third-secret"}) as p:
        held.wait_accepted()
        shown = command_line_of(p)
        with open(f"/proc/{p.pid}/environ", "rb") as f:
            shown += f.read()
        p.kill()
    for secret in (b"hush", b"also-secret", b"third-secret"):
        assert secret not in shown, shown
    assert b"alice:" in shown and b"@127.0.0.1:2080" in shown


def test_a_url_that_cannot_be_read_is_not_shown():
    done = connect("-x", "socks5h://alice:hu/sh@127.0.0.1:1080", *TO)
    check(done, c.USAGE, "--proxy, at character")
    assert b"hu" not in done.stderr.replace(b"thousand", b"")


# The end of it


def test_the_other_side_breaks_off(tabi, target):
    def serve(sock):
        sock.sendall(b"half")
        sock.recv(1)
        socks.reset(sock)

    target(serve)
    tabi(LOCAL)
    with start("-x", SOCKS5, *TO) as p:
        assert p.stdout.read(4) == b"half"
        p.stdin.write(b"x")
        p.stdin.flush()
        assert p.wait(10) == c.CUT
        assert b"the connection broke: Connection reset" in p.stderr.read()


def test_verbose(tabi, target):
    target(targets.echo)
    tabi(LOCAL)
    done = connect("-v", "-x", SOCKS5, *TO, data=b"hello")
    said = done.stderr.decode()
    assert re.search(r"socks5h://127.0.0.1:1080 is at 127.0.0.1; .* 127.0.0.1:\d+\n", said), said
    assert said.endswith("over: 5 bytes up, 5 down\n")
