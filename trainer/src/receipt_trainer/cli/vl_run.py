"""A whole run of the second model family on this machine: data, training, upload."""

from __future__ import annotations

import importlib.util
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from receipt_trainer.cli import run_delivery, run_folder, run_rows
from receipt_trainer.cli.logging_setup import quiet_libraries
from receipt_trainer.cli.run_job import RunOptions
from receipt_trainer.config_vl import VlConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.interruption import Interrupted
from receipt_trainer.contract.run_record import RunRecord
from receipt_trainer.contract.sinks import ArtifactSink, MetricsSink
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.training import distributed

if TYPE_CHECKING:
    from receipt_trainer.models.paddleocr_vl.prepare import VlData

DEFAULT_ROOT: Final = "runs"
_NEEDED: Final = ("peft", "PIL", "jsonschema", "apted", "jinja2", "matplotlib")
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class VlRun:
    """A run that is asked for; `options.output_dir` is its folder."""

    options: RunOptions
    config: VlConfig


def run_folder_of(config: VlConfig, name: str) -> Path:
    """Where a run's files go if nothing else is said."""
    return Path(config.output_dir) if config.output_dir else Path(DEFAULT_ROOT) / name


def run_vl(run: VlRun) -> None:
    """Train and leave everything of the run in its folder, and in S3 and the jobs table where they are named.

    Raises:
        UserError, WorldError: as the parts say.
        Interrupted: `options.stop` was asked.
    """
    _require_extra()
    quiet_libraries()
    from receipt_trainer.models.paddleocr_vl.build import choose_machine

    machine = choose_machine(run.config)
    if distributed.count() > 1:
        distributed.join(machine.cuda)
    try:
        _run(run, Console(quiet=not distributed.is_main()))
    finally:
        distributed.leave()


def _run(run: VlRun, console: Console) -> None:
    options = run.options
    run_dir = options.output_dir or run_folder_of(run.config, options.job_name)
    with run_folder.own(run_dir):
        earlier = None if options.restart else run_folder.earlier(run_dir)
        job_id = options.job_id or (earlier.job_id if earlier is not None else str(uuid.uuid4()))
        artifacts = run_delivery.open_artifacts(options, job_id)
        if earlier is not None and earlier.status == "complete":
            _deliver_again(run, earlier, run_dir, artifacts, console)
            return
        sink = run_rows.open_sink(options, job_id)
        try:
            record = _train(run, job_id, run_dir, sink, console)
            _deliver(record, run_dir, artifacts, sink, console)
        except (KeyboardInterrupt, Interrupted) as interrupted:
            run_rows.end(options, job_id, sink, "INTERRUPTED", str(interrupted) or "interrupted from the keyboard")
            raise
        except BaseException as error:
            reason = str(error) if isinstance(error, UserError | WorldError) else repr(error)
            if not isinstance(error, UserError):  # a mistake in this call says nothing of the run in the folder
                run_folder.fail(run_dir, reason)
            run_rows.end(options, job_id, sink, "FAILED", reason)
            raise
        run_rows.put_job(options, job_id, "SUCCEEDED")
        sink.close()


def _require_extra() -> None:
    lacking = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if lacking:
        raise UserError(f"PaddleOCR-VL needs {', '.join(lacking)}: pip install 'receipt-trainer[train,report,vl]'")


def _train(run: VlRun, job_id: str, run_dir: Path, sink: MetricsSink, console: Console) -> RunRecord:
    from receipt_trainer.models.paddleocr_vl.model import load_processor, require_family, require_quantization
    from receipt_trainer.models.paddleocr_vl.prepare import prepare
    from receipt_trainer.models.paddleocr_vl.progress import shown_progress
    from receipt_trainer.models.paddleocr_vl.train import VlRequest, train

    options, config = run.options, run.config
    if config.training.use_quantization:
        require_quantization(config.training.device)
    require_family(config.model_name_or_path)
    processor = load_processor(config.model_name_or_path, max_image_pixels=config.training.max_image_pixels)
    with shown_progress(console, "measuring documents") as progress:
        data = prepare(config, processor, progress)
    _announce(data, config, console)
    if options.restart:
        start = Path(config.model_name_or_path)
        if start.exists() and start.resolve().is_relative_to(run_dir.resolve()):
            raise UserError(f"--restart would delete the model to start from, {start}; choose another --output-dir")
        if distributed.is_main():
            run_folder.clear(run_dir)
        distributed.wait_for_all()
    request = VlRequest(options.job_name, job_id, config, run_dir, options.stop, options.save_interval_s)
    return train(request, data, processor, sink=sink, console=console)


def _announce(data: VlData, config: VlConfig, console: Console) -> None:
    counts = data.counts()
    _say(
        console,
        f"{counts['train']['documents']} documents to train on ({counts['train']['supervised_tokens']} supervised "
        f"tokens of {counts['train']['tokens']}), {counts['validation']['documents']} to validate; "
        f"model {config.model_name_or_path}",
    )
    if data.left_out:
        _say(console, f"{len(data.left_out)} documents are too long, or not for this model, and are left out:")
        for row in data.left_out[:_SHOWN]:
            _say(console, f"  {row['id']}: {row['reason']}")
        if len(data.left_out) > _SHOWN:
            _say(console, f"  and {len(data.left_out) - _SHOWN} more; run.json names them all")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _deliver(
    record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, sink: MetricsSink, console: Console
) -> None:
    """Report, then the record as complete, then S3: what says `complete` comes after all that it speaks of."""
    if not distributed.is_main():
        return
    from receipt_trainer.models.paddleocr_vl.run_report import write_run_report
    from receipt_trainer.models.paddleocr_vl.run_scores import forget_answers

    record.status = "complete"
    report = write_run_report(run_dir, record)
    record.write(run_dir / names.RUN_FILE)
    forget_answers(run_dir)
    where = f"{run_dir}"
    if artifacts is not None:
        where += f" and {artifacts.upload(run_dir)}"
    told = describe_scores(record)
    sink.log("info", f"run complete: {told}; files in {where}")
    _say(console, f"best model: {told}\nfiles: {where}\nmodel: {run_dir / names.MODEL_DIR}\nreport: {report}")


def describe_scores(record: RunRecord) -> str:
    """The kept model's validation loss and, where they are known, the scores of its answers, on one line."""
    parts = {"eval_loss": "validation loss", "eval_accuracy": "tokens right", "field_accuracy": "field accuracy"}
    parts |= {"teds": "TEDS", "numeric_accuracy": "numeric accuracy", "parse_share": "JSON"}
    known: dict[str, Any] = (record.vl.get("final") or {}) | (record.vl.get("scores") or {})
    return ", ".join(f"{word} {known[key]:.4f}" for key, word in parts.items() if known.get(key) is not None)


def _deliver_again(
    run: VlRun, record: RunRecord, run_dir: Path, artifacts: ArtifactSink | None, console: Console
) -> None:
    """A complete run is not trained again; its upload may have failed, so that is repeated.

    Raises:
        UserError: it was one of other settings, or there is nothing to do.
    """
    if not distributed.is_main():
        return
    differing = _differences(run.config, record)
    if differing:
        raise UserError(
            f"{run_dir} holds the complete run '{record.job_name}' with other settings ({', '.join(differing)}); "
            "use another --output-dir, or --restart to start over"
        )
    from receipt_trainer.models.paddleocr_vl.run_scores import metric_row

    row = metric_row(record)
    run_rows.fill_gaps(run.options, record.job_id, [row] if row else [])
    if artifacts is None and run.options.job_id is None:
        raise UserError(f"{run_dir} holds the complete run '{record.job_name}'; use --restart to start over")
    if artifacts is not None:
        _say(console, f"'{record.job_name}' is complete; its files are in {run_dir} and {artifacts.upload(run_dir)}")


def _differences(config: VlConfig, record: RunRecord) -> list[str]:
    from receipt_trainer.models.paddleocr_vl.records import record_sections

    training, data = record_sections(config)
    asked: dict[str, Any] = {"model": config.model_name_or_path, **training, **data}
    there: dict[str, Any] = {"model": record.model, **record.training_config, **record.data_config}
    return [name for name, value in asked.items() if value != there.get(name)]
