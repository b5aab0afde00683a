"""The report in a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import LayoutLMRecord, Score
from receipt_trainer.reports import formatting, summary
from receipt_trainer.reports.word_errors import (
    JudgedReceipt,
    WordOutcome,
    confusion_of,
    error_runs,
    top_confusions,
    worst_receipts,
)

_LEVELS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """One character a value, between the lowest and the highest; longer series are cut to `width` means.

    Unknown values are blank.
    """
    cells = _means(values, width) if len(values) > width else [_known(value) for value in values]
    known = [cell for cell in cells if cell is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = high - low or 1.0
    return "".join(" " if cell is None else _LEVELS[min(7, int(8 * (cell - low) / span))] for cell in cells)


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _means(values: Sequence[float | None], width: int) -> list[float | None]:
    cells: list[float | None] = []
    for at in range(width):
        part = values[at * len(values) // width : (at + 1) * len(values) // width]
        known = [value for value in map(_known, part) if value is not None]
        cells.append(sum(known) / len(known) if known else None)
    return cells


def bar(share: float, width: int) -> str:
    """A thin bar of at most `width` characters for a share 0..1, exact to half a character."""
    halves = round(2 * width * min(1.0, max(0.0, share))) if math.isfinite(share) else 0
    return "━" * (halves // 2) + "╸" * (halves % 2)


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


def _print_receipt(item: JudgedReceipt, console: Console) -> None:
    head = Text(f"  {formatting.one_line(item.title, 60)}")
    head.append(f"  {item.num_wrong} of {len(item.verdicts)} words wrong", style="red")
    kinds = (WordOutcome.MISSED, WordOutcome.SPURIOUS, WordOutcome.WRONG)
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


def _error_lines(item: JudgedReceipt) -> Iterator[tuple[int, Text, Text]]:
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


def _line_text(item: JudgedReceipt, wrong: set[int]) -> Text:
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


NARROW: Final = 80
"""Below so many columns bars and extremes are left out, so that names and numbers are not cut."""
BAR_WIDTH: Final = 24
CURVE_WIDTH: Final = 40
_STATUS_STYLE: Final = {"complete": "green", "running": "yellow", "failed": "red"}


def print_report(
    record: LayoutLMRecord,
    predictions: Sequence[ReceiptPrediction] | None,
    console: Console,
    notes: Sequence[str] = (),
) -> None:
    """Print what report.html shows, as far as text can.

    Args:
        record: the run.
        predictions: what was read on the validation receipts; None if there is no such file.
        console: where to.
        notes: sentences on what could not be read, printed on top.
    """
    _print_headline(record, predictions, console, notes)
    _print_curves(record, console)
    _print_labels(record, console)
    _print_confusions(record, predictions, console)
    _heading(console, "Worst receipts")
    print_worst(predictions, console)
    _print_data(record, console)
    _print_facts(record, console)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _plain(console: Console, text: str) -> None:
    console.print(Text(f"  {text}", style="dim"))


def _table(*columns: str) -> Table:
    """A table without lines; the first column to the left, the rest to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for at, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if at else "left", no_wrap=True)
    return table


def _print_indented(console: Console, table: Table) -> None:
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _print_headline(
    record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction] | None, console: Console, notes: Sequence[str]
) -> None:
    head = summary.headline(record)
    title = Text(formatting.one_line(record.job_name), style="bold")
    title.append(f"  {record.status}", style=_STATUS_STYLE[record.status])
    title.append(f"  {formatting.one_line(record.model, 60)}", style="dim")
    console.print(title)
    for note in summary.running_notes(record, notes):
        console.print(Text(formatting.one_line(note, 300), style="yellow"))
    if record.error:
        console.print(Text(formatting.one_line(record.error, 600), style="red"))
    if head.score is None:
        _plain(console, "No score is recorded.")
    else:
        line = Text(f"F1 {formatting.score(head.score.f1)}", style="bold cyan")
        rest = f"   precision {formatting.score(head.score.precision)}   recall {formatting.score(head.score.recall)}"
        epoch = f"   epoch {formatting.number(head.best_epoch)}" if head.best_epoch is not None else ""
        line.append(rest + epoch, style="not bold default")
        console.print(line)
    said = [f"{formatting.duration(head.duration_s)}"] if head.duration_s is not None else []
    said += [formatting.dollars(head.cost_usd)] if head.cost_usd is not None else []
    if record.split:
        said.insert(0, f"{record.split.train_count:,} receipts to train, {record.split.validation_count:,} to validate")
    elif predictions is not None:
        said.insert(0, f"{len(predictions):,} validation receipts")
    if said:
        console.print(Text(" · ".join(said), style="dim"))


def _print_curves(record: LayoutLMRecord, console: Console) -> None:
    _heading(console, "Learning curves")
    epochs = record.epoch_metrics
    if not epochs:
        _plain(console, "No evaluation is recorded.")
        return
    rows = (
        ("F1", [row.f1 for row in epochs]),
        ("precision", [row.precision for row in epochs]),
        ("recall", [row.recall for row in epochs]),
        ("train loss", [row.train_loss for row in epochs]),
        ("eval loss", [row.eval_loss for row in epochs]),
        ("learning rate", [row.learning_rate for row in epochs]),
    )
    narrow = console.width < NARROW
    extremes = () if narrow else ("lowest", "highest")
    table = _table("", "first", f"over {len(epochs)} evaluations", "last", *extremes)
    table.columns[2].justify = "left"
    for name, values in rows:
        known = [value for value in values if value is not None and math.isfinite(value)]
        if known:
            form = formatting.number if name == "learning rate" else formatting.score
            lows = () if narrow else (min(known), max(known))
            ends = [Text(form(value)) for value in (known[0], known[-1], *lows)]
            curve = Text(sparkline(values, CURVE_WIDTH // 2 if narrow else CURVE_WIDTH), style="cyan")
            table.add_row(Text(name), ends[0], curve, *ends[1:])
    _print_indented(console, table)


def _print_labels(record: LayoutLMRecord, console: Console) -> None:
    _heading(console, "Scores by label")
    rows = summary.label_scores(record)
    if not rows:
        _plain(console, "No scores by label are recorded.")
    else:
        _print_indented(console, _score_table("label", rows, record.overall, bars=console.width >= NARROW))
    if len(record.per_source) > 1:
        sources = [(name or "own receipts", one) for name, one in record.per_source.items()]
        console.print()
        _print_indented(console, _score_table("source", sources, None, bars=console.width >= NARROW))


def _score_table(first: str, rows: Sequence[tuple[str, Score]], overall: Score | None, bars: bool) -> Table:
    table = _table(first, "precision", "recall", "F1", "support")
    if bars:
        table.add_column()
    for name, one in [*rows, *([("all labels", overall)] if overall else [])]:
        style = "bold" if one is overall else ""
        cells = [formatting.score(value) for value in (one.precision, one.recall, one.f1)] + [
            formatting.number(one.support)
        ]
        table.add_row(
            Text(formatting.one_line(name, 32), style=style),
            *(Text(cell, style=style) for cell in cells),
            *([Text(bar(one.f1, BAR_WIDTH), style="cyan")] if bars else []),
        )
    return table


def _print_confusions(
    record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction] | None, console: Console
) -> None:
    _heading(console, "Most frequent confusions")
    confusion = confusion_of(record, predictions or ())
    if confusion is None:
        _plain(console, "No confusion matrix is recorded.")
        return
    pairs = top_confusions(confusion, 8)
    if not pairs:
        _plain(console, "No word was read wrongly.")
    totals = {label: sum(row) for label, row in zip(confusion.labels, confusion.counts, strict=True)}
    table = Table.grid(Column(), Column(justify="right"), Column(), padding=(0, 2, 0, 0))
    for gold, pred, count in pairs:
        said = f"  {formatting.one_line(gold, 32)} read as {formatting.one_line(pred, 32)}"
        share = Text(f"{formatting.percent(count / totals[gold])} of {totals[gold]:,}", style="dim")
        table.add_row(Text(said), Text(f"{count:,}x"), share)
    console.print(table)


def _print_data(record: LayoutLMRecord, console: Console) -> None:
    _heading(console, "Data")
    tables = summary.count_tables(record.dataset_counts)
    if not tables:
        _plain(console, "No counts of the data set are recorded.")
    for at, given in enumerate(tables):
        if at:
            console.print()
        table = _table(given.title, *given.columns)
        table.show_header = bool(given.title) or len(given.columns) > 1
        for name, cells in given.rows:
            table.add_row(Text(name), *map(Text, cells))
        _print_indented(console, table)
    if record.split:
        _plain(console, f"split: seed {record.split.seed}, hash {formatting.one_line(record.split.hash, 64)}")
    for row in summary.problem_rows(record.dataset_counts):
        example = f": {row.examples[0]}" if row.examples else ""
        console.print(Text(f"  {row.count}x {row.kind}, {row.fate}{example}", style="yellow"))


def _print_facts(record: LayoutLMRecord, console: Console) -> None:
    settings = (*summary.training_settings(record), *summary.data_settings(record))
    changed = [(row.name, row.value) for row in settings if not row.is_default]
    for title, rows in (("Hyperparameters that are not the defaults", changed), *summary.facts(record)):
        if rows:
            _heading(console, title)
            table = Table.grid(padding=(0, 2, 0, 0))
            for name, value in rows:
                table.add_row(Text(f"  {formatting.one_line(name, 40)}", style="dim"), Text(value))
            console.print(table)
