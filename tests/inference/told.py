"""A model that is told its labels: `record` writes words as `P:Bread` has them, and it remembers what each is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from receipt_trainer.contract.names import CORE_LABELS
from receipt_trainer.contract.package import (
    ONNX_FP32,
    ONNX_INT8,
    Calibration,
    PackageFile,
    PackageManifest,
    Windows,
)
from receipt_trainer.data.receipt import Receipt
from tests.extraction.receipts import LABELS

PAGE = {"width": 400, "height": 600}
STEP = 30
_TOLD: dict[tuple[str, int], str] = {}


class ToldModel:
    """Stands where `PackageReader` does; every word has its label with probability `sure`."""

    def __init__(self, sure: float = 0.95, **manifest: Any) -> None:
        self.labels = ("O", *CORE_LABELS)
        self.sure = sure
        file = PackageFile(sha256="ab" * 32, size=1)
        self.manifest = PackageManifest(
            job_name="told",
            job_id="1",
            created_at="2026-01-01T00:00:00Z",
            trainer_version="0",
            labels=CORE_LABELS,
            windows=Windows(examples="both", max_length=512, use_sliding_window=True, window_stride=128),
            precision="int8",
            opset=17,
            files={ONNX_FP32: file, ONNX_INT8: file},
            **{
                "calibration": Calibration(calibrated=True),
                "special_tokens": {"cls": 1, "sep": 2, "unk": 0},
                **manifest,
            },
        )
        self.package = SimpleNamespace(folder=Path("/told"))

    def read(self, receipts: Sequence[Receipt]) -> list[SimpleNamespace]:
        """One row a word."""
        return [self._read(receipt) for receipt in receipts]

    def _read(self, receipt: Receipt) -> SimpleNamespace:
        found = [_TOLD.get((word.text, round(word.box[1] * PAGE["height"] / STEP))) for word in receipt.words]
        chosen = [self.labels.index(label or "O") for label in found]
        rest = (1 - self.sure) / (len(self.labels) - 1)
        probabilities = np.full((len(chosen), len(self.labels)), rest, dtype=np.float32)
        probabilities[np.arange(len(chosen)), chosen] = self.sure
        return SimpleNamespace(probabilities=probabilities, labels=probabilities.argmax(axis=1))


def record(name: str, *lines: str, **more: Any) -> dict[str, Any]:
    """A receipt of our format, a line of words a line."""
    words = []
    for number, line in enumerate(lines):
        x = 10
        for part in line.split():
            letter, _, rest = part.partition(":")
            text = rest if letter in LABELS and rest else part
            _TOLD[text, number] = LABELS.get(letter, "O") if rest else "O"
            y = STEP * number
            words.append({"text": text, "box": [x, y, x + 8 * len(text), y + 20], "line": number})
            x += 8 * len(text) + 10
    return {"id": name, **PAGE, "words": words, **more}
