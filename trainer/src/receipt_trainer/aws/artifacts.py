"""Run artifacts to S3 through the system AWS CLI; the run record goes last, so that it vouches for the rest."""

from __future__ import annotations

import glob
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tenacity import Retrying, retry_if_exception_type, retry_if_not_exception_type, stop_after_attempt, wait_fixed

from receipt_trainer.contract.names import DEFAULT_AWS_CLI, ENV_AWS_CLI, RUN_FILE
from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.errors import UserError, WorldError

SYNC_TIMEOUT_S: Final = 3600.0
"""Longest run of one CLI call. A model of 1 GB takes 100 s at 80 Mbit/s."""
VERSION_TIMEOUT_S: Final = 60.0
ATTEMPTS: Final = 3
RETRY_WAIT_S: Final = 5.0

_REFUSED: Final = re.compile(
    r"AccessDenied|Access Denied|AllAccessDisabled|\(403\)|NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch"
    r"|Unable to locate credentials|KMS\.\w+"
)
"""AWS's messages about an upload that this machine may not make, however often it tries."""

_EXCLUDED: Final = (RUN_FILE, "checkpoint-*/*", ".*", "*/.*")
"""Excluded from the sync: the record that goes last, checkpoints (they live on EFS), hidden temporary files."""


def run_prefix(job_name: str, job_id: str) -> str:
    """Key prefix of a run: one of its own, so that no two runs' files ever mix."""
    return f"runs/{job_name}/{job_id}"


class CliError(UserError):
    """The AWS CLI is missing, or not even says its version."""


class UploadRefusedError(WorldError):
    """AWS refuses the upload: another try from this machine is in vain."""


class S3Artifacts:
    """Copies a run's folder to S3 (the contract's `ArtifactSink`) by the AWS CLI at an absolute path.

    One call of the CLI may take `timeout_s`; `environ` is its environment, by default this process's.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        cli: str = DEFAULT_AWS_CLI,
        timeout_s: float = SYNC_TIMEOUT_S,
        retry_wait_s: float = RETRY_WAIT_S,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.url = f"s3://{bucket}/{prefix.strip('/')}"
        self._cli = cli
        self._timeout_s, self._retry_wait_s = timeout_s, retry_wait_s
        self._environ = environ

    def check(self) -> None:
        """Look for the CLI before hours of training, and never on PATH: a conda `aws` found there is another one.

        Raises:
            CliError: the path is not absolute, or no program is there.
        """
        if not Path(self._cli).is_absolute():
            raise CliError(f"the path of the AWS CLI must be absolute, not '{self._cli}'; set {ENV_AWS_CLI}")
        if not (Path(self._cli).is_file() and os.access(self._cli, os.X_OK)):
            raise CliError(f"there is no AWS CLI at {self._cli}; install it, or set {ENV_AWS_CLI} to its full path")

    def upload(self, run_dir: Path) -> str:
        """Copy the run's files, its run.json last; returns the s3:// URL of the folder.

        Raises:
            CliError: as `check`, or the CLI is broken.
            UserError: `run_dir` is not a folder.
            UploadRefusedError: AWS refuses it, or the bucket is not there.
            WorldError: the CLI failed three times or ran too long; with its own words.
        """
        self.check()
        if not run_dir.is_dir():
            raise UserError(f"{run_dir}: there is no run to upload")
        folder = run_dir.resolve()
        # The CLI puts the folder before a relative pattern as it is: 'run[1]' would match 'run1' alone.
        root = glob.escape(str(folder))
        excludes = [part for pattern in _EXCLUDED for part in ("--exclude", f"{root}/{pattern}")]
        self._run("sync", "--only-show-errors", str(folder), self.url, *excludes)
        record = folder / RUN_FILE
        if record.is_file():
            self._run("cp", "--only-show-errors", str(record), f"{self.url}/{RUN_FILE}")
        return self.url

    def _run(self, *arguments: str) -> None:
        retrying = Retrying(
            retry=retry_if_exception_type(WorldError) & retry_if_not_exception_type(UploadRefusedError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(self._retry_wait_s),
            reraise=True,
        )
        retrying(self._run_once, *arguments)

    def _is_broken(self) -> bool:
        """Whether the CLI cannot even say its version."""
        try:
            asked = [self._cli, "--version"]
            done = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired):
            return True
        return done.returncode != 0

    def _run_once(self, *arguments: str) -> None:
        command = [self._cli, "s3", *arguments]
        doing = f"aws s3 {arguments[0]} to {self.url}"
        report_progress(f"aws s3 {arguments[0]}", quiet_s=self._timeout_s)  # the time of one call is bounded here
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout_s,
                env=None if self._environ is None else dict(self._environ),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise WorldError(f"{doing}: not done after {self._timeout_s:g} s") from None
        except OSError as error:
            raise CliError(f"{self._cli} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            first, *more = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
            words = " ".join(first.split()) + (f" (and {len(more)} lines more)" if more else "")
            told = f"{doing} failed with exit code {done.returncode}: {words}"
            if _REFUSED.search(words):
                raise UploadRefusedError(told)
            if self._is_broken():
                raise CliError(f"the AWS CLI at {self._cli} is broken: {told}")
            raise WorldError(told)
