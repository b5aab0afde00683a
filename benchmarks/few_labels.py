"""What few labelled receipts reach, from several starts; used by scores.py.

Receipts are drawn from the train split by a hash of draw and id, the same for each start, and the dev split is scored
by the model of the last step: nothing is chosen on what is scored. What is finished is skipped.
"""

from __future__ import annotations

import gzip
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from scipy.stats import t as student  # type: ignore[import-untyped]

from benchmarks import companies
from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import LayoutLMRecord, load_record

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Few:
    """`count` receipts from a start, drawn `draws` times; `flags` are for `layoutlm-cli train`."""

    start: str
    count: int
    draws: int
    flags: tuple[str, ...]

    def trials(self) -> list[companies.FoldRun]:
        """One training a draw."""
        return [companies.FoldRun(f"{self.start}-{self.count}", self.flags, draw, draw) for draw in range(self.draws)]


def drawn(lines: Sequence[companies.Line], count: int, draw: int) -> list[companies.Line]:
    """Of more receipts the same ones are the first."""
    return sorted(lines, key=lambda line: companies.rank(f"draw {draw}", line["id"]))[:count]


def read(paths: Sequence[Path]) -> list[companies.Line]:
    """The receipts of files."""
    lines = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            lines += [json.loads(line) for line in stream]
    return lines


def run(
    console: Console, few: Sequence[Few], train: Sequence[Path], dev: Sequence[Path], out: Path, threads: int
) -> None:
    """Train and score what is missing, draw by draw, with a line each; the table follows."""
    lines, scored = read(train), read(dev)
    for draw in range(max(one.draws for one in few)):
        for one in few:
            for trial in one.trials()[draw : draw + 1]:
                parts = companies.Fold(drawn(lines, one.count, draw), scored, [], [])
                companies.run(trial, parts, out, threads)
                record = record_of(trial, out)
                console.print(f"{trial.variant}, draw {draw}: F1 {f1(record):.4f}, {took(record)}", highlight=False)
    console.print(table(few, out))


def record_of(trial: companies.FoldRun, out: Path) -> LayoutLMRecord:
    """The record of a finished training."""
    record = load_record(trial.folder(out) / "run" / RUN_FILE)
    assert isinstance(record, LayoutLMRecord)
    return record


def f1(record: LayoutLMRecord) -> float:
    """Of the last step's model, whichever was kept."""
    return record.epoch_metrics[-1].f1


def took(record: LayoutLMRecord) -> str:
    """Steps and seconds of the training."""
    return f"{record.timings['steps']:.0f} steps, {record.timings['train_s']:.0f} s"


def interval(values: Sequence[float]) -> str:
    """The mean of draws with the interval that Student's t gives it; the mean alone of one draw."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    wide = student.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.4f} [{mean - wide:.4f}, {mean + wide:.4f}]"


def table(few: Sequence[Few], out: Path) -> Table:
    """A row for each number of receipts and start; differences to the first start are of the same draws."""
    table = Table("receipts", "start", "draws", "F1", "to the first start", "steps", "seconds a training")
    firsts: dict[int, list[float]] = {}
    for one in few:
        records: list[Any] = [record_of(trial, out) for trial in one.trials()]
        scores = [f1(record) for record in records]
        first = firsts.setdefault(one.count, scores)
        paired = interval([b - a for a, b in zip(first, scores, strict=False)]) if first is not scores else ""
        steps, seconds = (statistics.mean(record.timings[name] for record in records) for name in ("steps", "train_s"))
        table.add_row(
            f"{one.count}", one.start, f"{one.draws}", interval(scores), paired, f"{steps:.0f}", f"{seconds:.0f}"
        )
    return table
