from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.cli.commands.vl_train import resume_folder
from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.errors import UserError
from receipt_trainer.training import checkpoints


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Runs `vl train` with a file of version 0.1.0 that names no data; returns the mistake it ends with."""

    def run(text: str, *flags: object) -> str:
        config = tmp_path / "run.yaml"
        config.write_text(text)
        with pytest.raises(UserError) as caught:
            group.main(
                ["vl", "train", "--config", str(config), "--train-file", "data", *map(str, flags)],
                standalone_mode=False,
            )
        return str(caught.value)

    return run


def make_run(folder: Path, *steps: int) -> Path:
    """A run's folder with sealed checkpoints of these steps."""
    for step in steps:
        path = folder / f"checkpoint-{step}"
        path.mkdir(parents=True)
        (path / "weights").write_text(str(step))
        checkpoints.seal(path, {})
    return folder


def test_resume_takes_a_run_or_its_newest_checkpoint(tmp_path: Path) -> None:
    """Both lead to the run; a broken checkpoint is passed over, as without the flag."""
    run = make_run(tmp_path / "run", 2, 4)
    assert resume_folder(run) == run
    assert resume_folder(run / "checkpoint-4") == run
    (run / "checkpoint-4" / "weights").write_text("5")
    assert resume_folder(run / "checkpoint-2") == run


def test_resume_refuses_what_it_cannot_go_on_from(tmp_path: Path) -> None:
    """No checkpoint, an older one than the newest, a broken one: said with the name of the right one."""
    run = make_run(tmp_path / "run", 2, 4)
    with pytest.raises(UserError, match="the newest complete checkpoint is checkpoint-4"):
        resume_folder(run / "checkpoint-2")
    shutil.rmtree(run / "checkpoint-2")
    (run / "checkpoint-4" / checkpoints.SEAL).unlink()
    for path in (run, run / "checkpoint-4", tmp_path / "none"):
        with pytest.raises(UserError, match="there is no complete checkpoint"):
            resume_folder(path)


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("{}", ("--resume", "a", "--restart"), "--resume continues a run and --restart discards it"),
        ("{}", ("--resume", "nowhere"), "there is no complete checkpoint in nowhere"),
        ("lora: {enabled: false}", ("--use-quantization",), "use_quantization needs lora"),
        ("training: {lr: 1}", (), ":1: unknown key 'lr'"),
        ("model_name_or_path: /nowhere/model", (), "model /nowhere/model: neither a folder with a model"),
    ],
)
def test_mistakes(refused: Callable[..., str], tmp_path: Path, text: str, flags: Any, said: str) -> None:
    """One line for each, before anything is written."""
    line = refused(text, "--output-dir", tmp_path / "run", *flags)
    assert said in line
    assert "\n" not in line
    assert not (tmp_path / "run").exists()


def test_four_bits_are_refused_here(refused: Callable[..., str], tmp_path: Path) -> None:
    """Without a GPU the flag ends the command before any data are read."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert "need a CUDA GPU" in refused("{}", "--use-quantization", "--output-dir", tmp_path / "run")


def test_resume_in_another_folder_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    """Nothing is started anew in the other folder; the same folder named twice is no mistake."""
    run = make_run(tmp_path / "run", 2)
    line = refused("{}", "--resume", run / "checkpoint-2", "--output-dir", tmp_path / "other")
    assert f"--resume continues in {run}, but --output-dir is {tmp_path / 'other'}" in line
    assert not (tmp_path / "other").exists()
    assert "--resume continues" not in refused(
        "model_name_or_path: /nowhere/model", "--resume", run, "--output-dir", run
    )
