"""A sweep as it goes on: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import click

from receipt_trainer.cli.sweep_table import fit, score_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from receipt_trainer.sweep.definition import Definition
    from receipt_trainer.sweep.results import Result
    from receipt_trainer.sweep.trial import Trial

_AROUND: Final = 10
"""Lines of a screen beside the rows of the table: its head, what there is no room for, the line and the bar."""
_BAR: Final = 40


class Screen:
    """Shows a sweep while it goes on: a live table on a terminal, a line for each change elsewhere."""

    def __init__(self, definition: Definition, num_trials: int, console: Console | None = None) -> None:
        """`console`: by default that of standard error."""
        self._definition, self._num_trials = definition, num_trials
        self._console = console or self._errors()
        self._live: Live | None = None
        self._last = ""

    @staticmethod
    def _errors() -> Console:
        from rich.console import Console

        return Console(stderr=True, highlight=False, markup=False, emoji=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, trials: Sequence[Trial]) -> None:
        """Take the trials as they are now."""
        from receipt_trainer.sweep.results import ranked

        results = ranked(trials, self._definition.goal)
        line, ended = self._line(trials, results)
        if self._live is None:
            if line != self._last:
                click.echo(line, err=True)
            self._last = line
            return
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        rows = results[: max(3, self._console.height - _AROUND)]
        table, left_out = fit(self._definition, rows, self._console)
        notes = [f"{len(results) - len(rows)} more trials"] if len(rows) < len(results) else []
        notes += [f"no room for {', '.join(left_out)}"] if left_out else []
        note = Text("; ".join(notes), style="dim", no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=self._num_trials, completed=ended, width=min(_BAR, self._console.width))
        # The bar comes last: it ends no line.
        self._live.update(Group(table, note, Text(line), bar), refresh=True)

    def _line(self, trials: Sequence[Trial], results: Sequence[Result]) -> tuple[str, int]:
        from receipt_trainer.sweep.trial import ENDED

        ended = sum(trial.state in ENDED for trial in trials)
        line = f"{ended} of {self._num_trials} trials have ended, {len(trials) - ended} are queued or running"
        if results and results[0].trial.value is not None:
            goal, best = self._definition.goal, results[0]
            line += f"; best {goal.title} {score_text(goal, best.score)} (trial {best.trial.number})"
        return line, ended
