"""A server of chat completions, over the wire, that says what it is told to."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


class Answers(BaseHTTPRequestHandler):
    """A server of chat completions; `server.script` gives status, body and perhaps headers of each answer in turn, then
    the last one."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(200, {"data": [{"id": name} for name in self.server.models]})  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.may_answer.wait(300)  # type: ignore[attr-defined]
        self.server.asked.append((self.headers.get("Authorization"), body))  # type: ignore[attr-defined]
        script = self.server.script  # type: ignore[attr-defined]
        self._send(*(script.pop(0) if len(script) > 1 else script[0]))

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def chat_server() -> Iterator[Any]:
    """One that serves the model `invoices`."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.models, made.asked, made.script = ["invoices"], [], []  # type: ignore[attr-defined]
    made.may_answer = threading.Event()  # type: ignore[attr-defined]
    made.may_answer.set()  # type: ignore[attr-defined]
    made.url = f"http://127.0.0.1:{made.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def says(content: Any) -> tuple[int, dict[str, Any]]:
    """The completion of a text, or of a document as JSON."""
    text = content if isinstance(content, str) else json.dumps(content)
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def sent_image(body: dict[str, Any]) -> Image.Image:
    """The page of a request."""
    image, _ = body["messages"][0]["content"]
    return Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].partition(",")[2])))
