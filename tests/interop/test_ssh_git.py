# SPDX-License-Identifier: MIT
"""OpenSSH through netcat's three ways of asking a proxy, and git over both transports."""

import pytest

from harness.config import local
from interop_helpers import NAME, OUTSIDE, PASSWORD, check_line

# Not `nc`: with ncat installed that name may be its.
NC = "nc.openbsd"
LOGIN_TEXT = b"logged in through the proxy\n"


@pytest.mark.parametrize(
    "version, protocol, host",
    (
        ("4", "socks4", OUTSIDE),
        ("5", "socks5", "ssh.example.test"),
        ("5", "socks5", OUTSIDE),
        ("connect", "http", "ssh.example.test"),
        ("connect", "http", OUTSIDE),
    ),
)
def test_login_through_netcat(tabi, client, sshd, names, version, protocol, host):
    program = tabi(local())
    out = client(
        "ssh", *sshd, "-o", f"ProxyCommand={NC} -X {version} -x 127.0.0.1:1080 %h %p", host,
        "cat; head -c 1000000 /dev/zero | wc -c", input=LOGIN_TEXT,
    )  # fmt: skip
    assert out == LOGIN_TEXT + b"1000000\n"
    check_line(program, protocol=protocol, to=f"{host}:2222")


@pytest.mark.parametrize("host", (NAME, OUTSIDE))
def test_git_clone_over_http(tabi, client, web, names, repository, tmp_path, host):
    _, commit = repository
    program = tabi(local())
    client(
        "git", "-c", "http.proxy=socks5h://127.0.0.1:1080", "clone", "-q",
        f"http://{host}:8000/repo.git", str(tmp_path / "clone"),
    )  # fmt: skip
    assert client("git", "-C", str(tmp_path / "clone"), "rev-parse", "HEAD").decode().strip() == commit
    # The dumb transport asks for many files; each connection has its line, and all say the same.
    program.stop()
    assert {r["to"] for r in program.sessions()} == {f"{host}:8000"}
    assert len(program.sessions()) == len(web.peers)


def test_git_clone_over_http_with_password(tabi, client, web, names, repository, users, tmp_path):
    _, commit = repository
    program = tabi(local(f"auth password {users}"))
    user = f"alice:{PASSWORD.replace('%', '%25').replace(':', '%3A')}"
    client(
        "git", "-c", f"http.proxy=socks5h://{user}@127.0.0.1:1080", "clone", "-q",
        f"http://{NAME}:8000/repo.git", str(tmp_path / "clone"),
    )  # fmt: skip
    assert client("git", "-C", str(tmp_path / "clone"), "rev-parse", "HEAD").decode().strip() == commit
    program.stop()
    assert {r["user"] for r in program.sessions()} == {"alice"}


def test_git_clone_and_push_over_ssh(tabi, client, sshd, names, repository, tmp_path):
    bare, commit = repository
    program = tabi(local())
    options = " ".join(f"'{o}'" for o in sshd)
    proxy = f"'ProxyCommand={NC} -X 5 -x 127.0.0.1:1080 %h %p'"
    env = {"GIT_SSH_COMMAND": f"ssh {options} -o {proxy}"}
    clone = str(tmp_path / "clone")
    client("git", "clone", "-q", f"ssh://ssh.example.test:2222{bare}", clone, env=env)
    assert client("git", "-C", clone, "rev-parse", "HEAD").decode().strip() == commit
    check_line(program, protocol="socks5", to="ssh.example.test:2222")
    client("git", "-C", clone, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q",
           "--allow-empty", "-m", "two")  # fmt: skip
    client("git", "-C", clone, "push", "-q", env=env)
    mine = client("git", "-C", clone, "rev-parse", "HEAD")
    assert client("git", "-C", str(bare), "rev-parse", "main") == mine
