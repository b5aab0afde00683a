"""Faults at chosen calls of boto3 clients: requests go over HTTP, or do not, and answers arrive, or do not."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session

Kind = Literal["reset", "lost", "refused", "500", "page", "kept"]
"""reset: the connection breaks and nothing is done; lost: it is done, and the answer does not arrive; refused:
AccessDenied; 500: a fault of the service; page: a proxy's HTML with status 200. kept is no fault: the group is as small
as it may be."""
KINDS: tuple[Kind, ...] = ("reset", "lost", "refused", "500", "page")

_KEPT = "Terminating instance without replacement will violate group's min size constraint."
_ANSWERS = {
    "refused": (403, "AccessDeniedException", "is not authorized"),
    "500": (500, "InternalError", "try again"),
    "kept": (400, "ValidationError", _KEPT),
}


@dataclass(frozen=True, order=True)
class Call:
    """One request of one worker, under a name that it has in every run.

    Attributes:
        role: whose it is: "worker", "heartbeat" or "log".
        number: of its kind and role, from 1.
    """

    role: str
    operation: str
    number: int

    def __str__(self) -> str:
        return f"{self.role}:{self.operation}#{self.number}"


class _Page(io.BytesIO):
    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.read()


class FaultyWire:
    """Between clients and AWS. `reset` says which call meets which fault."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._local = threading.local()
        self._http = URLLib3Session()
        self.reset()

    def reset(self, strikes: Callable[[Call], Kind | None] = lambda call: None) -> None:
        """Count from the beginning, and disturb what `strikes` names."""
        self.calls: list[Call] = []
        self.struck: list[Call] = []
        self.strikes = strikes
        self.heard: Callable[[Call], None] = lambda call: None
        self._counts: Counter[tuple[str, str]] = Counter()

    def attach(self, client: Any) -> Any:
        """The same client, with its calls counted and disturbed."""
        client.meta.events.register("before-call", self._before_call)
        client.meta.events.register("before-send", self._before_send)
        return client

    def _before_call(self, model: Any, **_: Any) -> tuple[Any, dict[str, Any]] | None:
        name = threading.current_thread().name
        role = "heartbeat" if name == "heartbeat" else "log" if name in ("job-store", "log-closer") else "worker"
        with self._lock:
            self._counts[role, model.name] += 1
            call = Call(role, model.name, self._counts[role, model.name])
            self.calls.append(call)
            kind = self.strikes(call)
            if kind is not None:
                self.struck.append(call)
        self.heard(call)
        self._local.kind = kind
        if kind not in _ANSWERS:
            return None
        status, code, message = _ANSWERS[kind]
        answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return AWSResponse("", status, {}, _Page()), answer

    def _before_send(self, request: Any, **_: Any) -> AWSResponse | None:
        kind = getattr(self._local, "kind", None)
        if kind == "lost":
            self._http.send(request)
        if kind in ("reset", "lost"):
            raise ConnectionClosedError(endpoint_url=request.url)
        if kind == "page":
            return AWSResponse(request.url, 200, {"content-type": "text/html"}, _Page(b"<html>Please log in</html>"))
        return None
