# SPDX-License-Identifier: MIT
"""libtabi's streams with GSS-API, by programs that know of no Kerberos: built with what pkg-config
says of libtabi alone, against tabi and a real KDC."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import threading

import pytest

from harness import netns, socks
from harness.config import local
from harness.library import VALGRIND

ALICE = "alice@EXAMPLE.ORG"
ALL_LEVELS = "level integrity,confidential,clear"
PROXY = "socks5h://localhost:1080"
HOST, PORT = "127.0.0.1", 7000
# Of enum tabi_gss, and what the log calls what was agreed on.
OFF, INTEGRITY, CONFIDENTIAL, PER_MESSAGE, CLEAR = range(5)
NEC, ONLY = 8, 16
MIB = 1 << 20


def auth(kerberos, words=""):
    return f"auth gssapi keytab {kerberos.keytab} {words}"


def stream(libtabi, how, level, flags=0, service="", proxy=PROXY, data=b"", target=(HOST, PORT), **options):
    program = libtabi.build("tests/lib/streams.c")
    return libtabi.run(program, how, level, flags, service, proxy, *target, data=data, **options)


def reverse(sock):
    """Answers with what came, backwards, once it has ended."""
    data = b""
    while piece := sock.recv(1 << 18):
        data += piece
    sock.sendall(data[::-1])
    sock.shutdown(socket.SHUT_WR)


def check(done, answer, said=b""):
    assert (done.returncode, done.stderr) == (0, said), done
    assert done.stdout == answer


@pytest.mark.parametrize("level", ("none", "integrity", "confidentiality"))
def test_example(libtabi, tabi, kerberos, target, level):
    """Blocking, and nothing but what pkg-config says of libtabi."""
    target(reverse)
    program = tabi(local(auth(kerberos, ALL_LEVELS)))
    data = random.Random(1).randbytes(MIB + 1)
    done = libtabi.run(libtabi.example("stream"), level, PROXY, HOST, PORT, data=data)
    check(done, data[::-1])
    words = {"none": "clear", "integrity": "integrity", "confidentiality": "confidential"}
    assert program.wait_session(1, user=ALICE, reason="done")["protection"] == words[level]


@pytest.mark.parametrize("nec", (0, NEC))
@pytest.mark.parametrize(
    "asked, agreed",
    ((CLEAR, "clear"), (INTEGRITY, "integrity"), (CONFIDENTIAL, "confidential"),
     (PER_MESSAGE, "confidential")),
)  # fmt: skip
def test_without_blocking(libtabi, tabi, kerberos, target, asked, agreed, nec):
    """Both directions at once and megabytes that wait for each other."""
    target(lambda sock: echo_all(sock))
    program = tabi(local(auth(kerberos, ALL_LEVELS + " nec" * bool(nec))))
    data = random.Random(2).randbytes(5 * MIB + 1)
    done = stream(libtabi, "poll", asked, nec, data=data)
    check(done, data, b"" if asked == CLEAR else b"protected\n")
    assert program.wait_session(1, user=ALICE, reason="done")["protection"] == agreed


def echo_all(sock):
    while piece := sock.recv(1 << 16):
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)


def test_a_socket_alone(libtabi, tabi, kerberos, target):
    """Where nothing protects it a socket is a socket; else nothing is even sent."""
    target(reverse)
    program = tabi(local(auth(kerberos, ALL_LEVELS)))
    check(stream(libtabi, "bare", CLEAR, data=b"abc"), b"cba")
    for level in (INTEGRITY, CONFIDENTIAL, PER_MESSAGE):
        done = stream(libtabi, "bare", level, data=b"abc")
        assert done.returncode == 1
        assert done.stderr == (
            b"GSS-API failed: behind GSS-API's protection a socket alone is of no use: take a stream\n"
        )
    program.wait_session(1, user=ALICE)
    assert len(program.sessions()) == 1


def test_chain_of_two(libtabi, tabi, kerberos, target):
    """Protected twice, and then a proxy that is plain."""
    target(echo_all)
    programs = [tabi(local(auth(kerberos)).replace(":1080", f":{port}")) for port in (1080, 1081)]
    tabi(local().replace(":1080", ":1082"))
    data = random.Random(3).randbytes(MIB)
    chain = f"{PROXY},socks5h://localhost:1081,http://127.0.0.1:1082"
    check(stream(libtabi, "poll", CONFIDENTIAL, proxy=chain, data=data), data, b"protected\n")
    for program in programs:
        line = program.wait_session(1, user=ALICE, reason="done")
        assert line["protection"] == "confidential"


def test_errors(libtabi, tabi, kerberos, target):
    """They name the hop and the stage, and GSS-API says why in its own words."""
    goal = target(reverse)
    tabi(local(auth(kerberos, "service rcmd level integrity")))
    begin = b"proxy 1 (socks5h://localhost:1080), authenticating: "

    def said(*args, **options):
        done = stream(libtabi, "poll", *args, **options)
        assert done.returncode == 1 and done.stdout == b"", done
        assert done.stderr.startswith(begin), done
        return done.stderr[len(begin):]

    no_cache = {"env": {"KRB5CCNAME": "FILE:/nonexistent"}}
    assert said(INTEGRITY, **no_cache).startswith(b"GSS-API failed: No Kerberos credentials available")
    done = libtabi.run(libtabi.example("stream"), "none", PROXY, HOST, PORT, **no_cache)
    assert b"No Kerberos credentials available" in done.stderr, done
    assert b"not found in Kerberos database" in said(INTEGRITY, service="nobody")
    # The server's keytab has its key, and it does not want it.
    assert b"did not accept" in said(INTEGRITY, service="socks")
    # It could grant nothing that we want, or grants less than we want.
    assert b"did not accept" in said(CLEAR)
    assert b"GSS-API failed" in said(CONFIDENTIAL)
    assert goal.accepted == 0


def test_only(libtabi, tabi, kerberos, target):
    """A proxy that lets anybody in is used so unless the caller says otherwise."""
    target(reverse)
    tabi(local())
    check(stream(libtabi, "poll", INTEGRITY, data=b"abc"), b"cba")
    done = stream(libtabi, "poll", INTEGRITY, ONLY, data=b"abc")
    assert done.returncode == 1
    assert b"waiting for its method: accepts no authentication method" in done.stderr, done


def test_a_dead_kdc_does_not_last_longer_than_the_deadline(libtabi, tabi, kerberos, tmp_path):
    """Asking for a ticket is done aside, so the rest goes on and ends when it should."""
    config = tmp_path / "krb5.conf"
    text = open(os.environ["KRB5_CONFIG"]).read()
    config.write_text(text.replace("127.0.0.1:8801", "127.0.0.1:8899"))
    asked = []

    def silent(sock):
        asked.append(sock)
        sock.recv(100)
        threading.Event().wait(20)

    listener = socket.create_server((HOST, 8899))
    threading.Thread(
        target=lambda: [silent(listener.accept()[0]) for _ in range(9)], daemon=True
    ).start()
    tabi(local(auth(kerberos)))
    program = libtabi.build("tests/lib/ticks.c")
    done = libtabi.run(
        program, 3000, INTEGRITY, PROXY, HOST, PORT, env={"KRB5_CONFIG": str(config)}
    )
    assert asked
    assert done.stdout.count(b"tick") >= 10, done
    assert done.returncode == 1 and b"authenticating: no answer in time" in done.stderr, done


def test_accepting(libtabi, tabi, kerberos):
    """BIND: both answers and all the peer says are protected."""
    tabi(local(auth(kerberos)))
    program = libtabi.build("tests/lib/streams.c")
    process = subprocess.Popen(
        [program, "accept", str(INTEGRITY), "0", "", PROXY, "127.0.0.2", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "LD_LIBRARY_PATH": libtabi.lib},
    )  # fmt: skip
    with process as p:
        p.stdin.write(b"to the peer")
        p.stdin.close()
        port = int(p.stderr.readline())
        with socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0)) as peer:
            peer.sendall(b"to the client")
            peer.shutdown(socket.SHUT_WR)
            assert socks.recv_end(peer) == (b"to the peer", "eof")
        assert p.stdout.read() == b"to the client"
        assert p.stderr.read() == b"protected\n"
        assert p.wait(10) == 0


@pytest.mark.parametrize("level", (CLEAR, INTEGRITY, CONFIDENTIAL))
def test_datagrams(libtabi, tabi, kerberos, echo, level):
    """Each of them protected as the connection is."""
    program = tabi(local(auth(kerberos, ALL_LEVELS)))
    echo(HOST, PORT)
    check(stream(libtabi, "udp", level, data=b"one\ntwo\n"), b"one\ntwo\n")
    program.wait_session(1, user=ALICE, command="udp")


def test_datagrams_of_a_chain_are_not_protected(libtabi, tabi, kerberos, echo):
    """So they are not sent."""
    for port in (1080, 1081):
        tabi(local(auth(kerberos)).replace(":1080", f":{port}"))
    seen = echo(HOST, PORT)
    chain = f"{PROXY},socks5h://localhost:1081"
    done = stream(libtabi, "udp", INTEGRITY, proxy=chain, data=b"one\n")
    assert done.returncode == 1
    assert b"several proxies cannot be protected by GSS-API" in done.stderr, done
    assert not seen.seen


def test_with_tls(libtabi, tabi, kerberos, target, authority):
    """GSS-API inside of TLS; the other way round the caller's functions cannot do it."""
    target(echo_all)
    files = f"{authority.path('server.pem')} {authority.path('server.key')}"
    tabi(local(auth(kerberos)).replace(":1080", ":1081"))
    program = tabi(f"listen 127.0.0.1:1443 tls {files}\n" + local(auth(kerberos)))
    tls = libtabi.build("tests/lib/tls.c", "openssl")
    data = random.Random(6).randbytes(60_000)
    proxy = "socks5+tls://localhost:1443"
    done = libtabi.run(tls, authority.pem, proxy, HOST, PORT, CONFIDENTIAL, data=data, before=VALGRIND)
    check(done, data)
    line = program.wait_session(1, user=ALICE, reason="done")
    assert line["protection"] == "confidential"
    chain = "socks5h://localhost:1081,https://localhost:1443"
    done = libtabi.run(tls, authority.pem, chain, HOST, PORT, CONFIDENTIAL, before=VALGRIND)
    assert done.returncode == 1
    assert done.stderr == (
        b"proxy 2 (https://localhost:1443), in TLS: TLS failed:"
        b" options.tls cannot be inside of GSS-API's protection\n"
    )
    # The system's can, and GSS-API inside of that.
    chain = "socks5h://localhost:1081,socks5+tls://localhost:1443"
    done = stream(
        libtabi, "poll", CONFIDENTIAL, proxy=chain, data=data, env={"CA": authority.pem}
    )
    check(done, data, b"protected\n")


class Meddler:
    """Between client and proxy: changes one byte of what the proxy says, the n-th; or ends there."""

    def __init__(self, at, ends=False):
        self.at = at
        self.ends = ends
        self._listener = socket.create_server((HOST, 1090))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        client, _ = self._listener.accept()
        server = socket.create_connection((HOST, 1080))
        threading.Thread(target=self._up, args=(client, server), daemon=True).start()
        seen = 0
        # The client leaves when it has seen what was done.
        with contextlib.suppress(OSError):
            while data := bytearray(server.recv(65536)):
                if seen <= self.at < seen + len(data):
                    if self.ends:
                        client.sendall(data[: self.at - seen])
                        client.shutdown(socket.SHUT_WR)
                        return
                    data[self.at - seen] ^= 1
                seen += len(data)
                client.sendall(data)

    @staticmethod
    def _up(client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)


def test_what_was_changed_is_not_taken(libtabi, tabi, kerberos, target):
    """Far behind the handshake, in the middle of the data."""
    target(echo_all)
    tabi(local(auth(kerberos)))
    Meddler(50_000)
    data = random.Random(4).randbytes(200_000)
    done = stream(
        libtabi, "poll", INTEGRITY, proxy="socks5h://localhost:1090", data=data
    )
    assert done.returncode == 1
    assert done.stderr == (
        b"proxy 1 (socks5h://localhost:1090), in the stream: GSS-API failed:"
        b" what came is not genuine, repeated, or not encrypted\n"
    )


def test_what_was_cut_off_is_no_end(libtabi, tabi, kerberos, target):
    """Where it is in the middle of a message; between two nobody can tell (RFC 1961 has no word)."""
    target(echo_all)
    tabi(local(auth(kerberos)))
    Meddler(50_000, ends=True)
    data = random.Random(7).randbytes(200_000)
    done = stream(
        libtabi, "poll", CONFIDENTIAL, proxy="socks5h://localhost:1090", data=data
    )
    assert done.returncode == 1
    assert b"GSS-API failed: the stream ended in the middle of a frame" in done.stderr, done


def test_valgrind(libtabi, tabi, kerberos, target, echo):
    """Login, stream, datagrams and failures: nothing is left."""
    target(echo_all)
    tabi(local(auth(kerberos)))
    assert shutil.which("valgrind"), "valgrind is not installed"
    data = random.Random(5).randbytes(100_000)
    done = stream(libtabi, "poll", CONFIDENTIAL, data=data, before=VALGRIND)
    check(done, data, b"protected\n")
    echo(HOST, PORT + 1)
    done = stream(
        libtabi, "udp", INTEGRITY, data=b"one\n", target=(HOST, PORT + 1), before=VALGRIND
    )
    check(done, b"one\n")
    done = stream(libtabi, "poll", INTEGRITY, service="nobody", before=VALGRIND)
    assert done.returncode == 1, done.stderr.decode()


def test_without_the_library(libtabi, tabi, kerberos, tmp_path):
    """Where the system has no GSS-API the program runs all the same, and is told."""
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"")
    paths = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    path = [w.split()[-1] for w in paths.splitlines() if "libgssapi_krb5.so.2" in w][0]
    done = stream(
        libtabi, "poll", INTEGRITY,
        preexec=lambda: netns.mount_over(nothing, os.path.realpath(path)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(b"GSS-API failed: "), done
    assert b"libgssapi_krb5.so.2" in done.stderr or b"file too short" in done.stderr, done


