"""Pages of a PDF, drawn by PDFium in a process of its own.

A small PDF can ask for work without end, nothing in PDFium bounds it, and PDFium takes one thread at a time: so the
child has bounds of CPU time and memory, and what happens to it is told as a fault of the file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final, cast

from PIL import Image

from receipt_trainer.errors import UserError

MAX_CPU_S: Final = 20
"""Of a page: five on a slow machine are many."""
MAX_MEMORY_BYTES: Final = 2 << 30
_RENDERER: Final = "receipt_trainer.pages.pdf_renderer"


@contextmanager
def drawn(data: bytes, numbers: Sequence[int], called: str) -> Iterator[tuple[int, Iterator[Image.Image]]]:
    """How many pages a PDF says that it has, and those of `numbers` (from 1) in RGB, each drawn when it is asked for.

    Without numbers the pages from the first to the last.

    Raises:
        UserError: the PDF or a page cannot be read, is locked, or takes too much time or memory.
        ModuleNotFoundError: pypdfium2 is not installed.
    """
    with _child(data, numbers) as stream:
        yield int(_answer(stream, called)["pages"]), _images(stream, called)


def _images(stream: IO[bytes], called: str) -> Iterator[Image.Image]:
    while True:
        answer = _answer(stream, called)
        width, height = int(answer["width"]), int(answer["height"])
        pixels = stream.read(3 * width * height)
        if len(pixels) < 3 * width * height:
            raise _ended(called)
        yield Image.frombytes("RGB", (width, height), pixels)


@contextmanager
def _child(data: bytes, numbers: Sequence[int]) -> Iterator[IO[bytes]]:
    """What the renderer writes; it is ended when the block is left."""
    with tempfile.TemporaryFile() as document:
        document.write(data)
        document.seek(0)
        command = [sys.executable, "-m", _RENDERER, *map(str, (MAX_CPU_S, MAX_MEMORY_BYTES, *numbers))]
        with subprocess.Popen(command, stdin=document, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
            try:
                yield cast(IO[bytes], child.stdout)
            finally:
                child.kill()


def _answer(stream: IO[bytes], called: str) -> dict[str, str | int]:
    line = stream.readline()
    if not line:
        raise _ended(called)
    answer: dict[str, str | int] = json.loads(line)
    if "missing" in answer:
        raise ModuleNotFoundError(f"no module {answer['missing']}", name=str(answer["missing"]))
    if "error" in answer:
        raise UserError(f"{called}: {answer['error']}")
    return answer


def _ended(called: str) -> UserError:
    return UserError(
        f"{called}: not a readable PDF: drawing it takes more than {MAX_CPU_S} s or {MAX_MEMORY_BYTES >> 30} GiB"
    )
