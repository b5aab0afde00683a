"""Receipts as JSON lines: {id, source, split, width, height, words: [{text, box (pixels), line, label, ...}], ...}."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel, image_id_for
from receipt_trainer.data.receipts.clean import MAX_WORDS, clean, number, sound_box
from receipt_trainer.errors import UserError

_WORD_FIELDS = ("text", "box", "line", "label", "labels", "confidence")
_RECEIPT_FIELDS = ("id", "image_id", "receipt_id", "source", "split", "width", "height", "words")


def open_text(path: Path, mode: str = "r") -> IO[str]:
    """Open a text file, through gzip if it is called *.gz."""
    if path.suffix == ".gz":
        return gzip.open(path, f"{mode}t", encoding="utf-8")  # type: ignore[return-value]
    return path.open(mode, encoding="utf-8")


def read_jsonl(path: Path, problems: ProblemLog, max_words: int = MAX_WORDS) -> Iterator[Receipt]:
    """The sound receipts of a file; all others are in `problems`.

    Raises:
        UserError: the file is missing or is not what its name says.
    """
    seen: set[str] = set()
    try:
        with open_text(path) as stream:
            for row, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                receipt = _parse_line(line, f"{path.name}:{row}", problems, max_words)
                if receipt is None:
                    continue
                if receipt.key in seen:
                    problems.add(ProblemKind.DUPLICATE_RECEIPT, receipt.name, f"{path.name}:{row}")
                    continue
                seen.add(receipt.key)
                yield receipt
    except (OSError, EOFError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot read receipts: {reason}") from None


def _parse_line(line: str, place: str, problems: ProblemLog, max_words: int) -> Receipt | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        problems.add(ProblemKind.BAD_RECORD, place, detail=str(error))
        return None
    return parse_record(record, place, problems, max_words)


def parse_record(record: Any, place: str, problems: ProblemLog, max_words: int = MAX_WORDS) -> Receipt | None:
    """One decoded line as a receipt, or None and a problem. `place` names it where it has no id."""
    if not isinstance(record, dict) or not isinstance(record.get("words"), list):
        problems.add(ProblemKind.BAD_RECORD, place, detail="no words list")
        return None
    name = record["id"] if isinstance(record.get("id"), str) else ""
    width, height = number(record.get("width")), number(record.get("height"))
    if not name or width is None or height is None or width < 1 or height < 1:
        problems.add(ProblemKind.BAD_RECORD, name or place, detail="needs id, width and height")
        return None
    if len(record["words"]) > max_words:
        problems.add(ProblemKind.TOO_MANY_WORDS, name, detail=f"{len(record['words'])} words, at most {max_words}")
        return None
    words = []
    for index, item in enumerate(record["words"]):
        word = _parse_word(item, width, height, name, f"word {index}", problems)
        if word is not None:
            words.append(word)
    source, split = (value if isinstance(value, str) else "" for value in (record.get("source"), record.get("split")))
    image_id, receipt_id = record.get("image_id"), record.get("receipt_id")
    receipt = Receipt(
        image_id=image_id if isinstance(image_id, str) and image_id else image_id_for(source, name),
        receipt_id=receipt_id if isinstance(receipt_id, int) and receipt_id > 0 else 1,
        words=tuple(words),
        name=name,
        source=source,
        split=split,
        width=int(width),
        height=int(height),
        extra={key: value for key, value in record.items() if key not in _RECEIPT_FIELDS},
    )
    return clean(receipt, problems, max_words)


def _parse_word(item: Any, width: float, height: float, key: str, where: str, problems: ProblemLog) -> Word | None:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        problems.add(ProblemKind.EMPTY_TEXT, key, where, item)
        return None
    box = item.get("box")
    pixels = [number(value) for value in box] if isinstance(box, list) else []
    scaled = [None if v is None else v / size for v, size in zip(pixels, (width, height) * 2, strict=False)]
    sound = sound_box(scaled if len(pixels) == 4 else pixels, key, where, problems)
    if sound is None:
        return None
    line = item.get("line")
    confidence = number(item.get("confidence"))
    return Word(
        text=item["text"],
        box=sound,
        line=line if isinstance(line, int) and not isinstance(line, bool) else 0,
        labels=_parse_labels(item),
        confidence=confidence,
        extra={name: value for name, value in item.items() if name not in _WORD_FIELDS},
    )


def _parse_labels(item: dict[str, Any]) -> tuple[WordLabel, ...]:
    """`labels`: [[name, status], ...] says all; else `label` is one VALID label, `O` none."""
    full = item.get("labels")
    if isinstance(full, list):
        pairs = [pair for pair in full if isinstance(pair, list) and len(pair) == 2]
        return tuple(WordLabel(str(name), str(status)) for name, status in pairs)
    label = item.get("label")
    return (WordLabel(label),) if isinstance(label, str) and label not in ("", OUTSIDE) else ()


def to_record(receipt: Receipt) -> dict[str, Any]:
    """A receipt as a line of the format; `parse_record` gives the same receipt back."""
    words = []
    for word in receipt.words:
        x0, y0, x1, y1 = word.box
        w, h = receipt.width, receipt.height
        record: dict[str, Any] = {
            "text": word.text,
            "box": [_pixel(x0, w), _pixel(y0, h), _pixel(x1, w), _pixel(y1, h)],
            "line": word.line,
            "label": word.valid_label() or OUTSIDE,
        }
        if word.labels and [(label.name, label.status) for label in word.labels] != [(record["label"], "VALID")]:
            record["labels"] = [[label.name, label.status] for label in word.labels]
        if word.confidence is not None:
            record["confidence"] = word.confidence
        words.append(record | word.extra)
    head: dict[str, Any] = {"id": receipt.name or receipt.key, "source": receipt.source, "split": receipt.split}
    if receipt.image_id != image_id_for(receipt.source, receipt.name) or receipt.receipt_id != 1:
        head |= {"image_id": receipt.image_id, "receipt_id": receipt.receipt_id}
    return head | {"width": receipt.width, "height": receipt.height, "words": words} | receipt.extra


def _pixel(fraction: float, size: int) -> int | float:
    """Pixels; whole where the fraction came from whole pixels."""
    exact = fraction * size
    whole = round(exact)
    return whole if abs(exact - whole) < 1e-3 else round(exact, 3)
