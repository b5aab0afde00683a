"""Who may ask: our own page on loopback, a bearer of the token beyond it; and what a browser is told to keep to."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from receipt_trainer.errors import UserError
from receipt_trainer.serving.problems import ProblemError

SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Of every answer: no script but our own, none inline; nobody may frame the page or take its pictures."""
_READS: Final = ("GET", "HEAD")
_MODULES: Final = ("page", "elements", "panel", "picture", "queue", "receipt", "server")
PAGE_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in _MODULES},
}
"""Name and content type of the page's files by path."""
_PUBLIC: Final = frozenset({*PAGE_FILES, "/healthz", "/readyz", "/openapi.json"})
"""What anybody may see: the page asks for the token itself."""
_HASH: Final = re.compile("[0-9a-f]{64}")
_TOKEN_BYTES: Final = 32


def new_token() -> tuple[str, str]:
    """A token that cannot be guessed, and its hash, which is all that the server keeps."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    return token, hash_of(token)


def hash_of(token: str) -> str:
    """The SHA-256 of a token in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def parse_hash(text: str, where: str) -> str:
    """The hash in a file or a parameter; what follows on its line is passed over, as `sha256sum` writes it.

    Raises:
        UserError: there is none.
    """
    said = (text.split() or [""])[0].lower()
    if not _HASH.fullmatch(said):
        raise UserError(f"{where}: not the SHA-256 of a token in 64 digits; make both: receipt-trainer serve token")
    return said


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one server.

    Attributes:
        loopback: it listens on loopback alone, so requests must be addressed to loopback: a name that a foreign site
            has bound to it (DNS rebinding) is refused.
        token_hash: SHA-256 of the token that requests bear; None where none is asked for.
    """

    loopback: bool = True
    token_hash: str | None = None

    def check(self, method: str, path: str, headers: Headers) -> None:
        """Let a request pass.

        Raises:
            ProblemError: it may not.
        """
        host = headers.get("host", "")
        if self.loopback and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            raise ProblemError(421, "this server answers on loopback alone; ask for it as localhost or 127.0.0.1")
        if method not in _READS:
            _refuse_foreign(host, headers)
        if self.token_hash is not None and path not in _PUBLIC:
            kind, _, token = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(hash_of(token.strip()), self.token_hash):
                detail = "the request needs the server's token: Authorization: Bearer TOKEN"
                raise ProblemError(401, detail, {"WWW-Authenticate": "Bearer"})


def _refuse_foreign(host: str, headers: Headers) -> None:
    """Writes of another site's page are refused; programs send neither of these headers."""
    origin = headers.get("origin")
    own = origin is None or (bool(host) and urlsplit(origin).netloc.lower() == host.lower())
    if not own or headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise ProblemError(403, "this comes from a page of another site; send it from the page of this server")
