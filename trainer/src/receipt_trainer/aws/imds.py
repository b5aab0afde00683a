"""The instance metadata service, version 2: what an instance knows of itself, and what is about to happen to it.

Source: EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from receipt_trainer.errors import UserError, WorldError

ENDPOINT: Final = "http://169.254.169.254"
TOKEN_TTL_S: Final = 21_600
"""The longest life of a token."""
TIMEOUT_S: Final = 1.0
ATTEMPTS: Final = 5
"""Tries to find the service where it must be: on an instance it may answer late, or refuse for a moment."""
RETRY_WAIT_S: Final = 1.0

Sleep = Callable[[float], None]


class Imds:
    """Asks the service with a cached token. No proxy is ever asked: addresses of the link are the machine's own.

    Raises:
        UserError: the endpoint is no HTTP address.
    """

    def __init__(
        self, endpoint: str, *, timeout_s: float = TIMEOUT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        parts = urlsplit(endpoint)
        try:
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError:
            self._host = ""
        if parts.scheme != "http" or not self._host:
            raise UserError(
                f"AWS_EC2_METADATA_SERVICE_ENDPOINT must be an address such as {ENDPOINT}, not '{endpoint}'"
            )
        self._timeout_s, self._clock = timeout_s, clock
        self._token, self._renew_at = "", 0.0

    def get(self, path: str) -> str | None:
        """The text of `meta-data/<path>`, or None where there is nothing; WorldError: no answer, or a fault."""
        status, text = self._get(path)
        if status == 401:  # the token is no longer valid
            self._renew_at = 0.0
            status, text = self._get(path)
        if status == 404:
            return None
        if status != 200:
            raise WorldError(f"instance metadata {path}: the service answers {status}")
        return text

    def _get(self, path: str) -> tuple[int, str]:
        if self._clock() >= self._renew_at:
            ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}
            status, token = self._request("PUT", "/latest/api/token", ttl)
            if status != 200 or not token.isprintable():
                raise WorldError(f"instance metadata: the service gives no token, it answers {status}")
            self._token, self._renew_at = token, self._clock() + TOKEN_TTL_S / 2
        return self._request("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            return response.status, response.read(65_536).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise WorldError(f"instance metadata at {self._host}: {error or type(error).__name__}") from None
        finally:
            connection.close()


def find(environ: Mapping[str, str] = os.environ, *, expected: bool = False, sleep: Sleep = time.sleep) -> Imds | None:
    """The service of this machine, or None on a machine that has none.

    AWS_EC2_METADATA_SERVICE_ENDPOINT names another address; AWS_EC2_METADATA_DISABLED=true keeps from asking the
    usual one. On an instance it is `expected`: asked `ATTEMPTS` times, and a WorldError if it does not answer.
    """
    named = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    if not named and environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    imds = Imds(named or ENDPOINT)
    retrying = Retrying(
        retry=retry_if_exception_type(WorldError),
        stop=stop_after_attempt(ATTEMPTS if expected or named else 1),
        wait=wait_fixed(RETRY_WAIT_S),
        sleep=sleep,
        reraise=True,
    )
    try:
        retrying(imds.get, "instance-id")
    except WorldError:
        if expected or named:
            raise
        return None
    return imds
