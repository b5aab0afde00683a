"""Command line flags, job files and defaults become the two configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from receipt_trainer.cli.stack import stack_options
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import LayoutLMJob, load_job_file
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.yaml import read_yaml
from receipt_trainer.contract import names
from receipt_trainer.errors import UserError

Function = TypeVar("Function", bound=Callable[..., Any])

_TRAINING = {
    "epochs": "num_epochs",
    "batch_size": "batch_size",
    "lr": "learning_rate",
    "warmup_ratio": "warmup_ratio",
    "label_smoothing": "label_smoothing",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "early_stopping_patience": "early_stopping_patience",
    "seed": "seed",
    "precision": "precision",
    "device": "device",
}
_DATA = {
    "dataset": "dataset_name",
    "eval_dataset": "eval_dataset",
    "split_file": "split_file",
    "examples": "examples",
    "merge_amounts": "merge_amounts",
    "allowed_label": "allowed_labels",
    "o_entity_ratio": "o_entity_ratio",
    "max_samples": "max_samples",
}


def data_options(function: Function) -> Function:
    """Flags that say which receipts, labels and examples."""
    for option in reversed(
        [
            click.option(
                "--dataset", metavar="NAME", help="'dynamodb' (default) or JSON lines files, joined by commas."
            ),
            click.option("--eval-dataset", metavar="FILES", help="Validate on these files instead of a split."),
            click.option("--dynamo-table", envvar=names.ENV_RECEIPTS_TABLE, help="Name of the receipts table."),
            click.option(
                "--split-file", metavar="FILE", help="Hold out the receipts of this run.json or list of keys."
            ),
            click.option("--max-samples", type=int, help="At most so many training receipts, chosen by hash."),
            click.option(
                "--examples",
                type=click.Choice(["line", "receipt", "both"]),
                help="Examples are lines, receipts, or both.",
            ),
            click.option(
                "--merge-amounts/--no-merge-amounts",
                default=None,
                help="LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL become AMOUNT.",
            ),
            click.option("--allowed-label", multiple=True, help="Learn only this label; repeat, or join by commas."),
            click.option(
                "--o-entity-ratio",
                type=float,
                envvar=names.ENV_O_ENTITY_RATIO,
                help="Drop all-O training examples down to so many O words a labelled word.",
            ),
            click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set any other field; repeat."),
            click.option("--config", "job_file", type=click.Path(path_type=Path), help="Job file (YAML)."),
        ]
    ):
        function = option(function)
    return stack_options(function)


def training_options(function: Function) -> Function:
    """Flags that say how to train."""
    for option in reversed(
        [
            click.option("--model", help=f"Hub name, directory, package of weights or 'tiny' ({names.DEFAULT_MODEL})."),
            click.option("--epochs", type=float, help="Passes over the training examples."),
            click.option("--batch-size", type=int, help="Examples a device and step."),
            click.option("--lr", type=float, help="Peak learning rate."),
            click.option("--warmup-ratio", type=float, help="Share of the steps in which the learning rate climbs."),
            click.option("--label-smoothing", type=float, help="Probability mass spread over all tags."),
            click.option("--gradient-accumulation-steps", type=int, help="Batches in one optimizer step."),
            click.option("--early-stopping-patience", type=int, help="Evaluations without a better F1; 0: never stop."),
            click.option("--seed", type=int, help="Seed of weights, dropout and order."),
            click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), help="Arithmetic."),
            click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to train."),
        ]
    ):
        function = option(function)
    return function


def job_name(given: str | None, kind: str) -> str:
    """The job's name: the given one, or `kind` and the time.

    Raises:
        UserError: it is invalid; it would name a folder.
    """
    name = given or datetime.now(UTC).strftime(f"{kind}-%Y%m%d-%H%M%S")
    if not names.is_job_name(name):
        raise UserError(f"--job-name '{name}': use 1 to 64 of A-Z a-z 0-9 . _ - and not '.' or '..'")
    return name


def configure(flags: dict[str, Any]) -> tuple[LayoutLMJob | None, TrainingConfig, DataConfig]:
    """Defaults, then the job file, then flags.

    Raises:
        UserError: a wrong file, flag or setting; it is named.
    """
    job = _job(flags["job_file"]) if flags.get("job_file") else None
    training = job.training_config.model_dump(exclude_unset=True) if job else {}
    data = job.data_config.model_dump(exclude_unset=True) if job else {}
    if flags.get("precision"):
        training.pop("fp16", None)
    for key, value in _settings(flags.get("settings") or ()):
        target = training if key in TrainingConfig.model_fields else data if key in DataConfig.model_fields else None
        if target is None:
            known = sorted({*TrainingConfig.model_fields, *DataConfig.model_fields})
            raise UserError(f"--set {key}: unknown field (known: {', '.join(known)})")
        target[key] = value
    training |= _given(flags, _TRAINING)
    given = _given(flags, _DATA)
    if _from_environment("o_entity_ratio"):  # the worker's environment is a default, not a wish for this job
        data.setdefault("o_entity_ratio", given.pop("o_entity_ratio"))
    data |= given
    if "allowed_labels" in data:
        data["allowed_labels"] = _labels(data["allowed_labels"])
    where = "command line"  # the job file has been validated by itself
    return job, parse(TrainingConfig, training, where), parse(DataConfig, data, where)


def _job(path: Path) -> LayoutLMJob:
    found = load_job_file(path, expected="layoutlm")
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if not isinstance(found.spec, LayoutLMJob):
        raise TypeError(f"{path}: {found.spec.family}")
    return found.spec


def _labels(given: Any) -> tuple[str, ...]:
    """A list of labels, or of labels joined by commas, or one such text."""
    parts = given if isinstance(given, list | tuple) else () if given is None else (given,)
    listed = [label.strip() for part in parts for label in str(part).split(",")]
    return tuple(label for label in listed if label)


def _from_environment(flag: str) -> bool:
    context = click.get_current_context(silent=True)
    source = context.get_parameter_source(flag) if context else None
    return source is click.core.ParameterSource.ENVIRONMENT


def _given(flags: dict[str, Any], names_of: dict[str, str]) -> dict[str, Any]:
    return {field: flags[flag] for flag, field in names_of.items() if flag in flags and flags[flag] not in (None, ())}


def _settings(texts: Iterable[str]) -> Iterable[tuple[str, Any]]:
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: expected KEY=VALUE")
        try:
            yield key.strip(), read_yaml(value)
        except ValueError:
            raise UserError(f"--set {key.strip()}: invalid value '{value}'") from None
