"""`vl evaluate` from documents to scores."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from receipt_trainer.data.document_set import VlExample, to_line
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.answers import read_predictions, write_predictions
from tests.cli.jobs import Caller
from tests.evaluation.answered import ITEMS, document, predict
from tests.models.paddleocr_vl.tiny import make_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model", seed=3)


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    """Three documents with their images."""
    folder = tmp_path / "documents"
    (folder / "images").mkdir(parents=True)
    lines = []
    for number in range(3):
        image = folder / "images" / f"{number}.png"
        Image.effect_noise((70 + 10 * number, 90), 50.0).convert("RGB").save(image)
        output = json.dumps(document(invoice_number=f"N{number}"))
        lines.append(to_line(VlExample(f"d{number}", image, "Read this.", "", output), folder))
    (folder / "test.jsonl").write_text("".join(lines))
    return folder


def written(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_model_is_evaluated(call: Caller, tiny: Path, test_set: Path, tmp_path: Path) -> None:
    """Predictions, scores and page come from one call; scored anew without the model the scores are the same."""
    output = tmp_path / "out" / "r.json"
    arguments = ("vl", "evaluate", "--test-dir", test_set, "--model-path", tiny, "--output", output)
    said = call.succeed(*arguments, "--max-new-tokens", "6", "--batch-size", "2", "--device", "cpu").out
    found = read_predictions(tmp_path / "out" / "r.predictions.jsonl")
    assert [one.id for one in found] == ["d0", "d1", "d2"]
    record = written(output)
    assert record["status"] == "complete"
    assert record["num_documents"] == 3
    assert record["scores"]["fields"] == {"value": 0.0, "hits": 0.0, "total": 87.0}
    assert "vendor.name" in said
    again = tmp_path / "again.json"
    call.succeed("vl", "evaluate", "--predictions", tmp_path / "out" / "r.predictions.jsonl", "--output", again)
    same = ("scores", "fields", "regions", "documents", "truth")
    assert {name: written(again)[name] for name in same} == {name: record[name] for name in same}
    page = (tmp_path / "out" / "r.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "<script" not in page


def test_a_stopped_evaluation_goes_on(
    call: Caller, tiny: Path, test_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered is not asked again, with the scores of an undisturbed one; another question starts over."""
    from receipt_trainer.models.paddleocr_vl import generate

    words = ["vl", "evaluate", "--test-dir", test_set, "--model-path", tiny, "--device", "cpu", "--max-new-tokens"]
    call.succeed(*words, "6", "--output", tmp_path / "whole.json")
    asked: list[str] = []
    write = generate._write

    def stopping(loaded: Any, examples: Any, config: Any) -> Any:
        asked.append(examples[0].id)
        if len(asked) == 3:
            raise UserError("stopped")
        return write(loaded, examples, config)

    monkeypatch.setattr(generate, "_write", stopping)
    assert "stopped" in call.refuse(*words, "6", "--output", tmp_path / "r.json")
    assert not list(tmp_path.glob("r.*"))
    (unfinished,) = tmp_path.glob(".r.*")
    with unfinished.open("a") as stream:
        stream.write('{"id": "d2", "image')
    kept = unfinished.read_bytes()
    call.succeed(*words, "6", "--output", tmp_path / "r.json")
    assert asked == ["d0", "d1", "d2", "d2"]
    texts = [[one.text for one in read_predictions(tmp_path / f"{name}.predictions.jsonl")] for name in ("whole", "r")]
    assert texts[0] == texts[1]
    assert not list(tmp_path.glob(".r.*"))
    unfinished.write_bytes(kept)
    call.succeed(*words, "5", "--output", tmp_path / "r.json")
    assert asked[4:] == ["d0", "d1", "d2"]


def test_scores_of_known_answers(call: Caller, tmp_path: Path) -> None:
    """Right, wrong and unreadable answers: 28 + 29 + 0 of 87 fields, TEDS (15/16 + 1 + 0) / 3."""
    answers = [
        predict(document(), document(line_items=[*ITEMS[:2], ITEMS[2] | {"description": None}]), "a"),
        predict(document(), document(), "b"),
        predict(document(), "<script>alert(1)</script>", "c"),
    ]
    write_predictions(tmp_path / "p.jsonl", answers)
    said = call.succeed("vl", "evaluate", "--predictions", tmp_path / "p.jsonl", "--output", tmp_path / "r.json").out
    record = written(tmp_path / "r.json")
    assert record["scores"]["fields"] == {"value": 57 / 87, "hits": 57.0, "total": 87.0}
    assert record["scores"]["teds"]["value"] == pytest.approx((15 / 16 + 1) / 3)
    assert record["scores"]["parse"]["value"] == pytest.approx(2 / 3)
    assert record["scores"]["numeric"] == {"value": 28 / 42, "hits": 28.0, "total": 42.0}
    assert record["regions"]["table"]["hits"] == 23
    assert "57 of 87" in said
    page = (tmp_path / "r.html").read_text()
    assert "The image cannot be opened" in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "give --model-path and --test-dir, or --predictions"),
        (("--model-path", "x"), "give --model-path and --test-dir"),
        (("--predictions", "p", "--model-path", "x"), "leave --model-path"),
        (("--predictions", "missing.jsonl"), "missing.jsonl: cannot read predictions"),
        (("--model-path", "x", "--test-dir", "missing"), "missing: cannot be read"),
    ],
)
def test_mistakes(call: Caller, tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    """Each is named in one line, and no scores are written."""
    assert reason in call.refuse("vl", "evaluate", *words, "--output", tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()


def test_the_name_of_the_scores(call: Caller, tmp_path: Path) -> None:
    """A file that does not end in .json would meet those that are written beside it."""
    assert "ends in .json" in call.refuse("vl", "evaluate", "--predictions", "p", "--output", tmp_path / "r")


def test_old_scores_do_not_outlive_a_broken_evaluation(call: Caller, test_set: Path, tmp_path: Path) -> None:
    """Scores mark what is beside them as complete: they go before new answers are written."""
    (tmp_path / "r.json").write_text('{"status": "complete"}')
    arguments = ("--test-dir", test_set, "--model-path", tmp_path / "none", "--output", tmp_path / "r.json")
    assert "none" in call.refuse("vl", "evaluate", *arguments)
    assert not (tmp_path / "r.json").exists()


def test_which_file_of_a_folder(call: Caller, test_set: Path, tmp_path: Path) -> None:
    """test.jsonl, or the only data set; several are named, none is said."""
    output = ("--model-path", "x", "--output", tmp_path / "r.json")
    (test_set / "test.jsonl").rename(test_set / "a.jsonl")
    (test_set / "b.jsonl").write_text("")
    assert "name one of its data sets: a.jsonl, b.jsonl" in call.refuse(
        "vl", "evaluate", "--test-dir", test_set, *output
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no data set in it" in call.refuse("vl", "evaluate", "--test-dir", empty, *output)
