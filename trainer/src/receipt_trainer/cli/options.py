"""Options and arguments that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names

Function = TypeVar("Function", bound=Callable[..., Any])

ABOVE_0: Final = click.FloatRange(0, min_open=True)

job_argument = click.argument("job")
"""A job's id, the beginning of its id, or its name."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts instead of a table.")
progress_option = click.option(
    "--progress/--no-progress", default=None, help="Show a progress bar; by default if stderr is a terminal."
)


def _table_option(flag: str, envvar: str, what: str) -> Callable[[Function], Function]:
    return click.option(
        flag, "table", envvar=envvar, required=True, show_envvar=True, help=f"Name of the {what} table."
    )


jobs_table_option = _table_option("--jobs-table", names.ENV_JOBS_TABLE, "jobs")
instances_table_option = _table_option("--instance-registry-table", names.ENV_INSTANCES_TABLE, "instances")
receipts_table_option = _table_option("--dynamo-table", names.ENV_RECEIPTS_TABLE, "receipts")


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
    kind = click.Choice(list(of))
    return click.option(*names, type=kind, default=default, show_default=default is not None, help=text)


def count_option(
    *names: str, low: int = 1, high: int | None = None, default: int, text: str
) -> Callable[[Function], Function]:
    """A whole number with a default, with `text` as its help."""
    return click.option(*names, type=click.IntRange(low, high), default=default, show_default=True, help=text)


def timeout_option(doing: str) -> Callable[[Function], Function]:
    """--timeout: how long the command follows the job."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0),
        default=86400.0,
        show_default=True,
        metavar="S",
        help=f"Seconds to {doing} at most.",
    )


limit_options = options(
    click.option(
        "--max-hours", type=ABOVE_0, metavar="H", help="Stop at so many hours of instance time, all attempts counted."
    ),
    click.option("--max-usd", type=ABOVE_0, metavar="USD", help="Stop at so many US dollars, all attempts counted."),
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to run; auto: a GPU if there is one.",
)
model_options = options(
    click.option("--model", required=True, metavar="DIR", help="Folder of a run, or its model/ folder."),
    device_option,
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
        default="auto",
        help="Arithmetic; auto: what the hardware is fastest with.",
    ),
)
"""Which model of the first family, and how it is run."""
dataset_options = options(
    click.option(
        "--dataset",
        metavar="NAME",
        default="dynamodb",
        help="'dynamodb' (default) or JSON lines files, joined by commas.",
    ),
    click.option("--dynamo-table", envvar=names.ENV_RECEIPTS_TABLE, help="Name of the receipts table."),
    stack_options,
)
"""Which receipts."""
program_option = click.option(
    "--program", type=click.Path(path_type=Path), help="Folder of the Pulumi program; default: this one, or the clone."
)
data_option = click.option(
    "--data", metavar="FILES", help="JSON lines of receipts, joined by commas; default: generated ones."
)
run_targets_options = options(
    click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, help="Write metrics and log lines to this table."),
    click.option("--artifacts-bucket", envvar=names.ENV_ARTIFACTS_BUCKET, help="Sync the run's files to this bucket."),
    click.option("--restart", is_flag=True, help="Discard what an earlier run of this name left."),
)
"""Where a run that trains here leaves its traces, and whether it begins anew."""
