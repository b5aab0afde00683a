"""`vl experiments run`: each configuration of a folder trained and scored, here or by the workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.sweep.experiments import Result
    from receipt_trainer.sweep.folder import Experiment


@click.command(name="run", short_help="Train and score each, or queue them as jobs.")
@stack_options
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--base", type=click.Path(path_type=Path), help="The base's file; by default base.yaml in FOLDER.")
@click.option("--allow-several", is_flag=True, help="Admit files that change more than one parameter.")
@click.option(
    "--scale-lr",
    type=click.Choice(["none", "linear", "sqrt"]),
    default="none",
    show_default=True,
    help="Scale the learning rate where the documents a step change and it does not.",
)
@click.option("--output-dir", type=click.Path(path_type=Path), help="Runs and log; by default FOLDER/results.")
@click.option(
    "--test-dir", type=click.Path(path_type=Path), help="Documents to score on; by default those of validation."
)
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Documents scored at once.")
@click.option(
    "--max-new-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Longest answer scored."
)
@click.option("--retry-failed", is_flag=True, help="Go on with experiments that failed.")
@click.option("--queue", "queued", is_flag=True, help="Queue a job for each instead; implied by --stack, --outputs.")
@click.option("--queue-url", metavar="URL", help="FIFO queue; by default that of pool and priority in the stack.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="normal", show_default=True, help="Of the jobs.")
@click.option("--pool", type=click.Choice(POOL_NAMES), help="Pool of the jobs.")
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, show_envvar=True, help="Name of the jobs table.")
@click.option("--dry-run", is_flag=True, help="Say what each changes; run and queue nothing.")
def command(
    folder: Path,
    base: Path | None,
    allow_several: bool,
    scale_lr: Any,
    output_dir: Path | None,
    dry_run: bool,
    queued: bool,
    retry_failed: bool,
    **how: Any,
) -> None:
    """Run the configurations of FOLDER, each of which changes one parameter of the base.

    One after the other, the base first. Started again, it goes on where it stopped. An experiment that fails (a loss
    that is no number, say) is kept in the log with its step, and the others go on. The log is experiments.jsonl, and as
    tables experiments.md and experiments.csv.
    """
    from receipt_trainer.cli import stack
    from receipt_trainer.sweep.folder import read_experiments

    experiments = read_experiments(folder, base=base, allow_several=allow_several, scaling=scale_lr)
    output = output_dir or folder / "results"
    if dry_run:
        for experiment in experiments:
            click.echo(f"{experiment.name}: {experiment.said}")
        return
    if queued or how["queue_url"] or stack.outputs() is not None:
        from receipt_trainer.cli.vl_experiments_queue import submit_experiments

        submit_experiments(experiments, output, how["queue_url"], how["priority"], how["pool"], how["jobs_table"])
        return
    results = _run_here(experiments, output, retry_failed, how)
    failed = [result.name for result in results if result.status == "failed"]
    click.echo(f"log: {output / 'experiments.md'}")
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
        raise click.exceptions.Exit(1)


def _run_here(experiments: list[Experiment], output: Path, retry_failed: bool, how: dict[str, Any]) -> list[Result]:
    from receipt_trainer.cli.vl_experiments_child import Children
    from receipt_trainer.sweep.experiments import run_experiments

    if how["test_dir"] is not None and not how["test_dir"].exists():
        raise UserError(f"--test-dir {how['test_dir']}: no such file or folder")
    children = Children(how["test_dir"], how["batch_size"], how["max_new_tokens"])
    return run_experiments(
        experiments,
        output,
        train=children.train,
        evaluate=children.evaluate,
        own_scores=how["test_dir"] is None,
        retry_failed=retry_failed,
        tell=click.echo,
    )
