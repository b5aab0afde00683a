"""Receipts as JSON lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from receipt_trainer.data.problems import NOTED, ProblemKind, ProblemLog
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.data.sources.record import parse_record, to_line, to_record
from receipt_trainer.errors import UserError
from tests.data.receipt_strategies import hostile_records, sound_records

WORD: dict[str, Any] = {"text": "TOTAL", "box": [10, 20, 60, 30], "line": 0, "label": "GRAND_TOTAL"}
RECORD: dict[str, Any] = {"id": "a", "source": "mine", "split": "train", "width": 100, "height": 200, "words": [WORD]}

WORD_DROPPED = (
    ProblemKind.EMPTY_TEXT,
    ProblemKind.TEXT_TOO_LONG,
    ProblemKind.BAD_BOX,
    ProblemKind.BOX_OUTSIDE_PAGE,
)


@settings(max_examples=150, deadline=None)
@given(sound_records())
def test_sound_receipt_comes_back_the_same(record: dict[str, Any]) -> None:
    """A sound receipt loses nothing and survives file after file unchanged."""
    problems = ProblemLog()
    receipt = parse_record(record, "x", problems)
    assert receipt is not None
    assert set(problems.counts) <= NOTED
    assert len(receipt.words) == len(record["words"])
    again = parse_record(json.loads(to_line(receipt)), "x", ProblemLog())
    assert again == receipt


@settings(max_examples=300, deadline=None)
@given(hostile_records())
def test_hostile_receipt_never_crashes_and_every_lost_word_is_counted(record: Any) -> None:
    """Whatever stands in a line: no crash, and words given = words kept + words counted as dropped."""
    problems = ProblemLog()
    receipt = parse_record(record, "x", problems)
    dropped = sum(problems.counts[kind] for kind in WORD_DROPPED)
    if receipt is None:
        assert any(kind not in NOTED for kind in problems.counts)
        return
    assert len(receipt.words) + dropped == len(record["words"])
    for word in receipt.words:
        x0, y0, x1, y1 = word.box
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        assert word.text.strip()
    again = parse_record(json.loads(to_line(receipt)), "x", ProblemLog())
    assert again is not None
    assert [word.text for word in again.words] == [word.text for word in receipt.words]
    assert [word.labels for word in again.words] == [word.labels for word in receipt.words]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"text": "  "}, ProblemKind.EMPTY_TEXT),
        ({"text": "\u200b\u200f"}, ProblemKind.EMPTY_TEXT),
        ({"text": "x" * 2001}, ProblemKind.TEXT_TOO_LONG),
        ({"box": [10, 20, float("nan"), 30]}, ProblemKind.BAD_BOX),
        ({"box": [10, 20, 10, 30]}, ProblemKind.BAD_BOX),
        ({"box": None}, ProblemKind.BAD_BOX),
        ({"box": [10, 20, 160, 30]}, ProblemKind.BOX_OUTSIDE_PAGE),
        ({"box": [10, 20, 100.5, 30]}, ProblemKind.BOX_CLIPPED),
        ({"text": "😀"}, ProblemKind.EMOJI_TEXT),
        ({"text": "שלום"}, ProblemKind.RIGHT_TO_LEFT_TEXT),
        ({"confidence": "high"}, ProblemKind.BAD_FIELD),
        ({"label": 7}, ProblemKind.BAD_LABEL),
        ({"labels": [["DATE", "MAYBE"]]}, ProblemKind.BAD_STATUS),
        ({"labels": [["DATE", "VALID"], ["DATE", "INVALID"]]}, ProblemKind.DUPLICATE_LABEL),
        ({"labels": [["DATE", "VALID"], ["TIME", "VALID"]]}, ProblemKind.CONFLICTING_LABELS),
    ],
)
def test_each_fault_of_a_word_is_named(change: dict[str, Any], kind: ProblemKind) -> None:
    """Each fault of a word is counted under its kind, with the word's place in the file, and costs only that word."""
    problems = ProblemLog()
    receipt = parse_record(RECORD | {"words": [WORD, WORD | change]}, "x", problems)
    assert problems.counts == {kind: 1}
    assert problems.examples[kind][0].where == "word 1"
    assert receipt is not None
    assert len(receipt.words) == (1 if kind in WORD_DROPPED else 2)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"id": ""}, ProblemKind.BAD_RECORD),
        ({"id": "half a pair \ud800"}, ProblemKind.BAD_RECORD),
        ({"width": 0}, ProblemKind.BAD_RECORD),
        ({"height": 1e300}, ProblemKind.BAD_RECORD),
        ({"receipt_id": True}, ProblemKind.BAD_RECORD),
        ({"image_id": "x" * 101}, ProblemKind.BAD_RECORD),
        ({"words": []}, ProblemKind.NO_WORDS),
        ({"words": [WORD] * 10_000}, ProblemKind.TOO_MANY_WORDS),
    ],
)
def test_each_fault_of_a_receipt_is_named(change: dict[str, Any], kind: ProblemKind) -> None:
    """A receipt that is none is left out and counted under its kind."""
    problems = ProblemLog()
    assert parse_record(RECORD | change, "x", problems) is None
    assert problems.counts == {kind: 1}


def test_half_a_surrogate_pair_in_a_carried_field_is_kept(tmp_path: Path) -> None:
    """A field that we only carry may hold what UTF-8 cannot: it is written escaped and read back the same."""
    receipt = parse_record(RECORD | {"note": "\ud800"}, "x", ProblemLog())
    assert receipt is not None
    path = tmp_path / "a.jsonl"
    path.write_text(to_line(receipt), encoding="utf-8")
    assert list(read_jsonl(path, ProblemLog())) == [receipt]


def test_words_out_of_order_are_put_in_reading_order() -> None:
    """Words come by line, whatever the file's order (FUNSD's is by form field); within a line as given."""
    words = [WORD | {"text": text, "line": line} for text, line in (("c", 2), ("a", 1), ("b", 1))]
    receipt = parse_record(RECORD | {"words": words}, "x", ProblemLog())
    assert receipt is not None
    assert [word.text for word in receipt.words] == ["a", "b", "c"]
    assert to_record(receipt)["words"] == [words[1], words[2], words[0]]


def test_broken_files_end_in_one_clear_error(tmp_path: Path) -> None:
    """A missing file, a cut gzip and a file that is no gzip are the user's errors; a broken line is only a problem."""
    with pytest.raises(UserError, match="No such file"):
        list(read_jsonl(tmp_path / "none.jsonl", ProblemLog()))
    (tmp_path / "fake.jsonl.gz").write_text("{}")
    with pytest.raises(UserError, match=r"fake.jsonl.gz: cannot read receipts"):
        list(read_jsonl(tmp_path / "fake.jsonl.gz", ProblemLog()))
    whole = gzip.compress(json.dumps(RECORD).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cut.jsonl.gz: cannot read receipts"):
        list(read_jsonl(tmp_path / "cut.jsonl.gz", ProblemLog()))
    path = tmp_path / "some.jsonl"
    path.write_text(f"{{broken\n\n{'[' * 100_000}\n{json.dumps(RECORD)}\n{json.dumps(RECORD)}\n")
    problems = ProblemLog()
    assert len(list(read_jsonl(path, problems))) == 1
    assert problems.counts == {ProblemKind.BAD_RECORD: 2, ProblemKind.DUPLICATE_RECEIPT: 1}


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_a_byte_order_mark_loses_no_receipt(tmp_path: Path, name: str) -> None:
    """Editors of Windows write one before the first receipt."""
    path, problems = tmp_path / name, ProblemLog()
    text = "\ufeff" + "".join(json.dumps(RECORD | {"id": name}) + "\n" for name in "abc")
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    assert len(list(read_jsonl(path, problems))) == 3
    assert not problems.counts
