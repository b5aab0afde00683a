"""The process: a socket, uvicorn, and a browser that is shown the page."""

from __future__ import annotations

import socket
import threading
import webbrowser
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from receipt_trainer.errors import UserError

_BACKLOG: Final = 512


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is a free one.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UserError(f"--host {host}: {error.strerror or error}; give an address of this machine") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_BACKLOG)
    except OSError as error:
        found.close()
        raise UserError(f"{host} port {port}: {error.strerror or error}; give another one with --port") from None
    return found


def url_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def run(app: ASGIApp, listener: socket.socket, *, open_browser: bool) -> None:
    """Answer requests until a signal ends it."""
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=25)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(url_of(listener),), daemon=True).start()
    uvicorn.Server(config).run([listener])
