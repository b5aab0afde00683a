"""A sweep as it is printed: its plan, its trials best first, the scores of their parts, a live table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.render import jobs, tables
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.reports import formatting
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.definition import SEARCHES, Definition, Objective
from receipt_trainer.sweep.ranking import ranked, verdict_of
from receipt_trainer.sweep.search_space import get_value, title
from receipt_trainer.sweep.trial import ENDED, Trial

_STYLES: Final = {
    "WAITING": "cyan",
    "PLANNED": "cyan",
    "RUNNING": "yellow",
    "PRUNING": "yellow",
    "COMPLETE": "green",
    "HELD": "magenta",
    "FAILED": "red",
    "PRUNED": "dim",
    "CANCELLED": "dim",
}

_WIDE: Final = 30
_NARROW: Final = 12
"""Characters of a value at most, on a wide screen and on a narrow one."""
_DROPPED_LAST: Final = ("± sd", "seeds", "time", "cost")
_DROPPED_FIRST: Final = ("seeds", "± sd", "time", "cost")


def effective(definition: Definition, params: dict[str, Any]) -> list[Any]:
    """Values as trained with: the learning rate after scaling."""
    if definition.scale_lr == "none":
        return [*params.values()]
    config = plan.overrides(definition, params)
    return [get_value(config[axis.section], axis.key) for axis in definition.axes]


def value_text(value: Any, limit: int = _WIDE) -> str:
    """A hyperparameter's value in so many characters at most, as a job file has it."""
    if value is None:
        return "unset"
    if isinstance(value, list | tuple):
        return formatting.one_line(",".join(str(one) for one in value) or "none", limit)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else formatting.one_line(str(value), limit)


def score_text(objective: Objective, value: float | None) -> str:
    """A score with three digits; a loss, which may be small, with four that count."""
    if value is None or not objective.is_lower_better:
        return formatting.score(value)
    return f"{value:#.4g}"


def trials_table(definition: Definition, results: Sequence[Trial], console: Console) -> tuple[Table, list[str]]:
    """A row a trial, in the order given, as wide as the console at most; and the columns that there is no room for."""
    heads = ["trial", *(title(axis.key) for axis in definition.axes), "state", definition.goal.title, *_DROPPED_LAST]
    whole, short = ([_cells(definition, trial, limit) for trial in results] for limit in (_WIDE, _NARROW))
    droppable = [*_DROPPED_FIRST, *(title(axis.key) for axis in reversed(definition.axes))]
    return tables.fit(console, heads, whole, short, droppable, is_folded=False)


def _cells(definition: Definition, trial: Trial, limit: int) -> list[str | Text]:
    values = effective(definition, {axis.key: trial.params[axis.key] for axis in definition.axes})
    return [
        str(trial.number),
        *(value_text(value, limit) for value in values),
        Text(trial.shown_state, style=_STYLES.get(trial.shown_state, "")),
        _score(definition.goal, trial),
        "–" if trial.score_sd is None else f"{trial.score_sd:.4f}",
        f"{len(trial.scores)}/{len(trial.runs)}",
        formatting.duration(trial.seconds or None),
        _dollars(trial),
    ]


def _score(objective: Objective, trial: Trial) -> str:
    last = trial.last_score
    return score_text(objective, trial.score) if last is None else f"({score_text(objective, last)})"


def _dollars(trial: Trial) -> str:
    if trial.usd is None:
        return "unknown" if trial.num_unknown else "–"
    return f"{'≥ ' if trial.num_unknown else ''}{formatting.dollars(trial.usd)}"


def parts_table(what: str, found: Mapping[int, Mapping[str, float]]) -> Table | None:
    """Scores of labels or regions by the trial's number; None where they are known of no trial."""
    parts = list(dict.fromkeys(part for scores in found.values() for part in scores))
    rows = [
        [f"trial {number}", *(formatting.score(scores.get(part)) for part in parts)]
        for number, scores in found.items()
        if scores
    ]
    return tables.fitted([what, *(formatting.one_line(part, 20) for part in parts)], rows) if parts else None


def totals(definition: Definition, results: Sequence[Trial]) -> str:
    """States, time and dollars of all trials in a line."""
    counts = Counter(trial.shown_state.lower() for trial in results)
    states = ", ".join(f"{many} {state}" for state, many in counts.items()) or "none yet"
    known = [trial.usd for trial in results if trial.usd is not None]
    unknown = sum(trial.num_unknown for trial in results)
    dollars = formatting.dollars(sum(known)) if known else "price unknown"
    more = f" and {unknown} attempts without a price" if known and unknown else ""
    time = formatting.duration(sum(trial.seconds for trial in results))
    return (
        f"sweep '{definition.name}', {plan.num_planned(definition)} trials ({definition.method}): {states}; "
        f"{time} of instance time, {dollars}{more}"
    )


def print_plan(definition: Definition, as_json: bool) -> None:
    """Print the trials of a dry run."""
    many, seeds = plan.num_planned(definition), len(definition.seeds)
    is_search = definition.method in SEARCHES
    trials = [] if is_search else plan.expand(definition)
    if as_json:
        said = {"name": definition.name, "method": definition.method, "num_trials": many, "num_jobs": many * seeds}
        said |= {"pool": definition.base["resources"]["pool"], "queue_url": definition.queue_url, "dry_run": True}
        said |= {"seeds": definition.seeds, "base": definition.base, "trials": trials}
        said["objective"] = definition.objective
        tables.print_json(said | {"axes": [axis.model_dump() for axis in definition.axes]})
        return
    if trials:
        rows = [
            [str(number), *(value_text(value) for value in effective(definition, params))]
            for number, params in enumerate(trials)
        ]
        tables.console().print(tables.fitted(["trial", *map(title, trials[0])], rows, is_folded=False))
    for axis in definition.axes if is_search else ():
        click.echo(axis.text())
    pool, queue = definition.base["resources"]["pool"] or "not known", definition.queue_url or "not known"
    click.echo(
        f"dry run of sweep '{definition.name}': {definition.method}, {many} trials, {many * seeds} jobs, "
        f"ranked by {definition.goal.title}; pool {pool}, "
        f"queue {queue}; nothing is stored or queued",
        err=True,
    )


def print_names(names: Sequence[tuple[str, str]], as_json: bool) -> None:
    """The sweeps there are, newest first."""
    if as_json:
        tables.print_json([{"name": name, "created_at": at} for name, at in names])
    elif names:
        now = utc_now()
        rows = [[name, tables.when(at, now)] for name, at in names]
        tables.console().print(tables.fitted(["sweep", "created"], rows, is_folded=False))
    else:
        click.echo("no sweep", err=True)


def print_all(definition: Definition, trials: Sequence[Trial], limits: Limits, as_json: bool) -> None:
    """Trials, scores of their parts, totals, limits, verdict."""
    if as_json:
        print_json(definition, trials, limits)
        return
    console, results = tables.console(), ranked(trials, definition.goal)
    shown, left_out = trials_table(definition, results, console)
    console.print(shown)
    if left_out:
        console.print(f"no room for {', '.join(left_out)}; --json has everything", style="dim")
    labels, regions = ({one.number: getattr(one, name) for one in results} for name in ("per_label", "per_region"))
    for part in (parts_table("F1 of", labels), parts_table("fields right in", regions)):
        if part is not None:
            console.print()
            console.print(part)
    console.print()
    click.echo(totals(definition, results))
    if limits:
        click.echo(f"all trials together stop at {limits.text()}")
    click.echo(verdict_of(definition, trials).text)
    for line in _undelivered(trials):
        click.echo(line)


def _undelivered(trials: Sequence[Trial]) -> Iterator[str]:
    """A line for each complete run that is not delivered: what it waits for, or why it is held and what to do."""
    now = utc_now()
    for trial in trials:
        for run in trial.runs if trial.same_as is None else ():
            row = {"job_id": run.job_id, "status": run.status, **(run.delivery or {})}
            if told := jobs.undelivered_text(row, now):
                yield f"trial {trial.number}, seed {run.seed}: {told}"


def print_json(definition: Definition, trials: Sequence[Trial], limits: Limits) -> None:
    """The same for scripts; best trial first."""
    said: dict[str, Any] = {"name": definition.name, "method": definition.method}
    said |= {"num_trials": plan.num_planned(definition), "objective": definition.objective}
    said |= {"is_lower_better": definition.goal.is_lower_better}
    said |= {"max_hours": limits.max_hours, "max_usd": limits.max_usd}
    verdict = verdict_of(definition, trials)
    compared = [asdict(one) | {"is_better": one.is_better} for one in verdict.comparisons]
    said["trials"] = [_plain(trial) for trial in ranked(trials, definition.goal)]
    tables.print_json(said | {"verdict": asdict(verdict) | {"comparisons": compared}})


_MEASURES: Final = (
    *("score", "score_sd", "last_score", "per_label", "per_region", "seconds", "usd", "num_unknown", "reason"),
)


def _plain(trial: Trial) -> dict[str, Any]:
    said = {"trial": trial.number, "state": trial.shown_state, "params": dict(trial.params)}
    said |= {name: getattr(trial, name) for name in _MEASURES}
    return said | {"jobs": [asdict(run) for run in trial.runs]}


def complain(complaint: str | None) -> None:
    """Say why scores are missing."""
    if complaint is not None:
        click.echo(f"not all scores are known: {complaint}", err=True)


_AROUND: Final = 10
"""Lines of a screen beside the rows of the table: its head, what there is no room for, the line and the bar."""
_BAR: Final = 40


class SweepScreen:
    """Shows a sweep while it runs: a live table on a terminal, a line for each change elsewhere."""

    def __init__(self, definition: Definition, num_trials: int, console: Console | None = None) -> None:
        self._definition, self._num_trials = definition, num_trials
        self._console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._last = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *fault: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, trials: Sequence[Trial]) -> None:
        """Take the trials as they are now."""
        results = ranked(trials, self._definition.goal)
        line, ended = self._line(trials, results)
        if self._live is None:
            if line != self._last:
                click.echo(line, err=True)
            self._last = line
            return
        rows = results[: max(3, self._console.height - _AROUND)]
        table, left_out = trials_table(self._definition, rows, self._console)
        notes = [f"{len(results) - len(rows)} more trials"] if len(rows) < len(results) else []
        notes += [f"no room for {', '.join(left_out)}"] if left_out else []
        note = Text("; ".join(notes), style="dim", no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(total=self._num_trials, completed=ended, width=min(_BAR, self._console.width))
        # The bar comes last: it ends no line.
        self._live.update(Group(table, note, Text(line), bar), refresh=True)

    def _line(self, trials: Sequence[Trial], results: Sequence[Trial]) -> tuple[str, int]:
        ended = sum(trial.state in ENDED for trial in trials)
        line = f"{ended} of {self._num_trials} trials have ended, {len(trials) - ended} are queued or running"
        if results and results[0].value is not None:
            goal, best = self._definition.goal, results[0]
            line += f"; best {goal.title} {score_text(goal, best.score)} (trial {best.number})"
        return line, ended
