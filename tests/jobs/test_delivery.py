"""When a complete run is delivered again, without clock or table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.contract.tables import iso
from receipt_trainer.jobs import state_machine
from receipt_trainer.jobs.model import MAX_PAUSE_S, Job
from receipt_trainer.jobs.state_machine import GIVEN_UP_AFTER, after_failed_try, pause_s

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RUNNING = Job("j", "n", "RUNNING", attempt=3, queue_url="q")


def test_pauses_grow_to_six_hours() -> None:
    """30 s, doubled each time; from the eleventh on they stay."""
    assert [pause_s(number, 30) for number in range(1, 13)] == [30 * 2**power for power in range(10)] + [21600] * 2
    assert pause_s(10**9, 30) == MAX_PAUSE_S == 6 * 3600


def test_a_run_is_tried_for_fourteen_days_and_then_held() -> None:
    """Fewer tries than a message may be received; until the end there is a next one, then a reason and none."""
    now, job, tries = NOW, RUNNING, 0
    while True:
        left = after_failed_try(job, now, 30, "S3 is away")
        tries += 1
        if left["next_try_at"] is None:
            break
        assert left["undelivered_since"] == iso(NOW)
        job = replace(job, undelivered_since=NOW, num_undelivered=left["num_undelivered"])
        now = datetime.fromisoformat(left["next_try_at"])
    assert GIVEN_UP_AFTER <= now - NOW < GIVEN_UP_AFTER + timedelta(hours=6)
    assert 50 < tries < 80
    assert left.keys() == set(state_machine.ATTRIBUTES)
    assert left["waits_for"] is None
    assert "14 days; the last try: S3 is away" in left["held_reason"]


@given(st.timedeltas(timedelta(days=-1000), timedelta(days=1000)), st.integers(0, 10**6))
def test_a_wrong_clock_holds_no_job_early_and_keeps_none_for_ever(since: timedelta, num_tries: int) -> None:
    """Whatever an earlier worker took for the time, the 14 days begin at the latest now, and pauses stay pauses."""
    job = replace(RUNNING, undelivered_since=NOW + since, num_undelivered=num_tries)
    left = after_failed_try(job, NOW, 30, "away")
    assert left["undelivered_since"] == iso(min(NOW, NOW + since))
    assert (left["next_try_at"] is None) == (since <= -GIVEN_UP_AFTER)
    if left["next_try_at"] is not None:
        assert NOW < datetime.fromisoformat(left["next_try_at"]) <= NOW + timedelta(seconds=MAX_PAUSE_S)
        assert left["waits_for"] == "away"
