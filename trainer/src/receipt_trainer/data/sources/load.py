"""Receipts by the name of their data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import MAX_WORDS
from receipt_trainer.data.sources.jsonl import read_jsonl
from receipt_trainer.errors import UserError

TABLE: Final = "dynamodb"
"""Name of the data set that is the receipts table."""

Progress = Callable[[int, int], None]
"""Called with how many receipts are read, of how many."""


def load_receipts(
    name: str,
    problems: ProblemLog,
    *,
    table: str | None = None,
    max_words: int = MAX_WORDS,
    progress: Progress | None = None,
) -> list[Receipt]:
    """All receipts of `dynamodb`, of a JSON lines file, or of several joined by commas; each receipt once.

    Raises:
        UserError: an unknown name, an unreadable file, a table that is not there or not named.
    """
    receipts: dict[str, Receipt] = {}
    for part in filter(None, map(str.strip, name.split(","))):
        for receipt in _load(part, problems, table, max_words, progress):
            if receipt.key in receipts:
                problems.add(ProblemKind.DUPLICATE_RECEIPT, receipt.name or receipt.key, part)
            receipts.setdefault(receipt.key, receipt)
    return list(receipts.values())


def _load(
    name: str, problems: ProblemLog, table: str | None, max_words: int, progress: Progress | None
) -> list[Receipt]:
    if name != TABLE:
        path = Path(name)
        if not path.name.endswith((".jsonl", ".jsonl.gz")):
            raise UserError(f"data set '{name}' is not known: use '{TABLE}' or a file *.jsonl or *.jsonl.gz")
        return list(read_jsonl(path, problems, max_words))
    if not table:
        raise UserError("no receipts table is named: use --dynamo-table NAME, or --dataset FILE for JSON lines")
    from receipt_trainer.data.sources.dynamodb.read import read_labelled

    def told(done: int, total: int) -> None:
        report_progress(f"{done} of {total} receipts read")
        if progress is not None:
            progress(done, total)

    return list(read_labelled(table, problems, max_words=max_words, progress=told))
