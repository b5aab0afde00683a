"""A watched job: the entire screen of a terminal, or lines without one."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final, NoReturn

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from receipt_trainer.cli.render import jobs, tables
from receipt_trainer.cli.render.tables import dollars, least
from receipt_trainer.jobs.views import JobView, Screen, last_value
from receipt_trainer.reports import formatting, terminal
from receipt_trainer.reports.formatting import printable
from receipt_trainer.reports.terminal_plot import side_by_side

_BAR: Final = 20
_WIDE: Final = 100


def header(view: JobView, width: int) -> list[Text]:
    """Name and id; state and place; progress: one line each."""
    title = jobs.title_text(view.row, max(10, width - len(str(view.row["job_id"])) - 2))
    lines = [title, state_line(view), progress_line(view, bar=_BAR if width >= _WIDE else _BAR // 2)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def state_line(view: JobView, *, elapsed: bool = True) -> Text:
    """State, attempt, where it runs, time and dollars; `elapsed` False leaves out what changes all the time."""
    row, known, cost = view.row, [], view.cost
    if view.attempts and row["status"] in ("CLAIMED", "RUNNING"):
        last = view.attempts[-1]
        known += [str(last[key]) for key in ("worker_id", "instance_type") if last.get(key)]
    elif row.get("pool"):
        known.append(f"pool {row['pool']}")
    if elapsed and cost.num_attempts:
        usd = "no price known" if cost.usd is None else f"{least(cost.usd, cost.num_unknown)}{dollars(cost.usd)}"
        known += [formatting.duration(round(cost.seconds)), usd]
    return jobs.state_line(row, known)


def progress_line(view: JobView, *, bar: int = 0) -> Text:
    """Step of how many, pace, time left, learning rate; what is not known is said to be so.

    Args:
        bar: columns of a bar before it; 0: no bar, and the loss, which has no curve then.
    """
    pace, line = view.pace, Text(no_wrap=True)
    if "unreadable" in view.row:
        return Text(formatting.one_line(view.row["reason"], 300), style="red", no_wrap=True)
    if told := jobs.undelivered_text(view.row, view.at):
        return Text(formatting.one_line(told, 300), style="magenta", no_wrap=True)
    if pace.step is None:
        return Text(formatting.one_line(_phase(view), 300), style="dim", no_wrap=True)
    if bar and pace.share is not None:
        done = terminal.bar(pace.share, bar)
        line.append(done, style="green").append("─" * (bar - len(done)) + " ", style="dim")
    total = "of an unknown number" if pace.num_steps is None else f"of {pace.num_steps:,}"
    facts = [f"step {pace.step:,} {total}"]
    if pace.steps_per_s is not None:
        facts.append(f"{formatting.number(round(pace.steps_per_s, 2))} steps/s")
    if pace.left_s is not None and view.row["status"] == "RUNNING":
        facts.append(f"{formatting.duration(max(1, round(pace.left_s)))} left")
    for name, title in (("learning_rate", "lr"),) if bar else (("learning_rate", "lr"), ("loss", "loss")):
        if (point := last_value(view.curves.get(name, []))) is not None:
            facts.append(f"{title} {point.value:.3g}")
    return line.append(" · ".join(facts))


def _phase(view: JobView) -> str:
    """What happens before the first step: in the queue, at the start of the process, and as the log says last."""
    waits = {"PENDING": "waits in its queue", "INTERRUPTED": "waits for a worker to resume it"}
    if said := waits.get(view.row["status"]):
        return f"{said}: {view.waits}" if view.waits else said
    if view.row["status"] == "CLAIMED":
        return "its worker loads PyTorch, then the data"
    if view.row["status"] == "RUNNING":
        return f"before its first step: {view.lines[-1].message if view.lines else 'reads the data, loads the model'}"
    return "no step logged yet"


def attempts_text(view: JobView, width: int, limit: int) -> list[Text]:
    """The last `limit` attempts, one line each; nothing where the first one goes its way."""
    attempts = view.attempts
    if len(attempts) < 2 and not any(row.get("reason") for row in attempts):
        return []
    lines = [_heading(f"attempts ({len(attempts)})")]
    for row in attempts[-limit:]:
        facts = [f"{row['attempt']:>3}  {row['outcome'] or 'running'}", formatting.duration(round(row["seconds"] or 0))]
        ends = (("from", row["start_step"]), ("to", row["checkpoint_step"]))
        facts += [f"{name} step {step}" for name, step in ends if step]
        facts += [str(row["reason"])] if row["reason"] else []
        lines.append(Text(formatting.one_line(" · ".join(facts).strip(), width), no_wrap=True))
    return lines


def log_text(view: JobView, width: int, height: int) -> list[Text]:
    """The last lines of the log that fit, each cut to the width."""
    if height < 2 or not view.lines:
        return []
    lines = []
    for row in view.lines[-(height - 1) :]:
        line = Text(f"{tables.clock(row.timestamp)} ", style="dim", no_wrap=True)
        line.append(
            formatting.one_line(row.message, max(10, width - 10)),
            style=jobs.LOG_STYLES.get(row.level, "not dim default"),
        )
        line.truncate(width)
        lines.append(line)
    return [_heading("log"), *lines]


def _heading(text: str) -> Text:
    return Text(text, style="bold", no_wrap=True)


MIN_PLOT: Final = 7
MAX_PLOT: Final = 16
"""Lines of a curve with title and axes."""
PROGRESS_EVERY_S: Final = 30.0
"""Between two lines of progress where there is no terminal."""
_HEIGHT: Final = 30
"""Lines of a view that is printed, and not shown on a screen."""


def whole_view(view: JobView, width: int, height: int, note: str = "") -> RenderableType:
    """Everything on `width` columns and `height` lines: what is too much is left out from the oldest on."""
    head = header(view, width)
    attempts = attempts_text(view, width, max(1, (height - 16) // 2))
    left = height - len(head) - len(attempts) - (1 if note else 0)
    plot_height = max(0, min(MAX_PLOT, left - max(3, left // 3) - 1))
    plots = side_by_side(jobs.plots_of(view.curves), width, plot_height) if plot_height >= MIN_PLOT else []
    lines = log_text(view, width, left - len(plots))
    warning = [Text(note[:width], style="red", no_wrap=True)] if note else []
    return Group(*head, *plots, *attempts, *lines, *warning)


def print_view(console: Console, view: JobView) -> None:
    """The view once, below what the terminal shows already."""
    console.print(whole_view(view, min(console.width, 160), min(max(console.height, 24), _HEIGHT)))


@contextmanager
def open_screen(console: Console) -> Iterator[Screen]:
    """A screen on a terminal, lines elsewhere. A terminal is given back as it was, and the last view stays on it."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield LineScreen(console)
        return
    screen = LiveScreen(console)
    handlers = {signal.SIGTERM: _leave, signal.SIGINT: screen.interrupt}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with screen:
            yield screen
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if screen.last is not None:
            print_view(console, screen.last)


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


class LiveScreen:
    """The terminal's second screen, drawn anew at every look, so that another width is no matter."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._is_interrupted = False
        self.last: JobView | None = None

    def interrupt(self, number: int, frame: object) -> NoReturn:
        """End the view on Ctrl-C: at once, or at the next look where Python drops what a finaliser raises."""
        self._is_interrupted = True
        raise KeyboardInterrupt

    def __enter__(self) -> LiveScreen:
        self._live.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._live.stop()

    def show(self, view: JobView) -> None:
        """See `Screen`."""
        self.last = view
        if self._is_interrupted:
            raise KeyboardInterrupt
        self._draw("")

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._draw(text)

    def _draw(self, note: str) -> None:
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

        state = " · ".join(filter(None, (state_line(view, elapsed=False).plain, view.waits)))
        if state != self._state:
            self._state = state
            self._print(f"{tables.clock(view.at)} {state}")
        for line in view.new_lines:
            self._print(f"{tables.clock(line.timestamp)} {printable(line.message)}")
        moment = view.at.timestamp()
        due = self._said_at is None or moment - self._said_at >= PROGRESS_EVERY_S
        if view.pace.step is not None and view.pace.step != self._step and (due or view.has_ended):
            self._step, self._said_at = view.pace.step, moment
            self._print(f"{tables.clock(view.at)} {progress_line(view).plain}")

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class JsonScreen:
    """An object a look, one a line, for scripts."""

    def show(self, view: JobView) -> None:
        """See `Screen`."""
        said: dict[str, Any] = {"at": view.at.isoformat(timespec="seconds"), **jobs.public(view.row, jobs.LIST_KEYS)}
        said |= {"pace": asdict(view.pace), "cost": asdict(view.cost), "attempts": view.attempts}
        last = {name: last_value(points) for name, points in view.curves.items()}
        said["last_metrics"] = {name: asdict(point) for name, point in last.items() if point is not None}
        said["log"] = [asdict(line) for line in view.new_lines]
        click.echo(json.dumps(tables.plain(said), ensure_ascii=False))

    def note(self, text: str) -> None:
        """See `Screen`."""
        click.echo(f"warning: {text}", err=True)
