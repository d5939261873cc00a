# SPDX-License-Identifier: MIT
"""What the interop tests and their fixtures agree on."""

PAGE = b"<html><body><p id=mark>tabi-was-here</p></body></html>\n"

# An address of this host that clients do not take for loopback: some never proxy that.
OUTSIDE = "198.51.100.7"
OUTSIDE6 = "2001:db8::7"
NAME = "www.example.test"
NAMES = {NAME: [OUTSIDE], "six.example.test": [OUTSIDE6], "ssh.example.test": [OUTSIDE]}
PASSWORD = "pa:ss%word"


def check_line(program, **fields):
    """The log has exactly one line of a granted session, and it says this."""
    line = program.wait_session(1, verdict="allow", **fields)
    granted = [r for r in program.sessions() if r.get("verdict") == "allow"]
    assert len(granted) == 1, "\n".join(program.lines)
    assert line["command"] == "connect"
    assert int(line["up"]) > 0 and int(line["down"]) > 0
    return line
