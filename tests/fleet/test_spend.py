"""What today cost, from rows of attempts and instances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import attempt_sk, job_pk
from receipt_trainer.fleet.spend import clipped, instance_spend, midnight_before, read_job_spend
from receipt_trainer.jobs import cost
from receipt_trainer.jobs.instances import Instance
from receipt_trainer.jobs.store import iso
from tests.cli.jobs import add_job

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
H = timedelta(hours=1)


def instance(began: datetime, **changes: Any) -> Instance:
    """A worker that began then, at a dollar an hour, and beats."""
    known: dict[str, Any] = dict.fromkeys(Instance.__dataclass_fields__)
    known |= {"instance_id": "i-1", "status": "RUNNING", "instance_type": "g6.xlarge", "price_usd_per_h": 1.0}
    known |= {"started_at": iso(began), "seen_at": iso(NOON), "is_list_price": False}
    return Instance(**known | changes)


def test_instances_count_from_midnight_to_their_end() -> None:
    """Yesterday's hours are yesterday's; one that ended stops there, and one that is late at its last heartbeat."""
    since_yesterday = instance(NOON - 20 * H)
    ended = instance(NOON - 4 * H, status="ENDED", ended_at=iso(NOON - 3 * H))
    late = instance(NOON - 4 * H, seen_at=iso(NOON - 2 * H))
    before = instance(NOON - 30 * H, status="ENDED", ended_at=iso(NOON - 20 * H))
    found = instance_spend([since_yesterday, ended, late, before], NOON)
    assert (found.num_instances, found.usd) == (3, pytest.approx(12 + 1 + 2))


def test_what_is_not_known_is_said() -> None:
    """Without a price time counts and dollars do not; a list price is marked; a laptop costs nothing here."""
    none = instance(NOON - H, price_usd_per_h=None)
    listed = instance(NOON - H, price_usd_per_h=2.0, is_list_price=True)
    laptop = instance(NOON - H, instance_type=None)
    found = instance_spend([none, listed, laptop], NOON)
    assert (found.usd, found.seconds) == (pytest.approx(2.0), 7200)
    assert (found.num_instances, found.num_unknown, found.num_at_list_price) == (2, 1, 1)
    assert instance_spend([none], NOON).usd is None


def attempt(began: datetime, ended: datetime | None, price: float | None = 1.0) -> dict[str, Any]:
    """An ATTEMPT row."""
    row: dict[str, Any] = {"started_at": iso(began)}
    return row | ({"ended_at": iso(ended)} if ended else {}) | ({} if price is None else {"price_usd_per_h": price})


def test_jobs_of_today_and_only_their_part_of_today(jobs_table: str) -> None:
    """A job over midnight costs its hours since then; one that ended yesterday is not there, one still running is,
    though nothing of it was written today; the dearest comes first."""
    jobs = {
        "over-midnight": ("SUCCEEDED", NOON - 10 * H, [attempt(NOON - 14 * H, NOON - 10 * H)]),
        "yesterday": ("SUCCEEDED", NOON - 20 * H, [attempt(NOON - 22 * H, NOON - 20 * H)]),
        "runs": ("RUNNING", NOON - 13 * H, [attempt(NOON - 13 * H, None)]),
        "waits": ("PENDING", NOON, []),
        "twice": ("FAILED", NOON, [attempt(NOON - 3 * H, NOON - 2 * H), attempt(NOON - 2 * H, NOON, None)]),
    }
    for name, (status, changed, attempts) in jobs.items():
        job_id = add_job(jobs_table, name=name, status=status, updated_at=iso(changed))
        for number, row in enumerate(attempts, 1):
            key = {"PK": job_pk(job_id), "SK": attempt_sk(number)}
            dynamo.put(clients.dynamodb(), jobs_table, key | row, "put an attempt")
    found = read_job_spend(clients.dynamodb(), jobs_table, NOON)
    assert [(one.name, one.cost.usd) for one in found] == [
        ("runs", pytest.approx(12.0)),
        ("over-midnight", pytest.approx(2.0)),
        ("twice", pytest.approx(1.0)),
    ]
    assert [one.cost.num_unknown for one in found] == [0, 0, 1]


HOURS = st.floats(-48, 12, allow_nan=False)


@given(st.lists(st.tuples(HOURS, st.none() | st.floats(0, 30)), max_size=4))
def test_today_is_never_more_than_all(spans: list[tuple[float, float | None]]) -> None:
    """Whatever the attempts were, what they cost today lies between nothing and what they cost in all."""
    rows = [
        attempt(NOON + began * H, None if took is None else NOON + (began + took) * H)
        for began, took in sorted(spans, key=str)
    ]
    since = midnight_before(NOON)
    today, whole = cost.of_attempts(clipped(rows, since, NOON), NOON), cost.of_attempts(rows, NOON)
    assert 0 <= today.seconds <= whole.seconds + 1e-3
    assert (today.usd or 0) <= (whole.usd or 0) + 1e-6
