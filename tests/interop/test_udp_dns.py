# SPDX-License-Identifier: MIT
"""DNS through UDP ASSOCIATE: dnsmasq as the server, and clients that others wrote.

kdig and drill send by sendto(), which Dante's socksify wraps. dig, host and nslookup do not work in
it: they send by sendmsg() through libuv, so their datagrams come without a header and are dropped as
malformed, as they must be. socksify leaves IPv6 sockets alone, and kdig does not take the answer of
a server that it asked by an invented address, so IPv6 is left to PySocks and names to it and to a
program in socksify that takes an answer from anywhere. proxychains sends UDP past the proxy, and
torsocks refuses to send it.
"""

import os
import subprocess

import pytest

from harness.config import local
from harness.tabi import wait_until
from interop_helpers import OUTSIDE, OUTSIDE6

PORT = 5354
ANSWERS = {"www.test": "192.0.2.80", "ns.test": OUTSIDE, "ns6.test": OUTSIDE6}
LONG = 5  # strings of 200 bytes in a TXT record: more than a plain answer may have


@pytest.fixture
def dnsmasq(outside, tmp_path):
    """A resolver at 198.51.100.7 and 2001:db8::7; returns how many queries it has logged so far for
    a name. tabi asks it as well."""
    log = tmp_path / "dnsmasq.log"
    strings = ",".join("x" * 200 for _ in range(LONG))
    with open(log, "wb") as f:
        server = subprocess.Popen(
            [
                "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=",
                "--user=", "--no-resolv", "--no-hosts", "--log-facility=-", "--log-queries",
                f"--port={PORT}", "--bind-interfaces", f"--listen-address={OUTSIDE},{OUTSIDE6}",
                *(f"--address=/{name}/{address}" for name, address in ANSWERS.items()),
                f"--txt-record=long.test,{strings}", "--edns-packet-max=4096",
            ],
            stderr=f,
        )  # fmt: skip
    wait_until(lambda: "started" in log.read_text(), what="dnsmasq to start")
    yield lambda name: log.read_text().count(f"] {name} from ")
    server.terminate()
    server.wait(10)


@pytest.fixture
def program(tabi, dnsmasq):
    return tabi(local().replace("127.0.0.1:5353", f"{OUTSIDE}:{PORT}"))


@pytest.fixture
def socksify(client, tmp_path):
    def call(*command, names=False):
        config = tmp_path / "socks.conf"
        config.write_text(
            "logoutput: /dev/null\n"
            + ("resolveprotocol: fake\n" if names else "")
            + "route {\n  from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = 1080\n"
            "  proxyprotocol: socks_v5\n  protocol: udp\n  command: udpassociate\n"
            "  method: none\n}\n"
        )
        env = {"SOCKS_CONF": os.fspath(config), "SOCKS_AUTOADD_LANROUTES": "no"}
        return client("socksify", *command, env=env, timeout=30).decode()

    return call


def check(program, packets=1, sessions=1):
    """The datagrams went through associations, each with its answer, and nothing was dropped."""
    program.wait_session(sessions, command="udp", reason="done")
    for record in program.sessions():
        assert record["packets-up"] == record["packets-down"] == str(packets)
        assert not [name for name in record if name.startswith("drop-")]


def test_kdig(program, dnsmasq, socksify):
    out = socksify("kdig", "+noall", "+answer", "-p", str(PORT), f"@{OUTSIDE}", "www.test", "A")
    assert out.split() == ["www.test.", "0", "IN", "A", "192.0.2.80"]
    check(program)
    assert dnsmasq("www.test") == 1


def test_kdig_long_answer(program, socksify):
    out = socksify(
        "kdig", "+noall", "+answer", "+bufsize=4096", "-p", str(PORT), f"@{OUTSIDE}",
        "long.test", "TXT",
    )  # fmt: skip
    assert out.count("x" * 200) == LONG
    check(program)
    assert int(program.sessions()[0]["down"]) > 200 * LONG


def test_drill(program, dnsmasq, socksify):
    out = socksify("drill", "-p", str(PORT), f"@{OUTSIDE}", "www.test")
    assert "www.test.\t0\tIN\tA\t192.0.2.80" in out
    check(program)
    assert dnsmasq("www.test") == 1


def test_dig_is_not_wrapped(program, dnsmasq, home, tmp_path):
    """Its datagram comes naked, and what it begins with is no header: it goes nowhere."""
    config = tmp_path / "socks.conf"
    config.write_text(
        "logoutput: /dev/null\n"
        "route {\n  from: 0.0.0.0/0 to: 0.0.0.0/0 via: 127.0.0.1 port = 1080\n"
        "  proxyprotocol: socks_v5\n  protocol: udp\n  command: udpassociate\n  method: none\n}\n"
    )
    env = {**home, "SOCKS_CONF": os.fspath(config), "SOCKS_AUTOADD_LANROUTES": "no"}
    subprocess.run(
        ["socksify", "dig", "+tries=1", "+time=1", "-p", str(PORT), f"@{OUTSIDE}", "www.test"],
        env=env, capture_output=True, timeout=30,
    )  # fmt: skip
    record = program.wait_session(command="udp", reason="done")
    assert record["packets-up"] == "0" and record["drop-malformed"] == "1"
    assert dnsmasq("www.test") == 0


# A query made by dnspython, from a plain socket to a name: what socksify invents for it goes out as
# the name (ATYP 3), and the answer has the address of who sent it.
ASK_BY_NAME = """
import dns.message, socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(10)
query = dns.message.make_query("www.test", "A")
sock.sendto(query.to_wire(), ("ns.test", %d))
wire, source = sock.recvfrom(4096)
answer = dns.message.from_wire(wire)
assert query.is_response(answer)
print(source[0], answer.answer[0][0])
""" % PORT


def test_socksify_by_name(program, dnsmasq, socksify):
    out = socksify("/usr/bin/python3", "-c", ASK_BY_NAME, names=True)
    assert out.split() == [OUTSIDE, "192.0.2.80"]
    check(program)
    assert dnsmasq("ns.test") >= 1, "the proxy looked the server up"


# argv: the servers to ask, one after the other from one socket. PySocks knows no UDP to a proxy at an
# IPv6 address.
PYSOCKS = """
import dns.message, socket, socks, sys
sock = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
sock.set_proxy(socks.SOCKS5, "127.0.0.1", 1080, rdns=True)
sock.settimeout(10)
for server in sys.argv[1:]:
    query = dns.message.make_query("www.test", "A")
    sock.sendto(query.to_wire(), (server, %d))
    wire, source = sock.recvfrom(4096)
    answer = dns.message.from_wire(wire)
    assert query.is_response(answer)
    print(source[0], answer.answer[0][0])
""" % PORT


def test_pysocks(program, dnsmasq, client):
    """By IPv4, IPv6 and two names, all from one association."""
    servers = (OUTSIDE, OUTSIDE6, "ns.test", "ns6.test")
    out = client("/usr/bin/python3", "-c", PYSOCKS, *servers).decode()
    sources = (OUTSIDE, OUTSIDE6, OUTSIDE, OUTSIDE6)
    assert out.splitlines() == [f"{source} 192.0.2.80" for source in sources]
    check(program, packets=4)
    assert dnsmasq("www.test") == 4
