"""Reads IAM policy documents as IAM does, as far as the stack's policies go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.infra.edits import statements

Statement = dict[str, Any]


def listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def like(pattern: str, value: str) -> bool:
    """IAM's wildcards: * for any text, ? for one sign."""
    parts = re.split(r"([*?])", pattern)
    return (
        re.fullmatch("".join({"*": ".*", "?": "."}.get(p, re.escape(p)) for p in parts), value, re.DOTALL) is not None
    )


def allowed(policy: str, action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
    """Whether one of the statements allows the request; there are no denials in the stack's role policies."""
    return any(
        statement["Effect"] == "Allow"
        and any(like(pattern.lower(), action.lower()) for pattern in listed(statement["Action"]))
        and any(like(pattern, resource) for pattern in listed(statement["Resource"]))
        and all(
            _holds(operator, key, listed(values), context or {})
            for operator, wanted in statement.get("Condition", {}).items()
            for key, values in wanted.items()
        )
        for statement in statements(policy)
    )


def _holds(operator: str, key: str, values: Sequence[str], context: Mapping[str, str]) -> bool:
    given = context.get(key)
    if given is None:
        return False
    if operator == "StringEquals":
        return given in values
    if operator == "ForAllValues:StringEquals":  # of requests with one value, as all are here
        return given in values
    if operator in ("StringLike", "ArnLike", "ForAllValues:StringLike"):
        return any(like(pattern, given) for pattern in values)
    raise AssertionError(f"the reader does not know the operator {operator}")
