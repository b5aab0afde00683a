"""The way from workers to the embedded AWS: a TCP proxy that can be cut, and that sees every request and answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

MAX_STALL_S = 60.0
THROTTLED = json.dumps(
    {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "Rate exceeded"}
).encode()

Mode = Literal["open", "refuse", "reset", "stall", "throttle"]
GroupMode = Literal["open", "refuse", "reset"]
"""What is done to requests to Auto Scaling alone."""
Verdict = Literal["pass", "drop request", "drop answer", "fail", "refuse"]
"""fail: S3's 503; refuse: its AccessDenied."""

_OF_GROUPS = frozenset(
    {
        "DescribeAutoScalingGroups",
        "SetInstanceProtection",
        "TerminateInstanceInAutoScalingGroup",
        "CompleteLifecycleAction",
    }
)
_DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>"
_OF_S3: dict[str, tuple[int, bytes]] = {
    "fail": (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
    "refuse": (403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"),
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, with its answer once there is one.

    Attributes:
        operation: such as ReceiveMessage; of S3 HTTP's, such as PUT.
        path: HTTP's.
        sent: the request's JSON.
        got: the answer's JSON; None before the request is passed on.
        status: HTTP's; 0 before.
        at: seconds of the epoch.
    """

    operation: str
    sent: dict[str, Any]
    got: dict[str, Any] | None
    status: int
    at: float
    path: str = ""


Watch = Callable[[Exchange], Verdict]
"""Called before a request is passed on, and with its answer; says what becomes of it."""


class TcpProxy:
    """Serves on a port of its own while the context is open; `mode` is what it does to all of its connections."""

    def __init__(self, target: str, watch: Watch) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._watch = watch
        self._mode: Mode = "open"
        self._group_mode: GroupMode = "open"
        self.num_of_group_refused = 0
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = _listen(0)
        self._closed = False
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.num_requests: Counter[str] = Counter()

    def set_mode(self, mode: Mode) -> None:
        """From now on; a refused address is closed, and what is connected breaks."""
        with self._changed:
            before, self._mode = self._mode, mode
            self._changed.notify_all()
            if mode == "refuse" and before != "refuse":
                _shut(self._listener)
                for connection in list(self._open):
                    _shut(connection)
            elif mode != "refuse" and before == "refuse":
                self._listener = _listen(self.port)
                self._accept_in_background(self._listener)

    def set_group_mode(self, mode: GroupMode) -> None:
        """From now on; of requests to Auto Scaling."""
        with self._changed:
            self._group_mode = mode

    def __enter__(self) -> Self:
        self._accept_in_background(self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.set_mode("refuse")

    def _accept_in_background(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._changed:
                if self._mode == "refuse":
                    _reset(connection)
                    continue
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        upstream = http.client.HTTPConnection(*self._target, timeout=MAX_STALL_S)
        try:
            with connection.makefile("rb") as stream:
                while (request := _read_request(stream)) is not None:
                    if not self._answer(connection, upstream, *request):
                        _reset(connection)
                        return
        except (OSError, http.client.HTTPException, ValueError):  # a killed worker hangs up
            return
        finally:
            upstream.close()
            with self._changed:
                self._open.discard(connection)
            _shut(connection)

    def _answer(
        self,
        connection: socket.socket,
        upstream: http.client.HTTPConnection,
        line: str,
        headers: dict[str, str],
        body: bytes,
    ) -> bool:
        """Whether the connection may live on."""
        target = headers.get("x-amz-target", "")
        method, path, _ = line.split(" ", 2)
        operation = target.rpartition(".")[2] or _action(headers, body) or method
        self.num_requests[operation] += 1
        with self._changed:
            if self._mode == "stall":
                self._changed.wait_for(lambda: self._mode != "stall", MAX_STALL_S)
                return False
            mode, group_mode = self._mode, self._group_mode
            if operation in _OF_GROUPS and group_mode != "open":
                self.num_of_group_refused += 1
        if operation in _OF_GROUPS and group_mode == "reset":
            return False
        if operation in _OF_GROUPS and group_mode == "refuse":
            connection.sendall(_http(403, "text/xml", _DENIED))
            return True
        if mode == "throttle" and target.startswith("DynamoDB"):
            connection.sendall(_http(400, "application/x-amz-json-1.0", THROTTLED))
            return True
        sent = _json(body)
        verdict = self._watch(Exchange(operation, sent, None, 0, time.time(), path))
        if verdict in _OF_S3:
            status, page = _OF_S3[verdict]
            connection.sendall(_http(status, "application/xml", page))
            return True
        if verdict != "pass":
            return False
        kept = {name: value for name, value in headers.items() if name not in ("connection", "content-length")}
        upstream.request(method, path, body, kept)
        answer = upstream.getresponse()
        content = answer.read()
        if self._watch(Exchange(operation, sent, _json(content), answer.status, time.time(), path)) != "pass":
            return False
        reply = _http(answer.status, answer.getheader("Content-Type") or "text/plain", content)
        with self._changed:
            is_broken = self._mode == "reset"
        if is_broken:
            with contextlib.suppress(OSError):
                connection.sendall(reply[: len(reply) // 2])
            return False
        connection.sendall(reply)
        return True


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def _shut(connection: socket.socket) -> None:
    """Also wakes a thread that waits on it, which `close` alone does not."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _reset(connection: socket.socket) -> None:
    """Close by RST, as a host that is gone or a firewall does."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(connection.detach())


def _read_request(stream: Any) -> tuple[str, dict[str, str], bytes] | None:
    """Request line, headers by their lower-case names, body; None at the end of the connection."""
    line = stream.readline().decode("latin-1").strip()
    if not line:
        return None
    headers = {}
    while text := stream.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return line, headers, stream.read(int(headers.get("content-length", 0)))


def _http(status: int, content_type: str, content: bytes) -> bytes:
    head = f"HTTP/1.1 {status} -\r\nDate: {formatdate(usegmt=True)}\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _action(headers: dict[str, str], body: bytes) -> str:
    """Of a request in the query protocol; "" of another."""
    if not headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return ""
    return parse_qs(body.decode("latin-1")).get("Action", [""])[0]


def _json(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
