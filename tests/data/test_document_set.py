"""Reading a file of examples."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receipt_trainer.data.document import to_rows
from receipt_trainer.data.document_set import (
    VlExample,
    in_rows,
    leaves_folder,
    read_examples,
    to_line,
    with_some_fields,
)
from receipt_trainer.data.document_validation import Validation
from receipt_trainer.errors import UserError
from tests.data.test_document import document


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """`to_line` and `read_examples` are inverse."""
    examples = [
        VlExample("a", tmp_path / "images" / "a.png", "Read this.", "It is ½.", '{"x":1}', 0.25),
        VlExample("b", tmp_path / "b.png", "", "", "{}"),
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(to_line(example, tmp_path) for example in examples), encoding="utf-8")
    assert read_examples(path) == examples


@pytest.mark.parametrize(
    "form",
    [
        lambda records: json.dumps(records[0], indent=1).encode(),
        lambda records: json.dumps(records, indent=1).encode(),
        lambda records: gzip.compress(json.dumps(records).encode()),
        lambda records: "\n".join(map(json.dumps, records)).encode("utf-16"),
    ],
    ids=["one over many lines", "array", "gzip", "UTF-16"],
)
def test_files_are_read_in_the_forms_of_receipts(form: Callable[[list[Any]], bytes], tmp_path: Path) -> None:
    """What the reader of receipts takes is taken here: one object over many lines, an array, gzip, UTF-16."""
    records = [{"image": f"{name}.png", "output": "{}"} for name in "ab"]
    path = tmp_path / "d.jsonl"
    path.write_bytes(form(records))
    assert [one.id for one in read_examples(path)] in (["a.png"], ["a.png", "b.png"])
    assert next(Validation(path).problems()).reason == "'a.png': no such file"


def test_what_may_be_left_out(tmp_path: Path) -> None:
    """An image and an answer are enough, and the answer may be an object."""
    path = write(tmp_path / "d.jsonl", {"image": "a.png", "output": document()})
    (example,) = read_examples(path)
    assert (example.id, example.image, example.instruction) == ("a.png", tmp_path / "a.png", "")
    assert json.loads(example.output)["grand_total"] == 3.6


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (7, "line: not an object"),
        ({"image": "a.png", "output": '{"tax": NaN}'}, "output.tax: not a finite number"),
        ({"image": "a.png", "output": {"tax": float("inf")}}, "output.tax: not a finite number"),
        ({"image": "a.png", "output": '{"tax": 1, "tax": 2}'}, "output: not JSON: the key 'tax' stands in an object"),
        ({"output": "{}"}, "image: missing"),
        ({"image": "a.png"}, "output: missing"),
        ({"image": 3, "output": "{}"}, "image: not a path"),
        ({"image": "/etc/a.png", "output": "{}"}, "image: '/etc/a.png' leaves the folder"),
        ({"image": "a/../../b.png", "output": "{}"}, "image: 'a/../../b.png' leaves the folder"),
        ({"image": "a.png", "output": "{}", "colour": 1}, "colour: unknown key"),
        ({"image": "a.png", "output": "{}", "difficulty": 2}, "difficulty: not a number from 0 to 1"),
        ({"image": "a.png", "output": "{}", "id": 7}, "id: not a text"),
        ({"image": "a.png", "output": "\ud800"}, "output: neither JSON text nor an object"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, record: Any, reason: str) -> None:
    """The error says file, line, field and reason."""
    path = write(tmp_path / "d.jsonl", {"image": "a.png", "output": "{}"}, record)
    with pytest.raises(UserError, match=re.escape(f"d.jsonl:2: {reason}")):
        read_examples(path)


def test_other_mistakes(tmp_path: Path) -> None:
    """An id that stands twice, an empty file, no file, no JSON."""
    same = {"id": "a", "image": "a.png", "output": "{}"}
    with pytest.raises(UserError, match=":2: id: 'a' is that of line 1"):
        read_examples(write(tmp_path / "d.jsonl", same, same))
    with pytest.raises(UserError, match="no example in it"):
        read_examples(write(tmp_path / "d.jsonl"))
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_examples(tmp_path / "none.jsonl")
    (tmp_path / "d.jsonl").write_bytes(b"[" * 100_000)
    with pytest.raises(UserError, match=r"d\.jsonl: not JSON"):
        read_examples(tmp_path / "d.jsonl")


@pytest.mark.parametrize("path", ["..", "../a.png", "/a.png", "C:\\a.png", "\\\\server\\a.png", "a\0.png"])
def test_paths_that_leave_the_folder(path: str) -> None:
    """Absolute ones of any system, and steps upwards."""
    assert leaves_folder(path)


@pytest.mark.parametrize("path", ["a.png", "images/a.png", "./a.png", "..a/b..png"])
def test_paths_that_stay(path: str) -> None:
    """Dots in names are no steps."""
    assert not leaves_folder(path)


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", '{"total": 3}', '{"line_items": []}', '{"line_items": [{}, {"a": 1}]}']
)
def test_an_answer_without_rows_is_taught_as_it_stands(text: str) -> None:
    """No JSON, no lines, or lines of unequal keys."""
    assert in_rows(text) == text


def test_rows_of_half_characters_are_not_made() -> None:
    """Escaped they are a text; written out they are none, and no tokenizer takes them."""
    text = '{"line_items":[{"description":"\\ud83d"}]}'
    assert in_rows(text) == text
    assert in_rows(text.replace("\\ud83d", "t\u00e9")) == '{"line_items":[["description"],["t\u00e9"]]}'


@pytest.mark.parametrize("rows", [False, True])
def test_an_example_asks_for_some_fields(rows: bool) -> None:
    """The prompt names what the answer has: at most half of the fields, in their order, with their values as before;
    another draw takes others, and no example gets longer."""
    whole = to_rows(document()) if rows else document()
    example = VlExample("a", Path("a.png"), "OCR:{}", "", json.dumps(whole, separators=(",", ":")))
    seen = set()
    for seed in range(50):
        some = with_some_fields(example, np.random.default_rng(seed))
        answer = json.loads(some.output)
        asked = json.loads(some.instruction.removeprefix("OCR:"))
        assert asked == dict.fromkeys(answer, "")
        assert list(answer) == [name for name in whole if name in answer]
        assert answer == {name: whole[name] for name in answer}
        assert 1 <= len(answer) <= len(whole) // 2
        assert len(some.instruction + some.output) <= len(example.instruction + example.output)
        seen |= answer.keys()
    assert seen == whole.keys()


@pytest.mark.parametrize(
    ("instruction", "output"),
    [("Read this.", '{"date":null,"tax":1}'), ("OCR:{}", '{"date":null}'), ("OCR:{}", "no JSON"), ("OCR:{}", "[1,2]")],
)
def test_other_examples_ask_for_all(instruction: str, output: str) -> None:
    """A prompt of another form, an answer of one field or of none."""
    example = VlExample("a", Path("a.png"), instruction, "", output)
    assert with_some_fields(example, np.random.default_rng(0)) is example
