"""`receipt-trainer vl validate-dataset`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.data.document import canonical_json
from receipt_trainer.data.document_set import PROMPT_FILE, TrainedAs, in_rows, read_examples
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import encode
from receipt_trainer.models.paddleocr_vl.processor import load_processor
from tests.data.test_document import document
from tests.models.paddleocr_vl.tiny import make_tiny


def validate(path: Path, *words: str) -> Result:
    return CliRunner().invoke(group, ["vl", "validate-dataset", "--input", str(path), *words])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three lines: sound, wrong in two ways, no JSON."""
    Image.linear_gradient("L").resize((56, 56)).save(tmp_path / "a.png")
    sound = {"id": "a", "image": "a.png", "output": canonical_json(document())}
    wrong = {"id": "b", "image": "b.png", "output": canonical_json(document(grand_total=4))}
    (tmp_path / "d.jsonl").write_text(f"{json.dumps(sound)}\n{json.dumps(wrong)}\n{{\n")
    return tmp_path / "d.jsonl"


def test_all_problems_and_exit_code_1(data: Path) -> None:
    """Every problem is a line with line, field and reason; the counts follow."""
    done = validate(data)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"{data}: line 2: image: 'b.png': no such file",
        f"{data}: line 2: output.grand_total: subtotal 3 + tax 0.6 - discount 0 is not 4",
        f"{data}: line 3: line: not JSON: Expecting property name enclosed in double quotes: line 2 column 1 (char 2)",
    ]
    assert "3 lines, 1 sound, 3 problems" in done.stderr


def test_a_file_of_another_kind_is_one_line(tmp_path: Path) -> None:
    """A file without a line of JSON is told once, not once a line; the counts have all of them."""
    path = tmp_path / "d.csv"
    path.write_text("image,output\n" + "a.png,x\n" * 5)
    done = validate(path)
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{path}: line 1: line: not JSON: ")
    assert line.endswith("; nor is any of the 5 others")
    assert "6 lines, 0 sound, 6 problems" in done.stderr


def test_as_json(data: Path) -> None:
    """With --json every line of the output is an object; the last has the counts."""
    *problems, counts = map(json.loads, validate(data, "--json").stdout.splitlines())
    assert [(problem["line"], problem["field"]) for problem in problems] == [
        *((2, "image"), (2, "output.grand_total"), (3, "line"))
    ]
    assert counts == {"lines": 3, "sound": 1, "problems": 3, "longest": 0}


def test_a_sound_file_and_lengths(data: Path, tmp_path: Path) -> None:
    """Exit code 0 with the counts; with a tokenizer the longest example, and those that are too long are problems."""
    data.write_text(data.read_text().splitlines()[0] + "\n")
    done = validate(data)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "1 lines, 1 sound, 0 problems" in done.stderr
    model = str(make_tiny(tmp_path / "model"))
    done = validate(data, "--tokenizer", model)
    assert done.exit_code == 0
    longest = int(done.stderr.split("the longest has ")[1].split()[0])
    assert validate(data, "--tokenizer", model, "--max-sequence-length", str(longest)).exit_code == 0
    done = validate(data, "--tokenizer", model, "--max-sequence-length", str(longest - 1))
    assert done.exit_code == 1
    assert f"line 1: output: {longest} tokens with image and instruction, the sequence has {longest - 1}" in done.stdout


def test_lengths_are_those_that_are_trained(data: Path, tmp_path: Path) -> None:
    """With line items as rows by the option or by what is stored with the model, and with the prompt of either, as many
    tokens are counted as training makes of the example."""
    data.write_text(data.read_text().splitlines()[0] + "\n")
    model = make_tiny(tmp_path / "model")
    processor, (example,) = load_processor(str(model)), read_examples(data)

    def trained(prompt: str, *, rows: bool) -> str:
        output = in_rows(example.output) if rows else example.output
        encoded = encode(processor, replace(example, instruction=prompt, output=output))
        assert encoded is not None
        return f"; the longest has {len(encoded.input_ids)} tokens"

    def counted(*words: str) -> str:
        return validate(data, "--tokenizer", str(model), *words).stderr

    assert trained("OCR:{}", rows=False) in counted()
    assert trained("OCR:{}", rows=True) in counted("--compact-items")
    (model / PROMPT_FILE).write_text(TrainedAs("Read all of this.", compact_items=True).to_json())
    assert trained("Read all of this.", rows=True) in counted()
    assert trained("This.", rows=True) in counted("--prompt", "This.")
    lengths = {trained("OCR:{}", rows=rows) for rows in (False, True)}
    assert len(lengths) == 2


def test_mistakes(data: Path, tmp_path: Path) -> None:
    """No such file, and a schema that is none, are one line."""
    with pytest.raises(UserError, match="cannot be read: No such file"):
        CliRunner().invoke(group, ["vl", "validate-dataset", "--input", "none.jsonl"], catch_exceptions=False)
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": 3}')
    words = ["vl", "validate-dataset", "--input", str(data), "--schema", str(schema)]
    with pytest.raises(UserError, match=r"schema\.json: not a JSON Schema: type: 3 is not valid"):
        CliRunner().invoke(group, words, catch_exceptions=False)
