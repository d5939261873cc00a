# SPDX-License-Identifier: MIT
"""The examples of libtabi, built with what pkg-config says of the installed library and nothing else,
through tabi, through chains of different kinds, and through other people's proxies."""

import os
import shutil
import socket
import subprocess
import threading

import pytest

from harness import certs, library, netns, socks, targets, tornet
from harness.config import ALLOW_ALL
from harness.library import VALGRIND
from harness.tabi import ROOT, run, wait_until

QUESTION = b"is anybody there?\n" * 40
FILE = targets.pattern(300_000, "ftp")
HOST, PORT = "127.0.0.1", 7000
EXAMPLES = ("blocking", "pollloop", "libuv", "udp", "ftp")


def ftp_server(sock):
    """As much of a server as the example says, active mode alone; from another port than the client
    could know of."""
    lines = sock.makefile("rb")
    data = None

    def say(text):
        sock.sendall(text + b"\r\n")

    say(b"220-several\r\n220 lines")
    for line in lines:
        word, _, rest = line.strip().partition(b" ")
        if word == b"EPRT":
            _, family, host, port, _ = rest.split(b"|")
            assert family == (b"2" if b":" in host else b"1")
            data = host.decode(), int(port)
            say(b"200 ok")
        elif word == b"RETR":
            with socket.create_connection(data, 10) as stream:
                say(b"150 here it comes")
                stream.sendall(FILE)
            say(b"226 done")
        elif word == b"QUIT":
            sock.shutdown(socket.SHUT_RDWR)
            return
        else:
            say({b"USER": b"331", b"PASS": b"230"}.get(word, b"200") + b" ok")


def answer(sock):
    """Says the question again and ends; nobody has to pass half a close on, which not all can."""
    sock.sendall(socks.recv_exact(sock, len(QUESTION)))
    sock.close()


def check_example(libtabi, name, proxy, target, echo, **options):
    """One run of an example, and that what came back is right."""
    program = libtabi.example(name)
    if name == "udp":
        echo(HOST, PORT)
        # Past those that have no datagrams, where there are such.
        past = ["-s"] if any(not p.startswith("socks5") for p in proxy.split(",")) else []
        done = libtabi.run(program, *past, proxy, HOST, PORT, data=b"one\ntwo\n", **options)
        assert done.stdout == b"127.0.0.1:7000: one\n127.0.0.1:7000: two\n", done
    elif name == "ftp":
        target(ftp_server, port=2121)
        done = libtabi.run(program, proxy, HOST, 2121, "file", **options)
        targets.check_same(done.stdout, FILE)
    else:
        target(answer)
        twice = (HOST, PORT) * (2 if name == "pollloop" else 1)
        done = libtabi.run(program, proxy, *twice, data=QUESTION, **options)
        assert done.stdout == QUESTION * (len(twice) // 2), done
    assert (done.returncode, done.stderr) == (0, b""), done


def server(port):
    return f"workers 1\nlisten {HOST}:{port}\nresolver 127.0.0.1:5353\n{ALLOW_ALL}"


def three(tabi):
    for port in (1080, 2080, 3080):
        tabi(server(port))


def test_only_what_is_declared_is_installed(libtabi):
    """Header, libraries with a soname, pkg-config, manual; and a program sees no name but tabi_..."""
    names = {n for _, _, files in os.walk(libtabi.root) for n in files}
    assert {"tabi.h", "tabi.pc", "libtabi.a", "libtabi.so.0", "libtabi.3"} <= names
    assert libtabi.pkg_config("--modversion", "tabi") == [run("--version").stdout.split()[-1]]
    done = subprocess.run(
        ["readelf", "-d", f"{libtabi.lib}/libtabi.so"], capture_output=True, text=True
    )
    assert "soname: [libtabi.so.0]" in done.stdout
    assert done.stdout.count("(NEEDED)") == 1, done.stdout


def test_a_static_link_clashes_with_nothing(libtabi, tmp_path):
    program = tmp_path / "clash"
    flags = [w for w in libtabi.pkg_config("--cflags", "--libs", "tabi") if w != "-ltabi"]
    source = os.path.join(ROOT, "tests/lib/clash.c")
    library.output("cc", source, "-o", str(program), *flags, f"{libtabi.lib}/libtabi.a")
    assert library.output(str(program)) == "1 10\n"


@pytest.mark.parametrize("name", EXAMPLES)
def test_one_hop(libtabi, tabi, target, echo, name):
    program = tabi(server(1080))
    check_example(libtabi, name, f"socks5h://{HOST}:1080", target, echo)
    kinds = {"udp": {"udp"}, "ftp": {"connect", "bind"}}.get(name, {"connect"})
    wait_until(lambda: {s["command"] for s in program.sessions()} == kinds)


@pytest.mark.parametrize("scheme", ("socks4", "socks4a", "socks5", "http"))
def test_every_kind_of_hop(libtabi, tabi, target, echo, scheme):
    tabi(server(1080))
    check_example(libtabi, "blocking", f"{scheme}://{HOST}:1080", target, echo)


@pytest.mark.parametrize("name", EXAMPLES)
def test_chain_of_three_kinds(libtabi, tabi, target, echo, name):
    three(tabi)
    chain = f"http://{HOST}:1080,socks4a://{HOST}:2080,socks5h://{HOST}:3080"
    check_example(libtabi, name, chain, target, echo)


SOCKS5_CHAIN = ",".join(f"socks5h://{HOST}:{port}" for port in (1080, 2080, 3080))


def test_datagrams_through_a_chain(libtabi, tabi, echo):
    """Each proxy has an association, and none is passed by."""
    programs = [tabi(server(port)) for port in (1080, 2080, 3080)]
    program = libtabi.example("udp")
    echo(HOST, PORT)
    done = libtabi.run(program, SOCKS5_CHAIN, HOST, PORT, data=b"one\ntwo\n", before=VALGRIND)
    assert (done.returncode, done.stderr) == (0, b""), done
    assert done.stdout == b"127.0.0.1:7000: one\n127.0.0.1:7000: two\n", done
    for number, one in enumerate(programs):
        # The first ones also carry the connections to those behind them.
        wait_until(lambda one=one, number=number: len(one.sessions()) == 3 - number)
        lines = [s for s in one.sessions() if s["command"] == "udp"]
        assert len(lines) == 1 and lines[0]["packets-up"] == "2", lines


def test_datagrams_of_a_chain_with_other_proxies(libtabi, tabi, echo):
    """They pass no proxy by unless that is said."""
    three(tabi)
    echo(HOST, PORT)
    program = libtabi.example("udp")
    chain = f"http://{HOST}:1080,socks5h://{HOST}:2080"
    done = libtabi.run(program, chain, HOST, PORT, data=b"one\n")
    assert done.returncode == 1 and b"SOCKS5 proxies alone" in done.stderr, done
    done = libtabi.run(program, "-s", chain, HOST, PORT, data=b"one\n")
    assert (done.returncode, done.stdout) == (0, b"127.0.0.1:7000: one\n"), done


def test_a_proxy_of_the_chain_has_no_datagrams(libtabi, tabi):
    """The error names it."""
    for port in (2080, 3080):
        tabi(server(port))
    with microsocks():
        done = libtabi.run(libtabi.example("udp"), SOCKS5_CHAIN, HOST, PORT, data=b"one\n")
    assert done.returncode == 1
    assert done.stderr.startswith(b"proxy 1 (socks5h://127.0.0.1:1080), waiting for its reply"), done
    assert b"(reply 7)" in done.stderr


def test_an_association_of_the_chain_ends(libtabi, tabi):
    """Not the last one, and nothing else of it does: who waits for a datagram is told all the same."""
    first = tabi(server(1081))
    for port in (2080, 3080):
        tabi(server(port))
    passer = Counter(1080, (HOST, 1081))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # It never answers, but has the first association cut off.
        sock.bind((HOST, PORT))
        threading.Thread(target=lambda: (sock.recv(100), passer.cut(0)), daemon=True).start()
        program = libtabi.build("tests/lib/streams.c")
        args = (program, "udp", 0, 0, "", SOCKS5_CHAIN, HOST, PORT)
        done = libtabi.run(*args, data=b"one\n", before=VALGRIND)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"it has ended\n"), done
    assert len(passer.flights) == 3
    first.wait_session(1, command="udp")


@pytest.mark.parametrize("name", EXAMPLES)
def test_valgrind(libtabi, tabi, target, echo, name):
    """Nothing is read that was not written, and nothing is left."""
    three(tabi)
    chain = f"socks4a://{HOST}:1080,http://{HOST}:2080,socks5h://{HOST}:3080"
    assert shutil.which("valgrind"), "valgrind is not installed"
    check_example(
        libtabi, name, chain, target, echo,
        before=VALGRIND,
    )  # fmt: skip


def test_the_environment_names_the_proxy(libtabi, tabi, target):
    tabi(server(1080))
    target(answer)
    program = libtabi.example("blocking")
    for name, other in (("TABI_PROXY", "ALL_PROXY"), ("ALL_PROXY", "TABI_PROXY")):
        env = {name: f"socks5h://{HOST}:1080", other: ""}
        assert libtabi.run(program, "", HOST, PORT, data=QUESTION, env=env).stdout == QUESTION
    done = libtabi.run(program, "", HOST, PORT, env={"TABI_PROXY": "", "ALL_PROXY": ""})
    assert done.returncode == 1 and b"no proxy was named" in done.stderr, done


@pytest.mark.parametrize("name", ("blocking", "pollloop", "libuv"))
def test_errors_say_where_and_why(libtabi, tabi, name):
    for port in (1080, 2080):
        tabi(server(port))
    program = libtabi.example(name)
    chain = f"http://{HOST}:1080,socks5h://{HOST}:2080"
    done = libtabi.run(program, chain, HOST, 9)
    assert done.returncode == 1
    assert done.stderr == (
        b"proxy 2 (socks5h://127.0.0.1:2080), waiting for its reply: refused: connection refused"
        b" (reply 5)\n"
    )
    done = libtabi.run(program, f"socks5h://{HOST}:9", HOST, 9)
    assert done.returncode == 1 and b"connecting to it: cannot be reached" in done.stderr, done
    done = libtabi.run(program, f"https://{HOST}:1080", HOST, 9)
    assert done.returncode == 1 and b"TLS" in done.stderr, done


TLS_CHAINS = (
    "https://localhost:1443",
    "socks5+tls://127.0.0.1:1443",
    "socks5h://127.0.0.1:1080,socks5+tls://localhost:2443",
    "https://localhost:1443,socks4a://127.0.0.1:2080",
    "socks5+tls://localhost:1443,https://127.0.0.1:2443",
)


@pytest.mark.parametrize("chain", TLS_CHAINS)
def test_tls(libtabi, tabi, target, authority, dns_server, tmp_path, chain):
    """By the caller's OpenSSL, before, behind and inside of what is not; and in itself."""
    dns_server({"localhost": ["127.0.0.1"]})
    target(targets.echo)
    files = f"{authority.path('server.pem')} {authority.path('server.key')}"
    for port in (1080, 2080):
        tabi(f"listen {HOST}:{port + 363} tls {files}\n" + server(port))
    program = libtabi.build("tests/lib/tls.c", "openssl")
    done = libtabi.run(program, authority.pem, chain, HOST, PORT, data=QUESTION)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", QUESTION), done
    # The same as a stream, which tells its end.
    done = libtabi.run(
        program, authority.pem, chain, HOST, PORT, 0, data=QUESTION, before=VALGRIND
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", QUESTION), done
    stranger = certs.Authority(tmp_path)
    done = libtabi.run(program, stranger.pem, chain, HOST, PORT)
    assert done.returncode == 1 and b"in TLS: TLS failed" in done.stderr, done


@pytest.mark.parametrize("chain", TLS_CHAINS)
def test_tls_by_the_system(libtabi, tabi, target, authority, dns_server, tmp_path, chain):
    """Without options.tls, by a program that knows of no OpenSSL; whom it trusts is said, or the
    system's. A half-closed stream goes on in the other direction."""
    dns_server({"localhost": ["127.0.0.1"]})
    target(targets.echo)
    files = f"{authority.path('server.pem')} {authority.path('server.key')}"
    for port in (1080, 2080):
        tabi(f"listen {HOST}:{port + 363} tls {files}\n" + server(port))
    program = libtabi.build("tests/lib/streams.c")
    args = (program, "poll", 0, ONE_FLIGHT | EARLY, "", chain, HOST, PORT)
    data = targets.pattern(3_000_000, "tls")
    for env in ({"CA": authority.pem}, {"SSL_CERT_FILE": authority.pem}):
        done = libtabi.run(*args, data=data, env=env)
        assert (done.returncode, done.stderr) == (0, b"protected\n"), done
        targets.check_same(done.stdout, data)
    done = libtabi.run(*args, data=QUESTION, env={"CA": authority.pem}, before=VALGRIND)
    assert (done.returncode, done.stdout) == (0, QUESTION), done
    stranger = certs.Authority(tmp_path)
    for env in ({"CA": stranger.pem}, {"SSL_CERT_FILE": stranger.pem}, {}):
        done = libtabi.run(*args, env=env)
        assert done.returncode == 1 and b"in TLS: TLS failed: " in done.stderr, done
        assert b"certificate" in done.stderr


def test_tls_of_somebody_else(libtabi, tabi, authority, tmp_path):
    """Signed by the right people, for another address; no TLS at all; and nobody whom to trust."""
    files = f"{authority.path('server.pem')} {authority.path('server.key')}"
    tabi(f"listen 127.0.0.2:1443 tls {files}\n" + server(1080))
    program = libtabi.build("tests/lib/streams.c")

    def said(proxy, ca=authority.pem):
        done = libtabi.run(program, "poll", 0, 0, "", proxy, HOST, PORT, env={"CA": ca})
        assert done.returncode == 1 and b"in TLS: TLS failed: " in done.stderr, done
        return done.stderr

    assert b"IP address mismatch" in said("https://127.0.0.2:1443")
    assert said(f"https://{HOST}:1080")
    missing = str(tmp_path / "no")
    assert b"options.tls_ca cannot be read" in said("https://127.0.0.2:1443", missing)


def test_tls_without_the_library(libtabi, tmp_path):
    """Where the system has no OpenSSL 3 it is said before anything is sent."""
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"")
    paths = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    path = [w.split()[-1] for w in paths.splitlines() if "libssl.so.3" in w][0]
    done = libtabi.run(
        libtabi.build("tests/lib/streams.c"), "poll", 0, 0, "", f"https://{HOST}:9", HOST, PORT,
        preexec=lambda: netns.mount_over(nothing, os.path.realpath(path)),
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith(b"TLS failed: "), done
    assert b"file too short" in done.stderr, done


def test_other_forms_of_the_target(libtabi, target, tmp_path):
    """A proxy that takes neither IPv6 nor names gets there by IPv4 in the end."""
    asked = []

    def proxy(sock):
        assert socks.recv_exact(sock, 3) == b"\5\1\0"
        sock.sendall(b"\5\0")
        asked.append(socks.recv_exact(sock, 4)[3])
        sizes = {1: 6, 4: 18}
        size = sizes.get(asked[-1]) or 2 + socks.recv_exact(sock, 1)[0]
        socks.recv_exact(sock, size)
        sock.sendall((b"\5\0" if asked[-1] == 1 else b"\5\x08") + b"\0\1" + bytes(6))
        if asked[-1] == 1:
            sock.sendall(b"there")
        sock.close()

    target(proxy, port=1080)
    hosts = tmp_path / "hosts"
    hosts.write_text("::1 both.test\n127.0.0.1 both.test\n")
    done = libtabi.run(
        libtabi.example("blocking"), f"socks5://{HOST}:1080", "both.test", 80,
        preexec=lambda: netns.mount_over(hosts, "/etc/hosts"),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"there", b""), done
    assert asked == [4, 3, 1]


# ---- one flight ----


class Counter:
    """Passes bytes on and counts the flights: how often the client spoke after it had been answered."""

    def __init__(self, port, to):
        self.flights = []
        self._clients = []
        self.to = to
        self._listener = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            sock, _ = self._listener.accept()
            count = [0, None]
            self.flights.append(count)
            self._clients.append(sock)
            upstream = socket.create_connection(self.to)
            for one in (sock, upstream):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for args in ((sock, upstream, "up"), (upstream, sock, "down")):
                threading.Thread(target=self._pass, args=(count, *args), daemon=True).start()

    def cut(self, number):
        self._clients[number].shutdown(socket.SHUT_RDWR)

    def _pass(self, count, source, sink, way):
        try:
            while data := source.recv(65536):
                if way == "up" and count[1] != "up":
                    count[0] += 1
                count[1] = way
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def http_target(sock):
    request = b""
    while b"\r\n\r\n" not in request and b"end" not in request:
        data = sock.recv(65536)
        if not data:
            break
        request += data
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    sock.close()


ONE_FLIGHT, EARLY = 1, 2


def flights_of_tabi(libtabi, flags, chain, port):
    """From the first byte to the proxy to the first byte of the target."""
    counter = Counter(port, (HOST, 1080))
    program = libtabi.build("tests/lib/oneflight.c")
    done = libtabi.run(program, flags, chain, HOST, PORT, "question, end")
    assert done.returncode == 0 and done.stdout.endswith(b"ok"), done
    return [count for count, _ in counter.flights]


def with_password(tmp_path):
    assert run("passwd", str(tmp_path / "users"), "alice", input="secret\n").returncode == 0
    return server(1080).replace("resolver", f"auth password {tmp_path}/users\nresolver")


def test_flights_of_one_hop(libtabi, tabi, target, tmp_path, client):
    """The figures of libtabi(3): question and answer through SOCKS5, without and with a password."""
    target(http_target)
    plain = tabi(server(1080))
    url = f"socks5h://{HOST}:%d"
    assert flights_of_tabi(libtabi, 0, url % 4001, 4001) == [3]
    assert flights_of_tabi(libtabi, ONE_FLIGHT, url % 4002, 4002) == [2]
    assert flights_of_tabi(libtabi, ONE_FLIGHT | EARLY, url % 4003, 4003) == [1]
    counter = Counter(4004, (HOST, 1080))
    client("curl", "-sS", "-x", url % 4004, f"http://{HOST}:{PORT}/")
    assert [count for count, _ in counter.flights] == [3]
    plain.stop()
    tabi(with_password(tmp_path))
    url = f"socks5h://alice:secret@{HOST}:%d"
    assert flights_of_tabi(libtabi, 0, url % 5001, 5001) == [4]
    assert flights_of_tabi(libtabi, ONE_FLIGHT, url % 5002, 5002) == [2]
    assert flights_of_tabi(libtabi, ONE_FLIGHT | EARLY, url % 5003, 5003) == [1]
    counter = Counter(5004, (HOST, 1080))
    client("curl", "-sS", "-x", url % 5004, f"http://{HOST}:{PORT}/")
    assert [count for count, _ in counter.flights] == [4]


def test_flights_of_a_chain(libtabi, tabi, target, tmp_path, client):
    """Three hops: one flight, where proxychains4 takes seven."""
    target(http_target)
    three(tabi)
    rest = f"socks5h://{HOST}:2080,socks5h://{HOST}:3080"
    assert flights_of_tabi(libtabi, 0, f"socks5h://{HOST}:4001,{rest}", 4001) == [7]
    assert flights_of_tabi(libtabi, ONE_FLIGHT, f"socks5h://{HOST}:4002,{rest}", 4002) == [4]
    both = ONE_FLIGHT | EARLY
    assert flights_of_tabi(libtabi, both, f"socks5h://{HOST}:4003,{rest}", 4003) == [1]
    counter = Counter(4004, (HOST, 1080))
    config = tmp_path / "chains.conf"
    hops = "".join(f"socks5 {HOST} {port}\n" for port in (4004, 2080, 3080))
    config.write_text(f"strict_chain\nquiet_mode\n[ProxyList]\n{hops}")
    client(
        "proxychains4", "-q", "-f", str(config), "curl", "-sS", f"http://{HOST}:{PORT}/"
    )
    assert [count for count, _ in counter.flights] == [7]


def test_a_proxy_that_stumbles_is_asked_again(libtabi, target):
    """microsocks looks at one message at a time; what came with it is lost."""
    target(http_target)
    with microsocks():
        assert flights_of_tabi(libtabi, 0, f"socks5h://{HOST}:4001", 4001) == [3]
        assert flights_of_tabi(libtabi, ONE_FLIGHT, f"socks5h://{HOST}:4002", 4002) == [1, 3]


# ---- other people's proxies ----


class Server:
    """A program that listens at 127.0.0.1:1080, as a context."""

    def __init__(self, *command, **options):
        assert shutil.which(command[0]), f"{command[0]} is not installed"
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    def __enter__(self):
        wait_until(self.listens, what="the proxy to listen")
        return self

    def listens(self):
        assert self.process.poll() is None, "the proxy has ended"
        with socket.socket() as sock:
            return sock.connect_ex((HOST, 1080)) == 0

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def microsocks():
    return Server("microsocks", "-i", HOST, "-p", "1080")


def dante(tmp_path):
    config = tmp_path / "danted.conf"
    config.write_text(
        f"logoutput: {tmp_path}/danted.log\n"
        f"internal: {HOST} port = 1080\nexternal: {HOST}\n"
        "socksmethod: none\nclientmethod: none\n"
        "client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\n"
        "socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0\n"
        "  command: bind connect udpassociate bindreply udpreply }\n"
    )
    return Server("/usr/sbin/danted", "-f", str(config))


@pytest.mark.parametrize("name", EXAMPLES)
def test_dante(libtabi, target, echo, tmp_path, name):
    with dante(tmp_path):
        check_example(libtabi, name, f"socks5h://{HOST}:1080", target, echo)


@pytest.mark.parametrize("name", ("blocking", "pollloop", "libuv"))
def test_microsocks(libtabi, target, echo, name):
    """It has neither UDP nor BIND."""
    with microsocks():
        check_example(libtabi, name, f"socks5h://{HOST}:1080", target, echo)
    with microsocks():
        done = libtabi.run(libtabi.example("udp"), f"socks5h://{HOST}:1080", HOST, PORT)
        assert done.returncode == 1 and b"(reply 7)" in done.stderr, done


@pytest.mark.parametrize("name", ("blocking", "pollloop", "libuv"))
@pytest.mark.parametrize("scheme", ("socks5h", "socks4a"))
def test_ssh_dynamic(libtabi, target, echo, sshd, name, scheme):
    with Server("ssh", *sshd, "-N", "-D", f"{HOST}:1080", HOST):
        check_example(libtabi, name, f"{scheme}://{HOST}:1080", target, echo)


def test_a_chain_of_strangers(libtabi, tabi, target, echo, sshd):
    """ssh -D, then tabi twice."""
    for port in (2080, 3080):
        tabi(server(port))
    chain = f"socks5://{HOST}:1080,http://{HOST}:2080,socks4a://{HOST}:3080"
    with Server("ssh", *sshd, "-N", "-D", f"{HOST}:1080", HOST):
        check_example(libtabi, "blocking", chain, target, echo)


@pytest.mark.parametrize("name", ("blocking", "pollloop", "libuv"))
def test_tor(libtabi, tmp_path, name):
    """A tor that knows no network answers all the same: that it cannot."""
    config = tmp_path / "torrc"
    config.write_text(
        f"SocksPort {HOST}:1080\nDataDirectory {tmp_path}/tor\nSocksTimeout 2\n"
        "ClientOnly 1\nLog warn stderr\n"
        "FallbackDir 127.0.0.1:9 orport=9 id=0000000000000000000000000000000000000001\n"
    )
    with Server("tor", "-f", str(config)):
        for scheme, reply in (("socks5h", b"(reply "), ("socks4a", b"(reply 91)")):
            done = libtabi.run(
                libtabi.example(name), f"{scheme}://user@{HOST}:1080", "example.com", 80
            )
            assert done.returncode == 1 and reply in done.stderr, done


@pytest.mark.timeout(180)
def test_through_tor(libtabi, tabi, target, tmp_path):
    """Circuits of a network of our own, isolated by credentials; alone, and as the first of three."""
    target(answer)
    for port in (2080, 3080):
        tabi(server(port))
    tor = f"socks5h://alone:secret@{HOST}:1080"
    with tornet.TorNetwork(tmp_path / "net", 1080):
        for name in ("blocking", "pollloop", "libuv"):
            program = libtabi.example(name)
            for proxies in (tor, f"{tor},http://{HOST}:2080,socks4a://{HOST}:3080"):
                done = libtabi.run(program, proxies, HOST, PORT, data=QUESTION)
                assert (done.returncode, done.stdout) == (0, QUESTION), done


# ---- Windows ----


@pytest.fixture(scope="session")
def windows(tmp_path_factory):
    """The library alone, built for Windows; and a home for wine."""
    directory = tmp_path_factory.mktemp("windows")
    build = directory / "build"
    cross = os.path.join(ROOT, "tools/mingw64.ini")
    library.output(
        "meson", "setup", "--cross-file", cross, "-Dprogram=false", "-Dwerror=true", str(build), ROOT
    )
    library.output("ninja", "-j1", "-C", str(build))
    return directory


@pytest.fixture
def wine(windows):
    """wine(program, ...) runs a program for Windows. Whatever wine starts besides ends with it."""
    env = {**os.environ, "WINEPREFIX": str(windows / "wine"), "WINEDEBUG": "-all", "HOME": str(windows)}
    # The libraries that it would offer to download are for programs with windows.
    env["WINEDLLOVERRIDES"] = "mscoree,mshtml="

    def call(program, *args, data=b""):
        return subprocess.run(
            ["/usr/lib/wine/wine64", str(windows / "build" / program), *map(str, args)],
            input=data, capture_output=True, timeout=150, env=env,
        )  # fmt: skip

    yield call
    subprocess.run(["/usr/lib/wine/wineserver64", "-k", "-w"], env=env, timeout=30)


@pytest.mark.timeout(200)
def test_windows(windows, wine, tabi, target):
    """Built by the cross file, shared and static, and run against tabi."""
    target(answer)
    for port in (1080, 2080):
        tabi(server(port))
    dll = windows / "build" / "src" / "lib" / "libtabi-0.dll"
    shutil.copy(dll, windows / "build" / "examples")
    # The first call makes wine's folder, and says so.
    wine("examples/winsock.exe")
    for program in ("winsock.exe", "winsock-static.exe"):
        for scheme in ("socks5h", "socks4a", "http"):
            # By its address and by a name, which a thread looks up.
            for host in (HOST, "localhost"):
                proxy = f"{scheme}://{host}:1080"
                done = wine(f"examples/{program}", proxy, HOST, PORT, data=QUESTION)
                assert (done.returncode, done.stdout) == (0, QUESTION), done
    chain = f"http://{HOST}:1080,socks5h://{HOST}:2080"
    done = wine("examples/winsock-static.exe", chain, HOST, 9)
    assert done.returncode == 1
    assert b"connection refused (reply 5)" in done.stderr, done
    done = wine("examples/winsock-static.exe", f"socks5h://{HOST}:9", HOST, 9)
    assert done.returncode == 1 and b"cannot be reached: connection refused" in done.stderr, done
    done = wine("examples/winsock.exe", "socks5h://nobody.invalid:9", HOST, 9)
    assert done.returncode == 1 and b"name has no address" in done.stderr, done
    done = wine("examples/stream.exe", "integrity", f"socks5h://{HOST}:1080", HOST, 9)
    assert done.returncode == 1 and b"this libtabi was built without GSS-API" in done.stderr, done
