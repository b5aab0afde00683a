"""The work of the commands of experiments: run them here, queue them as a sweep, compare what came of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click

from receipt_trainer.aws import clients
from receipt_trainer.cli import stack, sweeps
from receipt_trainer.cli.child_runs import call
from receipt_trainer.cli.commands.submit_job import place
from receipt_trainer.cli.render.tables import print_fitted
from receipt_trainer.contract.job import Resources
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.submit import jobs_table_of_environment
from receipt_trainer.reports import formatting
from receipt_trainer.sweep import experiment_log
from receipt_trainer.sweep.collect import Observer
from receipt_trainer.sweep.definition import OBJECTIVES
from receipt_trainer.sweep.experiment_log import LOG, RUN, SCORES, Criterion, LocalRunner, Outcome, read_log, write_log
from receipt_trainer.sweep.experiments import Experiment, definition_of, read_experiments


def run(folder: Path, base: Path | None, scale_lr: Any, output_dir: Path | None, how: dict[str, Any]) -> None:
    """Run the configurations of a folder here, or queue them.

    Raises:
        UserError: see `read_experiments` and `LocalRunner.run`.
    """
    experiments = read_experiments(folder, base=base, allow_several=how["allow_several"], scaling=scale_lr)
    output = output_dir or folder / "results"
    if how["dry_run"]:
        for experiment in experiments:
            click.echo(f"{experiment.name}: {experiment.said}")
    elif how["queued"] or how["queue_url"] or stack.outputs() is not None:
        _queue(experiments, output, how)
    else:
        _run_here(experiments, output, how)


def _queue(experiments: Sequence[Experiment], output: Path, how: dict[str, Any]) -> None:
    """Queue those that are not in the log yet as a sweep, and keep the ids of their jobs in the log.

    The same experiments are queued once for a queue, however often this is done.
    """
    known = read_log(output)
    experiment_log.require_unchanged(experiments, known, output)
    new = [experiment for experiment in experiments if experiment.name not in known]
    for outcome in known.values():
        click.echo(f"{outcome.name}: {outcome.status}")
    if not new:
        return
    wanted = {"priority": how["priority"]} | ({"resources": Resources(pool=how["pool"])} if how["pool"] else {})
    definition = definition_of(new, lambda job: place(job.model_copy(update=wanted), how["queue_url"], how["pool"]))
    driver = sweeps.driver_of(lambda table: definition, how["jobs_table"])
    driver.sweeps.define(definition)
    for experiment, trial in zip(new, driver.advance(), strict=True):
        about = {"name": experiment.name, "digest": experiment.digest, "changes": experiment.said}
        known[experiment.name] = Outcome(**about, status="submitted", job_id=trial.runs[0].job_id)
        click.echo(f"{experiment.name}: job {trial.runs[0].job_id}")
    write_log(output, known.values())


def _run_here(experiments: Sequence[Experiment], output: Path, how: dict[str, Any]) -> None:
    from receipt_trainer.models.paddleocr_vl.dataset import find_files
    from receipt_trainer.reports.evaluation_pages import read_scores

    test_dir = how["test_dir"]
    if test_dir is not None and not test_dir.exists():
        raise UserError(f"--test-dir {test_dir}: no such file or folder")

    def train(experiment: Experiment, place: Path) -> str | None:
        config = place / experiment_log.CONFIG
        return call("vl", "train", "--config", config, "--output-dir", place / RUN, log=place / "train.log")

    def evaluate(experiment: Experiment, place: Path) -> dict[str, Any] | str:
        documents = test_dir or find_files(experiment.job.data_config)[1]
        if documents is None:
            return "no documents to score on: set val_path, or give --test-dir"
        words: tuple[object, ...] = ("vl", "evaluate", "--test-dir", documents, "--model-path", place / RUN)
        words += ("--output", place / SCORES, "--batch-size", how["batch_size"])
        words += ("--max-new-tokens", how["max_new_tokens"], "--device", experiment.job.training_config.device)
        failure = call(*words, log=place / "evaluate.log", quiet=True)
        return read_scores(place / SCORES) if failure is None else failure

    runner = LocalRunner(output, train, evaluate, test_dir is None, how["retry_failed"], click.echo)
    failed = [outcome.name for outcome in runner.run(experiments) if outcome.status == "failed"]
    click.echo(f"log: {output / 'experiments.md'}")
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        raise click.exceptions.Exit(1)


_HEADINGS: dict[Criterion, str] = {
    "eval_loss": "eval loss",
    "field_accuracy": "fields there",
    "teds": "TEDS",
    "stability": "spikes, spread",
    "time": "hours",
}

_DROPPED_FIRST = ("peak GiB", "all fields", "hours", "spikes, spread", "TEDS", "fields there", "eval loss")


def compare(folder: Path, by: Criterion, jobs_table: str | None, as_json: bool) -> None:
    """Print the experiments of a folder's log, best first; those that were queued as their jobs are now."""
    found = next((place for place in (folder, folder / "results") if (place / LOG).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: there is no {LOG} in it; run the experiments first")
    outcomes = list(read_log(found).values())
    if any(outcome.status == "submitted" for outcome in outcomes):
        table = jobs_table or jobs_table_of_environment()
        observer = Observer(clients.dynamodb(), table, cache(clients.s3), OBJECTIVES["eval_loss"])
        outcomes = experiment_log.refreshed(outcomes, observer)
        write_log(found, outcomes)
        if observer.complaint is not None:
            click.echo(f"not all is known: {observer.complaint}", err=True)
    best_first = experiment_log.ranked(outcomes, by)
    every = {criterion: experiment_log.places(best_first, criterion) for criterion in _HEADINGS}
    places = [{criterion: found[at] for criterion, found in every.items()} for at in range(len(best_first))]
    if as_json:
        rows = [one.model_dump() | {"places": own} for one, own in zip(best_first, places, strict=True)]
        click.echo(json.dumps(rows, indent=1))
        return
    _show(best_first, places, by)


def _show(outcomes: Sequence[Outcome], places: Sequence[dict[Criterion, int | None]], by: Criterion) -> None:
    heads = ("experiment", *_HEADINGS.values(), "all fields", "peak GiB")
    rows = []
    for one, own in zip(outcomes, places, strict=True):
        cells = [f"{_value(one, name)} ({place})" if place else formatting.NOTHING for name, place in own.items()]
        memory = formatting.NOTHING if one.peak_memory_gib is None else f"{one.peak_memory_gib:.1f}"
        rows.append((one.name, *cells, formatting.score(one.field_accuracy), memory))
    left_out = print_fitted(heads, rows, [name for name in _DROPPED_FIRST if name != _HEADINGS[by]])
    if left_out:
        click.echo(f"no room for {', '.join(left_out)}: a wider terminal or --json has them")
    click.echo()
    for one in outcomes:
        status = f"{one.status} at step {one.failed_step}" if one.failed_step is not None else one.status
        click.echo(f"{one.name}: {'; '.join(part for part in (status, one.changes, one.notes) if part)}")
    if (verdict := experiment_log.verdict_of(outcomes, by)) is not None and verdict.num_trials > 1:
        click.echo(f"\n{verdict.text}")


def _value(outcome: Outcome, criterion: Criterion) -> str:
    if criterion == "stability":
        return f"{outcome.spikes}, {outcome.spread or 0:.3f}"
    if criterion == "time":
        return f"{outcome.hours or 0:.2f}"
    if criterion == "eval_loss":
        return f"{outcome.eval_loss:#.4g}"
    return formatting.score(outcome.present_accuracy if criterion == "field_accuracy" else outcome.teds)
