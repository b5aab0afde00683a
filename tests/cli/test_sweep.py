"""`receipt-trainer sweep` and `sweep-status`, as a user gives them."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.sweep import controller
from tests.cli.jobs import Caller
from tests.cli.test_stack import stand
from tests.queues import new_queue
from tests.sweep.world import World
from tests.waiting import TIMEOUT_S

DOCUMENTED = (
    *("--learning-rates", "5e-5,3e-5,1e-5", "--batch-sizes", "4,8,16", "--epochs", "3,5,10"),
    *("--warmup-ratios", "0.1,0.2", "--max-samples", "1000", "--monitor", "--monitor-timeout", "3600"),
)
JOB = """
family: layoutlm
job_name: base
model: tiny
tags: {owner: ana}
training_config: {learning_rate: 1e-4, num_epochs: 2}
"""


@pytest.fixture
def world(jobs_table: str) -> World:
    """Workers that score by the learning rate and the seed."""
    return World(jobs_table, lambda training: 0.9 - training["learning_rate"] * 100 + training["seed"] / 1000)


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(JOB)
    return path


@pytest.fixture
def outputs(aws: LocalCloud, jobs_table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The saved outputs of a stack with both pools and a default of three epochs."""
    urls = {pool: {priority: new_queue() for priority in ("high", "normal")} for pool in ("gpu", "cpu")}
    return stand(tmp_path, monkeypatch, jobs_table, urls, {"num_epochs": 3})


def num_rows(table: str) -> int:
    return clients.dynamodb().scan(TableName=table)["Count"]


def test_the_documented_dry_run(call: Caller, outputs: Path, jobs_table: str) -> None:
    """54 trials with the stack's defaults in their base, its pool and its queue; nothing is stored or queued."""
    said = call("sweep", "--outputs", str(outputs), *DOCUMENTED, "--dry-run", "--json")
    assert (said.json["num_trials"], said.json["num_jobs"], said.json["pool"]) == (54, 54, "gpu")
    assert said.json["queue_url"].endswith(".fifo")
    assert said.json["base"]["data_config"]["max_samples"] == 1000
    first = {"learning_rate": 5e-5, "batch_size": 4, "num_epochs": 3.0, "warmup_ratio": 0.1}
    assert said.json["trials"][0] == first
    assert len({str(trial) for trial in said.json["trials"]}) == 54
    shown = call("sweep", "--outputs", str(outputs), *DOCUMENTED, "--dry-run")
    assert len(shown.out.splitlines()) == 55
    assert "54 trials, 54 jobs, ranked by F1; pool gpu" in shown.err
    assert num_rows(jobs_table) == 0


def test_the_documented_module(jobs_table: str) -> None:
    """`python -m receipt_trainer.scripts.hyperparameter_sweep` is the same command; a dry run needs no queue."""
    command = [sys.executable, "-m", "receipt_trainer.scripts.hyperparameter_sweep", *DOCUMENTED, "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert "54 trials" in done.stderr
    assert "queue not known" in done.stderr


def test_a_grid_and_its_table(call: Caller, job_file: Path, world: World) -> None:
    """Queued once however often it is run; the table ranks by mean F1 and the verdict follows from the seeds."""
    words = ("sweep", "--config", str(job_file), "--queue-url", world.queue_url, "--name", "g", "--seeds", "0,1,2")
    first = call(*words, "--learning-rates", "5e-5,1e-4")
    assert first.code == 0, first.err
    assert "2 of 2 trials are queued" in first.err
    assert "receipt-trainer sweep-status g" in first.err
    assert call(*words, "--learning-rates", "5e-5,1e-4", "--max-hours", "9").code == 0
    assert len(world.work()) == 6
    jobs = world.all_jobs()
    assert {job.spec["training_config"]["num_epochs"] for job in jobs} == {2.0}
    assert all(job.tags["owner"] == "ana" and job.tags["sweep"] == "g" for job in jobs)
    said = call("sweep-status", "g", "--json").json
    assert [(row["trial"], row["state"]) for row in said["trials"]] == [(0, "COMPLETE"), (1, "COMPLETE")]
    assert said["trials"][0]["score"] == pytest.approx(0.896)
    assert said["trials"][0]["score_sd"] == pytest.approx(0.001)
    assert (said["max_hours"], said["max_usd"]) == (9, None)
    verdict = said["verdict"]
    assert (verdict["best"], verdict["is_better"], verdict["num_trials"]) == (0, True, 2)
    base = verdict["comparisons"][1]
    assert (base["trial"], base["role"], base["difference"]) == (1, "base", pytest.approx(0.005))
    shown = call("sweep-status", "g")
    assert "all trials together stop at max_hours 9" in shown.out
    lines = shown.out.splitlines()
    assert lines[0].split() == ["trial", "learning_rate", "state", "F1", "±", "sd", "seeds", "time", "cost"]
    assert lines[1].split()[:6] == ["0", "5e-05", "COMPLETE", "0.896", "0.0010", "3/3"]
    assert "It is better than the runner-up (trial 1)" in shown.out
    assert call("sweep-status").out.splitlines()[1].startswith("g ")


def test_another_definition_is_refused(call: Caller, job_file: Path, world: World) -> None:
    """The name is taken: one line says what differs; --resume takes the sweep as it is, and no definition beside."""
    words = ("sweep", "--config", str(job_file), "--queue-url", world.queue_url, "--name", "g")
    assert call(*words, "--learning-rates", "5e-5,1e-4").code == 0
    refused = call(*words, "--learning-rates", "5e-5,2e-4")
    assert refused.code == 2
    assert "axes.learning_rate is learning_rate 5e-05, 0.0001 there and learning_rate 5e-05, 0.0002 here" in refused.err
    assert refused.err.count("\n") == 1
    assert call("sweep", "--resume", "g").code == 0
    beside = call("sweep", "--resume", "g", "--seeds", "1")
    assert (beside.code, "leave out --seeds" in beside.err) == (2, True)
    missing = call("sweep", "--resume", "nope")
    assert (missing.code, "there is no sweep 'nope'" in missing.err) == (2, True)
    assert len(world.work()) == 2


def test_the_same_flags_are_the_same_sweep(call: Caller, job_file: Path, world: World) -> None:
    """Without --name the name follows from what is asked."""
    words = ("sweep", "--config", str(job_file), "--queue-url", world.queue_url, "--epochs", "1,2", "--json")
    first, second = call(*words).json, call(*words).json
    assert first["name"] == second["name"]
    assert first["name"].startswith("sweep-")
    assert len(world.work()) == 2


def test_monitoring_until_the_end(call: Caller, job_file: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """TPE goes on as results come in; each change is a line, and at the end come table and verdict."""
    monkeypatch.setattr(controller, "follow", partial(controller.follow, sleep=lambda seconds: world.work()))
    words = ("sweep", "--config", str(job_file), "--queue-url", world.queue_url, "--name", "t", "--search", "tpe")
    said = call(*words, "--trials", "3", "--concurrency", "2", "--learning-rates", "1e-5:1e-4", "--monitor")
    assert said.code == 0, said.err
    assert said.err.splitlines()[0] == "0 of 3 trials have ended, 2 are queued or running"
    assert said.err.splitlines()[-1].startswith("3 of 3 trials have ended, 0 are queued or running; best F1 0.9")
    assert "has the highest mean F1 of 3" in said.out
    assert "--seeds 0,1,2" in said.out


def test_monitoring_has_an_end(call: Caller, job_file: Path, world: World) -> None:
    """After its time: exit code 1, and what becomes of the sweep."""
    words = ("sweep", "--config", str(job_file), "--queue-url", world.queue_url, "--monitor", "--monitor-timeout", "0")
    plan = call(*words, "--name", "g", "--epochs", "1,2")
    assert plan.code == 1
    assert "continues in the cloud" in plan.err
    search = call(*words, "--name", "t", "--learning-rates", "1e-5:1e-4", "--search", "tpe", "--trials", "9")
    assert search.code == 1
    assert "the trials that depend on them wait for: receipt-trainer sweep --resume t --monitor" in search.err


def test_ctrl_c(call: Caller, job_file: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how to go on, and so it does."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    words = ("sweep", "--config", str(job_file), "--queue-url", world.queue_url, "--name", "g", "--epochs", "1,2")
    with monkeypatch.context() as patch:
        patch.setattr(controller, "follow", partial(controller.follow, sleep=interrupt))
        stopped = call(*words, "--monitor")
    assert stopped.code == 130
    assert "nothing is lost. Continue with: receipt-trainer sweep --resume g --monitor" in stopped.err
    assert len(world.work()) == 2
    assert call("sweep", "--resume", "g", "--monitor").code == 0


@pytest.mark.parametrize("package", ["optuna", "scipy"])
def test_without_the_extra(
    call: Caller, job_file: Path, world: World, monkeypatch: pytest.MonkeyPatch, jobs_table: str, package: str
) -> None:
    """A sweep says what to install and stores nothing; a dry run and the list of sweeps do without it."""
    words = ("sweep", "--config", str(job_file), "--queue-url", world.queue_url, "--epochs", "1,2")
    assert call(*words, "--name", "g").code == 0
    before = num_rows(jobs_table)
    monkeypatch.setitem(sys.modules, package, None)
    for refused in (call(*words), call("sweep-status", "g")):
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "pip install './trainer[sweep]'" in refused.err
    assert num_rows(jobs_table) == before
    assert call(*words, "--dry-run").code == 0
    assert call("sweep-status").out.splitlines()[1].startswith("g ")


WRONG = [
    ((), "nothing to vary"),
    (("--set", "learning_rat=1"), "--set: unknown key 'learning_rat'"),
    (("--set", "learning_rate"), "must be KEY=VALUE"),
    (("--learning-rates", "5"), "--learning-rates 5: learning_rate: "),
    (("--epochs", "1,2", "--set", "num_epochs=3"), "num_epochs is varied twice"),
    (("--epochs", "1,2", "--trials", "3"), "--trials counts what --search"),
    (("--epochs", "1,2", "--search", "tpe"), "--search tpe needs --trials N"),
    (("--epochs", "1,2", "--search", "tpe", "--trials", "3", "--plan", "grid"), "two ways"),
    (("--epochs", "1:2"), "a range needs --search"),
    (("--epochs", "1,2", "--seeds", "1,1"), "--seeds 1,1: must be"),
    (("--epochs", "1,2", "--name", "../x"), "--name '../x': use 1 to 40"),
    (("--max-samples", "5", "--set", "max_samples=5,6"), "give one of them"),
    (("--batch-sizes", "4,8", "--scale-lr", "sqrt"), "--scale-lr sqrt needs batch_size"),
    (("--set", "max_length=64,512"), "trial 0 (max_length 64): "),
]


def test_a_wrong_flag(call: Caller, job_file: Path, world: World, jobs_table: str) -> None:
    """One line names it; nothing is stored."""
    for flags, says in WRONG:
        said = call("sweep", "--config", str(job_file), "--queue-url", world.queue_url, *flags)
        assert (said.code, said.err.count("\n")) == (2, 1), (flags, said.err)
        assert says in said.err, flags
    assert num_rows(jobs_table) == 0


VL_JOB = """
family: paddleocr-vl
job_name: base
model: PaddlePaddle/PaddleOCR-VL
training_config: {learning_rate: 2e-5, evaluation: {enabled: EVALUATION}}
data_config: {dataset_path: /data}
"""


@pytest.fixture
def vl_file(tmp_path: Path) -> Path:
    path = tmp_path / "vl.yaml"
    path.write_text(VL_JOB.replace("EVALUATION", "true"))
    return path


def test_the_second_family(call: Caller, vl_file: Path) -> None:
    """Flags stand for its own fields, dots lead into sections, and the lowest loss is looked for."""
    words = ("sweep", "--config", str(vl_file), "--batch-sizes", "8,16", "--epochs", "3", "--warmup-ratios", "0.1")
    words += ("--learning-rates", "2e-5", "--scale-lr", "linear", "--set", "lora.r=8,16", "--dry-run")
    plan = call(*words, "--json").json
    assert (plan["num_trials"], plan["objective"]) == (4, "eval_loss")
    keys = ["learning_rate", "per_device_train_batch_size", "num_train_epochs", "warmup_ratio", "lora.r"]
    assert list(plan["trials"][0]) == keys
    shown = call(*words)
    rows = [line.split() for line in shown.out.splitlines()]
    assert rows[0] == ["trial", "learning_rate", "batch_size", "num_epochs", "warmup_ratio", "lora.r"]
    assert [row[1] for row in rows[1:]] == ["2e-05", "2e-05", "4e-05", "4e-05"]
    assert "ranked by eval loss" in shown.err
    assert call(*words, "--objective", "teds", "--json").json["objective"] == "teds"


def test_the_example_job(call: Caller) -> None:
    """The job file of the second family that comes with the trainer can be the base."""
    example = Path(__file__).parents[2] / "trainer/examples/paddleocr_vl_job.yaml"
    plan = call("sweep", "--config", str(example), "--set", "lora.r=8,16,32", "--dry-run", "--json").json
    assert [trial["lora.r"] for trial in plan["trials"]] == [8, 16, 32]
    assert plan["base"]["training_config"]["lora"]["lora_alpha"] == 32


def test_wrong_flags_of_the_second_family(call: Caller, vl_file: Path) -> None:
    """Each is refused in a line that says what there is instead."""
    wrong = [
        (("--set", "lora.rank=8"), "unknown key 'lora.rank' (known: lora.dropout, "),
        (("--set", "lora.r=8", "--objective", "f1"), "have eval_loss, field_accuracy, teds"),
        (("--set", "lora.r=8", "--objective", "teds", "--prune"), "teds is known only at the end"),
        (("--set", "lora.r=8", "--max-samples", "5"), "--max-samples: jobs of this family train on all documents"),
        (("--set", "use_quantization=true", "--set", "lora.enabled=false"), "needs lora.enabled"),
    ]
    for flags, says in wrong:
        said = call("sweep", "--config", str(vl_file), *flags, "--dry-run")
        assert (said.code, said.err.count("\n")) == (2, 1), (flags, said.err)
        assert says in said.err, flags
    vl_file.write_text(VL_JOB.replace("EVALUATION", "false"))
    unknown = call("sweep", "--config", str(vl_file), "--set", "lora.r=8,9", "--objective", "teds", "--dry-run")
    assert (unknown.code, "evaluation.enabled is false" in unknown.err) == (2, True)


def test_scaled_rates_are_shown_as_trained(call: Caller, job_file: Path) -> None:
    """The plan's table has the learning rate after scaling."""
    job_file.write_text(JOB.replace("num_epochs: 2", "batch_size: 8"))
    words = ("sweep", "--config", str(job_file), "--learning-rates", "1e-4", "--batch-sizes", "8,32")
    said = call(*words, "--scale-lr", "linear", "--dry-run")
    assert [line.split() for line in said.out.splitlines()[1:]] == [["0", "0.0001", "8"], ["1", "0.0004", "32"]]
