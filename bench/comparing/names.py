# SPDX-License-Identifier: MIT
"""A name server for the names of the targets; what it says may be kept for an hour."""

import socket
import struct
import threading

TTL = 3600


def answer(query):
    """n7.bench.test is 127.0.0.7; of any other type than A there is nothing."""
    end = query.index(0, 12) + 5
    kind = struct.unpack_from("!H", query, end - 4)[0]
    label = query[13 : 13 + query[12]]
    found = kind == 1 and label[1:].isdigit()
    head = query[:2] + struct.pack("!HHHHH", 0x8580, 1, int(found), 0, 0)
    record = struct.pack("!HHHLH4B", 0xC00C, 1, 1, TTL, 4, 127, 0, 0, int(label[1:]) & 255) if found else b""
    return head + query[12:end] + record


def serve(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))

    def loop():
        while True:
            query, client = sock.recvfrom(512)
            try:
                sock.sendto(answer(query), client)
            except (IndexError, ValueError, struct.error):
                continue

    threading.Thread(target=loop, daemon=True).start()
