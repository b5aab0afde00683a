"""`receipt-trainer vl train`, `find-lr` and `merge`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.options import FILE, FOLDER, PATH, progress_option, run_target_options
from receipt_trainer.cli.render.tables import progress_bar
from receipt_trainer.cli.training import read_job_file, train
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.training import checkpoints
from receipt_trainer.training.console import quiet_libraries

if TYPE_CHECKING:
    from receipt_trainer.models.paddleocr_vl.lr_finder import LrCurve

DEFAULT_ROOT: Final = "runs"
"""Where the folders of runs are if nothing else is said."""


@click.command("train")
@click.option("--config", "config_file", type=FILE, required=True, help="Job file (YAML).")
@click.option("--train-file", type=PATH, help="JSON lines to train on, for dataset_path.")
@click.option("--val-file", type=PATH, help="JSON lines to validate on, for val_path.")
@click.option("--output-dir", type=FOLDER, help=f"The run's folder ({DEFAULT_ROOT}/JOB).")
@click.option("--use-quantization", is_flag=True, help="Base weights in 4 bits: needs CUDA and bitsandbytes.")
@click.option(
    "--difficulty-schedule",
    type=click.Choice(["none", "easy_to_hard"]),
    help="Order of examples: shuffled, or easy ones first in the early epochs.",
)
@click.option("--resume", type=FOLDER, help="Continue the run in this folder, or from its checkpoint.")
@run_target_options
def train_command(**flags: Any) -> None:
    """Fine-tune PaddleOCR-VL on images and their JSON; a run that was interrupted resumes where it was.

    Ctrl+C or SIGTERM end after the current step with a checkpoint; another one, a second later, ends at once. Leaves
    model/ (the adapter, or all weights), report.html, predictions.jsonl, run.json and tensorboard/ in the run's folder.
    """
    if flags["resume"] and flags["restart"]:
        raise UserError("--resume continues a run and --restart discards it: give one of them")
    training = {name: flags[name] for name in ("use_quantization", "difficulty_schedule")}
    data = {"dataset_path": flags["train_file"], "val_path": flags["val_file"]}
    job, named_dir = _read_job(flags["config_file"], training, data)
    resumed = resume_folder(flags["resume"]) if flags["resume"] else None
    if resumed and flags["output_dir"] and resumed.resolve() != flags["output_dir"].resolve():
        raise UserError(f"--resume continues in {resumed}, but --output-dir is {flags['output_dir']}: leave that out")

    def family() -> Any:
        from receipt_trainer.models.paddleocr_vl.family import PaddleOcrVl

        return PaddleOcrVl(job)

    given = named_dir or Path(DEFAULT_ROOT) / job.job_name
    train(family, job.job_name, flags["output_dir"] or resumed or given, flags)


def _read_job(path: Path, training: dict[str, Any], data: dict[str, Any]) -> tuple[Any, Path | None]:
    """As `read_job_file`, with what the command line says in the place of the file's."""
    given = {"training_config": training, "data_config": data}
    changes = {
        name: {key: str(value) if isinstance(value, Path) else value for key, value in part.items() if value}
        for name, part in given.items()
    }
    return read_job_file(path, "paddleocr-vl", changes)


def resume_folder(path: Path) -> Path:
    """The run's folder, for it or for the newest of its complete checkpoints.

    Raises:
        UserError: there is no complete checkpoint, or a newer one than the one that is named.
    """
    is_checkpoint = path.name.startswith("checkpoint-")
    run_dir = path.parent if is_checkpoint else path
    found = checkpoints.latest(run_dir)
    if found is None:
        raise UserError(f"--resume {path}: there is no complete checkpoint in {run_dir}")
    if is_checkpoint and found.path.name != path.name:
        newest = found.path.name
        raise UserError(f"--resume {path}: the newest complete checkpoint is {newest}; name that, or {run_dir}")
    return run_dir


@click.command(name="find-lr", short_help="Look for a good learning rate, and draw the curve.")
@click.option("--config", "config_file", type=PATH, required=True, help="Job file (YAML).")
@click.option("--train-file", type=PATH, help="JSON lines to try it on, for dataset_path.")
@click.option("--output", "-o", type=PATH, required=True, help="The picture of the curve (.png).")
@click.option("--start-lr", type=click.FloatRange(0, 1, min_open=True), default=1e-7, help="First rate.")
@click.option("--end-lr", type=click.FloatRange(0, 100, min_open=True), default=1.0, help="Last rate.")
@click.option("--steps", type=click.IntRange(10), default=100, help="Optimizer steps.")
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
    """Train a few steps with a learning rate that grows from one to the next, and record how the loss reacts.

    Writes the curve as a picture and, beside it, its numbers (.json). The model on disk and the folders of runs are
    not touched. Two suggestions are made: the rate of the steepest descent, and a tenth of the rate of the lowest loss;
    the smaller one is the safer peak for a schedule with warm-up.
    """
    if output.suffix != ".png":
        raise UserError(f"--output {output}: name a file that ends in .png")
    if end_lr <= start_lr:
        raise UserError(f"--end-lr {end_lr:g} must be above --start-lr {start_lr:g}")
    job = _read_job(config_file, {}, {"dataset_path": train_file})[0]
    with progress_bar("trying learning rates", progress) as told:
        curve = _find(job, start=start_lr, end=end_lr, num_steps=steps, progress=told)
    _write_curve(curve, job, output)
    click.echo(f"{len(curve.rates)} steps; {curve.ended}")
    for name, rate in (("steepest descent", curve.steepest), ("a tenth of the lowest loss's", curve.tenth_of_lowest)):
        if rate is not None:
            click.echo(f"{name}: {rate:.2g}")
    if curve.suggestion is None:
        click.echo("the loss never fell: no suggestion; start at a lower --start-lr, or take more --steps")
    else:
        own = job.training_config.learning_rate
        click.echo(f"suggestion: learning_rate: {curve.suggestion:.2g} (configured: {own:g})")
    click.echo(f"curve: {output}")


def _find(job: Any, **options: Any) -> LrCurve:
    from receipt_trainer.models.paddleocr_vl.dataset import prepare
    from receipt_trainer.models.paddleocr_vl.lr_finder import find_lr
    from receipt_trainer.models.paddleocr_vl.model import build, choose_machine
    from receipt_trainer.models.paddleocr_vl.processor import load_processor

    quiet_libraries()
    training = job.training_config
    machine = choose_machine(training)
    processor = load_processor(job.model, max_image_pixels=training.max_image_pixels)
    data = prepare(job.data_config, training, processor)
    return find_lr(job, build(job.model, training, machine), data, processor, machine, **options)


def _write_curve(curve: LrCurve, job: Any, output: Path) -> None:
    from receipt_trainer.models.paddleocr_vl.lr_finder import draw_curve

    training = job.training_config
    size = training.per_device_train_batch_size * training.gradient_accumulation_steps
    write_atomically(output, draw_curve(curve, f"Learning-rate range test, {size} documents a step"))
    settings = {"model": job.model, "documents_per_step": size, "seed": training.seed}
    content = json.dumps(settings | curve.as_dict(), indent=1, allow_nan=False)
    write_atomically(output.with_suffix(".json"), content.encode())


@click.command(name="merge", short_help="Merge an adapter into its base model.")
@click.option("--base-model", required=True, help="The base: a folder or a name on the hub.")
@click.option("--adapter-path", type=PATH, required=True, help="Folder of the adapter or its run.")
@click.option("--output-dir", type=PATH, required=True, help="New folder for the merged model.")
def merge_command(base_model: str, adapter_path: Path, output_dir: Path) -> None:
    """Write base model and adapter as one model, with its processor, that works without peft.

    The folder appears when it is complete. A base that is not the adapter's own is refused.
    """
    from receipt_trainer.models.paddleocr_vl.merge import merge

    quiet_libraries()
    merge(base_model, adapter_path, output_dir, warn=lambda text: click.echo(f"warning: {text}", err=True))
    click.echo(f"model: {output_dir}")
