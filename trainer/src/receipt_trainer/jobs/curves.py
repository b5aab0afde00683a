"""A job's metrics as curves, one value a step, also where steps were trained twice; and how fast it trains."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from receipt_trainer.aws.dynamo import Table
from receipt_trainer.contract import tables
from receipt_trainer.contract.tables import moment
from receipt_trainer.jobs.rows import METRICS, rows_of

ORDER: Final = ("eval_f1", "eval_loss", "loss", "eval_precision", "eval_recall", "learning_rate", "grad_norm")
"""Metrics that are shown first; others follow by name."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric."""

    step: int
    epoch: float
    value: float
    timestamp: str


def read_curves(table: Table, job_id: str) -> dict[str, list[Point]]:
    """All curves of a job by the metric's name, in the order in which they are shown."""
    return curves(rows_of(table, job_id, METRICS))


def curves(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """Curves of METRIC rows. Of a step that several attempts reached, the last attempt's value counts."""
    last: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        steps = last.setdefault(str(row["name"]), {})
        step = int(row["step"])
        if step not in steps or _age(steps[step]) <= _age(row):
            steps[step] = row
    names = [*(name for name in ORDER if name in last), *sorted(last.keys() - set(ORDER))]
    return {name: [_point(last[name][step]) for step in sorted(last[name])] for name in names}


def _age(row: Mapping[str, Any]) -> tuple[int, str, int]:
    """Of the METRIC rows of one step, the one with the highest age counts."""
    return int(row.get("attempt") or 0), str(row["timestamp"]), int(row["seq"])


def _point(row: Mapping[str, Any]) -> Point:
    return Point(int(row["step"]), _number(row["epoch"]), _number(row["value"]), str(row["timestamp"]))


def _number(value: object) -> float:
    number = tables.to_float(value)
    return float("nan") if number is None else number


def latest(table: Table, job_id: str, name: str) -> Point | None:
    """The newest value of one metric, found by reading one page from the end; faults as `read_curves`."""
    rows = rows_of(table, job_id, f"{METRICS}{name}#", newest_first=True, page=5)
    return next((_point(row) for row in rows if row["name"] == name), None)


WINDOW: Final = 20
"""The last so many logged steps say how fast a job is now."""
PAUSE: Final = 10.0
"""An interval so many times as long as the usual one is a pause, such as a row written late, and no work."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Progress of a job; None: not known yet. Early stopping may end it before `num_steps`.

    `steps_per_s` has evaluations and checkpoints in it; `left_s` counts from the last logged step.
    """

    step: int | None = None
    num_steps: int | None = None
    steps_per_s: float | None = None
    left_s: float | None = None

    @property
    def share(self) -> float | None:
        """Of the job that is done, 0..1."""
        if self.step is None or not self.num_steps:
            return None
        return min(1.0, self.step / self.num_steps)


def pace_of(spec: Mapping[str, Any], losses: Sequence[Point], *, running: bool) -> Pace:
    """The pace of a job by its resolved spec and the losses of its newest attempt; no speed unless it is running."""
    if not losses:
        return Pace()
    last = losses[-1]
    num_steps = _num_steps(spec, last)
    speed = _steps_per_s(losses[-WINDOW:]) if running else None
    left_s = max(0, num_steps - last.step) / speed if speed and num_steps is not None else None
    return Pace(last.step, num_steps, speed, left_s)


def _num_steps(spec: Mapping[str, Any], point: Point) -> int | None:
    """Steps of the job: as many as are asked for, or the epochs times those of one, which step and epoch tell."""
    training = spec.get("training_config")
    given = training if isinstance(training, dict) else {}
    max_steps, num_epochs = given.get("max_steps"), given.get("num_epochs", given.get("num_train_epochs"))
    if isinstance(max_steps, int) and max_steps > 0:
        return max_steps
    if not isinstance(num_epochs, int | float) or not point.epoch > 0 or point.step < 1:
        return None
    return math.ceil(num_epochs * round(point.step / point.epoch))


def _steps_per_s(points: Sequence[Point]) -> float | None:
    parts = []
    for before, after in pairwise(points):
        began, ended = moment(before.timestamp), moment(after.timestamp)
        if began is not None and ended is not None and ended > began:
            parts.append((after.step - before.step, (ended - began).total_seconds()))
    if not parts:
        return None
    usual_s = sorted(seconds / steps for steps, seconds in parts)[len(parts) // 2]
    worked = [(steps, seconds) for steps, seconds in parts if seconds / steps <= PAUSE * usual_s]
    return sum(steps for steps, _ in worked) / sum(seconds for _, seconds in worked)
