"""The child that reads photos: one after the other on stdin, their words on stdout.

A photo comes as a line of JSON {"size", "name", "pages"} and its bytes, an answer goes as a line {"size"} and so many
bytes of JSON: {"pages"}, or {"refused"} where the photo is at fault, or {"failed"} where we are. The first answer says
that the child is ready: {}.
"""

from __future__ import annotations

import json
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from typing import IO, TYPE_CHECKING, Any

from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.inference.ocr import Ocr


def main() -> None:
    """Read photos until no more come."""
    memory_bytes = int(sys.argv[1])
    stream, out = sys.stdin.buffer, sys.stdout.buffer
    try:
        import cv2

        from receipt_trainer.inference.ocr import Ocr

        cv2.setNumThreads(1)  # as many children read as there are processors
        ocr = Ocr()
    except Exception as error:
        _say(out, failed=_told(error))
        return
    _limit(memory_bytes)
    _say(out)
    while line := stream.readline():
        _say(out, **_answer(ocr, json.loads(line), stream))


def _answer(ocr: Ocr, asked: dict[str, Any], stream: IO[bytes]) -> dict[str, Any]:
    from receipt_trainer.inference.ocr import read_document

    photo = stream.read(asked["size"])
    try:
        document = read_document(ocr, photo, asked["name"], pages=asked["pages"])
        return {"pages": [asdict(page) for page in document.pages]}
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
