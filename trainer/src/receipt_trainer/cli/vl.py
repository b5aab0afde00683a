"""`receipt-trainer vl`: documents as images in, JSON out."""

from __future__ import annotations

from typing import Final

from receipt_trainer.cli.lazy import LazyCommand, LazyGroup

_ROOM: Final = "receipt_trainer.cli"

group = LazyGroup(
    name="vl",
    help="PaddleOCR-VL with LoRA: read whole documents from their images as JSON.",
    lazy_commands={
        "train": LazyCommand(f"{_ROOM}.vl_train:command", "Fine-tune the model on images and their JSON."),
        "validate-dataset": LazyCommand(f"{_ROOM}.vl_validate:command", "Say all that is wrong with a data set."),
        "generate": LazyCommand(f"{_ROOM}.vl_generate:command", "Synthetic invoices and receipts with their truth."),
        "import": LazyCommand(f"{_ROOM}.vl_import:command", "Labelled receipts and their images as a data set."),
        "find-lr": LazyCommand(f"{_ROOM}.vl_find_lr:command", "Look for a good learning rate, and draw the curve."),
        "experiments": LazyCommand(f"{_ROOM}.vl_experiments:group", "Run and compare a folder of configurations."),
        "evaluate": LazyCommand(f"{_ROOM}.vl_evaluate:command", "Score a model on a test set."),
        "compare": LazyCommand(f"{_ROOM}.vl_compare:command", "Two models on one test set, with intervals."),
        "merge": LazyCommand(f"{_ROOM}.vl_merge:command", "Merge an adapter into its base model."),
    },
)
