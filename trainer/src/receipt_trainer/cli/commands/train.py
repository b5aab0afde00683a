"""`layoutlm-cli train`, `export` and `report`: a run of the first family, its package, and the report of any run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from receipt_trainer.cli.options import PATH, data_config_options, run_target_options, training_config_options
from receipt_trainer.cli.training import checked_job_name, configure, new_job_name, train
from receipt_trainer.contract import names
from receipt_trainer.contract.run_record import LayoutLMRecord, PackageOutcome, load_record
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


@click.command("export")
@click.argument("run", type=PATH)
def export_command(run: Path) -> None:
    """Make the model package of a trained run: model/serve/, which `receipt-trainer read` needs.

    Every run makes its own at its end; this is for runs of older versions, and for those whose run.json says why it
    could not be made. RUN is the run's folder.
    """
    from receipt_trainer.models.layoutlm.export import find_model
    from receipt_trainer.models.layoutlm.serve_export import export_run
    from receipt_trainer.training.console import quiet_libraries

    model_dir = find_model(str(run))
    path = next(
        (folder / names.RUN_FILE for folder in (run, run.resolve().parent) if (folder / names.RUN_FILE).is_file()), None
    )
    record = _record(path) if path else None
    quiet_libraries()
    manifest = export_run(path.parent if path else model_dir, record)
    if path and record is not None:
        record.package = PackageOutcome(precision=manifest.precision, reason=manifest.scores.reason)
        record.write(path)
    scores = manifest.scores
    said = [f"{manifest.precision} model" + (f" ({scores.reason})" if scores.reason else "")]
    said += [f"{scores.same_labels:.1%} of the words have the same label in int8 and fp32"]
    if scores.f1_fp32 is not None and scores.f1_int8 is not None:
        f1 = f"F1 {scores.f1_int8:.4f} in int8 and {scores.f1_fp32:.4f} in fp32"
        said += [f"{f1} on {scores.num_validation} validation receipts"]
    said += ["confidences are calibrated" if manifest.calibration.calibrated else "confidences are not calibrated"]
    click.echo(f"{model_dir / 'serve'}: " + "; ".join(said))


def _record(path: Path) -> LayoutLMRecord:
    try:
        record = load_record(path)
    except (OSError, ValueError):
        raise UserError(f"{path} is not a run record") from None
    if not isinstance(record, LayoutLMRecord):
        raise UserError(f"{path}: a run of the family {record.family}; packages are made of LayoutLM runs")
    return record
