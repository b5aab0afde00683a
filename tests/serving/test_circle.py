"""From a model over corrections to a better model: the walk of docs/reading.md, with a person's part done over HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from receipt_trainer.contract.names import ENV_ARTIFACTS_BUCKET, OUTSIDE
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.read import read_labelled
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.data.sources.record import to_line, to_record
from receipt_trainer.data.synthetic import generate
from receipt_trainer.serving.app import create_app
from receipt_trainer.serving.corrections import Corrections, FileCorrections
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.table_corrections import TableCorrections
from tests.fork_server import Program
from tests.serving.browser import PATIENT
from tests.test_readme import ROOT, commands

QUICK = ("--model", "tiny", "--epochs", 3, "--batch-size", 8, "--lr", 3e-3, "--precision", "fp32", "--device", "cpu")
LINES = ("--no-progress", "--set", "examples=line")


def walk() -> dict[str, list[str]]:
    """The five commands by what they do."""
    section = (ROOT / "docs" / "reading.md").read_text().partition("## From corrections to a better model")[2]
    found = commands(section.partition("\n## ")[0])
    assert len(found) == 5
    return dict(zip(("import", "train", "serve", "again", "evaluate"), found, strict=True))


def write(path: Path, receipts: Sequence[Receipt]) -> None:
    path.write_text("".join(map(to_line, receipts)), encoding="utf-8")


def words_alone(receipt: Receipt) -> dict[str, Any]:
    """A word file: what is printed, without what it means."""
    record = to_record(receipt)
    words = [{name: word[name] for name in ("text", "box", "line")} for word in record["words"]]
    return {"id": receipt.name, "width": record["width"], "height": record["height"], "words": words}


def correct(client: TestClient, receipt: Receipt) -> int:
    """Read a receipt and save it as the page does, with each wrong word put right; how many were wrong."""
    answer = client.post("/v1/receipts:read", json=words_alone(receipt)).raise_for_status().json()
    truth = [word.valid_label() or OUTSIDE for word in receipt.words]
    words, num_wrong = [], 0
    for word, label in zip(answer["words"], truth, strict=True):
        is_wrong = word["label"] != label
        num_wrong += is_wrong
        kept = {name: word[name] for name in ("text", "box", "page", "line")}
        words.append(kept | {"label": label, "proposed": word["label"], "by_person": is_wrong})
    pages = [{name: page[name] for name in ("page", "width", "height")} for page in answer["pages"]]
    model = {name: answer["model"][name] for name in ("name", "version")}
    body = {"pages": pages, "words": words, "confirmed": True, "model": model, "by": "ann", "review_key": None}
    saved = client.post(f"/v1/receipts/{answer['id']}:correct", json=body).raise_for_status().json()
    assert (saved["num_words"], saved["confirmed"]) == (len(receipt.words), True)
    return num_wrong


def test_corrections_make_the_next_model_better(
    receipts_table: str, layoutlm_cli: Program, vl_cli: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained on 30 receipts, the model reads 20 word files; its mistakes are put right over HTTP, and what is trained
    again from the table scores higher on receipts that neither has seen. A file of corrections teaches the same."""
    first, corrected, others = (list(generate(count, seed)) for count, seed in ((30, 1), (20, 2), (40, 3)))
    write(tmp_path / "first.jsonl", first)
    write(tmp_path / "others.jsonl", others)
    steps = walk()
    monkeypatch.delenv(ENV_ARTIFACTS_BUCKET, raising=False)  # runs stay where they are

    def run(words: list[str], *more: object) -> bytes:
        program = {"layoutlm-cli": layoutlm_cli, "receipt-trainer": vl_cli}[words[0]]
        text = " ".join(words[1:]).replace("--stack dev", f"--dynamo-table {receipts_table}")
        given = [*text.replace("/tmp/receipt_layoutlm", str(tmp_path)).split(), *map(str, more)]  # noqa: S108
        done = program.complete(given, os.environ, tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def f1(name: str) -> float:
        path = tmp_path / f"{name}.json"
        run([word.replace("second", name) for word in steps["evaluate"]], "--output", path)
        return float(json.loads(path.read_text())["overall"]["f1"])

    run(steps["import"])
    run(steps["train"], "--output-dir", tmp_path / "first", *QUICK, *LINES)
    file = tmp_path / "corrections.jsonl"
    places: list[Corrections] = [TableCorrections(receipts_table), FileCorrections(file)]
    holder = Holder.fixed(tmp_path / "first")
    for corrections in places:
        with TestClient(
            create_app(holder, corrections=corrections, limits=PATIENT), base_url="http://127.0.0.1"
        ) as client:
            assert sum(correct(client, receipt) for receipt in corrected) > 100
    run(steps["again"], "--output-dir", tmp_path / "second", *QUICK, *LINES, "--set", "export_package=false")
    before, after = f1("first"), f1("second")
    assert after > before + 0.03, (before, after)
    in_table = {one.name: one.taught_labels() for one in read_labelled(receipts_table, ProblemLog())}
    in_files = {one.name: one.taught_labels() for one in load_receipts(f"{tmp_path}/first.jsonl,{file}", ProblemLog())}
    assert in_table == in_files
    assert len(in_table) == 50
