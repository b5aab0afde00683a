from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws.dynamo import Table
from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.config.job_file import read_job
from receipt_trainer.jobs.estimate import read_history
from receipt_trainer.jobs.submit import new_job, submit
from receipt_trainer.worker.interruptions import Interruption
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.tiny import make_tiny
from tests.strikes import VL_LOSS, expect, forget
from tests.training.runs import curve, record_of
from tests.waiting import wait_for
from tests.worker.bench import Bench, Running

STEPS = [1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model, and 12 receipts to train on and 4 to validate on."""
    folder = tmp_path_factory.mktemp("vl")
    data = folder / "data"
    write_receipts(data, 12)
    write_receipts(data, 4, seed=1, name="val")
    return make_tiny(folder / "model"), data


def queue(bench: Bench, inputs: tuple[Path, Path], **training: Any) -> str:
    """Submit a job of six steps, as `submit-job` does; returns its id."""
    values: dict[str, Any] = {
        "num_train_epochs": 3,
        "batch_size": 3,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "bf16": False,
    }
    values |= {"device": "cpu", "gradient_checkpointing": False, "lora": {"r": 4}}
    values |= {"evaluation": {"documents": 2, "max_new_tokens": 8}} | training
    data = {"dataset_path": str(inputs[1]), "augmentation": {"enabled": True}}
    said = {"job_name": "vl", "model": str(inputs[0]), "training_config": values, "data_config": data}
    spec = read_job({"family": "paddleocr-vl", **said}, "test")
    job = new_job(spec, bench.queue_url, defaults={"num_epochs": 50.0})
    return submit(job, bench.table, bench.queue).job_id


def test_a_job_of_the_second_family_runs_to_its_end(
    bench: Bench, inputs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same queue, worker and tables: SUCCEEDED, curves, scores, record and adapter; commands on jobs show it."""
    job_id = queue(bench, inputs)
    bench.worker().run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt, job.num_failures) == ("SUCCEEDED", 1, 0), job.reason
    assert bench.steps(job_id) == STEPS
    assert bench.steps(job_id, "eval_loss") == [2, 4, 6]
    record = record_of(bench.run_dir(job_id))
    assert (record.status, record.family, record.job_id) == ("complete", "paddleocr-vl", job_id)
    assert record.training_config["num_train_epochs"] == 3
    assert (bench.run_dir(job_id) / "model" / "adapter_model.safetensors").is_file()
    best = record.vl.best.step
    for name in ("field_accuracy", "teds", "parse_share"):
        assert bench.steps(job_id, name) == [best]
    assert record.vl.scores.documents == 2
    (run,) = read_history(Table(bench.dynamodb, bench.settings.jobs_table))
    assert (run.measured.steps, run.measured.epochs) == (6, 3.0)
    assert run.measured.tokens == record.dataset_counts["train"]["tokens"]
    monkeypatch.setenv("JOBS_TABLE_NAME", bench.settings.jobs_table)
    for words in (["job-details", job_id], ["watch", job_id, "--once"], ["job-status", job_id]):
        capsys.readouterr()
        group.main(words, standalone_mode=False)
        said = capsys.readouterr().out
        assert "SUCCEEDED" in said
        assert words[0] != "job-details" or "field_accuracy" in said
    assert bench.num_messages() == 0


def test_it_goes_on_where_it_was_interrupted(
    bench: Bench, inputs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM in the middle of step 3: saved there, and another worker's curve is that of an undisturbed job."""
    whole = queue(bench, inputs)
    bench.worker().run()
    held = tmp_path / "held"
    expect(monkeypatch, "hold", 8, VL_LOSS, held)
    job_id = queue(bench, inputs)
    first = Running(bench.worker("first"))
    wait_for(held.exists)
    first.worker.interrupt(Interruption("signal", "SIGTERM"))
    first.end()
    assert bench.table.get(job_id).status == "INTERRUPTED"
    assert bench.attempts(job_id)[0]["checkpoint_step"] == 3
    forget(monkeypatch, "hold")
    bench.worker("second").run()
    assert bench.table.get(job_id).status == "SUCCEEDED"
    assert bench.attempts(job_id)[1]["start_step"] == 3
    assert bench.steps(job_id) == STEPS
    mine, others = curve(bench.run_dir(job_id)), curve(bench.run_dir(whole))
    assert list(mine) == STEPS
    for step, values in others.items():
        assert mine[step] == pytest.approx(values, abs=1e-6), f"step {step}"


def test_a_mistake_in_the_data_is_the_jobs_reason(bench: Bench, inputs: tuple[Path, Path], tmp_path: Path) -> None:
    """No data set there: FAILED at once with the line that the user needs."""
    job_id = queue(bench, (inputs[0], tmp_path / "nowhere"))
    bench.worker().run()
    job = bench.table.get(job_id)
    assert (job.status, job.attempt) == ("FAILED", 1)
    assert "nowhere" in (job.reason or "")
