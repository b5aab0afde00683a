"""Inference on exactly the training windows: one label a word, and predictions as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.predictions import PredictedWord, ReceiptPrediction
from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.encode import IGNORED, EncodedSplit, Ints, Words
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
    probabilities = np.zeros((len(split.words.texts), 1 + len(space.labels)), dtype=np.float32)
    views = np.zeros(len(probabilities), dtype=np.float32)
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
        _add(probabilities, views, outputs["logits"][0], split, numbers)
        report_progress("an evaluation batch")
        if on_batch is not None:
            on_batch(len(numbers))
    model.train(was_training)
    probabilities /= np.maximum(views, 1)[:, None]
    supervised = sum(count for _, count in losses)
    total_loss = sum(float(mean) * count for mean, count in losses)
    return WordPredictions(probabilities, total_loss / supervised if supervised else float("nan"))


def _add(
    probabilities: NDArray[np.float32],
    views: NDArray[np.float32],
    logits: Tensor,
    split: EncodedSplit,
    numbers: Sequence[int],
) -> None:
    """Add what each owned word got in these examples; `views` counts how often, for the mean."""
    data = split.examples
    words = np.concatenate([data.words[data.offsets[n] : data.offsets[n + 1]] for n in numbers])
    owned = words[words >= 0]
    if not len(owned):
        return
    tags = logits.float().softmax(dim=-1)
    both = tags[:, 1:].view(len(tags), -1, 2).sum(dim=-1)  # a label's mass is that of its B- and I-
    np.add.at(probabilities, owned, torch.cat([tags[:, :1], both], dim=1).cpu().numpy())
    np.add.at(views, owned, 1)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    return value


def choose(
    predictions: WordPredictions, split: EncodedSplit, space: LabelSpace, *, scored: bool = True
) -> NDArray[np.int32]:
    """(words,) label ids, 0 for `O`.

    Args:
        scored: predict in the label space of each receipt's gold: a label that its source does not annotate counts
            as `O`, as it does in the gold.
    """
    probabilities = predictions.probabilities
    if scored:
        probabilities = probabilities.copy()
        for row, source in enumerate(split.words.sources):
            hidden = [1 + space.labels.index(name) for name in space.unannotated(source)]
            span = slice(int(split.words.offsets[row]), int(split.words.offsets[row + 1]))
            probabilities[span, 0] += probabilities[span][:, hidden].sum(axis=1)
            probabilities[span, hidden] = 0
    return probabilities.argmax(axis=1).astype(np.int32)


def receipt_predictions(
    words: Words, probabilities: NDArray[np.float32], labels: Ints, space: LabelSpace
) -> Iterator[ReceiptPrediction]:
    """One record a receipt, in order; `score` is the probability of the chosen label."""
    names = (OUTSIDE, *space.labels)
    for row, key in enumerate(words.keys):
        span = range(int(words.offsets[row]), int(words.offsets[row + 1]))
        width, height = (int(size) for size in words.sizes[row])
        yield ReceiptPrediction(
            key=key,
            name=words.names[row],
            source=words.sources[row],
            width=width,
            height=height,
            words=tuple(
                PredictedWord(
                    text=words.texts[n],
                    box=tuple(words.boxes[n].tolist()),
                    line=int(words.lines[n]),
                    gold=names[words.gold[n]],
                    pred=names[labels[n]],
                    score=round(float(probabilities[n, labels[n]]), 4),
                )
                for n in span
            ),
        )
