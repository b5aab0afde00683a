"""Receipts by the name of their data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.labels import note_unknown_labels
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources import foreign
from receipt_trainer.data.sources.clean import MAX_WORDS
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.errors import UserError
from receipt_trainer.files import refuse_stream
from receipt_trainer.pages.kinds import refuse_image

TABLE: Final = "dynamodb"
"""Name of the data set that is the receipts table."""

Progress = Callable[[int, int], None]
"""Called with how many receipts are read, of how many."""


def require_files(name: str, *, table: str | None = None) -> None:
    """What a data set names is there: asked before anything is imported or loaded that takes seconds.

    Raises:
        UserError: a file or folder is not there or may not be read, or no table is named.
    """
    for part in filter(None, map(str.strip, name.split(","))):
        path = Path(part)
        if part == TABLE:
            _require_table(table)
        elif not path.exists():
            _refuse_unknown(path)
        elif not os.access(path, os.R_OK):
            raise UserError(f"{path}: cannot read receipts: Permission denied")


def _require_table(table: str | None) -> str:
    if not table:
        raise UserError("no receipts table is named: use --dynamo-table NAME, or --dataset FILE")
    return table


def _refuse_unknown(path: Path) -> NoReturn:
    if path.suffix or path.parent != Path():
        raise UserError(f"{path}: cannot read receipts: No such file or directory")
    raise UserError(f"data set '{path}' is not known: use '{TABLE}' or a file or folder that exists")


def load_receipts(
    name: str,
    problems: ProblemLog,
    *,
    table: str | None = None,
    max_words: int = MAX_WORDS,
    progress: Progress | None = None,
) -> list[Receipt]:
    """All receipts of `dynamodb`, of a file or folder in a known format, or of several joined by commas; each once.

    Of two with one key the first counts, but for what a person has corrected: of that the latest.

    Raises:
        UserError: an unknown name, an unreadable file, a table that is not there or not named.
    """
    receipts: dict[str, Receipt] = {}
    for part in filter(None, map(str.strip, name.split(","))):
        add_receipts(receipts, _load(part, problems, table, max_words, progress), part, problems)
    return list(receipts.values())


def add_receipts(receipts: dict[str, Receipt], more: Iterable[Receipt], place: str, problems: ProblemLog) -> None:
    """Put more receipts to those of other files, by key; what is there already is a problem unless it corrects that."""
    for receipt in more:
        if receipt.key in receipts and not receipt.corrects(receipts[receipt.key]):
            problems.add(ProblemKind.DUPLICATE_RECEIPT, receipt.name or receipt.key, place)
            continue
        receipts[receipt.key] = receipt


def _load(
    name: str, problems: ProblemLog, table: str | None, max_words: int, progress: Progress | None
) -> list[Receipt]:
    if name != TABLE:
        return read_files(Path(name), problems, max_words=max_words)
    table = _require_table(table)
    from receipt_trainer.data.sources.dynamodb.read import read_labelled

    def told(done: int, total: int) -> None:
        report_progress(f"{done} of {total} receipts read")
        if progress is not None:
            progress(done, total)

    receipts = list(read_labelled(table, problems, max_words=max_words, progress=told))
    note_unknown_labels(receipts, problems)
    return receipts


def read_files(
    path: Path,
    problems: ProblemLog,
    *,
    format: str | None = None,
    max_words: int = MAX_WORDS,
    label_names: Sequence[str] = (),
) -> list[Receipt]:
    """The receipts of a file or folder: JSON lines of ours, or a foreign format.

    Args:
        format: one of `foreign.NAMES`; by default it is recognised by the content.
        label_names: names of labels that the files give by number, in their order.

    Raises:
        UserError: no such file, none of the formats, or one that cannot be meant so.
    """
    if format_of(path, format) == foreign.OWN:
        receipts = list(_read_own(path, problems, max_words, label_names))
    else:
        receipts = foreign.read_receipts(path, problems, format=format, max_words=max_words, label_names=label_names)
    note_unknown_labels(receipts, problems)
    return receipts


def _read_own(path: Path, problems: ProblemLog, max_words: int, label_names: Sequence[str]) -> Iterable[Receipt]:
    """The receipts of a file, or of those in a folder; other files in it are named and passed over."""
    if not path.is_dir():
        return read_jsonl(path, problems, max_words, label_names)
    found: dict[str, Receipt] = {}
    for file in foreign.files_of(path):
        try:
            if format_of(file) == foreign.OWN:
                add_receipts(found, read_jsonl(file, problems, max_words, label_names), file.name, problems)
            else:
                problems.add(ProblemKind.BAD_RECORD, file.name, detail="passed over: another format")
        except UserError as error:
            problems.add(ProblemKind.BAD_RECORD, file.name, detail=str(error))
    return found.values()


def format_of(path: Path, format: str | None = None) -> str | None:
    """The format that a file or folder is read as: the one that is asked for, or that its content has.

    Raises:
        UserError: no such file, or an image.
    """
    refuse_image(path)
    lines = path.name.endswith((".jsonl", ".jsonl.gz"))
    if not path.exists():
        _refuse_unknown(path)
    refuse_stream(path)
    found = format or foreign.detect(path)
    return foreign.OWN if found is None and lines else found
