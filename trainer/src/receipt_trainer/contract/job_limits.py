"""How large a job may be, so that every accepted job can be stored, claimed, failed and cancelled later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from receipt_trainer.contract.job import JobSpec

MAX_DESCRIPTION: Final = 4000
"""Characters."""
MAX_TAGS: Final = 50
MAX_TAG_KEY: Final = 128
"""Characters."""
MAX_TAG_VALUE: Final = 256
"""Characters."""
MAX_ROW_BYTES: Final = 350_000
"""Bytes of a new row. DynamoDB takes 409,600 (400 KB): the rest is for what a job's life adds, such as its reasons."""

Path = tuple[str, ...]
"""Keys that lead to a value in a job file."""


def too_long(spec: JobSpec[Any, Any]) -> tuple[Path, str] | None:
    """The first part of a job that is too long: where it stands and what is wrong; None for none.

    Stored jobs are not held to it: older versions had no such limits.
    """
    if len(spec.description) > MAX_DESCRIPTION:
        return ("description",), f"has {len(spec.description):,} characters; at most {MAX_DESCRIPTION:,}"
    if len(spec.tags) > MAX_TAGS:
        return ("tags",), f"are {len(spec.tags):,}; at most {MAX_TAGS}"
    for key, value in spec.tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY:
            return ("tags",), f"have a key of {len(key):,} characters ({key[:20]!r}); 1 to {MAX_TAG_KEY}"
        if len(value) > MAX_TAG_VALUE:
            return ("tags", key), f"has {len(value):,} characters; at most {MAX_TAG_VALUE}"
    return None


def no_text(spec: JobSpec[Any, Any]) -> tuple[Path, str] | None:
    """The first text of a job that cannot be stored, as `too_long`."""
    for path, text in _texts(spec.model_dump()):
        if half := half_character(text):
            return path, f"holds {half}, half a character, which cannot be stored"
    return None


def half_character(text: str) -> str:
    r"""The first lone surrogate of a text as it would be written, such as `\ud800`; "" if it has none."""
    return next((f"\\u{ord(char):04x}" for char in text if "\ud800" <= char <= "\udfff"), "")


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """All texts of plain values, keys among them, with the keys that lead there."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield path, str(key)  # before it leads on: a key that cannot be stored cannot be said either
            yield from _texts(inner, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, path)
