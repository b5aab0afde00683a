"""Exported and imported again, receipts are the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from receipt_trainer.contract.names import CORE_LABELS
from receipt_trainer.data.problems import NOTED, ProblemLog
from receipt_trainer.data.receipt import Receipt, Review, Word, WordLabel
from receipt_trainer.data.sources.export import SUFFIXES, labeling_config, lines
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.data.sources.record import parse_record
from tests.data.receipt_strategies import sound_records

FORMATS = tuple(SUFFIXES)


@pytest.fixture
def again(tmp_path: Path) -> Any:
    """Exports receipts in a format and imports them."""
    numbers = count()

    def export_and_import(receipts: list[Receipt], format: str) -> list[Receipt]:
        path = tmp_path / f"{next(numbers)}{SUFFIXES[format][0]}"
        path.write_text("".join(lines(receipts, format)), encoding="utf-8")
        problems = ProblemLog()
        found = read_files(path, problems)
        assert set(problems.counts) <= NOTED
        return found

    return export_and_import


def machine_labelled(receipts: Iterator[Receipt]) -> Iterator[Receipt]:
    """Every third receipt with labels that a model proposed, every third with none that is VALID."""
    for n, receipt in enumerate(receipts):
        words = list(receipt.words)
        if n % 3:
            labels = [
                WordLabel("TAX", "PENDING", "reader-1"),
                WordLabel("TIME", "NEEDS_REVIEW"),
                WordLabel("DATE", "INVALID", "ana"),
            ]
            words[0] = replace(
                words[0], labels=tuple(sorted(labels[: n % 4], key=lambda label: label.name)), confidence=0.5
            )
        if n % 3 == 2:
            words = [
                replace(word, labels=tuple(each for each in word.labels if each.status != "VALID")) for word in words
            ]
        yield replace(receipt, words=tuple(words), split="train" if n % 2 else "")


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("format", FORMATS)
def test_what_a_person_said_of_the_whole_comes_back(format: str, confirmed: bool, again: Any) -> None:
    """Of a receipt that is labelled in part the other words would else be taught as `O` once it is imported again."""
    words = tuple(
        Word(f"w{n}", (n / 7, 0.1, n / 7 + 0.1, 0.2), 0, (WordLabel("DATE"),) if n < 2 else ()) for n in range(6)
    )
    review = Review(confirmed, "ann", "2026-11-28T10:00:00+00:00")
    receipt = Receipt("0c4c7b0e-1111-4222-8333-944444444444", 1, words, name="r", width=700, height=900, review=review)
    (found,) = again([receipt], format)
    assert (found.review, found.review.at) == (review, review.at)
    assert found.taught_labels() == receipt.taught_labels()


def test_a_task_that_was_labelled_anew_is_not_what_was_confirmed_before(tmp_path: Path) -> None:
    """What Label Studio's people have changed is theirs: the mark from before the export no longer says how much."""
    word = Word("w", (0.1, 0.1, 0.2, 0.2), 0, (WordLabel("DATE"),))
    receipt = Receipt("0c4c7b0e-1111-4222-8333-944444444444", 1, (word,), name="r", review=Review(False, "ann"))
    (task,) = json.loads("".join(lines([receipt], "label-studio")))
    task["annotations"][0]["result"][2]["value"]["labels"] = ["TIME"]
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    (found,) = read_files(tmp_path / "tasks.json", ProblemLog())
    assert (found.words[0].valid_label(), found.review) == ("TIME", None)


@pytest.mark.parametrize("format", FORMATS)
def test_generated_receipts_come_back_the_same(format: str, again: Any) -> None:
    """Text, boxes, lines, labels with status and proposer, confidence, id, source, split and all else."""
    synthetic = pytest.importorskip("receipt_trainer.data.synthetic", reason="needs the extra [synthetic]")
    receipts = list(machine_labelled(synthetic.generate(30, seed=11)))
    assert again(receipts, format) == receipts


@pytest.mark.parametrize("format", FORMATS)
def test_any_sound_receipt_comes_back_the_same(format: str, again: Any) -> None:
    """The same of receipts with any text, any fields that are only carried, any status of labels, on any page."""

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(sound_records())
    def holds(record: dict[str, Any]) -> None:
        receipt = parse_record(record, "x", ProblemLog())
        assert receipt is not None
        assert again([receipt], format) == [receipt]

    holds()


@pytest.mark.parametrize("format", FORMATS)
def test_boxes_that_are_no_whole_pixels_come_back_exactly(format: str, again: Any) -> None:
    """A receipt of a program that measures in parts of the page keeps its boxes to the last decimal that we keep."""
    words = tuple(
        Word(f"w{n}", (n / 7, 1 / 3, round(n / 7 + 0.123456789012, 12), 2 / 3), 0, (WordLabel("DATE"),))
        for n in range(6)
    )
    rounded = []
    for word in words:
        x0, y0, x1, y1 = (round(side, 12) for side in word.box)
        rounded.append(replace(word, box=(x0, y0, x1, y1)))
    receipt = Receipt("0c4c7b0e-1111-4222-8333-944444444444", 3, tuple(rounded), name="r", width=1237, height=1999)
    assert again([receipt], format) == [receipt]


def test_what_people_correct_in_label_studio_comes_in(tmp_path: Path) -> None:
    """A proposal that is confirmed is VALID and keeps its proposer; a label that is taken away is INVALID."""
    labels = [(WordLabel("DATE"),), (WordLabel("TAX", "PENDING", "reader-1"),), (WordLabel("TIME"),)]
    words = tuple(Word(f"w{n}", (0.1, n / 10, 0.2, n / 10 + 0.05), n, each) for n, each in enumerate(labels))
    receipt = Receipt("0c4c7b0e-1111-4222-8333-944444444444", 1, words, name="r", width=100, height=200)
    (task,) = json.loads("".join(lines([receipt], "label-studio", "https://photos/{id}.jpg")))
    assert task["data"]["image"] == "https://photos/r.jpg"
    result = task["annotations"][0]["result"]
    kept = [part for part in result if part["value"].get("labels") != ["TIME"]]
    (region,) = [part for part in result if part["value"].get("text") == ["w1"]]
    kept.append(region | {"type": "labels", "from_name": "label", "value": region["value"] | {"labels": ["TAX"]}})
    for part in kept:
        if part["value"].get("text") == ["w2"]:
            part["value"]["text"] = ["corrected"]
    task["annotations"][0]["result"] = kept
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]))
    (found,) = read_files(path, ProblemLog())
    assert found.key == receipt.key
    assert [word.text for word in found.words] == ["w0", "w1", "corrected"]
    assert [word.labels for word in found.words] == [
        (WordLabel("DATE"),),
        (WordLabel("TAX", "VALID", "reader-1"),),
        (WordLabel("TIME", "INVALID"),),
    ]


def test_the_projects_configuration_names_every_label() -> None:
    """The configuration beside an export has the core labels and those that occur, escaped."""
    config = labeling_config({'odd "label" <&>'})
    assert all(f'<Label value="{name}"/>' in config for name in CORE_LABELS)
    assert '<Label value="odd &quot;label&quot; &lt;&amp;>"/>' in config
