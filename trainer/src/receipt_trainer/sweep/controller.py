"""Moves a sweep on: what its jobs have done is stored, hopeless ones are cancelled, the next are queued.

Each write can be the last one of a process. A trial is stored before its jobs, its jobs' ids follow from its
values, and it counts as queued only when all of them are: the next process finds what is left to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from receipt_trainer.errors import UserError
from receipt_trainer.jobs.limits import Limits, Spending, reached
from receipt_trainer.jobs.model import WAITING, Job, UnreadableRow
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import retry_job, submit
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.collect import Observer
from receipt_trainer.sweep.definition import SEARCHES, Definition
from receipt_trainer.sweep.store import SweepTable
from receipt_trainer.sweep.study import SweepStudy
from receipt_trainer.sweep.trial import ENDED, SETTLED, SeedRun, Trial, shared

POLL_S: Final = 5.0


@dataclass
class Driver:
    """Drives one sweep; several may drive the same one.

    Attributes:
        concurrency: trials in the queue at once, for a search that learns from results.
        expect: puts what a job will take into it, before it is queued.
        spent: why no further trial begins, once all jobs together have taken as much as they may.
        launch: called with the ids of jobs that were queued, so that instances come for them.
    """

    definition: Definition
    sweeps: SweepTable
    jobs: JobTable
    queue: SqsQueue
    observer: Observer
    concurrency: int = 4
    expect: Callable[[Job], Job] = lambda job: job
    launch: Callable[[Sequence[str]], None] = lambda job_ids: None
    spent: str | None = None
    _queued: list[str] = field(default_factory=list)
    _plan: list[plan.Params] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.study = SweepStudy(self.definition, self.sweeps)
        if self.definition.method not in SEARCHES:
            self._plan = plan.expand(self.definition)

    @property
    def num_trials(self) -> int:
        """Trials there will be."""
        return plan.num_planned(self.definition)

    def is_done(self, trials: Sequence[Trial]) -> bool:
        """Whether all trials are there and have ended, or no further one begins."""
        if self.spent is not None:
            return all(trial.state in ENDED or trial.state == "PLANNED" for trial in trials)
        return len(trials) >= self.num_trials and all(trial.state in ENDED for trial in trials)

    def advance(self) -> list[Trial]:
        """Do all that can be done now; the trials as they are then. After a fault of AWS, what is done stays done."""
        self.study.begin()
        limits = self.sweeps.limits(self.definition.name)
        trials = self._observe(self.study.trials())
        self.spent = self._spent(limits, trials)
        if self.spent is not None:
            self._withdraw(trials)
            return trials
        if limits and self._resume(trials):
            trials = self._observe(trials)
        if self.definition.prune:
            trials = shared([self._prune(trial) for trial in trials])
        trials = shared([self._queue(trial) for trial in trials])
        most = self.concurrency if self.definition.method == "tpe" else self.num_trials
        while len(trials) < self.num_trials and sum(trial.state not in ENDED for trial in trials) < most:
            self._add(trials)
            trials = shared(trials)
        if self._queued:
            self.launch(self._queued)
            self._queued = []
        return trials

    def _spent(self, limits: Limits, trials: Sequence[Trial]) -> str | None:
        runs = _own_runs(trials)
        taken = Spending(sum(run.seconds for run in runs), sum(run.usd or 0.0 for run in runs))
        found = reached(limits, taken, sweep=self.definition.name)
        return None if found is None else found.said

    def _withdraw(self, trials: Sequence[Trial]) -> None:
        """Cancel the jobs that wait, so that no instance is launched for them; the workers end those that run.

        A complete run that is to be delivered yet is left: no limit forbids that.
        """
        for run in _own_runs([trial for trial in trials if trial.state == "QUEUED"]):
            if run.status in WAITING and run.delivery is None:
                self._cancel(run, self.spent)

    def _resume(self, trials: Sequence[Trial]) -> bool:
        """Queue again what was stopped at a limit that is higher by now; whether there was any."""
        before = len(self._queued)
        stopped = f"sweep '{self.definition.name}' reached "
        for run in _own_runs(trials):
            if run.status in ("FAILED", "CANCELLED") and (run.reason or "").startswith(stopped):
                try:
                    retry_job(run.job_id, jobs_table=self.jobs.table.name, dynamodb=self.jobs.table.client)
                except UserError:
                    if self.jobs.readable(run.job_id).status in WAITING:  # but it has no message
                        raise
                    continue  # at a limit of its own, or another one has begun it again
                self._queued.append(run.job_id)
        return len(self._queued) > before

    def _observe(self, stored: list[Trial]) -> list[Trial]:
        seen = []
        for before, after in zip(stored, self.observer.look(stored), strict=True):
            is_news = after.state != before.state or (after.state in ENDED - SETTLED and after != before)
            is_own = before.same_as is None
            seen.append(self.study.change(before, after) if is_news and is_own else after)
        return shared(seen)

    def _prune(self, trial: Trial) -> Trial:
        if trial.same_as is not None:
            return trial
        if trial.state == "QUEUED" and self.study.is_hopeless(trial):
            reason = f"worse than the median of the complete trials at evaluation {len(trial.curve)}"
            trial = self.study.change(trial, replace(trial, state="PRUNING", reason=reason))
        if trial.state == "PRUNING":
            for run in trial.runs:
                self._cancel(run)
        return trial

    def _cancel(self, run: SeedRun, reason: str | None = None) -> None:
        if run.is_over:
            return
        try:
            self.jobs.cancel(run.job_id, reason)
        except UserError:
            try:
                has_ended = self.jobs.get(run.job_id).status in ("SUCCEEDED", "FAILED")  # meanwhile
            except UnreadableRow:
                return  # no worker takes it either
            if not has_ended:
                raise

    def _add(self, trials: list[Trial]) -> None:
        """Store the next trial and queue its jobs; where somebody else has stored it meanwhile, that one counts."""
        number = len(trials)
        trial: Trial | None = None
        if self.definition.method in SEARCHES:
            trial = self.study.propose(number, lambda params: self._next(number, params, trials))
        elif self.study.add(planned := self._next(number, self._plan[number], trials)):
            trial = planned
        trials.append(self._queue(trial or self.study.trials()[number]))

    def _next(self, number: int, params: plan.Params, trials: Sequence[Trial]) -> Trial:
        own = Trial(self.definition.name, number, params)
        first = next((trial for trial in trials if trial.params == params and trial.same_as is None), None)
        if first is not None:
            return replace(own, same_as=first.number)
        try:
            runs = [
                SeedRun(seed, plan.job_of(self.definition, number, params, seed).job_id)
                for seed in plan.seeds_of(self.definition, params)
            ]
        except UserError as error:  # a search may draw values that contradict each other
            return replace(own, state="FAILED", reason=str(error))
        return replace(own, runs=tuple(runs))

    def _queue(self, trial: Trial) -> Trial:
        if trial.state != "PLANNED" or trial.same_as is not None:
            return trial
        for run in trial.runs:
            job = plan.job_of(self.definition, trial.number, trial.params, run.seed)
            token = plan.token(self.definition, trial.params, run.seed)
            submit(self.expect(job), self.jobs, self.queue, client_token=token)
            self._queued.append(run.job_id)
        return self.study.change(trial, replace(trial, state="QUEUED"))


def _own_runs(trials: Sequence[Trial]) -> list[SeedRun]:
    return [run for trial in trials if trial.same_as is None for run in trial.runs]


def follow(
    driver: Driver,
    show: Callable[[list[Trial]], None],
    *,
    timeout_s: float,
    poll_s: float = POLL_S,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[Trial], bool]:
    """Move the sweep on again and again; the trials, and whether all have ended."""
    deadline = monotonic() + timeout_s
    trials = driver.advance()
    show(trials)
    while not driver.is_done(trials) and (left_s := deadline - monotonic()) > 0:
        sleep(min(poll_s, left_s))
        trials = driver.advance()
        show(trials)
    return trials, driver.is_done(trials)
