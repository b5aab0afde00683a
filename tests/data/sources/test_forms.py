"""JSON lines in forms that people have: read where the form is known, else refused with the likely cause."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.labels import label_space
from receipt_trainer.data.problems import ProblemKind, ProblemLog, problem_lines
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.jsonl import read_lines
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


def rename(word: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The word with a key called otherwise."""
    return {new if key == old else key: value for key, value in word.items()}


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
        record(lambda word: word | {"box": [word["box"][:2], word["box"][2:]]}),
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
    ids=["flat quads", "quads", "two corners", "PPOCRLabel's words", "lines as floats", "no lines", "columns"],
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


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize(("indent", "between"), [(2, "\n"), (None, ""), (None, ",\n"), (None, "\r")])
def test_objects_one_after_the_other_are_read(indent: int | None, between: str, name: str, tmp_path: Path) -> None:
    """What `jq` writes, and lines that end in a comma or in no line feed: each object is a receipt."""
    path, problems = tmp_path / name, ProblemLog()
    path.write_text(between.join(json.dumps(record(id=id), indent=indent) for id in "abc"))
    assert [receipt.name for receipt in read_files(path, problems)] == ["a", "b", "c"]
    assert not problems.counts
    path.write_text(json.dumps({"receipts": [record()]}))
    with pytest.raises(UserError, match="receipts stand under 'receipts'"):
        read_files(path, problems)


def test_boxes_that_stand_upright_are_said(tmp_path: Path) -> None:
    """Words that are higher than wide lie on their side: kept, and said, on a page of any shape."""
    tall = [{"text": f"word{n}", "box": [n, 10, n + 20, 90], "line": 0, "label": "DATE"} for n in range(12)]
    problems = ProblemLog()
    assert read_files(write(tmp_path / "a.jsonl", record(words=tall)), problems)
    assert "a page on its side, or boxes of y0, x0, y1, x1" in "\n".join(problem_lines(problems.as_dict()))


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


@pytest.mark.parametrize("mark", ["-", "_", ".", " - "])
def test_prefixes_of_labels_are_stripped_counted_and_said(mark: str, tmp_path: Path) -> None:
    """B-, I-, E-, S-, before or behind, go where all labels of the file have one; E-MAIL among others stays."""
    given = ["B-MERCHANT_NAME", "E-MERCHANT_NAME", "S-PRODUCT_NAME", "S-LINE_TOTAL", "O", "S-GRAND_TOTAL"]
    tags = iter([tag.replace("-", mark) for tag in given])
    path = write(tmp_path / "a.jsonl", record(lambda word: word | {"label": next(tags)}))
    behind = iter([mark.join(tag.split("-")[::-1]) for tag in given])
    for there in (path, write(tmp_path / "c.jsonl", record(lambda word: word | {"label": next(behind)}))):
        problems = ProblemLog()
        (receipt,) = read_files(there, problems)
        assert [word.labels for word in receipt.words] == [word.labels for word in plain(tmp_path).words]
        assert problems.counts == {ProblemKind.LABEL_PREFIX_STRIPPED: 5}
    path = write(
        tmp_path / "b.jsonl", record(lambda word: word | {"label": "E-MAIL" if word["label"] == "O" else "DATE"})
    )
    (receipt,) = read_files(path, ProblemLog())
    assert receipt.words[4].valid_label() == "E-MAIL"
    for alone in ("S_TOTAL", "SHIRT-S", "TAX_I"):
        (receipt,) = read_files(write(path, record(lambda word: word | {"label": alone})), ProblemLog())  # noqa: B023
        assert receipt.words[0].valid_label() == alone


@pytest.mark.parametrize("kind", [int, float, str])
def test_labels_by_number_are_refused_without_names(kind: Callable[[int], Any], tmp_path: Path) -> None:
    """Without names the file is refused, by the first number, also 3.0 and "3"; with names it is read."""
    path = write(tmp_path / "a.jsonl", record(lambda word: word | {"label": kind(NAMES.index(word["label"]))}))
    with pytest.raises(UserError, match=r"label 3(\.0)? is a number"):
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
        (lambda b: [b[2], b[3], b[0], b[1]], "look like x1, y1, x0, y0"),
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


@pytest.mark.parametrize(
    ("encode", "kind"),
    [
        (lambda text: text.encode("utf-8-sig").replace(b"\n", b"\r\n"), None),
        (lambda text: text.encode("utf-16"), ProblemKind.NOT_UTF8),
        (lambda text: text.encode("cp1252"), ProblemKind.NOT_UTF8),
        (lambda text: gzip.compress(text.encode()), None),
        (lambda text: json.dumps(json.loads(text), indent=2).encode(), None),
        (lambda text: text.encode("utf-16-le"), ProblemKind.NOT_UTF8),
    ],
    ids=[
        "BOM and CRLF",
        "UTF-16",
        "Windows-1252",
        "gzip under another name",
        "one object over many lines",
        "UTF-16 unmarked",
    ],
)
def test_files_in_other_forms_lose_nothing(
    encode: Callable[[str], bytes], kind: ProblemKind | None, tmp_path: Path
) -> None:
    """The same receipt comes out, and an encoding that is not UTF-8 is said, with the place."""
    path, problems = tmp_path / "a.jsonl", ProblemLog()
    path.write_bytes(encode(json.dumps(record(note="caf\u00e9"), ensure_ascii=False) + "\n"))
    (receipt,) = read_files(path, problems)
    assert (receipt.words, receipt.extra) == (plain(tmp_path).words, {"note": "caf\u00e9"})
    assert set(problems.counts) == ({kind} if kind else set())


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        (lambda word: rename(word, "label", "lable"), ProblemKind.MISNAMED_KEY, "no 'label': is 'label' meant?"),
        (lambda word: word | {"label": "TOTAL_AMOUNT"}, ProblemKind.UNKNOWN_LABEL, "is GRAND_TOTAL meant?"),
        (lambda word: word | {"text": word["text"] + "\nx"}, ProblemKind.TEXT_CHANGED, "a.jsonl:1 a word 0"),
        (lambda word: word | {"line": "third"}, ProblemKind.LINES_GUESSED, "6 of 6 words say no line"),
        (lambda word: word | {"label": f"B-{word['label']}"}, ProblemKind.LABEL_PREFIX_STRIPPED, "B-MERCHANT_NAME is"),
    ],
    ids=["lable", "unknown label", "newline", "no line", "prefix"],
)
def test_what_is_altered_or_odd_is_counted_and_said(
    changed: Callable[[dict[str, Any]], dict[str, Any]], kind: ProblemKind, said: str, tmp_path: Path
) -> None:
    """The receipt is kept; the kind, the likely cause and at most three examples with their line are told."""
    problems = ProblemLog()
    (receipt,) = read_files(write(tmp_path / "a.jsonl", record(changed)), problems)
    assert len(receipt.words) == len(WORDS)
    assert len(problems.examples[kind]) <= 3
    assert said in "\n".join(problem_lines(problems.as_dict()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"words": [rename(word, "box", "bbox") for word in words()]}, "there is 'bbox' and no 'box'"),
        ({"words": [rename(word, "text", "value") for word in words()]}, "there is 'value' and no 'text'"),
        ({"words": [word | {"box": dict(zip("xywh", word["box"], strict=True))} for word in words()]}, "objects with"),
        ({"words": [{"text": "a", "left": 1, "top": 1, "w": 2, "h": 2}]}, "each by itself"),
        ({"words": [word | {"text": 12.5} for word in words()]}, "texts are numbers"),
        ({"words": [[word] for word in words()]}, "nested by line"),
        ({"words": TEXTS}, "words are texts: bboxes and ner_tags of the same length are needed"),
        ({"words": json.dumps(words())}, "`words` is a text: a list is needed"),
        ({"annotations": words(), "words": None}, "there is 'annotations'"),
    ],
    ids=["bbox", "value", "boxes of names", "sides", "numbers", "nested", "plain words", "a text", "another list"],
)
def test_unusable_files_say_what_stands_there_instead(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    """A file of which nothing can be used stops the command, with what was expected."""
    if given.get("words") is None:
        given = {"annotations": given["annotations"]}
    whole = {key: value for key, value in record().items() if key != "words"} | given
    with pytest.raises(UserError, match=said):
        read_files(write(tmp_path / "a.jsonl", whole), ProblemLog(), format="jsonl")


@pytest.mark.parametrize(
    ("label", "kept", "kind"),
    [
        (["DATE"], "DATE", ProblemKind.LABEL_IN_LIST),
        (["DATE", "TIME"], None, ProblemKind.BAD_LABEL),
        ([], None, None),
        (float("nan"), None, None),
    ],
)
def test_labels_in_lists(label: object, kept: str | None, kind: ProblemKind | None, tmp_path: Path) -> None:
    """The one of a list is taken, and said; of several none; an empty list and NaN are no label."""
    problems = ProblemLog()
    (receipt,) = read_files(write(tmp_path / "a.jsonl", record(lambda word: word | {"label": label})), problems)
    assert {word.valid_label() for word in receipt.words} == {kept}
    assert set(problems.counts) == ({kind} if kind else set())


def test_a_folder_of_our_own_files(tmp_path: Path) -> None:
    """Its files are read one after the other; an id that stands in two counts once; what is none is named."""
    write(tmp_path / "a.jsonl", record(), record(id="b"))
    write(tmp_path / "b.jsonl", record(width=WIDTH + 1), record(id="c"))
    (tmp_path / "notes.txt").write_text("to do")
    problems = ProblemLog()
    assert [receipt.name for receipt in read_files(tmp_path, problems)] == ["a", "b", "c"]
    assert problems.counts == {ProblemKind.DUPLICATE_RECEIPT: 1, ProblemKind.BAD_RECORD: 1}


def test_what_is_no_file_of_lines_is_refused(tmp_path: Path) -> None:
    """A pipe, which would be empty when it is read again, and a table, by what it begins with."""
    pipe, table = tmp_path / "pipe.jsonl", tmp_path / "table.jsonl"
    os.mkfifo(pipe)
    table.write_text("id,text,label\n")
    for path, said in ((pipe, "can be read only once"), (table, "not JSON: it begins with 'id,text,label'")):
        with pytest.raises(UserError, match=said):
            read_files(path, ProblemLog())


def test_percent_twice_a_key_and_twice_an_id_are_refused(tmp_path: Path) -> None:
    """Percent for pixels, an object with a key twice, and receipts that share an id and nothing else."""
    low = [word | {"text": f"{word['text']}{n}", "box": [10, n, 30, n + 2]} for n in (1, 20, 60) for word in words()]
    with pytest.raises(UserError, match="percent of the page"):
        read_files(write(tmp_path / "a.jsonl", record(words=low)), ProblemLog())
    twice = tmp_path / "b.jsonl"
    twice.write_text(json.dumps(record()).replace('"line": 0', '"line": 0, "line": 1', 1))
    with pytest.raises(UserError, match="the key 'line' stands in an object twice"):
        read_files(twice, ProblemLog())
    same = [record(lambda word, n=n: word | {"text": f"{word['text']}{n}"}) for n in range(3)]  # type: ignore[misc]
    with pytest.raises(UserError, match=r"2 of 3 receipts cannot be used.*duplicate_receipt"):
        read_files(write(tmp_path / "c.jsonl", *same), ProblemLog())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | st.binary(max_size=30).map(lambda tail: json.dumps(record()).encode() + b"\n" + tail))
def test_hostile_bytes_never_crash(content: bytes) -> None:
    """Whatever stands in a file, each line comes as a value or with the reason why it is none."""
    try:
        found = list(read_lines(BufferedReader(BytesIO(content)), "x"))
    except UnicodeDecodeError:  # cut in the middle of UTF-16, say; readers make one clear line of it
        return
    assert all(bool(line.error) == (line.value is None) or line.content.strip() == b"null" for line in found)
