# SPDX-License-Identifier: MIT
"""Headers of the PROXY protocol."""

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0, 1
UNSPEC, TCP4, UDP4, TCP6, UNIX = 0, 0x11, 0x12, 0x21, 0x31


def v1(source, port=54321, to="198.51.100.1", to_port=1080):
    family = 6 if ":" in source else 4
    if family == 6 and ":" not in to:
        to = "2001:db8::1080"
    return f"PROXY TCP{family} {source} {to} {port} {to_port}\r\n".encode()


def addresses(source, port=54321, to="198.51.100.1", to_port=1080):
    if ":" in source and ":" not in to:
        to = "2001:db8::1080"
    packed = [ipaddress.ip_address(a).packed for a in (source, to)]
    return b"".join(packed) + struct.pack(">HH", port, to_port)


def tlv(kind, value):
    return struct.pack(">BH", kind, len(value)) + value


def v2_raw(body, family=TCP4, command=PROXY, version=2):
    return SIGNATURE + struct.pack(">BBH", version << 4 | command, family, len(body)) + body


def v2(source, *rest, tlvs=b"", command=PROXY):
    family = TCP6 if ":" in source else TCP4
    return v2_raw(addresses(source, *rest) + tlvs, family, command)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def v2_summed(source, wrong=0):
    """With a checksum, to which `wrong` is added."""
    header = bytearray(v2(source, tlvs=tlv(3, bytes(4))))
    header[-4:] = struct.pack(">I", crc32c(header) ^ wrong)
    return bytes(header)
