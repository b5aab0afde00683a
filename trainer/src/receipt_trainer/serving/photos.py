"""Photos are opened in child processes: one that hangs, takes all memory or breaks a decoder ends its child alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Collection
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from receipt_trainer.data.page_words import DocumentWords, PageWords
from receipt_trainer.inference.inputs import DrawnPage, Given
from receipt_trainer.serving.problem_details import ProblemError

MEMORY_BYTES: Final = 3 << 30
"""Of a child: 40 megapixels of 32 bits take two thirds of it."""
_PAGES: Final = TypeAdapter(tuple[PageWords, ...])
_WORKER: Final = "receipt_trainer.serving.photo_worker"
_log = logging.getLogger(__name__)


class PhotoReadError(Exception):
    """A fault of ours in a child; the message says where, without words of the photo."""


class PhotoReaders:
    """Children that open photos, each started when it is first needed. Used by the event loop's thread alone."""

    def __init__(self, wanted: Literal["words", "pages"] = "words") -> None:
        """`wanted`: what is made of a photo, its words or its pages as a model is shown them."""
        self._wanted = wanted
        self._idle: list[Process] = []
        self._all: set[Process] = set()

    async def warm(self) -> None:
        """Have a child ready, so that the first photo need not wait for one to start."""
        with contextlib.suppress(ProblemError, PhotoReadError):  # the first photo says it
            self._idle.append(await self._start())

    async def read(self, photo: bytes, name: str, pages: Collection[int] | None) -> Given:
        """The words or the pages of a photo or a PDF. Cancelled, it ends the child that reads.

        Args:
            pages: numbers of those to read, from 1; all if None.

        Raises:
            ProblemError: it cannot be read: 422; no child can be had: 503.
            PhotoReadError: a fault of ours.
        """
        child = self._idle.pop() if self._idle else await self._start()
        try:
            asked = {"size": len(photo), "name": name, "pages": None if pages is None else sorted(pages)}
            answer = await _ask(child, json.dumps(asked).encode() + b"\n" + photo)
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._end(child)
            detail = "reading it takes too much memory, or the file is broken: save it anew as JPEG, or smaller"
            raise ProblemError(422, detail) from None
        except BaseException:
            await asyncio.shield(self._end(child))
            raise
        self._idle.append(child)
        if "refused" in answer:
            raise ProblemError(422, " ".join(answer["refused"].split()).removeprefix(f"{name}: "))
        if "failed" in answer:
            raise PhotoReadError(answer["failed"])
        if self._wanted == "pages":
            return Given(name, drawn=tuple(_drawn(page) for page in answer["pages"]))
        return Given(name, DocumentWords(name, _PAGES.validate_python(answer["pages"])))

    async def close(self) -> None:
        """End all children."""
        for child in list(self._all):
            await self._end(child)

    async def _start(self) -> Process:
        command = (sys.executable, "-m", _WORKER, str(MEMORY_BYTES), self._wanted)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        try:
            # In a session of its own: Ctrl+C in the terminal is for the server, which lets children finish.
            child = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, start_new_session=True
            )
        except OSError as error:
            _log.error("no reader of photos could be started: %s", error.strerror)
            raise ProblemError(
                503, "no photo can be read just now; send it again later", {"Retry-After": "5"}
            ) from None
        self._all.add(child)
        try:
            answer = await _answer(child)
        except (asyncio.IncompleteReadError, ConnectionError):
            answer = {"failed": "the reader of photos ended while it started"}
        except BaseException:
            await asyncio.shield(self._end(child))
            raise
        if "failed" in answer:
            await self._end(child)
            raise PhotoReadError(answer["failed"])
        return child

    async def _end(self, child: Process) -> None:
        """End a child, and the one that draws a PDF for it."""
        self._all.discard(child)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()


async def _ask(child: Process, request: bytes) -> dict[str, Any]:
    assert child.stdin is not None  # noqa: S101 - it is a pipe
    child.stdin.write(request)
    await child.stdin.drain()
    return await _answer(child)


async def _answer(child: Process) -> dict[str, Any]:
    assert child.stdout is not None  # noqa: S101
    head = json.loads(await child.stdout.readuntil())
    answer: dict[str, Any] = json.loads(await child.stdout.readexactly(head["size"]))
    return answer


def _drawn(said: dict[str, Any]) -> DrawnPage:
    return DrawnPage(said["number"], said["width"], said["height"], base64.b64decode(said["png"]))
