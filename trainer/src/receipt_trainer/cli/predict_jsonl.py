"""Lines of JSON as receipts, and what a model reads on them as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from receipt_trainer.cli.trained import Reader
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.decode import choose
from receipt_trainer.data.problems import NOTED, ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import is_name
from receipt_trainer.data.sources.record import parse_record
from receipt_trainer.extraction import entities

BATCH: Final = 64
"""Receipts that are read together: enough to fill batches, few enough to hold."""

_NUMBER = "\0number"  # a word's place in its input line, carried through cleaning; no field can be called so by chance
_ABOUT_LABELS = (ProblemKind.BAD_LABEL, ProblemKind.BAD_STATUS, ProblemKind.DUPLICATE_LABEL)


@dataclass(slots=True)
class Tally:
    """Counts of what has been read so far."""

    receipts: int = 0
    words: int = 0
    broken_lines: int = 0
    broken_words: int = 0

    def __str__(self) -> str:
        left_out = [
            f"{count} {what}"
            for count, what in (
                (self.broken_lines, "lines that are not receipts"),
                (self.broken_words, "invalid words"),
            )
            if count
        ]
        return f"{self.receipts} receipts, {self.words} words read" + (
            f"; not read: {', '.join(left_out)}" if left_out else ""
        )


@dataclass(slots=True)
class _Line:
    """An input line: its receipt, or why it is invalid, and its invalid words with reasons."""

    row: int
    record: Any
    receipt: Receipt | None
    error: str = ""
    broken_words: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def answers(reader: Reader, lines: Iterable[tuple[int, bytes]], tally: Tally) -> Iterator[dict[str, Any]]:
    """One answer a line, in order, read in batches; `tally` counts along.

    Args:
        lines: numbered lines, none of them blank.
    """
    waiting = iter(lines)
    while batch := [_parse(row, text) for row, text in islice(waiting, BATCH)]:
        receipts = [line.receipt for line in batch if line.receipt is not None]
        read = iter(_read(reader, receipts) if receipts else ())
        for line in batch:
            if line.receipt is None:
                tally.broken_lines += 1
                yield _error(line)
                continue
            tally.receipts += 1
            tally.words += len(line.receipt.words)
            tally.broken_words += len(line.broken_words)
            yield _answer(line, line.receipt, next(read))


def _parse(row: int, text: bytes) -> _Line:
    log = ProblemLog(max_examples=len(text))  # all of them: a line cannot have more problems than bytes
    try:
        record = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return _Line(row, None, None, error=f"not JSON: {error}")
    numbered = record
    if isinstance(record, dict) and isinstance(record.get("words"), list):
        words = [word | {_NUMBER: n} if isinstance(word, dict) else word for n, word in enumerate(record["words"])]
        numbered = record | {"words": words}
    line = _Line(row, record, parse_record(numbered, f"line {row}", log))
    for kind, found in log.examples.items():
        line.problems += map(str, found)
        if line.receipt is None and kind in (ProblemKind.BAD_RECORD, ProblemKind.NO_WORDS, ProblemKind.TOO_MANY_WORDS):
            line.error = str(found[-1])
        elif kind not in NOTED and kind not in _ABOUT_LABELS:
            places = [each.where.removeprefix("word ") for each in found]
            line.broken_words |= {int(place): str(kind) for place in places if place.isdecimal()}
    return line


def _read(reader: Reader, receipts: Sequence[Receipt]) -> Iterator[list[entities.ReadWord]]:
    """The words of each receipt in reading order, numbered as they came in; boxes are filled in by the caller."""
    split, found = reader.read(receipts)
    chosen = choose(found.probabilities, split.words, reader.space, scored=False)
    labels = (OUTSIDE, *reader.space.labels)
    for row, receipt in enumerate(receipts):
        first = int(split.words.offsets[row])
        yield [
            entities.ReadWord(
                number=word.extra[_NUMBER],
                text=word.text,
                box=word.box,
                line=word.line,
                label=labels[chosen[n]],
                score=float(found.probabilities[n, chosen[n]]),
            )
            for n, word in enumerate(receipt.words, start=first)
        ]


def _error(line: _Line) -> dict[str, Any]:
    given = line.record.get("id") if isinstance(line.record, dict) else None
    name = {"id": given} if is_name(given) else {}
    return name | {"row": line.row, "error": line.error, "problems": line.problems}


def _answer(line: _Line, receipt: Receipt, read: Sequence[entities.ReadWord]) -> dict[str, Any]:
    """Boxes are the pixels that came in, not fractions turned back into them."""
    pixels = [_replace_box(word, line.record["words"][word.number]["box"]) for word in read]
    words: dict[int, dict[str, Any]] = {
        word.number: {
            "text": word.text,
            "box": word.box,
            "line": word.line,
            "label": word.label,
            "tag": tag,
            "score": round(word.score, 4),
        }
        for word, tag in zip(pixels, entities.tags(pixels), strict=True)
    }
    for number, error in line.broken_words.items():
        words[number] = {"label": None, "tag": None, "score": None, "error": error}
    return {
        "id": receipt.name,
        "source": receipt.source,
        "fields": {label: [_value(one) for one in found] for label, found in entities.fields(pixels).items()},
        "words": [words[number] for number in sorted(words)],
        "problems": line.problems,
    }


def _replace_box(word: entities.ReadWord, box: list[float]) -> entities.ReadWord:
    x0, y0, x1, y1 = box
    return entities.ReadWord(word.number, word.text, (x0, y0, x1, y1), word.line, word.label, word.score)


def _value(entity: entities.Entity) -> dict[str, Any]:
    return {
        "text": entity.text,
        "score": round(entity.score, 4),
        "words": entity.words,
        "box": entity.box,
    }
