"""`receipt-trainer vl train`, `find-lr` and `merge`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.render.progress import progress_bar, progress_option
from receipt_trainer.contract import names
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.config.paddleocr_vl import VlConfig
    from receipt_trainer.models.paddleocr_vl.lr_finder import LrCurve

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
def train_command(**flags: Any) -> None:
    """Fine-tune PaddleOCR-VL on images and their JSON; a run that was interrupted resumes where it was.

    Ctrl+C or SIGTERM end after the current step with a checkpoint; another one, a second later, ends at once. Leaves
    model/ (the adapter, or all weights), report.html, predictions.jsonl, run.json and tensorboard/ in the run's folder.
    """
    from receipt_trainer.cli.training import interruptible, run_store
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
        from receipt_trainer.models.paddleocr_vl.family import PaddleOcrVl
        from receipt_trainer.training.run import RunRequest, run

        run(
            RunRequest(
                family=PaddleOcrVl(config),
                job_name=name,
                run_dir=flags["output_dir"] or resumed or given,
                store=run_store(flags["jobs_table"], flags["artifacts_bucket"]),
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


@click.command(name="find-lr", short_help="Look for a good learning rate, and draw the curve.")
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), required=True, help="The configuration (YAML)."
)
@click.option("--train-file", type=click.Path(path_type=Path), help="JSON lines to try it on, for dataset_path.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="The picture of the curve (.png).")
@click.option(
    "--start-lr", type=click.FloatRange(0, 1, min_open=True), default=1e-7, show_default=True, help="First rate."
)
@click.option(
    "--end-lr", type=click.FloatRange(0, 100, min_open=True), default=1.0, show_default=True, help="Last rate."
)
@click.option("--steps", type=click.IntRange(10), default=100, show_default=True, help="Optimizer steps.")
@progress_option
def find_lr_command(
    config_file: Path,
    train_file: Path | None,
    output: Path,
    start_lr: float,
    end_lr: float,
    steps: int,
    progress: bool | None,
) -> None:
    """Train a few steps with a learning rate that grows from one to the next, and look how the loss takes it.

    Writes the curve as a picture and, beside it, its numbers (.json). The model on disk and the folders of runs are
    not touched. Two suggestions are made: the rate of the steepest descent, and a tenth of the rate of the lowest loss;
    the smaller one is the safer peak for a schedule with warm-up.
    """
    from receipt_trainer.config.paddleocr_vl import VlConfig, load_vl_config
    from receipt_trainer.config.yaml import parse

    if output.suffix != ".png":
        raise UserError(f"--output {output}: name a file that ends in .png")
    if end_lr <= start_lr:
        raise UserError(f"--end-lr {end_lr:g} must be above --start-lr {start_lr:g}")
    config = load_vl_config(config_file)
    if train_file is not None:
        config = parse(VlConfig, config.model_dump() | {"dataset_path": str(train_file)}, "the command line")
    with progress_bar("trying learning rates", progress) as told:
        curve = _find(config, start=start_lr, end=end_lr, num_steps=steps, progress=told)
    _write_curve(curve, config, output)
    _say_rates(curve, config, output)


def _find(config: VlConfig, **options: Any) -> LrCurve:
    from receipt_trainer.models.paddleocr_vl.dataset import prepare
    from receipt_trainer.models.paddleocr_vl.lr_finder import find_lr
    from receipt_trainer.models.paddleocr_vl.model import build, choose_machine, load_processor
    from receipt_trainer.training.console import quiet_libraries

    quiet_libraries()
    machine = choose_machine(config)
    processor = load_processor(config.model_name_or_path, max_image_pixels=config.training.max_image_pixels)
    data = prepare(config, processor)
    return find_lr(config, build(config, machine), data, processor, machine, **options)


def _write_curve(curve: LrCurve, config: VlConfig, output: Path) -> None:
    from receipt_trainer.files import write_atomically
    from receipt_trainer.models.paddleocr_vl.lr_finder import draw_curve

    size = config.training.per_device_train_batch_size * config.training.gradient_accumulation_steps
    picture = draw_curve(curve, f"Learning-rate range test, {size} documents a step")
    write_atomically(output, picture)
    settings = {"model": config.model_name_or_path, "documents_per_step": size, "seed": config.training.seed}
    content = json.dumps(settings | curve.as_dict(), indent=1, allow_nan=False)
    write_atomically(output.with_suffix(".json"), content.encode())


def _say_rates(curve: LrCurve, config: VlConfig, output: Path) -> None:
    click.echo(f"{len(curve.rates)} steps; {curve.ended}")
    if curve.suggestion is None:
        click.echo("the loss never fell: no suggestion; start at a lower --start-lr, or take more --steps")
    for name, rate in (("steepest descent", curve.steepest), ("a tenth of the lowest loss's", curve.tenth_of_lowest)):
        if rate is not None:
            click.echo(f"{name}: {rate:.2g}")
    if curve.suggestion is not None:
        click.echo(f"suggestion: learning_rate: {curve.suggestion:.2g} (configured: {config.training.learning_rate:g})")
    click.echo(f"curve: {output}")


@click.command(name="merge", short_help="Merge an adapter into its base model.")
@click.option("--base-model", required=True, help="The base: a folder or a name on the hub.")
@click.option(
    "--adapter-path", type=click.Path(path_type=Path), required=True, help="Folder of the adapter or its run."
)
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="New folder for the whole model.")
def merge_command(base_model: str, adapter_path: Path, output_dir: Path) -> None:
    """Write base model and adapter as one model, with its processor, that needs no peft to be used.

    The folder appears when all is in it. A base that is not the adapter's own is refused.
    """
    from receipt_trainer.models.paddleocr_vl.merge import merge
    from receipt_trainer.training.console import quiet_libraries

    quiet_libraries()
    merge(base_model, adapter_path, output_dir, warn=lambda text: click.echo(f"warning: {text}", err=True))
    click.echo(f"model: {output_dir}")
