"""Keeps with a checkpoint the losses that no log has yet: a resumed run's next logged mean is then the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from receipt_trainer.files import write_atomically
from receipt_trainer.training import checkpoints, distributed

FILE: Final = "unlogged.json"


class LossState(TrainerCallback):
    """Stands before `CheckpointCommit`, so that its file is sealed with the rest.

    transformers' Trainer adds up the losses since the last log in `_tr_loss`, and writes that into no checkpoint.
    """

    def __init__(self, found: checkpoints.Checkpoint | None) -> None:
        """`found`: the checkpoint from which the run goes on."""
        self._found = found
        self._trainer: Any = None

    def attach(self, trainer: Any) -> None:
        """Name the trainer, which takes its callbacks before it is one."""
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take up the sum where the checkpoint left it; an old checkpoint without one logged it before."""
        try:
            kept = json.loads((self._found.path / FILE).read_bytes()) if self._found else None
        except FileNotFoundError:
            kept = None
        if kept is not None:
            self._trainer._tr_loss += kept["loss"]
            self._trainer._globalstep_last_logged = kept["logged_at_step"]

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write it: the mean of all processes' sums, as a log would take it."""
        total = distributed.mean_of_all(self._trainer._tr_loss)
        if state.is_world_process_zero:
            kept = {"loss": total, "logged_at_step": self._trainer._globalstep_last_logged}
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            write_atomically(folder / FILE, json.dumps(kept).encode())
