"""The items of a receipt as a receipt, or as named problems: pure functions, no AWS."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from receipt_trainer.aws.dynamo import Item, to_float
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, WordLabel
from receipt_trainer.data.receipts.clean import MAX_WORDS, clean, number, sound_box
from receipt_trainer.data.receipts.jsonl import is_page
from receipt_trainer.data.receipts.table_items import IMAGE_PREFIX, LABEL, RECEIPT, WORD, ReceiptKey, place_of

READ_TYPES: Final = (RECEIPT, WORD, LABEL)
READ_ATTRIBUTES: Final = (
    *("PK", "SK", "TYPE", "extra"),
    *("width", "height", "name", "source", "split", "importing"),  # of a receipt
    *("text", "bounding_box", "confidence"),  # of a word
    "validation_status",  # of a label
)


def assemble(
    key: ReceiptKey, items: Iterable[Item], problems: ProblemLog, max_words: int = MAX_WORDS
) -> Receipt | None:
    """The receipt that the items of `key` are; None, and a problem, if they are no sound one."""
    by_type: dict[str, list[Item]] = {name: [] for name in READ_TYPES}
    for item in items:
        by_type.setdefault(str(item.get("TYPE")), []).append(item)
    if not by_type[RECEIPT]:
        problems.add(ProblemKind.BAD_RECORD, str(key), detail="no RECEIPT item: an import has not finished it")
        return None
    head = by_type[RECEIPT][0]
    if head.get("importing"):
        problems.add(ProblemKind.BAD_RECORD, str(key), detail="an import of it was stopped; run it again")
        return None
    name = _text(head, "name") or str(key)
    labels = _labels_by_word(by_type[LABEL], name, problems)
    words, places = _words(by_type[WORD], labels, name, problems)
    for word_sk in labels:  # _words takes out those it has a word for
        for label in labels[word_sk]:
            problems.add(ProblemKind.LABEL_WITHOUT_WORD, name, _short(key, word_sk), label.name)
    place = place_of(key.sk)
    width, height = _size(head, name, problems)
    receipt = Receipt(
        image_id=key.pk.removeprefix(IMAGE_PREFIX),
        receipt_id=place.receipt if place else 0,
        words=tuple(words),
        name=name,
        source=_text(head, "source"),
        split=_text(head, "split"),
        width=width,
        height=height,
        extra=_extra(head, name, "RECEIPT", problems),
    )
    return clean(receipt, problems, max_words, places)


def _short(key: ReceiptKey, sk: str) -> str:
    return sk.removeprefix(f"{key.sk}#")


def _text(item: Item, attribute: str) -> str:
    value = item.get(attribute)
    return value if isinstance(value, str) else ""


def _size(head: Item, name: str, problems: ProblemLog) -> tuple[int, int]:
    """Width and height in pixels; 0 and 0 if they are not known, and a problem if they can be none."""
    given = head.get("width"), head.get("height")
    width, height = (number(value) for value in given)
    if width is not None and height is not None and is_page(width, height):
        return int(width), int(height)
    if any(value not in (None, 0) for value in given):  # an import writes 0 where its source knew no size
        problems.add(ProblemKind.BAD_FIELD, name, "RECEIPT", f"width {given[0]!r}, height {given[1]!r}")
    return 0, 0


def _labels_by_word(items: Iterable[Item], name: str, problems: ProblemLog) -> dict[str, list[WordLabel]]:
    found: dict[str, list[WordLabel]] = {}
    for item in sorted(items, key=lambda item: str(item["SK"])):
        sk = str(item["SK"])
        place = place_of(sk)
        if place is None or place.label is None:
            problems.add(ProblemKind.BAD_RECORD, name, sk, "not the sort key of a label")
            continue
        status = item.get("validation_status")
        label = WordLabel(place.label, "NONE" if status is None else str(status))
        found.setdefault(sk[: -len(f"#LABEL#{place.label}")], []).append(label)
    return found


def _words(
    items: Iterable[Item], labels: dict[str, list[WordLabel]], name: str, problems: ProblemLog
) -> tuple[list[Word], list[str]]:
    """The words with a sound box in the order of their numbers, and where each stands. Takes their labels out."""
    placed = []
    for item in items:
        sk = str(item["SK"])
        place = place_of(sk)
        if place is None or place.word is None or place.line is None or place.label is not None:
            problems.add(ProblemKind.BAD_RECORD, name, sk, "not the sort key of a word")
            continue
        placed.append(((place.line, place.word, sk), item))
    words, places = [], []
    for (line, number_in_line, sk), item in sorted(placed, key=lambda pair: pair[0]):
        where = f"LINE {line} WORD {number_in_line}"
        word = _word(item, line - 1, tuple(labels.pop(sk, ())), name, where, problems)
        if word is not None:
            words.append(word)
            places.append(where)
    return words, places


def _word(
    item: Item, line: int, labels: tuple[WordLabel, ...], name: str, where: str, problems: ProblemLog
) -> Word | None:
    text = item.get("text")
    if not isinstance(text, str):
        problems.add(ProblemKind.EMPTY_TEXT, name, where, text)
        return None
    box = sound_box(_corners(item.get("bounding_box")), name, where, problems)
    if box is None:
        return None
    confidence = item.get("confidence")
    if confidence is not None and to_float(confidence) is None:
        problems.add(ProblemKind.BAD_FIELD, name, where, f"confidence {confidence!r}")
    return Word(text, box, line, labels, to_float(confidence), _extra(item, name, where, problems))


def _corners(bounding_box: Any) -> list[Any]:
    """Top-left corners of {x, y, width, height} with its origin at the bottom left; what is no number stays so."""
    if not isinstance(bounding_box, dict):
        return []
    given = [bounding_box.get(side) for side in ("x", "y", "width", "height")]
    x, y, width, height = (number(value) for value in given)
    if x is None or y is None or width is None or height is None:
        return given
    return [x, 1 - (y + height), x + width, 1 - y]


def _extra(item: Item, name: str, where: str, problems: ProblemLog) -> dict[str, Any]:
    """Fields we only carry along: stored as JSON text, because that keeps them exactly (1.0 is not 1 in JSON)."""
    stored = item.get("extra")
    if stored is None:
        return {}
    try:
        value = json.loads(stored)
    except (TypeError, ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    problems.add(ProblemKind.BAD_FIELD, name, where, f"extra {stored!r}")
    return {}
