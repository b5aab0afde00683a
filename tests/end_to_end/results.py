"""Whether what an interrupted job left is whole: its attempts, its curve, its files."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract import names
from receipt_trainer.contract.run_record import LayoutLMRecord

FILES: Final = (names.RUN_FILE, names.REPORT_FILE, names.PREDICTIONS_FILE)
SAME: Final = 1e-3
"""Relative difference of a loss that two instance types compute."""


def problems(
    attempts: Sequence[dict[str, Any]],
    losses: Sequence[Item],
    num_steps: int,
    record: LayoutLMRecord | None,
    files: Collection[str],
) -> list[str]:
    """What is wrong, a line each; none if a second instance went on where the first one stopped, up to the end.

    Args:
        attempts: as in `job-details --json`.
        losses: every row of the loss, as stored.
        num_steps: of the whole job.
        record: run.json as it is in S3.
        files: names of the files in S3, below the run's prefix.
    """
    return [*_of_attempts(attempts), *_of_curve(losses, num_steps), *_of_files(record, files)]


def _of_attempts(attempts: Sequence[dict[str, Any]]) -> Iterable[str]:
    if len(attempts) < 2:
        yield f"there were {len(attempts)} attempts, not two: it was not interrupted"
        return
    first, second = attempts[0], attempts[1]
    if first["outcome"] != "INTERRUPTED":
        yield f"the first attempt's outcome is {first['outcome']}: {first['reason']}"
    if not first["checkpoint_step"]:
        yield "the first attempt left no checkpoint"
    if second["start_step"] != first["checkpoint_step"]:
        yield f"attempt 2 began at step {second['start_step']}, attempt 1 had saved step {first['checkpoint_step']}"
    if second["instance_id"] == first["instance_id"]:
        yield f"both attempts ran on {first['instance_id']}"


def _of_curve(losses: Sequence[Item], num_steps: int) -> Iterable[str]:
    known: dict[int, float] = {}
    for row in losses:
        before = known.setdefault(row["step"], row["value"])
        if not math.isclose(before, row["value"], rel_tol=SAME):
            yield f"step {row['step']} has two losses, {before:.4f} and {row['value']:.4f}"
    by_attempt: dict[int, list[int]] = {}
    for row in losses:
        by_attempt.setdefault(row.get("attempt") or 0, []).append(row["step"])
    for attempt, steps in by_attempt.items():
        if steps != sorted(steps):
            yield f"the steps of attempt {attempt} go back"
    if max(known, default=0) != num_steps:
        yield f"the curve ends at step {max(known, default=0)} of {num_steps}"


def _of_files(record: LayoutLMRecord | None, files: Collection[str]) -> Iterable[str]:
    missing = [name for name in FILES if name not in files]
    if missing:
        yield f"S3 lacks {', '.join(missing)}"
    if record is None:
        return
    if record.status != "complete":
        yield f"{names.RUN_FILE} in S3 says {record.status}"
    if record.overall is None:
        yield f"{names.RUN_FILE} in S3 has no scores"
