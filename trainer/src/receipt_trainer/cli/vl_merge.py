"""`vl merge`: an adapter becomes part of its base model."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="merge", short_help="Merge an adapter into its base model.")
@click.option("--base-model", required=True, help="The base: a folder or a name on the hub.")
@click.option(
    "--adapter-path", type=click.Path(path_type=Path), required=True, help="Folder of the adapter or its run."
)
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="New folder for the whole model.")
def command(base_model: str, adapter_path: Path, output_dir: Path) -> None:
    """Write base model and adapter as one model, with its processor, that needs no peft to be used.

    The folder appears when all is in it. A base that is not the adapter's own is refused.
    """
    from receipt_trainer.models.paddleocr_vl.merge import merge
    from receipt_trainer.training.console import quiet_libraries

    quiet_libraries()
    merge(base_model, adapter_path, output_dir, warn=lambda text: click.echo(f"warning: {text}", err=True))
    click.echo(f"model: {output_dir}")
