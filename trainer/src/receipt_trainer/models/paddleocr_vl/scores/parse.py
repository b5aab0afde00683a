"""Answers read as JSON: strictly, as the scores demand, and tolerantly, to tell a wrong format from a wrong reading."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

_FENCE = re.compile(r"```[A-Za-z]*[ \t]*\n?(.*?)(?:```|\Z)", flags=re.S)


def read_strictly(answer: str) -> dict[str, Any] | None:
    """The object that `answer` is, white space around it aside; None if it is not one object of RFC 8259 JSON.

    NaN and Infinity, which Python's reader admits and the standard does not, are refused.
    """
    try:
        value = json.loads(answer, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_tolerantly(answer: str) -> dict[str, Any] | None:
    """The first object in `answer`: inside a code fence if there is one, whatever stands around it.

    Nothing is repaired: a bracket or a quote that is missing stays missing.
    """
    fence = _FENCE.search(answer)
    for text in ([fence[1]] if fence else []) + [answer]:
        start = text.find("{")
        if start < 0:
            continue
        try:
            value, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
