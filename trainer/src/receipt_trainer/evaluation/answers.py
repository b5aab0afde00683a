"""A model's answers on disk, from which scores are computed again without the model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer; `image` may be relative to the predictions' folder, `gold` is JSON; a batch shares its `seconds`."""

    id: str
    image: str
    gold: str
    text: str
    seconds: float


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Replace `path` atomically by one line of JSON a prediction."""
    lines = [json.dumps(asdict(prediction), ensure_ascii=False) for prediction in predictions]
    write_atomically(path, "".join(line + "\n" for line in lines).encode("utf-8", "replace"))


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions.

    Raises:
        UserError: no such file, a line that is no prediction, an id that comes twice, or no line at all.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other line separators may stand in a text
    except OSError as error:
        raise UserError(f"{path}: cannot read predictions: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a UTF-8 text: {error.reason} at byte {error.start}") from None
    found: dict[str, Prediction] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        prediction = parse_prediction(line, f"{path}:{number}")
        if prediction.id in found:
            raise UserError(f"{path}:{number}: a second prediction of {prediction.id!r}")
        found[prediction.id] = prediction
    if not found:
        raise UserError(f"{path}: holds no predictions")
    return list(found.values())


def parse_prediction(line: str, where: str) -> Prediction:
    """One line of a file of predictions; UserError: it is invalid; `where` begins the message."""
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected an object")
    wrong = [name for name in ("id", "image", "gold", "text") if not isinstance(values.get(name), str)]
    seconds = values.get("seconds", 0.0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        wrong.append("seconds")
    if wrong:
        raise UserError(f"{where}: {', '.join(wrong)}: missing or of the wrong kind")
    return Prediction(values["id"], values["image"], values["gold"], values["text"], float(seconds))
