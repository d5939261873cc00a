# SPDX-License-Identifier: MIT
"""TLS from the client's side, over any socket and with every half of its end by itself: what
ssl.SSLSocket does not offer. Quacks like a socket as far as the harness asks for one."""

import socket
import ssl

from harness import socks


def client(ca=None, certificate=None, key=None, version=None):
    """An SSLContext that trusts `ca` alone, or, without one, anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(ca)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Tls:
    """TLS on `sock`, which is connected. `write_size`: of the pieces in which records are sent."""

    def __init__(self, sock, context, name="localhost", write_size=None):
        self.sock, self.write_size, self.ahead = sock, write_size, b""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        try:
            self._do(self.tls.do_handshake)
        except BaseException:
            sock.close()
            raise

    def _flush(self):
        data = self.outgoing.read()
        if self.write_size:
            socks.send_split(self.sock, data, self.write_size)
        elif data:
            self.sock.sendall(data)

    def _do(self, call, *args):
        while True:
            try:
                value = call(*args)
                self._flush()
                return value
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()
            except ssl.SSLError:
                self._flush()
                raise

    def sendall(self, data):
        for at in range(0, len(data), 65536):
            self._do(self.tls.write, data[at : at + 65536])

    def encrypt_all(self, data):
        """The records of `data` and of the end of our half, to be sent by whoever likes."""
        records = []
        # In pieces, for what holds them grows slowly.
        for at in range(0, len(data), 1 << 20):
            self.tls.write(data[at : at + (1 << 20)])
            records.append(self.outgoing.read())
        self._end()
        return b"".join([*records, self.outgoing.read()])

    def recv(self, n):
        """b"" at the end that close_notify tells; another end raises ConnectionResetError."""
        if self.ahead:
            data, self.ahead = self.ahead[:n], self.ahead[n:]
            return data
        try:
            return self._do(self.tls.read, n)
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLEOFError as err:
            raise ConnectionResetError("the stream was cut off") from err

    def _end(self):
        # unwrap() looks for the other's close_notify, too, and takes data in its place for a crime.
        try:
            while True:
                more = self.tls.read(65536)
                self.ahead += more
                if not more:
                    break
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # for the other's close_notify

    def end(self, fin=True):
        """Ends our half: close_notify, then (unless told otherwise) FIN."""
        self._end()
        self._flush()
        if fin:
            self.sock.shutdown(socket.SHUT_WR)

    def shutdown(self, how):
        assert how == socket.SHUT_WR
        self.end()

    def close(self):
        self.sock.close()

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def client_hello():
    """The first record of a handshake."""
    outgoing = ssl.MemoryBIO()
    try:
        client().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()


def dial(proxy, context=None, **options):
    return Tls(socks.dial(proxy), context or client(), **options)


def open5(proxy, host, port, context=None, **options):
    """A connection through SOCKS5 inside TLS; fails unless granted."""
    sock = dial(proxy, context, **options)
    socks.hello5(sock)
    sock.sendall(socks.request5(host, port))
    code, *_ = socks.recv_reply5(sock)
    assert code == 0, f"reply {code}"
    return sock
