"""Who may ask: our own page on loopback, a bearer of the token beyond it; and what a browser is told to keep to."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers

from receipt_trainer.errors import UserError
from receipt_trainer.serving.problem_details import ProblemError

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
PAGE_FOLDER: Final = Path(__file__).with_name("page")
_PAGE_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
PAGE_FILES: Final = {
    "/" if file.name == "index.html" else f"/{file.name}": (file, _PAGE_TYPES[file.suffix])
    for file in sorted(PAGE_FOLDER.glob("*"))
    if file.suffix in _PAGE_TYPES
}
"""The page by address: file and media type of each."""
PUBLIC: Final = frozenset({*PAGE_FILES, "/healthz", "/readyz", "/openapi.json"})
"""What anybody may see: the page asks for the token itself."""
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::[0-9]*)?")
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
    """The rules of one server, which listens on loopback alone where it has no token.

    Attributes:
        token_hash: SHA-256 of the token that requests bear. Where none is asked for, requests must be addressed to
            loopback: a foreign site may have bound its own name to it (DNS rebinding).
    """

    token_hash: str | None = None

    def check(self, method: str, path: str, headers: Headers) -> None:
        """Let a request pass.

        Raises:
            ProblemError: it may not.
        """
        host = headers.get("host", "").lower()
        if self.token_hash is None:
            named = _HOST.fullmatch(host)
            if named is None or not is_loopback(named[1]):
                raise ProblemError(421, "this server answers on loopback alone; ask for it as localhost or 127.0.0.1")
        elif path not in PUBLIC:
            kind, _, token = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(hash_of(token.strip()), self.token_hash):
                detail = "the request needs the server's token: Authorization: Bearer TOKEN"
                raise ProblemError(401, detail, {"WWW-Authenticate": "Bearer"})
        if method not in _READS and _is_foreign(host, headers):
            raise ProblemError(403, "this comes from a page of another site; send it from the page of this server")


def _is_foreign(host: str, headers: Headers) -> bool:
    """Whether a browser says that another site's page asks; programs send neither of these headers."""
    origin = headers.get("origin")
    other = origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}")
    return other or headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
