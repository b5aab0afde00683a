"""The client of an OpenAI-compatible server (vLLM, transformers serve): pages of documents in, JSON out."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from PIL import Image

from receipt_trainer.data.document import DOCUMENT_SCHEMA, printable
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference.inputs import RefusedError

ENV_SERVER_KEY: Final = "RECEIPT_TRAINER_SERVER_KEY"
"""Environment variable with the server's API key, if it wants one."""
MAX_PIXELS: Final = 2_822_400
"""Larger pages are scaled down before they are sent: no version of the model looks at more."""
RETRIES: Final = {
    "total": 4,
    "backoff_factor": 1.0,
    "backoff_max": 30.0,
    "retry_after_max": 60,
    "status_forcelist": (429, 502, 503, 504),
    "allowed_methods": None,
    "raise_on_status": False,
    "redirect": False,
}
_OK: Final = 200
_UNKNOWN: Final = 404
_ELSEWHERE: Final = frozenset({301, 302, 303, 307, 308})
_REFUSED: Final = frozenset({401, 403})
_TIMEOUT: Final = urllib3.Timeout(connect=10.0, read=300.0)
_KEPT: Final = 100
"""Connections that are kept open: so many pages may be asked at the same time."""
_SHOWN: Final = 200


class _Retry(urllib3.Retry):
    """One for which a Retry-After that is neither seconds nor a date, as some proxies send it, is none."""

    def get_retry_after(self, response: Any) -> float | None:
        """Seconds, or None."""
        try:
            return super().get_retry_after(response)
        except urllib3.exceptions.InvalidHeader:
            return None


class PageError(UserError):
    """A page that the server gave no answer to; others may be answered."""


@dataclass(frozen=True, slots=True)
class DocumentServer:
    """A model behind `/v1/chat/completions`.

    Attributes:
        url: of the server, with or without /v1.
        model: the name under which it serves the model.
        prompt: what is asked about each page.
        max_new_tokens: longest answer.
        schema: of the answers, for guided decoding; None: the model writes what it likes.
    """

    url: str
    model: str
    prompt: str
    max_new_tokens: int = 1024
    schema: dict[str, Any] | None = field(default_factory=lambda: DOCUMENT_SCHEMA)
    pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(
            maxsize=_KEPT,
            retries=_Retry(**RETRIES),  # type: ignore[arg-type]
            timeout=_TIMEOUT,
        )
    )

    @classmethod
    def connect(
        cls, url: str, model: str | None, prompt: str, max_new_tokens: int, *, patience_s: float | None = None
    ) -> DocumentServer:
        """The server at `url`; without `model`, the one model that it serves.

        Args:
            patience_s: that an answer may take; busy, it is then asked once more, not for minutes.

        Raises:
            UserError: no address, it refuses the key, or it serves several models.
            WorldError: it cannot be reached.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if "@" in parts.netloc:  # it would stand in messages and answers
            raise UserError(f"--server: no user and password in the address; set the server's key in {ENV_SERVER_KEY}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"--server {url}: not an address such as http://127.0.0.1:8000")
        base = url.rstrip("/").removesuffix("/v1")
        server = cls(base, model or "", prompt, max_new_tokens)
        if patience_s is not None:
            hurried = _Retry(**(RETRIES | {"total": 1}))  # type: ignore[arg-type]
            server.pool.connection_pool_kw |= {
                "retries": hurried,
                "timeout": urllib3.Timeout(connect=5.0, read=patience_s),
            }
        if model:
            return server
        listed = server._call("GET", "/v1/models").get("data")
        names = [str(one.get("id")) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        if len(names) != 1:
            raise UserError(f"--server {url}: it serves {', '.join(names) or 'no model'}; name one: --served-model")
        return cls(base, names[0], prompt, max_new_tokens, pool=server.pool)

    def ask(self, images: Sequence[Image.Image]) -> list[str]:
        """Its answers in order; all pages are asked at the same time.

        Raises:
            PageError: it refuses a page, fails at it, or answers with something else.
            RefusedError: it refuses the key, or has no such model.
            WorldError: it cannot be reached.
        """
        return self.ask_drawn([png_of(image) for image in images])

    def ask_drawn(self, pages: Sequence[bytes]) -> list[str]:
        """As `ask`, of pages as `png_of` draws them."""
        with ThreadPoolExecutor(max(1, len(pages))) as threads:
            return list(threads.map(self._ask, pages))

    def _ask(self, png: bytes) -> str:
        url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": self.prompt},
        ]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self.max_new_tokens,
        }
        if self.schema is not None:
            named = {"name": "document", "schema": self.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        found = self._call("POST", "/v1/chat/completions", body)
        try:
            text = found["choices"][0]["message"]["content"]
            if isinstance(text, list):  # in parts, as some servers send it
                text = "".join(part["text"] for part in text)
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise PageError(f"{self.url}: its answer holds no text: {printable(json.dumps(found))[:_SHOWN]}")
        return text

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        key = os.environ.get(ENV_SERVER_KEY, "").strip()
        if not (key.isascii() and key.isprintable()):  # the HTTP client's own error would show it
            raise UserError(f"{ENV_SERVER_KEY}: a key has only ASCII letters, digits and signs, no line breaks")
        headers = {"Authorization": f"Bearer {key}"} if key else None
        try:
            answer = self.pool.request(method, f"{self.url}{path}", json=body, headers=headers)
        except urllib3.exceptions.MaxRetryError as error:
            raise WorldError(f"{self.url}: no answer: {printable(str(error.reason))[:_SHOWN]}") from None
        except urllib3.exceptions.HTTPError as error:
            raise WorldError(f"{self.url}: no answer: {printable(str(error))[:_SHOWN]}") from None
        said = printable(" ".join(answer.data.decode("utf-8", "replace").split()))[:_SHOWN]
        if answer.status in _REFUSED:
            raise RefusedError(f"{self.url}: it refuses the request ({answer.status}): set its key in {ENV_SERVER_KEY}")
        if answer.status == _UNKNOWN:
            raise RefusedError(f"{self.url}: no such address or model ({answer.status}): {said}")
        if answer.status in _ELSEWHERE:
            place = printable(answer.headers.get("Location", "another address"))[:_SHOWN]
            raise RefusedError(f"{self.url}: it sends on to {place} ({answer.status}): give its address to --server")
        if answer.status != _OK:
            raise PageError(f"{self.url}: status {answer.status}: {said}")
        try:
            found = json.loads(answer.data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise PageError(f"{self.url}: its answer is not a JSON object: {said}")
        return found


def as_sent(image: Image.Image) -> Image.Image:
    """A page as it is sent, not above the bound of pixels."""
    scale = math.sqrt(MAX_PIXELS / (image.width * image.height))
    if scale >= 1:
        return image
    size = max(1, int(image.width * scale)), max(1, int(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC)


def png_of(image: Image.Image) -> bytes:
    """The file that is sent of a page."""
    written = io.BytesIO()
    as_sent(image).save(written, "PNG", compress_level=1)
    return written.getvalue()
