"""The texts of notices, and their rows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.contract.cost import Cost
from receipt_trainer.contract.notices import HELD, Notice, cost_text

AT = "2026-11-20T12:00:05.250000+00:00"
NOTHING = Cost(0.0, None, 0, 0)
ID = "0b1c5c54-4c5e-4f0e-8a4f-2f6f0f6d9a11"

SUCCEEDED = f"""\
seven-labels: the job has succeeded

job:     {ID}
state:   SUCCEEDED
at:      2026-11-20 12:00:05 UTC
F1:      0.912
cost:    $1.20 (2 h 5 min of instance time in 3 attempts)

Look at it:
receipt-trainer job-details --stack dev {ID}
"""
FAILED = f"""\
seven-labels: the job has failed

job:     {ID}
state:   FAILED
at:      2026-11-20 12:00:05 UTC
cost:    at least $0.05 (10 min 0 s of instance time in 2 attempts; 1 without a price)
reason:  CUDA out of memory

Look at it:
receipt-trainer job-details --stack dev {ID}

Try again from its last checkpoint:
receipt-trainer retry --stack dev {ID}
"""
HELD_TEXT = f"""\
seven-labels: the job is held: its run is complete and could not be delivered

job:     {ID}
state:   HELD
at:      2026-11-20 12:00:05 UTC
cost:    unknown, no price is recorded (3 s of instance time in 1 attempt)
reason:  no such bucket

Look at it:
receipt-trainer job-details --stack dev {ID}

Deliver it, without training, once the cause is gone:
receipt-trainer retry --stack dev {ID}
"""


@pytest.mark.parametrize(
    ("notice", "cost", "text"),
    [
        (Notice(ID, "seven-labels", "SUCCEEDED", AT, f1=0.9123), Cost(7500, 1.2, 3, 0), SUCCEEDED),
        (Notice(ID, "seven-labels", "FAILED", AT, "CUDA out of memory"), Cost(600, 0.0512, 2, 1), FAILED),
        (Notice(ID, "seven-labels", HELD, AT, "no such bucket"), Cost(3, None, 1, 1), HELD_TEXT),
    ],
)
def test_the_text_says_what_happened_and_what_to_do(notice: Notice, cost: Cost, text: str) -> None:
    """Name, state, score, dollars, reason, and the command to look at it; what goes on from there if anything does."""
    assert notice.text("dev", cost) == text


def test_dollars_on_demand_are_those_of_the_list() -> None:
    """An attempt on demand has no price of its own: the one that its job knows counts, and the text says so. A spot
    instance without a price stays unknown."""
    times = {"started_at": "2026-11-20T11:00:00+00:00", "ended_at": "2026-11-20T12:00:00+00:00"}
    row = times | {"instance_type": "g6.xlarge"}
    rows = [row | {"market": "on_demand"}, row | {"market": "spot"}, row | {"market": "spot", "price_usd_per_h": 0.3}]
    notice = Notice(ID, "a-job", "SUCCEEDED", AT, list_prices='{"g6.xlarge": 0.8}')
    said = "at least $1.10 (3 h 0 min of instance time in 3 attempts; 1 at the list price; 1 without a price)"
    now = datetime(2026, 11, 20, 13, tzinfo=UTC)
    assert cost_text(notice.cost(rows, now)) == said
    assert notice.cost(rows, now) == Notice.from_row(notice.to_row(1)).cost(rows, now)
    assert notice.cost(rows[:1], now).usd == 0.8
    assert Notice(ID, "a-job", "SUCCEEDED", AT, list_prices="{").cost(rows[:1], now).usd is None


def test_a_cancelled_job_that_nobody_had_cost_nothing() -> None:
    """Without an attempt there are no dollars, and none that are unknown."""
    text = Notice(ID, "a-job", "CANCELLED", AT, "cancelled on request").text("dev", NOTHING)
    assert "cost:    nothing, no worker had it\n" in text


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        (Cost(4, 0.0003, 1, 0), "< $0.01"),
        (Cost(4, 0.0003, 2, 1), "< $0.01"),
        (Cost(4, 0.0, 1, 0), "$0.00"),
        (Cost(4, 1234.5, 1, 0), "$1,234.50"),
        (Cost(4, None, 1, 1), "unknown, no price is recorded"),
    ],
)
def test_dollars(cost: Cost, said: str) -> None:
    """Cents; less than one is no sum, and what is not known is never a zero."""
    assert cost_text(cost).partition(" (")[0] == said


def test_a_long_reason_is_cut_to_its_end() -> None:
    """The end of a reason says most."""
    text = Notice(ID, "a-job", "FAILED", AT, "x" * 4000 + " killed").text("dev", NOTHING)
    assert "reason:  ... x" in text
    assert "x killed\n" in text
    assert len(text) < 1500


@given(st.text(), st.text(), st.sampled_from(["SUCCEEDED", HELD, ""]), st.none() | st.floats(), st.text())
def test_any_row_has_a_subject_that_sns_takes(name: str, reason: str, state: str, f1: float | None, stack: str) -> None:
    """Printable ASCII, less than 100 signs, one line, no space in front; and the row reads back as it was."""
    notice = Notice(ID, name, state, AT, reason or None, f1)
    subject = notice.subject(stack)
    assert subject.isascii()
    assert subject.isprintable()
    assert 0 < len(subject) < 100
    assert subject[0] != " "
    assert notice.text(stack, NOTHING).replace("\n", "").isprintable()
    assert Notice.from_row(notice.to_row(3)) == notice or f1 != f1
