"""`receipt-trainer vl train`, `find-lr`, `merge` and `smoke`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.options import (
    FILE,
    FOLDER,
    FROM_1,
    PATH,
    device_option,
    progress_option,
    run_target_options,
)
from receipt_trainer.cli.render.tables import progress_bar
from receipt_trainer.cli.training import read_job_file, train
from receipt_trainer.errors import UserError
from receipt_trainer.files import write_atomically
from receipt_trainer.training import checkpoints
from receipt_trainer.training.console import quiet_libraries

if TYPE_CHECKING:
    from PIL import Image

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


@click.command(name="smoke", short_help="Compare a merged model with what it was made of, and with a server.")
@click.argument("base")
@click.argument("merged", type=PATH)
@click.option("--adapter", type=PATH, help="Folder of the adapter or its run: base and adapter are asked as well.")
@click.option(
    "--server", metavar="URL", help="OpenAI-compatible server (vLLM, ...) that serves MERGED: it is asked too."
)
@click.option("--served-model", metavar="NAME", help="The server's name for the model; default: the only one it has.")
@click.option("--images", type=PATH, multiple=True, help="File or folder of pages, also several; default: drawn ones.")
@click.option("--max-new-tokens", type=FROM_1, default=256, show_default=True, help="Tokens of an answer to compare.")
@device_option
def smoke_command(base: str, merged: Path, images: tuple[Path, ...], **how: Any) -> None:
    """Check a merged model before it is deployed.

    Its files are held against those of BASE. Each page is given to MERGED, to base and adapter (--adapter), and to the
    server that serves MERGED (--server): the same pixels and prompt, the likeliest token each time. Exit code 1: a file
    or an answer differs.
    """
    from receipt_trainer.inference.document_server import DocumentServer, as_sent
    from receipt_trainer.models.paddleocr_vl.smoke import answers_of, first_difference, folder_problems

    quiet_libraries()
    problems = folder_problems(base, merged)
    for problem in problems:
        click.echo(f"{merged}: {problem}")
    names, pages = zip(*((name, as_sent(image)) for name, image in _pages(images)), strict=True)
    asked: dict[str, Any] = {name: how[name] for name in ("max_new_tokens", "device")}
    ours = answers_of(str(merged), pages, **asked)
    told: list[tuple[str, str, str | None]] = []
    if how["adapter"]:
        before = answers_of(base, pages, adapter=how["adapter"], prompt=ours.prompt, **asked)
        apart = (ours.first - before.first).abs().amax(dim=1).tolist()
        sources = [f"base and adapter (logits of the first token within {most:.2g})" for most in apart]
        told += zip(names, sources, map(first_difference, before.texts, ours.texts), strict=True)
    if how["server"]:
        server = DocumentServer.connect(how["server"], how["served_model"], ours.prompt, how["max_new_tokens"])
        texts = replace(server, schema=None).ask(pages)  # guided, it could not write what the model would
        told += (
            (name, "server", first_difference(*both)) for name, *both in zip(names, ours.texts, texts, strict=True)
        )
    for name, source, difference in told:
        click.echo(f"{name}: {source}: {difference or 'equal'}")
    different = sum(difference is not None for _, _, difference in told)
    click.echo(f"{len(problems)} problems of files, {different} of {len(told)} comparisons of answers differ")
    if problems or different:
        raise click.exceptions.Exit(1)


def _pages(images: Sequence[Path]) -> list[tuple[str, Image.Image]]:
    from receipt_trainer.inference.inputs import IMAGES, files_below
    from receipt_trainer.models.paddleocr_vl.smoke import generated_pages
    from receipt_trainer.pages.documents import open_pages

    files = [file for path in images for file in files_below(path, IMAGES)]
    found = [(f"{file.name}#{page.number}", page.image) for file in files for page in open_pages(file)]
    return found or list(generated_pages(3))
