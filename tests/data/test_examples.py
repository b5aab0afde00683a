"""Encoded examples, against an oracle that knows nothing of the code."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.encode import Examples, allowed_sets, downsample, encode
from receipt_trainer.data.labels import LabelSpace, label_space
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

TOKENIZER: Any = load_tokenizer(resolve("tiny"))
CLS, SEP = 2, 3
LABELS = ("MERCHANT_NAME", "PHONE_NUMBER", "DATE", "GRAND_TOTAL")
SOURCES = ("", "sroie", "funsd")

word_lists = st.lists(
    st.tuples(
        st.text(alphabet="ab1é🧾", min_size=1, max_size=6),
        st.sampled_from([None, *LABELS, "TOTAL", "CHANGE"]),
        st.sampled_from([0, 0, 1]),
    ),
    min_size=1,
    max_size=14,
)


def make(number: int, source: str, parts: list[tuple[str, str | None, int]]) -> Receipt:
    line, words = 0, []
    for index, (text, label, step) in enumerate(parts):
        line += step
        box = (0.01 * index, 0.02 * line, 0.01 * index + 0.01, 0.02 * line + 0.013)
        words.append(Word(text, box, line, (WordLabel(label),) if label else ()))
    return Receipt(f"i{number}", 1, tuple(words), source=source)


receipts_lists = st.lists(st.tuples(st.sampled_from(SOURCES), word_lists), max_size=4).map(
    lambda items: [make(number, *item) for number, item in enumerate(items)]
)
SPACE = LabelSpace(LABELS)
SETS = allowed_sets(SPACE, SOURCES)


def oracle(receipts: list[Receipt]) -> list[dict[str, Any]]:
    """Line examples, written down from the documentation: a token at a time, no shared code but the tokenizer."""
    rows, number = [], 0
    for receipt in receipts:
        for line in sorted({word.line for word in receipt.words}):
            row: dict[str, Any] = {"ids": [CLS], "bbox": [[0] * 4], "targets": [-100], "words": [-1]}
            before = None
            for word in (word for word in receipt.words if word.line == line):
                label = word.labels[0].name if word.labels else None
                label = {"TOTAL": "GRAND_TOTAL", "CHANGE": None}.get(label, label)  # type: ignore[arg-type]
                if label is None:
                    # No label known: 0, or the set of what this source does not annotate, in the order of SETS.
                    target = {"": 0, "sroie": 2 * 4 + 1 + 1, "funsd": 2 * 4 + 1 + 0}[receipt.source]
                else:
                    target = 1 + 2 * LABELS.index(label) + (label == before)
                before = label
                ids = TOKENIZER(word.text, add_special_tokens=False)["input_ids"] or [1]
                row["ids"] += ids
                row["bbox"] += [[round(1000 * side) for side in word.box]] * len(ids)
                row["targets"] += [target] + [-100] * (len(ids) - 1)
                row["words"] += [number] + [-1] * (len(ids) - 1)
                number += 1
            rows.append(row)
            for name, value in (("ids", SEP), ("bbox", [1000] * 4), ("targets", -100), ("words", -1)):
                row[name].append(value)
    return rows


def rows_of(examples: Examples) -> list[dict[str, Any]]:
    columns = {"ids": examples.input_ids, "bbox": examples.bbox, "targets": examples.targets, "words": examples.words}
    return [
        {name: column[first:last].tolist() for name, column in columns.items()}
        for first, last in pairwise(examples.offsets.tolist())
    ]


def test_the_sets_of_the_oracle() -> None:
    """Words without a label of FUNSD may bear every label, those of SROIE only the phone number."""
    assert list(map(sorted, SETS)) == [sorted(LABELS), ["PHONE_NUMBER"]]


@given(receipts_lists)
@settings(max_examples=150)
def test_line_examples_equal_the_oracle(receipts: list[Receipt]) -> None:
    """Ids, boxes, targets and word numbers of line examples are those of the naive oracle; so are the counts."""
    found = encode(receipts, SPACE, TOKENIZER, DataConfig(examples="line"), SETS).examples
    wanted = oracle(receipts)
    assert rows_of(found) == wanted
    targets = [[target for target in row["targets"] if target != -100] for row in wanted]
    entities = [sum(1 <= target <= 8 for target in row) for row in targets]
    assert found.num_entity.tolist() == entities
    assert found.num_outside.tolist() == [len(row) - many for row, many in zip(targets, entities, strict=True)]


@given(receipts=receipts_lists, sliding=st.booleans(), kind=st.sampled_from(["line", "receipt"]))
@settings(max_examples=100)
def test_windows_carry_the_targets_of_the_lines(receipts: list[Receipt], sliding: bool, kind: str) -> None:
    """However a receipt is cut, each word has once the target, token and box of the oracle: BIO is by line."""
    config = DataConfig.model_validate(
        {"examples": kind, "max_length": 16, "window_stride": 6, "use_sliding_window": sliding}
    )
    found = encode(receipts, SPACE, TOKENIZER, config, SETS).examples
    expected = {
        word: (row["ids"][at], row["bbox"][at], row["targets"][at])
        for row in oracle(receipts)
        for at, word in enumerate(row["words"])
        if word >= 0
    }
    at = np.flatnonzero(found.words >= 0)
    assert found.words[at].tolist() == sorted(expected)
    for place in at:
        shown = (int(found.input_ids[place]), found.bbox[place].tolist(), int(found.targets[place]))
        assert shown == expected[int(found.words[place])]
    assert (found.input_ids[found.offsets[:-1]] == CLS).all()
    assert (found.input_ids[found.offsets[1:] - 1] == SEP).all()
    assert (found.targets[found.words < 0] == -100).all()
    if not sliding:
        words = int((found.words >= 0).sum())
        assert int(found.num_outside.sum() + found.num_entity.sum()) == words


@given(receipts_lists)
def test_the_word_table(receipts: list[Receipt]) -> None:
    """The word table holds every word in order, its text, box and line, and its gold label as it is scored: `O` where
    the source does not annotate that label throughout.
    """
    words = encode(receipts, SPACE, TOKENIZER, DataConfig(), SETS).words
    flat = [word for receipt in receipts for word in receipt.words]
    assert list(words.texts) == [word.text for word in flat]
    assert words.boxes.tolist() == [list(word.box_1000()) for word in flat]
    assert words.lines.tolist() == [word.line for word in flat]
    hidden = {"": (), "sroie": ("PHONE_NUMBER",), "funsd": LABELS}
    gold = [
        (SPACE.map(word.labels[0].name if word.labels else None), hidden[receipt.source])
        for receipt in receipts
        for word in receipt.words
    ]
    assert words.gold.tolist() == [0 if label in unseen else ("O", *LABELS).index(label) for label, unseen in gold]
    assert np.diff(words.offsets).tolist() == [len(receipt.words) for receipt in receipts]
    assert words.keys == [receipt.key for receipt in receipts]


def test_no_receipts_make_no_examples() -> None:
    """Nothing in, nothing out, with all columns in their shapes."""
    found = encode([], SPACE, TOKENIZER, DataConfig())
    assert len(found.examples) == len(found.words) == 0
    assert found.examples.bbox.shape == found.words.boxes.shape == (0, 4)
    assert found.examples.offsets.tolist() == [0]


def test_a_source_that_the_sets_do_not_cover_is_outside() -> None:
    """Without sets an `O` word counts as `O` (documented), so evaluation may leave them out."""
    receipt = make(0, "sroie", [("a", None, 0)])
    found = encode([receipt], SPACE, TOKENIZER, DataConfig(examples="line"), ()).examples
    assert found.targets.tolist() == [-100, 0, -100]


def test_all_words_of_a_labelled_receipt_are_there() -> None:
    """Words without a label, and with labels that are not VALID, stay in as `O`."""
    words = (
        Word("a", (0.1, 0.1, 0.2, 0.2), 0, (WordLabel("DATE", "INVALID"),)),
        Word("b", (0.3, 0.1, 0.4, 0.2), 0),
        Word("c", (0.5, 0.1, 0.6, 0.2), 0, (WordLabel("DATE"),)),
    )
    config = DataConfig(examples="line")
    found = encode([Receipt("i", 1, words)], label_space(config, ["DATE"]), TOKENIZER, config).examples
    assert found.targets[found.words >= 0].tolist() == [0, 0, 1]


def test_both_views_are_the_lines_and_the_receipt() -> None:
    """With both kinds each word is supervised twice with one target: in its line and in its receipt."""
    receipt = make(0, "", [("a", "DATE", 0), ("b", None, 0), ("c", "TAX", 1)])
    line, whole, both = (
        rows_of(encode([receipt], SPACE, TOKENIZER, DataConfig(examples=kind), SETS).examples)
        for kind in ("line", "receipt", "both")
    )
    assert both == line + whole


def sized(counts: list[tuple[int, int]]) -> Examples:
    """Examples of which only the counts matter: (words without a label, words with one)."""
    zeros = np.zeros(len(counts), dtype=np.int32)
    array = np.array(counts, dtype=np.int32).reshape(-1, 2)
    offsets = np.arange(len(counts) + 1, dtype=np.int64)
    return Examples(offsets, zeros, np.zeros((len(counts), 4), dtype=np.int32), zeros, zeros, array[:, 0], array[:, 1])


count_lists = st.lists(
    st.tuples(st.integers(1, 9), st.just(0)) | st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=40
)


@given(counts=count_lists, ratio=st.floats(0, 20), seed=st.integers(0, 5))
def test_downsampling_reaches_the_ratio(counts: list[tuple[int, int]], ratio: float, seed: int) -> None:
    """All examples with a label stay; the ratio comes down to the target, and one more example would exceed it."""
    examples = sized(counts)
    kept = downsample(examples, ratio, seed)
    assert kept.tolist() == sorted(set(kept.tolist()))
    chosen = {int(number) for number in kept}
    assert {number for number, (_, labelled) in enumerate(counts) if labelled} <= chosen
    entities = sum(labelled for _, labelled in counts)
    outside = sum(counts[number][0] for number in chosen)
    plain_kept = [number for number in chosen if not counts[number][1]]
    if plain_kept:
        assert outside <= ratio * entities
    dropped = [counts[number][0] for number in range(len(counts)) if number not in chosen]
    if dropped:
        assert outside + max(dropped) > ratio * entities


@given(counts=count_lists, ratio=st.none() | st.floats(0, 20), seed=st.integers(0, 5))
def test_downsampling_is_deterministic(counts: list[tuple[int, int]], ratio: float | None, seed: int) -> None:
    """The choice is a function of examples, ratio and seed; None keeps all; a lower ratio keeps a part of the same."""
    examples = sized(counts)
    kept = downsample(examples, ratio, seed)
    assert kept.tolist() == downsample(examples, ratio, seed).tolist()
    assert kept.dtype == np.int64
    if ratio is None:
        assert kept.tolist() == list(range(len(counts)))
    else:
        assert set(downsample(examples, ratio / 2, seed)) <= set(kept)


def test_another_seed_drops_other_examples() -> None:
    """The seed decides which all-O examples stay."""
    examples = sized([(5, 5), *[(1, 0)] * 100])
    assert len({tuple(downsample(examples, 5, seed)) for seed in range(4)}) == 4


@pytest.mark.parametrize(("ratio", "kept"), [(0, 1), (1, 1), (2, 6), (5, 21), (21, 101), (100, 101)])
def test_examples_of_one_word_hit_the_ratio(ratio: float, kept: int) -> None:
    """Where the all-O examples have one word each, the ratio is reached exactly."""
    assert len(downsample(sized([(5, 5), *[(1, 0)] * 100]), ratio, 0)) == kept


def test_the_ratio_of_a_split() -> None:
    """Words without a label to words with one; a split without labels does not divide by zero."""
    assert sized([(6, 2), (2, 0)]).o_entity_ratio() == 4
    assert sized([(6, 0)]).o_entity_ratio() == 6
    assert sized([]).o_entity_ratio() == 0
