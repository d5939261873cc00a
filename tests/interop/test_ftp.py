# SPDX-License-Identifier: MIT
"""FTP in active mode, where the server connects back: what BIND is for. With Dante's socksify as the
SOCKS client, a plain ftp program inside, and a real FTP server."""

import logging
import os
import threading
import warnings

import pytest

with warnings.catch_warnings():
    # It stands on modules that are about to leave Python's library.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import FTPServer

from harness import targets
from interop_helpers import OUTSIDE

PORT = 2121
DOWN = targets.pattern(300_000, "down")
UP = targets.pattern(200_000, "up")


@pytest.fixture
def ftp_server(outside, tmp_path):
    """ftp://198.51.100.7:2121/ for anybody, who may write too; only in active mode. Returns its
    folder."""
    folder = tmp_path / "ftp"
    folder.mkdir()
    (folder / "down").write_bytes(DOWN)
    logging.getLogger("pyftpdlib").setLevel(logging.ERROR)
    authorizer = DummyAuthorizer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that anybody may write
        authorizer.add_anonymous(str(folder), perm="elradfmw")

    class Handler(FTPHandler):
        proto_cmds = {k: v for k, v in FTPHandler.proto_cmds.items() if k not in ("PASV", "EPSV")}

    Handler.authorizer = authorizer
    server = FTPServer((OUTSIDE, PORT), Handler)
    over = threading.Event()

    def serve():
        while not over.is_set():
            server.serve_forever(timeout=0.05, blocking=False)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield folder
    over.set()
    thread.join()
    server.close_all()


@pytest.fixture
def ftp(client, tmp_path):
    """ftp(proxy, protocol, *commands) runs them in one session through the proxy."""

    def run(proxy, protocol, *commands):
        config = tmp_path / "socks.conf"
        config.write_text(
            "logoutput: stderr\n"
            f"route {{\n  from: 0.0.0.0/0 to: 0.0.0.0/0 via: {proxy} port = 1080\n"
            f"  proxyprotocol: {protocol}\n  protocol: tcp\n  command: bind connect\n"
            "  method: none\n}\n"
        )
        script = [f"open {OUTSIDE} {PORT}", "user anonymous me@example.test", "binary", *commands, "quit"]
        return client(
            "socksify", "tnftp", "-A", "-n", "-v", input="\n".join(script + [""]).encode(),
            # The server's address is this host's, which socksify would connect to by itself.
            env={"SOCKS_CONF": os.fspath(config), "SOCKS_AUTOADD_LANROUTES": "no"}, timeout=30,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("protocol, name", (("socks_v4", "socks4"), ("socks_v5", "socks5")))
@pytest.mark.parametrize("proxy", (OUTSIDE, "127.0.0.1"))
def test_active_mode(tabi, ftp_server, ftp, tmp_path, protocol, name, proxy):
    """A list, a file and a file back: each is a connection from the server to the client. socksify
    expects anybody, so the address to come to is the one where the proxy was reached, or the one it
    advertises."""
    (tmp_path / "up").write_bytes(UP)
    listen = f"listen {OUTSIDE}:1080\nlisten 127.0.0.1:1080 advertise {OUTSIDE}\n"
    rules = f"deny command bind to loopback\nallow from 127.0.0.1,{OUTSIDE} to {OUTSIDE}\n"
    program = tabi("workers 1\n" + listen + rules)
    out = ftp(proxy, protocol, "ls", "get down", "put up")
    assert b"down" in out
    targets.check_same((tmp_path / "down").read_bytes(), DOWN)
    targets.check_same((ftp_server / "up").read_bytes(), UP)
    line = program.wait_session(1, command="connect", protocol=name, reason="done")
    assert line["to"] == f"{OUTSIDE}:{PORT}"
    for n in (1, 2, 3):
        line = program.wait_session(n, command="bind", protocol=name, reason="done")
        assert line["peer"].startswith(OUTSIDE + ":")
        assert line["bound"].startswith(OUTSIDE + ":")
