"""The training of image batches, judged by token: its loss, and how a checkpoint's weights go back into the model."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from receipt_trainer.config.paddleocr_vl import LossSection
from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.collator import CurriculumBatches, VlCollator
from receipt_trainer.models.paddleocr_vl.encode import IGNORED
from receipt_trainer.training.trainer import BatchTrainer

_FLOOR: Final = 1e-12
"""Of 1 - p in the focal loss: below gamma 1 its gradient has a pole at 0."""


class TokenLoss:
    """Cross entropy, focal loss or label smoothing in nats, summed over tokens."""

    def __init__(self, section: LossSection | None = None) -> None:
        """Without a section: cross entropy."""
        self._section = section or LossSection()

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The sum over all tokens.

        Args:
            logits: (tokens, vocabulary), of any float type; computed in float32.
            targets: (tokens,).
        """
        section, logits = self._section, logits.float()
        if section.use_label_smoothing:
            return functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=section.label_smoothing)
        if not section.use_focal:
            return functional.cross_entropy(logits, targets, reduction="sum")
        losses = functional.cross_entropy(logits, targets, reduction="none")
        unsure = -torch.expm1(-losses)  # 1 - p, exact where p is close to 1
        weights = section.focal_alpha * unsure.clamp_min(_FLOOR) ** section.focal_gamma
        return (weights * losses).sum()


def supervised(model: Any, inputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Logits and targets of the supervised tokens alone.

    The vocabulary is large: logits are computed only at positions that some example of the batch learns from.

    Args:
        inputs: a batch of `collate` without `ids`.

    Returns:
        (supervised tokens, vocabulary) and (supervised tokens,).
    """
    values = dict(inputs)
    targets: Tensor = values.pop("labels")[:, 1:]
    places = (targets != IGNORED).any(dim=0).nonzero().squeeze(1)
    logits = model(**values, logits_to_keep=places, use_cache=False).logits
    wanted = targets[:, places]
    mask = wanted != IGNORED
    return logits[mask], wanted[mask]


ADAPTER: Final = "adapter_model.safetensors"


def load_weights(model: Any, folder: Path) -> None:
    """Overwrite the trained weights of `model` by those in `folder`.

    A complete model's file bears the names of the published one, which `load_state_dict` does not know.

    Raises:
        UserError: the file does not fit the model.
    """
    if (folder / ADAPTER).is_file():
        from peft import set_peft_model_state_dict

        result: Any = set_peft_model_state_dict(model, load_file(folder / ADAPTER))
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        wrong = [*result.unexpected_keys, *(name for name in result.missing_keys if name in trained)]
    else:
        stored, info = type(model).from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        wrong = [*info["missing_keys"], *info["unexpected_keys"]]
        model.load_state_dict(stored.state_dict())
    if wrong:
        raise UserError(f"{folder}: its weights are not those of this model, such as {sorted(wrong)[0]}")


class VlTrainer(BatchTrainer):
    """The loss of a step is the mean over all supervised tokens of all its batches."""

    def __init__(
        self,
        *,
        batches: CurriculumBatches,
        collator: VlCollator,
        num_examples: int,
        validation: VlCollator,
        validation_batches: list[list[int]],
        loss: TokenLoss,
        **kwargs: Any,
    ) -> None:
        self._validation, self._validation_batches, self._loss = validation, validation_batches, loss
        super().__init__(
            batches=batches,
            collator=collator,
            num_examples=num_examples,
            num_validation=sum(map(len, validation_batches)),
            loss=loss,
            **kwargs,
        )

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Tensor | int | None]:
        """The batches of a step; their tokens are counted."""
        batches, count = super().get_batch_samples(*args, **kwargs)
        self.num_tokens += sum(int(batch["attention_mask"].sum()) for batch in batches)
        return batches, count

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The batch's share of the step's loss."""
        values = {name: value for name, value in inputs.items() if name != "ids"}
        logits, targets = supervised(model, values)
        loss = self._loss(logits, targets) / (len(targets) if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, {"logits": logits}) if return_outputs else loss

    def load_weights(self, folder: Path) -> None:
        """See `BatchTrainer`."""
        load_weights(self.model, folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(model or self.model, Path(resume_from_checkpoint))

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
                        raise self.diverged(what, batch["ids"], self.state.global_step)
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
