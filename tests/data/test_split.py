"""The split: frozen by hashes, near duplicates on one side, no side empty."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from itertools import combinations, count
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.data.dedup import near_duplicate_groups, normalise_text
from receipt_trainer.data.receipt import Receipt, Word
from receipt_trainer.data.split import Split, limit, read_split_file, split_by_keys, split_by_stored, split_receipts
from receipt_trainer.errors import UserError


def receipt(image: str, *texts: str, name: str = "", split: str = "") -> Receipt:
    words = tuple(Word(text, (0.1, 0.1, 0.2, 0.2), 0) for text in texts)
    return Receipt(image_id=image, receipt_id=1, words=words, name=name, split=split)


def unrelated(number: int, prefix: str = "image") -> list[Receipt]:
    """Receipts that have no word in common."""
    return [receipt(f"{prefix}{n}", f"{prefix}a{n}", f"{prefix}b{n}") for n in range(number)]


def keys(receipts: list[Receipt]) -> set[str]:
    return {item.key for item in receipts}


def hashed_side(key: str, seed: int, fraction: float) -> bool:
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()) < int(fraction * 2**256)


def brute_force_groups(receipts: list[Receipt]) -> set[frozenset[int]]:
    """Connected components over every pair, compared in exact fractions."""
    sets = [{normalise_text(word.text) for word in item.words} - {""} for item in receipts]
    component = list(range(len(receipts)))
    for one, other in combinations(range(len(receipts)), 2):
        union = sets[one] | sets[other]
        alike = bool(union) and Fraction(len(sets[one] & sets[other]), len(union)) > Fraction(4, 5)
        if alike or receipts[one].key == receipts[other].key:
            old, new = component[other], component[one]
            component = [new if value == old else value for value in component]
    return {frozenset(n for n, value in enumerate(component) if value == root) for root in component}


VOCABULARY = [f"w{n}" for n in range(24)]


@st.composite
def similar_receipts(draw: st.DrawFn) -> list[Receipt]:
    """Receipts that are edits of a few templates, with some that repeat a key or have no words."""
    bases = draw(st.lists(st.sets(st.sampled_from(VOCABULARY), max_size=20), min_size=1, max_size=3))
    edits = st.tuples(st.sampled_from(bases), st.sets(st.sampled_from(VOCABULARY), max_size=4))
    found = [sorted(base ^ edit) for base, edit in draw(st.lists(edits, max_size=14))]
    numbers = draw(st.lists(st.integers(0, 30), min_size=len(found), max_size=len(found)))
    return [receipt(f"image{n}", *texts) for n, texts in zip(numbers, found, strict=True)]


@given(similar_receipts())
@settings(deadline=None, max_examples=300)
def test_groups_equal_brute_force(receipts: list[Receipt]) -> None:
    """The join finds exactly the pairs with Jaccard similarity above 0.8 that comparing every pair finds."""
    assert {frozenset(group) for group in near_duplicate_groups(receipts)} == brute_force_groups(receipts)


@given(similar_receipts(), st.floats(0.01, 0.99), st.integers(0, 5))
@settings(deadline=None)
def test_groups_stay_together_and_no_side_is_empty(receipts: list[Receipt], fraction: float, seed: int) -> None:
    """Every receipt is on one side, near duplicates on the same, and two groups or more fill both sides."""
    split = split_receipts(receipts, fraction=fraction, seed=seed)
    assert sorted(item.key for item in split.train + split.validation) == sorted(item.key for item in receipts)
    for group in brute_force_groups(receipts):
        assert len({receipts[n].key in keys(split.validation) for n in group}) == 1
    if len(brute_force_groups(receipts)) >= 2:
        assert split.train
        assert split.validation
    else:
        assert not split.validation


@given(st.integers(1, 60), st.integers(0, 60), st.floats(0.05, 0.95), st.integers(0, 9))
@settings(deadline=None)
def test_sides_are_frozen(number: int, added: int, fraction: float, seed: int) -> None:
    """A receipt's side is its own hash's, whatever unrelated receipts there are and in whatever order."""
    first, more = unrelated(number), unrelated(added, "other")
    expected = {item.key for item in first if hashed_side(item.key, seed, fraction)}
    before = split_receipts(first, fraction=fraction, seed=seed)
    after = split_receipts(more + first[::-1], fraction=fraction, seed=seed)
    if 0 < len(expected) < number:
        assert keys(before.validation) == expected
        assert keys(after.validation) & keys(first) == expected


def test_a_near_duplicate_rarely_moves_its_group() -> None:
    """Adding a near duplicate to 400 groups of four moves fewer than 1 in 5 times 2f(1 - f) of them, and no other."""
    texts = [[f"t{n}_{place}" for place in range(30)] for n in range(400)]
    old = [receipt(f"old{n}_{copy}", *texts[n], f"u{copy}") for n in range(400) for copy in range(4)]
    new = [receipt(f"new{n}", *texts[n], "v") for n in range(400)]
    before, after = (split_receipts(some, fraction=0.3, seed=1) for some in (old, old + new))
    moved = {key.split("_")[0] for key in keys(before.validation) ^ (keys(after.validation) & keys(old))}
    assert 0 < len(moved) < 400 * 0.2 * 2 * 0.3 * 0.7 * 1.5
    assert abs(len(before.validation) / len(old) - 0.3) < 0.08


@pytest.mark.parametrize("fraction", [1e-12, 1 - 1e-12])
def test_the_group_nearest_to_the_border_fills_an_empty_side(fraction: float) -> None:
    """With a fraction that hashes give nothing, one group is moved over: the one nearest to the border."""
    receipts = unrelated(20)
    ranked = sorted(receipts, key=lambda item: hashlib.sha256(f"0:{item.key}".encode()).digest())
    split = split_receipts(receipts, fraction=fraction, seed=0)
    if fraction < 0.5:
        assert split.validation == [ranked[0]]
    else:
        assert split.train == [ranked[-1]]


@pytest.mark.parametrize("texts", [[], [""], ["...", "—"], ["\ud800", "\x00"], ["مرحبا"], ["x" * 100_000]])
def test_hostile_receipts(texts: list[str]) -> None:
    """Receipts without words, with marks only, half characters or endless words are split like any other."""
    receipts = [receipt(f"odd{n}", *texts) for n in range(3)] + [receipt("\ud800"), *unrelated(3)]
    split = split_receipts(receipts, fraction=0.4, seed=0)
    assert len(split.train) + len(split.validation) == 7
    assert split.record().train_count == len(split.train)


def test_nothing_and_one() -> None:
    """No receipt gives two empty sides, a single one trains."""
    assert split_receipts([], fraction=0.1, seed=0) == Split([], [], 0)
    assert split_receipts(unrelated(1), fraction=0.99, seed=0).train == unrelated(1)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_fraction_is_checked(fraction: float) -> None:
    """A fraction that leaves a side empty by definition is a programming error."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_receipts(unrelated(3), fraction=fraction, seed=0)


def test_words_are_compared_without_case_and_punctuation() -> None:
    """Case, width and marks at the ends of a word make no difference; marks within do."""
    assert normalise_text("(Total):") == normalise_text("\uff34otal") == "total"
    assert normalise_text("12.50") == "12.50"
    assert normalise_text("***") == ""


def test_record_tells_splits_apart() -> None:
    """The hash is the same for the same sides in any order, and another one if a receipt changes sides."""
    one, two, three = unrelated(3)
    record = Split([one, two], [three], 7).record()
    assert record == Split([two, one], [three], 7).record()
    assert record.hash != Split([one], [two, three], 7).record().hash
    assert (record.seed, record.validation_keys, record.train_count) == (7, [three.key], 2)


def test_order_is_that_of_the_keys() -> None:
    """Both sides come in the order of the keys, so that a parallel scan and a file train alike."""
    receipts = unrelated(40)
    assert split_receipts(receipts, fraction=0.3, seed=0) == split_receipts(receipts[::-1], fraction=0.3, seed=0)


def test_keys_of_a_run_give_the_same_split(tmp_path: Path) -> None:
    """The keys in run.json hold out the same receipts again."""
    receipts = unrelated(30)
    split = split_receipts(receipts, fraction=0.2, seed=3)
    record = LayoutLMRecord.model_validate(
        {"job_name": "a", "job_id": "b", "model": "tiny", "training_config": {}, "data_config": {}, "label_list": []}
        | {"split": split.record()}
    )
    record.write(tmp_path / "run.json")
    again = split_by_keys(receipts, read_split_file(tmp_path / "run.json"))
    assert again.record().hash == split.record().hash


def test_keys_or_names_one_a_line(tmp_path: Path) -> None:
    """A text file holds keys or names; blank lines, a byte order mark and repeated lines do no harm."""
    receipts = [receipt("a", name="first"), receipt("b", name="second"), receipt("c", name="third")]
    path = tmp_path / "held-out.txt"
    path.write_text("\ufefffirst\r\n\n b#00001 \nfirst\n", encoding="utf-8")
    split = split_by_keys(receipts, read_split_file(path), str(path))
    assert [item.name for item in split.validation] == ["first", "second"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([f"gone{n}" for n in range(7)], r"gone0, gone1, gone2, gone3, gone4 and 2 more"),
        (["image0#00001", "gone"], "no receipt is called gone;"),
        ([], "names no receipt"),
        (["image0#00001", "image1#00001"], "holds out all 2"),
    ],
)
def test_wrong_keys(chosen: list[str], message: str) -> None:
    """Unknown keys are named, the first few of them, and neither side may stay empty."""
    with pytest.raises(UserError, match=f"^split file: .*{message}"):
        split_by_keys(unrelated(2), chosen)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a run.json"),
        (b'{"split": null}', "no split.validation_keys"),
        (b'{"split": {"validation_keys": [1]}}', "no split.validation_keys"),
        (b"\xff\xfe\x00", "not a text file"),
        (None, "No such file"),
    ],
)
def test_wrong_split_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A file that is none of both is refused with its name."""
    path = tmp_path / "split"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"split: .*{message}"):
        read_split_file(path)


def test_stored_split() -> None:
    """Receipts of the named splits only; a name that matches nothing is answered with the stored ones."""
    receipts = [receipt("a", split="train"), receipt("b", split="dev"), receipt("c", split="test"), receipt("d")]
    split = split_by_stored(receipts, "train", "dev")
    assert (keys(split.train), keys(split.validation)) == ({"a#00001"}, {"b#00001"})
    with pytest.raises(UserError, match=r"split 'val'; stored splits: \(none\) \(1\), dev \(1\), test \(1\), train"):
        split_by_stored(receipts, "train", "val")
    with pytest.raises(UserError, match="both 'dev'"):
        split_by_stored(receipts, "dev", "dev")
    with pytest.raises(UserError, match="none"):
        split_by_stored([], "train", "dev")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 30))
@settings(deadline=None)
def test_limit_is_nested_and_stable(small: int, more: int, added: int) -> None:
    """A lower limit takes a part of a higher one, in the given order; new receipts push out, they never reshuffle."""
    receipts = unrelated(40)
    few, many = limit(receipts, small), limit(receipts, min(40, small + more))
    assert len(few) == small
    assert keys(few) <= keys(many)
    assert few == [item for item in receipts if item.key in keys(few)]
    grown = limit(receipts + unrelated(added, "new"), small)
    assert keys(grown) & keys(receipts) <= keys(few)
    assert limit(receipts, None) == receipts


def test_receipts_of_one_template_are_not_near_duplicates() -> None:
    """2,000 receipts of 50 words, 30 of which are one of 50 templates (Jaccard 0.43): each is a group of its own."""
    rng = Random(0)
    texts = (
        [f"t{n % 50}_{place}" for place in range(30)] + [str(rng.random())[2:7] for _ in range(20)] for n in count()
    )
    receipts = [receipt(f"image{n}", *next(texts)) for n in range(2_000)]
    assert len(near_duplicate_groups(receipts)) == 2_000


def test_record_is_json() -> None:
    """The record goes through JSON unchanged."""
    record = split_receipts(unrelated(10), fraction=0.3, seed=0).record()
    assert json.loads(record.model_dump_json()) == record.model_dump()
