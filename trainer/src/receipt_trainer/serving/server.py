"""The process: a socket, uvicorn with bounds of its own, an orderly end, and a browser that is shown the page."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import threading
import time
import webbrowser
from http import HTTPStatus
from types import FrameType
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from receipt_trainer.errors import UserError
from receipt_trainer.serving.app import App
from receipt_trainer.serving.problem_details import MEDIA_TYPE

MAX_CONNECTIONS: Final = 500
"""At the same time; more are closed as they come."""
HEADERS_S: Final = 10.0
"""In which a request's line and headers must have come."""
STALL_S: Final = 60.0
"""In which a client must take some of an answer that it has asked for."""
IDLE_S: Final = 30
DRAIN_S: Final = 25
"""From a signal to the end, at most."""
_LEAVE_S: Final = 1.0
"""In which connections that are open may send a last request, and new ones are still taken."""
_BACKLOG: Final = 512
_MAX_HEADER_BYTES: Final = 16_384


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is a free one.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise UserError(f"--host {host}: {said}; give an address of this machine") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(f"{host} port {port}: {error.strerror or error}; give another one with --port") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def configured(app: App) -> uvicorn.Config:
    """How uvicorn runs the application."""
    return uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",  # what senders do wrong is no warning of ours, and would fill the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=DRAIN_S,
        h11_max_incomplete_event_size=_MAX_HEADER_BYTES,
    )


def run(app: App, listener: socket.socket, *, open_browser: bool) -> None:
    """Answer requests until SIGTERM or Ctrl+C, then those that were accepted, and return."""
    _log_to_stderr()
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(url_of(listener),), daemon=True).start()
    _Server(configured(app), app).run([listener])
    if app.service.stuck:  # the interpreter would wait for their threads
        sys.stderr.flush()
        os._exit(0)


def _log_to_stderr() -> None:
    log = logging.getLogger("receipt_trainer.serving")
    handler = logging.StreamHandler()
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class _Server(uvicorn.Server):
    """A signal ends it with exit code 0, after the requests that were accepted."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._drained = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, a second one ends at once."""
        if self.should_exit:
            self.force_exit = True
            return
        self._drained.drain()
        self.should_exit = True
        os.write(
            2, b"ending: requests that were accepted are answered first; again ends at once\n"
        )  # print may be busy

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let who is connected go first: each answer from now on closes its connection."""
        ends = time.monotonic() + _LEAVE_S
        while self.server_state.connections and time.monotonic() < ends and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """HTTP/1.1 in which a connection that sends no whole request is closed, and there are not too many of them."""

    _headers_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._headers_timer = self.loop.call_later(HEADERS_S, self._end_if_waiting)

    def data_received(self, data: bytes) -> None:
        """A part of a request; its headers must be whole within a time that begins with their first byte."""
        super().data_received(data)
        if not self._waits_for_headers():
            self._stop(self._headers_timer)
            self._headers_timer = None
        elif self._headers_timer is None:
            self._headers_timer = self.loop.call_later(HEADERS_S, self._end_if_waiting)

    def pause_writing(self) -> None:
        """Who takes no answer is not waited for without end."""
        super().pause_writing()
        self._stall_timer = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The answer goes on."""
        self._stop(self._stall_timer)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of a connection."""
        self._stop(self._headers_timer)
        self._stop(self._stall_timer)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP gets a problem as everything else does."""
        content = json.dumps(
            {"type": "about:blank", "title": HTTPStatus.BAD_REQUEST.phrase, "status": 400, "detail": msg}
        ).encode()
        headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(content))), ("connection", "close")]
        told: tuple[Any, ...] = (
            h11.Response(status_code=400, headers=headers, reason=HTTPStatus.BAD_REQUEST.phrase),
            h11.Data(data=content),
            h11.EndOfMessage(),
        )
        for event in told:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _waits_for_headers(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _end_if_waiting(self) -> None:
        self._headers_timer = None
        if self._waits_for_headers() and not self.transport.is_closing():
            self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
