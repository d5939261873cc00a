# SPDX-License-Identifier: MIT
"""A client that sends TLS records without data, as fast as it can: it has nobody else wait."""

import ctypes
import socket
import threading

from harness import certs, socks
from harness.config import LOCAL, PROXY

TLS_PROXY = ("127.0.0.1", 1443)
UPDATES = 100000


class Libssl:
    """A client of TLS 1.3 by OpenSSL itself, for what Python's ssl cannot send."""

    def __init__(self, sock):
        ssl, crypto = ctypes.CDLL("libssl.so.3"), ctypes.CDLL("libcrypto.so.3")
        for library, name in (
            (ssl, "TLS_client_method"), (ssl, "SSL_CTX_new"), (ssl, "SSL_new"),
            (crypto, "BIO_new"), (crypto, "BIO_s_mem"),
        ):  # fmt: skip
            getattr(library, name).restype = ctypes.c_void_p
        self.lib, self.crypto = ssl, crypto
        # These live as long as the test's process does.
        context = ctypes.c_void_p(ssl.SSL_CTX_new(ctypes.c_void_p(ssl.TLS_client_method())))
        self.ssl = ctypes.c_void_p(ssl.SSL_new(context))
        self.incoming, self.outgoing = self._memory(), self._memory()
        self.buffer = ctypes.create_string_buffer(1 << 16)
        ssl.SSL_set_bio(self.ssl, self.incoming, self.outgoing)
        ssl.SSL_set_connect_state(self.ssl)
        while ssl.SSL_do_handshake(self.ssl) != 1:
            sock.sendall(self.written())
            data = sock.recv(65536)
            assert data
            self.crypto.BIO_write(self.incoming, data, len(data))
        sock.sendall(self.written())

    def _memory(self):
        return ctypes.c_void_p(self.crypto.BIO_new(ctypes.c_void_p(self.crypto.BIO_s_mem())))

    def written(self):
        out = b""
        while True:
            n = self.crypto.BIO_read(self.outgoing, self.buffer, len(self.buffer))
            if n <= 0:
                return out
            out += self.buffer.raw[:n]

    def updates(self, n):
        """So many records that only say that the next one has another key."""
        out = []
        for _ in range(n):
            assert self.lib.SSL_key_update(self.ssl, 0) == 1
            assert self.lib.SSL_do_handshake(self.ssl) == 1
            out.append(self.written())
        return b"".join(out)


def test_records_without_data(tabi, tmp_path):
    """OpenSSL reads on while it gets no data: one client would keep its worker busy for ever, and
    no deadline would end that."""
    ca = certs.Authority(tmp_path)
    ca.server()
    listen = f"listen 127.0.0.1:1443 tls {ca.path('server.pem')} {ca.path('server.key')}\n"
    program = tabi("timeout handshake 60s\n" + LOCAL.replace("resolver", listen + "resolver"))
    sock = socket.create_connection(TLS_PROXY)
    flood = Libssl(sock).updates(UPDATES)

    def send():
        with sock:
            sock.sendall(flood)

    flooder = threading.Thread(target=send)
    flooder.start()
    answered = 0
    while not any(line["listener"] == "127.0.0.1:1443" for line in program.sessions()):
        with socks.dial(PROXY) as other:
            socks.hello5(other)
        answered += 1
    flooder.join()
    assert answered > 20, f"{answered} others were answered before it was over"
    program.wait_session(listener="127.0.0.1:1443", reason="tls-truncated")
