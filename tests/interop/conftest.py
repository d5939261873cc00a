# SPDX-License-Identifier: MIT
"""What the real clients talk to: a web server, an SSH server, a repository."""

import getpass
import http.server
import os
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest

from harness import kdc, library, netns
from harness.tabi import run, wait_until
from interop_helpers import NAMES, OUTSIDE, OUTSIDE6, PAGE, PASSWORD

class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address, directory):
        self.address_family = (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        self.peers = []
        super().__init__(address, lambda *a: _Handler(*a, directory=directory))

    def process_request(self, request, client_address):
        self.peers.append(client_address[:2])
        super().process_request(request, client_address)


@pytest.fixture
def outside(network):
    netns.add_address(OUTSIDE)
    netns.add_address(OUTSIDE6)
    return OUTSIDE


@pytest.fixture
def web(outside, tmp_path):
    """The page at http://198.51.100.7:8000/page and at [2001:db8::7]:8000, whose server remembers
    its peers."""
    directory = tmp_path / "www"
    directory.mkdir()
    (directory / "page").write_bytes(PAGE)
    (directory / "page.html").write_bytes(PAGE)
    servers = [_Server((address, 8000), str(directory)) for address in (OUTSIDE, OUTSIDE6)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    servers[0].directory = directory
    yield servers[0]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def names(dns_server):
    return dns_server(NAMES)


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    done = run("passwd", str(path), "alice", input=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def home(tmp_path):
    """An environment in which no client finds anybody's settings."""
    directory = tmp_path / "home"
    directory.mkdir()
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TABI")}
    return {**keep, "HOME": str(directory), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def client(home, tmp_path):
    """client(program, ...) runs a real client to its end and returns its standard output."""

    def call(*command, env=None, timeout=60, input=None):
        # Not there is a failure, not a reason to skip: ./test installs them all.
        assert shutil.which(command[0]), f"{command[0]} is not installed"
        done = subprocess.run(
            command,
            env={**home, **(env or {})},
            cwd=tmp_path,
            input=input,
            capture_output=True,
            timeout=timeout,
        )
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    return call


@pytest.fixture
def sshd(outside, tmp_path, home):
    """An SSH server of our own at 198.51.100.7:2222; returns the options with which ssh logs in."""
    directory = tmp_path / "sshd"
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True
        )
    (directory / "authorized").write_bytes((directory / "user.pub").read_bytes())
    (directory / "config").write_text(
        f"""\
ListenAddress {OUTSIDE}
ListenAddress 127.0.0.1
Port 2222
HostKey {directory}/host
AuthorizedKeysFile {directory}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
PidFile none
LogLevel VERBOSE
"""
    )
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    log = open(directory / "log", "wb")
    server = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", directory / "config"], stderr=log
    )
    wait_until(
        lambda: b"Server listening on " + OUTSIDE.encode() in (directory / "log").read_bytes(),
        what="sshd to listen",
    )
    yield [
        "-F", "none", "-p", "2222", "-i", str(directory / "user"), "-l", getpass.getuser(),
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
    ]  # fmt: skip
    server.terminate()
    server.wait(10)
    log.close()


@pytest.fixture
def repository(tmp_path, home):
    """A bare repository with one commit; returns (path, commit id)."""
    bare, work = tmp_path / "www" / "repo.git", tmp_path / "work"
    bare.parent.mkdir(exist_ok=True)

    def git(*args):
        done = subprocess.run(["git", *args], env=home, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    git("init", "-q", "-b", "main", str(work))
    (work / "file").write_text("tabi\n" * 1000)
    git("-C", str(work), "add", "file")
    git("-C", str(work), "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one")
    git("clone", "-q", "--bare", str(work), str(bare))
    git("-C", str(bare), "update-server-info")
    return bare, git("-C", str(work), "rev-parse", "HEAD")


@pytest.fixture(scope="session")
def databases():
    # Workers, who may be nobody, read the krb5.conf in it.
    with tempfile.TemporaryDirectory(prefix="tabi-kdc-") as directory:
        os.chmod(directory, 0o755)
        yield kdc.Databases(directory)


@pytest.fixture
def kerberos(network, databases, tmp_path, monkeypatch):
    """A KDC, and alice's ticket in the environment; its `keytab` is of rcmd and socks."""
    server = kdc.Kdc(databases)
    for name in ("KRB5_CONFIG", "KRB5_KDC_PROFILE"):
        monkeypatch.setenv(name, databases.environment[name])
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/cache")
    kdc.kinit({})
    server.keytab = databases.directory + "/keytab"
    yield server
    server.stop()


@pytest.fixture(scope="session")
def libtabi(tmp_path_factory):
    """The library, installed; it builds programs with what pkg-config says of it."""
    library.check_tools()
    return library.Library(tmp_path_factory.mktemp("libtabi"))
