"""The command line of a run that trains here: its configurations, its stores, and what a signal does to it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import AnyJob, LayoutLMJob, load_job_file
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.yaml import read_yaml
from receipt_trainer.contract import names
from receipt_trainer.contract.interruption import Interrupted, StopRequest, listen
from receipt_trainer.contract.job import Family
from receipt_trainer.contract.sinks import FolderOnly, RunStore
from receipt_trainer.errors import UserError
from receipt_trainer.training.console import say_loading


def train(make_family: Callable[[], Any], job_name: str, run_dir: Path, flags: Mapping[str, Any]) -> None:
    """Train a run with the flags of `run_target_options`; one that was interrupted in `run_dir` resumes.

    Args:
        make_family: the `ModelFamily`; it imports what takes seconds.

    Raises:
        click.exceptions.Exit: a signal ended it; see `_interruptible`.
    """
    with _interruptible() as stop:  # the imports take seconds, too
        from receipt_trainer.training.run import RunRequest, run

        store: RunStore = FolderOnly()
        if flags["jobs_table"] or flags["artifacts_bucket"]:  # else nothing of AWS is loaded
            from receipt_trainer.jobs.metrics_writer import AwsRunStore

            store = AwsRunStore(flags["jobs_table"], flags["artifacts_bucket"])
        shown = flags.get("progress", True)
        run(RunRequest(make_family(), job_name, run_dir, store, flags["restart"], is_shown=shown, stop=stop))


@contextmanager
def _interruptible() -> Iterator[StopRequest]:
    """Ends the command as the signal asks: after the step with a checkpoint, at once if it comes again a second later.

    Raises:
        click.exceptions.Exit: with 128 and the signal's number, as shells write it: 130 or 143.
    """
    stop = StopRequest()
    try:
        with listen(stop):
            if os.environ.get("RANK", "0") == "0":
                say_loading(sys.stdout)
            _load_libraries()
            yield stop
    except (Interrupted, KeyboardInterrupt) as interrupted:
        told = str(interrupted) or "stopped at once"
        click.echo(f"{told}; the same command resumes from the newest checkpoint", err=True)
        raise click.exceptions.Exit(128 + (stop.signal or signal.SIGINT)) from None


def _load_libraries() -> None:
    """Import what would load boto3 where it finds it, for uses of its own, without it: that takes half a second."""
    hidden = [name for name in ("boto3", "botocore") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # marks the module as missing for the import system
    try:
        import accelerate  # noqa: F401
        import torch.utils.tensorboard  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def checked_job_name(name: str) -> str:
    """The name of a job, which becomes that of a folder; UserError: it is invalid."""
    if not names.is_job_name(name):
        raise UserError(f"--job-name '{name}': use 1 to 64 of A-Z a-z 0-9 . _ - and not '.' or '..'")
    return name


def new_job_name(kind: str) -> str:
    """`kind` and the time."""
    return datetime.now(UTC).strftime(f"{kind}-%Y%m%d-%H%M%S")


def read_job_file(
    path: Path, expected: Family | None = None, changes: Mapping[str, Any] | None = None
) -> tuple[AnyJob, Path | None]:
    """The job of a file, and the folder that it names if it is of version 0.1.0; notes are printed.

    Raises:
        UserError: a wrong file or flag.
    """
    found = load_job_file(path, expected=expected, changes=changes)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    return found.spec, found.output_dir


def configure(flags: Mapping[str, Any]) -> tuple[LayoutLMJob | None, TrainingConfig, DataConfig]:
    """Defaults, then the job file, then --set, then flags, which are called as the fields.

    Raises:
        UserError: a wrong file, flag or setting; it is named.
    """
    job: Any = read_job_file(flags["job_file"], "layoutlm")[0] if flags.get("job_file") else None
    training = job.training_config.model_dump(exclude_unset=True) if job else {}
    data = job.data_config.model_dump(exclude_unset=True) if job else {}
    if flags.get("precision"):
        training.pop("fp16", None)
    for text in flags.get("settings") or ():
        key, value = _setting(text)
        (training if key in TrainingConfig.model_fields else data)[key] = value
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    context = click.get_current_context(silent=True)
    if context and context.get_parameter_source("o_entity_ratio") is ParameterSource.ENVIRONMENT:
        # the worker's environment is a default, not a wish for this job
        data.setdefault("o_entity_ratio", given.pop("o_entity_ratio"))
    training |= {name: value for name, value in given.items() if name in TrainingConfig.model_fields}
    data |= {name: value for name, value in given.items() if name in DataConfig.model_fields}
    if "allowed_labels" in data:
        data["allowed_labels"] = _labels(data["allowed_labels"])
    where = "command line"  # the job file has been validated by itself
    return job, parse(TrainingConfig, training, where), parse(DataConfig, data, where)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise UserError(f"--set {text}: expected KEY=VALUE")
    known = sorted({*TrainingConfig.model_fields, *DataConfig.model_fields})
    if key not in known:
        raise UserError(f"--set {key}: unknown field (known: {', '.join(known)})")
    try:
        return key, read_yaml(value)
    except ValueError:
        raise UserError(f"--set {key}: invalid value '{value}'") from None


def _labels(given: Any) -> tuple[str, ...]:
    """A list of labels, or of labels joined by commas, or one such text."""
    parts = given if isinstance(given, list | tuple) else () if given is None else (given,)
    listed = [label.strip() for part in parts for label in str(part).split(",")]
    return tuple(label for label in listed if label)
