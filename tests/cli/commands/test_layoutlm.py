"""`layoutlm-cli`: what each command makes of receipts."""

from __future__ import annotations

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.contract.predictions import read_predictions
from tests.cli.conftest import Trained
from tests.cli.jobs import Caller, Said


def test_evaluate_repeats_the_score_of_the_run(trained: Trained, layoutlm: Caller, tmp_path: Path) -> None:
    """Scored on the receipts that the run held out, the saved model has exactly the scores of run.json."""
    done = layoutlm.succeed(
        *("evaluate", "--model", trained.run_dir, "--dataset", trained.receipts, "--precision", "fp32"),
        *("--split-file", trained.run_dir / "run.json", "--output", "new/scores.json", "--predictions", "words.jsonl"),
    )
    record = trained.record
    scores = json.loads((tmp_path / "new/scores.json").read_bytes())
    assert record.overall is not None
    assert record.overall.support > 50
    assert scores["overall"] == record.overall.model_dump()
    assert scores["per_label"] == {label: score.model_dump() for label, score in record.per_label.items()}
    assert scores["confusion"] == record.model_dump()["confusion"]
    assert scores["counts"]["receipts"] == record.dataset_counts["validation"]["receipts"]
    assert scores["notes"] == []
    assert scores["problems"] == {}
    found = read_predictions(tmp_path / "words.jsonl")
    assert not found.broken_lines
    words = [word for receipt in found.receipts for word in receipt.words]
    assert len(words) == scores["counts"]["words"]
    assert sum(word.gold == word.pred for word in words) == scores["counts"]["words_right"]
    shown = done.out
    assert f"{record.overall.f1:.3f}" in shown
    assert all(label in shown for label in record.entity_labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "words.jsonl"]


def test_evaluate_says_what_makes_a_score_mean_less(trained: Trained, layoutlm: Caller, tmp_path: Path) -> None:
    """Labels the model lacks, receipts it was trained on, receipts left out and their problems are all named."""
    dataset = f"{trained.receipts},{trained.more_receipts}"
    done = layoutlm.succeed("evaluate", "--model", trained.run_dir / "model", "--dataset", dataset)
    shown = done.out
    assert "1 words bear a label that the model does not know and count as O: LOYALTY 1" in shown
    assert re.search(r"trained on receipts of this data set.*--split-file \S+run\.json", shown)
    assert "1 receipts without a VALID label" in shown
    assert re.search(r"^mine +\d", shown, re.MULTILINE)
    assert re.search(r"^synthetic +\d", shown, re.MULTILINE)
    assert re.search(r"no_words: 1 .*\n.*empty", done.err)
    assert "duplicate_receipt: 32" in done.err


def read_lines(text: str) -> list[dict[str, Any]]:
    """JSON lines; NaN and Infinity, which JSON does not have, fail."""
    return [Said(0, line, "").json for line in text.splitlines()]


HOSTILE: dict[str, Any] = {
    "id": "hostile \u05d0",
    "width": 100,
    "height": 100,
    "words": [
        {"text": "below", "box": [0, 50, 50, 60], "line": 1},
        {"text": " ", "box": [0, 0, 5, 5], "line": 0},
        {"text": "above\ud800", "box": [0.5, 0, 50, 10], "line": 0, "label": ["no label"]},
        7,
        {"text": "outside", "box": [0, 0, 500, 5]},
        {"text": "\u202e9.99\u202c", "box": [60, 0, 90, 10], "line": 0},
    ],
}


def test_predict_answers_every_line_and_every_word(trained: Trained, layoutlm: Caller, tmp_path: Path) -> None:
    """One answer a line in order; one word out for each word in, at its place; what is broken says so."""
    lines = trained.receipts.read_bytes().splitlines()[:3]
    lines += [b"nonsense", b"", b"\xff", b'{"id": "x", "width": 1, "height": 1, "words": []}', b"[" * 100_000]
    lines.append(json.dumps(HOSTILE).encode())
    with gzip.open(tmp_path / "in.jsonl.gz", "wb") as stream:
        stream.write(b"\n".join(lines))
    done = layoutlm.succeed(*("predict", "--model", trained.run_dir, "--input", "in.jsonl.gz", "--output", "out.jsonl"))
    answers = read_lines((tmp_path / "out.jsonl").read_text())
    for line, answer in zip(lines[:3], answers[:3], strict=True):
        _assert_answers(json.loads(line), answer)
    assert [(answer.get("id"), answer["row"]) for answer in answers[3:7]] == [(None, 4), (None, 6), ("x", 7), (None, 8)]
    assert all(answer["error"] for answer in answers[3:7])
    hostile = answers[7]
    assert hostile["id"] == HOSTILE["id"]
    assert [word.get("text") for word in hostile["words"]] == ["below", None, "above", None, None, "\u202e9.99\u202c"]
    errors = {1: "empty_text", 3: "empty_text", 4: "box_outside_page"}
    assert {n: word["error"] for n, word in enumerate(hostile["words"]) if "error" in word} == errors
    assert len(hostile["problems"]) >= 4
    assert "4 receipts" in done.err
    assert "not read: 4 lines that are not receipts, 3 invalid words" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl.gz", "out.jsonl"]


def test_predict_in_a_pipe(trained: Trained, layoutlm: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but answers goes to stdout; labels are not needed; more receipts than one batch stay in order."""
    records = [json.loads(line) for line in trained.receipts.read_bytes().splitlines() * 3]
    for number, record in enumerate(records):
        record["id"] = f"receipt {number}"
        for word in record["words"]:
            del word["label"]
    stdin = "\n".join(map(json.dumps, records)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    answers = read_lines(layoutlm.succeed("predict", "--model", trained.run_dir).out)
    assert [answer["id"] for answer in answers] == [record["id"] for record in records]
    for record, answer in zip(records, answers, strict=True):
        _assert_answers(record, answer)
    assert any(answer["fields"] for answer in answers)


def _assert_answers(record: dict[str, Any], answer: dict[str, Any]) -> None:
    """Every word is answered in its place, and the fields are made of just the words that bear a label."""
    assert answer["id"] == record["id"]
    assert [(word["text"], word["box"]) for word in answer["words"]] == [
        (word["text"], word["box"]) for word in record["words"]
    ]
    values = [(label, value) for label, found in answer["fields"].items() for value in found]
    assert sorted(number for _, value in values for number in value["words"]) == [
        number for number, word in enumerate(answer["words"]) if word["label"] != "O"
    ]
    for label, value in values:
        words = [answer["words"][number] for number in value["words"]]
        assert {word["label"] for word in words} == {label}
        assert [word["tag"][0] for word in words] == ["B"] + ["I"] * (len(words) - 1)
        assert value["text"] == " ".join(word["text"] for word in words)
        assert 0 < value["score"] <= 1


def test_label_counts_are_those_of_the_run(trained: Trained, layoutlm: Caller, tmp_path: Path) -> None:
    """The same counts as in run.json, and what each ratio leaves."""
    done = layoutlm.succeed(
        *("label-counts", "--dataset", trained.receipts, "--merge-amounts", "--set", "validation_fraction=0.3"),
        *("--model", "tiny", "--ratio", "0", "--ratio", "0.7", "--o-entity-ratio", "100"),
    )
    shown = done.out
    sides = [trained.record.dataset_counts[side] for side in ("train", "validation")]
    for key in ("receipts", "lines", "words", "tokens", "examples"):
        assert re.search(rf"^{key} +{sides[0][key]:,} +{sides[1][key]:,}\s*$", shown, re.MULTILINE)
    for label in (*trained.record.entity_labels, "O"):
        counts = [side["words_by_label"][label] for side in sides]
        assert re.search(rf"^  {label} +{counts[0]:,} +{counts[1]:,}\s*$", shown, re.MULTILINE)
    assert "tiny" in shown.splitlines()[0]
    table = {line.split("  ")[0]: line.split() for line in shown.partition("after downsampling")[2].splitlines()}
    assert int(table["100"][1]) == sides[0]["examples"]
    assert int(table["0"][1]) <= int(table["0.7"][1]) < sides[0]["examples"]
    assert float(table["0"][4]) <= float(table["0.7"][4]) < float(table["100"][4])


def test_spot_check_can_be_repeated(trained: Trained, layoutlm: Caller, tmp_path: Path) -> None:
    """The receipt that a seed draws is the same when it is asked for by name; gold and predictions stand together."""
    common = ("spot-check", "--model", trained.run_dir, "--dataset", trained.receipts, "--precision", "fp32")
    drawn = layoutlm.succeed(*common, "--seed", "7").out
    head, _, shown = drawn.partition("\n")
    assert head.endswith("drawn by --seed 7")
    named = layoutlm.succeed(*common, "--receipt", head.split()[0]).out
    assert named.partition("\n")[2] == shown
    record = next(json.loads(line) for line in trained.receipts.read_text().splitlines() if head.split()[0] in line)
    words, labels, mismatches = (part.splitlines() for part in shown.strip().split("\n\n"))
    assert len(words) == 1 + len(record["words"])
    assert sum("<- wrong" in line for line in words) == int(mismatches[0].split()[0])
    table = {line.split()[0]: [int(cell) for cell in line.split()[1:4]] for line in labels[1:]}
    assert sum(gold for gold, _, _ in table.values()) == len(record["words"])
    assert sum(correct for _, _, correct in table.values()) == len(record["words"]) - int(mismatches[0].split()[0])


def test_report_is_written_into_the_run(trained: Trained, layoutlm: Caller, tmp_path: Path) -> None:
    """`report` on a run's folder writes report.html there and says where."""
    done = layoutlm.succeed("report", trained.run_dir, "--no-terminal")
    assert done.out.strip() == f"report: {trained.run_dir / 'report.html'}"
