"""The worst receipts in the terminal: only the lines with errors, only what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.reports import formatting
from receipt_trainer.reports.word_errors import Judged, Verdict, error_runs, worst_receipts

NUM_WORST: Final = 3
MAX_LINES: Final = 12
MAX_LINE_TEXT: Final = 56


def print_worst(predictions: Sequence[ReceiptPrediction] | None, console: Console) -> None:
    """Print the receipts with the most wrong words in relation to their size."""
    worst = worst_receipts(predictions or (), NUM_WORST)
    if not worst:
        if predictions is None:
            said = "There is no predictions.jsonl in the run's folder."
        else:
            said = "The receipts were read without an error." if predictions else "The predictions hold no receipt."
        console.print(Text(f"  {said}", style="dim"))
    for at, item in enumerate(worst):
        if at:
            console.print()
        _print_receipt(item, console)


def _print_receipt(item: Judged, console: Console) -> None:
    head = Text(f"  {formatting.one_line(item.title, 60)}")
    head.append(f"  {item.num_wrong} of {len(item.verdicts)} words wrong", style="red")
    kinds = (Verdict.MISSED, Verdict.SPURIOUS, Verdict.WRONG)
    counts = ", ".join(f"{item.count(kind)} {kind}" for kind in kinds if item.count(kind))
    head.append(f" ({counts})", style="dim")
    console.print(head)
    rows = list(_error_lines(item))
    table = Table.grid(Column(justify="right", no_wrap=True), Column(), Column(), padding=(0, 2, 0, 0))
    for line, text, said in rows[:MAX_LINES]:
        table.add_row(Text(f"    {line}", style="dim"), text, said)
    console.print(table)
    more = len(rows) - MAX_LINES
    if more > 0:
        console.print(Text(f"    and {more} more line{'s' if more > 1 else ''} with errors", style="dim"))


def _error_lines(item: Judged) -> Iterator[tuple[int, Text, Text]]:
    """Line number, text with the wrong words in brackets, and what was read for what."""
    words = item.receipt.words
    for line, runs in groupby(error_runs(item), key=lambda run: words[run.indexes[0]].line):
        found = list(runs)
        said = Text()
        counts: Counter[tuple[str, str]] = Counter()
        for run in found:
            counts[run.gold, run.pred] += len(run.indexes)
        for (gold, pred), count in counts.items():
            said.append(", " if said.plain else "")
            said.append(formatting.one_line(gold, 24), style="green")
            said.append(" → ", style="dim")
            said.append(formatting.one_line(pred, 24), style="red")
            said.append(f" ×{count}" if count > 1 else "")
        wrong = {index for run in found for index in run.indexes}
        yield line, _line_text(item, wrong), said


def _line_text(item: Judged, wrong: set[int]) -> Text:
    """The words of the line around the errors, cut to what fits on a row."""
    words, first, last = item.receipt.words, min(wrong), max(wrong)
    line = words[first].line
    while first > 0 and words[first - 1].line == line:
        first -= 1
    while last + 1 < len(words) and words[last + 1].line == line:
        last += 1
    text = Text()
    for index in range(first, last + 1):
        shown = formatting.one_line(words[index].text, 24)
        text.append(" " if text.plain else "")
        text.append(f"[{shown}]" if index in wrong else shown, style="bold" if index in wrong else "dim")
    text.truncate(MAX_LINE_TEXT, overflow="ellipsis")
    return text
