# SPDX-License-Identifier: MIT
"""Messages in every order: no way past authentication (harness/order.py).

None of the messages has the right proof, so none may be granted anything, or reach the target. What
needs a KDC is in tests/interop/test_order_gssapi.py.
"""

import socket
import threading

import pytest

from harness import certs, netns, order, proxyproto, socks, targets, tls
from harness.config import PROXY

# How streams are relayed does not matter to these.
pytestmark = pytest.mark.once

# Alice, and nobody else, whatever the password.
SERVICE = """\
auth    required pam_succeed_if.so quiet user = alice
account required pam_permit.so
"""

ALICE = ("alice", "secret")


@pytest.fixture
def files(tmp_path):
    """What the configurations name, by its name there."""
    ca = certs.Authority(tmp_path)
    ca.server()
    ca.issue("alice")
    services = tmp_path / "pam.d"
    services.mkdir()
    (services / "tabi").write_text(SERVICE)
    return {
        "users": order.users(tmp_path), "services": services, "ca": ca.pem,
        "tls": f"{ca.path('server.pem')} {ca.path('server.key')}",
        "alice": (ca.path("alice.pem"), ca.path("alice.key")),
    }  # fmt: skip


def by_password(files):
    return socks.open5(PROXY, "127.0.0.1", 7000, *ALICE)


def by_password_behind_a_balancer(files):
    sock = socks.dial(PROXY)
    sock.sendall(proxyproto.v1("10.0.0.1"))
    return connect(sock, *ALICE)


def by_nothing_behind_a_balancer(files):
    """Who is offered that where the messages that name him come too late."""
    sock = socks.dial(PROXY)
    sock.sendall(proxyproto.v1("192.0.2.1"))
    return connect(sock)


def by_upgrade(files):
    sock, _ = order.upgraded(0)
    sock.sendall(socks.userpass(*ALICE) + order.CONNECT)
    assert socks.recv_exact(sock, 2) == b"\x01\x00"
    assert socks.recv_reply5(sock)[0] == 0
    return sock


def by_certificate(files):
    return connect(tls.Tls(socks.dial(PROXY), tls.client(files["ca"], *files["alice"])))


def by_ident(files):
    return socks.open4(PROXY, "127.0.0.1", 7000, b"mallory")


def connect(sock, *user):
    socks.hello5(sock, *user)
    sock.sendall(order.CONNECT)
    assert socks.recv_reply5(sock)[0] == 0
    return sock


PLAIN = "listen 127.0.0.1:1080"
TRUSTED = {
    "header-1": lambda _: proxyproto.v1("192.0.2.1"),
    "header-2": lambda _: proxyproto.v2("192.0.2.1"),
}

# The listener and the ways of proof; how a client begins; what else it says; the right proofs; and
# how many messages long an order must get before all have ended, if the messages fit the server.
SERVERS = {
    "password": ([PLAIN, "auth password {users}"], order.plainly, {}, [by_password], 4),
    "password-and-pam": (
        [PLAIN, "auth password {users} user bob", "auth pam tabi"],
        order.plainly, {}, [by_password], 4,
    ),
    "ident": ([PLAIN, "auth ident from loopback"], order.plainly, {}, [by_ident], 2),
    "balancer": (
        [PLAIN + " proxy-protocol from loopback", "auth none from 192.0.2.1", "auth password {users}"],
        order.behind_a_balancer, TRUSTED,
        [by_password_behind_a_balancer, by_nothing_behind_a_balancer], 4,
    ),
    "header-at-a-plain-listener": (
        [PLAIN, "auth none from 192.0.2.1", "auth password {users}"],
        order.plainly, TRUSTED, [by_password], 4,
    ),
    "upgrade": (
        [PLAIN + " tls-upgrade {tls}", "auth password {users}"],
        order.plainly, {}, [by_password, by_upgrade], 4,
    ),
    "behind-the-upgrade": (
        [PLAIN + " tls-upgrade {tls}", "auth password {users}"],
        order.upgraded, {}, [by_upgrade], 1,
    ),
    "certificate": (
        [PLAIN + " tls {tls} client-ca {ca}", "auth password {users}"],
        order.inside_tls, {}, [by_certificate], 1,
    ),
    "plain-at-a-certificate": (
        [PLAIN + " tls {tls} client-ca {ca}", "auth password {users}"],
        order.plainly, {}, [by_certificate], 1,
    ),
}  # fmt: skip


def answer_ident(listener):
    """Everybody's host, which says that he is mallory."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock:
            query = sock.recv(100)
            if query:
                sock.sendall(query.strip() + b" : USERID : UNIX : mallory\r\n")


@pytest.fixture
def identd():
    listener = socket.create_server(("0.0.0.0", 113), backlog=1000)
    threading.Thread(target=answer_ident, args=(listener,), daemon=True).start()
    yield
    listener.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", SERVERS)
def test_no_order_of_messages_gets_past(tabi, target, files, identd, server):
    lines, begin, more, proofs, least = SERVERS[server]
    goal = target(targets.echo)
    text = "\n".join(lines).format(**files)
    program = tabi(
        f"workers 1\nresolver 127.0.0.1:5353\n{text}\nallow all\nallow to loopback\n",
        preexec=lambda: netns.mount_over(str(files["services"]), "/etc/pam.d"),
    )
    asker = order.Asker(program, begin, {**order.MESSAGES, **more})
    lengths = asker.all_orders()
    print(f"{server}: {asker.n} sequences, {lengths} of each length")
    assert all(lengths[:least]), "nothing was waited for: the messages do not fit the server"
    assert goal.accepted == 0
    # And the proof itself still counts.
    for proof in proofs:
        proof(files).close()
    assert goal.accepted == len(proofs)
