"""Shared by the commands that use a trained model: the model, labelled receipts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receipt_trainer.cli.render.tables import progress_bar
from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.data.labels import LabelSpace, normalise
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.load import load_receipts
from receipt_trainer.errors import UserError
from receipt_trainer.training.console import quiet_libraries, say_loading

if TYPE_CHECKING:
    from receipt_trainer.data.encode import EncodedSplit
    from receipt_trainer.models.layoutlm.export import SavedModel
    from receipt_trainer.models.layoutlm.predictor import WordPredictions
    from receipt_trainer.training.hardware import Precision


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained model on its device."""

    saved: SavedModel
    device: str
    precision: Precision

    @property
    def space(self) -> LabelSpace:
        """The labels the model knows."""
        return self.saved.space

    def read(
        self, receipts: Sequence[Receipt], progress: Callable[[int, int], None] | None = None
    ) -> tuple[EncodedSplit, WordPredictions]:
        """Cut the receipts as in training and predict every word; `progress` takes examples done, of how many."""
        import torch

        from receipt_trainer.data.encode import encode
        from receipt_trainer.models.layoutlm.predictor import predict

        split = encode(receipts, self.space, self.saved.tokenizer, self.saved.config)
        done = 0

        def count(examples: int) -> None:
            nonlocal done
            done += examples
            if progress is not None:
                progress(done, len(split.examples))

        low = torch.bfloat16 if self.precision == "bf16" else torch.float16
        with torch.autocast(self.device, low, enabled=self.precision != "fp32"):
            return split, predict(self.saved.model, split, self.space, on_batch=count)


def open_reader(model: str, device: str, precision: str) -> TrainedModel:
    """Load a trained model; UserError: there is none, or the machine cannot do what is asked."""
    say_loading()
    from receipt_trainer.models.layoutlm.export import load_model
    from receipt_trainer.training import hardware

    quiet_libraries()
    wanted = TrainingConfig.model_validate({"device": device, "precision": precision})
    cuda = hardware.use_cuda(wanted)
    chosen = hardware.precision(wanted, cuda)
    on = "cuda" if cuda else "cpu"
    return TrainedModel(load_model(model, on), on, chosen)


def labelled(receipts: Sequence[Receipt], dataset: str, problems: ProblemLog) -> list[Receipt]:
    """The receipts with a VALID label, in the order of their keys; UserError: there is none."""
    found = [receipt for receipt in receipts if receipt.is_labelled()]
    if not found:
        raise UserError(
            f"{dataset}: none of its {len(receipts)} receipts has a VALID label to compare with{problems.said()}"
        )
    return sorted(found, key=lambda receipt: receipt.key)


def load_with_progress(dataset: str, table: str | None, problems: ProblemLog) -> list[Receipt]:
    """All receipts of a data set, with a bar on a terminal."""

    with progress_bar("reading receipts", None) as progress:
        return load_receipts(dataset, problems, table=table, progress=progress)


def label_notes(receipts: Sequence[Receipt], space: LabelSpace) -> list[str]:
    """Notes for the reader of scores: which labels and predictions count as `O`, and why."""

    foreign: Counter[str] = Counter()
    for receipt in receipts:
        for label in filter(None, (word.valid_label() for word in receipt.words)):
            if normalise(label) != names.OUTSIDE and space.map(label) == names.OUTSIDE:
                foreign[normalise(label)] += 1
    notes = []
    if foreign:
        counted = ", ".join(f"{label} {count}" for label, count in foreign.most_common())
        notes.append(
            f"{foreign.total()} words bear a label that the model does not know and count as O: {counted} "
            f"(it knows {', '.join(space.labels)})"
        )
    for source in sorted({receipt.source for receipt in receipts}):
        hidden = space.unannotated(source)
        if hidden:
            listed = ", ".join(label for label in space.labels if label in hidden)
            notes.append(f"not every {listed} of source {source} is annotated: there, they count as O on both sides")
    return notes
