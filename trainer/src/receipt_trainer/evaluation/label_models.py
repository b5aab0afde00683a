"""Two models that label words, compared on the same receipts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Protocol

import numpy as np

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.package import PackageManifest
from receipt_trainer.data.decode import choose, receipt_predictions
from receipt_trainer.data.encode import IGNORED, words_of
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.evaluation.bootstrap import MIN_DOCUMENTS, paired_interval
from receipt_trainer.evaluation.compare import Difference
from receipt_trainer.evaluation.ratio import Share, add_up
from receipt_trainer.evaluation.receipt_fields import CHOSEN, KEYS, FieldOutcome, read_fields

OVERALL: Final = "all labels"
_RIGHT: Final = "{} right"


class LabelReader(Protocol):
    """A model package that is open."""

    space: LabelSpace
    manifest: PackageManifest

    def read(self, receipts: Sequence[Receipt]) -> Sequence[Any]:
        """Of each receipt what has the (words, 1 + labels) `probabilities` of its words."""


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """Two models on the same receipts.

    Attributes:
        overall, labels: F1 of entities, over the labels that both models know.
        values: share of the receipts with a merchant, a date, a total whose value is right.
        lost: labels that the model in force reads and the candidate does not.
        gained: the other way round.
    """

    num_receipts: int
    overall: Difference
    labels: list[Difference]
    values: list[Difference]
    lost: list[str]
    gained: list[str]

    @property
    def objections(self) -> list[str]:
        """Why the candidate should not be promoted without a person's word; empty: nothing speaks against it."""
        found = []
        if self.lost:
            found.append(f"it does not read {', '.join(self.lost)}, which the model in force does")
        if self.num_receipts < MIN_DOCUMENTS:
            found.append(f"{self.num_receipts} receipts say too little, {MIN_DOCUMENTS} are needed")
        interval = self.overall.interval
        if interval is not None and interval.is_shown and interval.difference < 0:
            found.append("it is worse, by more than the choice of receipts explains")
        return found


def compare_models(force: LabelReader, candidate: LabelReader, receipts: Sequence[Receipt]) -> ModelComparison:
    """Score both models in the labels that both know; amounts count as one label where either model merges them."""
    merged = force.space.merge_amounts or candidate.space.merge_amounts
    known = [dict.fromkeys(_in(merged, reader.space)) for reader in (force, candidate)]
    common = LabelSpace(tuple(label for label in known[0] if label in known[1]), merged)
    scores = [_scores(reader, receipts, common) for reader in (force, candidate)]

    def difference(name: str) -> Difference:
        first, second = ([row.get(name, Share()) for row in side] for side in scores)
        sums = [add_up(side).get(name, Share()) for side in scores]
        with np.errstate(divide="ignore", invalid="ignore"):  # of differences that do not vary
            interval = paired_interval(first, second, seed=0)
        return Difference(name, sums[0], sums[1], interval)

    lost = [label for label in force.space.labels if label not in candidate.space.labels]
    gained = [label for label in candidate.space.labels if label not in force.space.labels]
    rows = [difference(label) for label in common.labels]
    values = [difference(_RIGHT.format(key)) for label, key in CHOSEN.items() if key in KEYS and label in common.labels]
    return ModelComparison(len(receipts), difference(OVERALL), rows, values, lost, gained)


def _in(merged: bool, space: LabelSpace) -> list[str]:
    """A model's labels with amounts merged, or not."""
    whole = LabelSpace(("AMOUNT", *space.labels), merged)
    return [whole.map(label) for label in space.labels]


def _scores(reader: LabelReader, receipts: Sequence[Receipt], common: LabelSpace) -> list[dict[str, Share]]:
    """Of each receipt: twice the entities that were found rightly, of those in gold and those read, whose sums' ratio
    is F1; and which values are right."""
    names, gold_names = (OUTSIDE, *reader.space.labels), (OUTSIDE, *common.labels)
    own = LabelSpace(reader.space.labels, reader.space.merge_amounts, common.annotated)
    found = []
    for receipt in receipts:
        words = words_of([receipt], common)
        (read,) = reader.read([receipt])
        known = words_of([receipt], own)
        chosen = choose(read.probabilities, known, own)
        scored = words.gold != IGNORED
        gold = [gold_names[label] if label != IGNORED else OUTSIDE for label in words.gold.tolist()]
        values = read_fields(receipt_predictions(known, read.probabilities, chosen, own), reader.manifest)
        labels = [common.map(names[label]) if taken else OUTSIDE for label, taken in zip(chosen, scored, strict=True)]
        sides = [_entities(side, words.lines.tolist()) for side in (gold, labels)]
        row = {
            _RIGHT.format(field.name): Share(float(field.outcome is FieldOutcome.RIGHT), 1.0)
            for field in values
            if field.outcome is not FieldOutcome.EXTRA
        }
        for name in (OVERALL, *common.labels):
            wanted, had = ({entity for entity in side if name in (OVERALL, entity[0])} for side in sides)
            row[name] = Share(2.0 * len(wanted & had), float(len(wanted) + len(had)))
        found.append(row)
    return found


def _entities(labels: Sequence[str], lines: Sequence[int]) -> set[tuple[str, int, int]]:
    """Label, first word and number of words of each run of one label inside a line."""
    found, at = set(), 0
    for (_, label), run in groupby(zip(lines, labels, strict=True)):
        length = sum(1 for _ in run)
        if label != OUTSIDE:
            found.add((label, at, length))
        at += length
    return found
