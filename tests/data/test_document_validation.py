"""Everything that is wrong with a data set is found, whatever else is wrong with it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from receipt_trainer.data.document import canonical_json
from receipt_trainer.data.document_set import read_examples
from receipt_trainer.data.document_validation import Validation, load_schema
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import count_tokens
from receipt_trainer.models.paddleocr_vl.model import load_processor
from tests.data.test_document import document


def record(**given: Any) -> dict[str, Any]:
    return {
        "id": "a",
        "image": "a.png",
        "instruction": "Read.",
        "input": "",
        "output": canonical_json(document()),
    } | given


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an image, half an image and a text that is none."""
    path = tmp_path_factory.mktemp("data")
    Image.linear_gradient("L").resize((20, 30)).save(path / "a.png")
    Image.effect_noise((200, 200), 90).save(path / "half.jpg")
    whole = (path / "half.jpg").read_bytes()
    (path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (path / "text.png").write_text("no image")
    return path


def found(folder: Path, *lines: bytes | dict[str, Any], **given: Any) -> list[tuple[int, str]]:
    path = folder / "d.jsonl"
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    validation = Validation(path, **given)
    problems = list(validation.problems())
    assert validation.counts.problems == len(problems)
    return [(problem.line, problem.field) for problem in problems]


def test_a_sound_file(folder: Path) -> None:
    """No problem, and the counts say so; blank lines and a mark of byte order are none."""
    assert found(folder, b"\xef\xbb\xbf", record(), b"\n", record(id="b", difficulty=0.5)) == []


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"{\n", "line"),
        (b'"text"\n', "line"),
        (b'{"image": "\xff"}\n', "line"),
        (b"[" * 100_000 + b"\n", "line"),
        (b"1" * 5_000 + b"\n", "line"),
        (record(image="none.png"), "image"),
        (record(image="half.jpg"), "image"),
        (record(image="text.png"), "image"),
        (record(image="../a.png"), "image"),
        (record(image="."), "image"),
        (record(image="x" * 5_000), "image"),
        (record(output="{"), "output"),
        (record(output="[" * 100_000), "output"),
        (record(output="[]"), "output"),
        (record(output="{}"), "output"),
        (record(output=canonical_json(document(grand_total=4))), "output.grand_total"),
        (record(output=canonical_json(document(tax="0.60"))), "output.tax"),
        (record(output=canonical_json(document()).replace("3.6}", "NaN}")), "output.grand_total"),
        (record(colour="red"), "colour"),
        (record(instruction=3), "instruction"),
        (record(difficulty=True), "difficulty"),
    ],
)
def test_one_problem(folder: Path, line: bytes | dict[str, Any], field: str) -> None:
    """Each is found on its line, and the lines around it are not blamed."""
    assert set(found(folder, record(id="first"), line, record(id="last"))) == {(2, field)}


def test_all_problems_of_a_line(folder: Path) -> None:
    """Nothing hides anything else."""
    bad = record(image="none.png", colour=1, output=canonical_json(document(date="today", grand_total=4)))
    places = found(folder, record(), bad)
    assert places == [
        *((2, "colour"), (2, "image"), (2, "id"), (2, "output.date"), (2, "output.date"), (2, "output.grand_total"))
    ]


def test_length(folder: Path) -> None:
    """An example that is longer than the sequence is a problem where lengths are counted."""
    texts = [record(), record(id="long", input="word " * 50)]
    measured = {"measure": lambda example: len(example.input.split()), "max_tokens": 49}
    assert found(folder, *texts, **measured) == [(2, "output")]
    assert found(folder, *texts) == []


def test_another_schema(folder: Path, tmp_path: Path) -> None:
    """An answer is held against the schema of the file."""
    path = tmp_path / "schema.json"
    path.write_text('{"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}}')
    schema = load_schema(path)
    lines = [record(output='{"total": 1}'), record(id="b", output='{"total": "1"}'), record(id="c", output="{}")]
    assert found(folder, *lines, schema=schema) == [(2, "output.total"), (3, "output")]


@pytest.mark.parametrize("text", ["{", "[]", '{"type": 3}', '{"properties": {"a": {"minimum": "x"}}}', ""])
def test_a_schema_that_is_none(tmp_path: Path, text: str) -> None:
    """One line that names the file."""
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"schema\.json: not"):
        load_schema(path)


def test_a_schema_never_reaches_out(folder: Path) -> None:
    """A reference to elsewhere is refused and not fetched."""
    with pytest.raises(UserError, match="the schema cannot be used"):
        found(folder, record(), schema={"$ref": "http://127.0.0.1:9/schema.json"})


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), max_size=4), st.data())
def test_hostile_lines(folder: Path, lines: list[bytes], data: st.DataObject) -> None:
    """Bytes of any kind give problems in plain letters; a sound line among them stays sound."""
    values = st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
    keys = st.sampled_from(["id", "image", "instruction", "input", "output", "difficulty", "\x1b[2J"])
    strange = data.draw(st.dictionaries(keys, values))
    path = folder / "hostile.jsonl"
    sound = json.dumps(record(id="the sound one"))
    path.write_bytes(b"\n".join([*lines, json.dumps(record() | strange).encode(), sound.encode()]))
    validation = Validation(path)
    problems = list(validation.problems())
    last = path.read_bytes().count(b"\n") + 1
    assert all(problem.line < last for problem in problems)
    assert all(str(problem).isprintable() for problem in problems)
    assert validation.counts.sound >= 1
    if not problems:
        assert read_examples(path)


def test_what_the_model_cannot_take_is_a_problem_of_its_line(folder: Path, tiny_model: Path) -> None:
    """A strip of an image and tokens with a meaning of their own: named, and the lines behind them are looked at."""
    Image.linear_gradient("L").resize((10, 4000)).save(folder / "strip.png")
    processor = load_processor(str(tiny_model))
    ended = canonical_json(document() | {"invoice_number": "1</s>2"})
    lines = [
        record(id="a", image="strip.png"),
        record(id="b", output=ended),
        record(id="c", instruction="Read <|IMAGE_PLACEHOLDER|>."),
        record(id="d", input="</s>"),
        record(id="e"),
    ]
    measured = found(folder, *lines, measure=lambda example: count_tokens(processor, example).total)
    assert measured == [(1, "image"), (2, "output"), (3, "instruction"), (4, "input")]
