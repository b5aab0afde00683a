"""What a run says of its kept model: scores of whole answers, and a report."""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.config.job_file import PaddleOcrVlJob, load_job_file
from receipt_trainer.config.paddleocr_vl import EvaluationSection
from receipt_trainer.contract import sinks
from receipt_trainer.contract.run_record import LeftOut, PaddleOcrVlRecord, VlResults
from receipt_trainer.data.document_set import VlExample, read_examples
from receipt_trainer.evaluation.answers import read_predictions
from receipt_trainer.evaluation.documents import evaluate
from receipt_trainer.jobs.curves import read_curves
from receipt_trainer.jobs.metrics_writer import AwsRunStore
from receipt_trainer.models.paddleocr_vl.dataset import Side
from receipt_trainer.models.paddleocr_vl.family import PaddleOcrVl
from receipt_trainer.models.paddleocr_vl.generate import METRICS, Scoring, answer, summary
from receipt_trainer.models.paddleocr_vl.model import load
from receipt_trainer.reports.evaluation_pages import render_run
from receipt_trainer.training.run import RunRequest, run
from tests.fork_server import Program
from tests.models.paddleocr_vl.runs import vl_train, write_config
from tests.strikes import strike
from tests.training.runs import curve, newest_step, record_of
from tests.waiting import wait_for

WRITE = "receipt_trainer.models.paddleocr_vl.generate:_write"
EVALUATION = {"enabled": True, "documents": 3, "batch_size": 1, "max_new_tokens": 24}


def config_of(folder: Path, model: Path, receipts: Path) -> Path:
    training = {"gradient_checkpointing": True, "num_train_epochs": 1}
    return write_config(folder / "config.yaml", model, receipts, training=training, evaluation=EVALUATION)


@pytest.fixture(scope="module")
def scored(vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has scored three of its four validation receipts."""
    config = config_of(tmp_path_factory.mktemp("scored"), tiny_model, receipts)
    log = config.with_name("log")
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    return config.with_name("run")


class Told:
    """Counts what is said of a run's progress."""

    def __init__(self) -> None:
        self.count = 0

    def moved(self, doing: str, quiet_s: float) -> None:
        self.count += 1


def test_the_kept_model_is_scored(scored: Path, receipts: Path) -> None:
    """Its scores are those of its predictions, and these what the model on disk answers."""
    predictions = read_predictions(scored / "predictions.jsonl")
    examples = {example.id: example for example in read_examples(receipts / "val.jsonl")}
    asked = [examples[prediction.id] for prediction in predictions]
    assert len(asked) == 3
    told = Told()
    sinks.listen(told)
    texts = answer(load(scored, device="cpu"), asked, max_new_tokens=24)
    sinks.listen(None)
    assert told.count >= 24  # whoever watches the run sees each token
    assert [prediction.text for prediction in predictions] == texts
    assert any(texts)
    record = record_of(scored)
    expected = summary(evaluate(predictions)).model_copy(update={"of": 4, "max_new_tokens": 24})
    assert record.vl.scores == expected
    assert record.vl.scores.field_accuracy == 0.0  # 24 tokens are no whole answer
    assert set(record.vl.scores.regions) == {"header", "client", "table", "totals"}
    assert record.timings["scoring_s"] > 0
    assert record.training_config["evaluation"] == EVALUATION
    assert not (scored / ".predictions.jsonl.unfinished").exists()


def test_the_report(scored: Path) -> None:
    """Its path is said; three charts, the scores, the worst documents with images; nothing is fetched, nothing runs."""
    page = (scored / "report.html").read_text()
    assert f"report: {scored / 'report.html'}" in scored.with_name("log").read_text().replace("\n", " ")
    assert len(re.findall(r"<figcaption>(?:Loss|Score: validation tokens right|Learning rate)<", page)) == 3
    assert page.count('src="data:image/jpeg;base64,') == 3
    assert "Of its answers to 3 of 4 validation documents" in page
    assert "TEDS of the line items" in page
    assert "learning_rate" in page
    assert "transformers" in page
    assert '<span class="status complete">' in page
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)|@import|url\((?!#)|<script""", page)


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGTERM, "hold"), (signal.SIGKILL, "before")], ids=["asked", "killed"]
)
def test_scoring_goes_on_where_it_was_stopped(
    vl_cli: Program, tiny_model: Path, receipts: Path, scored: Path, tmp_path: Path, number: signal.Signals, how: str
) -> None:
    """After one of three answers: nothing is trained again, two answers are asked for, and the scores are the same."""
    config, log, run_dir = config_of(tmp_path, tiny_model, receipts), tmp_path / "log", tmp_path / "run"
    process = vl_cli.start(vl_train(config), log, strike(how, 2, WRITE, tmp_path / "paused"))
    if how == "hold":
        wait_for((tmp_path / "paused").exists)
        os.kill(process.pid, number)
        assert process.wait() == 128 + number
        assert "on request" in log.read_text()
        assert "Traceback" not in log.read_text()
    else:
        assert process.wait() == -number
    before = record_of(run_dir)
    assert before.status == "running"
    assert before.vl.scores is None
    step, losses = newest_step(run_dir), curve(run_dir)
    times = {path: path.stat().st_mtime_ns for path in run_dir.rglob("checkpoint-*/*")}
    # a third call would be an answer that was there already
    assert vl_cli.run(vl_train(config), log, strike("raise", 3, WRITE)) == 0, log.read_text()
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("checkpoint-*/*")} == times
    assert (newest_step(run_dir), curve(run_dir)) == (step, losses)
    record, whole = record_of(run_dir), record_of(scored)
    assert record.status == "complete"
    assert record.timings["tokens_per_s"] == before.timings["tokens_per_s"]
    assert record.vl.scores.model_copy(update={"seconds": whole.vl.scores.seconds}) == whole.vl.scores


def test_a_complete_run_fills_the_gaps_of_its_metrics(
    scored: Path, tiny_model: Path, receipts: Path, jobs_table: str, tmp_path: Path
) -> None:
    """Rows that a vanished worker did not write come from its checkpoint and its record, and each once."""
    run_dir = tmp_path / "run"
    shutil.copytree(scored, run_dir, ignore=shutil.ignore_patterns(".lock"))
    record = record_of(run_dir)
    job = load_job_file(config_of(tmp_path, tiny_model, receipts)).spec
    assert isinstance(job, PaddleOcrVlJob)
    family = PaddleOcrVl(job)
    counts = []
    for attempt in (2, 3):
        store = AwsRunStore(jobs_table, None, attempt)
        run(RunRequest(family, "job", run_dir, store, job_id=record.job_id, attempt=attempt))
        client: Any = clients.dynamodb()
        counts.append(client.scan(TableName=jobs_table)["Count"])
    found = read_curves(Table(clients.dynamodb(), jobs_table), record.job_id)
    assert [point.value for point in found["loss"]] == [row["loss"] for row in curve(run_dir).values()]
    for name in METRICS:
        assert [(point.step, point.value) for point in found[name]] == [
            (record.vl.best.step, getattr(record.vl.scores, name))
        ]
    assert counts[0] == counts[1]


def side(tmp_path: Path, outputs: list[str]) -> Side:
    examples = [VlExample(f"d{n}", tmp_path / "x.png", "", "", output) for n, output in enumerate(outputs)]
    lengths = np.asarray([10 + n for n in range(len(outputs))], dtype=np.int64)
    return Side(examples, lengths, lengths)


def test_which_documents_are_scored(tmp_path: Path) -> None:
    """At most so many, in the order of the file, the same in any order of it; what is in another form never."""
    true = '{"grand_total":1}'
    validation = side(tmp_path, [true] * 10 + ["[1]", "no JSON", '{"mine":1}'])
    scoring = Scoring(tmp_path, EvaluationSection(documents=4), validation, {})
    chosen = [example.id for example in scoring.documents()]
    assert len(chosen) == 4
    assert chosen == sorted(chosen)
    turned = replace(validation, examples=validation.examples[::-1])
    assert [one.id for one in replace(scoring, validation=turned).documents()] == chosen[::-1]
    assert len(replace(scoring, section=EvaluationSection(documents=0)).documents()) == 10
    assert scoring.max_new_tokens == 34  # 22 x 1.5, and one


def test_a_report_of_little_and_of_hostile_text(tmp_path: Path) -> None:
    """A run that has only begun has a page; what somebody else wrote is shown and does not act."""
    record = PaddleOcrVlRecord(
        job_name="<script>x</script>", job_id="j", model="\u202em",
        training_config={"lora": {"r": 8}, "learning_rate": 1e-3}, data_config={}, error="<img src=x>",
        vl=VlResults(left_out=[LeftOut(id="<b>", reason="long")] * 30),
    )  # fmt: skip
    page = render_run(record, [], None, tmp_path)
    assert "<script>x" not in page
    assert "<img src=x>" not in page
    assert "\u202e" not in page
    assert "&lt;b&gt;" in page
    assert "and 10 more in run.json" in page
    assert "nothing is scored" in page
