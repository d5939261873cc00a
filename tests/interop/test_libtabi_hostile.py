# SPDX-License-Identifier: MIT
"""What a program that uses libtabi can rely on, whatever a proxy does and whatever it does itself:
tests/lib/hostile.c against proxies of the test's own."""

import contextlib
import socket
import struct
import threading
import time

import pytest

HOST = "127.0.0.1"
OK = b"\x05\x00\x00\x01" + bytes(6)
AGAIN, STATE, RESOLVE, IO, TLS = -16, -3, -4, -6, -14


@contextlib.contextmanager
def proxy(serve):
    """A SOCKS5 proxy that has said nothing yet; serve() gets each connection. Its URL."""
    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=quietly, args=(sock,), daemon=True).start()

    def quietly(sock):
        with sock, contextlib.suppress(OSError):
            serve(sock)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"{HOST}:{port}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def greet(sock, reply=OK):
    sock.recv(100)
    sock.sendall(b"\x05\x00")
    sock.recv(300)
    sock.sendall(reply)


def hostile(libtabi, how, url, **options):
    done = libtabi.run(libtabi.build("tests/lib/hostile.c"), how, url, **options)
    assert (done.returncode, done.stderr) == (0, b""), done
    return done.stdout.decode().strip()


def talks_without_end(sock):
    """Where nothing has to be said any more, as fast as it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as relay:
        relay.bind((HOST, 0))
        greet(sock, OK[:8] + struct.pack(">H", relay.getsockname()[1]))
        much = bytes(1 << 22)
        while True:
            sock.sendall(much)


def test_a_proxy_that_talks_does_not_keep_datagrams_waiting(libtabi):
    with proxy(talks_without_end) as at:
        assert hostile(libtabi, "deadline", f"socks5://{at}") == f"{AGAIN} in time"


def test_last_words_are_heard_after_sending_has_failed(libtabi):
    """A server that refuses an upload says so and hangs up; who still sends is reset."""

    def refuses(sock):
        greet(sock)
        sock.recv(1)
        sock.sendall(b"too much")

    with proxy(refuses) as at:
        first, heard = hostile(libtabi, "words", f"socks5://{at}").split("\n")
        assert (first, heard) == (f"{IO} {IO} 1", "too much")


def test_nothing_is_sent_after_the_end(libtabi):
    def answers_the_end(sock):
        greet(sock)
        assert sock.recv(1) == b""
        sock.sendall(b"answer")

    with proxy(answers_the_end) as at:
        assert hostile(libtabi, "ended", f"socks5://{at}") == f"0 {STATE} 0 0 answer"


@pytest.mark.parametrize("user", ("u", "%40" * 255))
def test_a_user_in_the_url_is_not_asked_for(libtabi, user):
    assert hostile(libtabi, "asked", f"socks5://{user}:p@{HOST}") == "0"
    assert hostile(libtabi, "asked", f"socks5://{user}:p@{HOST},http://{HOST}") == "1"


def test_no_proxy_at_all_is_not_the_environments(libtabi):
    program = libtabi.build("tests/lib/hostile.c")
    for name in ("TABI_PROXY", "ALL_PROXY"):
        done = libtabi.run(program, "asked", "", env={name: f"socks5://{HOST}"})
        assert done.returncode == 1 and b"no proxy was named" in done.stderr, done


def test_too_many_open_files_are_called_that(libtabi):
    """And not a name without an address alone, which would be looked for in the wrong place."""
    done = libtabi.run(libtabi.build("tests/lib/hostile.c"), "full", "socks5://nowhere.test")
    assert (done.returncode, done.stdout) == (1, f"{RESOLVE} 1\n".encode()), done
    assert b"too many open files" in done.stderr


def test_a_failure_of_tls_is_not_left_to_the_program(libtabi):
    """SSL_get_error() of the program's own sessions looks at the same list."""
    with proxy(lambda sock: sock.sendall(b"no TLS here\n" * 10)) as at:
        assert hostile(libtabi, "queue", f"https://{at}") == f"{TLS} 0"


def test_a_child_that_frees_its_copy_does_no_harm(libtabi):
    """What stands for several attempts is one descriptor for parent and child."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("0.0.0.0", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        # Nobody else gets in until these have been accepted.
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((HOST, port))

        def accept_late():
            time.sleep(0.7)
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    threading.Thread(target=serve, args=(sock,), daemon=True).start()

        def serve(sock):
            with sock, contextlib.suppress(OSError):
                greet(sock)

        threading.Thread(target=accept_late, daemon=True).start()
        assert hostile(libtabi, "fork", f"socks5://both.test:{port}") == "1 0"
        listener.shutdown(socket.SHUT_RDWR)
