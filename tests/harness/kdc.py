# SPDX-License-Identifier: MIT
"""A Kerberos of our own: MIT's KDC for two realms that trust each other, on loopback.

The databases are made once for a run; the KDC itself is started by each test, in its network.
"""

import os
import signal
import socket
import subprocess

from harness.tabi import wait_until

REALM, OTHER = "EXAMPLE.ORG", "OTHER.ORG"
PORT = {REALM: 8801, OTHER: 8802}
PASSWORD = "secret"

ENCTYPES = "aes256-cts:normal aes128-cts:normal"


def _krb5_conf(lines=""):
    return f"""\
[libdefaults]
 default_realm = {REALM}
 dns_lookup_realm = false
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
{lines}
[realms]
 {REALM} = {{
  kdc = 127.0.0.1:{PORT[REALM]}
 }}
 {OTHER} = {{
  kdc = 127.0.0.1:{PORT[OTHER]}
 }}
[domain_realm]
 localhost = {REALM}
"""


def _kdc_conf(directory):
    realms = "".join(
        f"""\
 {realm} = {{
  database_name = {directory}/{realm}
  key_stash_file = {directory}/{realm}.stash
  acl_file = {directory}/no-acl
  kdc_listen = 127.0.0.1:{PORT[realm]}
  kdc_tcp_listen = 127.0.0.1:{PORT[realm]}
  supported_enctypes = {ENCTYPES}
 }}
"""
        for realm in (REALM, OTHER)
    )
    log = f"[logging]\n kdc = FILE:{directory}/kdc.log\n"
    return f"[kdcdefaults]\n kdc_tcp_listen_backlog = 100\n[realms]\n{realms}{log}"


class Databases:
    """Made once. What tests change they change in principals of their own."""

    def __init__(self, directory):
        self.directory = str(directory)
        self._write("krb5.conf", _krb5_conf())
        self._write("kdc.conf", _kdc_conf(directory))
        self.environment = {
            **os.environ,
            "KRB5_CONFIG": f"{directory}/krb5.conf",
            "KRB5_KDC_PROFILE": f"{directory}/kdc.conf",
        }
        for realm in (REALM, OTHER):
            self._run("kdb5_util", "-r", realm, "-P", "master", "create", "-s")
            for other in (REALM, OTHER):
                if other != realm:
                    for name in (f"krbtgt/{other}@{realm}", f"krbtgt/{realm}@{other}"):
                        self.admin(realm, f"addprinc -pw trust {name}")
            self.admin(realm, f"addprinc -pw {PASSWORD} alice")
        for name in ("bob", "alice/admin"):
            self.admin(REALM, f"addprinc -pw {PASSWORD} {name}")
        for name in ("rcmd/localhost", "socks/localhost", "host/localhost"):
            self.admin(REALM, f"addprinc -randkey {name}")
        self.keytab("keytab", "rcmd/localhost", "socks/localhost")

    def _write(self, name, text):
        with open(os.path.join(self.directory, name), "w") as f:
            f.write(text)

    def _run(self, *command):
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def admin(self, realm, command):
        return self._run("kadmin.local", "-r", realm, "-q", command)

    def keytab(self, name, *principals, options="-norandkey"):
        """A keytab with the keys of these; returns its path."""
        path = os.path.join(self.directory, name)
        for principal in principals:
            self.admin(REALM, f"ktadd -k {path} {options} {principal}")
        os.chmod(path, 0o600)
        return path


class Kdc:
    """Runs in the network of whoever starts it."""

    def __init__(self, databases):
        self.log = os.path.join(databases.directory, "kdc.log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["krb5kdc", "-n", "-r", REALM, "-r", OTHER],
                env=databases.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(lambda: all(map(_answers, PORT.values())), what="the KDC to listen")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def kinit(environment, principal="alice", *options):
    done = subprocess.run(
        ["kinit", *options, principal], env={**os.environ, **environment},
        input=PASSWORD + "\n", capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
