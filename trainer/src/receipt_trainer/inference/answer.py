"""The answer: one JSON a document, in the shape of `answer.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.page_words import DocumentWords, PageWords
from receipt_trainer.extraction.entities import ReadWord, tags
from receipt_trainer.extraction.finds import Find
from receipt_trainer.extraction.summary import Reading, ReadItem

SCHEMA_FILE: Final = "answer.schema.json"
UNREAD: Final = 0.7
"""A word that is right with a lower probability could hardly be read."""
MANY_UNREAD: Final = 0.2
"""Share of such words from which a person should look at the page."""


@cache
def schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of answers; it says what each confidence means."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name(SCHEMA_FILE).read_text(encoding="utf-8"))
    return found


class Answer(dict[str, Any]):
    """What was read of a document: a dict in the shape of `answer.schema.json`.

    `answer["summary"]["total"]`, or `answer.summary["total"]`.
    """

    @property
    def summary(self) -> dict[str, Any]:
        """merchant, date, total, currency, subtotal, tax: a value or None each."""
        found: dict[str, Any] = self["summary"]
        return found

    @property
    def fields(self) -> dict[str, list[dict[str, Any]]]:
        """All finds by label, the most confident first."""
        found: dict[str, list[dict[str, Any]]] = self["fields"]
        return found

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self, ensure_ascii=False)


def make_answer(
    document: DocumentWords,
    words: Sequence[ReadWord],
    reading: Reading,
    model: Mapping[str, Any],
    *,
    calibrated: bool | None,
    problems: Sequence[str] = (),
) -> Answer:
    """The answer of a document.

    Args:
        words: of all pages in reading order, numbered from 0, with boxes in the pages' units.
        model: name, version and precision.
        calibrated: whether confidences were fitted on validation receipts; None of a model that writes values, whose
            finds have neither words nor a confidence.
        problems: what was left out of the input, a text each.
    """
    written = calibrated is None
    reasons = [*reading.review, *([] if calibrated is None else _about_words(words, calibrated=calibrated))]
    return Answer(
        id=document.name,
        model=dict(model),
        pages=[_page(page) for page in document.pages],
        fields={label: [_find(find, written) for find in finds] for label, finds in reading.fields.items()},
        summary=dict(reading.summary),
        items=[_row(number, item, written) for number, item in enumerate(reading.items, start=1)],
        checks=dict(reading.checks),
        review=bool(reasons),
        review_reasons=[{"code": code, "text": text} for code, text in reasons],
        words=[
            {
                "text": word.text,
                "box": _box(word.box),
                "page": word.page,
                "line": word.line,
                "label": word.label,
                "tag": tag,
                "confidence": round(word.score, 4),
                "ocr_confidence": None if word.reading is None else round(word.reading, 4),
            }
            for word, tag in zip(words, tags(words), strict=True)
        ],
        problems=list(problems),
    )


def _page(page: PageWords) -> dict[str, Any]:
    return {
        "page": page.number,
        "width": _number(page.width),
        "height": _number(page.height),
        "rotated": page.turned,
        "skew": round(page.skew, 2) or 0.0,  # not -0.0
        "ocr_confidence": _mean([word.confidence for word in page.words]),
    }


def _about_words(words: Sequence[ReadWord], *, calibrated: bool) -> list[tuple[str, str]]:
    reasons = []
    read = [word.reading for word in words if word.reading is not None]
    unread = sum(one < UNREAD for one in read)
    if not words:
        reasons.append(("no_words", "no words were found"))
    elif all(word.label == OUTSIDE for word in words):
        reasons.append(("no_fields", "no word was labelled: is it a receipt, of the kind that the model has learned?"))
    if unread > MANY_UNREAD * len(read):
        reasons.append(("unread_words", f"{unread} of {len(read)} words could hardly be read"))
    if not calibrated:
        reasons.append(("uncalibrated", "the model saw too few validation receipts for its confidences to be measured"))
    return reasons


def _find(find: Find, written: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "value": find.value,
        "text": find.text,
        "confidence": None if written else round(find.confidence, 4),
        "words": [] if written else [word.number for word in find.words],
        "box": None if written else _box(find.box),
        "page": find.page,
    }
    if find.ambiguous:
        found["ambiguous"] = list(find.ambiguous)
    if find.repaired_from:
        found["repaired_from"] = find.repaired_from
    if find.unit:
        found["unit"] = find.unit
    return found


def _row(number: int, item: ReadItem, written: bool) -> dict[str, Any]:
    names = ("description", "quantity", "unit_price", "total")
    finds = {name: _find(item.finds[name], written) if name in item.finds else None for name in names}
    lines = [] if written else list(item.lines)
    return {"row": number, **finds, "discount": (item.amount or 0) < 0, "lines": lines}


def _box(box: Sequence[float]) -> list[int | float]:
    return [_number(edge) for edge in box]


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else round(value, 2)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None
