"""Output of several commands: a progress bar and the list of problems, on stderr, so that stdout stays data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from receipt_trainer.data.problems import ProblemLog


@contextmanager
def progress_bar(label: str, wanted: bool | None) -> Iterator[Callable[[int, int], None] | None]:
    """A callback (done, total) that draws a bar on stderr; None if no bar is wanted."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield None
        return

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def show_problems(problems: ProblemLog) -> None:
    """Each kind of problem with its count and first examples; nothing if there are none."""
    for kind, entry in problems.as_dict().items():
        what = "left out" if entry["dropped"] else "kept"
        click.echo(f"{kind}: {entry['count']} ({what})", err=True)
        for example in entry["examples"]:
            click.echo(f"  {example}", err=True)
