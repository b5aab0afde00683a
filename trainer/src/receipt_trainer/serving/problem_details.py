"""What goes wrong, as RFC 9457 has it: application/problem+json, with a detail that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MEDIA_TYPE: Final = "application/problem+json"
_DETAILS: Final = {
    404: "there is nothing at this address; /openapi.json says what is",
    405: "this address takes another method; Allow names it",
}


class ProblemError(Exception):
    """A request that is not answered as it was asked.

    Attributes:
        status: of HTTP.
        detail: one sentence: what is wrong, and what to do.
        headers: of the answer, such as Retry-After.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers

    def response(self) -> Response:
        """As an answer. The type is RFC 9457's own for those that the status tells apart."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return JSONResponse(content, self.status, self.headers, MEDIA_TYPE)


async def on_problem(request: Request, error: Exception) -> Response:
    """The answer to a problem that a handler raised."""
    assert isinstance(error, ProblemError)  # noqa: S101 - it is registered for these alone
    return error.response()


async def on_http_exception(request: Request, error: Exception) -> Response:
    """The answer where the router knows no address or method."""
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = _DETAILS.get(error.status_code, error.detail)
    return ProblemError(error.status_code, detail, error.headers).response()


async def on_user_error(request: Request, error: Exception) -> Response:
    """The answer to what cannot be read or kept so."""
    return ProblemError(422, " ".join(str(error).split())).response()


async def on_world_error(request: Request, error: Exception) -> Response:
    """The answer where a table, a bucket, a disk or another server cannot be reached just now."""
    detail = f"{' '.join(str(error).split())}; send it again later"
    return ProblemError(503, detail, {"Retry-After": "5"}).response()


async def on_fault(request: Request, error: Exception) -> Response:
    """The answer to a fault of ours: what it is stands in the log alone."""
    return ProblemError(500, "a fault of the server; its log says more").response()
