"""Inference on exactly the training windows, and predictions as they are stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.decode import WordMeans, whole_lines
from receipt_trainer.data.encode import IGNORED, EncodedSplit
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.models.layoutlm.collator import PackingCollator, inference_batches
from receipt_trainer.training import hardware

Move = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class WordPredictions:
    """The model's output for every word of a split.

    Attributes:
        probabilities: (words, 1 + labels) of `O` and of each label of the space in order; rows sum to 1.
        loss: mean loss over supervised words, or NaN where there is none.
    """

    probabilities: NDArray[np.float32]
    loss: float


@hardware.without_cudnn_attention()
@torch.inference_mode()
def predict(
    model: nn.Module,
    split: EncodedSplit,
    space: LabelSpace,
    *,
    loss: Callable[..., Tensor] | None = None,
    on_batch: Callable[[int], object] | None = None,
) -> WordPredictions:
    """Run the model over a split, in its current precision context.

    Args:
        loss: to also measure the loss, as in training.
        on_batch: called with the number of examples done, for progress.
    """
    device = next(model.parameters()).device
    means = WordMeans(len(split.words.texts), len(space.labels))
    collate = PackingCollator(split.examples, select=True, coarse=device.type == "cuda")
    losses: list[tuple[Tensor, int]] = []  # stay on the device until all is done: reading one waits for the batch
    was_training = model.training
    model.eval()
    for numbers in inference_batches(split.examples):
        batch = collate(numbers)
        labels = batch.pop("labels")
        count = int((labels != IGNORED).sum())
        outputs = model(**_to(batch, device))
        if loss is not None and count:
            losses.append((loss(outputs, labels.to(device)), count))
        words = split.examples.words_in(numbers)
        if len(words):
            means.add(outputs["logits"][0].float().softmax(dim=-1).cpu().numpy(), words)
        report_progress("an evaluation batch")
        if on_batch is not None:
            on_batch(len(numbers))
    model.train(was_training)
    supervised = sum(count for _, count in losses)
    total_loss = sum(float(mean) * count for mean, count in losses)
    probabilities = whole_lines(means.mean(), split.words.lines, split.words.offsets, space)
    return WordPredictions(probabilities, total_loss / supervised if supervised else float("nan"))


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    return value
