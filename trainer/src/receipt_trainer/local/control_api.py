"""A session's control, on loopback: instances for workers, notices for instances, and the end of it.

`GET /instances` lists them; `POST /instances` with {"pid", "lock"} makes one; `PUT /instances/<id>/notices/<kind>`
with the seconds of warning delivers a notice; `POST /end` ends the session. Answers are JSON.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local.imds import NOTICES, SPOT_WARNING_S
from receipt_trainer.local.instances import Machines
from receipt_trainer.local.session import Session

TIMEOUT_S: Final = 10.0
_MAX_BODY: Final = 65_536

Answer = tuple[int, Any]


class Control:
    """A context manager: while it is open, it answers at `url`."""

    def __init__(self, machines: Machines, on_end: Callable[[], None]) -> None:
        """Take what it controls; `on_end` is called in a thread when the session shall end."""
        self._machines, self._on_end = machines, on_end
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, path: str, body: str) -> Answer:
        """Status and value of one request."""
        parts = path.strip("/").split("/")
        try:
            if (method, parts) == ("GET", ["instances"]):
                return 200, self._machines.rows()
            if (method, parts) == ("POST", ["instances"]):
                asked = json.loads(body)
                instance_id, url = self._machines.launch(int(asked["pid"]), str(asked["lock"]))
                return 200, {"instance_id": instance_id, "url": url}
            if (method, parts) == ("POST", ["end"]):
                self._on_end()
                return 200, {}
            if method == "PUT" and len(parts) == 4 and parts[2] == "notices" and parts[3] in NOTICES:
                self._machines.interrupt(parts[1], parts[3], float(body or SPOT_WARNING_S))
                return 200, {}
        except (ValueError, KeyError, TypeError) as error:
            return 400, {"error": f"{type(error).__name__}: {error}"}
        return 404, {"error": "no such thing"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        control = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
                status, value = control.answer(self.command, self.path, self.rfile.read(length).decode())
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = _handle

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="control", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def launch(session: Session, pid: int, lock: str) -> tuple[str, str]:
    """A new instance of the session: its id and the URL of its metadata service; faults as `ask`."""
    made = ask(session, "POST", "/instances", json.dumps({"pid": pid, "lock": lock}))
    return made["instance_id"], made["url"]


def instances(session: Session) -> list[dict[str, Any]]:
    """See `Machines.rows`; faults as `ask`."""
    return list(ask(session, "GET", "/instances"))


def interrupt(session: Session, instance_id: str, kind: str, warning_s: float) -> None:
    """See `Machines.interrupt`; faults as `ask`."""
    ask(session, "PUT", f"/instances/{quote(instance_id, safe='')}/notices/{kind}", f"{warning_s:g}")


def end(session: Session) -> None:
    """Ask the session to end; it does so after this call has returned. Faults as `ask`."""
    ask(session, "POST", "/end")


def ask(session: Session, method: str, path: str, body: str = "") -> Any:
    """One request to a session's control.

    Raises:
        WorldError: it does not answer.
        UserError: it refuses.
    """
    parts = urlsplit(session.control_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)  # never by a proxy
    try:
        connection.request(method, path, body.encode())
        response = connection.getresponse()
        status, value = response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise WorldError(f"the local session does not answer at {session.control_url}: {error}") from None
    finally:
        connection.close()
    if status != 200:
        raise UserError(f"the local session refuses: {value.get('error')}")
    return value
