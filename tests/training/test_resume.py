from __future__ import annotations

import signal
from pathlib import Path

import pytest

from receipt_trainer.training import checkpoints
from tests.fork_server import Program
from tests.strikes import LOSS, strike
from tests.training.runs import curve, epochs, newest_step, predictions, record_of, state_of, train_command

KINDS: dict[str, list[object]] = {
    "line": ["--examples", "line"],
    "receipt": ["--examples", "receipt", "--batch-size", 1, "--lr", 1e-3],
}


def same(one: Path, other: Path) -> None:
    """Two runs took the same way: losses, gradients, learning rates, scores and predictions."""
    curves = curve(one), curve(other)
    assert curves[0].keys() == curves[1].keys()
    for step, values in curves[0].items():
        assert curves[1][step] == pytest.approx(values, abs=1e-6), f"step {step}"
    for mine, others in zip(epochs(one), epochs(other), strict=True):
        assert mine == pytest.approx(others, abs=1e-6)
    assert [(r["key"], [w["pred"] for w in r["words"]]) for r in predictions(one)] == [
        (r["key"], [w["pred"] for w in r["words"]]) for r in predictions(other)
    ]
    scores = [[w["score"] for r in predictions(run) for w in r["words"]] for run in (one, other)]
    assert scores[0] == pytest.approx(scores[1], abs=2e-4)  # they are rounded to 4 places
    records = record_of(one), record_of(other)
    assert records[0].best == records[1].best
    assert records[0].overall == records[1].overall
    assert records[0].status == records[1].status == "complete"


@pytest.fixture(scope="session")
def undisturbed(
    layoutlm_cli: Program, receipts_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """One run of each kind that nobody interrupts."""
    runs = {}
    for kind, flags in KINDS.items():
        runs[kind] = tmp_path_factory.mktemp(f"undisturbed-{kind}") / "run"
        log = runs[kind].with_suffix(".log")
        assert layoutlm_cli.run(train_command(receipts_file, runs[kind], *flags, save_steps=7), log) == 0, (
            log.read_text()
        )
    return runs


KILLS: dict[str, list[tuple[dict[str, str], int]]] = {
    "line": [
        (strike("before", 5, LOSS), 0),  # before the first checkpoint
        (strike("before", 17, LOSS), 7),  # in an epoch, between two checkpoints
        (strike("before", 2, "transformers.modeling_utils:safe_save_file"), 9),  # as the weights are written
        (strike("half", 1, "torch:save"), 9),  # half an optimizer file later
        (strike("before", 2, "receipt_trainer.training.checkpoints:seal"), 14),
        (strike("before", 1, "shutil:rmtree"), 14),  # while an old checkpoint is deleted
        (strike("before", 1, "receipt_trainer.models.layoutlm.trainer:predict"), 14),  # during evaluation
        (strike("before", 2, "receipt_trainer.contract.run_record:RunRecord.write"), 14),  # after it
        (
            strike("before", 1, "receipt_trainer.models.layoutlm.family:write_predictions"),
            27,
        ),  # after the last checkpoint
        (strike("before", 1, "receipt_trainer.files:_flush_all"), 27),  # as the model is put in its place
    ],
    "receipt": [
        (strike("before", 17, LOSS), 7),
        (strike("before", 2, "receipt_trainer.training.checkpoints:seal"), 8),
    ],
}
"""Of one run, which checkpoints every 7 steps and at each end of its 9 steps an epoch (of receipts: 4): each
kill with the step of the newest complete checkpoint after it."""


@pytest.mark.parametrize("kind", KILLS)
def test_a_killed_run_resumes_as_if_nothing_had_happened(
    layoutlm_cli: Program, receipts_file: Path, undisturbed: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    """SIGKILL at many moments, each time the same command again: losses, scores and predictions of the undisturbed
    run, and each attempt begins where it can; also with rows that are packed."""
    run_dir, log = tmp_path / "run", tmp_path / "log"
    command = train_command(receipts_file, run_dir, *KINDS[kind], save_steps=7)
    for kill, newest in KILLS[kind]:
        assert layoutlm_cli.run(command, log, kill) == -signal.SIGKILL, log.read_text()
        assert newest_step(run_dir) == newest, kill
    assert layoutlm_cli.run(command, log) == 0, log.read_text()
    same(run_dir, undisturbed[kind])


def test_a_flipped_byte_sends_the_run_back_to_the_checkpoint_before(
    layoutlm_cli: Program, receipts_file: Path, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    """A sealed checkpoint that was damaged later is not taken, is no reason to stop, and is not kept for a new one."""
    run_dir, log = tmp_path / "run", tmp_path / "log"
    command = train_command(receipts_file, run_dir, *KINDS["line"], save_steps=7, save_total_limit=3)
    killed = strike("before", 4, "receipt_trainer.training.checkpoints:prune")
    assert layoutlm_cli.run(command, log, killed) == -signal.SIGKILL
    newest, before = checkpoints.folders(run_dir)[:2]
    file = newest / "optimizer.pt"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert newest_step(run_dir) == int(before.name.removeprefix("checkpoint-"))
    assert layoutlm_cli.run(command, log) == 0, log.read_text()
    same(run_dir, undisturbed["line"])


def test_early_stopping_after_resume_stops_where_the_undisturbed_run_does(
    layoutlm_cli: Program, receipts_file: Path, tmp_path: Path
) -> None:
    """Patience is counted over all attempts: killed before the last evaluation or after the stop, the end is one."""
    flags = ("--early-stopping-patience", 2, "--epochs", 30, "--lr", 1e-9)
    log = tmp_path / "log"
    runs = [tmp_path / "undisturbed", tmp_path / "before the stop", tmp_path / "after the stop"]
    commands = [train_command(receipts_file, run, *KINDS["line"], *flags, "--batch-size", 30) for run in runs]
    assert layoutlm_cli.run(commands[0], log) == 0, log.read_text()
    assert len(epochs(runs[0])) == 3
    for run, command, call in zip(runs[1:], commands[1:], (3, 4), strict=True):  # the fourth is the final judgement
        killed = strike("before", call, "receipt_trainer.models.layoutlm.trainer:predict")
        assert layoutlm_cli.run(command, log, killed) == -signal.SIGKILL
        assert layoutlm_cli.run(command, log) == 0, log.read_text()
        same(run, runs[0])


@pytest.mark.parametrize("length", [["--epochs", 1.4], ["--set", "max_steps=10"]])
def test_a_run_that_ended_inside_an_epoch_takes_no_further_step(
    layoutlm_cli: Program, receipts_file: Path, tmp_path: Path, length: list[object]
) -> None:
    """Killed after its last checkpoint, a run of a fraction of an epoch or of so many steps only finishes."""
    runs = [tmp_path / "undisturbed", tmp_path / "killed"]
    commands = [train_command(receipts_file, run, *KINDS["line"], *length, save_steps=5) for run in runs]
    log = tmp_path / "log"
    assert layoutlm_cli.run(commands[0], log) == 0, log.read_text()
    killed = strike("before", 1, "receipt_trainer.models.layoutlm.family:write_predictions")
    assert layoutlm_cli.run(commands[1], log, killed) == -signal.SIGKILL
    steps = newest_step(runs[1])
    assert layoutlm_cli.run(commands[1], log) == 0, log.read_text()
    assert newest_step(runs[1]) == steps == state_of(checkpoints.folders(runs[0])[0])["max_steps"]
    same(runs[1], runs[0])


def test_a_run_folder_that_was_moved_keeps_its_best_model(
    layoutlm_cli: Program, receipts_file: Path, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    """The best checkpoint is found by its step, not by the path that the folder had before it was moved."""
    first, second, log = tmp_path / "here", tmp_path / "there", tmp_path / "log"
    killed = strike("before", 3, "receipt_trainer.models.layoutlm.trainer:predict")
    command = train_command(receipts_file, first, *KINDS["line"], save_steps=7)
    assert layoutlm_cli.run(command, log, killed) == -signal.SIGKILL
    first.rename(second)
    assert layoutlm_cli.run(train_command(receipts_file, second, *KINDS["line"], save_steps=7), log) == 0, (
        log.read_text()
    )
    same(second, undisturbed["line"])
