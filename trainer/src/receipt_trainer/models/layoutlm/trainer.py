"""The training of packed batches, judged word by word, by the loss of words whose label is known in full or in part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.trainer_utils import TrainOutput

from receipt_trainer.contract.run_record import Score
from receipt_trainer.data.decode import choose
from receipt_trainer.data.encode import IGNORED, EncodedSplit, Ints
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.models.layoutlm.collator import PackedBatches, PackingCollator
from receipt_trainer.models.layoutlm.metrics import score
from receipt_trainer.models.layoutlm.predictor import WordPredictions, predict
from receipt_trainer.training import hardware
from receipt_trainer.training.trainer import BatchTrainer


def target_table(space: LabelSpace, sets: Sequence[frozenset[str]]) -> Tensor:
    """(tags + sets, tags) booleans: which tags each target allows.

    The first rows are the identity; row `tags + k` allows `O` and both tags of every label of set k.
    """
    rows = [[tag == other for other in space.tags] for tag in space.tags]
    rows += [[tag == "O" or tag[2:] in names for tag in space.tags] for names in sets]
    return torch.tensor(rows, dtype=torch.bool)


class MarginalLoss:
    """Negative log of the summed probability of all tags that a word may bear.

    With one tag this is cross-entropy. With several it is the marginal likelihood of a partially annotated word
    (Tsuboi et al. 2008, Training Conditional Random Fields Using Incomplete Annotations), without the chain.
    """

    def __init__(self, table: Tensor, label_smoothing: float = 0.0) -> None:
        self._blocked = torch.zeros(table.shape).masked_fill(~table, float("-inf"))
        self._smoothing = label_smoothing

    def __call__(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Mean over supervised words; `num_items_in_batch` is their number over all accumulated batches.

        Args:
            outputs: has `logits` (rows, tokens, tags).
            labels: (rows, tokens) rows of the target table, IGNORED where nothing is supervised.
        """
        supervised = labels != IGNORED
        logits = outputs["logits"][supervised].float()
        log_probs = logits.log_softmax(dim=-1)
        blocked = self._blocked.to(logits.device)[labels[supervised]]
        losses = -torch.logsumexp(log_probs + blocked, dim=-1)
        if self._smoothing:
            losses = (1 - self._smoothing) * losses - self._smoothing * log_probs.mean(dim=-1)
        count = losses.numel() if num_items_in_batch is None else num_items_in_batch
        return losses.sum() / max(count, 1) if isinstance(count, int) else losses.sum() / count.clamp(min=1)


class ReceiptTrainer(BatchTrainer):
    """Batches are one packed row each; evaluation is `predict` over the validation windows."""

    def __init__(
        self,
        *,
        batches: PackedBatches,
        collator: PackingCollator,
        validation: EncodedSplit,
        space: LabelSpace,
        loss: MarginalLoss,
        **kwargs: Any,
    ) -> None:
        self._validation, self._space, self._loss = validation, space, loss
        super().__init__(
            batches=batches,
            collator=collator,
            num_examples=len(collator.examples),
            num_validation=len(validation.examples),
            loss=loss,
            **kwargs,
        )

    @hardware.without_cudnn_attention()
    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as transformers does, with the attention that suits packed batches."""
        return super().train(*args, **kwargs)

    def load_weights(self, folder: Path) -> None:
        """See `BatchTrainer`."""
        self.model.load_state_dict(load_file(folder / "model.safetensors"))

    def answers(self) -> tuple[WordPredictions, Ints]:
        """Predictions on the validation receipts and the label ids chosen from them."""
        with self.accelerator.autocast():
            predictions = predict(self.model, self._validation, self._space, loss=self._loss)
        return predictions, choose(predictions.probabilities, self._validation.words, self._space)

    def judge(self) -> dict[str, float]:
        """Entity scores (0..1) and the mean loss on the validation receipts; 0 where no word has a label.

        Raises:
            WorldError: the loss is NaN or infinite.
        """
        predictions, labels = self.answers()
        overall: Score = score(self._validation.words, labels, self._space)[0]
        loss = predictions.loss
        if not math.isfinite(loss):
            if bool((self._validation.examples.targets != IGNORED).any()):
                raise self.diverged(f"the validation loss is {loss}", (), self.state.global_step)
            loss = 0.0
        return {"loss": loss, "precision": overall.precision, "recall": overall.recall, "f1": overall.f1}
