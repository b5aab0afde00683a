from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.contract.sinks import NoMetrics
from receipt_trainer.errors import WorldError
from receipt_trainer.training import checkpoints
from receipt_trainer.training.callbacks import MAX_SHARE, CheckpointCommit

STEPS_PER_EPOCH = 10


class News(NoMetrics):
    def __init__(self) -> None:
        self.kept: list[int] = []

    def checkpoint(self, step: int, *, epoch: float, path: Path, size_bytes: int) -> None:
        assert path.name == f"checkpoint-{step}"
        assert (epoch, size_bytes) == (step / STEPS_PER_EPOCH, 3)
        self.kept.append(step)

    def checkpoint_gone(self, step: int) -> None:
        self.kept.remove(step)


class Clockwork:
    """Steps of one second each, and checkpoints that take `save_s` seconds, all on one passed-in clock."""

    def __init__(self, run_dir: Path, save_s: float, **arguments: Any) -> None:
        self.now, self.saved, self.logged = 0.0, [], 0
        self.news = News()
        self._save_s, self._run_dir = save_s, run_dir
        self._args: Any = TrainingArguments(output_dir=str(run_dir), report_to=[])
        self.callback = CheckpointCommit({}, 2, 0, sink=self.news, clock=lambda: self.now, **arguments)

    def run(self, num_steps: int, model: Any = None) -> list[int]:
        """The steps at which the clock asked for a checkpoint."""
        state = TrainerState(max_steps=num_steps, is_world_process_zero=True)
        self.callback.on_train_begin(self._args, state, TrainerControl())
        for step in range(1, num_steps + 1):
            self.now += 1
            state.global_step, state.epoch = step, step / STEPS_PER_EPOCH
            control = self.callback.on_step_end(self._args, state, TrainerControl())
            self.logged += control.should_log
            if control.should_save:
                self.saved.append(step)
                folder = self._run_dir / f"checkpoint-{step}"
                folder.mkdir(parents=True)
                (folder / "weights").write_bytes(b"abc")
                self.now += self._save_s
                self.callback.on_save(self._args, state, TrainerControl(), model=model)
        return self.saved


def test_a_checkpoint_comes_when_its_time_is_over(tmp_path: Path) -> None:
    """Every 7 s of 1 s steps, never at an epoch's end, which has its own; nothing is logged for it."""
    clockwork = Clockwork(tmp_path, 0.0, every_s=7.0)
    assert clockwork.run(36) == [7, 14, 21, 28, 35]
    assert clockwork.logged == 0
    assert clockwork.news.kept == [28, 35]
    assert [path.name for path in checkpoints.folders(tmp_path)] == ["checkpoint-35", "checkpoint-28"]


def test_one_that_is_due_at_an_epochs_end_waits_for_the_next_step(tmp_path: Path) -> None:
    """The epoch's own checkpoint follows its evaluation; it resets the clock where there is one."""
    assert Clockwork(tmp_path, 0.0, every_s=5.0).run(18) == [5, 11, 16]


def test_slow_writing_makes_them_rarer(tmp_path: Path) -> None:
    """A disk that takes 3 s a checkpoint costs a twentieth of the time at most, whatever interval is asked for."""
    clockwork = Clockwork(tmp_path, 3.0, every_s=1.0)
    clockwork.run(1000)
    assert len(clockwork.saved) > 10
    assert 3.0 * len(clockwork.saved) <= MAX_SHARE * clockwork.now + 3.0


def test_without_an_interval_there_is_no_clock(tmp_path: Path) -> None:
    """The default of a run by hand: the ends of the epochs alone."""
    assert Clockwork(tmp_path, 0.0).run(100) == []


def test_weights_that_are_no_numbers_are_never_sealed(tmp_path: Path) -> None:
    """A checkpoint of a model that diverged would be gone on from: it is refused, and nobody hears of it."""
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.weight, float("nan"))
    clockwork = Clockwork(tmp_path, 0.0, every_s=3.0)
    with pytest.raises(WorldError, match="step 3: a weight is NaN"):
        clockwork.run(5, model)
    assert clockwork.news.kept == []
    assert checkpoints.latest(tmp_path) is None
