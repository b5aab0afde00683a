"""`vl experiments`: a folder of configurations, run here one after the other or queued as a sweep, and compared."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import click

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.cli import options, stack
from receipt_trainer.cli.commands.submit_job import place
from receipt_trainer.cli.commands.sweep import driver_of
from receipt_trainer.cli.render.tables import print_fitted
from receipt_trainer.contract import names
from receipt_trainer.contract.job import Resources
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.submit import jobs_table_of_environment
from receipt_trainer.reports import formatting
from receipt_trainer.sweep import experiment_log
from receipt_trainer.sweep.collect import Observer
from receipt_trainer.sweep.definition import OBJECTIVES
from receipt_trainer.sweep.experiment_log import LOG, RUN, SCORES, Criterion, LocalRunner, Outcome, read_log, write_log
from receipt_trainer.sweep.experiments import Experiment, definition_of, read_experiments

_FOLDER: Final = click.Path(path_type=Path, file_okay=False, exists=True)
PROGRAM: Final = (sys.executable, "-m", "receipt_trainer")


@click.command(name="run", short_help="Train and score each, or queue them as jobs.")
@stack.stack_options
@click.argument("folder", type=_FOLDER)
@click.option("--base", type=options.PATH, help="The base's file; by default base.yaml in FOLDER.")
@click.option("--allow-several", is_flag=True, help="Admit files that change more than one parameter.")
@options.choice_option(
    "--scale-lr",
    of=("none", "linear", "sqrt"),
    default="none",
    text="Scale the learning rate where the documents a step change and it does not.",
)
@click.option("--output-dir", type=options.PATH, help="Runs and log; by default FOLDER/results.")
@click.option("--test-dir", type=options.PATH, help="Documents to score on; by default those of validation.")
@options.count_option("--batch-size", default=1, text="Documents scored at once.")
@options.count_option("--max-new-tokens", default=1024, text="Longest answer scored.")
@click.option("--retry-failed", is_flag=True, help="Resume experiments that failed.")
@click.option("--queue", "queued", is_flag=True, help="Queue a job for each instead; implied by --stack, --outputs.")
@options.queue_options
@click.option("--dry-run", is_flag=True, help="Say what each changes; run and queue nothing.")
def run_command(folder: Path, base: Path | None, scale_lr: Any, output_dir: Path | None, **how: Any) -> None:
    """Run the configurations of FOLDER, each of which changes one parameter of the base.

    One after the other, the base first. Started again, it resumes where it stopped. An experiment that fails (its loss
    became NaN, say) is kept in the log with its step, and the others are run. The log is experiments.jsonl, and as
    tables experiments.md and experiments.csv.
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
    experiment_log.settle_changes(experiments, known, output)
    new = [experiment for experiment in experiments if experiment.name not in known]
    for outcome in known.values():
        click.echo(f"{outcome.name}: {outcome.status}")
    if not new:
        return
    wanted = {"priority": how["priority"], "resources": Resources(pool=how["pool"]) if how["pool"] else None}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    definition = definition_of(new, lambda job: place(job.model_copy(update=wanted), how["queue_url"], how["pool"]))
    driver = driver_of(lambda table: definition, how["jobs_table"])
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


def call(*words: object, log: Path, quiet: bool = False) -> str | None:
    """Run a command of ours; None, or the reason that it gave for its failure.

    Its errors are in a new `log`, with `quiet` all that it prints. KeyboardInterrupt: this process was asked to end;
    the command was asked too, and has ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+b") as stream, _ending() as started:
        # Its own session: what is asked of this process in the terminal reaches the child once, through us.
        child = subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=stream if quiet else None,
            stderr=stream,
            start_new_session=True,
        )
        started(child)
        code = child.wait()
    return None if code == 0 else reason(code, log)


@contextlib.contextmanager
def _ending() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """SIGTERM to us is as Ctrl+C; any early end of ours asks the child to end that was started, and waits for it.

    A signal that comes while the child is being started counts once it is known: else it would be left behind.
    """
    children: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        asked.append(number)
        if children:
            raise KeyboardInterrupt

    def started(child: subprocess.Popen[bytes]) -> None:
        children.append(child)
        if asked:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield started
    finally:
        for child in children:
            if child.poll() is None:
                child.terminate()
                child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def reason(code: int, log: Path) -> str:
    """Why a command failed: its line of the error, else its last line, else how it ended."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors: Sequence[str] = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return (errors or lines or [f"exit code {code}"])[-1]


_HEADINGS: dict[Criterion, str] = {
    "eval_loss": "eval loss",
    "field_accuracy": "fields there",
    "teds": "TEDS",
    "stability": "spikes, spread",
    "time": "hours",
}

_DROPPED_FIRST = ("peak GiB", "all fields", "hours", "spikes, spread", "TEDS", "fields there", "eval loss")


@click.command(name="compare", short_help="Rank what came of them.")
@stack.stack_options
@click.argument("folder", type=_FOLDER)
@options.choice_option(
    "--by",
    of=("eval_loss", "field_accuracy", "teds", "stability", "time"),
    default="eval_loss",
    text="Metric that ranks the experiments; the others break ties, in this order.",
)
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, show_envvar=True, help="Jobs table, for queued experiments.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def compare_command(folder: Path, by: Any, jobs_table: str | None, as_json: bool) -> None:
    """Rank the experiments whose log is in FOLDER (or in its results/).

    Eval loss is the lowest of the run; field accuracy is over the fields that documents have; stability is the number
    of evaluations whose loss is above 1.1 times the lowest one before, then the deviation of the last five over their
    mean; time is the hours of training. A value with its place in brackets; equal values share one. What has no value
    comes after what has one, failed experiments come last.
    """
    found = next((place for place in (folder, folder / "results") if (place / LOG).is_file()), None)
    if found is None:
        raise UserError(f"{folder}: there is no {LOG} in it; run the experiments first")
    outcomes = list(read_log(found).values())
    if any(outcome.status == "submitted" for outcome in outcomes):
        table = jobs_table or jobs_table_of_environment()
        observer = Observer(Table(clients.dynamodb(), table), cache(clients.s3), OBJECTIVES["eval_loss"])
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
