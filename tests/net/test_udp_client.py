# SPDX-License-Identifier: MIT
"""The client's end of UDP ASSOCIATE in proto/, against the server's."""

import os
import subprocess
import threading

import pytest

from harness import socks, udp
from harness.config import LOCAL
from harness.tabi import BINARY, run

CLIENT = os.path.join(os.path.dirname(BINARY), "tests", "net", "udpclient")


def call(*args):
    return subprocess.run([CLIENT, *args], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("proxy", ("socks5://127.0.0.1:1080", "socks5h://[::1]:1080"))
@pytest.mark.parametrize(
    "target, source",
    (
        ("127.0.0.1:7000", "127.0.0.1:7000"),
        ("[::1]:7000", "[::1]:7000"),
        ("echo.test:7000", "127.0.0.1:7000"),
    ),
)
def test_there_and_back(tabi, dns_server, proxy, target, source):
    dns_server({"echo.test": ["127.0.0.1"]})
    program = tabi(LOCAL)
    with udp.Echo("::1" if "[" in target else "127.0.0.1"):
        done = call(proxy, target, "one", "two", "")
    assert done.stdout.splitlines() == [f"{source} {text}" for text in ("one", "two", "")]
    record = program.wait_session(command="udp", reason="done")
    assert record["packets-up"] == record["packets-down"] == "3"
    assert not [name for name in record if name.startswith("drop-")]


def test_with_a_password(tabi, tmp_path):
    run("passwd", str(tmp_path / "users"), "alice", input="secret\n")
    conf = LOCAL.replace("allow from loopback", "auth password users\nallow user alice")
    tabi(conf)
    with udp.Echo():
        done = call("socks5://alice:secret@127.0.0.1:1080", "127.0.0.1:7000", "text")
        assert done.stdout == "127.0.0.1:7000 text\n"
        done = call("socks5://alice:wrong@127.0.0.1:1080", "127.0.0.1:7000", "text")
    assert done.returncode == 1 and "no association" in done.stderr


def test_refused(tabi):
    tabi(LOCAL.replace("allow from", "deny command udp\nallow from"))
    done = call("socks5://127.0.0.1:1080", "127.0.0.1:7000", "text")
    assert done.returncode == 1 and "no association" in done.stderr


@pytest.mark.case("U24")
@pytest.mark.parametrize("told", ("0.0.0.0", "::"))
def test_zeros_stand_for_the_proxy(target, told):
    """A proxy that says 0.0.0.0 is sent to where its connection went."""
    relay = udp.udp_socket()

    def serve(sock):
        assert socks.recv_exact(sock, 3) == b"\5\1\0"
        sock.sendall(b"\5\0")
        assert socks.recv_exact(sock, 10) == b"\5\3\0\1" + bytes(6)
        port = relay.getsockname()[1].to_bytes(2, "big")
        zeros = b"\1" + bytes(4) if told == "0.0.0.0" else b"\4" + bytes(16)
        sock.sendall(b"\5\0\0" + zeros + port)
        sock.recv(1)

    def answer():
        data, client = relay.recvfrom(100)
        relay.sendto(data, client)

    target(serve, port=1080)
    thread = threading.Thread(target=answer)
    thread.start()
    done = call("socks5://127.0.0.1:1080", "192.0.2.1:7000", "text")
    thread.join()
    assert done.stdout == "192.0.2.1:7000 text\n", done.stderr
