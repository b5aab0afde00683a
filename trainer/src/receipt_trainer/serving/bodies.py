"""Bodies of requests: of known types, bounded in size and time before anything is decoded."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from receipt_trainer.serving.problem_details import ProblemError

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
PHOTOS: Final = (
    *("image/jpeg", "image/png", "image/webp", "image/tiff", "image/heic", "image/heif", "image/avif"),
    "application/pdf",
)
"""What a photo or a document may be called; what it is, its content says."""
_MAX_PARTS: Final = 4


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may have.

    Attributes:
        json_bytes, photo_bytes: at most.
        seconds: in which all of it must have come.
        all_bytes: of the bodies that are being received at the same time.
    """

    json_bytes: int = 2_000_000
    photo_bytes: int = 15_000_000
    seconds: float = 20.0
    all_bytes: int = 300_000_000


def media_type(request: Request, allowed: tuple[str, ...]) -> str:
    """The type of the body, without its parameters.

    Raises:
        ProblemError: none is said, it is not one of `allowed`, or the body is compressed.
    """
    said, _ = parse_options_header(request.headers.get("content-type", ""))
    found = said.decode("latin-1").lower()
    if found not in allowed:
        what = f"the body is {found}" if found else "the request does not say what its body is"
        raise ProblemError(415, f"{what}; send one of these as Content-Type: {', '.join(allowed)}"[:400])
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(415, "the body is compressed; send it as it is, without Content-Encoding")
    return found


class Bodies:
    """Bodies that are being received."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits, self._num_bytes = limits, 0

    async def read(self, request: Request, limit: int) -> bytes:
        """All of the body.

        Raises:
            ProblemError: it is larger than `limit` bytes, does not come in time, or there is no room for it.
            ClientDisconnect: who sends has gone.
        """
        too_large = ProblemError(413, f"the body is larger than {limit / 1e6:g} MB: make it smaller")
        if int(request.headers.get("content-length", "0")) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                async for chunk in request.stream():
                    body += chunk
                    self._num_bytes += len(chunk)
                    if len(body) > limit:
                        raise too_large
                    if self._num_bytes > self._limits.all_bytes:
                        raise ProblemError(503, "too much is being sent; send this again later", {"Retry-After": "5"})
        except TimeoutError:
            said = f"the body has not come within {self._limits.seconds:g} s; send it again, or a smaller one"
            raise ProblemError(408, said) from None
        finally:
            self._num_bytes -= len(body)
        return bytes(body)


def as_json(body: bytes) -> Any:
    """The body decoded.

    Raises:
        ProblemError: it is no JSON.
    """
    try:
        return json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ProblemError(400, f"the body is not JSON: {' '.join(str(error).split())[:160]}") from None


class _InMemory(MultiPartParser):
    """Parts stay in memory: no photo lies in a temporary file."""

    spool_max_size = 64_000_000  # above what any body may have


@dataclass(frozen=True, slots=True)
class FormPart:
    """A part of a form: its content, and the type that it says it has ("" if none)."""

    content: bytes
    content_type: str


async def parse_parts(request: Request, body: bytes, limits: BodyLimits) -> dict[str, FormPart]:
    """The parts of a form by name.

    Raises:
        ProblemError: the body is no form, or has too many parts.
    """

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(
        request.headers, stream(), max_files=_MAX_PARTS, max_fields=_MAX_PARTS, max_part_size=limits.json_bytes
    )
    try:
        form = await parser.parse()
        return {name: await _part(value) for name, value in form.multi_items()}
    except (MultiPartException, ValueError, KeyError) as error:
        said = getattr(error, "message", None) or "it ends too early"
        raise ProblemError(400, f"the body is not the form that Content-Type announces: {said}"[:300]) from None


async def _part(value: UploadFile | str) -> FormPart:
    if isinstance(value, str):
        return FormPart(value.encode("utf-8", "surrogatepass"), "")
    content = await value.read()
    return FormPart(content, (value.content_type or "").partition(";")[0].strip().lower())


def document_id(content: bytes) -> str:
    """A UUID made of the content's hash: the same photo is the same receipt."""
    return str(uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=5))
