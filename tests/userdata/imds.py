"""A stand-in of the instance metadata service, version 2 only: a token by PUT, then GETs that carry it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

_TOKEN = "a-token"


class Imds:
    """A context manager with a `url`; answers what a spot instance would hear."""

    def __init__(self, instance_id: str) -> None:
        self.paths = {
            "instance-id": instance_id,
            "instance-type": "g5.xlarge",
            "instance-life-cycle": "spot",
            "placement/availability-zone": "us-east-1a",
        }
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        paths = self.paths

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                asked = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
                self._answer(200 if asked else 400, _TOKEN)

            def do_GET(self) -> None:
                value = paths.get(self.path.removeprefix("/latest/meta-data/"))
                if self.headers["X-aws-ec2-metadata-token"] != _TOKEN:
                    self._answer(401, "")
                else:
                    self._answer(404 if value is None else 200, value or "")

            def _answer(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
