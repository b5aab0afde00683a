"""transformers' Trainer with a loss over supervised tokens alone."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from receipt_trainer.contract.progress import report_progress
from receipt_trainer.errors import WorldError
from receipt_trainer.models.layoutlm.collator import Numbers
from receipt_trainer.models.paddleocr_vl.batches import VlCollator
from receipt_trainer.models.paddleocr_vl.checkpoint_weights import load_weights
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, supervised
from receipt_trainer.models.paddleocr_vl.sampler import EpochBatches
from receipt_trainer.training import checkpoints, distributed

_SHOWN = 8


class VlTrainer(Trainer):
    """Batches come from `batches`; the loss of a step is the mean over all supervised tokens of all its batches."""

    def __init__(
        self,
        *,
        batches: EpochBatches,
        collator: VlCollator,
        num_examples: int,
        validation: VlCollator,
        validation_batches: list[list[int]],
        loss: TokenLoss,
        **kwargs: Any,
    ) -> None:
        self._batches = batches
        self._collator = collator
        self._validation = validation
        self._validation_batches = validation_batches
        self._loss = loss
        self._ids_of_step: list[str] = []
        self.num_tokens = 0
        """Tokens, prompts and answers without padding, that this process has trained on."""
        super().__init__(
            train_dataset=Numbers(num_examples),
            eval_dataset=Numbers(sum(map(len, validation_batches))),
            compute_loss_func=loss,
            **kwargs,
        )

    def get_train_dataloader(self) -> DataLoader[Tensor]:
        """Batches whose order is a function of seed and epoch."""
        loader: DataLoader[Tensor] = DataLoader(
            self.train_dataset,
            batch_sampler=self._batches,
            collate_fn=self._collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Tensor] = self.accelerator.prepare(loader)
        return prepared

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Tensor | int | None]:
        """The batches of a step; their examples are remembered, to name them where the step goes wrong."""
        batches, count = super().get_batch_samples(*args, **kwargs)
        self._ids_of_step = [name for batch in batches for name in batch["ids"]]
        self.num_tokens += sum(int(batch["attention_mask"].sum()) for batch in batches)
        return batches, count

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The batch's share of the step's loss.

        Raises:
            WorldError: it is NaN or infinite; says at which step and on which examples.
        """
        ids = inputs["ids"]
        values = {name: value for name, value in inputs.items() if name != "ids"}
        logits, targets = supervised(model, values)
        loss = self._loss(logits, targets) / (len(targets) if num_items_in_batch is None else num_items_in_batch)
        if not bool(torch.isfinite(loss.detach())):
            raise self._diverged(f"the loss is {float(loss.detach())}", ids, self.state.global_step + 1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, {"logits": logits}) if return_outputs else loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Looks at the gradient before it reaches the weights.

        Raises:
            WorldError: it is NaN or infinite.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and not bool(torch.isfinite(torch.as_tensor(norm))):
            what = f"the gradient's norm is {float(norm)}"
            raise self._diverged(what, self._ids_of_step, self.state.global_step + 1)
        return norm

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(model or self.model, Path(resume_from_checkpoint))

    def _diverged(self, what: str, ids: list[str], step: int) -> WorldError:
        shown = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else "")
        kept = next(
            (path.name for path in checkpoints.folders(Path(str(self.args.output_dir))) if checkpoints.verify(path)),
            None,
        )
        there = f"{kept} is the last good checkpoint" if kept else "there is no checkpoint yet"
        return WorldError(
            f"step {step}: {what} on {shown}; {there}; lower the learning rate, or look at these examples"
        )

    def judge(self) -> dict[str, float]:
        """Mean cross entropy (nats) and share of right tokens over the validation answers, teacher-forced.

        Raises:
            WorldError: the loss of a batch is NaN or infinite; says after which step and on which examples.
        """
        model, plain = self.model, TokenLoss()
        was_training = model.training
        model.eval()
        total, right, count = 0.0, 0, 0
        try:
            with torch.no_grad(), self._same_draws(), self.accelerator.autocast():
                for numbers in self._validation_batches:
                    batch = self._prepare_inputs(self._validation(numbers))
                    logits, targets = supervised(model, {k: v for k, v in batch.items() if k != "ids"})
                    loss = float(plain(logits, targets))
                    if not math.isfinite(loss):
                        what = f"the validation loss is {loss}"
                        raise self._diverged(what, batch["ids"], self.state.global_step)
                    total += loss
                    right += int((logits.argmax(dim=-1) == targets).sum())
                    count += len(targets)
                    report_progress("an evaluation batch")
        finally:
            model.train(was_training)
        return {"loss": total / max(count, 1), "accuracy": right / max(count, 1)}

    @contextlib.contextmanager
    def _same_draws(self) -> Iterator[None]:
        """An evaluation more or less changes no draw of the training."""
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if self.args.device.type == "cuda" else []):
            yield

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """`judge`, told to whoever listens."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.judge().items()}
        metrics = distributed.same_for_all(metrics)
        self.log(dict(metrics))
        handler: Any = self.callback_handler
        self.control: Any = handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
