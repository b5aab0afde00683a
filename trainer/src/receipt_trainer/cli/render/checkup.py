"""What `receipts check` found, as lines and tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import click

from receipt_trainer.cli.render.tables import counted, print_fitted
from receipt_trainer.data.problems import problem_lines
from receipt_trainer.reports.checkup import ROOM, Checkup
from receipt_trainer.reports.formatting import one_line

_WIDTH = 80
_EXAMPLES = 3
_LONGEST_LIST = 60


def print_checkup(found: Checkup) -> None:
    """All of it, the verdict last."""
    for name, format in found.formats.items():
        click.echo(f"{one_line(name, 200)}: read as {format}")
    for text in found.refused:
        _say("refused: ", text, 600)
    click.echo(
        f"{counted(found.num_receipts, 'receipt')}, {found.num_words:,} words, "
        f"{found.num_labelled_words:,} with a label; "
        f"{found.num_labelled:,} receipts can be trained on"
    )
    _print_problems(found)
    _print_labels(found)
    _print_sources(found)
    split = found.split
    if split is not None:
        click.echo(
            f"\nSplit: {split.num_train:,} receipts to learn from, {split.num_validation:,} held out to validate"
        )
    if found.near:
        names = "; ".join(", ".join(one_line(name, 40) for name in group[:4]) for group in found.near[:_EXAMPLES])
        _say("Near duplicates: ", names)
    if found.longest:
        name, words, tokens = found.longest[0]
        _say(
            "Longest: ", f"{one_line(name, 40)}, {words:,} words, about {tokens:,} tokens; a window has room for {ROOM}"
        )
    _list("Look at these", found.problems_said)
    _list("Good to know", found.remarks)
    click.echo(f"\n{found.verdict}")


def _say(head: str, text: str, limit: int = 300) -> None:
    lines = textwrap.wrap(head + one_line(text, limit), _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    click.echo("\n".join(lines))


def _list(title: str, texts: Iterable[str]) -> None:
    for n, text in enumerate(texts):
        if n == 0:
            click.echo(f"\n{title}")
        _say("- ", text)


def _print_problems(found: Checkup) -> None:
    for n, line in enumerate(problem_lines(found.problems_shown())):
        if n == 0:
            click.echo("\nLeft out or altered")
        click.echo(one_line(line, 400) if line[:1] != " " else f"  {one_line(line, 400)}")


def _print_labels(found: Checkup) -> None:
    if not found.labels:
        return
    click.echo("\nLabels (of words whose label is VALID)")
    heads = ["label", "learned as", "words", "receipts", "remark"]
    same = all(row.learned_as == row.name for row in found.labels)
    rows = [
        [
            one_line(row.name, 40),
            *([] if same else [one_line(row.learned_as, 30)]),
            *(f"{row.num_words:,}", f"{row.num_receipts:,}", row.remark),
        ]
        for row in found.labels[:_LONGEST_LIST]
    ]
    print_fitted([head for head in heads if not same or head != "learned as"], rows)
    if len(found.labels) > _LONGEST_LIST:
        click.echo(f"and {len(found.labels) - _LONGEST_LIST} more")


def _print_sources(found: Checkup) -> None:
    for n, row in enumerate(found.sources):
        if n == 0:
            click.echo("\nSources")
        what = "all labels are annotated"
        if row.unannotated:
            what = f"annotates {', '.join(row.annotated) or 'nothing'}; its other words may bear any other label"
        _say(f"{one_line(row.name, 40) or 'own'}: ", f"{counted(row.num_receipts, 'receipt')}, {what}", 500)
