"""Dollars and seconds of attempts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receipt_trainer.contract import cost

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def attempt(began: str | None, ended: str | None = None, price: Any = 0.36) -> dict[str, Any]:
    """An ATTEMPT row of that morning."""
    times = {"started_at": began, "ended_at": ended}
    row = {key: f"2026-11-20T{value}:00+00:00" for key, value in times.items() if value}
    return row if price is None else {**row, "price_usd_per_h": price}


def test_an_attempts_time_costs_its_instances_price() -> None:
    """Half an hour at $0.36 an hour is $0.18, and attempts add up at their own prices."""
    found = cost.of_attempts([attempt("08:00", "08:30"), attempt("09:00", "10:00", 1.0)], NOW)
    assert found.usd == pytest.approx(1.18)
    assert (found.seconds, found.num_attempts, found.num_unknown) == (5400, 2, 0)


def test_a_running_attempt_costs_up_to_now() -> None:
    """Without an end an attempt is counted up to now."""
    assert cost.of_attempts([attempt("11:00")], NOW).usd == pytest.approx(0.36)


def test_a_vanished_worker_is_paid_to_the_next_claim_at_most() -> None:
    """An attempt that never ended stops costing when the next one begins."""
    found = cost.of_attempts([attempt("08:00"), attempt("09:00", "10:00")], NOW)
    assert found.seconds == 7200


@pytest.mark.parametrize(
    ("lease_end", "hours"), [("09:00", 1.0), ("12:05", 4.0), ("07:00", 0.0), (None, 4.0), ("never", 4.0)]
)
def test_an_open_attempt_is_paid_to_the_end_of_its_lease(lease_end: str | None, hours: float) -> None:
    """A worker that vanished stops costing when its lease ends; one that beats has a lease beyond now."""
    text = lease_end if lease_end in (None, "never") else f"2026-11-20T{lease_end}:00+00:00"
    found = cost.of_attempts([attempt("08:00", price=1.0)], cost.open_until(NOW, text))
    assert found.usd == pytest.approx(hours)


@pytest.mark.parametrize("price", [None, "free", float("nan"), float("inf"), -1.0, True])
def test_what_is_no_price_is_unknown_and_not_free(price: Any) -> None:
    """An attempt without a price counts its time, and is said to be missing in the dollars."""
    alone = cost.of_attempts([attempt("08:00", "09:00", price)], NOW)
    assert alone == cost.Cost(seconds=3600, usd=None, num_attempts=1, num_unknown=1)
    beside = cost.of_attempts([attempt("08:00", "09:00", price), attempt("09:00", "10:00")], NOW)
    assert beside.usd == pytest.approx(0.36)
    assert beside.num_unknown == 1


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "started_at": st.text() | st.datetimes().map(str),
        "ended_at": st.none() | st.text() | st.datetimes(timezones=st.just(UTC)).map(str),
        "price_usd_per_h": st.none() | st.floats() | st.text() | st.integers(),
    },
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(ROWS, max_size=4))
def test_any_rows_have_a_cost_that_is_none_or_not_negative(rows: list[dict[str, Any]]) -> None:
    """Whatever rows hold, seconds and dollars are never negative and every attempt is known or unknown."""
    found = cost.of_attempts(rows, NOW)
    assert found.seconds >= 0
    assert found.usd is None or found.usd >= 0
    assert (found.usd is None) == (found.num_unknown == found.num_attempts)
