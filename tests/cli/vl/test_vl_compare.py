"""`vl compare` from two files of predictions, and from models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from PIL import Image

from receipt_trainer.data.document import FIELDS
from receipt_trainer.data.document_set import VlExample, to_line
from receipt_trainer.evaluation.answers import write_predictions
from receipt_trainer.evaluation.line_items import COLUMNS
from tests.cli.jobs import Caller
from tests.evaluation.answered import document, predict
from tests.models.paddleocr_vl.tiny import make_tiny


def write_answers(path: Path, wrong: int, count: int = 12) -> Path:
    gold = [document(invoice_number=f"N{n}") for n in range(count)]
    write_predictions(path, [predict(one, "" if n < wrong else one, f"d{n}") for n, one in enumerate(gold)])
    return path


def test_two_files(call: Caller, tmp_path: Path) -> None:
    """The report says what differs, with intervals that exclude 0, and shows the documents that changed."""
    before, after = write_answers(tmp_path / "a.jsonl", 8), write_answers(tmp_path / "b.jsonl", 0)
    said = call.succeed(
        *("vl", "compare", "--baseline-predictions", before, "--finetuned-predictions", after),
        *("--output-dir", tmp_path / "out", "--resamples", "2000"),
    ).out
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert record["status"] == "complete"
    fields = record["scores"]["fields"]
    assert fields["interval"]["difference"] == pytest.approx(8 / 12)
    assert fields["interval"]["excludes_zero"]
    assert fields["interval"]["low"] < 8 / 12 < fields["interval"]["high"]
    rows = {line[:37].strip(): line.split() for line in said.splitlines() if line}
    assert rows["field accuracy"][2:5] == ["0.333", "1.000", "+0.667"]
    assert rows["field accuracy"][-1] == "better"
    assert rows["answers that are JSON"][-1] == "better"
    assert "better: the interval excludes 0" in said
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "better: the interval excludes 0" in page
    assert page.count('class="document"') == 6
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_two_models(call: Caller, tmp_path: Path) -> None:
    """Models are asked, their answers kept; equal models show no difference."""
    model = make_tiny(tmp_path / "model")
    Image.linear_gradient("L").resize((60, 60)).save(tmp_path / "one.png")
    example = VlExample("d", tmp_path / "one.png", "Read this.", "", json.dumps(document()))
    (tmp_path / "set.jsonl").write_text(to_line(example, tmp_path))
    said = call.succeed(
        *("vl", "compare", "--baseline-model", model, "--finetuned-model", model, "--test-dir", tmp_path / "set.jsonl"),
        *("--output-dir", tmp_path / "out", "--max-new-tokens", "4", "--device", "cpu"),
    ).out
    assert "unknown: fewer than 10 documents" in said
    texts = [(tmp_path / "out" / f"{side}.predictions.jsonl").read_text() for side in ("baseline", "finetuned")]
    answers = [json.loads(text)["text"] for text in texts]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "give --baseline-model or --baseline-predictions"),
        (("--baseline-model", "x", "--baseline-predictions", "y"), "one of them"),
        (("--baseline-model", "x", "--finetuned-model", "y"), "give --test-dir"),
    ],
)
def test_mistakes(call: Caller, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    """Each is named in one line."""
    assert reason in call.refuse("vl", "compare", *words, "--output-dir", tmp_path / "out")


def test_other_documents(call: Caller, tmp_path: Path) -> None:
    """Predictions of different documents are refused."""
    before, after = write_answers(tmp_path / "a.jsonl", 0), write_answers(tmp_path / "b.jsonl", 0, count=11)
    words = ("--baseline-predictions", before, "--finetuned-predictions", after, "--output-dir", tmp_path / "out")
    assert "d11 stand in one only" in call.refuse("vl", "compare", *words)


def test_a_narrow_terminal(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On 80 columns every number stands whole, with its verdict in its line."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    before, after = write_answers(tmp_path / "a.jsonl", 8), write_answers(tmp_path / "b.jsonl", 0)
    words = ("--baseline-predictions", before, "--finetuned-predictions", after, "--output-dir", tmp_path / "out")
    lines = click.unstyle(call.succeed("vl", "compare", *words, "--resamples", "500").out).splitlines()
    lines = [line for line in lines if not line.startswith("report: ")]
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    whole = re.compile(r"0\.333 +1\.000 +\+0\.667 +\+0\.\d{3} to \+0\.\d{3} +better")
    assert sum(bool(whole.search(line)) for line in lines) >= 8


def test_fields_stand_below_their_regions(call: Caller, tmp_path: Path) -> None:
    """comparison.html has each region with its own fields, in the order of the schema."""
    before, after = write_answers(tmp_path / "a.jsonl", 8), write_answers(tmp_path / "b.jsonl", 0)
    words = ("--baseline-predictions", before, "--finetuned-predictions", after, "--output-dir", tmp_path / "out")
    call.succeed("vl", "compare", *words, "--resamples", "500")
    page = (tmp_path / "out" / "comparison.html").read_text()
    table = page[page.index("<h2>Fields</h2>") : page.index("Worse than before")]
    heads = re.findall(r'<tr><t[hd](?: scope="row")?>(.*?)</t', table)
    cells = [f"line_items.{name}" for name in COLUMNS]
    expected = [[region, *(cells if region == "table" else names)] for region, names in FIELDS.items()]
    assert heads == [name for part in expected for name in part]
