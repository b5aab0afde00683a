"""`receipt-trainer sweep`, `sweep-status`, `vl experiments`: runs that differ in chosen parameters, compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from receipt_trainer.cli import options
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES


@click.command("sweep")
@stack_options
@click.option("--config", "job_file", type=click.Path(path_type=Path), help="Job file (YAML) that the trials vary.")
@click.option("--name", metavar="NAME", help="Name of the sweep; by default it follows from its definition.")
@click.option("--resume", metavar="NAME", help="Continue this sweep as it is stored, instead of defining one.")
@click.option("--learning-rates", metavar="LIST", help="Values joined by commas, or LOW:HIGH for a search.")
@click.option("--batch-sizes", metavar="LIST", help="The same for the batch size.")
@click.option("--epochs", metavar="LIST", help="The same for the number of epochs.")
@click.option("--warmup-ratios", metavar="LIST", help="The same for the share of warm-up steps.")
@click.option("--set", "sets", metavar="KEY=LIST", multiple=True, help="The same for any field, such as lora.r.")
@click.option("--max-samples", type=click.IntRange(1), metavar="N", help="Training receipts of every trial at most.")
@click.option("--seeds", metavar="LIST", help="Train each trial once with each seed; by default the job's one seed.")
@options.choice_option(
    *("--plan", "plan_name"),
    of=("grid", "one-at-a-time"),
    text="All combinations (the default), or the base and each other value alone.",
)
@options.choice_option(
    "--search",
    of=("grid", "random", "tpe"),
    default="grid",
    text="The plan's trials, or --trials N proposed by Optuna.",
)
@click.option("--trials", "num_trials", type=click.IntRange(1, 1000), metavar="N", help="Trials of a search.")
@options.count_option("--sampler-seed", low=0, default=0, text="Another one searches elsewhere.")
@options.count_option("--concurrency", high=100, default=4, text="Trials of tpe in the queue at once.")
@options.choice_option(
    "--objective",
    of=("f1", "eval_loss", "field_accuracy", "teds"),
    text="Metric that ranks the trials; by default f1, or eval_loss (lower is better) for PaddleOCR-VL.",
)
@click.option("--prune", is_flag=True, help="Cancel trials whose scores are worse than the median of complete ones.")
@options.choice_option(
    "--scale-lr",
    of=("none", "linear", "sqrt"),
    default="none",
    text="Learning rates are those of the base's batch size; scale them with each trial's.",
)
@click.option("--queue-url", metavar="URL", help="FIFO queue; by default that of pool and priority in the stack.")
@options.choice_option("--priority", of=PRIORITIES, text="Instead of the job file's; workers poll high first.")
@options.choice_option("--pool", of=POOL_NAMES, text="Instead of what the job file's resources ask for.")
@click.option("--max-hours", type=options.ABOVE_0, metavar="H", help="Instance hours of all trials together at most.")
@click.option("--max-usd", type=options.ABOVE_0, metavar="USD", help="The same in US dollars.")
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, show_envvar=True, help="Name of the jobs table.")
@click.option("--monitor", is_flag=True, help="Follow the sweep until all trials have ended.")
@click.option(
    "--monitor-timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=86400.0,
    show_default=True,
    metavar="S",
    help="Seconds to follow at most; then exit code 1.",
)
@click.option("--dry-run", is_flag=True, help="Print the trials; store and queue nothing.")
@options.json_option
@click.pass_context
def sweep_command(
    context: click.Context, /, jobs_table: str | None, dry_run: bool, as_json: bool, **flags: Any
) -> None:
    """Train many jobs that differ in chosen hyperparameters, and compare them.

    Running the same command again continues the sweep: no trial is lost, none is trained twice.
    """
    from receipt_trainer.cli import sweeps

    sweeps.run(context, jobs_table, dry_run, as_json, flags)


@click.command("sweep-status")
@stack_options
@options.jobs_table_option
@click.argument("name", required=False)
@options.json_option
def status_command(table: str, name: str | None, as_json: bool) -> None:
    """Compare the trials of the sweep NAME, best first; without NAME, list the sweeps.

    It only reads; a search is continued by `receipt-trainer sweep --resume NAME --monitor`.
    """
    from receipt_trainer.cli import sweeps

    sweeps.show(table, name, as_json)


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
def run_experiments_command(
    folder: Path, base: Path | None, scale_lr: Any, output_dir: Path | None, **how: Any
) -> None:
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
def compare_experiments_command(folder: Path, by: Any, jobs_table: str | None, as_json: bool) -> None:
    """Rank the experiments whose log is in FOLDER (or in its results/).

    Eval loss is the lowest of the run; field accuracy is over the fields that documents have; stability is the number
    of evaluations whose loss is above 1.1 times the lowest one before, then the deviation of the last five over their
    mean; time is the hours of training. A value with its place in brackets; equal values share one. What has no value
    comes after what has one, failed experiments come last.
    """
    from receipt_trainer.cli import experiment_runs

    experiment_runs.compare(folder, by, jobs_table, as_json)
