"""JSON lines in forms that people have: read where the form is known, else refused with the likely cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.labels import label_space
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.load import read_files
from receipt_trainer.data.sources.record import parse_record
from receipt_trainer.errors import UserError
from tests.data.sources.samples import BOXES, HEIGHT, LABELS, LINES, TEXTS, WIDTH, WORDS, quad

LINES_GUESSED = ProblemKind.LINES_GUESSED
NAMES = ["O", "GRAND_TOTAL", "LINE_TOTAL", "MERCHANT_NAME", "PRODUCT_NAME"]
LINE_OF = {word: n for n, line in enumerate(LINES) for word in line}


def words() -> list[dict[str, Any]]:
    """The words of the sample in our own form."""
    return [
        {"text": text, "box": list(box), "line": LINE_OF[text, box], "label": label or "O"}
        for (text, box), label in zip(WORDS, LABELS, strict=True)
    ]


def record(changed: Callable[[dict[str, Any]], dict[str, Any]] = lambda word: word, **more: Any) -> dict[str, Any]:
    """The sample in our own form with words of another."""
    return {"id": "a", "width": WIDTH, "height": HEIGHT, "words": [changed(word) for word in words()]} | more


def write(path: Path, *receipts: dict[str, Any]) -> Path:
    """A JSON lines file."""
    path.write_text("".join(json.dumps(receipt) + "\n" for receipt in receipts))
    return path


def plain(tmp_path: Path) -> Receipt:
    """The sample as our own form gives it."""
    (receipt,) = read_files(write(tmp_path / "plain.jsonl", record()), ProblemLog())
    return receipt


@pytest.mark.parametrize(
    "given",
    [
        record(lambda word: word | {"box": [side for point in quad(word["box"]) for side in point]}),
        record(lambda word: word | {"box": quad(word["box"])}),
        record(lambda word: {"transcription": word["text"], "points": quad(word["box"]), "key_cls": word["label"]}),
        record(lambda word: word | {"line": float(word["line"])}),
        record(lambda word: {key: word[key] for key in ("text", "box", "label")}),
        {
            "id": "a",
            "width": WIDTH,
            "height": HEIGHT,
            "words": TEXTS,
            "bboxes": BOXES,
            "ner_tags": [label or "O" for label in LABELS],
        },
    ],
    ids=["flat quads", "quads", "PPOCRLabel's words", "lines as floats", "no lines", "columns"],
)
def test_known_forms_are_read_like_our_own(given: dict[str, Any], tmp_path: Path) -> None:
    """Quads, other names of fields, lines as floats or none, and columns give the receipt that our own form gives."""
    problems = ProblemLog()
    (receipt,) = read_files(write(tmp_path / "a.jsonl", given), problems)
    assert receipt == plain(tmp_path)
    assert problems.counts == ({} if "ner_tags" in given or "line" in given["words"][0] else {LINES_GUESSED: 1})
    alone = parse_record(json.loads(json.dumps(given)), "x", ProblemLog())  # what `predict` reads
    assert alone is not None
    assert [word.box for word in alone.words] == [word.box for word in receipt.words]


def test_one_array_is_read_like_its_lines(tmp_path: Path) -> None:
    """A JSON array of receipts, over many lines, under any name."""
    for name in ("a.jsonl", "a.json"):
        path = tmp_path / name
        path.write_text(json.dumps([record(), record(id="b")], indent=1))
        assert [receipt.name for receipt in read_files(path, ProblemLog())] == ["a", "b"]


def test_a_number_is_an_id(tmp_path: Path) -> None:
    """An id that is a whole number names the receipt; what is missing is named, and only that."""
    problems = ProblemLog()
    sound = [record(id=17), record(id=18)]
    receipts = read_files(write(tmp_path / "a.jsonl", *sound, record(width="400"), record(id=None)), problems)
    assert [receipt.name for receipt in receipts] == ["17", "18"]
    said = " ".join(problem.detail for problem in problems.examples[ProblemKind.BAD_RECORD])
    assert "width '400'" in said
    assert "id None" in said
    assert "height" not in said.replace("id (a text), width and height", "")


def test_prefixes_of_labels_are_stripped_counted_and_said(tmp_path: Path) -> None:
    """B-, I-, E-, S- go where all labels of the file have one; a label like E-MAIL among others stays."""
    tags = iter(["B-MERCHANT_NAME", "E-MERCHANT_NAME", "S-PRODUCT_NAME", "S-LINE_TOTAL", "O", "S-GRAND_TOTAL"])
    problems = ProblemLog()
    path = write(tmp_path / "a.jsonl", record(lambda word: word | {"label": next(tags)}))
    (receipt,) = read_files(path, problems)
    assert [word.labels for word in receipt.words] == [word.labels for word in plain(tmp_path).words]
    assert problems.counts == {ProblemKind.LABEL_PREFIX_STRIPPED: 5}
    path = write(
        tmp_path / "b.jsonl", record(lambda word: word | {"label": "E-MAIL" if word["label"] == "O" else "DATE"})
    )
    (receipt,) = read_files(path, ProblemLog())
    assert receipt.words[4].valid_label() == "E-MAIL"


def test_labels_by_number_are_refused_without_names(tmp_path: Path) -> None:
    """Without names the file is refused, by the first number; with names it is read."""
    path = write(tmp_path / "a.jsonl", record(lambda word: word | {"label": NAMES.index(word["label"])}))
    with pytest.raises(UserError, match="label 3 is a number"):
        read_files(path, ProblemLog())
    (receipt,) = read_files(path, ProblemLog(), label_names=NAMES)
    assert receipt == plain(tmp_path)


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        (lambda b: [b[0] / WIDTH, b[1] / HEIGHT, b[2] / WIDTH, b[3] / HEIGHT], "fractions of the page, 0..1"),
        (lambda b: [b[0], b[1], b[2] - b[0], b[3] - b[1]], "look like x, y, width, height"),
        (
            lambda b: [b[0] + 3 * WIDTH, b[1] + 3 * HEIGHT, b[2] + 3 * WIDTH, b[3] + 3 * HEIGHT],
            "pixels of a larger image",
        ),
        (lambda b: [b[0], HEIGHT - b[1], b[2], HEIGHT - b[3]], "counted from the bottom"),
    ],
)
def test_boxes_that_mean_something_else_stop_with_the_likely_cause(
    changed: Callable[[list[int]], list[float]], cause: str, tmp_path: Path
) -> None:
    """Where most words of most receipts cannot be used, the file is refused with the first problems and the cause."""
    given = record(lambda word: word | {"box": changed(word["box"])})
    path = write(tmp_path / "a.jsonl", given, given | {"id": "b"}, record(id="c"))
    with pytest.raises(UserError, match=f"2 of 3 receipts cannot be used.*Problems.* a.jsonl:1 a word 0.*{cause}"):
        read_files(path, ProblemLog())


def test_swapped_page_sides_are_said(tmp_path: Path) -> None:
    """Words outside a page on which all would lie with its sides swapped: the receipt is kept, and that is said."""
    problems = ProblemLog()
    twice = [word | {"text": f"{word['text']}{n}"} for n in (1, 2) for word in words()]
    low = [word | {"box": [word["box"][0], 500 + n, word["box"][2], 520 + n]} for n, word in enumerate(twice[:3])]
    given = record(width=HEIGHT, height=WIDTH) | {"words": twice + low}
    assert len(read_files(write(tmp_path / "a.jsonl", given), problems)) == 1
    assert problems.counts[ProblemKind.PAGE_SIZE_SWAPPED] == 1


def test_a_line_break_in_a_word_is_a_space(tmp_path: Path) -> None:
    """A newline or tab inside a word parts it; it does not glue `TOTAL` to `12.50`."""
    texts = iter(("TOTAL\n12.50", "TOTAL\t12.50", "TOTAL\r\n12.50", *"abc"))
    path = write(tmp_path / "a.jsonl", record(lambda word: word | {"text": next(texts)}))
    (receipt,) = read_files(path, ProblemLog())
    assert [word.text.split() for word in receipt.words[:3]] == [["TOTAL", "12.50"]] * 3


@pytest.mark.parametrize(("source", "names"), [("funsd", ("HEADER", "ANSWER")), ("SROIE", ("COMPANY", "ADDRESS"))])
def test_labels_that_occur_in_a_public_data_set_are_annotated_by_it(source: str, names: tuple[str, ...]) -> None:
    """Labels under a data set's own names are scored, and its `O` words are learned as none of them."""
    space = label_space(DataConfig(), [*names, "DATE"], {source: set(names)})
    assert space.unannotated(source).isdisjoint(names)
    assert set(names) <= set(space.labels)
