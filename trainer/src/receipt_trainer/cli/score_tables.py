"""Scores in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from receipt_trainer.contract.run_record import Confusion, Score
from receipt_trainer.reports import formatting
from receipt_trainer.reports.word_errors import top_confusions


def plain_table(*columns: str, title: str | None = None) -> Table:
    """A table without lines: the first column to the left, the rest to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left")
    for at, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if at else "left", no_wrap=True)
    return table


def print_scores(console: Console, first: str, rows: Iterable[tuple[str, Score]], overall: Score | None = None) -> None:
    """Precision, recall, F1 and support a row; `overall` goes last, in bold."""
    table = plain_table(first, "precision", "recall", "F1", "support")
    for name, one in [*rows, *([("all", overall)] if overall else [])]:
        style = "bold" if one is overall else ""
        cells = [formatting.score(value) for value in (one.precision, one.recall, one.f1)] + [f"{one.support:,}"]
        table.add_row(Text(formatting.one_line(name, 32), style), *(Text(cell, style) for cell in cells))
    console.print(table)


def print_confusions(console: Console, confusion: Confusion, limit: int = 10) -> None:
    """The commonest confusions of words."""
    pairs = top_confusions(confusion, limit)
    if not pairs:
        console.print("No word was read wrongly.")
        return
    totals: Mapping[str, int] = {label: sum(row) for label, row in zip(confusion.labels, confusion.counts, strict=True)}
    table = plain_table("most frequent confusions", "words", "of all gold")
    for gold, predicted, count in pairs:
        said = f"{formatting.one_line(gold, 24)} read as {formatting.one_line(predicted, 24)}"
        table.add_row(Text(said), f"{count:,}", formatting.percent(count / totals[gold]))
    console.print(table)
