"""Calling `receipt-trainer` in this process, as its entry point does, and jobs to call it on."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import click
import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.lazy import run
from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.contract.tables import iso
from tests.job_rows import put_job

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Said(NamedTuple):
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON without NaN; anything but exit code 0 fails the test."""
        assert self.code == 0, self.err

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


class Caller:
    """Calls commands of a program; the environment is afterwards as it was before."""

    def __init__(self, capture: pytest.CaptureFixture[str], program: click.Command = group) -> None:
        self._capture, self._program = capture, program

    def __call__(self, *arguments: object) -> Said:
        """Run the program with these arguments."""
        self._capture.readouterr()
        before = dict(os.environ)
        try:
            with pytest.raises(SystemExit) as end:
                run(self._program, list(map(str, arguments)))
        finally:
            os.environ.clear()
            os.environ.update(before)
        said = self._capture.readouterr()
        assert isinstance(end.value.code, int)
        return Said(end.value.code, said.out, said.err)

    def succeed(self, *arguments: object) -> Said:
        """Run it; anything but exit code 0 fails the test."""
        said = self(*arguments)
        assert said.code == 0, said.err
        return said

    def refuse(self, *arguments: object) -> str:
        """The last line of a user's mistake; anything but exit code 2 fails the test."""
        said = self(*arguments)
        assert said.code == 2, said.out + said.err
        line = said.err.strip().splitlines()[-1]
        assert line.startswith("error: "), said.err
        return line


def add_job(table: str, *, name: str = "a-job", status: str = "PENDING", minutes: int = 0, **attributes: Any) -> str:
    """Put a job that was created so many minutes after noon; its id."""
    job_id = str(attributes.pop("job_id", None) or uuid4())
    created = iso(NOON + timedelta(minutes=minutes))
    known = {"attempt": 0, "pool": "gpu", "priority": "normal", "model": "tiny", "spec": "{}", "updated_at": created}
    put_job(table, job_id, name=name, status=status, created_at=created, **known | attributes)
    return job_id


def register(table: str, instance_id: str, **attributes: Any) -> None:
    """Put an instance's row."""
    expires = {"expires_at": int(utc_now().timestamp()) + 3600}
    row = {"PK": f"INSTANCE#{instance_id}", "SK": "INSTANCE", "TYPE": "INSTANCE"}
    dynamo.put(clients.dynamodb(), table, row | expires | attributes, "register")
