# SPDX-License-Identifier: MIT
"""Configurations that many tests share."""

PROXY = ("127.0.0.1", 1080)

# One worker, so that what is counted is counted in one place.
HEAD = """\
workers 1
listen 127.0.0.1:1080
listen [::1]:1080
resolver 127.0.0.1:5353
"""
ALLOW_ALL = "allow from loopback to any\n"
LOCAL = HEAD + ALLOW_ALL


def local(*lines):
    """LOCAL with statements before its last one."""
    return HEAD + "".join(line + "\n" for line in lines) + ALLOW_ALL
