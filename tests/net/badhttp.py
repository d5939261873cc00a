# SPDX-License-Identifier: MIT
"""A small HTTP proxy that knows CONNECT and does everything right, but for the habits it is given."""

import base64
import re
import socket

from badsocks import BadSocks

HEAD_MAX = 16384
REASONS = {200: "OK", 400: "Bad", 407: "Who?", 500: "Oh", 501: "What?", 502: "No way", 505: "Version"}


class Refused(Exception):
    """With the status."""


class Waiting(Exception):
    """For more, that will not come."""


class BadHttp(BadSocks):
    """BadHttp(habit, ..., login="user:password"): `login` is asked for."""

    def __init__(self, *habits, login=None):
        self.login = login
        self.ports = {}
        super().__init__(*habits)

    def _converse(self, sock):
        if self.has("silent"):
            self._wait_for_end(sock)
        elif self.has("endless"):
            self._pour(sock)
        else:
            rest = b""
            while True:
                head, rest = self._read_head(sock, rest)
                try:
                    self._serve_head(sock, head, rest)
                    return
                except Waiting:
                    self._wait_for_end(sock)
                    return
                except Refused as refused:
                    if not self._answer(sock, refused.args[0]):
                        return

    def _read_head(self, sock, data):
        """The head and what is behind it; or as bad servers do it, what one recv() gives."""
        data = self._begin(data)
        while b"\r\n\r\n" not in data:
            more = sock.recv(65536)
            if not more or (len(data) > HEAD_MAX and not self.has("hoards")):
                raise EOFError
            data = self._begin(data + more)
            if self.has("one-recv"):
                head, _, _ = data.partition(b"\r\n\r\n")
                return head, b""
            # Nothing of HTTP comes out of these.
            if not re.match(rb"[!-~]*( |$)", data) and not self.has("waits"):
                raise EOFError
            if b"\r\n " in data and self.has("stops-at-folds"):
                self._wait_for_end(sock)
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def _begin(self, data):
        return data if self.has("no-empty-line") else data.lstrip(b"\r\n")

    def _serve_head(self, sock, head, rest):
        method, target, fields = self._parse(head)
        if method != b"CONNECT" and not self.has("any-method"):
            raise Refused(501)
        allowed = self._may(fields)
        if not allowed and not self.has("connects-anyway"):
            raise Refused(407)
        host, port = self._target(target)
        if self.has("grants-first"):
            self._grant(sock)
        try:
            other = socket.create_connection((host, port), 5)
        except (OSError, UnicodeError):
            raise Refused(500 if self.has("vague") else 502)
        self.ports[host] = port
        other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.has("grants-first"):
            self._grant(sock)
        other.sendall(rest)
        self._relay(sock, other)

    def _parse(self, head):
        lines = head.decode("latin-1").split("\r\n")
        if self.has("nul"):
            lines[0] = re.sub("\0.* ", " ", lines[0])
        words = lines[0].split(" ")
        if len(words) != 3 or any(c < "!" or c > "~" for c in "".join(words)):
            if self.has("waits"):
                raise Waiting
            raise Refused(400)
        if words[2] == "HTTP/2.0" and self.has("waits"):
            raise Waiting
        if not re.fullmatch(r"HTTP/1\.[01]", words[2]) and not self.has("any-version"):
            raise Refused(505)
        fields = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not self.has("lenient") and (not colon or not name or name != name.strip()):
                raise Refused(400)
            fields.setdefault(name.strip().lower(), []).append(value.strip())
        hosts = len(fields.get("host", ()))
        if not self.has("lenient") and (hosts > 1 or (hosts == 0 and words[2] == "HTTP/1.1")):
            raise Refused(400)
        if self.has("strict-host") and fields.get("host", words[1:2]) != words[1:2]:
            raise Refused(400)
        if self.has("no-http10") and words[2] == "HTTP/1.0":
            raise Refused(505)
        return words[0].encode(), words[1], fields

    def _target(self, target):
        pattern = r"(\[[^]]*\]|[A-Za-z0-9.-]+):(\d+)" + (".*" if self.has("atoi") else "")
        if self.has("userinfo"):
            target = target.rpartition("@")[2]
        found = re.fullmatch(pattern, target)
        if self.has("last-port") and not (found and 0 < int(found[2]) < 65536):
            host = re.match(r"(\[[^]]*\]|[^:]*)", target)[1].strip("[]")
            return host, self.ports.get(host, 1)
        if not found or not 0 < int(found[2]) < 65536:
            raise Refused(400)
        host, port = found[1].strip("[]"), int(found[2])
        if (host in ("0.0.0.0", "::") and not self.has("anywhere")) or host.startswith("224."):
            raise Refused(400)
        return host, port

    def _may(self, fields):
        if not self.login:
            return True
        scheme, _, code = (fields.get("proxy-authorization") or [""])[-1].partition(" ")
        if (scheme if self.has("capitals") else scheme.capitalize()) != "Basic":
            return False
        try:
            given = base64.b64decode(code, validate=True).decode("latin-1")
        except ValueError:
            return False
        if self.has("c-string"):
            given = given.partition("\0")[0]
        if self.has("prefix"):
            return bool(given) and self.login.startswith(given)
        return given == self.login

    def _grant(self, sock):
        length = "Content-Length: 0\r\n" if self.has("length") else ""
        extra = "!" if self.has("extra-byte") else ""
        sock.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n{extra}".encode())

    def _answer(self, sock, status):
        """Returns whether another request may follow."""
        fields = "" if self.has("no-length") else "Content-Length: 3\r\n"
        if status == 407 and not self.has("no-challenge"):
            fields += 'Proxy-Authenticate: Basic realm="x"\r\n'
        if self.has("closes") or self.has("says-close"):
            fields += "Connection: close\r\n" if self.has("says-close") else ""
        sock.sendall(f"HTTP/1.1 {status} {REASONS[status]}\r\n{fields}\r\nno\n".encode())
        if self.has("no-length"):
            self._wait_for_end(sock)
        return not (self.has("closes") or self.has("says-close") or status in (400, 505))
