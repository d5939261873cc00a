# SPDX-License-Identifier: MIT
"""tabi connect with the programs that use such a thing, and with other people's proxies."""

import base64
import contextlib
import getpass
import hashlib
import os
import shutil
import subprocess

import pytest

from harness import netns, targets
from harness.config import LOCAL, local
from harness.connect import connect, environment
from harness.tabi import BINARY, run, wait_until
from interop_helpers import NAME, OUTSIDE, PASSWORD, check_line

SOCKS5 = "socks5h://127.0.0.1:1080"
LOGIN_TEXT = b"logged in through the proxy\n"
MB = 1 << 20


def proxy_command(url=SOCKS5, *words):
    return " ".join((f"ProxyCommand={BINARY} connect -x {url}", *words, "%h %p"))


# ssh and what goes over it, through our own server


@pytest.mark.parametrize("host", ("ssh.example.test", OUTSIDE))
@pytest.mark.parametrize("url", (SOCKS5, "socks4a://127.0.0.1:1080", "http://127.0.0.1:1080"))
def test_login(tabi, client, sshd, names, url, host):
    program = tabi(LOCAL)
    out = client(
        "ssh", *sshd, "-o", proxy_command(url), host,
        "cat; head -c 1000000 /dev/zero | wc -c", input=LOGIN_TEXT,
    )  # fmt: skip
    assert out == LOGIN_TEXT + b"1000000\n"
    check_line(program, to=f"{host}:2222")


def test_login_with_the_descriptor_handed_over(tabi, client, sshd, names):
    program = tabi(LOCAL)
    out = client(
        "ssh", *sshd, "-o", proxy_command(SOCKS5, "-F"), "-o", "ProxyUseFdpass=yes",
        "ssh.example.test", "cat", input=LOGIN_TEXT,
    )  # fmt: skip
    assert out == LOGIN_TEXT
    check_line(program, to="ssh.example.test:2222")


def test_login_through_a_chain_with_passwords(tabi, client, sshd, names, users, tmp_path):
    tabi(local(f"auth password {users}"))
    program = tabi(local(f"auth password {users}").replace("1080", "2080"))
    env = {
        "TABI_PROXY": "http://alice@127.0.0.1:1080,socks5h://alice@127.0.0.1:2080",
        "TABI_PASSWORD": f"{PASSWORD}\n{PASSWORD}",
    }
    out = client(
        "ssh", *sshd, "-o", f"ProxyCommand={BINARY} connect %h %p", "ssh.example.test", "cat",
        input=LOGIN_TEXT, env=env,
    )  # fmt: skip
    assert out == LOGIN_TEXT
    check_line(program, to="ssh.example.test:2222", user="alice")


def test_ssh_tells_what_the_proxy_said(tabi, sshd, home, names):
    tabi(local("deny to any"))
    done = subprocess.run(
        ("ssh", *sshd, "-o", proxy_command(), "ssh.example.test", "true"),
        env=home, capture_output=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 255
    assert b"ssh.example.test:2222: denied by the proxy's rules (reply 2)" in done.stderr


def copy(client, sshd, tmp_path, proxy, size=100 * MB, host="ssh.example.test"):
    """Up and down again, intact."""
    source, there, back = (tmp_path / name for name in ("source", "there", "back"))
    source.write_bytes(targets.pattern(size, "scp"))
    options = [{"-p": "-P", "-l": "-o"}.get(word, word) for word in sshd]
    options[options.index(getpass.getuser())] = f"User={getpass.getuser()}"
    client("scp", "-O", *options, "-o", proxy, str(source), f"{host}:{there}", timeout=150)
    client("scp", "-O", *options, "-o", proxy, f"{host}:{there}", str(back), timeout=150)
    wanted = hashlib.sha256(source.read_bytes()).digest()
    assert hashlib.sha256(there.read_bytes()).digest() == wanted
    assert hashlib.sha256(back.read_bytes()).digest() == wanted
    for path in (source, there, back):
        path.unlink()


@pytest.mark.timeout(300)
def test_scp(tabi, client, sshd, names, tmp_path):
    tabi(LOCAL)
    copy(client, sshd, tmp_path, proxy_command())


def test_git_over_ssh(tabi, client, sshd, names, repository, tmp_path):
    bare, commit = repository
    program = tabi(LOCAL)
    options = " ".join(f"'{o}'" for o in sshd)
    env = {"GIT_SSH_COMMAND": f"ssh {options} -o '{proxy_command()}'"}
    clone = str(tmp_path / "clone")
    client("git", "clone", "-q", f"ssh://ssh.example.test:2222{bare}", clone, env=env)
    assert client("git", "-C", clone, "rev-parse", "HEAD").decode().strip() == commit
    check_line(program, protocol="socks5", to="ssh.example.test:2222")


def test_git_by_its_own_protocol(tabi, client, names, outside, repository, home, tmp_path):
    """core.gitProxy: git says host and port, and talks to the command's standard input and output. It
    takes the name of a program alone."""
    bare, commit = repository
    command = tmp_path / "through"
    command.write_text(f'#!/bin/sh\nexec {BINARY} connect -x {SOCKS5} "$@"\n')
    command.chmod(0o755)
    daemon = subprocess.Popen(
        ("git", "daemon", "--reuseaddr", "--export-all", f"--base-path={bare.parent}",
         f"--listen={OUTSIDE}", "--port=9418"), env=home, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        program = tabi(LOCAL)
        wait_until(lambda: connect("-z", "-D", OUTSIDE, "9418").returncode == 0, what="git daemon")
        clone = str(tmp_path / "clone")
        client(
            "git", "-c", f"core.gitProxy={command}", "clone", "-q",
            "git://www.example.test/repo.git", clone,
        )  # fmt: skip
        assert client("git", "-C", clone, "rev-parse", "HEAD").decode().strip() == commit
        check_line(program, protocol="socks5", to="www.example.test:9418")
    finally:
        daemon.terminate()
        daemon.wait(10)


# Other people's proxies


@contextlib.contextmanager
def serving(port, *command, env=None, **options):
    """Another program's proxy, until the end of the block."""
    assert shutil.which(command[0]), f"{command[0]} is not installed"
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        wait_until(
            lambda: connect("-z", "-D", "127.0.0.1", str(port)).returncode == 0, 20, command[0]
        )
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def hosts(tmp_path):
    """For programs that look names up by libc: a preexec function."""
    path = tmp_path / "hosts"
    path.write_text(
        f"127.0.0.1 localhost\n{OUTSIDE} ssh.example.test {NAME}\n"
    )
    return lambda: netns.mount_over(str(path), "/etc/hosts")


def dante(tmp_path, hosts, home):
    (tmp_path / "danted.conf").write_text(
        """\
internal: 127.0.0.1 port = 1081
external: 127.0.0.1
external: 198.51.100.7
external.rotation: route
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks block { from: 127.0.0.0/8 to: 127.0.0.9/32 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
"""
    )
    words = ("danted", "-f", str(tmp_path / "danted.conf"), "-p", str(tmp_path / "danted.pid"))
    return serving(1081, *words, preexec_fn=hosts)


def microsocks(tmp_path, hosts, home):
    return serving(1081, "microsocks", "-i", "127.0.0.1", "-p", "1081", preexec_fn=hosts)


def ssh_d(tmp_path, hosts, home, sshd):
    words = ("ssh", *sshd, "-N", "-D", "127.0.0.1:1081", OUTSIDE)
    return serving(1081, *words, env=home, preexec_fn=hosts)


def tinyproxy(tmp_path, hosts, home):
    (tmp_path / "tinyproxy.conf").write_text(
        "Port 1081\nListen 127.0.0.1\nTimeout 60\nLogLevel Error\n"
        f'LogFile "{tmp_path}/tinyproxy.log"\nBasicAuth alice s3cret\n'
    )
    return serving(
        1081, "tinyproxy", "-d", "-c", str(tmp_path / "tinyproxy.conf"), preexec_fn=hosts
    )


def ncat(tmp_path, hosts, home):
    words = ("ncat", "-l", "127.0.0.1", "1081", "--proxy-type", "http", "-k")
    return serving(1081, *words, preexec_fn=hosts)


PROXIES = {
    "dante": (dante, ("socks4://127.0.0.1:1081", "socks5h://127.0.0.1:1081")),
    "microsocks": (microsocks, ("socks5h://127.0.0.1:1081",)),
    "ssh -D": (ssh_d, ("socks4a://127.0.0.1:1081", "socks5h://127.0.0.1:1081")),
    "tinyproxy": (tinyproxy, ("http://alice:s3cret@127.0.0.1:1081",)),
    "ncat": (ncat, ("http://127.0.0.1:1081",)),
}


def host_for(name):
    """sshd, which looks up the names of `ssh -D`, knows none."""
    return OUTSIDE if name == "ssh -D" else "ssh.example.test"


@pytest.mark.parametrize("name", PROXIES)
def test_login_through_others(client, sshd, home, hosts, tmp_path, name):
    make, urls = PROXIES[name]
    more = (sshd,) if name == "ssh -D" else ()
    with make(tmp_path, hosts, home, *more):
        for url in urls:
            host = OUTSIDE if url.startswith("socks4:") else host_for(name)
            out = client("ssh", *sshd, "-o", proxy_command(url), host, "cat", input=LOGIN_TEXT)
            assert out == LOGIN_TEXT, url


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROXIES)
def test_scp_through_others(client, sshd, home, hosts, tmp_path, name):
    make, urls = PROXIES[name]
    more = (sshd,) if name == "ssh -D" else ()
    with make(tmp_path, hosts, home, *more):
        copy(client, sshd, tmp_path, proxy_command(urls[-1]), 16 * MB, host_for(name))


@pytest.mark.parametrize("name", ("dante", "microsocks", "ssh -D"))
def test_git_through_others(client, sshd, home, hosts, repository, tmp_path, name):
    bare, commit = repository
    make, urls = PROXIES[name]
    more = (sshd,) if name == "ssh -D" else ()
    options = " ".join(f"'{o}'" for o in sshd)
    env = {"GIT_SSH_COMMAND": f"ssh {options} -o '{proxy_command(urls[-1])}'"}
    clone = str(tmp_path / "clone")
    with make(tmp_path, hosts, home, *more):
        client("git", "clone", "-q", f"ssh://{host_for(name)}:2222{bare}", clone, env=env)
    assert client("git", "-C", clone, "rev-parse", "HEAD").decode().strip() == commit
