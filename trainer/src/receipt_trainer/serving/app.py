"""The reader over HTTP: routes, and what each of them does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receipt_trainer.data.page_words import DocumentWords
from receipt_trainer.errors import UserError
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.inference.inputs import Given, of_record, page_numbers
from receipt_trainer.serving.access import PAGE_FILES, SECURITY_HEADERS, Access
from receipt_trainer.serving.bodies import (
    JSON,
    MULTIPART,
    PHOTOS,
    BodyLimits,
    as_json,
    document_id,
    file_of,
    media_type,
    parse_parts,
    read_body,
)
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.problems import ProblemError, on_http_exception, on_problem

_PAGE: Final = Path(__file__).with_name("page")


class Server:
    """What the routes share."""

    def __init__(self, holder: Holder, *, corrections: Any, review: Any, limits: BodyLimits, workers: int) -> None:
        self.holder, self.corrections, self.review, self.limits = holder, corrections, review, limits
        self._threads = ThreadPoolExecutor(workers, "reader")

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        name, kind = PAGE_FILES[request.url.path]
        try:
            content = (_PAGE / name).read_bytes()
        except FileNotFoundError:
            raise HTTPException(404) from None
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    async def healthz(self, request: Request) -> Response:
        """Whether the process answers; never touches the model."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Whether it takes requests."""
        return PlainTextResponse("ok\n")

    async def model(self, request: Request) -> Response:
        """What answers, and what else is switched on."""
        held = self.holder.current()
        manifest = held.reader.manifest
        return JSONResponse(
            {
                "name": held.name,
                "version": held.version,
                "precision": manifest.precision,
                "labels": list(manifest.labels),
                "calibrated": manifest.calibration.calibrated,
                "loaded_at": held.loaded_at.isoformat(),
                "corrections": self.corrections is not None,
                "keep_photos": False,
                "review": self.review is not None,
            }
        )

    async def read(self, request: Request) -> Response:
        """What is read of words, a photo or a PDF."""
        kind = media_type(request, (JSON, MULTIPART, *PHOTOS))
        pages = _pages(request.query_params.get("pages"))
        limit = self.limits.json_bytes if kind == JSON else self.limits.photo_bytes
        body = await read_body(request, limit, self.limits.seconds)
        reader = self.holder.current().reader
        loop = asyncio.get_running_loop()
        if kind == JSON:
            return _json(await loop.run_in_executor(self._threads, read_words, reader, body))
        if kind == MULTIPART:
            photo = await file_of(await parse_parts(request, body, self.limits), "file")
            if photo is None:
                raise ProblemError(400, "the form has no part called 'file'; the photo or PDF goes there")
        else:
            photo = body
        return _json(await loop.run_in_executor(self._threads, read_photo, reader, photo, pages))


def read_words(reader: DocumentReader, body: bytes) -> dict[str, Any]:
    """The answer to words as JSON.

    Raises:
        ProblemError: they are no receipt.
    """
    record = as_json(body)
    if not isinstance(record, Mapping) or "words" not in record:
        raise ProblemError(422, "the body is no receipt: send {width, height, words: [{text, box: [x0, y0, x1, y1]}]}")
    return _answer(reader, of_record(record, document_id(body)))


def read_photo(reader: DocumentReader, photo: bytes, pages: frozenset[int] | None) -> dict[str, Any]:
    """The answer to a photo or a PDF.

    Raises:
        ProblemError: it cannot be read.
    """
    from receipt_trainer.inference.ocr import read_document

    name = document_id(photo)
    try:
        words: DocumentWords = read_document(reader.ocr(), photo, name, pages=pages)
    except UserError as error:
        raise _unreadable(error, name) from None
    return _answer(reader, Given(name, words))


def _answer(reader: DocumentReader, given: Given) -> dict[str, Any]:
    try:
        return reader.answer(given)
    except UserError as error:
        raise _unreadable(error, given.name) from None


def _unreadable(error: UserError, name: str) -> ProblemError:
    return ProblemError(422, " ".join(str(error).split()).removeprefix(f"{name}: "))


def _pages(said: str | None) -> frozenset[int] | None:
    try:
        return None if said is None else page_numbers(said, "pages")
    except UserError as error:
        raise ProblemError(400, str(error)) from None


def _json(answer: Mapping[str, Any]) -> Response:
    return Response(json.dumps(answer, allow_nan=False), media_type=JSON)


class _Gate:
    """Around every request: who may ask, and what every answer bears."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), text.encode()) for name, text in SECURITY_HEADERS.items()]
            await send(message)

        request = Request(scope)
        try:
            self._access.check(request.method, scope["path"], request.headers)
        except ProblemError as problem:
            await problem.response()(scope, receive, sent)
            return
        await self._app(scope, receive, sent)


def create_app(
    holder: Holder,
    *,
    corrections: Any = None,
    review: Any = None,
    access: Access | None = None,
    limits: BodyLimits | None = None,
    workers: int = 1,
) -> Starlette:
    """The application.

    Args:
        holder: has the model.
        corrections: where corrections go; None: they are not taken.
        review: receipts that a person should look at; None: there are none.
        access: who may ask; by default loopback alone.
        limits: of bodies.
        workers: documents that are read at the same time.
    """
    server = Server(holder, corrections=corrections, review=review, limits=limits or BodyLimits(), workers=workers)
    routes = [
        *(Route(path, server.page) for path in PAGE_FILES),
        Route("/healthz", server.healthz),
        Route("/readyz", server.readyz),
        Route("/v1/model", server.model),
        Route("/v1/receipts:read", server.read, methods=["POST"]),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(_Gate, access or Access())],
        exception_handlers={ProblemError: on_problem, HTTPException: on_http_exception},
    )
    app.router.redirect_slashes = False
    return app
