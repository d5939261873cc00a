# SPDX-License-Identifier: MIT
"""A network of its own for each test, as root or not.

unshare() moves the calling thread only; threads and processes started afterwards inherit. So a
test gets its namespace before anything else of it starts, and whatever an earlier test left
running stays in that one's.
"""

import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct
import time

CLONE_NEWUSER = 0x10000000
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

SIOCGIFINDEX = 0x8933
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
IFF_UP = 1
IFF_LOOPBACK = 8

_libc = ctypes.CDLL(None, use_errno=True)


def _unshare(flags):
    if _libc.unshare(flags) != 0:
        err = ctypes.get_errno()
        raise OSError(err, "unshare: " + os.strerror(err))


def enter_user_namespace():
    """Once per run, while there is one thread: without root, a namespace in which we may do as we
    please with networks. Everybody keeps the user id he has, so the program under test does not
    take itself for root."""
    if os.geteuid() == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    _unshare(CLONE_NEWUSER)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)


_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAP_NET_ADMIN = 12


def keep_net_admin():
    """For a process about to be started that sets up networks: without root execve() would take
    away what we may do in the user namespace."""
    if os.geteuid() == 0:
        return
    head = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    sets = ctypes.create_string_buffer(24)
    if _libc.capget(head, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    # Effective, permitted and inheritable, of 32 each; the third becomes the second.
    low = list(struct.unpack("6I", sets.raw))
    low[2], low[5] = low[1], low[4]
    if _libc.capset(head, struct.pack("6I", *low)) != 0 or _libc.prctl(
        _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_NET_ADMIN, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "capset")


MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000


def _mount(source, target, flags):
    if _libc.mount(source, os.fsencode(target), None, flags, None) != 0:
        err = ctypes.get_errno()
        raise OSError(err, f"mount on {target}: " + os.strerror(err))


def mount_over(source, target):
    """For a process about to be started: it alone sees `source` in the place of `target`."""
    _unshare(CLONE_NEWNS)
    try:
        _mount(None, "/", MS_REC | MS_PRIVATE)
    except OSError as err:
        # In a chroot / is no mount; then the target must be one.
        if err.errno != errno.EINVAL:
            raise
        _mount(None, target, MS_REC | MS_PRIVATE)
    _mount(os.fsencode(source), target, MS_BIND)


def _interface_up(sock, name):
    fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", name, IFF_UP | IFF_LOOPBACK))


def enter_fresh():
    """A new network namespace with nothing but a loopback interface that is up."""
    _unshare(CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _interface_up(sock, b"lo")


_aliases = 0


def add_address(text):
    """Gives this host one more address. It is on the loopback interface, so everything sent to it
    stays here, but it is no loopback address."""
    global _aliases
    ip = ipaddress.ip_address(text)
    if ip.version == 4:
        _aliases += 1
        name = b"lo:%d" % _aliases
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for request, value in ((SIOCSIFADDR, ip.packed), (SIOCSIFNETMASK, b"\xff" * 4)):
                address = struct.pack("HH4s8x", socket.AF_INET, 0, value)
                fcntl.ioctl(sock, request, struct.pack("16s16s8x", name, address))
    else:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            index = socket.if_nametoindex("lo")
            fcntl.ioctl(sock, SIOCSIFADDR, struct.pack("16sIi", ip.packed, 128, index))
            _wait_usable(sock, text)
    return text


def _wait_usable(sock, text):
    """The kernel takes a new IPv6 address for tentative until a worker of its own has run."""
    end = time.monotonic() + 5
    while True:
        try:
            sock.bind((text, 0))
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.001)
