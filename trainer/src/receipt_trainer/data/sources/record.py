"""One receipt as JSON: {id, source, split, width, height, words: [{text, box (pixels), line, label, ...}], ...}.

`review` {confirmed, by, at} is what a person has said of it as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.tables import moment
from receipt_trainer.data.page_words import line_numbers
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Review, Word, WordLabel, image_id_for
from receipt_trainer.data.sources.boxes import are_fractions, fit, likely_cause
from receipt_trainer.data.sources.clean import (
    BOX_DECIMALS,
    MAX_KEY,
    MAX_WORDS,
    clean,
    is_name,
    number,
    sound_box,
)
from receipt_trainer.data.sources.formats.hugging_face import columns_of
from receipt_trainer.data.sources.formats.pages import box_of, points_of

_WORD_FIELDS: Final = ("text", "box", "line", "label", "labels", "confidence")
_WORD_NAMES: Final = {"transcription": "text", "points": "box", "key_cls": "label"}
_MANY: Final = 10
"""Words from which their extent says something about the page."""
_MAX_PIXELS: Final = 1_000_000
MAX_NUMBER: Final = 999_999_999
"""Nine digits are read of the numbers in a table's keys."""
_RECEIPT_FIELDS: Final = ("id", "image_id", "receipt_id", "source", "split", "width", "height", "words")
_REVIEW: Final = "review"
_REVIEW_FIELDS: Final = {"confirmed", "by", "at"}


def given_label(word: Any) -> Any:
    """The label that a word bears, by either of its names."""
    return word.get("label", word.get("key_cls")) if isinstance(word, dict) else None


def cause_of(record: dict[str, Any]) -> str:
    """What the boxes of a record may mean instead, to follow a sentence; "" if nothing is likelier."""
    width, height = number(record.get("width")), number(record.get("height"))
    boxes = [box for word in record["words"] if (box := corners_of(word)) is not None]
    return likely_cause(boxes, width, height) if width and height else ""


def is_record(value: Any) -> bool:
    """Whether a decoded line looks like a receipt of ours, sound or not."""
    words = value.get("words") if isinstance(value, dict) else None
    if not isinstance(words, list) or "width" not in value:
        return False
    return not words or (isinstance(words[0], dict) and any(name in words[0] for name in ("text", "transcription")))


def as_ours(record: dict[str, Any], label_names: Sequence[str]) -> dict[str, Any]:
    """The record in our form: columns of words and boxes, and words as PPOCRLabel writes them, included."""
    words = record["words"]
    if any(isinstance(word, str) for word in words):
        columns = columns_of(record, label_names)
        return record if columns is None else columns
    renamed = [
        {_WORD_NAMES.get(key, key): value for key, value in word.items()}
        if isinstance(word, dict) and "text" not in word and "transcription" in word
        else word
        for word in words
    ]
    for n, word in enumerate(renamed):
        label = word.get("label") if isinstance(word, dict) else None
        if isinstance(label, int) and is_whole(label, 0, len(label_names) - 1):
            renamed[n] = word | {"label": label_names[label]}
    return record | {"words": renamed}


def parse_record(
    record: Any, place: str, problems: ProblemLog, max_words: int = MAX_WORDS, label_names: Sequence[str] = ()
) -> Receipt | None:
    """One decoded line as a receipt, or None and a problem. `place` names it where it has no id."""
    if not isinstance(record, dict) or not isinstance(record.get("words"), list):
        problems.add(ProblemKind.BAD_RECORD, place, detail="no words list")
        return None
    record = as_ours(record, label_names)
    if any(isinstance(word, str) for word in record["words"]):
        detail = "words are texts: bboxes and ner_tags of the same length are needed beside them"
        problems.add(ProblemKind.BAD_RECORD, place, detail=detail)
        return None
    called = record.get("id")
    name = called if is_name(called) else str(called) if is_whole(called, 0, MAX_NUMBER**2) else ""
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
    if (image_id is not None and not is_name(image_id, MAX_KEY)) or not is_whole(receipt_id, 1, MAX_NUMBER):
        problems.add(ProblemKind.BAD_RECORD, name, detail=f"image_id {image_id!r}, receipt_id {receipt_id!r}")
        return None
    if len(record["words"]) > max_words:
        problems.add(ProblemKind.TOO_MANY_WORDS, name, detail=f"{len(record['words'])} words, at most {max_words}")
        return None
    given = [corners_of(word) for word in record["words"]]
    boxes = [box for box in given if box is not None]
    if len(boxes) == len(given) and are_fractions(boxes, width, height):
        for n, box in enumerate(boxes):
            problems.add(ProblemKind.BOXES_FRACTIONS, name, f"word {n}", list(box))
        return None
    outside = problems.counts[ProblemKind.BOX_OUTSIDE_PAGE]
    rows = _rows(record["words"], given)
    lined = record["words"] if rows is None else [_on_line(*pair) for pair in zip(record["words"], rows, strict=True)]
    parsed = _parse_words(lined, given, width, height, name, problems)
    if rows is not None:
        parsed.sort(key=lambda pair: (pair[1].line, pair[1].box[0]))
    places, words = [place for place, _ in parsed], tuple(word for _, word in parsed)
    if (
        problems.counts[ProblemKind.BOX_OUTSIDE_PAGE] > outside
        and len(boxes) >= _MANY
        and fit(boxes, height, width) == 1
    ):
        problems.add(ProblemKind.PAGE_SIZE_SWAPPED, name, detail=f"width {width:g}, height {height:g}")
    source, split = (_optional_name(record, field, name, problems) for field in ("source", "split"))
    review = parse_review(record.get(_REVIEW))
    receipt = Receipt(
        image_id=image_id or image_id_for(source, name),
        receipt_id=receipt_id,
        words=words,
        name=name,
        source=source,
        split=split,
        width=int(width),
        height=int(height),
        extra={
            key: value
            for key, value in record.items()
            if key not in _RECEIPT_FIELDS and (key != _REVIEW or review is None)
        },
        review=review,
    )
    return clean(receipt, problems, max_words, places)


def parse_review(value: Any) -> Review | None:
    """The mark {confirmed, by, at} of a receipt; None for anything else, which other programs may call so."""
    if not isinstance(value, dict) or set(value) != _REVIEW_FIELDS or not isinstance(value["confirmed"], bool):
        return None
    by, at = value["by"], value["at"]
    if not isinstance(at, str) or not (by == "" or is_name(by)) or (at and moment(at) is None):
        return None
    return Review(value["confirmed"], by, at)


def is_page(width: float, height: float) -> bool:
    """Whether a page can have this size in pixels."""
    return min(width, height) >= 1 and max(width, height) <= _MAX_PIXELS


def is_whole(value: Any, low: int, high: int = MAX_NUMBER) -> bool:
    """Whether a value is a whole number within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def corners_of(word: Any) -> tuple[float, float, float, float] | None:
    """The word's box in the unit that it has: four numbers, or the bounding box of a quad; None if it is neither."""
    box = word.get("box") if isinstance(word, dict) else None
    given = box if isinstance(box, list) else []
    if len(given) == 8 or (given and isinstance(given[0], list | dict)):
        quad = points_of(given)
        return box_of(quad) if quad is not None and len(quad) >= 4 else None
    values = [number(value) for value in given] if len(given) == 4 else []
    x0, y0, x1, y1 = values or [None] * 4
    return None if x0 is None or y0 is None or x1 is None or y1 is None else (x0, y0, x1, y1)


def _rows(words: list[Any], boxes: Sequence[tuple[float, float, float, float] | None]) -> list[int] | None:
    """The visual row of each word by the boxes; None where any word says its line."""
    if any(isinstance(word, dict) and word.get("line") is not None for word in words):
        return None
    sound = [n for n, box in enumerate(boxes) if box is not None]
    found = dict(zip(sound, line_numbers([box for box in boxes if box is not None]), strict=True))
    return [found.get(n, 0) for n in range(len(words))]


def _optional_name(record: dict[str, Any], field: str, key: str, problems: ProblemLog) -> str:
    value = record.get(field)
    if value is None or value == "":
        return ""
    if is_name(value):
        return str(value)
    problems.add(ProblemKind.BAD_FIELD, key, field, value)
    return ""


def _parse_words(
    items: list[Any],
    boxes: Sequence[tuple[float, float, float, float] | None],
    width: float,
    height: float,
    key: str,
    problems: ProblemLog,
) -> list[tuple[str, Word]]:
    """The words with a sound box, each after where in the file it stands."""
    found = []
    for n, (item, box) in enumerate(zip(items, boxes, strict=True)):
        word = _parse_word(item, box, (width, height) * 2, key, f"word {n}", problems)
        if word is not None:
            found.append((f"word {n}", word))
    return found


def _on_line(word: Any, line: int) -> Any:
    return word | {"line": line} if isinstance(word, dict) else word


def _parse_word(
    item: Any,
    box: tuple[float, float, float, float] | None,
    size: tuple[float, float, float, float],
    key: str,
    where: str,
    problems: ProblemLog,
) -> Word | None:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        problems.add(ProblemKind.EMPTY_TEXT, key, where, item)
        return None
    scaled = [] if box is None else [value / side for value, side in zip(box, size, strict=True)]
    sound = sound_box(scaled, key, where, problems, shown=item.get("box"))
    if sound is None:
        return None
    line, confidence = item.get("line"), number(item.get("confidence"))
    line = int(line) if isinstance(line, float) and line.is_integer() else line  # pandas and R write 3.0
    if not is_whole(line, -1, MAX_NUMBER - 1):  # -1: LINE 0 of a table
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
    """`labels` says all: [[name, status], ...], then who proposed it and when; else `label` is one VALID label."""
    if item.get("labels") is None:
        label = item.get("label")
        if label is None or label in ("", OUTSIDE):
            return ()
        given: list[Any] = [[label, "VALID"]]
    else:
        given = item["labels"] if isinstance(item["labels"], list) else [item["labels"]]
    labels = []
    for pair in given:
        if isinstance(pair, list) and len(pair) in (2, 3, 4) and all(isinstance(part, str) for part in pair):
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
        pairs = [_pair(label, word) for label in word.labels]
        if pairs and (pairs != [[record["label"], "VALID"]] or record["label"] == OUTSIDE):
            record["labels"] = pairs
        if word.confidence is not None:
            record["confidence"] = word.confidence
        words.append(record | word.extra)
    head: dict[str, Any] = {"id": receipt.name or receipt.key, "source": receipt.source, "split": receipt.split}
    if receipt.image_id != image_id_for(receipt.source, receipt.name) or receipt.receipt_id != 1:
        head |= {"image_id": receipt.image_id, "receipt_id": receipt.receipt_id}
    review = receipt.review
    said = {} if review is None else {_REVIEW: {"confirmed": review.confirmed, "by": review.by, "at": review.at}}
    return head | {"width": w, "height": h, "words": words} | receipt.extra | said


def _pair(label: WordLabel, word: Word) -> list[str]:
    """A label; when it was added only where that matters: a VALID label stands beside a newer one that is open."""
    if word.is_open() and word.valid_label() is not None:
        return [label.name, label.status, label.proposed_by, label.added]
    return [label.name, label.status, *filter(None, [label.proposed_by])]


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
    """Pixels; whole where the fraction came from whole pixels. Read again, they are the same fraction."""
    exact = fraction * size
    whole = round(exact)
    return whole if abs(exact - whole) <= size * 10**-BOX_DECIMALS else round(exact, BOX_DECIMALS)
