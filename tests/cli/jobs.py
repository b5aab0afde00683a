"""Calling `receipt-trainer` in this process, as its entry point does, and jobs to call it on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

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
    """Calls commands with a fixed width of the screen."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Said:
        """Run `receipt-trainer` with these arguments."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run(group, arguments)
        said = self._capsys.readouterr()
        assert isinstance(end.value.code, int)
        return Said(end.value.code, said.out, said.err)


def add_job(table: str, *, name: str = "a-job", status: str = "PENDING", minutes: int = 0, **attributes: Any) -> str:
    """Put a job that was created so many minutes after noon; its id."""
    job_id = str(attributes.pop("job_id", None) or uuid4())
    created = iso(NOON + timedelta(minutes=minutes))
    known = {"attempt": 0, "pool": "gpu", "priority": "normal", "model": "tiny", "spec": "{}", "updated_at": created}
    put_job(table, job_id, name=name, status=status, created_at=created, **known | attributes)
    return job_id
