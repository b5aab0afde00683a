"""`layoutlm-cli predict`."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, cast

import click
from rich.console import Console

from receipt_trainer.cli.options import model_options
from receipt_trainer.cli.render.tables import show_problems
from receipt_trainer.cli.trained import TrainedModel, open_reader
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data.problems import ABOUT_LABELS, NOTED, ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import is_name
from receipt_trainer.data.sources.jsonl import JsonLine, Suspicion, note_encoding, read_lines
from receipt_trainer.data.sources.record import as_ours, corners_of, parse_record
from receipt_trainer.errors import UserError
from receipt_trainer.extraction import entities
from receipt_trainer.files import open_bytes, replacing
from receipt_trainer.models.layoutlm.places import find_model
from receipt_trainer.pages.kinds import refuse_image

STDIO: Final = "-"
BATCH: Final = 64
"""Receipts that are read together: enough to fill batches, few enough to hold."""

_NUMBER = "\0number"  # a word's place in its input line, carried through cleaning; no field can be called so by chance


@click.command("predict")
@model_options
@click.option(
    "--input", "source", default=STDIO, metavar="FILE", help="Receipts as JSON lines, .gz too; '-' (default) is stdin."
)
@click.option(
    "--output", default=STDIO, metavar="FILE", help="File that appears when it is complete; '-' (default) is stdout."
)
def command(model: str, device: str, precision: str, source: str, output: str) -> None:
    """Read the fields of receipts: a line of JSON in, a line of JSON out, in order.

    Each output line has id, source, fields (for each label its values with score, word numbers and box), words (one
    for each word that came in, in that order: label, BIO tag, score) and problems. A line that is not a receipt gives
    a line with row and error. Where most lines are none, the command fails and says what they may be.
    """

    find_model(model)
    with ExitStack() as stack:
        lines = stack.enter_context(_input(source))
        to_stdout = output == STDIO
        out = stack.enter_context(_stdout() if to_stdout else replacing(Path(output)))
        reader = open_reader(model, device, precision)
        tally, problems = Tally(), ProblemLog()
        suspicion = Suspicion("stdin" if source == STDIO else source)
        for answer in _shown(answers(reader, _looked_at(_decoded(lines, source), suspicion, problems), tally), tally):
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")
        suspicion.judge(problems)
    show_problems(problems)
    where = "" if to_stdout else f"; written to {output}"
    click.echo(f"{tally}{where}", err=True)


@contextmanager
def _stdout() -> Iterator[IO[str]]:
    """Standard output in UTF-8, whatever the locale says."""
    with os.fdopen(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as stream:
        yield stream


@contextmanager
def _input(source: str) -> Iterator[IO[bytes]]:
    if source == STDIO:
        yield sys.stdin.buffer
        return

    refuse_image(Path(source))
    try:
        stream = open_bytes(Path(source))
    except OSError as error:
        raise UserError(f"{source}: cannot read receipts: {error.strerror}") from None
    with stream:
        yield cast("IO[bytes]", stream)


def _decoded(stream: IO[bytes], source: str) -> Iterator[JsonLine]:
    try:
        yield from read_lines(stream, "stdin" if source == STDIO else Path(source).name)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{source}: cannot read receipts: {reason}") from None


def _looked_at(lines: Iterable[JsonLine], suspicion: Suspicion, problems: ProblemLog) -> Iterator[_Parsed]:
    """The lines as receipts, their problems counted."""
    for line in lines:
        log = ProblemLog(max_examples=len(line.content))  # all: a line cannot have more problems than bytes
        note_encoding(line, log)
        parsed = _parse(line, log)
        suspicion.look(line.value, parsed.receipt)
        problems.merge(log, place=line.place)
        yield parsed


def _shown(answers: Iterator[dict[str, Any]], tally: Tally) -> Iterator[dict[str, Any]]:
    """The same, with a running count on a terminal."""
    if not sys.stderr.isatty():
        yield from answers
        return

    with Console(stderr=True).status("reading receipts") as status:
        for answer in answers:
            yield answer
            status.update(str(tally))


@dataclass(slots=True)
class Tally:
    """Counts of what has been read so far."""

    receipts: int = 0
    words: int = 0
    broken_lines: int = 0
    broken_words: int = 0

    def __str__(self) -> str:
        broken = {"lines that are not receipts": self.broken_lines, "invalid words": self.broken_words}
        left_out = ", ".join(f"{count} {what}" for what, count in broken.items() if count)
        return f"{self.receipts} receipts, {self.words} words read" + (f"; not read: {left_out}" if left_out else "")


@dataclass(slots=True)
class _Parsed:
    """An input line: its receipt, or why it is invalid, and its invalid words with reasons."""

    row: int
    record: Any
    receipt: Receipt | None
    error: str = ""
    broken_words: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def answers(reader: TrainedModel, lines: Iterable[_Parsed], tally: Tally) -> Iterator[dict[str, Any]]:
    """One answer a line, in order, read in batches; `tally` counts along."""
    waiting = iter(lines)
    while batch := list(islice(waiting, BATCH)):
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


def _parse(line: JsonLine, log: ProblemLog) -> _Parsed:
    if line.error:
        log.add(ProblemKind.BAD_RECORD, line.place, detail=line.error)
        return _Parsed(line.row, None, None, line.error)
    record = line.value
    if isinstance(record, dict) and isinstance(record.get("words"), list):
        record = as_ours(record)
        words = [word | {_NUMBER: n} if isinstance(word, dict) else word for n, word in enumerate(record["words"])]
        record = record | {"words": words}
    parsed = _Parsed(line.row, record, parse_record(record, line.place, log))
    log.forget(ABOUT_LABELS)
    parsed.error = "" if parsed.receipt is not None else log.refusal()
    for kind, found in log.examples.items():
        parsed.problems += map(str, found) if kind is not ProblemKind.LINES_GUESSED else ()
        if kind not in NOTED:
            places = [each.where.removeprefix("word ") for each in found]
            parsed.broken_words |= {int(place): str(kind) for place in places if place.isdecimal()}
    return parsed


def _read(reader: TrainedModel, receipts: Sequence[Receipt]) -> Iterator[list[entities.ReadWord]]:
    """The words of each receipt in reading order, numbered as they came in; boxes are filled in by the caller."""
    from receipt_trainer.data.decode import choose

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


def _error(line: _Parsed) -> dict[str, Any]:
    given = line.record.get("id") if isinstance(line.record, dict) else None
    name = {"id": given} if is_name(given) else {}
    return name | {"row": line.row, "error": line.error, "problems": line.problems}


def _answer(line: _Parsed, receipt: Receipt, read: Sequence[entities.ReadWord]) -> dict[str, Any]:
    """Boxes are the pixels that came in, not fractions turned back into them; of a quad the box around it."""
    pixels = [replace(word, box=_pixels(line.record["words"][word.number])) for word in read]
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


def _pixels(word: dict[str, Any]) -> tuple[float, float, float, float]:
    given = word["box"]
    x0, y0, x1, y1 = given if len(given) == 4 and isinstance(given[0], int | float) else corners_of(word) or (0,) * 4
    return x0, y0, x1, y1


def _value(entity: entities.Entity) -> dict[str, Any]:
    return {"text": entity.text, "score": round(entity.score, 4), "words": entity.words, "box": entity.box}
