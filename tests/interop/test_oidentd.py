# SPDX-License-Identifier: MIT
"""oidentd, an identd that people run, answers for the clients of its host."""

import os
import pwd
import socket
import subprocess

import pytest

from harness import socks, targets
from harness.config import PROXY, local
from harness.tabi import wait_until

HERE = "127.0.0.2"


def is_up():
    with socket.socket() as sock:
        return sock.connect_ex((HERE, 113)) == 0


@pytest.fixture
def oidentd(tmp_path):
    config = tmp_path / "oidentd.conf"
    # Nobody's own file may make him another, and root is somebody.
    config.write_text("default {\n  default {\n    deny spoof\n    deny hide\n  }\n}\n")
    config.chmod(0o644)
    me = pwd.getpwuid(os.geteuid()).pw_name
    # Without root no program may listen there: in this namespace all may.
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w") as f:
        f.write("113")
    command = ["/usr/sbin/oidentd", "-i", "-S", "-a", HERE, "-C", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: is_up() or process.poll() is not None, 10, "oidentd")
    assert process.poll() is None, process.stderr.read()
    yield me
    process.kill()
    process.wait()


def ask(userid):
    with socket.create_connection(PROXY, 10, (HERE, 0)) as sock:
        sock.sendall(socks.request4("127.0.0.1", 7000, userid))
        return socks.recv_exact(sock, 8)[1]


@pytest.mark.case("S10")
def test_oidentd(tabi, target, oidentd):
    target(targets.echo)
    program = tabi(local(f"auth ident from {HERE}"))
    assert ask(oidentd) == 90
    assert program.wait_session(reason="done")["user"] == oidentd
    assert ask("somebody-else") == 93
