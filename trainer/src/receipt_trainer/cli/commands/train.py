"""`layoutlm-cli train` and `report`: a run of the first family, and the report of any run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from receipt_trainer.cli.options import PATH, data_config_options, run_target_options, training_config_options
from receipt_trainer.cli.training import checked_job_name, configure, new_job_name, train
from receipt_trainer.contract import names
from receipt_trainer.errors import UserError
from receipt_trainer.reports.run_folder import load_run, print_run, write_report


@click.command("train")
@click.option("--job-name", help="Names the run and its folder; 1 to 64 of A-Z a-z 0-9 . _ -")
@training_config_options
@data_config_options
@click.option("--output-dir", type=PATH, help=f"Run folder ({names.DEFAULT_OUTPUT_ROOT}/JOB).")
@click.option("--dataset-snapshot-save", type=PATH, help="Save the encoded data set here.")
@click.option("--dataset-snapshot-load", type=PATH, help="Train on an encoded data set.")
@run_target_options
@click.option("--progress/--no-progress", default=True, help="Show progress on a terminal.")
def command(**flags: Any) -> None:
    """Fine-tune LayoutLM on labelled receipts; a run that was interrupted resumes where it was.

    Ctrl+C or SIGTERM end after the current step with a checkpoint; another one, a second later, ends at once. Leaves
    model/, run.json, predictions.jsonl, report.html and tensorboard/ in the run's folder.
    """
    spec, training, data = configure(flags)
    if flags["dataset_snapshot_load"] and (flags["dataset_name"] or flags["eval_dataset"]):
        raise UserError("--dataset-snapshot-load brings its receipts along; leave out --dataset and --eval-dataset")
    asked = flags["job_name"] or (spec.job_name if spec else None)
    if not asked and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("--job-name is needed where several processes train together")
    name = checked_job_name(asked or new_job_name("run"))

    def family() -> Any:
        from receipt_trainer.models.layoutlm.family import LayoutLM

        return LayoutLM(
            model=flags["model"] or (spec.model if spec else names.DEFAULT_MODEL),
            training=training,
            data=data,
            receipts_table=flags["dynamo_table"],
            snapshot_save=flags["dataset_snapshot_save"],
            snapshot_load=flags["dataset_snapshot_load"],
        )

    train(family, name, flags["output_dir"] or Path(names.DEFAULT_OUTPUT_ROOT) / name, flags)


@click.command(name="report", short_help="Write a run's report.html and show it here.")
@click.argument("run_dir", type=PATH)
@click.option("--terminal/--no-terminal", default=True, help="Print the report here as well.")
def report_command(run_dir: Path, terminal: bool) -> None:
    """Write report.html into RUN_DIR, the folder that holds a run's run.json, and print the report."""
    folder = load_run(run_dir)
    if terminal:
        print_run(folder, Console())
    click.echo(f"report: {write_report(run_dir, folder)}")
