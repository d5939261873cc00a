# SPDX-License-Identifier: MIT
"""Clients that are told http_proxy, and fetch http:// URLs without a tunnel."""

import http.server
import subprocess
import threading

import pytest

from harness.config import local
from interop_helpers import NAME, OUTSIDE, OUTSIDE6, PAGE, PASSWORD

PROXY_ENV = {"http_proxy": "http://127.0.0.1:1080", "no_proxy": ""}
USER = f"alice:{PASSWORD.replace('%', '%25').replace(':', '%3A')}"
AUTH_ENV = {"http_proxy": f"http://{USER}@127.0.0.1:1080", "no_proxy": ""}


def requests_of(program):
    """The lines of all forwarded requests, once the program has ended."""
    program.stop()
    found = []
    program.wait_for_log(lambda r: r.event == "request" and found.append(r) or r.event == "stopping:")
    assert found and all(r["verdict"] == "allow" and r["protocol"] == "http" for r in found)
    return found


@pytest.mark.parametrize("host", (NAME, OUTSIDE, f"[{OUTSIDE6}]", "six.example.test"))
def test_curl(tabi, client, web, names, host):
    program = tabi(local())
    url = f"http://{host}:8000/page"
    out = client("curl", "-sS", "-f", "-g", "--max-time", "20", url, url, url, env=PROXY_ENV)
    assert out == 3 * PAGE
    lines = requests_of(program)
    assert [r["to"] for r in lines] == 3 * [f"{host}:8000"]
    # One connection to the proxy carried them.
    assert [r["requests"] for r in program.sessions()] == ["3"]


def test_curl_with_password(tabi, client, web, names, users):
    program = tabi(local(f"auth password {users}"))
    url = f"http://{NAME}:8000/page"
    out = client("curl", "-sS", "-f", "--max-time", "20", url, url, env=AUTH_ENV)
    assert out == 2 * PAGE
    assert [r["user"] for r in requests_of(program)] == ["alice", "alice"]


def test_curl_negotiates_the_password(tabi, client, web, names, users):
    """--proxy-anyauth tries without credentials first, and goes on with the same connection."""
    program = tabi(local(f"auth password {users}"))
    out = client("curl", "-sS", "-f", "--proxy-anyauth", "--max-time", "20",
                 f"http://{NAME}:8000/page", env=AUTH_ENV)  # fmt: skip
    assert out == PAGE
    (line,) = requests_of(program)
    assert line["user"] == "alice"
    assert len(program.sessions()) == 1


def test_curl_without_password(tabi, home, web, names, users):
    program = tabi(local(f"auth password {users}"))
    done = subprocess.run(["curl", "-sS", "-f", f"http://{NAME}:8000/page"],
                          env={**home, **PROXY_ENV}, capture_output=True)  # fmt: skip
    assert done.returncode == 22 and b"407" in done.stderr
    assert web.peers == []
    assert program.wait_session()["reason"] in ("no-method", "client-gone")


@pytest.mark.parametrize("how", ("-T", "chunked", "-d"))
def test_curl_uploads(tabi, client, outside, target, names, how, tmp_path):
    """With Expect: 100-continue, and with a length or in chunks."""
    body = b"0123456789" * 300000
    (tmp_path / "body").write_bytes(body)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self):
            if self.headers["Transfer-Encoding"] == "chunked":
                got = b""
                while size := int(self.rfile.readline(), 16):
                    got += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            else:
                got = self.rfile.read(int(self.headers["Content-Length"]))
            text = b"same" if got == body else b"other"
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((OUTSIDE, 8001), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    program = tabi(local())
    options = {
        "-T": ["-T", "body"],
        "chunked": ["-T", "body", "-H", "Transfer-Encoding: chunked"],
        "-d": ["--data-binary", "@body", "-H", "Expect: 100-continue"],
    }[how]
    url = f"http://{NAME}:8001/x"
    out = client("curl", "-sS", "-f", "--max-time", "30", *options, url, env=PROXY_ENV)
    assert out == b"same"
    server.shutdown()
    server.server_close()
    (line,) = requests_of(program)
    assert int(line["up"]) > len(body)


@pytest.mark.parametrize("env", (PROXY_ENV, AUTH_ENV), ids=("open", "password"))
def test_wget(tabi, client, web, names, users, tmp_path, env):
    program = tabi(local(f"auth password {users}") if env is AUTH_ENV else local())
    url = f"http://{NAME}:8000/"
    client("wget", "-q", "-T", "20", "-t", "1", url + "page", url + "page.html", env=env)
    assert (tmp_path / "page").read_bytes() == (tmp_path / "page.html").read_bytes() == PAGE
    assert len(requests_of(program)) == 2


@pytest.mark.parametrize("env", (PROXY_ENV, AUTH_ENV), ids=("open", "password"))
def test_git_clone(tabi, client, web, names, users, repository, tmp_path, env):
    _, commit = repository
    program = tabi(local(f"auth password {users}") if env is AUTH_ENV else local())
    clone = str(tmp_path / "clone")
    client("git", "clone", "-q", f"http://{NAME}:8000/repo.git", clone, env=env)
    assert client("git", "-C", clone, "rev-parse", "HEAD").decode().strip() == commit
    assert {r["to"] for r in requests_of(program)} == {f"{NAME}:8000"}


def test_apt_updates_from_a_repository(tabi, client, web, names, tmp_path):
    """Without root or the system's state: a repository of one package that is only listed."""
    directory = web.directory / "debian"
    directory.mkdir()
    (directory / "Packages").write_text(
        "Package: tabi-test\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\n"
        "Description: nothing\nFilename: ./x.deb\nSize: 1\nSHA256: " + 64 * "0" + "\n"
    )
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [trusted=yes] http://{NAME}:8000/debian ./\n")
    for name in ("lists/partial", "cache/archives/partial", "status.d"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    (tmp_path / "apt" / "status").touch()
    options = [
        f"Dir::State={tmp_path}/apt", f"Dir::State::lists={tmp_path}/apt/lists",
        f"Dir::State::status={tmp_path}/apt/status", f"Dir::Cache={tmp_path}/apt/cache",
        f"Dir::Etc::sourcelist={sources}", "Dir::Etc::sourceparts=-", "APT::Sandbox::User=",
        "Acquire::http::Proxy=http://127.0.0.1:1080", "Acquire::Languages=none",
        "Acquire::Retries=0", "APT::Update::Error-Mode=any",
    ]  # fmt: skip
    flags = [word for option in options for word in ("-o", option)]
    program = tabi(local())
    client("apt-get", *flags, "update")
    shown = client("apt-cache", *flags, "show", "tabi-test")
    assert b"Package: tabi-test" in shown
    assert any(r["status"] == "200" for r in requests_of(program))
