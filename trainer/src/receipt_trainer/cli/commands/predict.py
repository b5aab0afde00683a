"""`layoutlm-cli predict`."""

from __future__ import annotations

import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from rich.console import Console

from receipt_trainer.cli.options import model_options
from receipt_trainer.cli.trained import open_reader
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing
from receipt_trainer.pages.kinds import refuse_image

if TYPE_CHECKING:
    from receipt_trainer.cli.predict_jsonl import Tally

STDIO = "-"


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
    a line with row and error.
    """

    from receipt_trainer.models.layoutlm.export import find_model

    find_model(model)
    with ExitStack() as stack:
        lines = stack.enter_context(_input(source))
        to_stdout = output == STDIO
        out = stack.enter_context(_stdout() if to_stdout else replacing(Path(output)))

        from receipt_trainer.cli import predict_jsonl  # brings torch: mistakes are found before it takes seconds

        reader = open_reader(model, device, precision)
        tally = predict_jsonl.Tally()
        for answer in _shown(predict_jsonl.answers(reader, _numbered(lines, source), tally), tally):
            out.write(json.dumps(answer, ensure_ascii=False) + "\n")
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
    with ExitStack() as stack:
        try:
            stream: IO[bytes] = stack.enter_context(Path(source).open("rb"))
        except OSError as error:
            raise UserError(f"{source}: cannot read receipts: {error.strerror}") from None
        yield gzip.GzipFile(fileobj=stream) if source.endswith(".gz") else stream  # type: ignore[misc]


def _numbered(lines: Iterable[bytes], source: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""

    try:
        for row, line in enumerate(lines, start=1):
            if line.strip():
                yield row, line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{source}: cannot read receipts: {reason}") from None


def _shown(answers: Iterator[dict[str, Any]], tally: Tally) -> Iterator[dict[str, Any]]:
    """The same, with a running count on a terminal."""
    if not sys.stderr.isatty():
        yield from answers
        return

    with Console(stderr=True).status("reading receipts") as status:
        for answer in answers:
            yield answer
            status.update(str(tally))
