"""The embedded AWS: DynamoDB, S3 and the rest on loopback, with the stack's tables and a bucket, in a child process."""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Final, Self

import boto3
import botocore.session
from botocore.config import Config

from receipt_trainer.contract import names
from receipt_trainer.contract.tables import ALL_TABLES, INSTANCES, JOBS, RECEIPTS
from receipt_trainer.errors import UserError, WorldError

REGION: Final = "us-east-1"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 10.0

_DUMMY: Final = "local"  # not a secret: the embedded AWS takes any credentials
_HOSTS: Final = ("127.0.0.1", "localhost")

_ELSEWHERE: Final = (
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
)
_ELSEWHERE_PREFIX: Final = "AWS_ENDPOINT_URL_"  # of one service each, such as AWS_ENDPOINT_URL_S3
"""Variables that lead past the embedded AWS, whatever its `environment` says."""


def _without_elsewhere(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name not in _ELSEWHERE and not name.startswith(_ELSEWHERE_PREFIX)
    }


def _no_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep loopback addresses from proxies, with the hosts that they name in `environ`."""
    given = ",".join(environ.get(name, "") for name in ("no_proxy", "NO_PROXY"))
    hosts = dict.fromkeys([*filter(None, map(str.strip, given.split(","))), *_HOSTS])
    value = "*" if "*" in hosts else ",".join(hosts)  # in a list, * means nothing
    return {"NO_PROXY": value, "no_proxy": value}


class LocalCloud:
    """A context manager: inside it the embedded AWS answers at `endpoint`, after it nothing is left of it.

    The child process also ends when this process dies, however it dies.
    """

    def __init__(self, *, prefix: str = "local-", start_timeout_s: float = START_TIMEOUT_S) -> None:
        """Choose names.

        Args:
            prefix: stands before the names of tables and bucket.
            start_timeout_s: seconds in which the server must answer.
        """
        self.table_names = {shape.name: f"{prefix}{shape.name}" for shape in ALL_TABLES}
        self.bucket = f"{prefix}artifacts"
        self.endpoint = ""
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the server while it runs."""
        return self._process.pid if self._process else None

    def environment(self) -> dict[str, str]:
        """What the AWS SDKs, the AWS CLI and our commands need to work here; `applied_to` adds it to an environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": _DUMMY,
            "AWS_SECRET_ACCESS_KEY": _DUMMY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Newer checksums make the CLI send chunked bodies that an emulator need not know.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            names.ENV_RECEIPTS_TABLE: self.table_names[RECEIPTS.name],
            names.ENV_JOBS_TABLE: self.table_names[JOBS.name],
            names.ENV_INSTANCES_TABLE: self.table_names[INSTANCES.name],
            names.ENV_ARTIFACTS_BUCKET: self.bucket,
            **_no_proxy(os.environ),
        }

    def applied_to(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with `environment`, and without what would lead past it: profiles, tokens, other endpoints."""
        return _without_elsewhere(environ) | self.environment() | _no_proxy(environ)

    def __enter__(self) -> Self:
        """Start the server and create tables and bucket.

        Raises:
            UserError: moto is not installed.
            WorldError: the server does not start in time; with its own words.
        """
        if importlib.util.find_spec("moto") is None:
            raise UserError("the embedded AWS needs moto: pip install 'receipt-trainer[local]'")
        try:
            self._start()
            self._create()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _stop
        self._process = subprocess.Popen(
            [sys.executable, "-m", "receipt_trainer.local.server"],
            stdin=subprocess.PIPE,  # its end tells the child that we are gone
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_without_elsewhere(os.environ),  # moto reads the profile, and fails if there is none of that name
            # A group of its own: Ctrl-C at the terminal must not end it before our last rows are written.
            start_new_session=True,
        )
        self.endpoint = f"http://127.0.0.1:{self._read_port(self._process)}"

    def _read_port(self, process: subprocess.Popen[bytes]) -> int:
        if process.stdout is None:
            raise ValueError("the server's standard output must be a pipe")
        deadline = time.monotonic() + self._start_timeout_s
        text = b""
        while not text.endswith(b"\n"):
            left = deadline - time.monotonic()
            ready = select.select([process.stdout], [], [], max(0.0, left))[0] if left > 0 else []
            piece = os.read(process.stdout.fileno(), 64) if ready else b""
            if not piece:
                why = "ended" if ready else f"did not answer in {self._start_timeout_s:g} s"
                raise WorldError(f"the embedded AWS {why}: {self._last_words()}")
            text += piece
        return int(text)

    def _last_words(self) -> str:
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def _create(self) -> None:
        # Whatever the user's environment says: no profile, no credentials but these, no proxy.
        without_profile = botocore.session.Session({"profile": (None, None, None, None)})
        session = boto3.session.Session(_DUMMY, _DUMMY, region_name=REGION, botocore_session=without_profile)
        direct = Config(proxies={})
        dynamodb = session.client("dynamodb", endpoint_url=self.endpoint, config=direct)
        for shape in ALL_TABLES:
            dynamodb.create_table(**shape.create_arguments(self.table_names[shape.name]))
        session.client("s3", endpoint_url=self.endpoint, config=direct).create_bucket(Bucket=self.bucket)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None
