"""The training of image batches, judged by token: its loss, and how a checkpoint's weights go back into the model."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.collator import CurriculumBatches, VlCollator
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, answer_loss, unwrapped
from receipt_trainer.models.paddleocr_vl.vision_features import VisionFeatures
from receipt_trainer.training.trainer import BatchTrainer

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
        features: tuple[VisionFeatures | None, VisionFeatures | None] = (None, None),
        **kwargs: Any,
    ) -> None:
        """
        Args:
            features: of the images to train on and of those to validate on, where they stay what they are.
        """
        self._validation, self._validation_batches, self._loss = validation, validation_batches, loss
        self._features, self._validation_features = features
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
        with self.accelerator.autocast():
            found = answer_loss(model, values_of(model, inputs, self._features), self._loss)
        loss = found.total / (found.count if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

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
                    found = answer_loss(model, values_of(model, batch, self._validation_features), plain)
                    loss = float(found.total)
                    if not math.isfinite(loss):
                        what = f"the validation loss is {loss}"
                        raise self.diverged(what, batch["ids"], self.state.global_step)
                    total += loss
                    right += found.right
                    count += found.count
                    report_progress("an evaluation batch")
        finally:
            model.train(was_training)
        return {"loss": total / max(count, 1), "accuracy": right / max(count, 1)}

    @contextlib.contextmanager
    def _same_draws(self) -> Iterator[None]:
        """An evaluation more or less changes no draw of the training."""
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if self.args.device.type == "cuda" else []):
            yield


def values_of(model: Any, batch: dict[str, Any], features: VisionFeatures | None) -> dict[str, Any]:
    """What the model is given of a batch, features instead of pixels where they are stored."""
    values = {name: value for name, value in batch.items() if name not in ("ids", "numbers")}
    if features is not None:
        pixels, grids = values.pop("pixel_values", None), values["image_grid_thw"]
        values["mm_encoder_outputs"] = features.of_batch(unwrapped(model), batch["numbers"], grids, pixels)
    return values
