"""How a sweep is printed: its plan, its trials best first, the verdict, and all of it as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli.render import tables
from receipt_trainer.cli.sweep_table import effective, fit, parts_table, texts, totals, value_text

if TYPE_CHECKING:
    from receipt_trainer.jobs.limits import Limits
    from receipt_trainer.sweep.definition import Definition
    from receipt_trainer.sweep.results import Result
    from receipt_trainer.sweep.trial import Trial


def print_plan(definition: Definition, as_json: bool) -> None:
    """What would be trained."""
    from receipt_trainer.sweep import plan
    from receipt_trainer.sweep.definition import SEARCHES
    from receipt_trainer.sweep.keys import title

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
    console = tables.console()
    if trials:
        shown = tables.table(*(heads := ("trial", *map(title, trials[0]))), right=heads)
        for number, params in enumerate(trials):
            shown.add_row(*texts([str(number), *(value_text(value) for value in effective(definition, params))]))
        console.print(shown)
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
    from receipt_trainer.aws.server_time import utc_now

    if as_json:
        tables.print_json([{"name": name, "created_at": at} for name, at in names])
    elif names:
        shown, now = tables.table("sweep", "created"), utc_now()
        for name, at in names:
            shown.add_row(*texts([name, tables.when(at, now)]))
        tables.console().print(shown)
    else:
        click.echo("no sweep", err=True)


def print_all(definition: Definition, trials: Sequence[Trial], limits: Limits, as_json: bool) -> None:
    """Trials, scores of their parts, totals, limits, verdict."""
    from receipt_trainer.sweep.results import ranked, verdict_of

    if as_json:
        print_json(definition, trials, limits)
        return
    console, results = tables.console(), ranked(trials, definition.goal)
    shown, left_out = fit(definition, results, console)
    console.print(shown)
    if left_out:
        console.print(f"no room for {', '.join(left_out)}; --json has everything", style="dim")
    parts = [
        parts_table("F1 of", {result.trial.number: result.per_label for result in results}),
        parts_table("fields right in", {result.trial.number: result.per_region for result in results}),
    ]
    for part in (one for one in parts if one is not None):
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
    from receipt_trainer.aws.server_time import utc_now
    from receipt_trainer.cli.render import jobs

    now = utc_now()
    for trial in trials:
        for run in trial.runs if trial.same_as is None else ():
            row = {"job_id": run.job_id, "status": run.status, **(run.delivery or {})}
            if told := jobs.short(row, now):
                yield f"trial {trial.number}, seed {run.seed}: {told}"


def print_json(definition: Definition, trials: Sequence[Trial], limits: Limits) -> None:
    """The same for scripts; best trial first."""
    from receipt_trainer.sweep.plan import num_planned
    from receipt_trainer.sweep.results import ranked, verdict_of

    said: dict[str, Any] = {"name": definition.name, "method": definition.method}
    said |= {"num_trials": num_planned(definition), "objective": definition.objective}
    said |= {"is_lower_better": definition.goal.is_lower_better}
    said |= {"max_hours": limits.max_hours, "max_usd": limits.max_usd}
    verdict = verdict_of(definition, trials)
    shown = asdict(verdict) | {
        "comparisons": [asdict(one) | {"is_better": one.is_better} for one in verdict.comparisons]
    }
    said["trials"] = [_plain(result) for result in ranked(trials, definition.goal)]
    tables.print_json(said | {"verdict": shown})


def _plain(result: Result) -> dict[str, Any]:
    trial, said = result.trial, asdict(result)
    said["trial"] = trial.number
    said |= {"params": dict(trial.params), "reason": trial.reason, "jobs": [asdict(run) for run in trial.runs]}
    return said


def complain(complaint: str | None) -> None:
    """Say why scores are missing."""
    if complaint is not None:
        click.echo(f"not all scores are known: {complaint}", err=True)
