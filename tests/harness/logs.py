# SPDX-License-Identifier: MIT
"""Reading the program's log lines back: `TIME LEVEL EVENT name=value name="quoted" ...`."""

import json
import re

_HEAD = re.compile(r"(\S+Z) (error|warn|info|debug|trace) (.*)", re.S)
_FIELD = re.compile(r'([a-z0-9_-]+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)')
_ESCAPE = re.compile(rb'\\(x[0-9a-fA-F]{2}|["\\])')


def _unquote(value):
    if not value.startswith('"'):
        return value

    def one(match):
        what = match.group(1)
        return bytes([int(what[1:], 16)]) if what[:1] == b"x" else what

    raw = value[1:-1].encode("latin-1", "replace")
    return _ESCAPE.sub(one, raw).decode("latin-1")


class Record(dict):
    """The fields of one line; `event` is its first word, `line` all of it."""

    def __init__(self, line):
        super().__init__()
        self.line, self.level, self.event = line, None, None
        if line.startswith("{"):
            try:
                self._from_json(json.loads(line))
            except ValueError:
                pass
            return
        head = _HEAD.fullmatch(line)
        if not head:
            return
        self.level, rest = head.group(2), head.group(3)
        words = rest.split(" ")
        while words and "=" in words[0] and not self.event and _FIELD.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            self[name] = value
        self.event = words[0] if words else None
        at = 0
        text = " ".join(words[1:])
        while at < len(text):
            field = _FIELD.match(text, at)
            if not field:
                break
            self[field.group(1)] = _unquote(field.group(2))
            at = field.end()
        self.whole = at >= len(text)

    def __bool__(self):
        return True  # a line without fields is a line

    def _from_json(self, fields):
        self.update(fields)
        self.level, self.event, self.whole = fields.get("level"), fields.get("event"), True
