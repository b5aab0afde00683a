from __future__ import annotations

from pathlib import Path

import numpy as np

from receipt_trainer.data.document_set import VlExample
from receipt_trainer.models.paddleocr_vl.collator import CurriculumBatches, Schedule, difficulties

COUNT = 41
LENGTHS = np.random.default_rng(0).integers(50, 500, COUNT)
HARD = np.random.default_rng(1).random(COUNT)


def batches(schedule: Schedule = "none", epoch: int = 0, seed: int = 0) -> list[list[int]]:
    made = CurriculumBatches(LENGTHS, 4, seed, schedule=schedule, difficulty=HARD, num_epochs=5)
    made.set_epoch(epoch)
    assert len(made) == len(list(made))
    return list(made)


def test_easy_ones_come_first_and_then_less_and_less_so() -> None:
    """The first epoch is sorted strictly; the tie between place and difficulty loosens; the last is the plain order."""

    def tie(epoch: int) -> float:
        order = [number for batch in batches("easy_to_hard", epoch) for number in batch]
        return float(np.corrcoef(np.arange(COUNT), HARD[order])[0, 1])

    first = [number for batch in batches("easy_to_hard", 0) for number in batch]
    assert HARD[first].tolist() == sorted(HARD.tolist())
    assert tie(0) > tie(2) > tie(4)
    assert batches("easy_to_hard", 4) == batches("none", 4)


def test_like_lengths_share_a_batch() -> None:
    """Padding is a small part of what it would be in a random order."""

    def padding(order: list[list[int]]) -> int:
        return sum(int(LENGTHS[batch].max()) * len(batch) - int(LENGTHS[batch].sum()) for batch in order)

    shuffled = np.random.default_rng(0).permutation(COUNT).tolist()
    assert padding(batches()) < 0.3 * padding([shuffled[first : first + 4] for first in range(0, COUNT, 4)])


def example(output: str, difficulty: float | None = None) -> VlExample:
    return VlExample("one", Path("page.png"), "Read.", "", output, difficulty)


def test_difficulty_is_that_of_the_data_set_or_is_counted() -> None:
    """Given for all: taken. Else line items and length decide, broken JSON has none of the former."""
    assert difficulties([example("{}", 0.7), example("{}", 0.2)]).tolist() == [0.7, 0.2]
    short = '{"line_items":[{}]}'
    long = '{"line_items":[{},{}]}' + " " * 16
    counted = difficulties([example(short), example(long, 0.1), example("{" * 19)])
    assert counted.tolist() == [(1 / 2 + 19 / 38) / 2, 1.0, (0 + 19 / 38) / 2]
