"""`layoutlm-cli report` on a run of the second model family."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_trainer.cli.layoutlm import group
from receipt_trainer.contract.run_record import PaddleOcrVlRecord, VlResults
from receipt_trainer.evaluation.answers import write_predictions
from tests.evaluation.answered import document, predict


def test_a_run_of_the_second_family_has_its_own_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Made anew from run.json and the predictions: its scores on a line, curves and the document that was misread."""
    rows = [
        {"epoch": epoch, "step": step, "train_loss": 2.0, "eval_loss": 3 / epoch, "eval_accuracy": 0.5}
        | {"learning_rate": 1e-4, "elapsed_s": 2.0}
        for epoch, step in ((1.0, 5), (2.0, 10))
    ]
    record = PaddleOcrVlRecord(
        job_name="invoices", job_id="j", model="m", training_config={},
        data_config={}, status="complete",
        vl=VlResults.model_validate({
            "evaluations": rows, "best": rows[1], "final": {"eval_loss": 1.5, "eval_accuracy": 0.5},
            "scores": {"field_accuracy": 0.75, "teds": 1.0, "numeric_accuracy": None, "documents": 1, "of": 1},
        }),
    )  # fmt: skip
    record.write(tmp_path / "run.json")
    write_predictions(tmp_path / "predictions.jsonl", [predict(document(), document(tax=4), id="misread")])
    group.main(["report", str(tmp_path)], standalone_mode=False)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "invoices (complete): validation loss 1.5000, tokens right 0.5000, field accuracy 0.7500, TEDS 1.0000",
        f"report: {tmp_path / 'report.html'}",
    ]
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 3
    assert '<a href="#document-1"><bdi class="id" title="misread">misread</bdi></a>' in page
    assert "75% of the fields right on 1 validation document." in page
    assert "1 validation document: this number is little more than chance." in page
    assert "The image cannot be opened" in page


def test_predictions_that_are_none(tmp_path: Path) -> None:
    """A broken file of predictions is named on the page, which is written all the same."""
    record = PaddleOcrVlRecord(job_name="n", job_id="j", model="m", training_config={}, data_config={})
    record.write(tmp_path / "run.json")
    (tmp_path / "predictions.jsonl").write_text("{}\n")
    group.main(["report", str(tmp_path), "--no-terminal"], standalone_mode=False)
    page = (tmp_path / "report.html").read_text()
    assert "cannot be scored" in page
    assert "predictions.jsonl:1" in page
