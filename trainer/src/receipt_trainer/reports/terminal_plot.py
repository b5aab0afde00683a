"""Curves in a terminal: axes, ticks and dots of Unicode's Braille patterns, drawn by plotext."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from receipt_trainer.reports import formatting

MIN_WIDTH: Final = 24
MIN_HEIGHT: Final = 5
"""Below so many columns or lines there is no room for a curve between its axes."""
SIDE_BY_SIDE: Final = 64
"""Columns from which on two curves stand side by side."""
_COLUMNS_A_TICK: Final = 16
_LINES_A_TICK: Final = 3
_NO_SPAN: Final = 0.05
"""Of its value, how far the axis of a curve that is flat goes to each side."""

Curve = tuple[str, Sequence[float], Sequence[float]]
"""Title, steps and values."""


def side_by_side(curves: Sequence[Curve], width: int, height: int) -> list[Text]:
    """The lines of curves beside each other; on a narrow screen those of the first one alone."""
    shown = curves if width >= SIDE_BY_SIDE else curves[:1]
    each = (width - 1) // len(shown) if len(shown) > 1 else width
    drawn = [curve(*one, each, height).split("\n", allow_blank=True) for one in shown]
    rows = []
    for parts in zip(*drawn, strict=False):
        row = Text(no_wrap=True)
        for part in parts:
            part.truncate(each, pad=True)
            row.append_text(part)
        rows.append(row)
    return rows[:height]


def curve(title: str, steps: Sequence[float], values: Sequence[float], width: int, height: int) -> Text:
    """A curve of values over steps, `width` columns by `height` lines with title and axes.

    Values that are no finite numbers are left out. Longer curves are thinned to what the columns can show; the lowest
    and the highest of each piece are kept, so that a spike stays one.
    """
    known = [(step, value) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if not known or width < MIN_WIDTH or height < MIN_HEIGHT:
        nothing = "no value yet" if not known else "no room"
        return Text("\n".join([title.center(width)[:width], nothing.center(width)[:width], *[""] * (height - 2)]))
    known = thinned(known, 2 * width)
    drawn = Text.from_ansi(_draw(title, known, width, height))
    drawn.no_wrap = True
    return drawn


def thinned(points: Sequence[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    """At most `limit` of the points, and the last one: the lowest and the highest of pieces of equal length."""
    if len(points) <= limit:
        return list(points)
    num_pieces, kept = limit // 2, []
    for at in range(num_pieces):
        piece = points[at * len(points) // num_pieces : (at + 1) * len(points) // num_pieces]
        kept += sorted({min(piece, key=lambda point: point[1]), max(piece, key=lambda point: point[1])})
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _draw(title: str, points: Sequence[tuple[float, float]], width: int, height: int) -> str:
    import plotext

    steps, values = [point[0] for point in points], [point[1] for point in points]
    plotext.terminal.limit(False, False)  # the screen's layout knows how much room there is
    figure: Any = plotext.figure
    figure.clear()
    figure.plot_size(width, height)
    figure.theme("simple")
    figure.title(title)
    low, high = _limits(values)
    _ruler(figure, "y", _ticks(low, high, max(2, (height - 4) // _LINES_A_TICK + 1)), low, high)
    first, last = steps[0], steps[-1]
    num_ticks = min(len(steps), max(2, width // _COLUMNS_A_TICK + 1))
    marked = dict.fromkeys(steps[round(at)] for at in _ticks(0, len(steps) - 1, num_ticks))  # where there are values
    _ruler(figure, "x", list(marked), first, last if last > first else first + 1)
    signal = figure.signal(steps, values, marker="braille")
    figure.draw(signal.lines() if len(points) > 1 else signal)
    text = str(figure.build())
    figure.clear()
    return text


def _ruler(figure: Any, axis: str, ticks: Sequence[float], low: float, high: float) -> None:
    ruler = figure.ruler(axis)
    ruler.lim(low, high)
    ruler.ticks(list(ticks), [formatting.number(tick) for tick in ticks])


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    if 0 <= low <= 1:  # one evaluation's score: of what there is to be had
        return 0.0, 1.0
    margin = abs(low) * _NO_SPAN
    return low - margin, high + margin


def _ticks(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * at / max(1, count - 1) for at in range(count)]
