"""The receipts table's keys, and a receipt as items: pure functions, no AWS.

JSON lines count lines from 0 and the table from 1: line n of a receipt is LINE n+1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final, NamedTuple

from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract import tables
from receipt_trainer.contract.tables import iso, moment, to_float
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Box, Receipt, Review, Word, WordLabel
from receipt_trainer.data.sources.clean import MAX_WORDS, clean, number, sound_box
from receipt_trainer.data.sources.record import is_page, to_record

RECEIPT, LINE, WORD, LABEL = "RECEIPT", "RECEIPT_LINE", "RECEIPT_WORD", "RECEIPT_WORD_LABEL"
REVIEW = "RECEIPT_REVIEW"

IMPORT: Final = "import"
"""Who wrote an item: `written_by`, or `label_proposed_by` of a label. An import deletes nothing of others."""

IMAGE_PREFIX: Final = "IMAGE#"
_MAX_LINE_TEXT = 10_000  # characters: a line's text is for people, and an item ends at 400 kB
_PLACE = re.compile(
    r"(RECEIPT#([0-9]{1,9}))(?:#REVIEW|#LINE#([0-9]{1,9})(?:#WORD#([0-9]{1,9})(?:#LABEL#(.+))?)?)?", re.DOTALL
)
_HASH_VERSION = "1"  # another number after a change of what an import writes makes the next import write all again


class ReceiptKey(NamedTuple):
    """Where a receipt stands: its partition, and the sort key that is the prefix of all that is on it."""

    pk: str
    sk: str

    def __str__(self) -> str:
        return f"{self.pk.removeprefix(IMAGE_PREFIX)}#{self.sk.rpartition('#')[2]}"


@dataclass(frozen=True, slots=True)
class SortKey:
    """The kind of item by its sort key: a receipt or its review, a line, a word or a label."""

    receipt_sk: str
    receipt: int
    line: int | None
    word: int | None
    label: str | None


def place_of(sk: str) -> SortKey | None:
    """Parse a sort key; None if it is of something else (a letter, an analysis, an image)."""
    match = _PLACE.fullmatch(sk)
    if match is None:
        return None
    receipt_sk, receipt, line, word, label = match.groups()
    return SortKey(receipt_sk, int(receipt), int(line) if line else None, int(word) if word else None, label)


def key_of(item: Mapping[str, Any]) -> ReceiptKey | None:
    """The receipt that an item is on, from its PK and SK alone; None if it is on none."""
    pk, sk = str(item["PK"]), str(item["SK"])
    place = place_of(sk)
    if place is None or not pk.startswith(IMAGE_PREFIX) or pk == IMAGE_PREFIX:
        return None
    return ReceiptKey(pk, place.receipt_sk)


def receipt_key(receipt: Receipt) -> ReceiptKey:
    """Where a receipt stands in the table."""
    return ReceiptKey(tables.image_pk(receipt.image_id), tables.receipt_sk(receipt.receipt_id))


def content_hash(receipt: Receipt) -> str:
    """sha256 of all that an import writes for a receipt; when it was reviewed says nothing of its content."""
    if receipt.review is not None:
        receipt = replace(receipt, review=replace(receipt.review, at=""))
    text = json.dumps([_HASH_VERSION, receipt.key, to_record(receipt)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def receipt_item(receipt: Receipt) -> Item:
    """The RECEIPT item, which says with its `content_hash` that all else of the receipt is there."""
    key = receipt_key(receipt)
    item: Item = {
        "PK": key.pk,
        "SK": key.sk,
        "TYPE": RECEIPT,
        "GSI2PK": "RECEIPT",
        "GSI2SK": f"{key.pk}#{key.sk}",
        "width": receipt.width,
        "height": receipt.height,
        "name": receipt.name,
        "source": receipt.source,
        "split": receipt.split,
        "content_hash": content_hash(receipt),
        "written_by": IMPORT,
    }
    return item | ({"extra": json.dumps(receipt.extra)} if receipt.extra else {})


def review_item(receipt: Receipt, review: Review) -> Item:
    """The item of what a person has said of a receipt as a whole; `at` stands in it as it is."""
    item: Item = {
        "PK": tables.image_pk(receipt.image_id),
        "SK": tables.review_sk(receipt.receipt_id),
        "TYPE": REVIEW,
        "confirmed": review.confirmed,
        "reviewed_by": review.by,
        "reviewed_at": review.at,
    }
    if review.confirmed:  # found among the VALID labels, as it says what words without one are
        item |= {"GSI3PK": tables.validation_status_pk("VALID"), "GSI3SK": f"{item['PK']}#{item['SK']}"}
    return item


def review_of(item: Mapping[str, Any]) -> Review:
    """The review that an item is; one that does not say that it confirms the receipt does not."""
    said = {name: str(item.get(name) or "") for name in ("reviewed_by", "reviewed_at")}
    return Review(item.get("confirmed") is True, said["reviewed_by"], said["reviewed_at"])


def part_items(receipt: Receipt) -> dict[str, Item]:
    """Lines, words and labels of a receipt by sort key; words are numbered from 1 in each line."""
    pk = tables.image_pk(receipt.image_id)
    items: dict[str, Item] = {}
    for line, group in groupby(receipt.words, key=lambda word: word.line):
        words = list(group)
        sk = tables.line_sk(receipt.receipt_id, line + 1)
        text = " ".join(word.text for word in words)[:_MAX_LINE_TEXT]
        boxes = [word.box for word in words]
        hull = (min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes))
        items[sk] = {"PK": pk, "SK": sk, "TYPE": LINE, "text": text} | _common(hull)
        for number_in_line, word in enumerate(words, start=1):
            word_sk = tables.word_sk(receipt.receipt_id, line + 1, number_in_line)
            items[word_sk] = _word_item(pk, word_sk, word)
            for label in word.labels:
                label_sk = f"{word_sk}#LABEL#{label.name}"
                items[label_sk] = label_item(pk, word_sk, label_sk, label)
    return items


def _common(box: Box) -> Item:
    """The box with its origin at the bottom left, and who wrote it."""
    x0, y0, x1, y1 = box
    return {"bounding_box": {"x": x0, "y": 1 - y1, "width": x1 - x0, "height": y1 - y0}, "written_by": IMPORT}


def _word_item(pk: str, sk: str, word: Word) -> Item:
    item: Item = {"PK": pk, "SK": sk, "TYPE": WORD, "text": word.text} | _common(word.box)
    if word.confidence is not None:
        item["confidence"] = word.confidence
    return item | ({"extra": json.dumps(word.extra)} if word.extra else {})


def label_item(pk: str, word_sk: str, sk: str, label: WordLabel) -> Item:
    """`written_by` says that an import wrote what somebody else proposed."""
    item: Item = {
        "PK": pk,
        "SK": sk,
        "TYPE": LABEL,
        "GSI1PK": f"LABEL#{label.name}",
        "GSI1SK": f"{pk}#{word_sk}",
        "GSI3PK": tables.validation_status_pk(label.status),
        "GSI3SK": f"{pk}#{sk}",
        "validation_status": label.status,
        "imported_status": label.status,  # differs from validation_status once somebody has judged the label
        "label_proposed_by": label.proposed_by or IMPORT,
    }
    if label.added:
        item["timestamp_added"] = label.added
    return item | ({"written_by": IMPORT} if label.proposed_by else {})


READ_TYPES: Final = (RECEIPT, REVIEW, WORD, LABEL)
READ_ATTRIBUTES: Final = (
    *("PK", "SK", "TYPE", "extra"),
    *("width", "height", "name", "source", "split", "importing"),  # of a receipt
    *("text", "bounding_box", "confidence"),  # of a word
    *("validation_status", "label_proposed_by", "timestamp_added"),  # of a label
    *("confirmed", "reviewed_by", "reviewed_at"),  # of a review
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
        review=review_of(by_type[REVIEW][0]) if by_type[REVIEW] else None,
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
        proposed_by = _text(item, "label_proposed_by")
        status_now = "NONE" if status is None else str(status)
        added = moment(item.get("timestamp_added"))
        by = "" if proposed_by == IMPORT else proposed_by
        label = WordLabel(place.label, status_now, by, iso(added) if added else "")
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
    extra = _extra(item, name, where, problems)
    return Word(text, box, line, labels, to_float(confidence), extra, place=str(item["SK"]))


def _corners(bounding_box: Any) -> list[Any]:
    """Top-left corners of {x, y, width, height} with its origin at the bottom left; invalid numbers stay so."""
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
