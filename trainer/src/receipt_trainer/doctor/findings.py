"""Findings of checks, and reasons why a check could not run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from receipt_trainer.aws.clients import error_code

Level = Literal["ok", "warning", "failure"]

DENIED: Final = frozenset(
    {
        *("403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException"),
        *("Client.UnauthorizedOperation", "NotAuthorized", "UnauthorizedException", "UnauthorizedOperation"),
    }
)
"""Codes of a right that is lacking. Source: Common Errors in the API references of the services."""

_MAX_WORDS: Final = 240
_ACTION: Final = re.compile(r"not authorized to perform: ([\w-]+:\w+)")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer, with commands that mend it in their order; what is no command ends with a full stop.

    `is_seen` is false where it only says that something could not be looked at.
    """

    level: Level
    text: str
    remedies: tuple[str, ...] = ()
    is_seen: bool = True


def ok(text: str) -> Finding:
    """All is well."""
    return Finding("ok", text)


def warning(text: str, *remedies: str) -> Finding:
    """It works, or may work, with a drawback."""
    return Finding("warning", text, remedies)


def failure(text: str, *remedies: str) -> Finding:
    """Something does not work until it is mended."""
    return Finding("failure", text, remedies)


def cannot_look(at: str, error: Exception) -> Finding:
    """Why `at` could not be looked at: a right that is lacking is a warning with its name, all else a failure."""
    answer: BaseException | None = error  # AWS's own answer stands behind an error of ours
    while answer is not None and not error_code(answer):
        answer = answer.__cause__
    if error_code(answer) in DENIED:
        action = denied_action(answer)
        ask = f"Ask for {action}, or have it looked at."
        return Finding("warning", f"{at}: not looked at, you lack the right {action}", (ask,), is_seen=False)
    again = "Look again; if that lasts, see the AWS Health Dashboard."
    return Finding("failure", f"{at}: not looked at: {one_line(error)}", (again,), is_seen=False)


def guarded(at: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; what it raises becomes its last finding, so that it hides no other."""
    try:
        yield from look()
    except Exception as error:
        yield cannot_look(at, error)


def denied_action(error: BaseException | None) -> str:
    """The action that was refused, in IAM's words, such as `ec2:DescribeImages`."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    said = _ACTION.search(str(error))
    return said[1] if said else str(response.get("ResponseMetadata", {}).get("Action", "for it"))


def one_line(error: object) -> str:
    """An error's first words; never a page of HTML."""
    text = " ".join(str(error).split()) or type(error).__name__
    if re.search(r"<!doctype|<html", text, re.IGNORECASE):
        return "it answered with a web page instead of an answer of AWS"
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}..."
