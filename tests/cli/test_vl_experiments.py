"""`vl experiments`: real runs in processes of their own, jobs in the queue, and the ranking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from safetensors.torch import load_file, save_file

from receipt_trainer.aws import clients
from receipt_trainer.cli import vl_experiments_child
from receipt_trainer.cli.vl_experiments_child import reason
from receipt_trainer.config import load_any_job_file
from receipt_trainer.config_vl import job_config
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.jobs.rows import get_job, put_job
from receipt_trainer.local.cloud import LocalCloud
from receipt_trainer.vl.experiment_log import Result, read_log, write_log
from receipt_trainer.vl.experiments import parameters, read_experiments
from tests.cli.jobs import Caller
from tests.cli.vl_calls import refuse, succeed
from tests.vl.receipts import write_receipts
from tests.vl.tiny import make_tiny


def write(folder: Path, name: str, values: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def base_of(model: Path, data: Path) -> dict[str, Any]:
    training = {"max_steps": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "device": "cpu"}
    return {
        "model_name_or_path": str(model),
        "dataset_path": str(data),
        "training": training | {"bf16": False, "gradient_checkpointing": False, "warmup_ratio": 0.0},
        "lora": {"r": 2},
    }


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A base and one experiment; no model behind them."""
    folder = tmp_path / "lab"
    write(folder, "base", base_of(tmp_path / "paddleocr-vl", tmp_path / "data"))
    write(folder, "rank-4", {"lora": {"r": 4}})
    return folder


def test_real_runs(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base is trained and scored; a model without numbers fails at step 1 and is logged; nothing is done twice."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_receipts(tmp_path / "data", 4)
    write_receipts(tmp_path / "data", 2, seed=1, name="val")
    model, broken = make_tiny(tmp_path / "model"), make_tiny(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"] *= float("nan")
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    lab = tmp_path / "lab"
    write(lab, "base", base_of(model, tmp_path / "data"))
    write(lab, "broken", {"model_name_or_path": str(broken)})
    words = (
        "vl",
        "experiments",
        "run",
        str(lab),
        "--max-new-tokens",
        "8",
        "--test-dir",
        str(tmp_path / "data/val.jsonl"),
    )
    said = call(*words)
    assert said.code == 1
    assert "failed: broken" in said.err
    found = read_log(lab / "results")
    base = found["base"]
    assert base.status == "complete", base.notes
    assert base.eval_loss is not None
    assert base.field_accuracy == 0.0
    assert base.hours is not None
    assert base.peak_memory_gib is not None
    assert base.peak_memory_gib > 0.1
    assert (found["broken"].status, found["broken"].failed_step) == ("failed", 1)
    assert "nan" in found["broken"].notes
    times = {path: path.stat().st_mtime_ns for path in lab.rglob("*") if path.is_file()}
    assert call(*words).code == 1
    assert {path: path.stat().st_mtime_ns for path in lab.rglob("*") if path.is_file()} == times
    table = succeed(call, "vl", "experiments", "compare", lab)
    assert table.index("base") < table.index("broken")
    assert "failed at step 1" in table


def test_a_dry_run(call: Caller, lab: Path) -> None:
    """It says what each changes, and leaves nothing."""
    said = succeed(call, "vl", "experiments", "run", lab, "--dry-run")
    assert said.splitlines() == ["base: nothing: the base", "rank-4: lora.r: 2 -> 4"]
    assert not (lab / "results").exists()


def test_several_changes(call: Caller, lab: Path) -> None:
    """Refused with their names, unless they are allowed."""
    write(lab, "two", {"lora": {"r": 4, "dropout": 0.3}})
    said = refuse(call, "vl", "experiments", "run", lab, "--dry-run")
    assert "two.yaml (lora.r, lora.dropout)" in said
    assert "lora.dropout" in succeed(call, "vl", "experiments", "run", lab, "--dry-run", "--allow-several")


def test_the_terminal_reaches_the_child_once(tmp_path: Path) -> None:
    """SIGTERM to us is one SIGTERM to the child, whose orderly end is waited for."""
    child = (
        "import signal, sys, time\nn = []\n"
        "signal.signal(15, lambda *a: (n.append(1), open(sys.argv[1], 'a').write('x')))\n"
        "open(sys.argv[1], 'w').close()\nuntil = time.monotonic() + 60\n"
        "while not n and time.monotonic() < until: time.sleep(.02)\ntime.sleep(.3)"
    )
    ours = (
        "import sys\nfrom pathlib import Path\nfrom receipt_trainer.cli import vl_experiments_child as children\n"
        f"children.PROGRAM = (sys.executable, '-c', {child!r})\n"
        f"try: children.call({str(tmp_path / 'mark')!r}, log=Path({str(tmp_path / 'log')!r}))\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    process = subprocess.Popen([sys.executable, "-c", ours], stdout=subprocess.PIPE, text=True, env=os.environ)
    until = time.monotonic() + 60
    while not (tmp_path / "mark").exists() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "interrupted\n"
    assert (tmp_path / "mark").read_text() == "x"


@pytest.mark.parametrize(
    ("code", "log", "expected"),
    [
        (2, "a warning\nerror: no such model\nbye\n", "no such model"),
        (1, "Traceback\nValueError: x\n", "ValueError: x"),
        (3, "", "exit code 3"),
        (-9, "whatever", "killed by SIGKILL (out of memory?)"),
    ],
)
def test_why_a_command_failed(tmp_path: Path, code: int, log: str, expected: str) -> None:
    """Its line of the error, else its last line, else how it ended."""
    (tmp_path / "log").write_text(log)
    assert reason(code, tmp_path / "log") == expected


def test_the_program_is_ours() -> None:
    """The command that children are started with answers."""
    done = subprocess.run([*vl_experiments_child.PROGRAM, "vl", "--help"], capture_output=True, text=True, check=True)
    assert "experiments" in done.stdout


@pytest.fixture
def queue_url(aws: LocalCloud) -> str:
    name = f"{uuid4().hex[:8]}.fifo"
    url: str = clients.sqs().create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    return url


def test_experiments_as_jobs(call: Caller, lab: Path, queue_url: str, jobs_table: str, tmp_path: Path) -> None:
    """Each becomes one job that trains by the same configuration; queued again they are the same jobs."""
    words = ("vl", "experiments", "run", lab, "--queue-url", queue_url, "--jobs-table", jobs_table)
    succeed(call, *words)
    log = read_log(lab / "results")
    assert {one.status for one in log.values()} == {"submitted"}
    for experiment in read_experiments(lab):
        row = get_job(clients.dynamodb(), jobs_table, str(log[experiment.name].job_id))
        assert row["name"] == experiment.name
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(json.loads(row["spec"])))
        job = load_any_job_file(tmp_path / "job.yaml")
        trained = job_config(job.spec.model, job.training, job.data)  # type: ignore[arg-type]
        assert parameters(trained) == parameters(experiment.config)
    count = clients.sqs().get_queue_attributes(QueueUrl=queue_url, AttributeNames=["ApproximateNumberOfMessages"])
    assert count["Attributes"]["ApproximateNumberOfMessages"] == "2"
    (lab / "results" / "experiments.jsonl").unlink()
    succeed(call, *words)
    assert read_log(lab / "results") == log


def test_results_of_jobs(call: Caller, lab: Path, queue_url: str, jobs_table: str) -> None:
    """compare reads them from the table and the run's record in S3: loss, hours, memory; a failure with its step."""
    succeed(call, "vl", "experiments", "run", lab, "--queue-url", queue_url, "--jobs-table", jobs_table)
    ids = {name: str(one.job_id) for name, one in read_log(lab / "results").items()}
    said = succeed(call, "vl", "experiments", "compare", lab, "--jobs-table", jobs_table)
    assert said.count("job is PENDING") == 2
    bucket = f"b-{uuid4().hex}"
    clients.s3().create_bucket(Bucket=bucket)
    rows = [{"step": 5, "eval_loss": 0.25}, {"step": 10, "eval_loss": 0.5}]
    record = RunRecord(
        job_name="base", job_id="x", model="m", training_config={}, data_config={}, label_list=[], status="complete"
    )
    record.vl |= {"evaluations": rows, "best": rows[0], "peak_memory_gib": 3.0}
    record.timings["train_s"] = 7200.0
    clients.s3().put_object(Bucket=bucket, Key="runs/base/run.json", Body=record.model_dump_json().encode())
    ends = {
        "base": {"status": "SUCCEEDED", "attributes": {"artifacts": f"s3://{bucket}/runs/base"}},
        "rank-4": {"status": "FAILED", "attributes": {"reason": "step 7: the loss is nan on d1"}},
    }
    for name, end in ends.items():
        row = get_job(clients.dynamodb(), jobs_table, ids[name])
        put_job(
            clients.dynamodb(),
            jobs_table,
            ids[name],
            name=name,
            status=end["status"],
            created_at=row["created_at"],
            attributes=row | end["attributes"],
        )
    said = succeed(call, "vl", "experiments", "compare", lab, "--jobs-table", jobs_table, "--json")
    found = {row["name"]: row for row in json.loads(said)}
    base = found["base"]
    assert (base["status"], base["eval_loss"], base["hours"], base["peak_memory_gib"]) == ("complete", 0.25, 2.0, 3.0)
    assert (base["spikes"], base["places"]["eval_loss"]) == (1, 1)
    assert (found["rank-4"]["status"], found["rank-4"]["failed_step"]) == ("failed", 7)
    assert read_log(lab / "results")["base"].eval_loss == 0.25


def test_the_ranking(call: Caller, tmp_path: Path) -> None:
    """--by decides; places stand in brackets; what failed comes last."""
    known = {"digest": "", "changes": "x", "status": "complete"}
    rows = [
        {"name": "aa", "eval_loss": 0.5, "teds": 0.9},
        {"name": "bb", "eval_loss": 0.4, "teds": 0.8},
        {"name": "cc", "status": "failed", "failed_step": 3},
    ]
    write_log(tmp_path, [Result.model_validate(known | row) for row in rows])

    def order(*words: str) -> list[str]:
        said = succeed(call, "vl", "experiments", "compare", tmp_path, *words, "--json")
        return [row["name"] for row in json.loads(said)]

    assert order() == ["bb", "aa", "cc"]
    assert order("--by", "teds") == ["aa", "bb", "cc"]
    shown = succeed(call, "vl", "experiments", "compare", tmp_path)
    assert "0.4000 (1)" in shown
    assert "failed at step 3" in shown


def test_no_log(call: Caller, tmp_path: Path) -> None:
    """It says to run them first."""
    assert "run the experiments first" in refuse(call, "vl", "experiments", "compare", tmp_path)
