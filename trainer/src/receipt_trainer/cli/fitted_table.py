"""A table of numbers on a terminal that may be too narrow for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.table import Table

_ENDLESS: Final = 100_000
_NAME: Final = 16
"""Characters that the first column keeps in any case; what is longer goes on below."""


def print_fitted(heads: Sequence[str], rows: Sequence[Sequence[str]], droppable: Sequence[str] = ()) -> list[str]:
    """Print rows, of which only the first column is ever broken, never a number; returns the columns left out.

    On a narrow terminal the words of a head stand below each other, and columns of `droppable` are left out in their
    order until there is room. Where standard output is no terminal, the table is as wide as it is.
    """
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)

    def width(table: Table) -> int:
        return console.measure(table, options=console.options.update(max_width=_ENDLESS)).maximum

    whole = _table(heads, rows)
    if not console.is_terminal or width(whole) <= console.width:
        Console(width=max(1, width(whole)), markup=False, highlight=False, emoji=False).print(whole)
        return []
    short = [[row[0][:_NAME], *row[1:]] for row in rows]
    left_out: list[str] = []
    for name in ["", *droppable]:
        left_out += [name] if name else []
        if width(_table(heads, short, left_out, is_stacked=True)) <= console.width:
            break
    console.print(_table(heads, rows, left_out, is_stacked=True))
    return left_out


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], hidden: Collection[str] = (), is_stacked: bool = False
) -> Table:
    from rich.text import Text

    from receipt_trainer.cli.score_tables import plain_table

    kept = [at for at, head in enumerate(heads) if head not in hidden]
    table = plain_table(*(heads[at].replace(" ", "\n") if is_stacked else heads[at] for at in kept))
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for row in rows:
        table.add_row(*(Text(row[at]) for at in kept))
    return table
