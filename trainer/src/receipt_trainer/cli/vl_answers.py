"""What `vl evaluate` and `vl compare` share: a model answers a test set, and the answers are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli.show import progress_bar

if TYPE_CHECKING:
    from receipt_trainer.data.document_set import VlExample
    from receipt_trainer.evaluation.answers import Prediction
    from receipt_trainer.evaluation.documents import Evaluation
    from receipt_trainer.models.paddleocr_vl.model import Device


@dataclass(frozen=True, slots=True)
class Asking:
    """How a model is asked."""

    batch_size: int
    max_new_tokens: int
    device: Device
    progress: bool | None


def asking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `Asking`, and which documents."""
    options = [
        click.option(
            "--test-dir", type=click.Path(path_type=Path), help="Folder of a data set, or its JSON lines file."
        ),
        click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Documents at once."),
        click.option(
            "--max-new-tokens",
            type=click.IntRange(1),
            default=1024,
            show_default=True,
            help="Longest answer in tokens; what is longer is cut off, and then no JSON.",
        ),
        click.option("--limit", type=click.IntRange(1), help="Only the first documents of the test set."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
        click.option(
            "--progress/--no-progress", default=None, help="Show a progress bar; by default if stderr is a terminal."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def ask(model: str, adapter: Path | None, examples: Sequence[VlExample], how: Asking, predictions: Path) -> None:
    """Let a model answer, and write its predictions when all are there; what was stopped before goes on."""
    from receipt_trainer.evaluation.answers import write_predictions
    from receipt_trainer.models.paddleocr_vl.generate import Unfinished, files_of, predict
    from receipt_trainer.models.paddleocr_vl.model import load
    from receipt_trainer.training.console import quiet_libraries

    quiet_libraries()
    loaded = load(model, adapter=adapter, device=how.device)
    asked = {"model": model, "adapter": str(adapter), "max_new_tokens": how.max_new_tokens}
    asked |= {"device": str(loaded.device), "files": files_of(loaded.name, loaded.adapter)}
    unfinished = Unfinished(predictions, asked)
    known = unfinished.answered(examples)
    if known:
        click.echo(f"{len(known)} of {len(examples)} documents were answered before", err=True)
    rest = [example for example in examples if example.id not in known]
    coming = predict(loaded, rest, max_new_tokens=how.max_new_tokens, batch_size=how.batch_size)
    found: dict[str, Prediction] = {}
    with progress_bar("reading documents", how.progress) as told:
        for prediction in unfinished.keep(known.values(), coming):
            found[prediction.id] = prediction
            if told is not None:
                told(len(found), len(examples))
    write_predictions(predictions, [found[example.id] for example in examples])
    unfinished.remove()


def score_file(predictions: Path, progress: bool | None) -> Evaluation:
    """Score a file of predictions."""
    from receipt_trainer.evaluation.answers import read_predictions
    from receipt_trainer.evaluation.documents import evaluate

    listed = read_predictions(predictions)
    with progress_bar("scoring", progress) as told:
        return evaluate(listed, told)
