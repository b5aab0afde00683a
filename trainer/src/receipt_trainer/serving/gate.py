"""Around every request: who may ask, faults of ours, the access log, and what every answer bears."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receipt_trainer.serving.access import SECURITY_HEADERS, Access
from receipt_trainer.serving.metrics import Metrics
from receipt_trainer.serving.photos import PhotoReadError
from receipt_trainer.serving.problem_details import ProblemError

CLIENT_GONE: Final = 499
"""Counted for a request whose sender has gone: nobody gets it."""
_CUT: Final = (408, 413)
"""Answers to bodies that may never end: their connections do."""
_DRAINED_BYTES: Final = 20_000_000
_DRAINED_S: Final = 5.0
_log: Final = logging.getLogger("receipt_trainer.serving")


class Gate:
    """The outermost part of the application.

    Attributes:
        draining: the server ends: each answer also closes its connection.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app, self._access, self._metrics = app, access, metrics
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; log method, address as routed, status and time, and nothing else of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came = time.monotonic()
        exchange = _Exchange(receive, send, Headers(scope=scope), close=lambda: self.draining)
        try:
            self._access.check(scope["method"], scope["path"], Headers(scope=scope))
            await self._app(scope, exchange.receive, exchange.send)
        except ProblemError as problem:
            await problem.response()(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            exchange.status = CLIENT_GONE
        except Exception as error:
            told = str(error) if isinstance(error, PhotoReadError) else _told(error)
            _log.error("a fault of ours in %s %s:\n%s", scope["method"], route_of(scope), told)
        finally:
            status, route = exchange.status or CLIENT_GONE, route_of(scope)
            self._metrics.request(route, status)
            _log.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * (time.monotonic() - came))


def route_of(scope: Scope) -> str:
    """The address as the routes have it; "other" where none matched."""
    return getattr(scope.get("route"), "path", "other")


def _told(error: Exception) -> str:
    """Where it happened, without the message, which may have words of a receipt in it."""
    return "".join([*traceback.format_tb(error.__traceback__), type(error).__name__])


class _Exchange:
    """A request's two channels. Answered before its body was read, the rest is taken and dropped for a while.

    Otherwise the kernel resets the connection, and who is still sending never sees the answer.
    """

    def __init__(self, receive: Receive, send: Send, headers: Headers, *, close: Callable[[], bool]) -> None:
        self._receive, self._send, self._close = receive, send, close
        self._unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self.status = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._unread = self._unread and message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(SECURITY_HEADERS)
            if self._close() or (self._unread and message["status"] in _CUT):
                headers["connection"] = "close"
        if message["type"] != "http.response.body" or message.get("more_body") or not self._unread:
            await self._send(message)
            return
        await self._send({**message, "more_body": True})  # the whole answer, as its length says
        await self._drop_body()
        await self._send({"type": "http.response.body"})

    async def _drop_body(self) -> None:
        dropped = 0
        try:
            async with asyncio.timeout(_DRAINED_S):
                while self._unread and dropped < _DRAINED_BYTES:
                    dropped += len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
