"""The report in a terminal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from receipt_trainer.contract.predictions import ReceiptPrediction
from receipt_trainer.contract.run_record import Confusion, LayoutLMRecord, Score
from receipt_trainer.reports import formatting, summary
from receipt_trainer.reports.terminal_plot import Curve, side_by_side
from receipt_trainer.reports.word_errors import (
    JudgedReceipt,
    WordOutcome,
    confusion_of,
    error_runs,
    top_confusions,
    worst_receipts,
)


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
    shown = Table.grid(Column(justify="right", no_wrap=True), Column(), Column(), padding=(0, 2, 0, 0))
    for line, text, said in rows[:MAX_LINES]:
        shown.add_row(Text(f"    {line}", style="dim"), text, said)
    console.print(shown)
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
_PLOT_WIDTH: Final = 120
_PLOT_HEIGHT: Final = 12
_STATUS_STYLE: Final = {"complete": "green", "running": "yellow", "failed": "red"}


def print_report(
    record: LayoutLMRecord,
    predictions: Sequence[ReceiptPrediction] | None,
    console: Console,
    notes: Sequence[str] = (),
) -> None:
    """Print what report.html shows, as far as text can; see `receipt_trainer.reports.html.render_html`."""
    _print_headline(record, predictions, console, notes)
    _print_curves(record, console)
    _print_labels(record, console)
    _print_confusions(record, predictions, console)
    heading(console, "Worst receipts")
    print_worst(predictions, console)
    _print_data(record, console)
    _print_facts(record, console)


def print_outcome(
    record: LayoutLMRecord, console: Console, predictions: Sequence[ReceiptPrediction] | None = None
) -> None:
    """Print how a run went: score, how far to believe it, worst labels, what to do; `print_report` has the rest.

    Args:
        predictions: of the validation receipts, from which the advice knows on which words the model errs.
    """
    from receipt_trainer.reports.advice import advise  # takes the parsers of values, which tables do without

    advice = advise(record, predictions)
    _print_headline(record, None, console, ())
    if advice.support:
        console.print(Text(advice.support, style="yellow"))
    if advice.worst:
        heading(console, "Worst labels")
        _print_indented(console, score_table("label", advice.worst, bars=console.width >= NARROW))
    if advice.steps:
        heading(console, "What next")
        print_lines(
            console, [(f"{at}.", formatting.one_line(step.text, 300)) for at, step in enumerate(advice.steps, 1)]
        )


def _plain(console: Console, text: str) -> None:
    console.print(Text(f"  {text}", style="dim"))


def table(*columns: str, right: Collection[str | int] = (), title: str | None = None) -> Table:
    """A table without lines; cells stay on one line, at the right in the columns of these names or places."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", title=title, title_justify="left")
    for at, name in enumerate(columns):
        justify: Literal["left", "right"] = "right" if at in right or name in right else "left"
        shown.add_column(Text(name), justify=justify, no_wrap=True)
    return shown


def plain_table(*columns: str, title: str | None = None, left: Collection[int] = ()) -> Table:
    """The same with the first column, and those at the places `left`, to the left, and the rest to the right."""
    return table(*columns, right=[at for at in range(1, len(columns)) if at not in left], title=title)


def print_lines(console: Console, lines: Sequence[tuple[str, str]]) -> None:
    """Names and values, one pair a line; a value that is too long is wrapped."""
    if lines:
        shown = Table.grid(padding=(0, 2, 0, 0))
        for name, value in lines:
            shown.add_row(Text(f"  {formatting.one_line(name)}", style="dim"), Text(formatting.one_line(value, 2000)))
        console.print(shown)


def heading(console: Console, text: str) -> None:
    """A bold line after an empty one."""
    console.print()
    console.print(Text(text, style="bold"))


def _print_indented(console: Console, shown: Table) -> None:
    console.print(Padding(shown, (0, 0, 0, 2), expand=False))


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
    """Numbers of all, and the two that say most as curves."""
    heading(console, "Learning curves")
    epochs = record.epoch_metrics
    if not epochs:
        _plain(console, "No evaluation is recorded.")
        return
    shown = plain_table("", "first", "last", "lowest", "highest")
    for name in ("f1", "precision", "recall", "train_loss", "eval_loss", "learning_rate"):
        known = [value for row in epochs if (value := getattr(row, name)) is not None and math.isfinite(value)]
        if known:
            form = formatting.number if name == "learning_rate" else formatting.score
            numbers = (known[0], known[-1], min(known), max(known))
            shown.add_row("F1" if name == "f1" else formatting.words_of(name), *map(form, numbers))
    _print_indented(console, shown)
    console.print()
    steps = [row.epoch for row in epochs]
    losses = [math.nan if row.eval_loss is None else row.eval_loss for row in epochs]
    curves: list[Curve] = [("F1, by epoch", steps, [row.f1 for row in epochs]), ("validation loss", steps, losses)]
    for line in side_by_side(curves, min(console.width, _PLOT_WIDTH), _PLOT_HEIGHT):
        console.print(line)


def _print_labels(record: LayoutLMRecord, console: Console) -> None:
    heading(console, "Scores by label")
    rows = summary.label_scores(record)
    if not rows:
        _plain(console, "No scores by label are recorded.")
    else:
        _print_indented(console, score_table("label", rows, record.overall, bars=console.width >= NARROW))
    if len(record.per_source) > 1:
        sources = [(name or "own receipts", one) for name, one in record.per_source.items()]
        console.print()
        _print_indented(console, score_table("source", sources, bars=console.width >= NARROW))


def score_table(
    first: str, rows: Iterable[tuple[str, Score]], overall: Score | None = None, *, bars: bool = False
) -> Table:
    """Precision, recall, F1 and support a row; `overall` goes last, in bold; with `bars` each F1 is drawn as well."""
    shown = plain_table(first, "precision", "recall", "F1", "support", *([""] if bars else []), left=(5,))
    for name, one in [*rows, *([("all labels", overall)] if overall else [])]:
        style = "bold" if one is overall else ""
        cells = [formatting.score(value) for value in (one.precision, one.recall, one.f1)]
        cells = [formatting.one_line(name, 32), *cells, formatting.number(one.support)]
        drawn = [Text(bar(one.f1, BAR_WIDTH), style="cyan")] if bars else []
        shown.add_row(*(Text(cell, style=style) for cell in cells), *drawn)
    return shown


def _print_confusions(
    record: LayoutLMRecord, predictions: Sequence[ReceiptPrediction] | None, console: Console
) -> None:
    heading(console, "Confusions")
    confusion = confusion_of(record, predictions or ())
    if confusion is None:
        _plain(console, "No confusion matrix is recorded.")
        return
    if (shown := confusion_table(confusion, 8)) is None:
        _plain(console, "No word was read wrongly.")
    else:
        _print_indented(console, shown)


def confusion_table(confusion: Confusion, limit: int = 10) -> Table | None:
    """The commonest confusions of words; None if there are none."""
    shown = plain_table("most frequent confusions", "words", "of all gold")
    totals = {label: sum(row) for label, row in zip(confusion.labels, confusion.counts, strict=True)}
    for gold, predicted, count in top_confusions(confusion, limit):
        said = f"{formatting.one_line(gold, 32)} read as {formatting.one_line(predicted, 32)}"
        share = f"{formatting.percent(count / totals[gold])} of {totals[gold]:,}"
        shown.add_row(Text(said), f"{count:,}", share)
    return shown if shown.row_count else None


def _print_data(record: LayoutLMRecord, console: Console) -> None:
    heading(console, "Data")
    tables = summary.count_tables(record.dataset_counts)
    if not tables:
        _plain(console, "No counts of the data set are recorded.")
    for at, given in enumerate(tables):
        if at:
            console.print()
        shown = plain_table(given.title, *given.columns)
        shown.show_header = bool(given.title) or len(given.columns) > 1
        for name, cells in given.rows:
            shown.add_row(Text(name), *map(Text, cells))
        _print_indented(console, shown)
    if record.split:
        _plain(console, f"split: seed {record.split.seed}, hash {formatting.one_line(record.split.hash, 64)}")
    for row in summary.problem_rows(record.dataset_counts):
        example = f": {row.examples[0]}" if row.examples else ""
        console.print(Text(f"  {row.number}x {row.kind}, {row.fate}{example}", style="yellow"))


def _print_facts(record: LayoutLMRecord, console: Console) -> None:
    settings = summary.layoutlm_settings(record).values()
    changed = [(row.name, row.value) for rows in settings for row in rows if not row.is_default]
    for title, rows in (("Hyperparameters that are not the defaults", changed), *summary.facts(record)):
        if rows:
            heading(console, title)
            print_lines(console, rows)
