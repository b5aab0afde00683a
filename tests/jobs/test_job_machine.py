"""Any order of claims, heartbeats, expiry, endings, cancels and retries, against a model and a real table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.errors import UserError
from receipt_trainer.jobs import state_machine
from receipt_trainer.jobs.model import TERMINAL, Attempt, Job
from receipt_trainer.jobs.repository import JobTable, LeaseLost
from receipt_trainer.jobs.state_machine import Refusal, may
from receipt_trainer.jobs.views import read_past

LEASE_S = 60
MAX_FAILURES = 2
MAX_LOST = 3
"""Fewer than a real job has, so that a sequence of events reaches them."""
FIRST_PAUSE_S = 30
DELIVERY = timedelta(seconds=100)
"""Tried for so long, which sequences of events reach, too."""
WORKERS = ("w1", "w2", "w3")
NUMBERS = count()


@dataclass
class Ended:
    """How the model remembers an attempt that is over."""

    outcome: str
    left: str


@dataclass
class Model:
    """What one job should be, in as few words as possible."""

    status: str = "PENDING"
    holder: Attempt | None = None
    lease_until: datetime | None = None
    failures: int = 0
    lost: int = 0
    cancelling: bool = False
    undelivered_since: datetime | None = None
    tries: int = 0
    next_try_at: datetime | None = None
    is_held: bool = False
    attempts: list[Attempt] = field(default_factory=list)
    ended: dict[int, Ended] = field(default_factory=dict)

    def end(self, outcome: str, left: str) -> str:
        """The holder's attempt is over."""
        assert self.holder is not None
        self.ended[self.holder.number] = Ended(outcome, left)
        self.status, self.holder, self.lease_until = left, None, None
        if left in TERMINAL:
            self.forget_delivery()
        return left

    def forget_delivery(self) -> None:
        """Nothing waits for being delivered."""
        self.undelivered_since, self.tries, self.next_try_at, self.is_held = None, 0, None, False

    def put_off(self, now: datetime) -> None:
        """The complete run could not be delivered once more."""
        self.undelivered_since, self.tries = self.undelivered_since or now, self.tries + 1
        self.is_held = now - self.undelivered_since >= DELIVERY
        pause = timedelta(seconds=FIRST_PAUSE_S * 2 ** (self.tries - 1))
        self.next_try_at = None if self.is_held else now + pause

    def lose(self, left: str) -> None:
        """The holder vanished."""
        self.lost += 1
        self.end("LOST", left)


class JobMachine(RuleBasedStateMachine):
    """One job, three workers that keep every attempt they ever had, and a clock."""

    table_name: str

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
        self.client = clients.dynamodb()
        self.table = JobTable(self.client, self.table_name, clock=lambda: self.now, sleep=lambda seconds: None)
        self.model = Model()
        self.job_id = f"job-{next(NUMBERS)}"

    @initialize()
    def submit(self) -> None:
        """A job is made."""
        self.table.create(Job(self.job_id, "n", "PENDING", queue_url="q", max_failures=MAX_FAILURES))

    @rule(seconds=st.sampled_from([1, 30, 60, 61]))
    def time_passes(self, seconds: int) -> None:
        """Leases run out."""
        self.now += timedelta(seconds=seconds)

    @rule(worker=st.sampled_from(WORKERS))
    def claim(self, worker: str) -> None:
        """A worker has the message."""
        model, answer = self.model, self.table.claim(self.job_id, worker, LEASE_S, {})
        if model.holder is not None and model.lease_until is not None and self.now < model.lease_until:
            assert isinstance(answer, Refusal)
            assert (answer.kind, answer.lease_expires_at) == ("leased", model.lease_until)
        elif model.holder is None and model.status not in ("PENDING", "INTERRUPTED"):
            assert isinstance(answer, Refusal)
            assert answer.kind == ("cancelled" if model.status == "CANCELLED" else "done")
        elif model.cancelling:
            assert isinstance(answer, Refusal)
            assert answer.kind == "cancelled"
            model.lose("CANCELLED")
        elif model.holder is not None and model.lost + 1 == MAX_LOST:
            assert isinstance(answer, Refusal)
            model.lose("FAILED")
        elif model.is_held:
            assert isinstance(answer, Refusal)
            assert answer.kind == "held"
        elif model.next_try_at is not None and self.now < model.next_try_at:
            assert isinstance(answer, Refusal)
            assert (answer.kind, answer.next_try_at) == ("too early", model.next_try_at)
        else:
            if model.holder is not None:
                model.lose("CLAIMED")
            assert isinstance(answer, Attempt)
            assert (answer.number, answer.worker_id) == (len(model.attempts) + 1, worker)
            model.attempts.append(answer)
            model.status, model.holder, model.lease_until = "CLAIMED", answer, self.now + timedelta(seconds=LEASE_S)
            model.next_try_at = None

    def _as(self, which: int, act: Callable[[Attempt], object]) -> tuple[bool, object]:
        """Act as one of the attempts there ever were; whether it still holds the job, and what came of it."""
        if not self.model.attempts:
            return False, None
        attempt = self.model.attempts[which % len(self.model.attempts)]
        holds = attempt == self.model.holder
        try:
            return holds, act(attempt)
        except LeaseLost:
            assert not holds, "the holder is never refused"
            return False, LeaseLost

    @rule(which=st.integers(0, 5))
    def start(self, which: int) -> None:
        """Training begins, by the holder only."""
        holds, came = self._as(-1 - which, lambda attempt: self.table.start(attempt, 3))
        assert holds or came is LeaseLost or not self.model.attempts
        if holds:
            self.model.status = "RUNNING"

    @rule(which=st.integers(0, 2))
    def renew(self, which: int) -> None:
        """A heartbeat, of the holder or of somebody who was it."""
        holds, came = self._as(-1 - which, lambda attempt: self.table.renew(attempt, LEASE_S))
        assert holds or came is LeaseLost or not self.model.attempts
        if holds:
            assert came == self.model.cancelling
            self.model.lease_until = self.now + timedelta(seconds=LEASE_S)

    @rule(
        which=st.integers(0, 2),
        how=st.sampled_from(["INTERRUPTED", "PUT OFF", "SUCCEEDED", "FAILED", "FINAL", "CANCELLED"]),
    )
    def end(self, which: int, how: str) -> None:
        """An ending, of the holder or of somebody who was it; who ended so before is told the same again."""
        model, table = self.model, self.table
        acts: dict[str, Callable[[Attempt], object]] = {
            "INTERRUPTED": lambda attempt: table.interrupt(attempt, "notice", 3),
            "PUT OFF": lambda attempt: table.defer(attempt, "S3 is away", 3, FIRST_PAUSE_S).status,
            "SUCCEEDED": lambda attempt: table.succeed(attempt, 0.5, "s3://b/p") or "SUCCEEDED",
            "FAILED": lambda attempt: table.fail(attempt, "broken"),
            "FINAL": lambda attempt: table.fail(attempt, "mistake", final=True),
            "CANCELLED": lambda attempt: table.end_cancelled(attempt, "asked") or "CANCELLED",
        }
        holds, came = self._as(-1 - which, acts[how])
        outcome = {"FINAL": "FAILED", "PUT OFF": "INTERRUPTED"}.get(how, how)
        if not model.attempts:
            return
        if not holds:
            before = model.ended[model.attempts[(-1 - which) % len(model.attempts)].number]
            now = model.status if how == "PUT OFF" else before.left  # it is told what the job is, if it ended so
            assert came == (now if before.outcome == outcome else LeaseLost)
            return
        model.failures += outcome == "FAILED"
        left = outcome
        if how in ("FAILED", "FINAL"):
            left = "FAILED" if how == "FINAL" or model.failures >= MAX_FAILURES else "PENDING"
        if model.cancelling and how != "SUCCEEDED":
            left = "CANCELLED"
        if how == "PUT OFF" and left == "INTERRUPTED":
            model.put_off(self.now)
        assert came == model.end(outcome, left)

    @rule(seconds=st.sampled_from([1, 61, 200]))
    def deliver_in_vain(self, seconds: int) -> None:
        """After a while a worker tries to deliver the run in vain: steps that seldom follow each other by chance."""
        self.time_passes(seconds)
        self.claim("w1")
        self.end(0, "PUT OFF")

    @rule()
    def cancel(self) -> None:
        """Somebody cancels the job."""
        model = self.model
        if model.status in ("SUCCEEDED", "FAILED"):
            with pytest.raises(UserError, match=model.status):
                self.table.cancel(self.job_id)
            return
        self.table.cancel(self.job_id)
        if model.holder is None:
            model.status = "CANCELLED"
            model.forget_delivery()
        elif model.lease_until is not None and self.now < model.lease_until:
            model.cancelling = True
        else:
            model.lose("CANCELLED")

    @rule()
    def retry(self) -> None:
        """Somebody wants the job tried again."""
        model = self.model
        if model.holder is not None or model.status == "SUCCEEDED":
            with pytest.raises(UserError, match=model.status):
                self.table.retry(self.job_id)
            return
        self.table.retry(self.job_id)
        if model.status in ("FAILED", "CANCELLED"):
            model.status, model.failures, model.lost, model.cancelling = "PENDING", 0, 0, False
        elif model.status == "INTERRUPTED" and model.undelivered_since is not None:
            model.failures, model.lost = 0, 0
            model.forget_delivery()

    @invariant()
    def the_row_is_the_model(self) -> None:
        """What is stored is what should be."""
        job, model = self.table.find(self.job_id), self.model
        if job is None:
            return
        assert (job.status, job.attempt) == (model.status, len(model.attempts))
        assert (job.num_failures, job.num_lost) == (model.failures, model.lost)
        assert job.worker_id == (model.holder.worker_id if model.holder else None)
        assert job.lease_expires_at == model.lease_until
        assert job.cancel_requested == model.cancelling
        assert (job.undelivered_since, job.num_undelivered) == (model.undelivered_since, model.tries)
        assert (job.next_try_at, job.is_held) == (model.next_try_at, model.is_held)
        assert job.is_waiting == (model.status in ("PENDING", "INTERRUPTED") and not model.is_held)

    def teardown(self) -> None:
        """The past is whole: no change is missing, every attempt is there and ended as the model says."""
        past = read_past(Table(self.client, self.table_name), self.job_id, self.now)
        for before, after in pairwise(past.transitions):
            assert before["to"] == after["from"]
            assert may(after["from"], after["to"])
        model = self.model
        if past.transitions:
            assert past.transitions[-1]["to"] == model.status
        assert [row["attempt"] for row in past.attempts] == [attempt.number for attempt in model.attempts]
        ended = {row["attempt"]: row["outcome"] for row in past.attempts if row["outcome"]}
        assert ended == {number: one.outcome for number, one in model.ended.items()}


def test_every_order_of_events(jobs_table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in whatever order: one holder at a time, nothing written by others, nothing lost."""
    monkeypatch.setattr(state_machine, "MAX_LOST", MAX_LOST)
    monkeypatch.setattr(state_machine, "GIVEN_UP_AFTER", DELIVERY)

    class Machine(JobMachine):
        table_name = jobs_table

    run_state_machine_as_test(
        Machine,
        settings=settings(max_examples=12, stateful_step_count=40),
    )
