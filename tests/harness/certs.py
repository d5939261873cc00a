# SPDX-License-Identifier: MIT
"""Certificates for the tests, made by openssl."""

import os
import subprocess

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def _openssl(*args):
    subprocess.run(("openssl", *args), check=True, capture_output=True, timeout=30)


class Authority:
    """Signs. Files are NAME.pem and NAME.key in its directory; its own are ca.pem and ca.key."""

    def __init__(self, directory, name="ca"):
        self.directory, self.name = str(directory), name
        _openssl("req", "-x509", *_KEY, "-keyout", self.path(name + ".key"), "-out",
                 self.path(name + ".pem"), "-subj", "/CN=authority " + name, "-days", "30")
        self.pem = self.path(name + ".pem")

    def path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, name, subject=None, names=None, days=10, purpose=None):
        """Returns (certificate, key). `subject` as openssl wants it, `names` a subjectAltName."""
        pem, key, csr, ext = (self.path(name + end) for end in (".pem", ".key", ".csr", ".ext"))
        subject = f"/CN={name}" if subject is None else subject
        _openssl("req", "-utf8", *_KEY, "-keyout", key, "-out", csr, "-subj", subject)
        with open(ext, "w") as f:
            f.write("basicConstraints=CA:FALSE\n")
            if names:
                f.write(f"subjectAltName={names}\n")
            if purpose:
                f.write(f"extendedKeyUsage={purpose}\n")
        _openssl("x509", "-req", "-in", csr, "-CA", self.pem, "-CAkey",
                 self.path(self.name + ".key"), "-CAcreateserial", "-days", str(days),
                 "-extfile", ext, "-out", pem)
        os.chmod(key, 0o600)
        return pem, key

    def server(self, name="server"):
        return self.issue(name, names="DNS:localhost,DNS:proxy.test,IP:127.0.0.1")
