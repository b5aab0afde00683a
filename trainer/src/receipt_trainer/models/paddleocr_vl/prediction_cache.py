"""Answers of an evaluation that is under way: what was answered before it was stopped is not asked again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.examples import VlExample
from receipt_trainer.models.paddleocr_vl.predictions import Prediction, parse_prediction


class Unfinished:
    """A file that begins with what was asked of whom, and grows by a line an answer."""

    def __init__(self, predictions: Path, asked: Mapping[str, Any]) -> None:
        """
        Args:
            predictions: the file that the answers become; this one stands beside it.
            asked: all that answers depend on besides the documents, JSON values.
        """
        self.path = predictions.with_name(f".{predictions.name}.unfinished")
        self._head = json.dumps(asked, sort_keys=True)

    def answered(self, examples: Sequence[VlExample]) -> dict[str, Prediction]:
        """Answers to these examples that are there already, by id; none if something else was asked."""
        try:
            head, *lines = self.path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            return {}
        if head != self._head:
            return {}
        documents = {example.id: (str(example.image.resolve()), example.output) for example in examples}
        found = (prediction for line in lines if (prediction := _whole(line)) is not None)
        return {one.id: one for one in found if documents.get(one.id) == (one.image, one.gold)}

    def keep(self, known: Iterable[Prediction], coming: Iterable[Prediction]) -> Iterator[Prediction]:
        """Write and pass on what is known, then what comes, each answer before it is passed on."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        listed = list(known)
        with self.path.open("w", encoding="utf-8", errors="replace") as stream:
            stream.write(f"{self._head}\n")
            for predictions in (listed, coming):
                for prediction in predictions:
                    stream.write(json.dumps(asdict(prediction), ensure_ascii=False) + "\n")
                    stream.flush()
                    yield prediction

    def remove(self) -> None:
        """The answers are in their place."""
        self.path.unlink(missing_ok=True)


def _whole(line: str) -> Prediction | None:
    """None for a line that was cut off."""
    try:
        return parse_prediction(line, "")
    except UserError:
        return None


def files_of(*folders: str | Path | None) -> list[list[Any]]:
    """Names, sizes and times of the files of models that are folders: another training under the same name shows."""
    found: list[list[Any]] = []
    for folder in folders:
        if folder is None or not Path(folder).is_dir():
            continue
        files = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".safetensors", ".json"))
        found += [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return found
