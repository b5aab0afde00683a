"""`vl compare` from two files of predictions, and from models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from receipt_trainer.vl.examples import VlExample, to_line
from receipt_trainer.vl.predictions import write_predictions
from tests.cli.jobs import Caller
from tests.cli.vl_calls import refuse, succeed
from tests.vl.documents import document, predict
from tests.vl.tiny import make_tiny


def write_answers(path: Path, wrong: int, count: int = 12) -> Path:
    gold = [document(invoice_number=f"N{n}") for n in range(count)]
    write_predictions(path, [predict(one, "" if n < wrong else one, f"d{n}") for n, one in enumerate(gold)])
    return path


def test_two_files(call: Caller, tmp_path: Path) -> None:
    """The report says what differs, with intervals that exclude 0, and shows the documents that changed."""
    before, after = write_answers(tmp_path / "a.jsonl", 8), write_answers(tmp_path / "b.jsonl", 0)
    said = succeed(
        call,
        *("vl", "compare", "--baseline-predictions", before, "--finetuned-predictions", after),
        *("--output-dir", tmp_path / "out", "--resamples", "2000"),
    )
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert record["status"] == "complete"
    fields = record["scores"]["fields"]
    assert fields["interval"]["difference"] == pytest.approx(8 / 12)
    assert fields["interval"]["excludes_zero"]
    assert fields["interval"]["low"] < 8 / 12 < fields["interval"]["high"]
    assert "better: the interval excludes 0" in said
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "better: the interval excludes 0" in page
    assert page.count('class="document"') == 6
    assert not re.search(r"(src|href)=\"(?!data:)", page)


def test_two_models(call: Caller, tmp_path: Path) -> None:
    """Models are asked, their answers kept; equal models show no difference."""
    model = make_tiny(tmp_path / "model")
    Image.new("RGB", (60, 60), "white").save(tmp_path / "one.png")
    example = VlExample("d", tmp_path / "one.png", "Read this.", "", json.dumps(document()))
    (tmp_path / "set.jsonl").write_text(to_line(example, tmp_path))
    said = succeed(
        call,
        *("vl", "compare", "--baseline-model", model, "--finetuned-model", model, "--test-dir", tmp_path / "set.jsonl"),
        *("--output-dir", tmp_path / "out", "--max-new-tokens", "4", "--device", "cpu"),
    )
    assert "cannot be said" in said
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
    assert reason in refuse(call, "vl", "compare", *words, "--output-dir", tmp_path / "out")


def test_other_documents(call: Caller, tmp_path: Path) -> None:
    """Predictions of different documents are refused."""
    before, after = write_answers(tmp_path / "a.jsonl", 0), write_answers(tmp_path / "b.jsonl", 0, count=11)
    words = ("--baseline-predictions", before, "--finetuned-predictions", after, "--output-dir", tmp_path / "out")
    assert "d11 stand in one only" in refuse(call, "vl", "compare", *words)
