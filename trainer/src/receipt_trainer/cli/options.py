"""Options and arguments that several commands have; that help texts show defaults is said in `cli.lazy.run`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES

Function = TypeVar("Function", bound=Callable[..., Any])

ABOVE_0: Final = click.FloatRange(0, min_open=True)
FROM_1: Final = click.IntRange(1)
PATH: Final = click.Path(path_type=Path)
FILE: Final = click.Path(path_type=Path, dir_okay=False)
FOLDER: Final = click.Path(path_type=Path, file_okay=False)


def options(*each: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Several options as one decorator, in their order."""

    def add(function: Function) -> Function:
        for option in reversed(each):
            function = option(function)
        return function

    return add


def choice_option(
    *names: str, of: Sequence[str], default: str | None = None, text: str
) -> Callable[[Function], Function]:
    """One of several words, with `text` as its help."""
    return click.option(*names, type=click.Choice(list(of)), default=default, help=text)


def count_option(
    *names: str, low: int = 1, high: int | None = None, default: int, text: str
) -> Callable[[Function], Function]:
    """A whole number with a default, with `text` as its help."""
    return click.option(*names, type=click.IntRange(low, high), default=default, help=text)


def _table_option(flag: str, envvar: str, what: str) -> Callable[[Function], Function]:
    text = f"Name of the {what} table."
    return click.option(flag, "table", envvar=envvar, required=True, show_envvar=True, help=text)


jobs_table_option = _table_option("--jobs-table", names.ENV_JOBS_TABLE, "jobs")
instances_table_option = _table_option("--instance-registry-table", names.ENV_INSTANCES_TABLE, "instances")
receipts_table_option = _table_option("--dynamo-table", names.ENV_RECEIPTS_TABLE, "receipts")
receipts_source_option = click.option(
    "--dynamo-table", envvar=names.ENV_RECEIPTS_TABLE, help="Name of the receipts table."
)

job_argument = click.argument("job")
"""A job's id, the beginning of its id, or its name."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts instead of a table.")
progress_option = click.option(
    "--progress/--no-progress", default=None, help="Show a progress bar; by default if stderr is a terminal."
)
job_file_option = click.option("--config", "job_file", type=PATH, required=True, help="Job file (YAML).")
LONGEST_ANSWER: Final = "Longest answer in tokens; what is longer is cut off, and then no JSON."
_SPLIT: Final = "Share that goes to train.jsonl; the rest goes to val.jsonl."
split_option = click.option("--split", type=click.FloatRange(0, 1), default=0.9, help=_SPLIT)
queue_options = options(
    click.option("--queue-url", metavar="URL", help="FIFO queue; by default that of pool and priority in the stack."),
    click.option(
        "--priority", type=click.Choice(PRIORITIES), help="Instead of the job file's; workers poll high first."
    ),
    click.option("--pool", type=click.Choice(POOL_NAMES), help="Instead of what the job file's resources ask for."),
    click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, show_envvar=True, help="Name of the jobs table."),
)
"""Where jobs go."""
limit_options = options(
    click.option(
        "--max-hours", type=ABOVE_0, metavar="H", help="Stop at so many hours of instance time, all attempts counted."
    ),
    click.option("--max-usd", type=ABOVE_0, metavar="USD", help="Stop at so many US dollars, all attempts counted."),
)


def timeout_option(doing: str, name: str = "--timeout") -> Callable[[Function], Function]:
    """How long the command follows what it has begun."""
    text = f"Seconds to {doing}."
    return click.option(name, "timeout_s", type=click.FloatRange(0), default=86400.0, metavar="S", help=text)


def _device_option(default: str | None, text: str) -> Callable[[Function], Function]:
    return click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default=default, help=text)


def _precision_option(default: str | None, text: str) -> Callable[[Function], Function]:
    return click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default=default, help=text)


server_options = options(
    click.option("--server", metavar="URL", help="Ask an OpenAI-compatible server (vLLM, ...): PaddleOCR-VL's family."),
    click.option("--served-model", metavar="NAME", help="Its name for the model; default: the only one it has."),
    click.option(
        "--prompt", help="What is asked, as in training; default: what the model's folder says, without one OCR:{}."
    ),
    click.option("--max-new-tokens", type=FROM_1, default=1024, show_default=True, help=LONGEST_ANSWER),
)
"""A model of the second family behind a server."""
SERVER_OPTIONS: Final = ("server", "served_model", "prompt", "max_new_tokens")
device_option = _device_option("auto", "Where to run; auto: a GPU if there is one.")
model_options = options(
    click.option("--model", required=True, metavar="DIR", help="Folder of a run, or its model/ folder."),
    device_option,
    _precision_option("auto", "Arithmetic; auto: what the hardware is fastest with."),
)
"""Which model of the first family, and how it is run."""
_FILES: Final = "'dynamodb', or files and folders, joined by commas."
dataset_options = options(
    stack_options, click.option("--dataset", metavar="NAME", default="dynamodb", help=_FILES), receipts_source_option
)
"""Which receipts."""
program_option = click.option(
    "--program", type=PATH, help="Folder of the Pulumi program; default: this one, or the clone."
)
data_option = click.option(
    "--data", metavar="FILES", help="JSON lines of receipts, joined by commas; default: generated ones."
)
run_target_options = options(
    click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, help="Write metrics and log lines to this table."),
    click.option("--artifacts-bucket", envvar=names.ENV_ARTIFACTS_BUCKET, help="Sync the run's files to this bucket."),
    click.option("--restart", is_flag=True, help="Discard what an earlier run of this name left."),
)
"""Where a run that trains here leaves its traces, and whether it begins anew."""

_O_RATIO: Final = "Drop all-O training examples down to so many O words a labelled word."
data_config_options = options(
    stack_options,
    click.option(
        "--dataset", "dataset_name", metavar="NAME", help="'dynamodb' (default) or files and folders, joined by commas."
    ),
    click.option("--eval-dataset", metavar="FILES", help="Validate on these files instead of a split."),
    receipts_source_option,
    click.option("--split-file", metavar="FILE", help="Hold out the receipts of this run.json or list of keys."),
    click.option("--max-samples", type=int, help="At most so many training receipts, chosen by hash."),
    click.option(
        "--examples", type=click.Choice(["line", "receipt", "both"]), help="Examples are lines, receipts, or both."
    ),
    click.option(
        "--merge-amounts/--no-merge-amounts",
        default=None,
        help="LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL become AMOUNT.",
    ),
    click.option(
        "--allowed-label", "allowed_labels", multiple=True, help="Learn only this label; repeat, or join by commas."
    ),
    click.option("--o-entity-ratio", type=float, envvar=names.ENV_O_ENTITY_RATIO, help=_O_RATIO),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set any other field; repeat."),
    click.option("--config", "job_file", type=PATH, help="Job file (YAML)."),
)
"""Which receipts, labels and examples: each flag is called as its field of `DataConfig`."""
training_config_options = options(
    click.option("--model", help=f"Hub name, directory, package of weights or 'tiny' ({names.DEFAULT_MODEL})."),
    click.option("--epochs", "num_epochs", type=float, help="Passes over the training examples."),
    click.option("--batch-size", type=int, help="Examples a device and step."),
    click.option("--lr", "--learning-rate", "learning_rate", type=float, help="Peak learning rate."),
    click.option("--warmup-ratio", type=float, help="Share of the steps in which the learning rate climbs."),
    click.option("--label-smoothing", type=float, help="Probability mass spread over all tags."),
    click.option("--gradient-accumulation-steps", type=int, help="Batches in one optimizer step."),
    click.option("--early-stopping-patience", type=int, help="Evaluations without a better F1; 0: never stop."),
    click.option("--seed", type=int, help="Seed of weights, dropout and order."),
    _precision_option(None, "Arithmetic."),
    _device_option(None, "Where to train."),
)
"""How to train: each flag is called as its field of `TrainingConfig`."""
