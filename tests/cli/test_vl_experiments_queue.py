"""`vl experiments` through the queue: jobs, and what came of them."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.config.job_file import PaddleOcrVlJob, read_job
from receipt_trainer.contract.run_record import PaddleOcrVlRecord, VlResults
from receipt_trainer.jobs.rows import get_job
from receipt_trainer.sweep.experiment_log import read_log
from receipt_trainer.sweep.experiments import parameters, read_experiments
from tests.cli.jobs import Caller
from tests.cli.vl.vl_lab import write, write_lab
from tests.job_rows import put_job


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    return write_lab(tmp_path)


def messages(queue_url: str) -> str:
    """How many there are."""
    count = clients.sqs().get_queue_attributes(QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"])
    return count["Attributes"]["ApproximateNumberOfMessages"]


def test_experiments_as_jobs(call: Caller, lab: Path, queue_url: str, jobs_table: str, tmp_path: Path) -> None:
    """Each becomes one job that trains by the same configuration; queued again they are the same jobs."""
    words = ("vl", "experiments", "run", lab, "--queue-url", queue_url, "--jobs-table", jobs_table)
    call.succeed(*words)
    log = read_log(lab / "results")
    assert {one.status for one in log.values()} == {"submitted"}
    for experiment in read_experiments(lab):
        row = get_job(Table(clients.dynamodb(), jobs_table), str(log[experiment.name].job_id))
        assert row["name"] == experiment.name
        trained = read_job(json.loads(row["spec"]), "test")
        assert isinstance(trained, PaddleOcrVlJob)
        assert parameters(trained) == parameters(experiment.job)
    assert messages(queue_url) == "2"
    (lab / "results" / "experiments.jsonl").unlink()
    call.succeed(*words)
    assert read_log(lab / "results") == log
    write(lab, "rank-8", {"lora": {"r": 8}})
    call.succeed(*words)
    grown = read_log(lab / "results")
    assert {name: grown[name] for name in log} == log
    assert grown.keys() - log.keys() == {"rank-8"}
    assert messages(queue_url) == "3"


def test_queued_experiments_are_a_sweep(call: Caller, lab: Path, queue_url: str, jobs_table: str) -> None:
    """It is listed, and its trials are shown by the names of their files, as those of every other sweep."""
    call.succeed("vl", "experiments", "run", lab, "--queue-url", queue_url, "--jobs-table", jobs_table)
    (row,) = call("sweep-status", "--jobs-table", jobs_table, "--json").json
    said = call("sweep-status", row["name"], "--jobs-table", jobs_table, "--json").json
    assert (said["method"], said["objective"]) == ("folder", "eval_loss")
    assert [trial["params"] for trial in said["trials"]] == [{"experiment": "base"}, {"experiment": "rank-4"}]
    shown = call("sweep-status", row["name"], "--jobs-table", jobs_table)
    assert shown.out.splitlines()[0].split()[:3] == ["trial", "experiment", "state"]
    assert call("sweep", "--resume", row["name"], "--jobs-table", jobs_table).code == 0
    assert messages(queue_url) == "2"


def test_results_of_jobs(call: Caller, lab: Path, queue_url: str, jobs_table: str) -> None:
    """compare reads them from the table and the run's record in S3: loss, scores, hours, memory; a failed step."""
    call.succeed("vl", "experiments", "run", lab, "--queue-url", queue_url, "--jobs-table", jobs_table)
    ids = {name: str(one.job_id) for name, one in read_log(lab / "results").items()}
    said = call.succeed("vl", "experiments", "compare", lab, "--jobs-table", jobs_table).out
    assert said.count("job is PENDING") == 2
    bucket = f"b-{uuid4().hex}"
    clients.s3().create_bucket(Bucket=bucket)
    rows = [{"epoch": 1, "step": 5, "eval_loss": 0.25}, {"epoch": 2, "step": 10, "eval_loss": 0.5}]
    record = PaddleOcrVlRecord(
        job_name="base", job_id="x", model="m", training_config={}, data_config={}, status="complete"
    )
    scores = {"field_accuracy": 0.75, "present_accuracy": 0.625, "teds": 0.5, "parse_share": 1.0}
    said = {"evaluations": rows, "best": rows[0], "peak_memory_gib": 3.0, "scores": scores}
    record.vl = VlResults.model_validate(said)
    record.timings["train_s"] = 7200.0
    clients.s3().put_object(Bucket=bucket, Key="runs/base/run.json", Body=record.model_dump_json().encode())
    ends = {
        "base": {"status": "SUCCEEDED", "artifacts": f"s3://{bucket}/runs/base"},
        "rank-4": {"status": "FAILED", "reason": "step 7: the loss is nan on d1"},
    }
    for name, end in ends.items():
        row = get_job(Table(clients.dynamodb(), jobs_table), ids[name])
        put_job(jobs_table, **row | {"attempt": 1} | end)
    said = call.succeed("vl", "experiments", "compare", lab, "--jobs-table", jobs_table, "--json").out
    found = {row["name"]: row for row in json.loads(said)}
    base = found["base"]
    assert (base["status"], base["eval_loss"], base["hours"], base["peak_memory_gib"]) == ("complete", 0.25, 2.0, 3.0)
    assert base["present_accuracy"] == 0.625
    assert (base["field_accuracy"], base["teds"], base["places"]["field_accuracy"]) == (0.75, 0.5, 1)
    assert (base["spikes"], base["places"]["eval_loss"]) == (1, 1)
    assert (found["rank-4"]["status"], found["rank-4"]["failed_step"]) == ("failed", 7)
    assert read_log(lab / "results")["base"].eval_loss == 0.25
