"""A small HTTP proxy that forwards to the embedded AWS, counts, and answers with faults where a test says so."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

Answer = tuple[int, dict[str, Any]]
Rule = Callable[[str, int, dict[str, Any]], Answer | None]
"""(DynamoDB operation or HTTP method, its how-manieth call from 1, JSON body) -> the answer, or None to forward."""

THROTTLED: Answer = (
    400,
    {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "Rate exceeded"},
)


def throttle(operation: str, times: int) -> Rule:
    """Answer the first `times` calls of `operation` with ThrottlingException."""
    return lambda name, count, _: THROTTLED if name == operation and count <= times else None


class FaultProxy:
    """Serves on a free port while the context is open. Set `rule` to inject faults, `check` to refuse headers, `record`
    to see method, path, headers and body of each request.

    `calls` counts operations.
    """

    def __init__(self, target: str) -> None:
        self.rule: Rule = lambda name, count, body: None
        self.check: Callable[[Mapping[str, str]], Answer | None] = lambda headers: None
        self.record: Callable[[str, str, Mapping[str, str], bytes], None] = lambda method, path, headers, body: None
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        parts = urlsplit(target)
        host, port = str(parts.hostname), parts.port
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                proxy.record(self.command, self.path, dict(self.headers), body)
                target = self.headers.get("X-Amz-Target", "")
                answer = proxy.check(dict(self.headers)) or proxy._decide(
                    target.rpartition(".")[2] or self.command, body
                )
                if answer is not None:
                    self._send(
                        answer[0], [("Content-Type", "application/x-amz-json-1.0")], json.dumps(answer[1]).encode()
                    )
                    return
                connection = http.client.HTTPConnection(host, port, timeout=60)
                connection.request(self.command, self.path, body, dict(self.headers))
                response = connection.getresponse()
                content = response.read()
                kept = [
                    (k, v) for k, v in response.getheaders() if k.lower() in ("content-type", "etag", "x-amz-crc32")
                ]
                self._send(response.status, kept, content)
                connection.close()

            def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a killed client hangs up
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _decide(self, operation: str, body: bytes) -> Answer | None:
        with self._lock:
            self.calls[operation] += 1
            count = self.calls[operation]
        try:
            decoded = json.loads(body or b"{}")
        except ValueError:
            decoded = {}
        return self.rule(operation, count, decoded)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
