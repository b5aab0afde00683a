"""The embedded AWS on loopback, in a child process: with the tables and a bucket, or empty for a complete stack."""

from __future__ import annotations

import importlib.util
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import IO, Any, Final, Self

from botocore.config import Config

from receipt_trainer.aws.clients import new_session
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.tables import ALL_TABLES, INSTANCES, JOBS, RECEIPTS
from receipt_trainer.errors import UserError, WorldError

REGION: Final = "us-east-1"
START_TIMEOUT_S: Final = 180.0
STOP_TIMEOUT_S: Final = 10.0

_DUMMY: Final = "local"  # not a secret: the embedded AWS takes any credentials
_HOSTS: Final = ("127.0.0.1", "localhost")

ELSEWHERE: Final = (
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
)
_ELSEWHERE_PREFIX: Final = "AWS_ENDPOINT_URL_"  # of one service each, such as AWS_ENDPOINT_URL_S3
"""Variables that lead past the embedded AWS, whatever its `environment` says."""


def without_elsewhere(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without the variables that lead past the embedded AWS."""
    return {
        name: value
        for name, value in environ.items()
        if name not in ELSEWHERE and not name.startswith(_ELSEWHERE_PREFIX)
    }


def no_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep loopback addresses from proxies, with the hosts that they name in `environ`."""
    given = ",".join(environ.get(name, "") for name in ("no_proxy", "NO_PROXY"))
    hosts = dict.fromkeys([*filter(None, map(str.strip, given.split(","))), *_HOSTS])
    value = "*" if "*" in hosts else ",".join(hosts)  # in a list, * means nothing
    return {"NO_PROXY": value, "no_proxy": value}


class LocalCloud:
    """A context manager: inside it the embedded AWS answers at `endpoint`, after it nothing is left of it.

    The child process also ends when this process dies, however it dies.
    """

    def __init__(
        self, *, prefix: str = "local-", empty: bool = False, start_timeout_s: float = START_TIMEOUT_S
    ) -> None:
        """`prefix` stands before the names of tables and bucket; `empty`: none, `adopt` tells what a stack created."""
        self.table_names = {} if empty else {shape.name: f"{prefix}{shape.name}" for shape in ALL_TABLES}
        self.bucket = "" if empty else f"{prefix}artifacts"
        self.endpoint = ""
        self._empty = empty
        self._stack_names: dict[str, str] = {}
        self._clients: dict[str, Any] = {}
        self._clients_lock = threading.Lock()  # making a client is not safe in two threads, using one is
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the server while it runs."""
        return self._process.pid if self._process else None

    def environment(self) -> dict[str, str]:
        """Variables that point AWS SDKs, the AWS CLI and our commands here; `applied_to` adds it to an environment."""
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
            **self._names(),
            **no_proxy(os.environ),
        }

    def _names(self) -> dict[str, str]:
        tables = {
            names.ENV_RECEIPTS_TABLE: RECEIPTS.name,
            names.ENV_JOBS_TABLE: JOBS.name,
            names.ENV_INSTANCES_TABLE: INSTANCES.name,
        }
        found = {variable: self.table_names.get(table, "") for variable, table in tables.items()}
        found[names.ENV_ARTIFACTS_BUCKET] = self.bucket
        return {variable: name for variable, name in (found | self._stack_names).items() if name}

    def adopt(self, outputs: StackOutputs) -> None:
        """From now on `environment` names what a stack created here."""
        self.table_names = {
            RECEIPTS.name: outputs.receipts_table,
            JOBS.name: outputs.jobs_table,
            INSTANCES.name: outputs.instances_table,
        }
        self.bucket = outputs.artifacts_bucket
        self._stack_names = {
            names.ENV_PROJECT: outputs.project,
            names.ENV_ENVIRONMENT: outputs.environment,
            names.ENV_TRAINING_PARAMETER: outputs.training_parameter,
            names.ENV_WORKER_LOG_GROUP: outputs.worker_log_group,
        }

    def client(self, service: str) -> Any:
        """A boto3 client of the embedded AWS, whatever the user's environment says; may be called in any thread."""
        with self._clients_lock:
            if service not in self._clients:
                # No profile, no credentials but these, no proxy.
                without_profile = new_session({"profile": (None, None, None, None)})
                # One retry: what fails twice on loopback is what the emulator cannot do.
                self._clients[service] = without_profile.create_client(
                    service,
                    REGION,
                    endpoint_url=self.endpoint,
                    aws_access_key_id=_DUMMY,
                    aws_secret_access_key=_DUMMY,
                    config=Config(proxies={}, retries={"total_max_attempts": 2, "mode": "standard"}),
                )
            return self._clients[service]

    def applied_to(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with `environment`, and without what would lead past it: profiles, tokens, other endpoints."""
        return without_elsewhere(environ) | self.environment() | no_proxy(environ)

    def __enter__(self) -> Self:
        """Start the server, and create tables and bucket unless it is to be empty.

        Raises:
            UserError: moto is not installed.
            WorldError: the server does not start in time; with its own words.
        """
        if importlib.util.find_spec("moto") is None:
            raise UserError("the embedded AWS needs moto: pip install './trainer[local]'")
        try:
            self._start()
            if not self._empty:
                self._create()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *fault: object) -> None:
        self._stop()

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _stop
        self._process = subprocess.Popen(
            [sys.executable, "-m", "receipt_trainer.local.server", str(os.getpid())],
            stdin=subprocess.PIPE,  # its end tells the child that we are gone
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=without_elsewhere(os.environ),  # moto reads the profile, and fails if there is none of that name
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
        for shape in ALL_TABLES:
            self.client("dynamodb").create_table(**shape.create_arguments(self.table_names[shape.name]))
        self.client("s3").create_bucket(Bucket=self.bucket)

    def _stop(self) -> None:
        process, self._process = self._process, None
        self._clients.clear()
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
