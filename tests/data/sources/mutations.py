"""Files of all formats with something broken in them: bytes, values, nesting, ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.data.sources.samples import SAMPLES, content

_VALUES: tuple[Any, ...] = (
    *(None, True, "", "x", -1, 0, 3.5, 1e308, -1e308, 10**400, [], {}, [[]], [{}], "\ud800", "\0", "9" * 400),
    *(float("nan"), float("inf"), [None] * 5, {"x": "y"}, "B-", [[0, 0], [1, 1], [2, 2]]),
)


def mutated(count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """`count` times a form's name, its file's name and a broken content; the same for the same seed."""
    rng = Random(seed)
    forms = list(SAMPLES)
    for n in range(count):
        form = forms[n % len(forms)]
        text = content(form)
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if value is None or rng.random() < 0.3:
            yield form, SAMPLES[form][0], _bytes(rng, text.encode())
            continue
        for _ in range(rng.choice((1, 1, 2, 5, 20))):
            value = _changed(rng, value)
        yield form, SAMPLES[form][0], json.dumps(value).encode()


def _bytes(rng: Random, data: bytes) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.choice((1, 3, 10))):
        at = rng.randrange(max(1, len(broken)))
        kind = rng.randrange(5)
        if kind == 0:
            del broken[at:]
        elif kind == 1:
            broken[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 2:
            broken[at:at] = broken[: rng.randrange(200)]
        elif kind == 3:
            del broken[at : at + rng.randrange(1, 40)]
        else:
            broken[at:at] = rng.choice(
                (b"\t", b"\n", b"<", b">", b"'", b"-", b"1e999", b"\xff\xfe", b"bbox 1 2", b"{", b"[")
            )
    return bytes(broken)


def _changed(rng: Random, value: Any) -> Any:
    """The value with something in it replaced, taken out or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        rest = {name: each for name, each in value.items() if name != key}
        return rest if rng.random() < 0.05 else value | {key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        n = rng.randrange(len(value))
        kind = rng.random()
        if kind < 0.05:
            return value[:n] + value[n + 1 :]
        if kind < 0.1:
            return [*value, value[n]]
        return [*value[:n], _changed(rng, value[n]), *value[n + 1 :]]
    return rng.choice(_VALUES)
