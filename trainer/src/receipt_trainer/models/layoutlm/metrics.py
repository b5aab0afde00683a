"""Entity scores by seqeval, line by line, and word confusion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from seqeval.metrics import classification_report

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.run_record import Confusion, Score
from receipt_trainer.data.encode import Ints, Words
from receipt_trainer.data.labels import LabelSpace, to_bio


def line_tags(words: Words, labels: Ints, space: LabelSpace, receipts: Iterable[int] | None = None) -> list[list[str]]:
    """BIO tags of each line of the chosen receipts (all by default), from label ids a word.

    Words that are not scored are left out, and end the line: no entity reaches over them.
    """
    names = (OUTSIDE, *space.labels)
    tags = []
    for row in range(len(words)) if receipts is None else receipts:
        start, stop = int(words.offsets[row]), int(words.offsets[row + 1])
        scored = words.scored[start:stop]
        parts = np.cumsum(np.diff(words.lines[start:stop], prepend=0) != 0) + np.cumsum(~scored)
        breaks = np.flatnonzero(np.diff(parts[scored])) + 1
        for line in np.split(labels[start:stop][scored], breaks):
            tags.append(to_bio([names[label] for label in line]))
    return tags


def score(
    words: Words, predicted: Ints, space: LabelSpace, receipts: Sequence[int] | None = None
) -> tuple[Score, dict[str, Score]]:
    """Micro-averaged score and the score of each label, over entities (a run of one label inside a line).

    Source: seqeval's classification_report, CoNLL matching (span and label equal).
    """
    gold = line_tags(words, words.gold, space, receipts)
    found = line_tags(words, predicted, space, receipts)
    report: dict[str, Any] = classification_report(gold, found, output_dict=True, zero_division=0)
    per_label = {label: _score(report[label]) if label in report else _score({}) for label in space.labels}
    return _score(report.get("micro avg", {})), per_label


def _score(row: dict[str, Any]) -> Score:
    return Score(
        precision=float(row.get("precision", 0.0)),
        recall=float(row.get("recall", 0.0)),
        f1=float(row.get("f1-score", 0.0)),
        support=int(row.get("support", 0)),
    )


def score_by_source(words: Words, predicted: Ints, space: LabelSpace) -> dict[str, Score]:
    """The overall score of the receipts of each source; unnamed sources are called `own`."""
    rows: dict[str, list[int]] = {}
    for row, source in enumerate(words.sources):
        rows.setdefault(source or "own", []).append(row)
    return {source: score(words, predicted, space, rows[source])[0] for source in sorted(rows)}


def confusion(words: Words, predicted: Ints, space: LabelSpace) -> Confusion:
    """Word counts: rows are gold, columns predicted, `O` first."""
    size = 1 + len(space.labels)
    pairs = (words.gold * size + predicted)[words.scored]
    counts: NDArray[np.int64] = np.bincount(pairs, minlength=size * size)
    return Confusion(labels=[OUTSIDE, *space.labels], counts=counts.reshape(size, size).tolist())
