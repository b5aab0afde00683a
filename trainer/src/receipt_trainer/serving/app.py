"""The reader over HTTP: addresses, and what each of them does."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference.document_corrections import DocumentCorrection, DocumentCorrections
from receipt_trainer.inference.document_reader import DocumentReader
from receipt_trainer.inference.inputs import Given, Reader, of_record, page_numbers
from receipt_trainer.serving import metrics
from receipt_trainer.serving.access import PAGE_FILES, Access
from receipt_trainer.serving.admission import Admission, usable_cpus
from receipt_trainer.serving.bodies import (
    JSON,
    MULTIPART,
    PHOTOS,
    Bodies,
    BodyLimits,
    FormPart,
    as_json,
    document_id,
    media_type,
    parse_parts,
)
from receipt_trainer.serving.corrections import Correction, Corrections, Photo
from receipt_trainer.serving.gate import Gate
from receipt_trainer.serving.holder import Holder, ServerHolder
from receipt_trainer.serving.openapi import document
from receipt_trainer.serving.photos import PhotoReaders
from receipt_trainer.serving.problem_details import (
    ProblemError,
    on_fault,
    on_http_exception,
    on_problem,
    on_user_error,
    on_world_error,
)
from receipt_trainer.serving.review import ReviewQueue

Result = TypeVar("Result")
Body = TypeVar("Body", bound=BaseModel)

_FIRST_WORDS_S: Final = 0.1
_FIRST_PHOTO_S: Final = 2.0
"""What a document takes, until it has been measured."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What a server lets in.

    Attributes:
        body: of each body.
        words_wait_s, photo_wait_s: a document that would wait longer for its turn is refused at once.
        words_deadline_s, photo_deadline_s: from a document's arrival to its answer.
        workers: documents of a kind that are read at the same time.
    """

    body: BodyLimits = field(default_factory=BodyLimits)
    words_wait_s: float = 2.0
    photo_wait_s: float = 10.0
    words_deadline_s: float = 30.0
    photo_deadline_s: float = 60.0
    workers: int = field(default_factory=usable_cpus)


class Service:
    """What the addresses share.

    Attributes:
        ready: whether /readyz lets requests come.
        stuck: documents whose threads have not ended, though nobody waits for them any more.
    """

    def __init__(
        self,
        holder: Holder | ServerHolder,
        *,
        corrections: Corrections | DocumentCorrections | None,
        review: ReviewQueue | None,
        keep_photos: bool,
        limits: ServerLimits,
    ) -> None:
        self.holder, self.corrections, self.review = holder, corrections, review
        self.keep_photos, self.limits = keep_photos, limits
        self.shows_pages = holder.current().reader.family == "paddleocr-vl"
        self.photos = PhotoReaders("pages" if self.shows_pages else "words")
        self.metrics, self.ready, self.stuck = metrics.Metrics(), True, 0
        self._threads = ThreadPoolExecutor(2 * limits.workers, "reader")  # words, and what OCR has read
        self._bodies = Bodies(limits.body)
        self._writers = ThreadPoolExecutor(2, "writer")
        self._words, self._photos = (
            Admission(limits.workers, max_wait_s=wait, deadline_s=deadline, mean_s=guess)
            for wait, deadline, guess in (
                (limits.words_wait_s, limits.words_deadline_s, _FIRST_WORDS_S),
                (limits.photo_wait_s, limits.photo_deadline_s, _FIRST_PHOTO_S),
            )
        )

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """From the first to the last request."""
        self.holder.start()
        warming = asyncio.create_task(self.photos.warm())
        try:
            yield
        finally:
            warming.cancel()
            self.holder.close()
            await self.photos.close()
            for pool in (self._threads, self._writers):
                pool.shutdown(wait=False, cancel_futures=True)

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        file, kind = PAGE_FILES[request.url.path]
        return Response(file.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})

    async def healthz(self, request: Request) -> Response:
        """Whether the process answers; never touches the model."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Whether requests should come here."""
        if not self.ready:
            raise ProblemError(503, "the server ends; ask another one", {"Retry-After": "5"})
        return PlainTextResponse("ok\n")

    async def figures(self, request: Request) -> Response:
        """What is counted, for Prometheus."""
        shed = {"words": self._words.num_shed, "photo": self._photos.num_shed}
        return Response(self.metrics.text(self.holder, shed), media_type=metrics.MEDIA_TYPE)

    async def openapi(self, request: Request) -> Response:
        """The interface as OpenAPI has it."""
        return JSONResponse(document(pages=self.shows_pages))

    async def model(self, request: Request) -> Response:
        """What answers, and what else is switched on."""
        held = self.holder.current()
        return JSONResponse(
            {
                "name": held.name,
                "family": held.reader.family,
                "version": held.version,
                **held.reader.about(),
                "loaded_at": held.loaded_at.isoformat(),
                "corrections": self.corrections is not None,
                "keep_photos": self.keep_photos or isinstance(self.corrections, DocumentCorrections),
                "review": self.review is not None,
            }
        )

    async def read(self, request: Request) -> Response:
        """What is read of words, a photo or a PDF."""
        kind = media_type(request, (MULTIPART, *PHOTOS) if self.shows_pages else (JSON, MULTIPART, *PHOTOS))
        pages = _pages(request.query_params.get("pages"))
        admission, limits = (self._words if kind == JSON else self._photos), self.limits.body
        admission.check()  # before the body is received, and again behind those that came meanwhile
        body = await self._bodies.read(request, limits.json_bytes if kind == JSON else limits.photo_bytes)
        reader = self.holder.current().reader
        if kind == MULTIPART:
            form = await parse_parts(request, body, limits)
            if "file" not in form:
                raise ProblemError(400, "the form has no part called 'file'; the photo or PDF goes there")
            body = form["file"].content
        pictures = request.query_params.get("pictures") == "true"
        work = (
            partial(self._read_words, reader, body)
            if kind == JSON
            else partial(self._read_photo, reader, body, pages, pictures=pictures)
        )
        waited = partial(self.metrics.took, "wait", "words" if kind == JSON else "photo")
        answer = await admission.run(work, partial(_gone, request), waited)
        self.metrics.answer(answer)
        return Response(json.dumps(answer, allow_nan=False), media_type=JSON)

    async def fields(self, request: Request) -> Response:
        """What words say as fields with the labels that a person gave some of them."""
        if self.shows_pages:
            raise ProblemError(404, "this model writes documents, and knows no words")
        media_type(request, (JSON,))
        self._words.check()
        body = await self._bodies.read(request, self.limits.body.json_bytes)
        reader = self.holder.current().reader
        work = partial(self._in_thread, self._threads, partial(_fields, reader, request.path_params["id"], body))
        return JSONResponse(await self._words.run(work, partial(_gone, request), lambda _: None))

    async def _read_words(self, reader: Reader, body: bytes) -> dict[str, Any]:
        began = time.monotonic()
        answer = await self._in_thread(self._threads, partial(read_words, reader, body))
        self.metrics.took("read", "words", time.monotonic() - began)
        return answer

    async def _read_photo(
        self, reader: Reader, photo: bytes, pages: frozenset[int] | None, *, pictures: bool
    ) -> dict[str, Any]:
        began = time.monotonic()
        given = await self.photos.read(photo, document_id(photo), pages)
        read = time.monotonic()
        self.metrics.took("ocr", "photo", read - began)
        answer = await self._in_thread(self._threads, partial(_answer, reader, given))
        self.metrics.took("read", "photo", time.monotonic() - read)
        if pictures:
            for page, drawn in zip(answer["pages"], given.drawn, strict=False):  # of words none are drawn
                page["picture"] = f"data:image/png;base64,{base64.b64encode(drawn.png).decode()}"
        return answer

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Result:
        """What `work` returns in a thread. Cancelled, this ends when the thread does: until then its place is taken."""
        future = asyncio.get_running_loop().run_in_executor(pool, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self.stuck += 1
            await asyncio.wait({future})
            self.stuck -= 1
            raise

    async def correct(self, request: Request) -> Response:
        """Keep what a person made of an answer."""
        if self.corrections is None:
            raise ProblemError(404, "corrections are off; start the server with --corrections, or without --stack")
        kind = media_type(request, (MULTIPART,) if self.shows_pages else (JSON, MULTIPART))
        limits = self.limits.body
        body = await self._bodies.read(request, limits.json_bytes if kind == JSON else limits.photo_bytes)
        photo: Photo | None = None
        if kind == MULTIPART:
            form = await parse_parts(request, body, limits)
            if "correction" not in form:
                raise ProblemError(400, "the form has no part called 'correction'; the JSON goes there")
            body = form["correction"].content
            if isinstance(self.corrections, DocumentCorrections):
                return await self._correct_document(request, self.corrections, body, _photo(form.get("photo")))
            photo = _photo(form.get("photo")) if self.keep_photos else None
        assert not isinstance(self.corrections, DocumentCorrections)  # noqa: S101 - these come as forms
        work = partial(_save, self.corrections, self.review, request.path_params["id"], body, photo)
        return JSONResponse(await self._in_thread(self._writers, work))

    async def _correct_document(
        self, request: Request, corrections: DocumentCorrections, body: bytes, photo: Photo | None
    ) -> Response:
        """Keep a document that a person has put right, and the pages that it is of."""
        if photo is None:
            raise ProblemError(400, "the form has no part called 'photo'; the photo or PDF that was read goes there")
        correction, name = _parsed(DocumentCorrection, body), document_id(photo.content)
        if request.path_params["id"] != name:
            raise ProblemError(422, "the photo is another one than the answer is of; send the file that was read")
        draw = partial(self.photos.read, photo.content, name, correction.by_page.keys())
        waited = partial(self.metrics.took, "wait", "photo")
        given = await self._photos.run(draw, partial(_gone, request), waited)
        work = partial(corrections.save, name, correction, given.drawn)
        return JSONResponse(asdict(await self._in_thread(self._writers, work)))

    async def reviews(self, request: Request) -> Response:
        """The queue of receipts that a person should look at, the least sure first."""
        entries = await self._ask_review(lambda review: review.entries())
        done = sum(entry["state"] == "done" for entry in entries)
        return JSONResponse({"entries": entries, "total": len(entries), "done": done})

    async def review_entry(self, request: Request) -> Response:
        """A receipt of the queue as an answer."""
        key = request.path_params["key"]
        return JSONResponse(await self._ask_review(lambda review: review.entry(key)))

    async def review_photo(self, request: Request) -> Response:
        """The photo of a receipt of the queue."""
        key = request.path_params["key"]
        photo = await self._ask_review(lambda review: review.photo(key))
        if photo is None:
            raise ProblemError(404, "no photo of this receipt has been kept")
        return Response(photo.content, media_type=photo.content_type)

    async def _ask_review(self, ask: Callable[[ReviewQueue], Any]) -> Any:
        if self.review is None:
            raise ProblemError(
                404, "there is no queue; start the server with --review FILE, or --stack NAME --corrections"
            )
        try:
            return await self._in_thread(self._writers, partial(ask, self.review))
        except KeyError:
            raise ProblemError(404, "the queue has no such receipt; load the page again") from None


def read_words(reader: Reader, body: bytes) -> dict[str, Any]:
    """The answer to words as JSON.

    Raises:
        ProblemError: they are no receipt.
    """
    record = as_json(body)
    if not isinstance(record, Mapping) or "words" not in record:
        raise ProblemError(422, "the body is no receipt: send {width, height, words: [{text, box: [x0, y0, x1, y1]}]}")
    return _answer(reader, of_record(record, document_id(body)))


def _fields(reader: Reader, receipt_id: str, body: bytes) -> dict[str, Any]:
    assert isinstance(reader, DocumentReader)  # noqa: S101 - no other knows words
    correction = _parsed(Correction, body)
    return reader.fields_of(correction.model_dump() | {"id": receipt_id}, correction.judged)


def _answer(reader: Reader, given: Given) -> dict[str, Any]:
    try:
        return reader.answer(given)
    except UserError as error:
        raise UserError(str(error).removeprefix(f"{given.name}: ")) from None


def _save(
    corrections: Corrections, review: ReviewQueue | None, receipt_id: str, body: bytes, photo: Photo | None
) -> dict[str, Any]:
    correction = _parsed(Correction, body)
    saved = corrections.save(receipt_id, correction, photo)
    if review is not None and correction.confirmed and correction.review_key is not None:
        review.done(correction.review_key)
    return asdict(saved)


def _parsed(form: type[Body], body: bytes) -> Body:
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ProblemError(
            422, f"the correction is not as /openapi.json has it: {where}: {first['msg']}"[:300]
        ) from None


def _photo(part: FormPart | None) -> Photo | None:
    if part is None:
        return None
    if part.content_type not in PHOTOS:
        raise ProblemError(415, f"the photo must be one of these: {', '.join(PHOTOS)}")
    return Photo(part.content, part.content_type)


def _pages(said: str | None) -> frozenset[int] | None:
    try:
        return None if said is None else page_numbers(said[:100], "pages")
    except UserError as error:
        raise ProblemError(400, str(error)) from None


async def _gone(request: Request) -> None:
    """Returns when who asked has gone. The body has been read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True, slots=True)
class App:
    """The application, and what the process does with it when it ends."""

    asgi: Gate
    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        await self.asgi(scope, receive, send)

    def drain(self) -> None:
        """From now on /readyz refuses, and each answer closes its connection."""
        self.asgi.draining, self.service.ready = True, False


def create_app(
    holder: Holder | ServerHolder,
    *,
    corrections: Corrections | DocumentCorrections | None = None,
    review: ReviewQueue | None = None,
    access: Access | None = None,
    limits: ServerLimits | None = None,
    keep_photos: bool = False,
) -> App:
    """The application.

    Args:
        holder: has the model.
        corrections: where corrections go, of documents where the model writes such; None: they are not taken.
        review: receipts that a person should look at; None: there are none.
        access: who may ask; by default loopback alone.
        keep_photos: with corrections.
    """
    service = Service(
        holder, corrections=corrections, review=review, keep_photos=keep_photos, limits=limits or ServerLimits()
    )
    routes = [
        *(Route(path, service.page) for path in PAGE_FILES),
        Route("/healthz", service.healthz),
        Route("/readyz", service.readyz),
        Route("/metrics", service.figures),
        Route("/openapi.json", service.openapi),
        Route("/v1/model", service.model),
        Route("/v1/receipts:read", service.read, methods=["POST"]),
        Route("/v1/receipts/{id:path}:fields", service.fields, methods=["POST"]),
        Route("/v1/receipts/{id:path}:correct", service.correct, methods=["POST"]),
        Route("/v1/review", service.reviews),
        Route("/v1/review/{key:path}/photo", service.review_photo),
        Route("/v1/review/{key:path}", service.review_entry),
    ]
    handlers = {
        ProblemError: on_problem,
        UserError: on_user_error,
        WorldError: on_world_error,
        HTTPException: on_http_exception,
        Exception: on_fault,
    }
    app = Starlette(routes=routes, lifespan=service.lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return App(Gate(app, access or Access(), service.metrics), service)
