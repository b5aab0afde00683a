"""predictions.jsonl: what the kept model read on every validation receipt, one receipt a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from receipt_trainer.files import write_atomically


def _encodable(text: object) -> object:
    """Lone surrogates, which JSON admits and UTF-8 does not, become `?`: one bad word must not lose its receipt."""
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_encodable)]


class PredictedWord(BaseModel):
    """One word: what it bears and what the model read. Labels are without BIO prefix, `O` for none."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Text
    box: tuple[int, int, int, int] = Field(description="x0, y0, x1, y1 on the 0..1000 grid, origin at the top left")
    line: int = Field(description="Visual row of the word, as in the receipt")
    gold: Text = Field(description="The label as it is scored")
    pred: Text = Field(description="The predicted label as it is scored")
    score: float | None = Field(
        default=None, description="Probability of the predicted label, 0..1; none if it is not known"
    )
    scored: bool = Field(
        default=True,
        exclude_if=bool,
        description="False of a word whose label nobody knows: it counts nowhere, and its gold is what was predicted",
    )


class ReceiptPrediction(BaseModel):
    """One validation receipt with every word of it, in reading order."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    key: str = Field(description="Stable key of the receipt")
    name: Text = Field(default="", description="Display name of the receipt")
    source: Text = Field(default="", description="Data set it came from")
    width: int = Field(default=0, description="Page width in pixels; 0 if it is not known")
    height: int = Field(default=0, description="Page height in pixels; 0 if it is not known")
    words: tuple[PredictedWord, ...] = ()


class Predictions(NamedTuple):
    """The receipts of a file, and the numbers (from 1) of the lines that are not receipts."""

    receipts: list[ReceiptPrediction]
    broken_lines: list[int]


def read_predictions(path: Path) -> Predictions:
    """Read predictions.jsonl; unknown keys are ignored, a broken line is left out and named."""
    found = Predictions([], [])
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                found.receipts.append(ReceiptPrediction.model_validate_json(line))
            except ValidationError:
                found.broken_lines.append(number)
    return found


def write_predictions(path: Path, receipts: Iterable[ReceiptPrediction]) -> None:
    """Replace `path` atomically by one line a receipt."""
    write_atomically(path, b"".join(receipt.model_dump_json().encode() + b"\n" for receipt in receipts))
