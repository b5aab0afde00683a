"""The training of packed batches, judged word by word, by the loss of words whose label is known in full or in part."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers.trainer_utils import TrainOutput

from receipt_trainer.contract.run_record import Score
from receipt_trainer.data.decode import choose
from receipt_trainer.data.encode import IGNORED, EncodedSplit, Ints
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.models.layoutlm.collator import PackedBatches, PackingCollator
from receipt_trainer.models.layoutlm.loss import MarginalLoss
from receipt_trainer.models.layoutlm.metrics import score
from receipt_trainer.models.layoutlm.predictor import WordPredictions, predict
from receipt_trainer.training import hardware
from receipt_trainer.training.trainer import BatchTrainer


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
