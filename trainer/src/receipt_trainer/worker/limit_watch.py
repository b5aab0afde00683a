"""Whether an attempt's job, or the sweep that it is of, has taken as much as it may."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import structlog

from receipt_trainer.contract import cost
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs import limits
from receipt_trainer.jobs.limits import Limits, Spending
from receipt_trainer.jobs.model import Job

if TYPE_CHECKING:
    from receipt_trainer.worker.attempt import WorkerParts

AGAIN_S: Final = 60.0
"""Wait after the table could not be read."""
SWEEP_S: Final = 600.0
"""At least so often a sweep is looked at: others of its jobs may have begun meanwhile."""

_log = structlog.get_logger(__name__)


class LimitWatch:
    """Looks when a limit may be reached, and not before; a job without limits, of no sweep, costs no request.

    `began` is the moment of the claim, on the worker's clock.
    """

    def __init__(self, parts: WorkerParts, job: Job, began: float) -> None:
        self._table, self._job, machine = parts.table.table, job, parts.machine
        self._began, self._clock, self._now = began, parts.clock, parts.now
        listed = cost.read_prices(job.list_prices).get(machine.instance_type or "")
        self._price = machine.price_usd_per_h if machine.price_usd_per_h is not None else listed
        self._limits, self._sweep = limits.of_job(job), limits.sweep_of(job)
        self._sweep_limits = Limits()
        self._earlier: Spending | None = None  # of the job's attempts before this one
        self._next_at = self._began if self._limits or self._sweep else math.inf

    def wait_s(self) -> float:
        """Seconds until the next look; infinite if there is none."""
        return max(0.0, self._next_at - self._clock())

    def look(self) -> str | None:
        """Why the job has to be stopped; None while it has not. Before its time a look costs nothing."""
        if self.wait_s() > 0:
            return None
        try:
            return self._look()
        except (UserError, WorldError) as error:
            _log.warning("what the job has taken is not known", job_id=self._job.job_id, error=str(error))
            self._next_at = self._clock() + AGAIN_S
            return None

    def _look(self) -> str | None:
        own, left_s = self._own(), math.inf
        if self._limits:
            if self._earlier is None:
                self._earlier = self._spending([self._job.job_id])
            spent = self._earlier + own
            if (reached := limits.reached(self._limits, spent, job=self._job.job_id)) is not None:
                return reached.said
            left_s = spent.left_s(self._limits)
        if self._sweep is not None:
            self._sweep_limits, job_ids = limits.read_sweep(self._table, self._sweep)
            if self._sweep_limits:
                spent = self._spending(job_ids) + own
                if (reached := limits.reached(self._sweep_limits, spent, sweep=self._sweep)) is not None:
                    return reached.said
                left_s = min(left_s, spent.left_s(self._sweep_limits))
            left_s = min(left_s, SWEEP_S)  # a limit may be set later, too
        self._next_at = self._clock() + left_s
        return None

    def _own(self) -> Spending:
        """Consumption of this attempt."""
        seconds, price = self._clock() - self._began, self._price or 0.0
        return Spending(seconds, seconds * price / 3600, 1, price, int(self._price is None))

    def _spending(self, job_ids: list[str]) -> Spending:
        return limits.read_spending(self._table, job_ids, self._now(), but=self._job.job_id)

    @property
    def unpriced(self) -> str | None:
        """Said where dollars are bounded and the machine's price is not known; None elsewhere."""
        bounds = self._limits.over(self._sweep_limits)
        if bounds.max_usd is None or self._price is not None:
            return None
        bound = f"max_usd {bounds.max_usd:g} cannot be kept"
        return f"{bound}: what an hour of this machine costs is not known, and its time counts for nothing"
