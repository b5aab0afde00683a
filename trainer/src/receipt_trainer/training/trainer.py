"""transformers' Trainer on batches in an order of our own, with a look at every step's loss and gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import ProgressCallback

from receipt_trainer.errors import WorldError
from receipt_trainer.training import checkpoints, distributed


class EpochBatches(ABC):
    """Batches of example numbers, a batch sampler as torch's DataLoader takes it.

    Attributes:
        batch_size: examples of a batch; None: batches differ in their number.
    """

    drop_last = False

    def __init__(self, batch_size: int | None, seed: int) -> None:
        self.batch_size = batch_size
        self.epoch = 0
        self._seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    @abstractmethod
    def __len__(self) -> int:
        """Batches of an epoch."""

    @abstractmethod
    def order(self, draw: np.random.Generator) -> Iterable[list[int]]:
        """The batches of an epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        yield from self.order(np.random.default_rng((self._seed, self.epoch)))


class SetEpoch(TrainerCallback):
    """Order and augmentation are functions of the epoch; this is the one place that sets it."""

    def __init__(self, batches: EpochBatches, collator: Any) -> None:
        self._batches = batches
        self._collator = collator

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The state's epoch is fractional in the middle of a resumed one."""
        epoch = int(state.epoch or 0)
        self._batches.set_epoch(epoch)
        self._collator.epoch = epoch


LOWER: Final = "lower the learning rate, or use precision fp32 or bf16"
_SHOWN: Final = 8


class Numbers(Dataset[int]):
    """A dataset whose items are the examples' numbers: the collator does the reading, once a batch."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> int:
        return number


class BatchTrainer(Trainer):
    """Base of the families' trainers: `batches` of example numbers, `judge` for an evaluation.

    The collator makes a batch of example numbers; it has an `epoch`, which is set.
    """

    def __init__(
        self,
        *,
        batches: EpochBatches,
        collator: Any,
        num_examples: int,
        num_validation: int,
        loss: Callable[..., Tensor],
        callbacks: Sequence[Any],
        **kwargs: Any,
    ) -> None:
        self._batches, self._collator = batches, collator
        self._losses: list[Tensor] = []
        self._ids: list[Sequence[str]] = []
        self.num_tokens = 0
        """Tokens that this process has trained on, where the family counts them."""
        super().__init__(
            train_dataset=Numbers(num_examples),
            eval_dataset=Numbers(num_validation),
            compute_loss_func=loss,
            callbacks=[SetEpoch(batches, collator), *callbacks],
            **kwargs,
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader[Tensor]:
        """Batches whose order is a function of seed and epoch."""
        # From pinned memory a batch's many small tensors need not be waited for.
        self.accelerator.dataloader_config.non_blocking = self.args.dataloader_pin_memory
        loader: DataLoader[Tensor] = DataLoader(
            self.train_dataset,
            batch_sampler=self._batches,
            collate_fn=self._collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Tensor] = self.accelerator.prepare(loader)
        return prepared

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """As transformers does; the loss is kept until the step's gradient is looked at."""
        self._ids.append(self.ids_of(inputs))
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        self._losses.append(loss)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Looks at losses and gradient before they reach the weights: all at once, as a GPU is waited for.

        Raises:
            WorldError: one is NaN or infinite.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        losses, ids = self._losses, self._ids
        self._losses, self._ids = [], []
        seen = [*losses] if norm is None else [*losses, torch.as_tensor(norm, device=self.args.device)]
        if not seen or bool(torch.stack([value.detach().float().reshape(()) for value in seen]).isfinite().all()):
            return norm
        for loss, names in zip(losses, ids, strict=True):
            if not bool(loss.isfinite()):
                raise self.diverged(f"the loss is {float(loss)}", names, self.state.global_step + 1)
        scaler = self.accelerator.scaler
        if scaler is not None and scaler.get_scale() > 1:
            return norm  # of scaled fp16 gradients: the step is skipped and the next scale is lower
        names = [name for batch in ids for name in batch]
        raise self.diverged(f"the gradient's norm is {float(norm)}", names, self.state.global_step + 1)

    def diverged(self, what: str, ids: Sequence[str], step: int) -> WorldError:
        """The error for a value that is NaN or infinite, of these examples where they have names."""
        shown = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
        kept = next(
            (path.name for path in checkpoints.folders(Path(str(self.args.output_dir))) if checkpoints.verify(path)),
            None,
        )
        there = f"{kept} is the last good checkpoint" if kept else "there is no checkpoint yet"
        advice = f"{LOWER}, or look at these examples" if ids else LOWER
        return WorldError(f"step {step}: {what}{' on ' + shown if shown else ''}; {there}; {advice}")

    def ids_of(self, inputs: Mapping[str, Any]) -> Sequence[str]:
        """Names of a batch's examples."""
        return inputs.get("ids", ())

    def load_weights(self, folder: Path) -> None:
        """Put the weights of a checkpoint into the model; UserError: they do not fit."""
        raise NotImplementedError

    def judge(self) -> dict[str, float]:
        """The model's scores and mean loss on the validation examples; WorldError: a loss is NaN or infinite."""
        raise NotImplementedError

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """`judge`, the main process's values for all, passed to the callbacks."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.judge().items()}
        metrics = distributed.same_for_all(metrics)
        self.log(dict(metrics))
        handler: Any = self.callback_handler
        self.control: Any = handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
