"""`receipt-trainer vl experiments`: configurations that each change one thing, run here or as jobs, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from receipt_trainer.cli import options
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES


@click.command(name="run", short_help="Train and score each, or queue them as jobs.")
@stack_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--base", type=click.Path(path_type=Path), help="The base's file; by default base.yaml in FOLDER.")
@click.option("--allow-several", is_flag=True, help="Admit files that change more than one parameter.")
@options.choice_option(
    "--scale-lr",
    of=("none", "linear", "sqrt"),
    default="none",
    text="Scale the learning rate where the documents a step change and it does not.",
)
@click.option("--output-dir", type=click.Path(path_type=Path), help="Runs and log; by default FOLDER/results.")
@click.option(
    "--test-dir", type=click.Path(path_type=Path), help="Documents to score on; by default those of validation."
)
@options.count_option("--batch-size", default=1, text="Documents scored at once.")
@options.count_option("--max-new-tokens", default=1024, text="Longest answer scored.")
@click.option("--retry-failed", is_flag=True, help="Resume experiments that failed.")
@click.option("--queue", "queued", is_flag=True, help="Queue a job for each instead; implied by --stack, --outputs.")
@click.option("--queue-url", metavar="URL", help="FIFO queue; by default that of pool and priority in the stack.")
@options.choice_option("--priority", of=PRIORITIES, default="normal", text="Of the jobs.")
@options.choice_option("--pool", of=POOL_NAMES, text="Pool of the jobs.")
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, show_envvar=True, help="Name of the jobs table.")
@click.option("--dry-run", is_flag=True, help="Say what each changes; run and queue nothing.")
def run_command(folder: Path, base: Path | None, scale_lr: Any, output_dir: Path | None, **how: Any) -> None:
    """Run the configurations of FOLDER, each of which changes one parameter of the base.

    One after the other, the base first. Started again, it resumes where it stopped. An experiment that fails (its loss
    became NaN, say) is kept in the log with its step, and the others are run. The log is experiments.jsonl, and as
    tables experiments.md and experiments.csv.
    """
    from receipt_trainer.cli import experiment_runs

    experiment_runs.run(folder, base, scale_lr, output_dir, how)


@click.command(name="compare", short_help="Rank what came of them.")
@stack_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
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
    from receipt_trainer.cli import experiment_runs

    experiment_runs.compare(folder, by, jobs_table, as_json)
