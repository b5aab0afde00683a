"""`vl find-lr`: the learning-rate range test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli.show import progress_bar, progress_option
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.config.paddleocr_vl import VlConfig
    from receipt_trainer.models.paddleocr_vl.lr_finder import LrCurve


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
def command(
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
    _write(curve, config, output)
    _say(curve, config, output)


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


def _write(curve: LrCurve, config: VlConfig, output: Path) -> None:
    from receipt_trainer.files import write_atomically
    from receipt_trainer.models.paddleocr_vl.lr_finder import draw_curve

    size = config.training.per_device_train_batch_size * config.training.gradient_accumulation_steps
    picture = draw_curve(curve, f"Learning-rate range test, {size} documents a step")
    write_atomically(output, picture)
    settings = {"model": config.model_name_or_path, "documents_per_step": size, "seed": config.training.seed}
    content = json.dumps(settings | curve.as_dict(), indent=1, allow_nan=False)
    write_atomically(output.with_suffix(".json"), content.encode())


def _say(curve: LrCurve, config: VlConfig, output: Path) -> None:
    click.echo(f"{len(curve.rates)} steps; {curve.ended}")
    if curve.suggestion is None:
        click.echo("the loss never fell: no suggestion; start at a lower --start-lr, or take more --steps")
    for name, rate in (("steepest descent", curve.steepest), ("a tenth of the lowest loss's", curve.tenth_of_lowest)):
        if rate is not None:
            click.echo(f"{name}: {rate:.2g}")
    if curve.suggestion is not None:
        click.echo(f"suggestion: learning_rate: {curve.suggestion:.2g} (configured: {config.training.learning_rate:g})")
    click.echo(f"curve: {output}")
