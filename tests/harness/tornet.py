# SPDX-License-Identifier: MIT
"""A Tor of our own on loopback: three relays, which are also the authorities, and a client."""

import os
import re
import subprocess

from harness.tabi import wait_until

HOST = "127.0.0.1"
RELAYS = (1, 2, 3)

COMMON = """\
TestingTorNetwork 1
AssumeReachable 1
Address 127.0.0.1
ShutdownWaitLength 0
Log notice file {directory}/log
DataDirectory {directory}
ServerDNSDetectHijacking 0
ServerDNSAllowBrokenConfig 1
PathsNeededToBuildCircuits 0.25
ClientRejectInternalAddresses 0
ClientDNSRejectInternalAddresses 0
EnforceDistinctSubnets 0
AuthDirMaxServersPerAddr 0
"""
RELAY = """\
Nickname relay{n}
ORPort 127.0.0.1:500{n} IPv4Only
DirPort 127.0.0.1:700{n}
SocksPort 0
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
ContactInfo nobody@example.test
ExitRelay 1
ExitPolicyRejectPrivate 0
ExitPolicy accept *:*
IPv6Exit 1
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
TestingV3AuthInitialVotingInterval 10
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingMinExitFlagThreshold 0
"""


def _output(*command, data=""):
    return subprocess.run(
        command, input=data, capture_output=True, text=True, timeout=60, check=True
    ).stdout


class TorNetwork:
    """As a context: within it there is a SOCKS port at 127.0.0.1:`port`, and circuits; at `http`, if
    that is said, CONNECT. The exits, who may go anywhere, look names up as the file `resolv` says."""

    def __init__(self, directory, port, resolv="/etc/resolv.conf", http=None):
        self.directory = str(directory)
        self.processes = []
        self.common = COMMON + f"ServerDNSResolvConfFile {resolv}\n"
        authorities = "".join(self._keys(n) for n in RELAYS)
        for n in RELAYS:
            self._configure(f"relay{n}", authorities + RELAY.format(n=n))
        ports = f"SocksPort {HOST}:{port}\n" + (f"HTTPTunnelPort {HOST}:{http}\n" if http else "")
        self._configure("client", authorities + ports)

    def _path(self, *names):
        return os.path.join(self.directory, *names)

    def _configure(self, name, text):
        os.makedirs(self._path(name), 0o700, exist_ok=True)
        with open(self._path(name, "torrc"), "w") as f:
            f.write(self.common.format(directory=self._path(name)) + text)

    def _keys(self, n):
        """Makes those of an authority; returns the line by which the others know it."""
        directory = self._path(f"relay{n}")
        keys = os.path.join(directory, "keys", "authority_")
        os.makedirs(os.path.dirname(keys), 0o700)
        os.chmod(directory, 0o700)
        _output(
            "tor-gencert", "--create-identity-key", "--passphrase-fd", "0", "-m", "12",
            "-a", f"{HOST}:700{n}", "-i", keys + "identity_key", "-s", keys + "signing_key",
            "-c", keys + "certificate", data="passphrase\n",
        )  # fmt: skip
        with open(keys + "certificate") as f:
            identity = re.search(r"^fingerprint (\S+)", f.read(), re.MULTILINE)[1]
        # A testing network is none before its authorities are known.
        torrc = self._path(f"relay{n}", "torrc")
        with open(torrc, "w") as f:
            f.write(f"Nickname relay{n}\nORPort {HOST}:500{n} IPv4Only\nDataDirectory {directory}\n")
        listed = _output("tor", "--list-fingerprint", "--quiet", "-f", torrc)
        fingerprint = listed.split(" ", 1)[1].replace(" ", "").strip()
        return (
            f"DirAuthority relay{n} orport=500{n} no-v2 v3ident={identity} {HOST}:700{n}"
            f" {fingerprint}\n"
        )

    def _bootstrapped(self):
        assert all(p.poll() is None for p in self.processes), "a tor has ended"
        try:
            with open(self._path("client", "log")) as f:
                return "Bootstrapped 100%" in f.read()
        except FileNotFoundError:
            return False

    def __enter__(self):
        for name in [f"relay{n}" for n in RELAYS] + ["client"]:
            self.processes.append(
                subprocess.Popen(["tor", "--quiet", "-f", self._path(name, "torrc")])
            )
        wait_until(self._bootstrapped, 80, "tor to have circuits")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
