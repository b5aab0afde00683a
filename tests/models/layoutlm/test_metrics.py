from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.data.encode import Words
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.models.layoutlm.metrics import confusion, line_tags, score, score_by_source

SPACE = LabelSpace(("MERCHANT_NAME", "DATE", "TIME"))
O, M, D, T = range(4)  # noqa: E741 - the tag of a word outside


def words_of(lines: Sequence[Sequence[Sequence[int]]], sources: Sequence[str] = ()) -> Words:
    """Receipts as lists of lines as lists of gold label ids."""
    gold = [label for receipt in lines for line in receipt for label in line]
    numbers = [number for receipt in lines for number, line in enumerate(receipt) for _ in line]
    sizes = [sum(len(line) for line in receipt) for receipt in lines]
    return Words(
        keys=[f"key-{row}" for row in range(len(lines))],
        names=["" for _ in lines],
        sources=list(sources) or ["" for _ in lines],
        sizes=np.zeros((len(lines), 2), dtype=np.int32),
        offsets=np.cumsum([0, *sizes], dtype=np.int64),
        texts=["w"] * len(gold),
        boxes=np.zeros((len(gold), 4), dtype=np.int32),
        lines=np.array(numbers, dtype=np.int32),
        gold=np.array(gold, dtype=np.int32),
    )


def ids(*labels: int) -> np.ndarray:
    return np.array(labels, dtype=np.int32)


def test_entities_are_runs_of_one_label_inside_a_line() -> None:
    """A run of one label is one entity; a new line or receipt begins another, without a word between them."""
    words = words_of([[[M, M, D], [D, O]], [[M]]])
    assert line_tags(words, words.gold, SPACE) == [
        ["B-MERCHANT_NAME", "I-MERCHANT_NAME", "B-DATE"],
        ["B-DATE", "O"],
        ["B-MERCHANT_NAME"],
    ]
    assert line_tags(words, words.gold, SPACE, [1]) == [["B-MERCHANT_NAME"]]


def test_a_hand_worked_score() -> None:
    """Three gold entities, four predicted, two equal in span and label: precision 1/2, recall 2/3, F1 4/7."""
    words = words_of([[[M, M, O, D], [O, D]]])
    overall, per_label = score(words, ids(M, M, T, D, D, D), SPACE)  # [M M], [T], [D] | [D D] too long
    assert (overall.precision, overall.recall) == (pytest.approx(1 / 2), pytest.approx(2 / 3))
    assert overall.f1 == pytest.approx(4 / 7)
    assert overall.support == 3
    assert per_label["MERCHANT_NAME"].f1 == 1
    assert per_label["DATE"].model_dump() == pytest.approx({"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2})
    assert per_label["TIME"].model_dump() == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


@pytest.mark.parametrize(
    ("gold", "predicted", "f1"),
    [
        ([[M, M, M]], [M, M, M], 1.0),
        ([[M, M, M]], [M, M, O], 0.0),  # a part of an entity is none of it
        ([[M, M], [M]], [M, M, M], 1.0),  # a line ends an entity
        ([[M, O, M]], [M, M, M], 0.0),
        ([[O, O]], [O, O], 0.0),  # nothing to find: 0, as seqeval says, not NaN
        ([[D, M]], [D, D], 0.0),
    ],
)
def test_spans_must_be_equal(gold: list[list[int]], predicted: list[int], f1: float) -> None:
    """CoNLL matching: an entity counts if its label and both of its ends are right."""
    assert score(words_of([gold]), ids(*predicted), SPACE)[0].f1 == f1


some_lines = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=4)


def entities(words: Words, labels: np.ndarray) -> set[tuple[int, int, int, int]]:
    """(first word, last word, label) by walking along the words."""
    found: set[tuple[int, int, int, int]] = set()
    start = -1
    for row in range(len(words)):
        for n in range(int(words.offsets[row]), int(words.offsets[row + 1])):
            joined = n > words.offsets[row] and words.lines[n] == words.lines[n - 1] and labels[n] == labels[n - 1]
            start = start if joined else n
            if labels[n]:
                found = {entity for entity in found if entity[1] != start} | {(row, start, n, int(labels[n]))}
    return found


@given(receipts=st.lists(some_lines, min_size=1, max_size=3), data=st.data())
def test_scores_are_those_of_sets_of_entities(receipts: list[list[list[int]]], data: st.DataObject) -> None:
    """Precision, recall and F1 equal those of the sets of (span, label) counted without seqeval, label by label."""
    words = words_of(receipts)
    count = len(words.gold)
    predicted = np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=np.int32)
    gold, found = entities(words, words.gold), entities(words, predicted)
    overall, per_label = score(words, predicted, SPACE)
    for value, (mine, theirs) in [(overall, (gold, found))] + [
        (per_label[name], ({e for e in gold if e[3] == n}, {e for e in found if e[3] == n}))
        for n, name in enumerate(SPACE.labels, start=1)
    ]:
        hits = len(mine & theirs)
        assert value.precision == pytest.approx(hits / len(theirs) if theirs else 0)
        assert value.recall == pytest.approx(hits / len(mine) if mine else 0)
        assert value.f1 == pytest.approx(2 * hits / (len(mine) + len(theirs)) if hits else 0)
        assert value.support == len(mine)


def test_each_source_has_its_own_score() -> None:
    """Receipts are scored by their source; the user's own, which have none, are called `own`."""
    words = words_of([[[M]], [[D]], [[T]]], ["sroie", "", "sroie"])
    by_source = score_by_source(words, ids(M, O, O), SPACE)
    assert list(by_source) == ["own", "sroie"]
    assert by_source["own"].f1 == 0
    assert (by_source["sroie"].recall, by_source["sroie"].precision) == (0.5, 1)


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_confusion_counts_words(pairs: list[tuple[int, int]]) -> None:
    """Cell (gold, predicted) is the number of such words; `O` comes first."""
    table = confusion(words_of([[[gold for gold, _ in pairs]]]), ids(*(found for _, found in pairs)), SPACE)
    assert table.labels == ["O", *SPACE.labels]
    for gold in range(4):
        for found in range(4):
            assert table.counts[gold][found] == pairs.count((gold, found))
