# SPDX-License-Identifier: MIT
"""libtabi as somebody else finds it: installed, and known through pkg-config alone."""

import os
import shutil
import subprocess

from harness.tabi import BINARY, ROOT

VALGRIND = (
    "valgrind",
    "-q",
    "--error-exitcode=99",
    "--leak-check=full",
    "--suppressions=" + os.path.join(ROOT, "tests", "lib", "valgrind.supp"),
)


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


class Library:
    """Installs it into a folder; programs are built with what pkg-config says of it."""

    def __init__(self, directory):
        self.directory = str(directory)
        self.root = os.path.join(self.directory, "root")
        build = os.path.dirname(BINARY)
        output("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", self.root)
        found = [d for d, _, files in os.walk(self.root) if "libtabi.so" in files]
        assert len(found) == 1, found
        self.lib = found[0]
        self.environment = {
            "PKG_CONFIG_PATH": os.path.join(self.lib, "pkgconfig"),
            "PKG_CONFIG_SYSROOT_DIR": self.root,
        }
        self._programs = {}

    def pkg_config(self, *args):
        # libuv is the system's own, and asked for without the prefix of what is not installed there.
        words = []
        for package in [a for a in args if not a.startswith("-")]:
            options = [a for a in args if a.startswith("-")]
            env = {**os.environ, **(self.environment if package == "tabi" else {})}
            words += output("pkg-config", *options, package, env=env).split()
        return words

    def build(self, source, *packages):
        """A program from a file of the source; only once."""
        if source not in self._programs:
            program = os.path.join(self.directory, os.path.basename(source)[:-2])
            flags = self.pkg_config("--cflags", "--libs", "tabi", *packages)
            output(
                "cc", "-g", "-Wall", "-Wextra", "-Werror", os.path.join(ROOT, source),
                "-o", program, *flags,
            )  # fmt: skip
            self._programs[source] = program
        return self._programs[source]

    def example(self, name):
        return self.build(f"examples/{name}.c", *(["libuv"] if name == "libuv" else []))

    def run(self, program, *args, data=b"", env=None, timeout=60, before=(), preexec=None):
        return subprocess.run(
            [*before, program, *map(str, args)],
            input=data,
            capture_output=True,
            timeout=timeout,
            preexec_fn=preexec,
            env={**os.environ, "LD_LIBRARY_PATH": self.lib, **(env or {})},
        )


def check_tools():
    """Not there is a failure, not a reason to skip: ./test installs them all."""
    for name in ("pkg-config", "meson"):
        assert shutil.which(name), f"{name} is not installed"
