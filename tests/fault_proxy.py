"""The one HTTP proxy before the embedded AWS: it forwards, sees every request and answer, and does what a test says."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, Any]]
Rule = Callable[[str, int, dict[str, Any]], Answer | None]
"""(AWS's operation or HTTP method, its how-manieth call from 1, JSON body) -> the answer, or None to forward."""

THROTTLED: Answer = (
    400,
    {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "Rate exceeded"},
)
_KEPT = ("content-type", "etag", "x-amz-crc32")


def throttle(operation: str, times: int) -> Rule:
    """Answer the first `times` calls of `operation` with ThrottlingException."""
    return lambda name, count, _: THROTTLED if name == operation and count <= times else None


class Request(NamedTuple):
    """A request; `operation` is AWS's, such as ReceiveMessage, or HTTP's method where there is none, as in S3."""

    operation: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body; {} if it is something else."""
        return as_object(self.body)


class Reply(NamedTuple):
    """An answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class BrokenConnectionError(Exception):
    """Raised by `before` and `after`: the connection breaks by RST, in the middle of an answer if there is one."""

    def __init__(self, reply: Reply | None = None) -> None:
        super().__init__()
        self.reply = reply


class Proxy:
    """Serves on a port of its own while the context is open; what is done is in `before` and `after`."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (str(parts.hostname), parts.port)
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = self._listen(0)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def before(self, request: Request) -> Reply | None:
        """The answer to a request that is not to be forwarded; None forwards it."""
        return None

    def after(self, request: Request, reply: Reply) -> None:
        """Called with what the target has answered, before it is passed on."""

    def _listen(self, port: int) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a killed client hangs up
        return server

    def open(self) -> None:
        """Take connections; nothing if it does so already."""
        if self._server is None:
            self._server = self._listen(self.port)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and break those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):  # also wakes a thread that waits on it
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def forward(self, request: Request) -> Reply:
        """What the target answers."""
        connection = http.client.HTTPConnection(*self._target, timeout=60)
        try:
            connection.request(request.method, request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() in _KEPT]
            return Reply(answer.status, kept, answer.read())
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def setup(self) -> None:
                super().setup()
                proxy._connections.add(self.connection)

            def finish(self) -> None:
                proxy._connections.discard(self.connection)
                super().finish()

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                operation = _operation(self.headers, body) or self.command
                request = Request(operation, self.command, self.path, dict(self.headers), body)
                try:
                    reply = proxy.before(request)
                    if reply is None:
                        reply = proxy.forward(request)
                        proxy.after(request, reply)
                except BrokenConnectionError as broken:
                    if broken.reply is not None:
                        self._send(broken.reply, len(broken.reply.body) // 2)
                    self._reset()
                else:
                    self._send(reply, len(reply.body))

            def _send(self, reply: Reply, num_bytes: int) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body[:num_bytes])

            def _reset(self) -> None:
                """Close by RST, as a host that is gone or a firewall does."""
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    socket.close(self.connection.detach())

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle

        return Handler


class FaultProxy(Proxy):
    """Set `rule` to inject faults, `check` to refuse headers, `record` to see method, path, headers and body of each
    request; `calls` counts operations.
    """

    def __init__(self, target: str) -> None:
        self.rule: Rule = lambda name, count, body: None
        self.check: Callable[[Mapping[str, str]], Answer | None] = lambda headers: None
        self.record: Callable[[str, str, Mapping[str, str], bytes], None] = lambda method, path, headers, body: None
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        super().__init__(target)

    def before(self, request: Request) -> Reply | None:
        self.record(request.method, request.path, request.headers, request.body)
        answer = self.check(request.headers) or self._decide(request)
        return reply(answer) if answer else None

    def _decide(self, request: Request) -> Answer | None:
        with self._lock:
            self.calls[request.operation] += 1
            count = self.calls[request.operation]
        return self.rule(request.operation, count, request.json())


def reply(answer: Answer) -> Reply:
    """Of a service that speaks JSON."""
    return Reply(answer[0], [("Content-Type", "application/x-amz-json-1.0")], json.dumps(answer[1]).encode())


def as_object(content: bytes) -> dict[str, Any]:
    """A JSON object; {} of anything else."""
    try:
        value = json.loads(content or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _operation(headers: Any, body: bytes) -> str:
    """Of a request in the JSON or the query protocol; "" of another."""
    if target := headers.get("X-Amz-Target", ""):
        return str(target).rpartition(".")[2]
    if headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode("latin-1")).get("Action", [""])[0]
    return ""
