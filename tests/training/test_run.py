from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from receipt_trainer.config.layoutlm import FEW_STEPS, SIMULATED_MERCHANTS, DataConfig, TrainingConfig
from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.contract.sinks import FolderOnly, NoMetrics
from receipt_trainer.data.prepare import Prepared
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.models.layoutlm.family import LayoutLM, LayoutLMTask
from receipt_trainer.models.layoutlm.model import resolve
from receipt_trainer.training import checkpoints, folder, hardware
from receipt_trainer.training.run import RunRequest, train
from tests.fork_server import Program
from tests.strikes import LOSS, strike
from tests.training.runs import FEW, curve, epochs, newest_step, predictions, record_of, state_of, train_command
from tests.training.test_resume import same
from tests.waiting import wait_for


@pytest.fixture(scope="session")
def finished(layoutlm_cli: Program, receipts_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short complete run."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    log = run_dir.with_suffix(".log")
    assert layoutlm_cli.run(train_command(receipts_file, run_dir, *FEW), log) == 0, log.read_text()
    return run_dir


class ListSink(NoMetrics):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.metrics: list[tuple[str, int, float]] = []
        self.lines: list[str] = []

    def metric(self, name: str, value: float, *, step: int, epoch: float) -> None:
        self.metrics.append((name, step, value))

    def log(self, level: str, message: str) -> None:
        self.lines.append(message)

    def close(self) -> None:
        raise AssertionError("whoever made the sink closes it")


def trained(prepared: Prepared, tokenizer: Any, run_dir: Path, sink: Any = None, **training: Any) -> LayoutLMRecord:
    """Train in this process."""
    values: dict[str, Any] = {
        "num_epochs": 1,
        "batch_size": 20,
        "learning_rate": 3e-3,
        "precision": "fp32",
        "device": "cpu",
        "logging_steps": 1,
        "export_package": False,
        **training,
    }
    config, data = TrainingConfig(**values), DataConfig()
    family = LayoutLM("tiny", config, data)
    task = LayoutLMTask(resolve("tiny"), config, data, prepared, tokenizer)
    request = RunRequest(family, "job", run_dir, FolderOnly())
    run_dir.mkdir(exist_ok=True)
    return train(request, "id", task, family.machine(), sink=sink or ListSink(), console=Console(quiet=True))


@pytest.fixture(scope="module")
def plain(prepared: Callable[..., Prepared], tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch with no options, trained in this process."""
    run_dir = tmp_path_factory.mktemp("plain")
    trained(prepared(), tokenizer, run_dir)
    return run_dir


def losses(run_dir: Path) -> list[float]:
    return [values["loss"] for values in curve(run_dir).values()]


def test_the_record_of_a_complete_run_says_everything(finished: Path, receipts_file: Path) -> None:
    """run.json holds what the design lists: configurations, labels, counts, split, scores, best, timings, versions."""
    record = record_of(finished)
    assert (record.status, record.error, record.job_name, record.model) == ("complete", None, "job", "tiny")
    assert len(record.job_id) == 36
    assert record.training_config["num_epochs"] == 2
    assert TrainingConfig(**record.training_config).batch_size == 20
    assert DataConfig(**record.data_config).dataset_name == str(receipts_file)
    assert record.label_list[0] == "O"
    assert record.label_list[1:] == [f"{prefix}-{label}" for label in record.entity_labels for prefix in "BI"]
    assert record.dataset_counts["train"]["receipts"] + record.dataset_counts["validation"]["receipts"] == 9
    assert record.split is not None
    assert len(record.split.validation_keys) == record.split.validation_count > 0
    assert [row.epoch for row in record.epoch_metrics] == [1, 2]
    for row in record.epoch_metrics:
        assert row.train_loss is not None
        assert row.eval_loss is not None
        assert row.learning_rate is not None
        assert 0 < row.elapsed_s <= record.timings["train_s"]
    assert record.best is not None
    assert record.overall is not None
    assert record.best.f1 == pytest.approx(max(row.f1 for row in record.epoch_metrics)) == record.overall.f1
    assert list(record.per_label) == record.entity_labels
    assert set(record.per_source) == {"synthetic"}
    assert record.confusion is not None
    words = record.dataset_counts["validation"]["words"]
    assert sum(map(sum, record.confusion.counts)) == words == sum(len(r["words"]) for r in predictions(finished))
    assert {"train_s", "steps_per_s", "steps"} <= record.timings.keys()
    assert {"python", "torch", "transformers", "receipt-trainer"} <= record.versions.keys()
    assert (record.hardware["device"], record.hardware["precision"]) == ("cpu", "fp32")
    assert record.started_at
    assert record.finished_at
    assert (finished / "model" / "model.safetensors").is_file()
    assert (finished / "report.html").is_file()
    assert list((finished / "tensorboard").glob("events.out.*"))


def test_the_record_is_written_after_every_epoch(
    layoutlm_cli: Program, receipts_file: Path, finished: Path, tmp_path: Path
) -> None:
    """Killed in its second epoch, a run has left a record that says `running` and holds the first."""
    run_dir = tmp_path / "run"
    killed = strike("before", 2, "receipt_trainer.models.layoutlm.trainer:predict")
    assert layoutlm_cli.run(train_command(receipts_file, run_dir, *FEW), tmp_path / "log", killed) == -signal.SIGKILL
    record = record_of(run_dir)
    assert record.status == "running"
    assert epochs(run_dir) == epochs(finished)[:1]
    assert record.best is not None
    assert record.best.epoch == 1


def test_a_finished_run_is_not_trained_again_unless_restarted(
    layoutlm_cli: Program, receipts_file: Path, finished: Path
) -> None:
    """The same command again: exit 2, one line, the record untouched; with --restart it is trained from the start."""
    before = record_of(finished)
    command = train_command(receipts_file, finished, *FEW)
    log = finished.with_suffix(".again.log")
    assert layoutlm_cli.run(command, log) == 2
    assert "holds the complete run 'job'" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert record_of(finished) == before
    first = losses(finished)
    assert layoutlm_cli.run([*command, "--restart"], log) == 0, log.read_text()
    assert record_of(finished).job_id != before.job_id
    assert losses(finished) == first
    assert len(list((finished / "tensorboard").glob("events.out.*"))) == 1


def test_a_run_of_an_older_version_goes_on_as_it_was_begun(
    layoutlm_cli: Program, receipts_file: Path, finished: Path, tmp_path: Path
) -> None:
    """Made-up merchants and a least number of steps are the command's defaults, and in run.json; the same command takes
    a run.json without them, as 0.1.0 wrote, for the same run, unless they are named. --epochs is no minimum."""
    command = train_command(receipts_file, tmp_path / "new", "--batch-size", 20)
    at = command.index("--epochs")
    del command[at : at + 2]
    log, paused = tmp_path / "log", tmp_path / "paused"
    process = layoutlm_cli.start(command, log, strike("hold", 1, LOSS, paused))
    wait_for(lambda: process.poll() is not None or paused.exists())
    assert record_of(tmp_path / "new").training_config["min_steps"] == FEW_STEPS > 0
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    record = json.loads((finished / "run.json").read_text())
    assert record["data_config"].pop("simulated_merchants") == SIMULATED_MERCHANTS > 0
    assert "min_steps" not in record["training_config"]
    record["training_config"]["num_epochs"] = TrainingConfig().num_epochs
    old = tmp_path / "run"
    old.mkdir()
    (old / "run.json").write_text(json.dumps(record))
    command[command.index(tmp_path / "new")] = old
    for name, value in ((None, None), ("simulated_merchants", 0.5), ("min_steps", FEW_STEPS)):
        assert layoutlm_cli.run([*command, *(["--set", f"{name}={value}"] if name else [])], log) == 2
        assert (f"settings ({name});" if name else "run 'job';") in log.read_text()


def test_two_processes_in_one_folder(layoutlm_cli: Program, receipts_file: Path, tmp_path: Path) -> None:
    """While one process trains in a folder another is refused, --restart or not, and the first is not disturbed."""
    run_dir, log, paused = tmp_path / "run", tmp_path / "log", tmp_path / "paused"
    command = train_command(receipts_file, run_dir, *FEW)
    process = layoutlm_cli.start(
        command, log, strike("hold", 1, "receipt_trainer.models.layoutlm.trainer:predict", paused)
    )
    wait_for(lambda: process.poll() is not None or paused.exists())
    for flags in ([], ["--restart"]):
        assert layoutlm_cli.run([*command, *flags], tmp_path / "second.log") == 2
    assert (tmp_path / "second.log").read_text().count("another process is training there") == 2
    assert record_of(run_dir).status == "running"
    os.kill(process.pid, signal.SIGINT)
    process.wait()


@pytest.mark.parametrize("fault", [UserError("no such model"), WorldError("the hub is away"), RuntimeError("a bug")])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_run_that_does_not_begin_leaves_nothing(tmp_path: Path, fault: Exception, *, is_there: bool) -> None:
    """A mistake and a fault of the world: neither a lock nor a folder that was not there. What it has written stays."""
    run_dir = tmp_path / "runs" / "run"
    if is_there:
        run_dir.mkdir(parents=True)
    with pytest.raises(type(fault)), folder.own(run_dir):
        raise fault
    if isinstance(fault, RuntimeError):
        assert [path.name for path in run_dir.iterdir()] == [".lock"]
    else:
        assert (run_dir.exists(), [*tmp_path.rglob(".lock")]) == (is_there, [])
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "run.json").write_text("{}")
    with pytest.raises(type(fault)), folder.own(run_dir):
        raise fault
    assert {path.name for path in run_dir.iterdir()} == {".lock", "run.json"}


@pytest.mark.parametrize(
    ("number", "target", "call", "step"),
    [
        (signal.SIGINT, "receipt_trainer.models.layoutlm.trainer:predict", 2, 10),
        (signal.SIGTERM, LOSS, 3, 2),
    ],
)
def test_a_signal_leaves_a_run_that_resumes(
    layoutlm_cli: Program,
    receipts_file: Path,
    finished: Path,
    tmp_path: Path,
    number: signal.Signals,
    target: str,
    call: int,
    step: int,
) -> None:
    """The step and its checkpoint are finished, exit 130 or 143, one line; the same command ends as an undisturbed run.

    It says from which step it resumes.
    """
    run_dir, log, paused = tmp_path / "run", tmp_path / "log", tmp_path / "paused"
    command = train_command(receipts_file, run_dir, *FEW)
    process = layoutlm_cli.start(command, log, strike("hold", call, target, paused))
    wait_for(lambda: process.poll() is not None or paused.exists())
    os.kill(process.pid, number)
    assert process.wait() == 128 + number
    assert f"stopped at step {step}, on request; the same command resumes from the newest checkpoint" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert record_of(run_dir).status == "running"
    assert newest_step(run_dir) == step
    assert layoutlm_cli.run(command, log) == 0, log.read_text()
    assert f"resuming from step {step}" in log.read_text()
    same(run_dir, finished)


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        (strike("raise", 2, "receipt_trainer.models.layoutlm.trainer:choose"), "broken on purpose"),
        (
            strike("nan", 9, LOSS),
            "step 5: the loss is nan",
        ),
        (
            strike("nan", 3, "transformers:Trainer._get_grad_norm"),
            "step 3: the gradient's norm is nan; there is no checkpoint yet",
        ),
    ],
)
def test_a_bug_or_a_nan_marks_the_run_as_failed(
    layoutlm_cli: Program, receipts_file: Path, finished: Path, tmp_path: Path, fault: dict[str, str], shown: str
) -> None:
    """Exit 1, the record says `failed` and why, our own bug with its traceback; the same command goes on."""
    run_dir, log = tmp_path / "run", tmp_path / "log"
    command = train_command(receipts_file, run_dir, *FEW)
    assert layoutlm_cli.run(command, log, fault) == 1
    assert ("Traceback" in log.read_text()) == ("TEST_STRIKE_RAISE" in fault)
    record = record_of(run_dir)
    assert record.status == "failed"
    assert shown in (record.error or "")
    assert layoutlm_cli.run(command, log) == 0, log.read_text()
    same(run_dir, finished)
    assert record_of(run_dir).error is None


def test_weights_that_are_no_numbers_are_never_sealed(
    layoutlm_cli: Program, receipts_file: Path, finished: Path, tmp_path: Path
) -> None:
    """A NaN ends the run at its step, however rarely losses are logged; it resumes from the checkpoint before."""
    run_dir, log = tmp_path / "run", tmp_path / "log"
    command = train_command(receipts_file, run_dir, *FEW, save_steps=1, logging_steps=1000)
    killed = strike("nan", 6, LOSS)
    assert layoutlm_cli.run(command, log, killed) == 1
    assert "the loss is nan" in (record_of(run_dir).error or "")
    assert newest_step(run_dir) == 2
    assert layoutlm_cli.run(train_command(receipts_file, run_dir, *FEW), log) == 0, log.read_text()
    assert [row.f1 for row in record_of(run_dir).epoch_metrics] == [row.f1 for row in record_of(finished).epoch_metrics]


def test_sparse_losses_after_a_resume_are_those_of_an_undisturbed_run(
    layoutlm_cli: Program, receipts_file: Path, tmp_path: Path
) -> None:
    """Where fewer losses are logged than steps are taken, each is the mean over the same steps as without a kill."""
    log = tmp_path / "log"
    whole, cut = (
        train_command(receipts_file, tmp_path / name, *FEW, save_steps=3, logging_steps=5) for name in ("whole", "cut")
    )
    assert layoutlm_cli.run(whole, log) == 0, log.read_text()
    killed = strike("before", 9, LOSS)
    assert layoutlm_cli.run(cut, log, killed) == -signal.SIGKILL
    assert layoutlm_cli.run(cut, log) == 0, log.read_text()
    wanted = curve(tmp_path / "whole")
    assert curve(tmp_path / "cut").keys() == wanted.keys()
    for step, values in curve(tmp_path / "cut").items():
        assert values == pytest.approx(wanted[step], abs=1e-6)


def test_metrics_arrive_in_a_sink(prepared: Callable[..., Prepared], tokenizer: Any, tmp_path: Path) -> None:
    """Every step's loss, gradient norm and learning rate and every evaluation's scores, each with its step."""
    sink = ListSink()
    record = trained(prepared(), tokenizer, tmp_path, sink, num_epochs=2)
    steps = int(record.timings["steps"])
    for name in ("loss", "grad_norm", "learning_rate"):
        assert [step for what, step, _ in sink.metrics if what == name] == list(range(1, steps + 1))
    for name in ("eval_loss", "eval_f1", "eval_precision", "eval_recall"):
        assert [step for what, step, _ in sink.metrics if what == name] == [steps // 2, steps]
    found = [value for name, _, value in sink.metrics if name == "eval_f1"]
    assert found == [row.f1 for row in record.epoch_metrics]
    assert [value for name, _, value in sink.metrics if name == "loss"] == losses(tmp_path)
    assert any(line.startswith("training from step 0") for line in sink.lines)
    assert sum(line.startswith("epoch") for line in sink.lines) == 2


@pytest.mark.parametrize("limit", [1, 3])
def test_the_limit_on_checkpoints_is_kept(
    prepared: Callable[..., Prepared], tokenizer: Any, tmp_path: Path, limit: int
) -> None:
    """No more checkpoints stay than asked for, the newest and the best whatever the limit."""
    record = trained(prepared(), tokenizer, tmp_path, save_total_limit=limit, save_steps=2)
    left = [int(path.name.removeprefix("checkpoint-")) for path in checkpoints.folders(tmp_path)]
    assert record.best is not None
    assert {int(record.timings["steps"]), record.best.step} <= set(left)
    assert len(left) == max(limit, len({left[0], record.best.step}))
    assert all(checkpoints.verify(path) for path in checkpoints.folders(tmp_path))


def test_fractions_of_an_epoch_and_numbers_of_steps(
    prepared: Callable[..., Prepared], tokenizer: Any, plain: Path, tmp_path: Path
) -> None:
    """num_epochs may be a fraction, max_steps overrides it; both end with an evaluation and a checkpoint there."""
    whole = len(curve(plain))
    half = trained(prepared(), tokenizer, tmp_path / "half", num_epochs=0.5)
    assert half.timings["steps"] == -(-whole // 2)
    assert [row.step for row in half.epoch_metrics] == [half.timings["steps"]]
    assert half.epoch_metrics[0].epoch == pytest.approx(0.5, abs=0.5 / whole + 1e-9)
    some = trained(prepared(), tokenizer, tmp_path / "some", num_epochs=9, max_steps=whole + 2)
    assert some.timings["steps"] == whole + 2 == newest_step(tmp_path / "some")
    assert [row.step for row in some.epoch_metrics] == [whole, whole + 2]


def test_few_receipts_are_passed_over_until_the_steps_are_as_many(
    prepared: Callable[..., Prepared], tokenizer: Any, plain: Path, tmp_path: Path
) -> None:
    """min_steps adds whole epochs, unless those there are suffice or max_steps is set; then the last step's model
    alone is scored, and kept, and checkpoints are as many as num_epochs would leave."""
    whole = len(curve(plain))
    few = trained(prepared(), tokenizer, tmp_path / "few", num_epochs=2, min_steps=5 * whole - 1, save_total_limit=9)
    steps = 5 * whole
    assert few.timings["steps"] == steps == newest_step(tmp_path / "few")
    assert [(row.step, row.epoch) for row in few.epoch_metrics] == [(steps, 5)]
    assert few.best is not None
    assert few.best.step == steps
    left = [int(path.name.removeprefix("checkpoint-")) for path in checkpoints.folders(tmp_path / "few")]
    assert sorted(left) == [3 * whole, steps]
    enough = trained(prepared(), tokenizer, tmp_path / "enough", min_steps=whole)
    assert [row.step for row in enough.epoch_metrics] == [whole]
    assert losses(tmp_path / "enough") == losses(plain)
    short = trained(prepared(), tokenizer, tmp_path / "short", max_steps=2, min_steps=9 * whole)
    assert short.timings["steps"] == 2


def test_few_receipts_stop_and_resume(layoutlm_cli: Program, receipts_file: Path, tmp_path: Path) -> None:
    """A signal in the last step of an epoch that leaves no checkpoint leaves one; resumed, it ends as undisturbed."""
    settings = {"min_steps": 20}
    run_dir, log, paused = tmp_path / "run", tmp_path / "log", tmp_path / "paused"
    plain, command = (
        train_command(receipts_file, folder, "--epochs", 1, **settings) for folder in (tmp_path / "plain", run_dir)
    )
    assert layoutlm_cli.run(plain, log) == 0, log.read_text()
    steps = epochs(tmp_path / "plain")[-1]["step"]
    process = layoutlm_cli.start(command, log, strike("hold", 17, LOSS, paused))
    wait_for(lambda: process.poll() is not None or paused.exists())
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM, log.read_text()
    assert newest_step(run_dir) == steps // 3
    assert layoutlm_cli.run(command, log) == 0, log.read_text()
    same(run_dir, tmp_path / "plain")


@pytest.mark.parametrize("option", [{"gradient_checkpointing": True}, {"dataloader_workers": 1}])
def test_options_of_speed_and_memory_do_not_change_the_losses(
    prepared: Callable[..., Prepared], tokenizer: Any, plain: Path, tmp_path: Path, option: dict[str, Any]
) -> None:
    """Recomputed activations and batches built by another process give the losses of the plain run."""
    trained(prepared(), tokenizer, tmp_path, **option)
    assert losses(tmp_path) == pytest.approx(losses(plain), abs=1e-6)


def test_bf16_trains_nearly_the_same(
    prepared: Callable[..., Prepared], tokenizer: Any, plain: Path, tmp_path: Path
) -> None:
    """bf16 runs, is recorded, keeps the weights in fp32, and loses like fp32 to two digits."""
    record = trained(prepared(), tokenizer, tmp_path, precision="bf16")
    assert record.hardware["precision"] == "bf16"
    assert losses(tmp_path) == pytest.approx(losses(plain), rel=0.03)
    assert losses(tmp_path) != losses(plain)


def test_what_the_machine_cannot_do_is_the_users_mistake() -> None:
    """A GPU or fp16 on a machine without one: an error that says what to use instead."""
    with pytest.raises(UserError, match="--device cpu"):
        hardware.use_cuda(TrainingConfig(device="cuda"))
    for config in (TrainingConfig(precision="fp16"), TrainingConfig(fp16=True)):
        with pytest.raises(UserError, match="fp16 needs a GPU"):
            hardware.precision(config, cuda=False)
    assert hardware.precision(TrainingConfig(fp16=False), cuda=False) == "fp32"
    assert hardware.precision(TrainingConfig(precision="bf16"), cuda=False) == "bf16"
    assert hardware.precision(TrainingConfig(), cuda=False) in ("bf16", "fp32")


def test_an_interrupted_run_that_saves_a_snapshot_goes_on(
    layoutlm_cli: Program, receipts_file: Path, finished: Path, tmp_path: Path
) -> None:
    """The snapshot that the first attempt saved is left as it is, not taken for somebody else's."""
    run_dir, log, snapshot = tmp_path / "run", tmp_path / "log", tmp_path / "snapshot"
    command = train_command(receipts_file, run_dir, *FEW, "--dataset-snapshot-save", snapshot)
    killed = strike("before", 2, "receipt_trainer.models.layoutlm.trainer:predict")
    assert layoutlm_cli.run(command, log, killed) == -signal.SIGKILL
    assert layoutlm_cli.run(command, log) == 0, log.read_text()
    same(run_dir, finished)
    other = train_command(receipts_file, tmp_path / "other", *FEW, "--dataset-snapshot-save", snapshot)
    assert layoutlm_cli.run([*other, "--set", "split_seed=9"], log) == 2
    assert "exists already" in log.read_text()


def test_two_processes_train_one_run_under_torchrun(layoutlm_cli: Program, receipts_file: Path, tmp_path: Path) -> None:
    """torchrun with two processes: both train (half the steps), one writes the record, checkpoints hold both states."""
    run_dir = tmp_path / "run"
    torchrun = Path(sys.executable).with_name("torchrun")
    command = train_command(receipts_file, run_dir, *FEW, "--gradient-accumulation-steps", 1)
    done = subprocess.run(
        [torchrun, "--nproc-per-node", "2", "--no-python", *layoutlm_cli.command, *map(str, command)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    record = record_of(run_dir)
    assert record.status == "complete"
    assert done.stdout.count("report: ") == 1
    examples = record.dataset_counts["train"]["examples"]
    assert record.timings["steps"] == 2 * -(-examples // 40)
    newest = checkpoints.latest(run_dir)
    assert newest is not None
    assert newest.fingerprint["processes"] == 2
    sealed = {path.name for path in newest.path.iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= sealed
    assert len(list((run_dir / "tensorboard").glob("events.out.*"))) == 1
    assert state_of(newest.path)["global_step"] == record.timings["steps"]
