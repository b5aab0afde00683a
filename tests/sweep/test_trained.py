from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.config.job_file import read_job
from receipt_trainer.contract.names import ENV_AWS_CLI
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.sweep.collect import Observer
from receipt_trainer.sweep.controller import Driver
from receipt_trainer.sweep.definition import OBJECTIVES, Definition, base_of
from receipt_trainer.sweep.ranking import ranked, verdict_of
from receipt_trainer.sweep.store import SweepTable
from tests.sweep.world import axis
from tests.worker.bench import TRAINING, Bench

AWS_CLI = Path(sys.executable).with_name("aws")


@pytest.mark.skipif(not AWS_CLI.is_file(), reason="no aws CLI beside this Python")
def test_a_sweep_that_is_really_trained(
    bench: Bench, receipts_file: Path, aws: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trials of two seeds, by a worker: losses, curves, labels and the verdict come from what the runs left."""
    monkeypatch.setenv(ENV_AWS_CLI, str(AWS_CLI))
    training: dict[str, Any] = TRAINING | {"num_epochs": 2}
    data = {"dataset_name": str(receipts_file), "examples": "line", "validation_fraction": 0.4}
    spec = read_job({"job_name": "x", "model": "tiny", "training_config": training, "data_config": data}, "test")
    rates = axis("learning_rate", "3e-3,1e-6")
    of = Definition(
        name="real",
        base=base_of(spec, None),
        axes=(rates,),
        seeds=(0, 1),
        queue_url=bench.queue_url,
        objective="eval_loss",  # never alike, as the F1 of so short a training may be
    )
    table = bench.settings.jobs_table
    sweeps = SweepTable(bench.dynamodb, table)
    sweeps.define(of)
    driver = Driver(of, sweeps, bench.table, bench.queue, Observer(bench.dynamodb, table, clients.s3, of.goal))
    driver.advance()
    bench.worker(artifacts_bucket=aws.bucket).run()
    trials = driver.advance()
    assert driver.is_done(trials)
    assert bench.num_messages() == 0
    means: dict[int, float] = {}
    for trial in trials:
        losses = []
        for run in trial.runs:
            record = json.loads((bench.run_dir(run.job_id) / "run.json").read_text())
            assert record["training_config"]["learning_rate"] == trial.params["learning_rate"]
            assert record["training_config"]["seed"] == run.seed
            assert run.curve == tuple(epoch["eval_loss"] for epoch in record["epoch_metrics"])
            assert run.per_label == {label: score["f1"] for label, score in record["per_label"].items()}
            assert run.seconds > 0
            losses.append(min(run.curve))
        assert trial.scores == tuple(losses)
        means[trial.number] = fmean(losses)
    best = min(means, key=lambda number: means[number])
    assert [result.number for result in ranked(trials, OBJECTIVES["eval_loss"])] == [best, 1 - best]
    verdict = verdict_of(of, trials)
    assert (verdict.best, verdict.num_trials) == (best, 2)
    assert verdict.comparisons[0].difference == pytest.approx(means[best] - means[1 - best])
    assert f"the lowest mean eval loss of 2 (lower is better): {means[best]:.4f} over 2 seeds." in verdict.text
