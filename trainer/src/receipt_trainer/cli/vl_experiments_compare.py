"""`vl experiments compare`: a ranking of what came of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.sweep.experiments import Criterion, Ranked, Result

_HEADINGS = {
    "eval_loss": "eval loss",
    "field_accuracy": "fields there",
    "teds": "TEDS",
    "stability": "spikes, spread",
    "time": "hours",
}

_DROPPED_FIRST = ("peak GiB", "all fields", "hours", "spikes, spread", "TEDS", "fields there", "eval loss")


@click.command(name="compare", short_help="Rank what came of them.")
@stack_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--by",
    type=click.Choice(list(_HEADINGS)),
    default="eval_loss",
    show_default=True,
    help="What decides; ties by the others in this order.",
)
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, show_envvar=True, help="Jobs table, for queued experiments.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def command(folder: Path, by: Criterion, jobs_table: str | None, as_json: bool) -> None:
    """Rank the experiments whose log is in FOLDER (or in its results/).

    Eval loss is the lowest of the run; field accuracy is over the fields that documents have; stability is the number
    of evaluations whose loss is above 1.1 times the lowest one before, then the deviation of the last five over their
    mean; time is the hours of training. A value with its place in brackets; equal values share one. What has no value
    comes after what has one, failed experiments come last.
    """
    import json

    from receipt_trainer.sweep.experiments import LOG, rank, read_log

    found = next((place for place in (folder, folder / "results") if (place / LOG).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: there is no {LOG} in it; run the experiments first")
    results = list(read_log(found).values())
    if any(result.status == "submitted" for result in results):
        from receipt_trainer.cli.vl_experiments_queue import refresh_results

        results = refresh_results(found, results, jobs_table)
    ranked = rank(results, by)
    if as_json:
        rows = [one.result.model_dump() | {"places": dict(one.places)} for one in ranked]
        click.echo(json.dumps(rows, indent=1))
        return
    _show(ranked, by)


def _show(ranked: list[Ranked], by: Criterion) -> None:
    from receipt_trainer.cli.render.tables import print_fitted
    from receipt_trainer.reports import formatting

    heads = ("experiment", *_HEADINGS.values(), "all fields", "peak GiB")
    rows = []
    for one in ranked:
        result = one.result
        cells = [
            f"{_value(result, name)} ({place})" if place else formatting.NOTHING for name, place in one.places.items()
        ]
        memory = formatting.NOTHING if result.peak_memory_gib is None else f"{result.peak_memory_gib:.1f}"
        rows.append((result.name, *cells, formatting.score(result.field_accuracy), memory))
    droppable = [name for name in _DROPPED_FIRST if name != _HEADINGS[by]]
    left_out = print_fitted(heads, rows, droppable)
    if left_out:
        click.echo(f"no room for {', '.join(left_out)}: a wider terminal or --json has them")
    click.echo()
    for one in ranked:
        result = one.result
        status = f"{result.status} at step {result.failed_step}" if result.failed_step is not None else result.status
        click.echo(f"{result.name}: {'; '.join(part for part in (status, result.changes, result.notes) if part)}")


def _value(result: Result, name: Criterion) -> str:
    from receipt_trainer.reports import formatting

    if name == "stability":
        return f"{result.spikes}, {result.spread or 0:.3f}"
    if name == "time":
        return f"{result.hours or 0:.2f}"
    if name == "eval_loss":
        return f"{result.eval_loss:#.4g}"
    return formatting.score(result.present_accuracy if name == "field_accuracy" else result.teds)
