"""How fast a run was and how much it trained on, kept in its job's row, from which later jobs are estimated."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from receipt_trainer.contract.run_record import RunRecord

MIN_SHARE: Final = 0.1
"""Of a run's steps that an attempt must have trained itself; less says little of its machine."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, as its last attempt saw it.

    Attributes:
        tokens: of one pass over the training examples.
        epochs: passes that the run made.
        steps: optimizer steps of the run.
        tokens_per_s: trained a second, evaluations and checkpoints between the steps included.
        overhead_s: seconds of the attempt before and after training: start, data, last scores, report, upload.
        instance_type: of the attempt's machine; None if it was no instance.
    """

    tokens: int
    epochs: float
    steps: int
    tokens_per_s: float
    overhead_s: float
    instance_type: str | None = None

    def to_text(self) -> str:
        """As the job's row has it."""
        return json.dumps(asdict(self))


def read(text: object) -> Measured | None:
    """What a job's row has; None where it has nothing that can be read."""
    try:
        values = json.loads(str(text))
        found = Measured(**{name: values[name] for name in Measured.__slots__})
        numbers = (found.tokens, found.epochs, found.steps, found.tokens_per_s)
        is_sound = all(math.isfinite(number) and number > 0 for number in numbers) and found.overhead_s >= 0
    except (ValueError, TypeError, KeyError):
        return None
    return found if is_sound else None


def measure(record: RunRecord, start_step: int, seconds: float, instance_type: str | None) -> Measured | None:
    """What the last attempt of a complete run says; None if it trained too little, or the record lacks a number.

    Args:
        start_step: of the attempt.
        seconds: that the attempt took in all.
        instance_type: of its machine.
    """
    tokens = (record.dataset_counts.get("train") or {}).get("tokens")
    steps, trained_s = record.timings.get("steps"), record.timings.get("train_this_attempt_s")
    epochs = _epochs(record)
    if not (tokens and steps and trained_s and epochs) or trained_s > seconds:
        return None
    share = (steps - start_step) / steps
    if share < MIN_SHARE:
        return None
    rate = tokens * epochs * share / trained_s
    return Measured(int(tokens), epochs, int(steps), round(rate, 1), round(seconds - trained_s, 1), instance_type)


def _epochs(record: RunRecord) -> float | None:
    """Passes up to the last evaluation, which is the end of training."""
    if record.epoch_metrics:
        return record.epoch_metrics[-1].epoch
    rows: list[Mapping[str, Any]] = record.vl.get("evaluations") or []
    return float(rows[-1]["epoch"]) if rows else None
