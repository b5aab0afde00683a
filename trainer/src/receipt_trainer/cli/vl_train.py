"""`receipt-trainer vl train`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.contract import names

if TYPE_CHECKING:
    from receipt_trainer.config.paddleocr_vl import VlConfig

DEFAULT_ROOT: Final = "runs"
"""Where the folders of runs are if nothing else is said."""

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("train")
@click.option("--config", "config_file", type=_FILE, required=True, help="The configuration (YAML).")
@click.option("--train-file", type=click.Path(path_type=Path), help="JSON lines to train on, for dataset_path.")
@click.option("--val-file", type=click.Path(path_type=Path), help="JSON lines to validate on, for val_path.")
@click.option("--output-dir", type=_FOLDER, help="The run's folder, for output_dir.")
@click.option("--use-quantization", is_flag=True, help="Base weights in 4 bits: needs CUDA and bitsandbytes.")
@click.option(
    "--difficulty-schedule",
    type=click.Choice(["none", "easy_to_hard"]),
    help="Order of examples: shuffled, or easy ones first in the early epochs.",
)
@click.option("--resume", type=_FOLDER, help="Go on with the run in this folder, or from its checkpoint.")
@click.option("--restart", is_flag=True, help="Forget what an earlier run in the folder left.")
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, help="Write metrics and log lines to this table.")
@click.option("--artifacts-bucket", envvar=names.ENV_ARTIFACTS_BUCKET, help="Sync the run's files to this bucket.")
def command(**flags: Any) -> None:
    """Fine-tune PaddleOCR-VL on images and their JSON; a run that was interrupted resumes where it was.

    Ctrl+C or SIGTERM end after the current step with a checkpoint; another one, a second later, ends at once. Leaves
    model/ (the adapter, or all weights), report.html, predictions.jsonl, run.json and tensorboard/ in the run's folder.
    """
    from receipt_trainer.cli.interruptible import interruptible
    from receipt_trainer.config.paddleocr_vl import load_vl_config
    from receipt_trainer.errors import UserError

    if flags["resume"] and flags["restart"]:
        raise UserError("--resume goes on with a run and --restart forgets it: give one of them")
    config = _with_flags(load_vl_config(flags["config_file"]), flags)
    name = _name(config, flags["config_file"])
    resumed = resume_folder(flags["resume"]) if flags["resume"] else None
    if resumed and flags["output_dir"] and resumed.resolve() != flags["output_dir"].resolve():
        raise UserError(f"--resume goes on in {resumed}, but --output-dir is {flags['output_dir']}: leave that out")
    given = Path(config.output_dir) if config.output_dir else Path(DEFAULT_ROOT) / name
    with interruptible() as stop:  # the imports take seconds, too
        from receipt_trainer.jobs.run_store import AwsRunStore
        from receipt_trainer.models.paddleocr_vl.family import PaddleOcrVl
        from receipt_trainer.training.run import RunRequest, run

        run(
            RunRequest(
                family=PaddleOcrVl(config),
                job_name=name,
                run_dir=flags["output_dir"] or resumed or given,
                store=AwsRunStore(flags["jobs_table"], flags["artifacts_bucket"]),
                restart=flags["restart"],
                stop=stop,
            )
        )


def _with_flags(config: VlConfig, flags: dict[str, Any]) -> VlConfig:
    """The configuration with what the command line says in its place.

    Raises:
        UserError: it contradicts the rest.
    """
    from receipt_trainer.config.paddleocr_vl import VlConfig
    from receipt_trainer.config.yaml import parse

    given = {"dataset_path": flags["train_file"], "val_path": flags["val_file"], "output_dir": flags["output_dir"]}
    values = config.model_dump() | {name: str(value) for name, value in given.items() if value}
    if flags["use_quantization"]:
        values["training"]["use_quantization"] = True
    if flags["difficulty_schedule"]:
        values["training"]["difficulty_schedule"] = flags["difficulty_schedule"]
    return parse(VlConfig, values, "the command line")


def _name(config: VlConfig, file: Path) -> str:
    """A job's name from the experiment's, else from the file's."""
    wanted = re.sub(r"[^A-Za-z0-9._-]+", "-", config.experiment.name or file.stem)[:64]
    return wanted if names.is_job_name(wanted) else "vl"


def resume_folder(path: Path) -> Path:
    """The run's folder, for it or for the newest of its complete checkpoints.

    Raises:
        UserError: there is no complete checkpoint, or a newer one than the one that is named.
    """
    from receipt_trainer.errors import UserError
    from receipt_trainer.training import checkpoints

    is_checkpoint = path.name.startswith("checkpoint-")
    run_dir = path.parent if is_checkpoint else path
    found = checkpoints.latest(run_dir)
    if found is None:
        raise UserError(f"--resume {path}: there is no complete checkpoint in {run_dir}")
    if is_checkpoint and found.path.name != path.name:
        raise UserError(
            f"--resume {path}: the newest complete checkpoint is {found.path.name}; name that, or {run_dir}"
        )
    return run_dir
