"""Receipts as JSON lines: {id, source, split, width, height, words: [{text, box (pixels), line, label, ...}], ...}."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel, image_id_for
from receipt_trainer.data.sources.clean import MAX_KEY, MAX_WORDS, clean, is_name, number, sound_box
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_text

_WORD_FIELDS = ("text", "box", "line", "label", "labels", "confidence")
_MAX_PIXELS = 1_000_000
_MAX_NUMBER = 999_999_999  # nine digits are read of the numbers in a table's keys
_RECEIPT_FIELDS = ("id", "image_id", "receipt_id", "source", "split", "width", "height", "words")


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
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
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
    name = record["id"] if is_name(record.get("id")) else ""
    width, height = number(record.get("width")), number(record.get("height"))
    if not name or width is None or height is None or not is_page(width, height):
        wrong = [
            f"{field} {record.get(field)!r}"[:60]
            for field, is_sound in (("id", name), ("width", width), ("height", height))
            if not is_sound
        ] or ["no page has this size"]
        detail = f"needs id (a text), width and height: {', '.join(wrong)}"
        problems.add(ProblemKind.BAD_RECORD, name or place, detail=detail)
        return None
    image_id, receipt_id = record.get("image_id"), record.get("receipt_id", 1)
    if (image_id is not None and not is_name(image_id, MAX_KEY)) or not _is_whole(receipt_id, 1, _MAX_NUMBER):
        problems.add(ProblemKind.BAD_RECORD, name, detail=f"image_id {image_id!r}, receipt_id {receipt_id!r}")
        return None
    if len(record["words"]) > max_words:
        problems.add(ProblemKind.TOO_MANY_WORDS, name, detail=f"{len(record['words'])} words, at most {max_words}")
        return None
    places, words = _parse_words(record["words"], width, height, name, problems)
    source, split = (_optional_name(record, field, name, problems) for field in ("source", "split"))
    receipt = Receipt(
        image_id=image_id or image_id_for(source, name),
        receipt_id=receipt_id,
        words=words,
        name=name,
        source=source,
        split=split,
        width=int(width),
        height=int(height),
        extra={key: value for key, value in record.items() if key not in _RECEIPT_FIELDS},
    )
    return clean(receipt, problems, max_words, places)


def is_page(width: float, height: float) -> bool:
    """Whether a page can have this size in pixels."""
    return min(width, height) >= 1 and max(width, height) <= _MAX_PIXELS


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _optional_name(record: dict[str, Any], field: str, key: str, problems: ProblemLog) -> str:
    value = record.get(field)
    if value is None or value == "":
        return ""
    if is_name(value):
        return str(value)
    problems.add(ProblemKind.BAD_FIELD, key, field, value)
    return ""


def _parse_words(
    items: list[Any], width: float, height: float, key: str, problems: ProblemLog
) -> tuple[list[str], tuple[Word, ...]]:
    """The words with a sound box, and where in the file each of them stands."""
    parsed = {f"word {n}": _parse_word(item, width, height, key, f"word {n}", problems) for n, item in enumerate(items)}
    kept = {place: word for place, word in parsed.items() if word is not None}
    return list(kept), tuple(kept.values())


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
    line, confidence = item.get("line"), number(item.get("confidence"))
    if not _is_whole(line, -1, _MAX_NUMBER - 1):  # -1: LINE 0 of a table
        problems.add(ProblemKind.BAD_FIELD, key, where, f"line {line!r}")
        line = 0
    if confidence is None and item.get("confidence") is not None:
        problems.add(ProblemKind.BAD_FIELD, key, where, f"confidence {item['confidence']!r}")
    return Word(
        text=item["text"],
        box=sound,
        line=int(line or 0),
        labels=_parse_labels(item, key, where, problems),
        confidence=confidence,
        extra={name: value for name, value in item.items() if name not in _WORD_FIELDS},
    )


def _parse_labels(item: dict[str, Any], key: str, where: str, problems: ProblemLog) -> tuple[WordLabel, ...]:
    """`labels`: [[name, status], ...] says all; else `label` is one VALID label, `O` none."""
    if item.get("labels") is None:
        label = item.get("label")
        if label is None or label in ("", OUTSIDE):
            return ()
        given: list[Any] = [[label, "VALID"]]
    else:
        given = item["labels"] if isinstance(item["labels"], list) else [item["labels"]]
    labels = []
    for pair in given:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
            labels.append(WordLabel(*pair))
        else:
            problems.add(ProblemKind.BAD_LABEL, key, where, pair)
    return tuple(labels)


def to_record(receipt: Receipt) -> dict[str, Any]:
    """A receipt as a line of the format; `parse_record` gives the same receipt back.

    A receipt of unknown size (some tables have such) is written on a page of 1000 by 1000.
    """
    words = []
    w, h = (receipt.width, receipt.height) if min(receipt.width, receipt.height) > 0 else (1000, 1000)
    for word in receipt.words:
        x0, y0, x1, y1 = word.box
        record: dict[str, Any] = {
            "text": word.text,
            "box": [_pixel(x0, w), _pixel(y0, h), _pixel(x1, w), _pixel(y1, h)],
            "line": word.line,
            "label": word.valid_label() or OUTSIDE,
        }
        pairs = [[label.name, label.status] for label in word.labels]
        if pairs and (pairs != [[record["label"], "VALID"]] or record["label"] == OUTSIDE):
            record["labels"] = pairs
        if word.confidence is not None:
            record["confidence"] = word.confidence
        words.append(record | word.extra)
    head: dict[str, Any] = {"id": receipt.name or receipt.key, "source": receipt.source, "split": receipt.split}
    if receipt.image_id != image_id_for(receipt.source, receipt.name) or receipt.receipt_id != 1:
        head |= {"image_id": receipt.image_id, "receipt_id": receipt.receipt_id}
    return head | {"width": w, "height": h, "words": words} | receipt.extra


def to_line(receipt: Receipt) -> str:
    """A receipt as one line of a file, with its end."""
    record = to_record(receipt)
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:  # half a surrogate pair in a field that we only carry along
        line = json.dumps(record)
    return line + "\n"


def _pixel(fraction: float, size: int) -> int | float:
    """Pixels; whole where the fraction came from whole pixels."""
    exact = fraction * size
    whole = round(exact)
    return whole if abs(exact - whole) < 1e-6 else round(exact, 6)
