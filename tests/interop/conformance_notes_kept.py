# SPDX-License-Identifier: MIT
"""As conformance_notes.py, of the servers that ./test does not install: their columns stay in the page as they
are until somebody runs them again, and so do these words."""

_RESETS = (
    "L09 L10",
    "A reset on one side is an ordinary end on the other: the target resets, `<` the end; the client resets, and recv() of the "
    "target gives 0.",
)
_BOTH_END = (
    "When one side ends, both are closed: `> late`, our end, `<` the end, where the target was about to say `late`."
)

SOCKS = {
    "twistd socks": [
        ("L03 L04 L05 L14", _BOTH_END),
        _RESETS,
        (
            "L11",
            "Nobody stops who sends: 96 MB for a target that reads nothing (as the kit saw it; by its source, `SOCKSv4.dataReceived` "
            "writes to the other transport, which queues without a limit).",
        ),
        (
            "F07",
            "Bytes behind the request are an error to it: `> 04 01 1f 40 7f 00 00 01 00 early`, `<` the end, and the log has a Python "
            "traceback.",
        ),
        (
            "F10 F11",
            "Nor is there a refusal of an unknown command, but the same: `> 04 03 1f 40 7f 00 00 01 00`, `<` the end.",
        ),
        ("F13", "0.0.0.0 is the proxy's own host to Linux: `> 04 01 1f 40 00 00 00 00 00`, `< 00 5a ...`, and an echo."),
        (
            "F14 F21",
            "A user id or a name without end is read on: a million bytes later, `<` nothing for 3 seconds.",
        ),
        (
            "F17 F19",
            "An address sent as a name is connected to, and then the connection ends: `> 04 01 1f 40 00 00 00 01 00 127.0.0.1 00`, `<` the "
            "end, and `inet_aton() argument 1 must be str, not bytes` in the log. A name of no bytes is 0.0.0.0, the proxy's own host: "
            "`< 00 5a 1f 40 00 00 00 00`, and an echo.",
        ),
        ("F22", "BIND ends the connection: `> 04 02 1f 40 7f 00 00 01 00`, `<` the end."),
    ],
    "plink -D": [
        (
            "T15 R13 R14 R15 R16 R17 R18 F08 F09 F18",
            "Everything is granted before the server of SSH was asked, so there are no refusals, and an end behind the reply is all that "
            "tells of one. A port where nobody listens: `> 05 01 00 01 7f 00 00 01 00 07`, `< 05 00 00 01 00 00 00 00 00 00`, then `<` the "
            "end or a reset; a name that does not exist, and SOCKS4 (`> 04 01 00 07 7f 00 00 01 00`, `< 00 5a 00 00 00 00 00 00`): the same.",
        ),
        (
            "R28 R30 R31 R32 R33 R38 R39 F12 F19 F20",
            "What is no target at all is granted as well: a name of no bytes, with spaces and line ends, of one dot, of two side by side, of "
            "255 bytes; 224.0.0.1; port 0.",
        ),
        (
            "R11 R12",
            "BND is 0.0.0.0 and port 0, always: `< 05 00 00 01 00 00 00 00 00 00`, as with `ssh -D`.",
        ),
        ("R27", "RSV is looked at: `> 05 01 01 01 7f 00 00 01 1f 40`, `< 05 07 ...`."),
        (
            "R29 R34 R35",
            "The server's names are C strings, and its getaddrinfo() takes numbers: `127.0.0.1`, NUL, `.invalid`, `2130706433` and "
            "`0x7f000001` echo from 127.0.0.1.",
        ),
        (
            "R36 R37 R40 F13",
            "0.0.0.0 is the host of the SSH server to Linux: `> 05 01 00 01 00 00 00 00 1f 40`, `< 05 00 ...`, and an echo. It connects to its "
            "own port: the other end of the tunnel cannot know it. `::` leads there too.",
        ),
        _RESETS,
        (
            "L11",
            "The client is read on: 96 MB for a target that reads nothing, where `ssh -D` stops. (As the kit saw it.)",
        ),
        (
            "F14 F21",
            "A user id or a name without end is read on: a million bytes later, `<` nothing for 3 seconds.",
        ),
    ],
    "hpsockd": [
        (
            "T05 T06",
            "What came with the request of SOCKS5 is lost: `> 05 01 00 01 7f 00 00 01 1f 40 early`, `< 05 00 ...`, nothing for 3 seconds, `> more`, "
            "`< more`. Of 65,536 bytes sent with it 64,522 came back, of as many sent with the greeting as well 64,525. (The kit saw none of them.)",
        ),
        (
            "F07",
            "Of SOCKS4 it waits for the bytes behind it: `> 04 01 1f 40 7f 00 00 01 00 early`, `< 00 5a ...`, nothing for 3 seconds, `> more`, "
            "`< earlymore`.",
        ),
        ("T07 L03 L04 L05 L14", _BOTH_END),
        _RESETS,
        (
            "M04",
            "Of 255 methods, 00 the first of them, none is good: `> 05 ff 00 01 02 ... fe`, `< 05 ff`. Of 127 it takes 00, though it be the last.",
        ),
        (
            "M16 R23 R24 R25 R28",
            "What it cannot read is waited on, for 15 minutes by its manual: a login that was not asked for (`> 01 01 a 01 b`), an address type 00 "
            "or 02 (`> 05 01 00 02 7f 00 00 01 1f 40`), a name of no bytes (`> 05 01 00 03 00 1f 40`): `<` nothing for 3 seconds.",
        ),
        (
            "R03",
            "It knows no IPv6, which RFC 1928 wants: `> 05 01 00 04 00 ... 01 1f 40`, `< 05 08 00 01 00 00 00 00`, and `00 00` in a piece of its own.",
        ),
        (
            "R29 R34",
            "Names are C strings, and numbers are addresses: `127.0.0.1`, NUL, `.invalid` and `2130706433` are granted, `< 05 00 ...`, and "
            "127.0.0.1 echoes. (`0x7f000001` gets 04.)",
        ),
        (
            "R36 R40 F13",
            "0.0.0.0 is the proxy's own host to Linux, in SOCKS5 and in SOCKS4 (`> 04 01 1f 40 00 00 00 00 00`, `< 00 5a ...`, and an echo), and it "
            "connects to itself: `> 05 01 00 01 7f 00 00 01 04 38`, `< 05 00 ...`, `> 05 01 00`, `< 05 00`. The rule of this column says "
            "nothing of destinations.",
        ),
        (
            "B04 B05 B06 B09 B11",
            "There is no second reply to BIND: `> 05 02 00 01 7f 00 00 01 00 00`, `< 05 00 00 01 7f 00 00 01 cf ed`, a peer connects to that port, "
            "which closes behind it, `<` nothing for 8 seconds. What the peer says does not come; when the client says something, the "
            "peer gets a reset. (B11, the peer by its name, as the kit saw it; and so is that with SOCKS4 the second reply comes, F23.)",
        ),
        (
            "B07",
            "Bytes between the first reply and the peer end it: `> early`, and 0.3 seconds later nobody listens at the port any more.",
        ),
        ("B12", "`> 05 02 00 01 ff ff ff ff 00 09`, `< 05 00 ...`: a port is opened for a peer that cannot be."),
        (
            "U04 U07 U08 U09 U10 U12 U13 U14 U15 U16 U17 U18 U19 U20 U21 U22 U23 U24 U25 U26 U27 U28 U30 U31 U32 U33 U34 U35 U37 U39 U40 U41",
            "One cause: who does not say from which port the datagrams will come gets none. `> 05 03 00 01 00 00 00 00 00 00`, `< 05 00 ...`; a "
            "datagram for 127.0.0.1:8001 arrived there, the echo was sent, and the client got nothing for 2 seconds, nor for its second "
            "datagram. With the port named (`> 05 03 00 01 7f 00 00 01 1b 59`, and sent from port 7001) the echo came, and that of a "
            "datagram to a name as well. The kit leaves the port open in all of these, as it may by RFC 1928; how hpsockd would do in them "
            "with a port is not known.",
        ),
        (
            "U06",
            "An address that is not the client's is refused: `> 05 03 00 01 c0 00 02 4e 00 09`, `< 05 02 ...`, with a rule that lets "
            "192.0.2.0/24 in too.",
        ),
        (
            "F10 F11",
            "An unknown command of SOCKS4 ends the connection without a reply: `> 04 03 1f 40 7f 00 00 01 00`, `> 04 ff ...`, `<` the end.",
        ),
        (
            "X01 X02",
            "Among the garbage was what ends it, and from then on nobody listens. By hand: 400 connections of 40 random bytes each, then `Connection "
            "refused`; of nine kinds of garbage eight did no harm, and one, a greeting of a certain length, needs no second try. Which "
            "one is not told here.",
        ),
    ],
    "shadowsocks": [
        (
            "T15 R13 R14 R15 R16 R17 R18",
            "`ss-local` grants everything before `ss-server` was asked, so there are no refusals, and an end behind the reply is all that "
            "tells of one: `> 05 01 00 01 7f 00 00 01 00 07`, `< 05 00 00 01 00 00 00 00 00 00`, then `<` the end; a name that does not "
            "exist the same.",
        ),
        (
            "R06 R28 R30 R31 R32 R33 R38 R39",
            "What is no target at all is granted as well: a name in brackets, of no bytes, with spaces and line ends, of one dot, of two side "
            "by side, of 255 bytes (and then `<` nothing for 3 seconds); 224.0.0.1; port 0 (and then `<` the end).",
        ),
        (
            "R19 R20 R21 R22 R23 R24 R25 M16 B01",
            "An unknown command, BIND or address type is refused with four bytes, where a reply has ten: `> 05 7f 00 01 7f 00 00 01 1f 40`, "
            "`< 05 07 00 01`, then the end; `> 05 01 00 02 ...`, `< 05 08 00 01`. A client that reads a reply waits for the rest. A login that "
            "was not asked for is read as a request, and so answered with 05 07 00 01.",
        ),
        (
            "R26",
            "The version of a request is not looked at: `> 04 01 00 01 7f 00 00 01 1f 40`, `< 05 00 ...`, and an echo.",
        ),
        ("R11 R12", "BND is 0.0.0.0 and port 0, always, and of type IPv4 for IPv6 too."),
        (
            "R29 R34 R35",
            "The server's names are C strings: `127.0.0.1`, NUL, `.invalid` echoes from 127.0.0.1. `2130706433` and `0x7f000001` are granted as "
            "everything is, and then `<` the end.",
        ),
        (
            "R36 R37 R40",
            "0.0.0.0 is the server's own host to Linux: `> 05 01 00 01 00 00 00 00 1f 40`, `< 05 00 ...`, and an echo; so is `::`. It connects to the "
            "client's port: the other end of the tunnel cannot know it.",
        ),
        ("T07 L03 L04 L05 L14", _BOTH_END),
        _RESETS,
        ("U14", "A datagram to 0.0.0.0 goes to the server's own host, and its echo came back."),
        ("U21 U22", "Nothing larger than a packet passes: datagrams of 9000 and of 60000 bytes are dropped."),
        (
            "U32 U33 U34 U39 U40",
            "The port for datagrams is the same for all (1080), and anybody's: it needs no connection and knows of none. One from "
            "127.77.0.2 was relayed and answered to there, so was one from another port of the client, and so was one two seconds after the "
            "connection had ended.",
        ),
        (
            "U36",
            "Who was never sent anything gets in: a datagram from a new port to the one from which ours came was delivered to the client.",
        ),
    ],
    "stunnel": [
        (
            "T15 R13 R14 R15 R16 R17 F08 F09",
            "The reply comes before the connection is made, so a port where nobody listens is granted: `> 05 01 00 01 c0 00 02 01 00 07`, "
            "`< 05 00 00 01 c0 00 02 01 00 07`, then `<` the end. (A name is looked up first, and 04 where there is none.)",
        ),
        (
            "R11 R12",
            "So BND is what was asked for, not where from: `> 05 01 00 01 c0 00 02 01 1f 40`, `< 05 00 00 01 c0 00 02 01 1f 40`.",
        ),
        (
            "M16 R27",
            "RSV comes back as it was sent: `> 05 01 01 01 c0 00 02 01 1f 40`, `< 05 00 01 01 c0 00 02 01 1f 40`. A login that was not "
            "asked for is read as a request: `> 01 01 61 01 62`, `< 05 01 61 01 00 00 00 00 00 00`.",
        ),
        ("R06", "A name of brackets and an IPv6 address goes to the resolver as it is: `< 05 04 ...`."),
        ("R23 R24", "An unknown address type is answered with 07, not 08: `> 05 01 00 02 c0 00 02 01 1f 40`, `< 05 07 ...`."),
        (
            "R29 R34 R35",
            "Names are C strings, and getaddrinfo() takes numbers: `192.0.2.1`, NUL, `.invalid`, `3221225985` and `0xc0000201` are granted, "
            "and 192.0.2.1 echoes.",
        ),
        (
            "R36 R37 R38 R39 F12 F13",
            "127.0.0.1 and ::1 it refuses with 02 (`> 05 01 00 01 7f 00 00 01 1f 40`, `< 05 02 00 01 7f 00 00 01 1f 40`), and so the targets "
            "of this column are at 192.0.2.1 and 2001:db8::1. But 0.0.0.0, which is the same host to Linux, it grants: `> 05 01 00 01 00 00 "
            "00 00 1f 40`, `< 05 00 ...`, and an echo. So are `::` and ::ffff:127.0.0.1, and both echo. 224.0.0.1 and port 0 are granted, and then end.",
        ),
        _RESETS,
    ],
    "v2ray": [
        (
            "T15 R13 R14 R15 R16 R17 R18 F08 F09 F18 F20",
            "Everything is granted before anybody was connected to, so there are no refusals, and an end behind the reply is all that tells of "
            "one. A port where nobody listens: `> 05 01 00 01 7f 00 00 01 00 07`, `< 05 00 00 01 7f 00 00 01 04 38`, then `<` the end; a name "
            "that does not exist, and SOCKS4 (`> 04 01 00 07 7f 00 00 01 00`, `< 00 5a 00 00 00 00 00 00`): the same.",
        ),
        (
            "R31 R32 R33 R34 R35 R38 R39 F12",
            "What is no target at all is granted as well, and then ends: a name of one dot, of two side by side, of 255 bytes, `2130706433` and "
            "`0x7f000001`; 224.0.0.1; port 0.",
        ),
        (
            "R36 R37 R40 F19",
            "0.0.0.0 and `::` are the proxy's own host to Linux: `> 05 01 00 01 00 00 00 00 1f 40`, `< 05 00 ...`, and an echo; so is a name of no "
            "bytes of SOCKS4 (`> 04 01 1f 40 00 00 00 01 00 00`, `< 00 5a ...`). It connects to itself: `> 05 01 00 01 7f 00 00 01 04 38`, "
            "`< 05 00 ...`, `> 05 01 00`, `< 05 00`.",
        ),
        ("F13", "0.0.0.0 of SOCKS4 is waited on: `> 04 01 1f 40 00 00 00 00 00`, `<` nothing for 3 seconds."),
        ("R05", "`> 05 01 00 03 03 ::1 1f 40`, `<` the end. (In brackets it is granted, and echoes.)"),
        ("R11 R12", "BND is the address of the request's own connection, always: `< 05 00 00 01 7f 00 00 01 04 38`."),
        (
            "R23 R24",
            "An unknown address type ends the connection, and no reply says why: `> 05 01 00 02 7f 00 00 01 1f 40`, `<` the end. (An unknown command "
            "gets 07.)",
        ),
        (
            "R26",
            "The version of the request is not looked at: `> 04 01 00 01 7f 00 00 01 1f 40` behind a greeting of 5, `< 05 00 ...`, and an echo.",
        ),
        ("T07 L03 L04", _BOTH_END),
        (
            "L05 L06",
            "The target's end reaches the client 1.0 seconds later, and then both ways are closed: what the client says behind it is lost. The kit "
            "waited one second, so that it saw L06 now so, now so; with `--timeout 5` it passes.",
        ),
        (
            "L14",
            "The client's end is not passed on as long as the target sends: 9 seconds behind it the target had not seen it, and the client had all "
            "the 858,000 bytes sent. (The kit's target sends until it sees the end; it gave up behind 22 GB.)",
        ),
        _RESETS,
        (
            "U10",
            "The answer to a datagram that went to a name comes from the name: `> 00 00 00 03 13 target.example.test 1f 41 q`, `< 00 00 00 03 13 "
            "target.example.test 1f 41 q`.",
        ),
        ("U19", "A datagram without bytes is not relayed: the target got none."),
        (
            "U21 U22 U23",
            "Datagrams are cut to 2,048 bytes with their header: of 9,000 and of 60,000 bytes the target got 2,038.",
        ),
        (
            "U32 U33 U34 U39 U40",
            "A port for datagrams is open to everybody, and the connection of the request has nothing to do with it: a datagram from 127.77.0.2, "
            "and one from another port, were relayed and answered to there, without any UDP ASSOCIATE of theirs; so were those of a client "
            "whose connection had ended, or been reset, two seconds before. (RFC 1928 wants both dropped.)",
        ),
        (
            "U36 U37",
            "A datagram from a port that was never sent anything reaches the client, and is told to be from the one that was: from a port 50889, "
            "`< 00 00 00 01 7f 00 00 01 1f 41 unasked`, where 1f 41 is 8001.",
        ),
    ],
}

HTTP = {
    "v2ray": [
        (
            "H11 H12 H13 H15 H16 H44",
            "Everything is granted before anybody was connected to, so there are no refusals: `> CONNECT 127.0.0.1:7 HTTP/1.1`, `< HTTP/1.1 200 "
            "Connection established`, then `<` the end; a name that does not exist, or of 243 bytes: the same. (H16, a client that goes on "
            "sending, as the kit saw it.)",
        ),
        (
            "H17 H20 H21 H35 H36 H39",
            "What is no target at all is granted as well, and then ends: `127.0.0.1:`, `127.0.0.1`, `127.0.0.1:0`, `2130706433:8000`, "
            "`0x7f000001:8000`, `224.0.0.1:8000`.",
        ),
        (
            "H22 H24 H31",
            "`> CONNECT 127.0.0.1:8000 HTTP/1.1` without Host, with a blank before a colon (`> X-Blank : b`), of version `HTTP/7.3`: "
            "`< HTTP/1.1 200 Connection established`, and an echo.",
        ),
        (
            "H23 H28",
            "Two Host fields, or an empty line before the request, end the connection, and no answer says why: `<` the end.",
        ),
        (
            "H37 H38 H40",
            "0.0.0.0 and `[::]` are the proxy's own host to Linux, and echo; and it connects to itself: `> CONNECT 127.0.0.1:8080 HTTP/1.1`, twice, "
            "`< HTTP/1.1 200 Connection established`, twice.",
        ),
        (
            "H41 H42",
            "What is before an @ or behind a / is cut off: `> CONNECT user@127.0.0.1:8000 HTTP/1.1`, `> CONNECT 127.0.0.1:8000/path HTTP/1.1`, "
            "`< HTTP/1.1 200 Connection established`, and an echo.",
        ),
        (
            "H45 H46",
            "A target or a field without end is read on: 300,000 bytes later, `<` nothing for 3 seconds. (The kit sends a million.)",
        ),
        ("H09 L03 L04", _BOTH_END),
        (
            "L05 L06",
            "The target's end reaches the client 1.0 seconds later, and then both ways are closed. The kit waited one second: L06 is a matter of "
            "luck, as by SOCKS. (It passed when this column was run.)",
        ),
        ("L14", "As the kit saw it, and as by SOCKS: the client's end is not passed on as long as the target sends, here 28 GB."),
        _RESETS,
    ],
    "squid": [
        ("H09 L03 L04 L05 L14", _BOTH_END),
        _RESETS,
        (
            "H12",
            "A name that does not exist is 500: `> CONNECT no-such-host.invalid:8000 HTTP/1.1`, `< HTTP/1.1 500 Internal Server Error`.",
        ),
        (
            "H14",
            "Behind a refusal it ends the connection, and the answer has no `Connection: close`: `> CONNECT 127.0.0.1:7 HTTP/1.1`, "
            "`< HTTP/1.1 503 Service Unavailable`, `<` the end.",
        ),
        (
            "H19 H42",
            "Of the port the digits count: `> CONNECT 127.0.0.1:8000x HTTP/1.1`, `> CONNECT 127.0.0.1:8000/path HTTP/1.1`, `< HTTP/1.1 200 "
            "Connection established`, and an echo.",
        ),
        ("H22 H23", "Host is not looked at: none, or two of it, `< HTTP/1.1 200 Connection established`."),
        (
            "H29",
            "The method may have any letters: `> connect 127.0.0.1:8000 HTTP/1.1`, `< HTTP/1.1 200 Connection established`, and an echo.",
        ),
        (
            "H35 H36",
            "getaddrinfo() takes numbers: `> CONNECT 2130706433:8000 HTTP/1.1`, `> CONNECT 0x7f000001:8000 HTTP/1.1`, `< HTTP/1.1 200 "
            "Connection established`, and an echo from 127.0.0.1.",
        ),
        (
            "H37 H40",
            "There are no rules about destinations here: 0.0.0.0 is the proxy's own host, and echoes; and it connects to itself, `> CONNECT "
            "127.0.0.1:1080 HTTP/1.1`, `< HTTP/1.1 200 Connection established`. (Debian's configuration "
            "lets only its own host in, and CONNECT to 443 alone; this column has `http_access allow all`.)",
        ),
        (
            "H44",
            "The longest name got no answer within 5 seconds, as the kit saw it. By hand, with one of 243 bytes, 500 came at once; what makes "
            "the difference is not known.",
        ),
    ],
    "privoxy": [
        ("H09 L03 L04 L05 L14", _BOTH_END),
        _RESETS,
        (
            "H07 H08",
            "Bytes behind the request are lost: `> CONNECT 127.0.0.1:8000 HTTP/1.1 ... early`, `< HTTP/1.1 200 Connection established`, and "
            "then nothing for 3 seconds.",
        ),
        (
            "H11 H12",
            "Whatever cannot be connected to is 500: `> CONNECT 127.0.0.1:7 HTTP/1.1`, `> CONNECT no-such-host.invalid:8000 HTTP/1.1`.",
        ),
        (
            "H22 H23 H24",
            "Fields mean nothing to CONNECT: none, two of Host, or `X-Blank : b`, `< HTTP/1.1 200 Connection established`.",
        ),
        ("H28", "An empty line before the request ends the connection: `<` the end."),
        (
            "H29",
            "The method may have any letters: `> connect 127.0.0.1:8000 HTTP/1.1`, `< HTTP/1.1 200 Connection established`, and an echo.",
        ),
        (
            "H35 H36",
            "getaddrinfo() takes numbers: `> CONNECT 2130706433:8000 HTTP/1.1`, `> CONNECT 0x7f000001:8000 HTTP/1.1`, `< HTTP/1.1 200 "
            "Connection established`, and an echo from 127.0.0.1.",
        ),
        (
            "H37 H40",
            "There are no rules about destinations: 0.0.0.0 is the proxy's own host, `> CONNECT 0.0.0.0:8000 HTTP/1.1`, `< HTTP/1.1 200 "
            "Connection established`, and an echo; and it connects to itself.",
        ),
        (
            "H41 H42",
            "What is before an @ or behind a / is cut off: `> CONNECT user@127.0.0.1:8000 HTTP/1.1`, `> CONNECT 127.0.0.1:8000/path "
            "HTTP/1.1`, `< HTTP/1.1 200 Connection established`, and an echo.",
        ),
        (
            "H43",
            "The line is cut off at a NUL: `> CONNECT 127.0.0.1:8000\\0.invalid:80 HTTP/1.1`, `<` nothing for 3 seconds.",
        ),
        (
            "H45 H46",
            "A target or a field without end is read on: 300,000 bytes later, `<` nothing for 3 seconds. (The kit sends a million.)",
        ),
        ("H50", "The first bytes of TLS are waited on for the end of a line that does not come: `<` nothing for 3 seconds."),
    ],
}
