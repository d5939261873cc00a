# SPDX-License-Identifier: MIT
"""The servers of doc/conformance.md, and how each is started with rules that allow everything."""

import contextlib
import getpass
import os
import shutil
import subprocess
import typing

from harness import certs, netns, tornet
from harness.tabi import BINARY, Tabi, wait_until

PORT, HTTP_PORT = 1080, 8080
ALICE = "alice:secret@"

DANTED = """\
logoutput: {dir}/log
internal: 127.0.0.1 port = 1080
external: 127.0.0.1
external: ::1
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 command: bind connect udpassociate }}
socks pass {{ from: 0/0 to: 0/0 command: bindreply udpreply }}
"""
SSHD = """\
ListenAddress 127.0.0.1
Port 2222
HostKey {dir}/host
AuthorizedKeysFile {dir}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
"""
TINYPROXY = """\
Port 1080
Listen 127.0.0.1
Timeout 600
MaxClients 300
Allow 127.0.0.1
LogFile "{dir}/tinyproxy.log"
"""


def listens(port):
    """Does somebody of this network, by TCP?"""
    with open("/proc/net/tcp") as f:
        return any(
            fields[1].endswith(f":{port:04X}") and fields[3] == "0A"
            for fields in (line.split() for line in f.readlines()[1:])
        )


class Processes:
    """Of one server; all end with it."""

    def __init__(self, directory):
        self.directory = directory
        self.started = []
        self.resolv = os.path.join(directory, "resolv.conf")
        with open(self.resolv, "w") as f:
            f.write("nameserver 127.0.0.1\n")

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text.format(dir=self.directory))
        return path

    def start(self, *command, port):
        with open(os.path.join(self.directory, "output"), "ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: netns.mount_over(self.resolv, "/etc/resolv.conf"),
            )
        self.started.append(process)
        wait_until(lambda: listens(port) or process.poll() is not None, 15, f"{command[0]}")
        assert process.poll() is None, f"{command[0]} ended: see {log.name}"

    def stop(self):
        for process in reversed(self.started):
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def processes(directory):
    all_of_them = Processes(directory)
    try:
        yield all_of_them
    finally:
        all_of_them.stop()


# ---- the servers: each yields who we are, as a URL has it ----


@contextlib.contextmanager
def start_tabi(directory, statements, user=""):
    program = Tabi(
        directory, f"listen 127.0.0.1:1080\nresolver 127.0.0.1:53\n{statements}\nallow all\n"
    )
    try:
        yield user
    finally:
        program.stop()


def tabi(directory):
    return start_tabi(directory, "")


def tabi_password(directory):
    path = os.path.join(directory, "users")
    subprocess.run(
        [BINARY, "passwd", path, "alice"], input="secret\n", text=True, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return start_tabi(directory, "auth password users", ALICE)


@contextlib.contextmanager
def run_program(directory, *command, user=""):
    with processes(directory) as p:
        p.start(*command, port=PORT)
        yield user


@contextlib.contextmanager
def dante(directory):
    with processes(directory) as p:
        p.start("danted", "-f", p.write("danted.conf", DANTED), "-N", "1", port=PORT)
        yield ""


MICROSOCKS = ("microsocks", "-i", "127.0.0.1", "-p", str(PORT))


def microsocks(directory):
    return run_program(directory, *MICROSOCKS)


def microsocks_password(directory):
    return run_program(directory, *MICROSOCKS, "-u", "alice", "-P", "secret", user=ALICE)


NCAT = ("ncat", "-l", "--proxy-type", "http", "127.0.0.1", str(PORT))


def ncat(directory):
    return run_program(directory, *NCAT)


def ncat_password(directory):
    return run_program(directory, *NCAT, "--proxy-auth", "alice:secret", user=ALICE)


@contextlib.contextmanager
def tinyproxy(directory, words="", user=""):
    with processes(directory) as p:
        p.start("tinyproxy", "-d", "-c", p.write("tinyproxy.conf", TINYPROXY + words), port=PORT)
        yield user


def tinyproxy_password(directory):
    return tinyproxy(directory, "BasicAuth alice secret\n", ALICE)


def start_sshd(p):
    """Its user's key is `user`."""
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{p.directory}/{name}"], check=True
        )
    shutil.copy(f"{p.directory}/user.pub", f"{p.directory}/authorized")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    p.start("/usr/sbin/sshd", "-D", "-e", "-f", p.write("sshd_config", SSHD), port=2222)


@contextlib.contextmanager
def ssh(directory):
    with processes(directory) as p:
        start_sshd(p)
        p.start(
            "ssh", "-F", "none", "-N", "-D", f"127.0.0.1:{PORT}", "-p", "2222",
            "-i", f"{directory}/user", "-l", getpass.getuser(),
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "BatchMode=yes", "127.0.0.1", port=PORT,
        )  # fmt: skip
        yield ""


@contextlib.contextmanager
def tor(directory):
    """A network of its own, the exits in this one."""
    with processes(directory) as p:
        with tornet.TorNetwork(f"{directory}/net", PORT, p.resolv, HTTP_PORT):
            yield ""


# ---- the same, of what ./test does not install ----

STUNNEL = """\
foreground = yes
pid =
[socks]
protocol = socks
accept = 127.0.0.1:1080
cert = {dir}/server.pem
key = {dir}/server.key
"""
SQUID = """\
http_port 127.0.0.1:1080
http_access allow all
pid_filename none
cache_log {dir}/cache.log
access_log none
cache deny all
coredump_dir {dir}
"""
HPSOCKD = """\
daemon {{
    name "hpsockd"; listen-address {{ 127.0.0.1; }}; port 1080;
    directory "{dir}"; negotiate-file "negotiate"; user "nobody";
}};
logging {{ level 0; }};
route {{ {{ default "lo"; }}; }};
method-list {{
    {{ number 0; name "noAuth"; internal; flags 0; }};
    {{ number 254; name "v4"; internal; flags 0; }};
}};
client-method {{ {{ src {{ default; }}; method {{ "v4"; "noAuth"; }}; }}; }};
client {{ permit {{ src {{ 127.0.0.0/8; }}; }}; }};
"""
V2RAY = """\
{{"log": {{"loglevel": "warning"}},
 "inbounds": [
  {{"listen": "127.0.0.1", "port": 1080, "protocol": "socks", "settings": {{"udp": true, "ip": "127.0.0.1"}}}},
  {{"listen": "127.0.0.1", "port": 8080, "protocol": "http"}}],
 "outbounds": [{{"protocol": "freedom"}}]}}
"""
PRIVOXY = """\
confdir {dir}
logdir {dir}
logfile privoxy.log
listen-address 127.0.0.1:1080
enable-remote-toggle 0
"""


def twistd_socks(directory):
    """It knows SOCKS4, and nothing else."""
    return run_program(
        directory, "twistd3", "--nodaemon", "--pidfile=", "--rundir", directory,
        "socks", "--interface", "127.0.0.1", "--port", str(PORT),
    )  # fmt: skip


def fingerprint(public_key):
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", public_key], capture_output=True, text=True, check=True
    )
    return done.stdout.split()[1]


@contextlib.contextmanager
def plink(directory):
    with processes(directory) as p:
        start_sshd(p)
        subprocess.run(["puttygen", f"{directory}/user", "-o", f"{directory}/user.ppk"], check=True)
        p.start(
            "plink", "-ssh", "-batch", "-N", "-D", f"127.0.0.1:{PORT}", "-P", "2222",
            "-i", f"{directory}/user.ppk", "-l", getpass.getuser(),
            "-hostkey", fingerprint(f"{directory}/host.pub"), "127.0.0.1", port=PORT,
        )  # fmt: skip
        yield ""


@contextlib.contextmanager
def hpsockd(directory):
    """It goes into the background, so the first process of its own takes all the others along."""
    os.chmod(directory, 0o777)
    with processes(directory) as p:
        p.start(
            "unshare", "--pid", "--fork", "--kill-child", "sh", "-c", 'hpsockd -c "$0" && sleep inf',
            p.write("hpsockd.conf", HPSOCKD), port=PORT,
        )  # fmt: skip
        yield ""


SHADOWSOCKS = ("-s", "127.0.0.1", "-p", "8388", "-k", "secret", "-m", "aes-256-gcm", "-t", "600", "-u")


@contextlib.contextmanager
def shadowsocks(directory):
    with processes(directory) as p:
        p.start("ss-server", *SHADOWSOCKS, "-d", "127.0.0.1", port=8388)
        p.start("ss-local", *SHADOWSOCKS, "-b", "127.0.0.1", "-l", str(PORT), port=PORT)
        yield ""


@contextlib.contextmanager
def stunnel(directory):
    certs.Authority(directory).server()
    with processes(directory) as p:
        p.start("stunnel4", p.write("stunnel.conf", STUNNEL), port=PORT)
        yield ""


@contextlib.contextmanager
def v2ray(directory):
    with processes(directory) as p:
        p.start("v2ray", "-config", p.write("v2ray.json", V2RAY), port=HTTP_PORT)
        yield ""


@contextlib.contextmanager
def squid(directory):
    os.chmod(directory, 0o777)
    with processes(directory) as p:
        p.start("squid", "-N", "-f", p.write("squid.conf", SQUID), port=PORT)
        yield ""


@contextlib.contextmanager
def privoxy(directory):
    with processes(directory) as p:
        p.start("privoxy", "--no-daemon", p.write("privoxy.conf", PRIVOXY), port=PORT)
        yield ""


class Server(typing.NamedTuple):
    start: typing.Callable  # with a directory
    package: str  # None: this one
    ports: dict  # kind of table -> where
    scheme: str = "socks5"  # by which a table of SOCKS is asked for
    options: tuple = ()  # of probe
    outside: bool = False  # the targets have addresses that are no loopback ones


SOCKS = {"socks5": PORT}
HTTP = {"http": PORT}
# By their columns.
SERVERS = {
    "tabi": Server(tabi, None, SOCKS | HTTP),
    "tabi, password": Server(tabi_password, None, SOCKS | HTTP),
    "Dante": Server(dante, "dante-server", SOCKS),
    "microsocks": Server(microsocks, "microsocks", SOCKS),
    "microsocks, password": Server(microsocks_password, "microsocks", SOCKS),
    "ssh -D": Server(ssh, "openssh-client", SOCKS),
    "tor": Server(tor, "tor", SOCKS | {"http": HTTP_PORT}),
    "twistd socks": Server(twistd_socks, "python3-twisted", SOCKS, "socks4"),
    "plink -D": Server(plink, "putty-tools", SOCKS),
    "hpsockd": Server(hpsockd, "hpsockd", SOCKS, options=("--timeout", "1")),
    "shadowsocks": Server(shadowsocks, "shadowsocks-libev", SOCKS),
    "stunnel": Server(stunnel, "stunnel4", SOCKS, "socks5+tls", ("--insecure",), True),
    "v2ray": Server(v2ray, "v2ray", SOCKS | {"http": HTTP_PORT}, options=("--timeout", "1")),
    "ncat": Server(ncat, "ncat", HTTP),
    "ncat, password": Server(ncat_password, "ncat", HTTP),
    "tinyproxy": Server(tinyproxy, "tinyproxy-bin", HTTP),
    "tinyproxy, password": Server(tinyproxy_password, "tinyproxy-bin", HTTP),
    "squid": Server(squid, "squid", HTTP),
    "privoxy": Server(privoxy, "privoxy", HTTP),
}
