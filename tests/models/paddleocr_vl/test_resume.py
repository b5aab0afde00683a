from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.fork_server import Program
from tests.models.paddleocr_vl.runs import vl_train, write_config
from tests.strikes import VL_LOSS, strike
from tests.training.runs import curve, newest_step, record_of

KINDS: dict[str, dict[str, Any]] = {
    "augmented": {"training": {"save_steps": 2}, "augmentation": {"enabled": True}},
    "curriculum": {
        "training": {
            **{"save_steps": 2, "difficulty_schedule": "easy_to_hard", "gradient_checkpointing": True},
            **{"per_device_train_batch_size": 5, "gradient_accumulation_steps": 2, "dataloader_workers": 1},
        },
        "lora": {"modules_to_save": ["lm_head"]},
        "loss": {"use_focal": True},
    },
    "all weights": {"training": {"save_steps": 2}, "lora": {"enabled": False}, "loss": {"use_label_smoothing": True}},
}
"""12 receipts: six steps with accumulation over two batches of three, or, last, over batches of five, five and two."""


def same(one: Path, other: Path) -> None:
    """Two runs took the same way: every step's loss, gradient and learning rate, every evaluation, the model kept."""
    curves = curve(one), curve(other)
    assert curves[0].keys() == curves[1].keys()
    for step, values in curves[0].items():
        assert curves[1][step] == pytest.approx(values, abs=1e-6), f"step {step}"
    mine, others = (record_of(run).vl for run in (one, other))
    clock = {"elapsed_s"}
    for row, expected in zip(mine.evaluations, others.evaluations, strict=True):
        assert row.model_dump(exclude=clock) == pytest.approx(expected.model_dump(exclude=clock), abs=1e-6)
    assert mine.best.step == others.best.step
    assert mine.final.model_dump() == pytest.approx(others.final.model_dump(), abs=1e-6)
    assert mine.final.eval_loss == pytest.approx(mine.eval_loss, abs=1e-6)
    assert record_of(one).status == record_of(other).status == "complete"


@pytest.fixture(scope="session")
def undisturbed(
    vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """One run of each kind that nobody interrupts."""
    runs = {}
    for kind, sections in KINDS.items():
        config = write_config(tmp_path_factory.mktemp("undisturbed") / "config.yaml", tiny_model, receipts, **sections)
        log = config.with_name("log")
        assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
        runs[kind] = config.with_name("run")
    return runs


KILLS: list[tuple[dict[str, str], int]] = [
    (strike("before", 3, VL_LOSS), 0),  # before the first checkpoint
    (strike("before", 10, VL_LOSS), 2),  # in an accumulated step
    (strike("half", 2, "torch:save"), 2),  # as a checkpoint's state is half written
    (strike("before", 1, "receipt_trainer.training.checkpoints:seal"), 2),
    (strike("before", 1, "receipt_trainer.models.paddleocr_vl.trainer:VlTrainer.judge"), 2),  # during evaluation
    (strike("before", 1, "receipt_trainer.models.paddleocr_vl.family:write_model"), 6),  # after the last checkpoint
]
"""Of one run, which checkpoints every 2 steps: each kill with the step of the newest complete checkpoint after it."""


def test_a_killed_run_resumes_as_if_nothing_had_happened(
    vl_cli: Program, tiny_model: Path, receipts: Path, undisturbed: dict[str, Path], tmp_path: Path
) -> None:
    """SIGKILL at six moments, each time the same command again: loss by loss the undisturbed run, augmented."""
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts, **KINDS["augmented"])
    log = tmp_path / "log"
    for kill, step in KILLS:
        assert vl_cli.run(vl_train(config), log, kill) == -signal.SIGKILL, log.read_text()
        assert newest_step(tmp_path / "run") == step, kill
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
    same(tmp_path / "run", undisturbed["augmented"])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "augmented"])
def test_two_kills_of_other_runs(
    vl_cli: Program, tiny_model: Path, receipts: Path, undisturbed: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    """The order of a curriculum, modules trained whole and full fine-tuning go on exactly too; again and again."""
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts, **KINDS[kind])
    log = tmp_path / "log"
    for call in (9, 5):
        assert vl_cli.run(vl_train(config), log, strike("before", call, VL_LOSS)) == -signal.SIGKILL
    assert vl_cli.run(vl_train(config, "--resume", tmp_path / "run"), log) == 0, log.read_text()
    same(tmp_path / "run", undisturbed[kind])


def test_what_decides_about_the_losses_may_not_change(
    vl_cli: Program, tiny_model: Path, receipts: Path, tmp_path: Path
) -> None:
    """A checkpoint of other settings is refused with their names; how often is saved and logged may change."""
    log = tmp_path / "log"
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts, training={"save_steps": 2})
    assert vl_cli.run(vl_train(config), log, strike("before", 10, VL_LOSS)) == -signal.SIGKILL
    training = {"learning_rate": 1e-4, "max_image_pixels": 56 * 56}
    for changed in ({"training": training}, {"lora": {"r": 4}}, {"loss": {"use_focal": True}}):
        other = write_config(tmp_path / "config.yaml", tiny_model, receipts, **changed)
        assert vl_cli.run(vl_train(other), tmp_path / "refused") == 2
    said = (tmp_path / "refused").read_text()
    assert "training.learning_rate is 0.003 there and 0.0001 here" in said
    assert "training.max_image_pixels is 752640 there and 3136 here" in said
    assert "lora.r is 8 there and 4 here" in said
    assert "loss.use_focal is false there and true here" in said
    config = write_config(tmp_path / "config.yaml", tiny_model, receipts, training={"save_steps": 1})
    assert vl_cli.run(vl_train(config), log) == 0, log.read_text()
