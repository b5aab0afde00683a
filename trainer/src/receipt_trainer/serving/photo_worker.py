"""The child that opens photos: one after the other on stdin, their words, or their pages as PNG, on stdout.

A photo comes as a line of JSON {"size", "name", "pages"} and its bytes, an answer goes as a line {"size"} and so many
bytes of JSON: {"pages"}, or {"refused"} where the photo is at fault, or {"failed"} where we are. The first answer says
that the child is ready: {}.
"""

from __future__ import annotations

import base64
import json
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from typing import IO, Any

from receipt_trainer.errors import UserError

Read = Callable[[bytes, str, list[int] | None], Iterable[dict[str, Any]]]
"""The pages of a photo, as JSON has them."""


def main() -> None:
    """Read photos until no more come."""
    memory_bytes, wanted = int(sys.argv[1]), sys.argv[2]
    stream, out = sys.stdin.buffer, sys.stdout.buffer
    try:
        read = _words() if wanted == "words" else _pages()
    except Exception as error:
        _say(out, failed=_told(error))
        return
    _limit(memory_bytes)
    _say(out)
    while line := stream.readline():
        _say(out, **_answer(read, json.loads(line), stream))


def _words() -> Read:
    import cv2

    from receipt_trainer.inference import ocr

    cv2.setNumThreads(1)  # as many children read as there are processors
    reader = ocr.Ocr()
    return lambda photo, name, pages: map(asdict, ocr.read_document(reader, photo, name, pages=pages).pages)


def _pages() -> Read:
    from receipt_trainer.inference.server_reader import draw_pages

    def read(photo: bytes, name: str, pages: list[int] | None) -> Iterable[dict[str, Any]]:
        return ({**asdict(page), "png": base64.b64encode(page.png).decode()} for page in draw_pages(photo, name, pages))

    return read


def _answer(read: Read, asked: dict[str, Any], stream: IO[bytes]) -> dict[str, Any]:
    photo = stream.read(asked["size"])
    try:
        return {"pages": list(read(photo, asked["name"], asked["pages"]))}
    except UserError as error:
        return {"refused": str(error)}
    except MemoryError:
        return {"refused": "reading it takes more memory than a photo may have: make it smaller"}
    except Exception as error:
        return {"failed": _told(error)}


def _told(error: Exception) -> str:
    """Where it failed, without the message, which may have words of the photo in it."""
    return "".join([*traceback.format_tb(error.__traceback__), type(error).__name__])


def _say(out: IO[bytes], **answer: Any) -> None:
    content = json.dumps(answer).encode()
    out.write(json.dumps({"size": len(content)}).encode() + b"\n" + content)
    out.flush()


def _limit(memory_bytes: int) -> None:
    """Bound the memory and leave no core file, where the system knows such bounds."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        main()
