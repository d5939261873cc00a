# SPDX-License-Identifier: MIT
"""`tabi connect` as tests call it, and what its exit statuses mean."""

import os
import subprocess

from harness.tabi import BINARY, SANITIZER

OK, LOCAL, USAGE, UNREACHABLE_PROXY, TLS, AUTH, BROKEN_PROXY = range(7)
DENIED, REFUSED, UNREACHABLE, NOT_FOUND, TIMEOUT, CUT, UNSUPPORTED, FAILED = range(7, 15)

VARIABLES = ("TABI_PROXY", "ALL_PROXY", "all_proxy", "TABI_PASSWORD")


def environment(more=None):
    """Nobody's settings but those of the test."""
    env = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    return {**env, **(more or {})}


def connect(*args, data=b"", env=None, timeout=40, **options):
    """To its end; returns it with standard output and error."""
    done = subprocess.run(
        (BINARY, "connect", *args), input=data, capture_output=True, timeout=timeout,
        env=environment(env), **options,
    )  # fmt: skip
    for mark in SANITIZER:
        assert mark.encode() not in done.stderr, done.stderr
    return done


class Running(subprocess.Popen):
    """As the context of a block it ends with it, where the block fails."""

    def __exit__(self, kind, *rest):
        if kind:
            self.kill()
        return super().__exit__(kind, *rest)


def start(*args, env=None, **options):
    """Running; its three descriptors are pipes unless the options say otherwise."""
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    return Running((BINARY, "connect", *args), env=environment(env), **{**pipes, **options})


def check(done, status, *words):
    """It ended with this status, said these words, and the first ones began its message."""
    said = done.stderr.decode()
    assert done.returncode == status, (done.returncode, said)
    for word in words:
        assert word in said, said
    if status != OK and said:
        assert said.startswith("tabi connect: "), said
    return done
