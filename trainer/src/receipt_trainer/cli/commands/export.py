"""`layoutlm-cli export`."""

from __future__ import annotations

from pathlib import Path

import click

from receipt_trainer.contract.names import RUN_FILE
from receipt_trainer.contract.run_record import LayoutLMRecord, PackageOutcome, load_record
from receipt_trainer.errors import UserError


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Make the model package of a trained run: model/serve/, which `receipt-trainer read` needs.

    Every run makes its own at its end; this is for runs of older versions, and for those whose run.json says why it
    could not be made. RUN is the run's folder.
    """
    from receipt_trainer.models.layoutlm.export import find_model
    from receipt_trainer.models.layoutlm.serve_export import export_run
    from receipt_trainer.training.console import quiet_libraries

    model_dir = find_model(str(run))
    path = next((folder / RUN_FILE for folder in (run, run.resolve().parent) if (folder / RUN_FILE).is_file()), None)
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
