"""Files of other programs: recognised by content, words where they stand, labels of people and of machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.data.problems import NOTED, ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.foreign import FORMATS, detect, read_foreign, read_receipts
from receipt_trainer.data.sources.load import load_receipts, read_files
from receipt_trainer.errors import UserError
from tests.data.sources import samples
from tests.data.sources.samples import BOXES, HEIGHT, LABELS, SAMPLES, TEXTS, WIDTH

NO_LABELS = [None] * len(TEXTS)
MACHINES: dict[str, list[str | None]] = {
    "textract-expense": LABELS,
    "textract-expense-old": LABELS,
    "azure": LABELS,
    "azure-inch": LABELS,
}
PEOPLES: dict[str, list[str | None]] = {
    "paddleocr": LABELS,
    "label-studio": LABELS,
    "hf": LABELS,
    "cord": ["void_menu.nm", "void_menu.nm", *LABELS[2:]],
    "funsd": ["HEADER", "HEADER", None, None, "QUESTION", "ANSWER"],
    "sroie": ["MERCHANT_NAME", "MERCHANT_NAME", None, None, None, "GRAND_TOTAL"],
}
SIZELESS = ("paddleocr", "paddleocr-lists", "paddleocr-x", "funsd", "sroie")
"""Forms that do not say how large the page is."""


def save(folder: Path, form: str, *, image: bool = True) -> Path:
    """The file of a form; beside it the image, where the form does not say its size."""
    path = folder / SAMPLES[form][0]
    path.write_text(samples.content(form), encoding="utf-8")
    if form == "sroie":
        (folder / "a.json").write_text(json.dumps(samples.SROIE_KEYS))
    if image and form in SIZELESS:
        pytest.importorskip("PIL.Image", reason="Pillow says how large the image beside is").new(
            "L", (WIDTH, HEIGHT)
        ).save(folder / "a.png")
    return path


def one(path: Path, problems: ProblemLog | None = None, **options: Any) -> Receipt:
    """The only receipt of a file."""
    log = problems if problems is not None else ProblemLog()
    (receipt,) = read_files(path, log, **options)
    return receipt


def labels(receipt: Receipt, status: str) -> list[str | None]:
    """The label of each word that has this status."""
    return [next((each.name for each in word.labels if each.status == status), None) for word in receipt.words]


@pytest.mark.parametrize("form", SAMPLES)
def test_words_stand_where_the_program_says(form: str, tmp_path: Path) -> None:
    """Each form is recognised by its content; its words come in reading order on their boxes, to half a grid step."""
    path = save(tmp_path, form)
    assert detect(path) == samples.format_of(form)
    problems = ProblemLog()
    receipt = one(path, problems)
    assert [word.text for word in receipt.words] == TEXTS
    assert [word.line for word in receipt.words] == [0, 0, 1, 1, 2, 2]
    for word, box in zip(receipt.words, BOXES, strict=True):
        wanted = [value / size for value, size in zip(box, (WIDTH, HEIGHT) * 2, strict=True)]
        # A line's words share its width by characters, so within it their sides are near, not exact.
        slack = 0.06 if word.line == 0 and form in ("sroie", "textract-expense-old") else 0.0006
        assert word.box == pytest.approx(wanted, abs=slack)
    assert set(problems.counts) <= NOTED


@pytest.mark.parametrize("form", SAMPLES)
def test_labels_of_people_are_valid_and_of_machines_pending(form: str, tmp_path: Path) -> None:
    """What people said is VALID; what a program found is PENDING, with the program's name; meanings are the core's."""
    receipt = one(save(tmp_path, form))
    assert labels(receipt, "VALID") == PEOPLES.get(form, NO_LABELS)
    assert labels(receipt, "PENDING") == MACHINES.get(form, NO_LABELS)
    proposers = {label.proposed_by for word in receipt.words for label in word.labels}
    assert proposers == ({samples.format_of(form)} if form in MACHINES else {""} if form in PEOPLES else set())


@pytest.mark.parametrize(
    "made",
    [
        lambda: samples.textract(2),
        lambda: [samples.textract(1), {"Blocks": samples.textract_blocks(2), "NextToken": "x"}],
        lambda: samples.tesseract_tsv(2),
        lambda: samples.hocr(2),
        lambda: samples.vision(2),
        lambda: samples.azure(pages=2),
        lambda: samples.doctr(2),
    ],
)
def test_several_pages_are_several_receipts_of_one_document(made: Callable[[], Any], tmp_path: Path) -> None:
    """A document has its pages in their order; imported, each is a receipt with a name of its own."""
    given = made()
    path = tmp_path / "scan"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    (document,) = read_foreign(path)
    assert [page.number for page in document.pages] == [1, 2]
    receipts = read_receipts(path, ProblemLog())
    assert [receipt.name for receipt in receipts] == ["scan page 1", "scan page 2"]
    assert [[word.text for word in receipt.words] for receipt in receipts] == [TEXTS, TEXTS]
    assert len({receipt.key for receipt in receipts}) == 2


def test_predictions_are_pending_and_their_model_is_named(tmp_path: Path) -> None:
    """Where nobody has annotated a task, its predictions' words and labels come in, as their model's proposals."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(samples.label_studio("predictions")))
    receipt = one(path)
    assert labels(receipt, "VALID") == NO_LABELS
    assert labels(receipt, "PENDING") == LABELS
    assert {label.proposed_by for word in receipt.words for label in word.labels} == {"reader-3"}


def test_a_rising_line_gives_its_words_boxes_of_their_own_height(tmp_path: Path) -> None:
    """Words of a line that rises across the page lie along it, and are no higher than it is."""
    line = [[[0, 100], [200, 80], [200, 100], [0, 120]], ["one two", 0.9]]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([line]))
    (document,) = read_foreign(path)
    first, second = document.pages[0].words
    assert (first.text, second.text) == ("one", "two")
    assert second.box[1] < first.box[1]
    assert first.box[3] - first.box[1] < 35


def test_a_page_without_a_size_is_guessed_and_said(tmp_path: Path) -> None:
    """Without an image beside it, a page is as large as its words reach; that is a problem that is named."""
    problems = ProblemLog()
    receipt = one(save(tmp_path, "paddleocr-lists", image=False), problems)
    assert problems.counts[ProblemKind.PAGE_SIZE_GUESSED] == 1
    assert (receipt.width, receipt.height) == (400, 360)


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    """Files of a folder come by name, whatever their formats; keys and images belong to others; the rest is named."""
    box, key = tmp_path / "train" / "box", tmp_path / "train" / "key"
    box.mkdir(parents=True)
    key.mkdir()
    (box / "b.txt").write_text(samples.sroie_box())
    (key / "b.json").write_text(json.dumps(samples.SROIE_KEYS))
    (tmp_path / "a.json").write_text(json.dumps(samples.textract()))
    (tmp_path / "notes.md").write_text("# nothing to read")
    problems = ProblemLog()
    receipts = load_receipts(str(tmp_path), problems)
    assert [(receipt.name, receipt.source, receipt.split) for receipt in receipts] == [
        ("a", "", ""),
        ("b", "sroie", "train"),
    ]
    assert labels(receipts[1], "VALID")[5] == "GRAND_TOTAL"
    assert problems.counts[ProblemKind.BAD_RECORD] == 1
    assert [receipt.name for receipt in read_receipts(tmp_path, ProblemLog(), format="sroie")] == ["b"]


def test_numbers_of_labels_need_names(tmp_path: Path) -> None:
    """Labels by number are refused by name; names come from dataset_info.json beside the file, or are given."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(samples.columns(numbers=True)))
    with pytest.raises(UserError, match=r"label 3 is a number: say the labels' names.*--label-names"):
        read_files(path, ProblemLog())
    names = ["O", "B-GRAND_TOTAL", "B-LINE_TOTAL", "B-MERCHANT_NAME", "I-MERCHANT_NAME", "B-PRODUCT_NAME"]
    assert labels(one(path, label_names=names), "VALID") == LABELS
    tags = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"features": {"ner_tags": tags}}))
    assert labels(one(path), "VALID") == LABELS


def test_columns_are_pixels_where_that_fits_their_page_better(tmp_path: Path) -> None:
    """With width and height in the rows, boxes may be pixels or 0..1000: all rows of a file decide, not one."""
    row = samples.columns() | {"width": WIDTH, "height": HEIGHT}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    grid = one(path)
    path.write_text(json.dumps(row | {"bboxes": [list(box) for box in BOXES]}))
    pixels = one(path)
    for first, second in zip(grid.words, pixels.words, strict=True):
        assert first.box == pytest.approx(second.box, abs=0.001)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"Blocks": [], "Pages": 1}', "it is JSON with Blocks, Pages; nearest is textract, which has"),
        ("a.json", "{broken", "it begins with '{broken'"),
        ("a.csv", "a,b\n1,2\n", "it begins with 'a,b'"),
        ("a.txt", "", "it is empty"),
        ("a.png", "\x89PNG\0\0", "it is no text but an image"),
        ("a.json", "[" * 100_000, r"nested too deep|it begins with"),
    ],
)
def test_what_is_no_known_format_is_refused_in_one_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    """The refusal names the file, what was expected, what stands there and what is near."""
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=said) as refused:
        read_files(path, ProblemLog())
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_key_that_stands_twice_is_named(tmp_path: Path) -> None:
    """In one JSON the file is refused; of lines the others are read."""
    text = json.dumps(samples.textract())
    twice = text.replace('"Blocks":', '"Blocks": [], "Blocks":', 1)
    path = tmp_path / "a.json"
    path.write_text(twice)
    with pytest.raises(UserError, match="the key 'Blocks' stands in an object twice"):
        read_files(path, ProblemLog())
    problems = ProblemLog()
    path.write_text(f"{text}\n{twice}\n")
    assert len(read_files(path, problems)) == 1
    assert "the key 'Blocks' stands in an object twice" in str(problems.examples[ProblemKind.BAD_RECORD][0])


def test_a_named_format_must_be_the_files(tmp_path: Path) -> None:
    """`--format` decides; a file that is not of it is refused with what the format has."""
    path = save(tmp_path, "textract")
    with pytest.raises(UserError, match="not vision, which has fullTextAnnotation"):
        read_files(path, ProblemLog(), format="vision")
    with pytest.raises(UserError, match="format 'word' is not known: use one of textract, "):
        list(read_foreign(path, "word"))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda box: [box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT], ""),
        (lambda box: [box[0], box[1], box[2] - box[0], box[3] - box[1]], "x, y, width, height"),
        (lambda box: [10 * value for value in box], "pixels of a larger image"),
    ],
)
def test_boxes_that_cannot_be_meant_so_are_refused(
    change: Callable[[Any], list[float]], cause: str, tmp_path: Path
) -> None:
    """Where most words of a document lie outside its page, nothing of it is read, and the likely cause is said."""
    row = samples.columns() | {"bboxes": [change(box) for box in BOXES], "width": WIDTH, "height": HEIGHT}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UserError, match=f"6 words of a, page 1, have no box on the page.*{cause}"):
        read_files(path, ProblemLog())


def test_every_format_has_a_sample_and_says_what_it_expects() -> None:
    """No format is without a test."""
    assert {samples.format_of(form) for form in SAMPLES} == set(FORMATS)
    assert all(format.expected for format in FORMATS.values())
