# SPDX-License-Identifier: MIT
"""The words of doc/conformance.md: what failed, checked by hand, and why.

By hand means: the bytes as they stand here were sent by a program of twenty lines that has nothing to do
with tabi probe, and this is what came back. `>` is what was sent, `<` what came."""

import conformance_notes_kept as kept

HEAD = """\
# What SOCKS servers and HTTP proxies do

The results of `tabi probe --conformance` for this server and for what Debian 12 ships, each as Debian ships it, with rules that
allow everything. Made by `tests/interop/conformance.py`; `tests/interop/test_conformance.py` runs the same again and
compares. What each check expects is told by `tabi probe --list` and by its output, what the levels mean by
[tabi-probe(1)](../man/tabi-probe.1). Nobody promised to pass these: *must* is what an RFC or the memo of SOCKS4
demands, *should* is good practice, and many a server has its reasons.

Everything ran on one host, in a network with loopback alone and a name server that knows one name. So a target is where the proxy
is, which some of the *should* (R36, R40, H37, H40) are about. `tor` has a network of its own there, three relays and a client, whose
exits may go to that loopback; by default an exit may not (`ExitPolicyRejectPrivate`), nor would a client ask for it
(`ClientRejectInternalAddresses`).

Cells: **fail** is explained under the table. `n/a`: the server does not offer what the check is about. `?`: it could not be found
out, here because it takes minutes and needs `--slow`. `+-`: sometimes one, sometimes the other.

`seen`: the columns with *each test* are of what `./test` installs, and it runs them again each time and compares. The others are of
that day and that version, and stay until `conformance.py` is run where they are installed.

Not here, though Debian has them: `trojan`, whose
SOCKS entrance leads to a server of its own; `i2pd` and `ocproxy`, which need a network of their own, I2P's or a VPN's; `mitmproxy`,
which is there to read what passes; `cntlm`, which leads to one kind of proxy; and the web's proxies `apache2`, `trafficserver`, `nghttp2-proxy`, `ffproxy`, `ziproxy`. `socat` and `redsocks` speak to proxies, and are none.
3proxy, gost, srelay and ss5 are no packages of Debian 12.
"""

BEFORE = {
    "socks5": """\
## SOCKS

`ncat` is not in this table: Debian's (7.93) has no SOCKS server. `ncat -l --proxy-type socks5` ends with "Invalid proxy type
"socks5"; Ncat proxy server only supports "http"".

`twistd socks` is asked by `socks4://`, as it has nothing else; `stunnel` is `protocol = socks`, asked by `socks5+tls://`; `plink -D` goes
to the same sshd as `ssh -D`; `shadowsocks` is `ss-local` before `ss-server`. `hpsockd` lets 127.0.0.0/8 in, and is asked with
`--timeout 1`, as so many answers never come; `v2ray` too. That leads straight out (`freedom`).
""",
    "http": """\
## HTTP: CONNECT

By `http://`, where nothing of SOCKS is asked. `ncat` is `ncat -l --proxy-type http`, `tor` its `HTTPTunnelPort`, `v2ray` its inbound
`http`, asked with `--timeout 1`.
""",
}

CHECKS = """\
### The checks
"""

SURPRISES = """\
### The surprises

What failed, by server. Each was done again by hand: the bytes below were sent by a small program of its own with plain sockets (`>`),
and `<` is what came. Where only the kit saw it, that is said; of the columns of one day not everywhere (T15, R12, R32, R33, F20, H08,
some of BIND, and L04, L05 and L14 beyond the plain end were not all repeated there).
"""

SOCKS_NOTES = {
    "Dante": [
        (
            "R06",
            "A name of brackets and an IPv6 address goes to the resolver as it is, and none knows it. "
            "`> 05 01 00 03 05 [::1] 1f 3f`, `< 05 04 00 03 05 [::1] 1f 3f`. (The refusal repeats the name, where others say "
            "0.0.0.0.)",
        ),
        (
            "R19 R20 R21 R23 R24",
            "An unknown command or address type ends the connection, and no reply says why. "
            "`> 05 7f 00 01 7f 00 00 01 1f 3f`, `<` the end; `> 05 01 00 02 7f 00 00 01 1f 3f`, `<` the end.",
        ),
        (
            "R26",
            "A request with version 4 behind a greeting of SOCKS5 is read on as something longer, until the limit of 30 seconds. "
            "`> 04 01 00 01 7f 00 00 01 1f 3f`, `<` nothing for 3 seconds.",
        ),
        (
            "R29",
            "Names are C strings inside: `> 05 01 00 03 12 31 32 37 2e 30 2e 30 2e 31 00 2e 69 6e 76 61 6c 69 64 1f 3f` (127.0.0.1, "
            "NUL, .invalid), `< 05 00 ...` and an echo from 127.0.0.1. Whoever has rules about names is passed by.",
        ),
        (
            "R34 R35",
            "getaddrinfo() takes `2130706433` and `0x7f000001` for 127.0.0.1, and nobody looks before: `> 05 01 00 03 0a "
            "2130706433 1f 3f`, `< 05 00 00 01 7f 00 00 01 d6 ad`, and an echo.",
        ),
        (
            "L09 L10",
            "A reset on one side is an ordinary end on the other: the target resets behind `RST`, `<` the end, no reset; "
            "the client resets, and recv() of the target gives 0. Bytes that were lost look as if all had been said.",
        ),
        (
            "B07",
            "Bytes between the first and the second reply of BIND end it: `> 05 02 00 01 7f 00 00 01 00 00`, `< 05 00 ... b5 9d`, "
            "`> early`, `<` the end, and nobody listens at the port any more.",
        ),
        (
            "U06",
            "The address from which a client says that it will send is taken at its word, and one that Dante has no way to is refused: "
            "`> 05 03 00 01 c0 00 02 4e 00 09`, `< 05 04 00 01 c0 00 02 4e 00 09`.",
        ),
        (
            "U33",
            "Where the client said nothing of its address (`> 05 03 00 01 00 00 00 00 00 00`), the first datagram decides whose the "
            "association is, wherever it comes from: one from 127.77.0.2 was relayed and answered to there, and from then on the client "
            "itself is shut out. RFC 1928 wants datagrams of other addresses than the client's dropped. With Dante the rules for "
            "datagrams have to say who may send them.",
        ),
        ("F11", "`> 04 ff ...` ends the connection without a reply; `04 03` is answered with 91."),
    ],
    "microsocks": [
        (
            "T01 T02 T03",
            "One recv() is taken for one message: `> 05`, a pause, `> 01 00`, `< 05 ff`, as if no method had been offered; a request in two "
            "pieces, `> 05 01 00 01 7f 00`, `> 00 01 1f 3f`, `< 05 01 ...`.",
        ),
        (
            "T04 T05 T06",
            "And what came with a message is lost with it: `> 05 01 00 05 01 00 01 7f 00 00 01 1f 3f`, `< 05 00`, then nothing; a request with "
            "`early` behind it is granted, and the echo says nothing.",
        ),
        (
            "T07 L03 L04 L05 L14",
            "When one side ends, both are closed: `> abc`, our end, `<` the end, where the target was about to say `late`. "
            "What was on its way the other way is lost.",
        ),
        (
            "R06",
            "A name of brackets and an IPv6 address goes to the resolver as it is: `> 05 01 00 03 05 [::1] 1f 3f`, `< 05 01 ...`.",
        ),
        ("R11 R12", "BND is 0.0.0.0 and port 0, always, and of type IPv4 for IPv6 too: `< 05 00 00 01 00 00 00 00 00 00`."),
        ("R18", "A name that does not exist is a general failure: `< 05 01 ...`."),
        ("R27", "RSV is looked at: `> 05 01 01 01 7f 00 00 01 1f 3f`, `< 05 01 ...`."),
        (
            "R29 R34 R35",
            "Names are C strings, and getaddrinfo() takes numbers: `127.0.0.1`, NUL, `.invalid`, `2130706433` and `0x7f000001` are all granted, "
            "`< 05 00 ...`, and 127.0.0.1 echoes.",
        ),
        (
            "R36 R40",
            "There are no rules about destinations, and 0.0.0.0 is the proxy's own host to Linux: `> 05 01 00 01 00 00 00 00 1f 3f`, "
            "`< 05 00 ...`, and an echo. The proxy connects to itself, as often as it is asked.",
        ),
        (
            "L09 L10",
            "A reset on one side is an ordinary end on the other: the target resets, `<` the end; the client resets, and recv() of the "
            "target gives 0.",
        ),
    ],
    "ssh -D": [
        (
            "R13 R18 R19 R20 R21 R23 R24 B01 U01 F08 F10 F11 F18 F22 T15",
            "There are no refusals: whatever cannot be done, the connection ends and no reply says why. A port where nobody listens, "
            "`> 05 01 00 01 7f 00 00 01 00 07`, `<` the end; command 7f, address type 02, BIND, UDP ASSOCIATE, a name that does not exist: "
            "the same; SOCKS4 `> 04 01 00 07 7f 00 00 01 00`, `<` the end.",
        ),
        ("M03", "Nor for methods: `> 05 01 b0`, `<` the end, and no 05 ff."),
        ("M10", "A greeting without methods is waited on as if some had to come: `> 05 00`, `<` nothing for 3 seconds."),
        ("R06", "`> 05 01 00 03 05 [::1] 1f 3f`, `<` the end: the server's resolver knows no such name."),
        (
            "R11 R12",
            "BND is 0.0.0.0 and port 0, always: `< 05 00 00 01 00 00 00 00 00 00`. The connection is made at the other end of the tunnel, whose "
            "protocol does not tell from where.",
        ),
        (
            "R26",
            "A request of version 4 behind a greeting of 5 is not answered: `> 04 01 00 01 7f 00 00 01 1f 3f`, `<` nothing for 3 seconds.",
        ),
        ("R27", "RSV is looked at: `> 05 01 01 01 7f 00 00 01 1f 3f`, `<` the end."),
        (
            "R29 R34 R35",
            "Names are C strings, and getaddrinfo() of the server takes numbers: `127.0.0.1`, NUL, `.invalid`, `2130706433` and `0x7f000001` are "
            "all granted, `< 05 00 ...`, and 127.0.0.1 echoes.",
        ),
        (
            "R36 R40 F13",
            "0.0.0.0 is the host of the SSH server to Linux, in SOCKS5 and in SOCKS4 (`> 04 01 1f 3f 00 00 00 00 00`, `< 00 5a ...`, and an "
            "echo). It connects to its own port: the other end of the tunnel cannot know it.",
        ),
        (
            "L09 L10",
            "A reset on one side is an ordinary end on the other; the tunnel's protocol has ends, and no resets.",
        ),
    ],
    "tor": [
        (
            "T07",
            "A client whose end comes with its request gets no answer: `> 05 01 00 01 7f 00 00 01 1f 41`, our end, `<` the end.",
        ),
        (
            "R11 R12",
            "BND is 0.0.0.0 and port 0, always: `< 05 00 00 01 00 00 00 00 00 00`. The connection is made by the exit, and Tor's protocol "
            "does not tell from where.",
        ),
        (
            "R13",
            "A port where nobody listens is a general failure, `> 05 01 00 01 7f 00 00 01 00 07`, `< 05 01 ...`: three exits are tried one "
            "after the other, and by the client's log each says no more than \"misc error\". (A name that nobody knows is "
            "answered with 04.)",
        ),
        (
            "R19 R20 R21 R23 R24",
            "What is no request to tor is a general failure, not 07 or 08: `> 05 7f 00 01 7f 00 00 01 1f 40`, `< 05 01 ...`; "
            "`> 05 01 00 02 ...`, `< 05 01 ...`. BIND and UDP ASSOCIATE it knows, and answers with 07.",
        ),
        (
            "R26",
            "A request of version 4 behind a greeting of 5 is not answered in time: `> 04 01 00 01 7f 00 00 01 1f 40`, `<` nothing for 3 "
            "seconds.",
        ),
        ("R27", "RSV is looked at: `> 05 01 01 01 7f 00 00 01 1f 40`, `< 05 01 ...`."),
        (
            "R29",
            "A name is cut off at its NUL: `> 05 01 00 03 12 31 32 37 2e 30 2e 30 2e 31 00 2e 69 6e 76 61 6c 69 64 1f 40` (127.0.0.1, NUL, "
            ".invalid), `< 05 00 ...`, and an echo from 127.0.0.1.",
        ),
        (
            "R40",
            "It is the exit that connects, and it cannot know where the client listens: `> 05 01 00 01 7f 00 00 01 04 38`, `< 05 00 ...`, "
            "`> 05 01 00`, `< 05 00`: a greeting answered by the same tor.",
        ),
        (
            "L03 L04 L05 L14",
            "When one side ends, both are closed, as Tor's streams have one end for both: `> abc`, our end, `<` the end, where the target was "
            "about to say `late` (its send() succeeded); the target's end, `> behind`, `<` the end, and the target never sees it.",
        ),
        (
            "L09 L10",
            "A reset on one side is an ordinary end on the other: the target resets, `<` the end; the client resets, and recv() of the "
            "target gives 0.",
        ),
        (
            "L11",
            "How much it takes for a target that never reads is a matter of luck: in six tries by hand 23, 62, 74, 87, 95 and 151 MB, and then "
            "it stopped. The check's limit is 96 MB. (Three relays and a client keep queues of their own, and here nothing delays what "
            "fills them.)",
        ),
    ],
}

NCAT_NOTES = [
    (
        "H09 L03 L04 L05 L14",
            "When one side ends, both are closed: `> abc`, our end, `<` the end, where the target was about to say `late`. The "
            "target's end, `> behind`, `<` the end.",
        ),
    (
        "L09 L10",
            "A reset on one side is an ordinary end on the other: the target resets, `<` the end; the client resets, and recv() of the "
            "target gives 0.",
        ),
    (
        "H22 H23",
        "Host is not looked at: `> CONNECT 127.0.0.1:8000 HTTP/1.1`, the empty line, `< HTTP/1.0 200 OK`; with two Host fields the same.",
    ),
    (
        "H24",
        "A blank before a colon ends the connection, and no 400 says why: `> X-Blank : b`, `<` the end.",
    ),
    ("H31", "Any version is good: `> CONNECT 127.0.0.1:8000 HTTP/7.3`, `< HTTP/1.0 200 OK`."),
    (
        "H35 H36",
        "getaddrinfo() takes numbers: `> CONNECT 2130706433:8000 HTTP/1.1`, `> CONNECT 0x7f000001:8000 HTTP/1.1`, `< HTTP/1.0 200 OK`, and "
        "an echo from 127.0.0.1.",
    ),
    (
        "H37 H40",
        "There are no rules about destinations: 0.0.0.0 is the proxy's own host, `> CONNECT 0.0.0.0:8000 HTTP/1.1`, `< HTTP/1.0 200 OK` and an "
        "echo; and it connects to itself, `> CONNECT 127.0.0.1:1080 HTTP/1.1`, `< HTTP/1.0 200 OK`, `> hello`, "
        "`< HTTP/1.0 400 Bad Request`.",
    ),
    (
        "H43",
        "The target is a C string: `> CONNECT 127.0.0.1:8000\\0.invalid:80 HTTP/1.1`, `< HTTP/1.0 200 OK`, and an echo from 127.0.0.1.",
    ),
]

TINYPROXY_NOTES = [
    (
        "H09 L03 L04 L05 L14",
        "When one side ends, both are closed: `> abc`, our end, `<` the end, where the target was about to say `late`. The target's "
        "end, `> behind`, `<` the end.",
    ),
    (
        "L09 L10",
        "A reset on one side is an ordinary end on the other: the target resets, `<` the end; the client resets, and recv() of the "
        "target gives 0.",
    ),
    (
        "H11 H12",
        "Whatever cannot be connected to is 500: `> CONNECT 127.0.0.1:7 HTTP/1.1`, `< HTTP/1.1 500 Unable to connect`; "
        "no-such-host.invalid the same.",
    ),
    (
        "H19 H42",
        "Of the port the digits count, and what is behind them is not looked at: `> CONNECT 127.0.0.1:8000x HTTP/1.1`, "
        "`> CONNECT 127.0.0.1:8000/path HTTP/1.1`, `< HTTP/1.0 200 Connection established`, and an echo.",
    ),
    (
        "H22 H23 H24",
        "Fields mean nothing to CONNECT: none, two of Host, or `X-Blank : b`, `< HTTP/1.0 200 Connection established`.",
    ),
    (
        "H31",
        "Any version is good: `> CONNECT 127.0.0.1:8000 HTTP/7.3`, `< HTTP/1.0 200 Connection established`.",
    ),
    (
        "H35 H36",
        "getaddrinfo() takes numbers: `> CONNECT 2130706433:8000 HTTP/1.1`, `> CONNECT 0x7f000001:8000 HTTP/1.1`, "
        "`< HTTP/1.0 200 Connection established`, and an echo from 127.0.0.1.",
    ),
    (
        "H37 H40",
        "There are no rules about destinations: 0.0.0.0 is the proxy's own host, `> CONNECT 0.0.0.0:8000 HTTP/1.1`, "
        "`< HTTP/1.0 200 Connection established` and an echo; and it connects to itself, `> CONNECT 127.0.0.1:1080 HTTP/1.1`, "
        "`< HTTP/1.0 200 Connection established`, `> hello`, `< HTTP/1.0 400 Bad Request`.",
    ),
    (
        "H41",
        "What is before an @ is cut off: `> CONNECT user@127.0.0.1:8000 HTTP/1.1`, `< HTTP/1.0 200 Connection established`, and an echo.",
    ),
]

HTTP_NOTES = {
    "ncat": NCAT_NOTES,
    "ncat, password": NCAT_NOTES,
    "tinyproxy": TINYPROXY_NOTES,
    "tinyproxy, password": [
        *TINYPROXY_NOTES,
        (
            "H63",
            "The scheme is compared letter by letter, and the answer is the origin's 401, not 407: `> Proxy-Authorization: bASIC "
            "YWxpY2U6c2VjcmV0`, `< HTTP/1.0 401 Unauthorized`, `< WWW-Authenticate: Basic realm=\"Tinyproxy\"`.",
        ),
    ],
    "tor": [
        (
            "H07 H08",
            "Bytes behind the request are lost: `> CONNECT 127.0.0.1:8000 HTTP/1.1 ... early`, `< HTTP/1.0 200 OK`, and then nothing for 3 "
            "seconds; with 64 KiB of them `<` the end.",
        ),
        (
            "H09 L03 L04 L05 L14",
            "When one side ends, both are closed, as Tor's streams have one end for both: `> abc`, our end, `<` the end, where the target "
            "was about to say `late`.",
        ),
        (
            "L09 L10",
            "A reset on one side is an ordinary end on the other: the target resets, `<` the end; the client resets, and recv() of the "
            "target gives 0.",
        ),
        ("L11", "How much it takes for a target that never reads is a matter of luck, see tor under SOCKS."),
        (
            "H11",
            "A port where nobody listens is 500: `> CONNECT 127.0.0.1:7 HTTP/1.1`, `< HTTP/1.0 500 Internal Server Error`, "
            "`< Tor-Request-Failed: end/MISC`. (A name that nobody knows is 503, `end/RESOLVEFAILED`.)",
        ),
        (
            "H16",
            "A request with a lot behind it, here 128 KiB, ends the connection without an answer: `<` the end.",
        ),
        (
            "H22 H23 H24",
            "Fields that it does not know are not looked at: no Host, two of it, or `X-Blank : b`, `< HTTP/1.0 200 OK`.",
        ),
        (
            "H28",
            "An empty line before the request ends the connection: `<` the end.",
        ),
        (
            "H29",
            "The method may have any letters: `> connect 127.0.0.1:8000 HTTP/1.1`, `< HTTP/1.0 200 OK`, and an echo.",
        ),
        (
            "H40",
            "It is the exit that connects, and it cannot know where the client listens: `> CONNECT 127.0.0.1:8080 HTTP/1.1`, "
            "`< HTTP/1.0 200 OK`, `> hello`, `<` the end.",
        ),
    ],
}

SOCKS_NOTES.update(kept.SOCKS)
HTTP_NOTES.update(kept.HTTP)
NOTES = {"socks5": SOCKS_NOTES, "http": HTTP_NOTES}
SOCKS_NOTES["microsocks, password"] = SOCKS_NOTES["microsocks"] + [
    (
        "A10",
        "The password is compared as a C string: `> 01 05 alice 08 secret 00 78` (eight bytes, a NUL among them), `< 01 00`.",
    )
]
