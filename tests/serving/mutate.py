"""Bodies with something wrong or odd in them, drawn by a seed."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any, Final

ODD: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        -1,
        0,
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        2**70,
        0.5,
        "",
        "x" * 5000,
        "\ud800",
        "\0",
        "\u202e",
    ),
    *([], {}, [[]], {"text": 1}, "1" * 400, "12.50", "99/99/9999", "²³", "٣٤", "𝟙", "a\nb", "\u200b", -0.0, 1e-320),
)
TYPES: Final = ("application/json", "image/jpeg", "image/png", "application/pdf", "multipart/form-data; boundary=b")
HEADS: Final = (
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"RIFF\0\0\0\0WEBP",
    b"%PDF-1.7\n",
    b"\0\0\0\x18ftypheic",
)


def mutated(random: Random, words: dict[str, Any], photo: bytes) -> tuple[bytes, str, dict[str, str]]:
    """A body, its content type and query: mostly JSON, whose values or bytes are changed; sometimes a broken photo."""
    if random.random() < 0.9:
        record = copy.deepcopy(words)
        for _ in range(random.randint(1, 3)):
            _change(random, record)
        body = json.dumps(record).encode()
        return (_damaged(random, body) if random.random() < 0.2 else body), TYPES[0], {}
    start = random.randrange(len(photo) - 600)
    body = random.choice((photo[:600], *HEADS)) + photo[start : start + random.randrange(600)]
    kind = random.choice(TYPES[1:])
    if kind.startswith("multipart"):
        body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + body + b"\r\n--b--\r\n"
        body = _damaged(random, body)
    return body, kind, random.choice(({}, {"pages": "1"}, {"pages": "2-3"}, {"pages": "x"}, {"pages": "9" * 5000}))


def _change(random: Random, value: Any) -> None:
    """One value somewhere below becomes another one, goes, or comes twice."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return
    key = random.choice(keys)
    if isinstance(value[key], dict | list) and value[key] and random.random() < 0.8:
        _change(random, value[key])
    elif random.random() < 0.15:
        del value[key]
    elif isinstance(value, list) and random.random() < 0.3:
        value += value * random.randint(1, 50)
    else:
        value[key] = random.choice(ODD)


def _damaged(random: Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(random.randint(1, 8)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed[: random.randint(1, len(changed))]) if random.random() < 0.3 else bytes(changed)
