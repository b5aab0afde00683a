"""Whatever a row holds, it is either read or refused with its reason."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.contract import job_row
from receipt_trainer.jobs.model import _NUMBERS, Job, UnreadableRow
from receipt_trainer.jobs.state_machine import decide_claim

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
JOB = replace(
    Job("j", "n", "RUNNING", version=3, attempt=1, queue_url="q", spec={"model": "tiny"}, lease_expires_at=AT),
    tags={"team": "a"},
    created_at="2026",
)

odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["{}", "[]", "RUNNING"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from([field.name for field in fields(Job)]) | st.text(), odd), st.booleans())
def test_a_row_is_read_or_refused(changes: dict[str, Any], from_nothing: bool) -> None:
    """Any row of any values gives a job, which is written as it was read, or an UnreadableRow."""
    try:
        job = Job.from_row(changes if from_nothing else JOB.to_row() | changes)
    except UnreadableRow:
        return
    assert repr(Job.from_row(job.to_row())) == repr(job)
    decide_claim(job, AT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spec": "{model: tiny}"}, "spec: no JSON: "),
        ({"spec": "[" * 100_000}, "spec: "),
        ({"spec": '["tiny"]'}, "spec: no JSON object"),
        ({"status": "PAUSED"}, "status: 'PAUSED' is not a state that this version knows"),
        ({"lease_expires_at": "tomorrow"}, "lease_expires_at: 'tomorrow' is not a date"),
        ({"lease_expires_at": "2026-11-20T12:00:00"}, "lease_expires_at: '2026-11-20T12:00:00' has no time zone"),
        ({"lease_expires_at": "2026-11-20T12:00:00Z"}, "lease_expires_at: '2026-11-20T12:00:00Z' is not written as"),
        ({"lease_expires_at": "0001-01-01T00:00:00+05:00"}, "lease_expires_at: "),
        ({"lease_expires_at": None}, "lease_expires_at is missing, and the job is RUNNING"),
        ({"version": None}, "version is missing"),
        ({"version": 1.5}, "version: 1.5 is not a whole number"),
        ({"attempt": -1}, "attempt: -1 is below 0"),
        ({"cancel_requested": "yes"}, "cancel_requested: 'yes' is neither true nor false"),
        ({"tags": {"team": 1}}, "tags: {'team': 1} is not a mapping of texts"),
        ({"job_id": "other"}, "job_id: 'other' is not the job of the row's key"),
        ({"name": None}, "name is missing"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], reason: str) -> None:
    """The attribute and what is wrong with it, in one line."""
    with pytest.raises(UnreadableRow) as error:
        Job.from_row(JOB.to_row() | changes)
    assert error.value.reason.startswith(reason)
    assert len(str(error.value)) < 300


def test_every_attribute_is_looked_at() -> None:
    """A new attribute of a job cannot be forgotten here."""
    known = {*job_row._READ, *_NUMBERS} - {"asked"} | {"request_hash"}  # its name in the row is older
    assert {field.name for field in fields(Job)} == known
