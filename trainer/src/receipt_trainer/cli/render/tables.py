"""Tables, times, prices, states and JSON as the commands print them; progress and problems, on stderr."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from receipt_trainer.contract.tables import moment
from receipt_trainer.data.problems import ProblemLog, problem_lines
from receipt_trainer.reports import formatting
from receipt_trainer.reports.terminal import heading, plain_table, print_lines, table

__all__ = ["heading", "plain_table", "print_lines", "table"]

WIDE: Final = 200
"""Columns of output that no terminal cuts: tables in files and pipes are not cut."""
_LEAST_PRICE: Final = 0.00005
"""Dollars of an hour that do not read 0.0000."""


def console() -> Console:
    """Standard output: as wide as the terminal, or wide enough for everything where there is none."""
    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(width=None if known else WIDE, highlight=False, markup=False, emoji=False)


def print_json(value: object) -> None:
    """`value` as JSON that every reader takes: NaN and the infinities become null."""
    click.echo(json.dumps(plain(value), indent=1, ensure_ascii=False))


def plain(value: Any) -> Any:
    """`value` as JSON can write it; see `print_json`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def ago(text: object, now: datetime) -> str:
    """How long before `now` a stored time was, or after it, in its largest unit."""
    then = moment(text)
    if then is None:
        return "–"
    seconds = round((now - then).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if abs(seconds) >= size:
            return f"{seconds // size} {unit} ago" if seconds > 0 else f"in {-seconds // size} {unit}"
    return "now"


def clock(text: object) -> str:
    """The time of day, in UTC, of a stored or another time; as long as that of an unknown one."""
    then = text if isinstance(text, datetime) else moment(text)
    return "--:--:--" if then is None else f"{then.astimezone(UTC):%H:%M:%S}"


def when(text: object, now: datetime) -> str:
    """A stored time in UTC, and how long ago that is."""
    then = moment(text)
    return "–" if then is None else f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC ({ago(text, now)})"


def price(usd_per_h: float | None) -> str:
    """Dollars of an hour. What would read 0.0000 is no price of AWS's: an emulator's, which counts as unknown."""
    return "unknown" if usd_per_h is None or usd_per_h < _LEAST_PRICE else f"{usd_per_h:.4f}"


def print_rows(
    console: Console,
    heads: Sequence[str],
    rows: Iterable[Iterable[str | Text]],
    right: Collection[str] = (),
    limit: int = 40,
) -> None:
    """A table of these rows; texts are cut to `limit` characters."""
    shown = table(*heads, right=right)
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(formatting.one_line(cell, limit)) for cell in row))
    console.print(shown)


def print_note(console: Console, text: str) -> None:
    """A remark, in a colour of its own."""
    console.print(Text(f"note: {text}", "yellow"), soft_wrap=True)


def counted(number: int, what: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def print_cells(
    console: Console, rows: Sequence[Cells], order: Sequence[str], right: Collection[str], *, flexible: str = ""
) -> None:
    """A table of cells by head, with as many columns as there is room for; what is left out is said below it.

    Args:
        order: heads by their importance; a narrow terminal gets the first `NUM_NARROW` alone.
        flexible: the column that is cut to the room that is left, of `_FLEXIBLE` characters at least.
    """

    def width(head: str) -> int:
        longest = max(len(str(one[head])) for one in rows)
        return 2 + max(len(head), min(longest, _FLEXIBLE) if head == flexible else longest)

    room, kept = console.width + 2, set[str]()
    for head in order[:NUM_NARROW] if is_narrow(console) else order:
        if head in order[:NUM_NARROW] or width(head) <= room:
            kept.add(head)
            room -= width(head)
    shown = table(*(head for head in rows[0] if head in kept), right=right)
    for one in rows:
        cells = {head: cell if isinstance(cell, Text) else Text(cell) for head, cell in one.items() if head in kept}
        if flexible in cells:
            cells[flexible].truncate(max(0, room) + width(flexible) - 2, overflow="ellipsis")
        shown.add_row(*cells.values())
    console.print(shown)
    left_out = [head for head in rows[0] if head not in kept]
    if left_out:
        click.echo(f"no room for {', '.join(left_out)}: a wider terminal or --json has them", err=True)


def is_narrow(console: Console) -> bool:
    """Whether only the most important columns have room."""
    return console.width < _NARROW_BELOW


Cells = Mapping[str, str | Text]
NUM_NARROW: Final = 7
"""Columns of a narrow table."""
_NARROW_BELOW: Final = 100
_FLEXIBLE: Final = 12
_ENDLESS: Final = 100_000
Row = Sequence[str | Text]
_NAME: Final = 16
"""Characters that the first column keeps in any case; longer text continues below."""


def print_fitted(heads: Sequence[str], rows: Sequence[Sequence[str]], droppable: Sequence[str] = ()) -> list[str]:
    """Print rows, of which only the first column is ever broken, never a number; returns the columns left out.

    On a narrow terminal the words of a head stand below each other, and columns of `droppable` are left out in their
    order until there is room. Where standard output is no terminal, the table is as wide as it is.
    """
    console = Console(markup=False, highlight=False, emoji=False)
    if console.is_terminal:
        table, left_out = fit(console, heads, rows, [[row[0][:_NAME], *row[1:]] for row in rows], droppable)
    else:
        table, left_out = fitted(heads, rows), []
        console.width = max(1, _width(console, table))
    console.print(table)
    return left_out


def fit(
    console: Console,
    heads: Sequence[str],
    rows: Sequence[Row],
    short: Sequence[Row],
    droppable: Sequence[str],
    is_folded: bool = True,
) -> tuple[Table, list[str]]:
    """A table for this console, and those of the droppable columns, first ones first, that it has no room for.

    `short` are the rows as they are where heads are stacked.
    """
    table = fitted(heads, rows, is_folded=is_folded)
    if _width(console, table) <= console.width:
        return table, []
    for many in range(len(droppable) + 1):
        table = fitted(heads, short, droppable[:many], is_stacked=True, is_folded=is_folded)
        if _width(console, table) <= console.width:
            break
    return table, list(droppable[:many])


def _width(console: Console, table: Table) -> int:
    return console.measure(table, options=console.options.update(max_width=_ENDLESS)).maximum


def fitted(
    heads: Sequence[str],
    rows: Sequence[Row],
    hidden: Collection[str] = (),
    is_stacked: bool = False,
    is_folded: bool = True,
) -> Table:
    """The table without the hidden columns; stacked: the words of a head below each other; folded: the first column may
    be broken."""
    kept = [at for at, head in enumerate(heads) if head not in hidden]
    table = plain_table(*(re.sub("[ _.]", "\n", heads[at]) if is_stacked else heads[at] for at in kept))
    if is_folded:
        table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell := row[at], str) else cell for at in kept))
    return table


_CENT: Final = 0.01


def dollars(value: float) -> str:
    """Dollars, cents from ten of them on; less than a cent is no sum that anybody asks for."""
    if 0 < value < _CENT:
        return "< $0.01"
    return f"${value:,.2f}" if value >= 0.1 else formatting.dollars(value)


def least(usd: float, num_unknown: int) -> str:
    """`at least ` before a sum that lacks some prices; nothing before `< $0.01`, which would contradict it."""
    return "at least " if num_unknown and not 0 < usd < _CENT else ""


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
    """Each kind of problem with its count, likely causes and first examples; nothing if there are none."""
    for line in problem_lines(problems.as_dict()):
        click.echo(line, err=True)
