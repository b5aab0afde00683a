"""transformers' Trainer on packed batches, judged word by word."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import TrainOutput

from receipt_trainer.contract.run_record import Score
from receipt_trainer.data.examples import EncodedSplit, Ints
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.models.layoutlm.collator import EpochBatches, Numbers, PackingCollator
from receipt_trainer.models.layoutlm.loss import MarginalLoss
from receipt_trainer.models.layoutlm.metrics import score
from receipt_trainer.models.layoutlm.predictor import Predictions, choose, predict
from receipt_trainer.training import distributed, hardware


class ReceiptTrainer(Trainer):
    """Batches come from `batches`, in one packed row each; evaluation is `predict` over the validation windows."""

    def __init__(
        self,
        *,
        batches: EpochBatches,
        collator: PackingCollator,
        validation: EncodedSplit,
        space: LabelSpace,
        loss: MarginalLoss,
        **kwargs: Any,
    ) -> None:
        self._batches = batches
        self._collator = collator
        self._validation = validation
        self._space = space
        self._loss = loss
        count = len(collator.examples)
        super().__init__(
            train_dataset=Numbers(count),
            eval_dataset=Numbers(len(validation.examples)),
            compute_loss_func=loss,
            **kwargs,
        )

    @hardware.without_cudnn_attention()
    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Train as transformers does, with the attention that suits packed batches."""
        return super().train(*args, **kwargs)

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

    def judge(self) -> tuple[Predictions, Ints]:
        """Predictions on the validation receipts and the label ids chosen from them."""
        with self.accelerator.autocast():
            predictions = predict(self.model, self._validation, self._space, loss=self._loss)
        return predictions, choose(predictions, self._validation, self._space)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Entity scores (0..1) and the mean loss on the validation receipts."""
        predictions, labels = self.judge()
        overall: Score = score(self._validation.words, labels, self._space)[0]
        values = {"loss": predictions.loss, "precision": overall.precision, "recall": overall.recall, "f1": overall.f1}
        metrics = {f"{metric_key_prefix}_{name}": float(np.nan_to_num(value)) for name, value in values.items()}
        metrics = distributed.same_for_all(metrics)
        self.log(dict(metrics))
        handler: Any = self.callback_handler
        self.control: Any = handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
