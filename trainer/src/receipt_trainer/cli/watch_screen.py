"""How a watched job looks: the whole screen of a terminal, or lines where there is none."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from receipt_trainer.cli import job_show
from receipt_trainer.cli.watch_parts import attempts_text, curve_names, header, log_text, progress_line, state_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from receipt_trainer.cli.watch import Screen
    from receipt_trainer.jobs.views import JobView

MIN_PLOT: Final = 7
MAX_PLOT: Final = 16
"""Lines of a curve with title and axes."""
SIDE_BY_SIDE: Final = 64
"""Columns from which on two curves stand side by side."""
PROGRESS_EVERY_S: Final = 30.0
"""Between two lines of progress where there is no terminal."""
_HEIGHT: Final = 30
"""Lines of a view that is printed, and not shown on a screen."""


def whole_view(view: JobView, width: int, height: int, note: str = "") -> RenderableType:
    """Everything on `width` columns and `height` lines: what is too much is left out from the oldest on."""
    from rich.console import Group
    from rich.text import Text

    head = header(view, width)
    attempts = attempts_text(view, width, max(1, (height - 16) // 2))
    left = height - _num_lines(*head, *attempts) - (1 if note else 0)
    plot_height = max(0, min(MAX_PLOT, left - max(3, left // 3) - 1))
    plots = _plots(view, width, plot_height) if plot_height >= MIN_PLOT else []
    left -= _num_lines(*plots)
    lines = log_text(view, width, left)
    warning = [Text(note[:width], style="red", no_wrap=True)] if note else []
    return Group(*head, *plots, *attempts, *lines, *warning)


def _num_lines(*parts: Text) -> int:
    return sum(part.plain.count("\n") + 1 for part in parts)


def _plots(view: JobView, width: int, height: int) -> list[Text]:
    from rich.text import Text

    from receipt_trainer.reports.terminal_plot import curve

    shown = curve_names(view)
    each = (width - 1) // len(shown) if width >= SIDE_BY_SIDE else width
    drawn = []
    for name, title in shown if width >= SIDE_BY_SIDE else shown[:1]:
        points = view.curves.get(name, [])
        steps, values = [point.step for point in points], [point.value for point in points]
        drawn.append(curve(title, steps, values, each, height).split("\n", allow_blank=True))
    rows = []
    for parts in zip(*drawn, strict=False):
        row = Text(no_wrap=True)
        for part in parts:
            part.truncate(each, pad=True)
            row.append_text(part)
        rows.append(row)
    return rows[:height]


def print_view(console: Console, view: JobView) -> None:
    """The view once, below what the terminal shows already."""
    console.print(whole_view(view, min(console.width, 160), min(max(console.height, 24), _HEIGHT)))


@contextmanager
def open_screen(console: Console) -> Iterator[Screen]:
    """A screen on a terminal, lines elsewhere. A terminal is given back as it was, and the last view stays on it."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield LineScreen(console)
        return
    previous = signal.signal(signal.SIGTERM, _leave)
    try:
        with LiveScreen(console) as screen:
            yield screen
    finally:
        signal.signal(signal.SIGTERM, previous)
        if screen.last is not None:
            print_view(console, screen.last)


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


class LiveScreen:
    """The terminal's second screen, drawn anew at every look, so that another width is no matter."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self.last: JobView | None = None

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._live.stop()

    def show(self, view: JobView) -> None:
        """See `Screen`."""
        self.last = view
        self._draw("")

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._draw(text)

    def _draw(self, note: str) -> None:
        from rich.text import Text

        width, height = self._console.size
        shown = whole_view(self.last, width, height, note) if self.last else Text(note)
        self._live.update(shown, refresh=True)


class LineScreen:
    """Lines for a file or a pipe: changes of state, the log, and now and then how far the job is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state = ""
        self._step: int | None = None
        self._said_at: float | None = None

    def show(self, view: JobView) -> None:
        """See `Screen`."""
        from receipt_trainer.reports.formatting import printable

        state = state_line(view, elapsed=False).plain
        if state != self._state:
            self._state = state
            self._print(f"{job_show.clock(view.at)} {state}")
        for line in view.new_lines:
            self._print(f"{job_show.clock(line.timestamp)} {printable(line.message)}")
        moment = view.at.timestamp()
        due = self._said_at is None or moment - self._said_at >= PROGRESS_EVERY_S
        if view.pace.step is not None and view.pace.step != self._step and (due or view.has_ended):
            self._step, self._said_at = view.pace.step, moment
            self._print(f"{job_show.clock(view.at)} {progress_line(view).plain}")

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text(text), soft_wrap=True)
