"""A sweep as it goes on: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import click

from receipt_trainer.cli.sweep_table import trials_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from receipt_trainer.sweep.definition import Definition
    from receipt_trainer.sweep.results import Result
    from receipt_trainer.sweep.trial import Trial

_AROUND: Final = 8
"""Lines of a screen beside the rows of the table."""


class Screen:
    """Shows a sweep while it goes on: a live table on a terminal, a line for each change elsewhere."""

    def __init__(self, definition: Definition, num_trials: int) -> None:
        self._definition, self._num_trials = definition, num_trials
        self._console = self._errors()
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

        results = ranked(trials)
        line, ended = self._line(trials, results)
        if self._live is None:
            if line != self._last:
                click.echo(line, err=True)
            self._last = line
            return
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        bar = ProgressBar(total=self._num_trials, completed=ended, width=40)
        rows = results[: max(3, self._console.height - _AROUND)]
        self._live.update(Group(trials_table(self._definition, rows), Text(""), bar, Text(line)), refresh=True)

    def _line(self, trials: Sequence[Trial], results: Sequence[Result]) -> tuple[str, int]:
        from receipt_trainer.report import wording
        from receipt_trainer.sweep.trial import ENDED

        ended = sum(trial.state in ENDED for trial in trials)
        line = f"{ended} of {self._num_trials} trials have ended, {len(trials) - ended} are queued or running"
        if results and results[0].trial.value is not None:
            line += f"; best F1 {wording.score(results[0].f1)} (trial {results[0].trial.number})"
        return line, ended
