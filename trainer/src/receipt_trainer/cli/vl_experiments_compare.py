"""`vl experiments compare`: a ranking of what came of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.vl.experiment_log import Result
    from receipt_trainer.vl.experiment_ranking import Criterion, Ranked

_HEADINGS = {
    "eval_loss": "eval loss",
    "field_accuracy": "fields",
    "teds": "TEDS",
    "stability": "stability",
    "time": "hours",
}


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

    Eval loss is the lowest of the run; stability is the number of evaluations whose loss is above 1.1 times the lowest
    one before, then the deviation of the last five over their mean; time is the hours of training. A value with its
    place in brackets; equal values share one. What has no value comes after what has one, failed experiments come last.
    """
    import json

    from receipt_trainer.vl.experiment_log import LOG, read_log
    from receipt_trainer.vl.experiment_ranking import rank

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
    _show(ranked)


def _show(ranked: list[Ranked]) -> None:
    from rich.console import Console

    from receipt_trainer.cli.score_tables import plain_table
    from receipt_trainer.report import wording

    table = plain_table("experiment", *_HEADINGS.values(), "peak GiB", "status", "changes and notes")
    table.columns[-1].justify = table.columns[-2].justify = "left"
    table.columns[-1].no_wrap = False
    for one in ranked:
        result = one.result
        cells = [
            f"{_value(result, name)} ({place})" if place else wording.NOTHING for name, place in one.places.items()
        ]
        status = f"{result.status} at step {result.failed_step}" if result.failed_step is not None else result.status
        said = "; ".join(part for part in (result.changes, result.notes) if part)
        table.add_row(result.name, *cells, wording.number(result.peak_memory_gib), status, said)
    Console().print(table, markup=False)


def _value(result: Result, name: str) -> str:
    from receipt_trainer.vl.experiment_log import shown

    if name == "stability":
        return f"{result.spikes} spikes, {shown(result.spread)}"
    return shown(result.hours if name == "time" else getattr(result, name))
