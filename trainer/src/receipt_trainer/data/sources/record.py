"""One receipt as JSON: {id, source, split, width, height, words: [{text, box (pixels), line, label, ...}], ...}.

`review` {confirmed, by, at} is what a person has said of it as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.page_words import line_numbers
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel, image_id_for
from receipt_trainer.data.sources.boxes import are_fractions, are_percent, are_upright, fit, likely_cause
from receipt_trainer.data.sources.clean import (
    BOX_DECIMALS,
    MAX_KEY,
    MAX_WORDS,
    clean,
    is_name,
    number,
    parse_review,
    sound_box,
)
from receipt_trainer.data.sources.formats.hugging_face import columns_of, named
from receipt_trainer.data.sources.formats.pages import box_of, points_of

Corners = tuple[float, float, float, float]
_WORD_FIELDS: Final = ("text", "box", "line", "label", "labels", "confidence")
_WORD_NAMES: Final = {"transcription": "text", "points": "box", "key_cls": "label"}
_OTHER_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "words": ("tokens", "texts", "items", "annotations", "lines", "form"),
    "id": ("name", "image", "file_name", "filename", "image_path", "uid", "key"),
    "width": ("w", "image_width", "page_width", "img_width"),
    "height": ("h", "image_height", "page_height", "img_height"),
    "text": ("word", "value", "token", "content", "txt", "string", "ocr"),
    "box": ("bbox", "bounding_box", "boundingbox", "rect", "quad", "points", "polygon", "poly", "coordinates"),
    "label": ("tag", "ner_tag", "category", "class", "entity"),
}
"""What others call a key, in lower case."""
_SIDES: Final = frozenset(
    {"x", "y", "w", "h", "x0", "y0", "x1", "y1", "x2", "y2", "left", "top", "right", "bottom", "width", "height"}
    | {"xmin", "ymin", "xmax", "ymax"}
)
_NEAR: Final = 0.75
_MANY: Final = 10
"""Words from which their extent says something about the page."""
_LONG: Final = 4
"""Characters of a word that is wider than high."""
_MAX_PIXELS: Final = 1_000_000
MAX_NUMBER: Final = 999_999_999
"""Nine digits are read of the numbers in a table's keys."""
_RECEIPT_FIELDS: Final = ("id", "image_id", "receipt_id", "source", "split", "width", "height", "words")
_KNOWN: Final = frozenset((*_WORD_FIELDS, *_RECEIPT_FIELDS))
_REVIEW: Final = "review"


def given_label(word: Any) -> Any:
    """The label that a word bears, by either of its names; of a list of one what is in it."""
    return _alone(word.get("label", word.get("key_cls"))) if isinstance(word, dict) else None


def _alone(label: Any) -> Any:
    return label[0] if isinstance(label, list) and len(label) == 1 else label


def boxes_of(record: dict[str, Any]) -> tuple[list[Corners], float, float]:
    """The boxes of a record's words, and the size of its page, 0 by 0 where it has none."""
    boxes = [box for word in record["words"] if (box := corners_of(word)) is not None]
    return boxes, number(record.get("width")) or 0.0, number(record.get("height")) or 0.0


@lru_cache(maxsize=1024)
def _meant(keys: tuple[str, ...], wanted: str, others: tuple[str, ...] = ()) -> str:
    """A sentence on the key that stands where `wanted` does not: one of the others, or a misspelt one; "" if none."""
    if wanted in keys:
        return ""
    unknown = [key for key in keys if key not in _KNOWN]
    other = [key for key in unknown if key.casefold() in others]
    near = other or [key for key in unknown if SequenceMatcher(None, key.casefold(), wanted).ratio() >= _NEAR]
    return f"there is {near[0][:40]!r} and no {wanted!r}: is {wanted!r} meant?" if near else ""


def _not_a_box(item: Any) -> str:
    """What the box of a word is instead of four numbers or a quad; "" if nothing is known."""
    if not isinstance(item, dict):
        return ""
    box = item.get("box")
    if box is None:
        sides = [key for key in item if key.casefold() in _SIDES]
        apart = f"a word has {', '.join(sides)}, each by itself" if len(sides) >= 4 else "words have no box"
        return _meant(tuple(item), "box", _OTHER_NAMES["box"]) or f"{apart}: a box of x0, y0, x1, y1 is needed"
    if isinstance(box, dict):
        return f"boxes are objects with {', '.join(map(str, box))[:60]}: a list of x0, y0, x1, y1 is needed"
    if isinstance(box, str) or (isinstance(box, list) and any(isinstance(value, str) for value in box)):
        return "boxes are texts: a list of four numbers is needed"
    return ""


def _not_a_text(item: Any) -> str:
    """What stands where a word's text is needed; "" if nothing is known."""
    if isinstance(item, list) or (isinstance(item, dict) and isinstance(item.get("words"), list)):
        return "words are nested by line: one list of words is needed, each with the number of its `line`"
    if not isinstance(item, dict):
        return ""
    if number(item.get("text")) is not None:
        return 'texts are numbers: write them in quotes, "12.50"'
    return _meant(tuple(item), "text", _OTHER_NAMES["text"])


def is_record(value: Any) -> bool:
    """Whether a decoded line looks like a receipt of ours, sound or not."""
    words = value.get("words") if isinstance(value, dict) else None
    if not isinstance(words, list) or "width" not in value:
        return False
    return not words or (isinstance(words[0], dict) and any(name in words[0] for name in ("text", "transcription")))


def records_under(value: Any) -> str:
    """A sentence on the key of an object under which a list of receipts of ours stands; "" if there is none."""
    lists = {key: each for key, each in value.items() if isinstance(each, list)} if isinstance(value, dict) else {}
    found = next((key for key, each in lists.items() if each and is_record(each[0])), None)
    return "" if found is None else f"receipts stand under {found[:40]!r}: that list alone is needed"


def as_ours(record: dict[str, Any], label_names: Sequence[str] = ()) -> dict[str, Any]:
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
    if label_names:
        renamed = [
            word | {"label": named(word["label"], label_names)} if isinstance(word, dict) and "label" in word else word
            for word in renamed
        ]
    return record | {"words": renamed}


def parse_record(
    record: Any, place: str, problems: ProblemLog, max_words: int = MAX_WORDS, label_names: Sequence[str] = ()
) -> Receipt | None:
    """One decoded line as a receipt, or None and a problem. `place` names it where it has no id.

    A receipt with more than half of its words without text or box is left out whole.
    """
    if not isinstance(record, dict) or not isinstance(record.get("words"), list):
        meant = _meant(tuple(record), "words", _OTHER_NAMES["words"]) if isinstance(record, dict) else ""
        lines = record.get("lines") if isinstance(record, dict) else None
        nested = _not_a_text(lines[0]) if isinstance(lines, list) and lines else ""
        meant = records_under(record) or nested or meant
        if isinstance(record, dict) and isinstance(record.get("words"), dict | str):
            meant = f"`words` is {'a text' if isinstance(record['words'], str) else 'an object'}: a list is needed"
        problems.add(ProblemKind.BAD_RECORD, place, detail="no words list", cause=meant)
        return None
    record = as_ours(record, label_names)
    page = _page_of(record, place, problems, max_words)
    words = page and _words_of(record["words"], *page, problems)
    if page is None or words is None:
        return None
    (name, width, height), image_id = page, record.get("image_id")
    source, split = (_optional_name(record, field, name, problems) for field in ("source", "split"))
    review = parse_review(record.get(_REVIEW))
    receipt = Receipt(
        image_id=image_id or image_id_for(source, name),
        receipt_id=record.get("receipt_id", 1),
        words=tuple(word for _, word in words),
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
    return clean(receipt, problems, max_words, [where for where, _ in words])


def _page_of(
    record: dict[str, Any], place: str, problems: ProblemLog, max_words: int
) -> tuple[str, float, float] | None:
    """The receipt's name, width and height; None, and a problem, where something around the words is wrong."""
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
        missing = next((field for field in ("id", "width", "height") if record.get(field) is None), "")
        meant = _meant(tuple(record), missing, _OTHER_NAMES[missing]) if missing else ""
        problems.add(ProblemKind.BAD_RECORD, name or place, detail=detail, cause=meant)
        return None
    image_id, receipt_id = record.get("image_id"), record.get("receipt_id", 1)
    if (image_id is not None and not is_name(image_id, MAX_KEY)) or not is_whole(receipt_id, 1, MAX_NUMBER):
        problems.add(ProblemKind.BAD_RECORD, name, detail=f"image_id {image_id!r}, receipt_id {receipt_id!r}")
        return None
    if len(record["words"]) > max_words:
        problems.add(ProblemKind.TOO_MANY_WORDS, name, detail=f"{len(record['words'])} words, at most {max_words}")
        return None
    return name, width, height


def _words_of(
    items: list[Any], name: str, width: float, height: float, problems: ProblemLog
) -> list[tuple[str, Word]] | None:
    """The sound words, each after where in the file it stands; None, and a problem, where most are not."""
    given = [corners_of(word) for word in items]
    boxes = [box for box in given if box is not None]
    for is_part, unit in ((are_fractions, "fractions of the page, 0..1"), (are_percent, "percent of the page")):
        if len(boxes) == len(given) and is_part(boxes, width, height):
            for n, box in enumerate(boxes):
                problems.add(ProblemKind.BOXES_FRACTIONS, name, f"word {n}", list(box))
            problems.explain(ProblemKind.BOXES_FRACTIONS, f"the boxes look like {unit}; pixels are needed")
            return None
    outside, bad = (problems.counts[kind] for kind in (ProblemKind.BOX_OUTSIDE_PAGE, ProblemKind.BAD_BOX))
    lines, is_guessed = _lines_of(items, given, name, problems)
    parsed = _parse_words(items, given, lines, (width, height) * 2, name, problems)
    if is_guessed:
        parsed.sort(key=lambda pair: (pair[1].line, pair[1].box[0]))
    outside = problems.counts[ProblemKind.BOX_OUTSIDE_PAGE] - outside
    lost = len(given) - len(parsed)
    if outside and len(boxes) >= _MANY and fit(boxes, height, width) == 1:
        cause = "width and height of the page look swapped (a photo lying on its side)"
        problems.add(ProblemKind.PAGE_SIZE_SWAPPED, name, detail=f"width {width:g}, height {height:g}", cause=cause)
    cause = likely_cause(boxes, width, height).removeprefix(": ") if lost else ""
    if 2 * lost > len(given):
        detail = f"{lost} of {len(given)} words have no text or no box on the page"
        problems.add(ProblemKind.MOSTLY_UNUSABLE, name, detail=detail, cause=cause)
        return None
    if cause and len(boxes) >= _MANY and problems.counts[ProblemKind.BAD_BOX] > bad:
        problems.explain(ProblemKind.BAD_BOX, cause)
    if are_upright([word.box for _, word in parsed if len(word.text) >= _LONG], width, height):
        cause = "most words are higher than wide: a page on its side, or boxes of y0, x0, y1, x1?"
        problems.add(ProblemKind.BOXES_DOUBTFUL, name, cause=cause)
    if not any(word.labels for _, word in parsed):
        calls = (_meant(tuple(word), "label", _OTHER_NAMES["label"]) for word in items if isinstance(word, dict))
        if meant := next(filter(None, calls), ""):
            problems.add(ProblemKind.MISNAMED_KEY, name, cause=meant)
    return parsed


def is_page(width: float, height: float) -> bool:
    """Whether a page can have this size in pixels."""
    return min(width, height) >= 1 and max(width, height) <= _MAX_PIXELS


def is_whole(value: Any, low: int, high: int = MAX_NUMBER) -> bool:
    """Whether a value is a whole number within bounds."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def corners_of(word: Any) -> Corners | None:
    """The word's box in the unit that it has: four numbers, or the bounding box of a quad; None if it is neither."""
    box = word.get("box") if isinstance(word, dict) else None
    given = box if isinstance(box, list) else []
    if len(given) == 8 or (given and isinstance(given[0], list | dict)):
        quad = points_of(given)
        return box_of(quad) if quad is not None and len(quad) != 3 else None
    values = [number(value) for value in given] if len(given) == 4 else []
    x0, y0, x1, y1 = values or [None] * 4
    return None if x0 is None or y0 is None or x1 is None or y1 is None else (x0, y0, x1, y1)


def _lines_of(
    words: list[Any], boxes: Sequence[Corners | None], key: str, problems: ProblemLog
) -> tuple[list[int], bool]:
    """The line of each word, and whether they are found by the boxes, because not every word says its own."""
    said = [_line_of(word, key, n, problems) if isinstance(word, dict) else 0 for n, word in enumerate(words)]
    lines = [line for line in said if line is not None]
    if len(lines) == len(said):
        return lines, False
    problems.add(ProblemKind.LINES_GUESSED, key, detail=f"{len(said) - len(lines)} of {len(said)} words say no line")
    sound = [n for n, box in enumerate(boxes) if box is not None]
    found = dict(zip(sound, line_numbers([box for box in boxes if box is not None]), strict=True))
    return [found.get(n, 0) for n in range(len(words))], True


def _line_of(word: dict[str, Any], key: str, n: int, problems: ProblemLog) -> int | None:
    """The line that a word says; None, and a problem, for what is no line."""
    line = word.get("line")
    if (isinstance(line, float) and line.is_integer()) or (
        isinstance(line, str) and line.strip().isdecimal()
    ):  # pandas and R write 3.0
        line = int(line)
    if isinstance(line, int) and is_whole(line, -1, MAX_NUMBER - 1):
        return line
    if line is not None:
        problems.add(ProblemKind.BAD_FIELD, key, f"word {n}", f"line {line!r}")
    return None


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
    boxes: Sequence[Corners | None],
    lines: Sequence[int],
    size: Corners,
    key: str,
    problems: ProblemLog,
) -> list[tuple[str, Word]]:
    """The words with a sound box, each after where in the file it stands."""
    found = []
    for n, (item, box, line) in enumerate(zip(items, boxes, lines, strict=True)):
        word = _parse_word(item, box, line, size, key, f"word {n}", problems)
        if word is not None:
            found.append((f"word {n}", word))
    return found


def _parse_word(
    item: Any,
    box: Corners | None,
    line: int,
    size: Corners,
    key: str,
    where: str,
    problems: ProblemLog,
) -> Word | None:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        problems.add(ProblemKind.EMPTY_TEXT, key, where, item, _not_a_text(item))
        return None
    if "label" not in item and "labels" not in item and (meant := _meant(tuple(item), "label")):
        problems.add(ProblemKind.MISNAMED_KEY, key, where, item["text"], meant)
    if box is None and (instead := _not_a_box(item)):
        problems.explain(ProblemKind.BAD_BOX, instead)
    scaled = [] if box is None else [value / side for value, side in zip(box, size, strict=True)]
    sound = sound_box(scaled, key, where, problems, shown=item.get("box"))
    if sound is None:
        return None
    confidence = number(item.get("confidence"))
    if confidence is None and item.get("confidence") is not None:
        problems.add(ProblemKind.BAD_FIELD, key, where, f"confidence {item['confidence']!r}")
    return Word(
        text=item["text"],
        box=sound,
        line=line,
        labels=_parse_labels(item, key, where, problems),
        confidence=confidence,
        extra={name: value for name, value in item.items() if name not in _WORD_FIELDS},
    )


def _parse_labels(item: dict[str, Any], key: str, where: str, problems: ProblemLog) -> tuple[WordLabel, ...]:
    """`labels` says all: [[name, status], ...], then who proposed it and when; else `label` is one VALID label."""
    if item.get("labels") is None:
        label = _alone(item.get("label"))
        if label in (None, "", OUTSIDE, []) or label != label:  # pandas writes NaN for none
            return ()
        if label is not item["label"]:
            problems.add(ProblemKind.LABEL_IN_LIST, key, where, item["label"])
        given: list[Any] = [[label, "VALID"]]
    else:
        given = item["labels"] if isinstance(item["labels"], list) else [item["labels"]]
    labels = []
    for pair in given:
        if isinstance(pair, list) and len(pair) in (2, 3, 4) and all(isinstance(part, str) for part in pair):
            labels.append(WordLabel(pair[0], pair[1].upper(), *pair[2:]))
        else:
            cause = "`labels` is a list of [name, status]"
            if item.get("labels") is None:
                pair = item["label"]
                cause = "a word has one label, and this is a list" if isinstance(pair, list) else "a label is a text"
            problems.add(ProblemKind.BAD_LABEL, key, where, pair, cause)
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
    said = {} if receipt.review is None else {_REVIEW: asdict(receipt.review)}
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
