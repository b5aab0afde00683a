"""systemd's EnvironmentFile syntax: what the stack writes and an instance's systemd 252 reads.

Source: systemd.exec(5), "EnvironmentFile="; where the page is silent, the reader of systemd 252 (Amazon Linux 2023).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_BLANKS: Final = " \t\n\r"
_LINE_ENDS: Final = "\n\r"
_ESCAPED: Final = '"\\`$'
"""What a backslash takes its meaning from, inside double quotes; before anything else it stays."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def why_undeliverable(value: str) -> str | None:
    """Why systemd might not hand `value` on unchanged, or None.

    Releases differ on control characters; what Unicode says is no character makes all of them ignore the whole file.
    """
    control = _CONTROL.search(value)
    if control:
        return f"the control character U+{ord(control[0]):04X}"
    bad = next(filter(_is_no_character, value), None)
    return f"U+{ord(bad):04X}, which is no character" if bad else None


def _is_no_character(char: str) -> bool:
    point = ord(char)
    return 0xD800 <= point <= 0xDFFF or 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE


def write(variables: Mapping[str, str]) -> str:
    """The text of a file with `variables`, in their order; every value in double quotes.

    Raises:
        ValueError: a name that is none, or a value that systemd would not deliver unchanged; begins with the name.
    """
    lines = []
    for name, value in variables.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r}: not the name of a variable; allowed: letters, digits and _")
        reason = why_undeliverable(value)
        if reason:
            raise ValueError(f"{name}: has {reason}; allowed: text of any language, tabs and newlines")
        quoted = "".join(f"\\{char}" if char in _ESCAPED else char for char in value)
        lines.append(f'{name}="{quoted}"\n')
    return "".join(lines)


def read(text: str) -> dict[str, str]:
    """The variables that systemd would set from `text`; names that are none are dropped, of two alike the last counts.

    Raises:
        ValueError: it holds what is no character; systemd would use nothing of it.
    """
    variables: dict[str, str] = {}
    reader = _Reader(text)
    for name, value in iter(reader.assignment, None):
        if any(map(_is_no_character, name + value)):
            raise ValueError(f"{name!r}: has what is no character; systemd would ignore the whole file")
        if _NAME.fullmatch(name):
            variables[name] = value
    return variables


class _Reader:
    """Goes through a text once."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def _next(self) -> str:
        """The next character, or "" at the end."""
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def assignment(self) -> tuple[str, str] | None:
        """The next name and value, or None at the end."""
        while char := self._next():
            if char in "#;":
                self._skip_comment()
            elif char not in _BLANKS:
                name = self._name(char)
                if name is not None:
                    return name, self._value()
        return None

    def _skip_comment(self) -> None:
        while (char := self._next()) and char not in _LINE_ENDS:
            if char == "\\":
                self._next()  # a comment, too, goes on after a backslash at the end of its line

    def _name(self, first: str) -> str | None:
        name = first
        while (char := self._next()) and char not in _LINE_ENDS:
            if char == "=":
                return name.rstrip(_BLANKS)
            name += char
        return None  # a line without = says nothing

    def _value(self) -> str:
        """Quoted parts, with what is between and after them, up to the end of the line."""
        value = ""
        while (char := self._next()) and char not in _LINE_ENDS:
            if char == "'":
                value += self._single_quoted()
            elif char == '"':
                value += self._double_quoted()
            elif char == "\\" or char not in _BLANKS:
                return value + self._unquoted(char)
        return value

    def _unquoted(self, char: str) -> str:
        """Up to the end of the line: from here on, quotes are characters like others."""
        value, num_kept = "", 0
        while char and char not in _LINE_ENDS:
            if char == "\\":
                escaped = self._next()
                value += "" if escaped in _LINE_ENDS else escaped
                num_kept = len(value)
            else:
                value += char
                num_kept = num_kept if char in _BLANKS else len(value)
            char = self._next()
        return value[:num_kept]

    def _single_quoted(self) -> str:
        value = ""
        while (char := self._next()) and char != "'":
            value += char
        return value

    def _double_quoted(self) -> str:
        value = ""
        while (char := self._next()) and char != '"':
            if char == "\\":
                escaped = self._next()
                if escaped and escaped != "\n":
                    value += escaped if escaped in _ESCAPED else char + escaped
            else:
                value += char
        return value
