"""An EnvironmentFile read by systemd's rules a second time: by regular expressions, not by our state machine.

Only for files without comments and continued lines, as our writer makes them.
"""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"\n', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def read_like_systemd(text: str) -> dict[str, str]:
    """Variables by name; fails where the text is anything but double-quoted assignments.

    Raises:
        AssertionError: something else is in it.
    """
    variables, at = {}, 0
    while at < len(text):
        match = _ASSIGNMENT.match(text, at)
        assert match, f"not an assignment: {text[at:]!r}"
        variables[match[1]] = _ESCAPE.sub(lambda escape: _unescaped(escape[1]), match[2])
        at = match.end()
    return variables


def _unescaped(char: str) -> str:
    if char == "\n":
        return ""
    return char if char in '"\\`$' else f"\\{char}"
