# SPDX-License-Identifier: MIT
"""Messages in every order (harness/order.py), to servers that ask for a ticket.

Here one message is right: a token of alice's, who has a ticket, makes the context stand. But what
follows it, the level and the request, must come wrapped by that context, and whoever only repeats
bytes has none of the keys.
"""

import pytest

from harness import gss, order, targets
from harness.config import PROXY

TOKENS = {
    "good-token": lambda _: gss.frame(gss.CONTEXT, gss.context().step()),
    "token-without-mutual": lambda _: gss.frame(
        gss.CONTEXT, gss.context(flags=gss.Flag.replay_detection).step()
    ),
    "level-nec": lambda _: gss.frame(gss.LEVEL, b"\x01"),
    "abort": lambda _: b"\x01\xff",
}

SERVERS = {
    "gssapi": "auth gssapi keytab {keytab}",
    "gssapi-nec": "auth gssapi keytab {keytab} nec",
    "password-and-gssapi": "auth password {users}\nauth gssapi keytab {keytab} nec",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", SERVERS)
def test_no_order_of_messages_gets_past(tabi, target, kerberos, tmp_path, server):
    goal = target(targets.echo)
    auth = SERVERS[server].format(keytab=kerberos.keytab, users=order.users(tmp_path))
    program = tabi(
        "workers 1\nlisten 127.0.0.1:1080\nresolver 127.0.0.1:5353\n"
        f"{auth}\nallow all\nallow to loopback\n"
    )
    asker = order.Asker(program, messages={**order.MESSAGES, **TOKENS})
    lengths = asker.all_orders()
    print(f"{server}: {asker.n} sequences, {lengths} of each length")
    assert all(lengths[:3]), "nothing was waited for: the messages do not fit the server"
    reasons = {line["reason"] for line in program.sessions()}
    assert {"bad-ticket", "bad-protection"} <= reasons
    assert goal.accepted == 0
    # And the proof itself still counts.
    with gss.open_through(PROXY, "127.0.0.1", 7000) as stream:
        targets.ping(stream)
    program.wait_session(1, user="alice@EXAMPLE.ORG", verdict="allow")
