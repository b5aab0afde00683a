"""`receipt-trainer vl evaluate` and `compare`: models answer a test set, and are scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from receipt_trainer.cli.render.progress import progress_bar
from receipt_trainer.cli.render.tables import plain_table, print_fitted
from receipt_trainer.data.document_set import VlExample, read_test_set
from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.answers import Prediction, read_predictions, write_predictions
from receipt_trainer.evaluation.compare import Comparison, compare
from receipt_trainer.evaluation.documents import HEADLINES, Evaluation, evaluate
from receipt_trainer.evaluation.ratio import Share
from receipt_trainer.files import write_atomically
from receipt_trainer.reports import formatting
from receipt_trainer.reports.evaluation_pages import EvaluationFiles, field_table, render_comparison, write_evaluation
from receipt_trainer.reports.page import require_page_libraries
from receipt_trainer.training.console import quiet_libraries

if TYPE_CHECKING:
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
    """Let a model answer, and write its predictions when all are there; an interrupted evaluation resumes."""
    from receipt_trainer.models.paddleocr_vl.generate import Unfinished, files_of, predict
    from receipt_trainer.models.paddleocr_vl.model import load

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

    listed = read_predictions(predictions)
    with progress_bar("scoring", progress) as told:
        return evaluate(listed, told)


@click.command(name="evaluate", short_help="Score a model on a test set.")
@click.option("--model-path", help="Model: a folder (complete model, adapter or run) or a name on the hub.")
@click.option("--adapter", type=click.Path(path_type=Path), help="Adapter to put on the model.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="File of the scores, R.json.")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Score this file of predictions again instead of running a model.",
)
@asking_options
def evaluate_command(
    model_path: str | None,
    adapter: Path | None,
    output: Path,
    predictions: Path | None,
    test_dir: Path | None,
    limit: int | None,
    **how: Any,
) -> None:
    """Let a model answer every document of a test set and score its answers.

    Beside the scores (R.json, written last) come R.predictions.jsonl, from which the scores can be made again, and
    R.html with the worst documents.
    """

    asking = Asking(**how)
    files = EvaluationFiles(output)
    _require_file_name(output)
    require_page_libraries()
    if predictions is None:
        about = _ask_model(model_path, adapter, test_dir, limit, asking, files)
    elif model_path or test_dir or adapter or limit:
        raise UserError(
            "--predictions holds the answers already: leave --model-path, --adapter, --test-dir, --limit out"
        )
    else:
        about = {"predictions": str(predictions)}
    source = predictions or files.predictions
    evaluation = score_file(source, asking.progress)
    files.begin()
    write_evaluation(evaluation, files, about, source.parent)
    _show_evaluation(evaluation)
    click.echo(f"scores: {files.scores}\nreport: {files.page}")


def _require_file_name(output: Path) -> None:
    if output.suffix != ".json" or output.is_dir():
        raise UserError(f"--output {output}: name a file that ends in .json")


def _ask_model(
    model_path: str | None, adapter: Path | None, test_dir: Path | None, limit: int | None, asking: Asking, files: Any
) -> dict[str, str]:
    """Ask the model; returns what was asked, for the report."""

    if model_path is None or test_dir is None:
        raise UserError("give --model-path and --test-dir, or --predictions")
    examples = read_test_set(test_dir, limit)
    files.begin()
    ask(model_path, adapter, examples, asking, files.predictions)
    about = {"model": model_path, "test set": str(test_dir), "longest answer": f"{asking.max_new_tokens} tokens"}
    return about | ({"adapter": str(adapter)} if adapter else {}) | ({"limit": str(limit)} if limit else {})


def _show_evaluation(evaluation: Evaluation) -> None:
    """The scores in the terminal, then those of each field."""

    console, scores = Console(), evaluation.scores
    table = plain_table("score", "share", "counted from")
    for name, label in HEADLINES.items():
        table.add_row(label, *_cells(scores.get(name, Share())))
    console.print(table)
    fields = plain_table("field", "accuracy", "counted from", "where present", "counted from")
    for region, whole, present, rows in field_table(scores):
        fields.add_row(region, *_cells(whole), *_cells(present), style="bold")
        for name, share, there in rows:
            fields.add_row(f"  {name}", *_cells(share), *_cells(there))
    console.print()
    console.print(fields)


def _cells(share: Share) -> tuple[str, str]:
    return formatting.score(share.value), f"{formatting.number(share.hits)} of {formatting.number(share.total)}"


_SHORT: Final = {"no difference shown": "not shown", "cannot be said": "unknown"}
"""Verdicts as the table has them, where they are too long for it."""


@click.command(name="compare", short_help="Two models on one test set, with intervals.")
@click.option("--baseline-model", help="Model to compare with: a folder (model, adapter, run) or a name on the hub.")
@click.option("--finetuned-model", help="Model to judge: the same.")
@click.option("--baseline-predictions", type=click.Path(path_type=Path), help="Its answers, instead of the model.")
@click.option("--finetuned-predictions", type=click.Path(path_type=Path), help="Its answers, instead of the model.")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Folder of the report.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.option("--resamples", type=click.IntRange(100), default=10_000, show_default=True, help="Bootstrap draws.")
@asking_options
def compare_command(
    baseline_model: str | None,
    finetuned_model: str | None,
    baseline_predictions: Path | None,
    finetuned_predictions: Path | None,
    output_dir: Path,
    seed: int,
    resamples: int,
    test_dir: Path | None,
    limit: int | None,
    **how: Any,
) -> None:
    """Compare two models document by document.

    Differences come with 95 % confidence intervals (paired bootstrap over the documents, BCa). Writes comparison.html
    and, last, comparison.json.
    """

    asking = Asking(**how)
    require_page_libraries()
    sides = {"baseline": (baseline_model, baseline_predictions), "finetuned": (finetuned_model, finetuned_predictions)}
    sources = _answers(sides, test_dir, limit, asking, output_dir)
    evaluations = [score_file(source, asking.progress) for source in sources.values()]
    comparison = compare(evaluations[0], evaluations[1], seed=seed, num_resamples=resamples)
    about = {side: str(model or predictions) for side, (model, predictions) in sides.items()}
    folders = (sources["baseline"].parent, sources["finetuned"].parent)
    page = render_comparison(comparison, about, folders)
    _write_comparison(output_dir, page, {"status": "complete", "about": about} | comparison.as_dict())
    _show_comparison(comparison)
    click.echo(f"report: {output_dir / 'comparison.html'}")


def _answers(
    sides: dict[str, tuple[str | None, Path | None]],
    test_dir: Path | None,
    limit: int | None,
    asking: Asking,
    output_dir: Path,
) -> dict[str, Path]:
    """The predictions of both sides, made where they are not given."""

    for side, (model, predictions) in sides.items():
        if (model is None) == (predictions is None):
            raise UserError(f"give --{side}-model or --{side}-predictions, one of them")
    asked = {side: model for side, (model, _) in sides.items() if model is not None}
    if asked and test_dir is None:
        raise UserError("a model needs documents to read: give --test-dir")
    examples = read_test_set(test_dir, limit) if asked and test_dir is not None else []
    found = {}
    for side, (_, predictions) in sides.items():
        found[side] = predictions or output_dir / f"{side}.predictions.jsonl"
        if side in asked:
            click.echo(f"{side}: {asked[side]}", err=True)
            ask(asked[side], None, examples, asking, found[side])
    return found


def _write_comparison(output_dir: Path, page: str, record: dict[str, Any]) -> None:
    marker = output_dir / "comparison.json"
    marker.unlink(missing_ok=True)
    write_atomically(output_dir / "comparison.html", page.encode("utf-8", "replace"))
    write_atomically(
        marker, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    )


def _show_comparison(comparison: Comparison) -> None:
    heads = ("score", "baseline", "tuned", "change", f"{100 * comparison.level:.0f}\u00a0% interval", "verdict")
    rows = []
    for row in comparison.headlines:
        interval = row.interval
        difference = f"{interval.difference:+.3f}" if interval else formatting.NOTHING
        ends = formatting.NOTHING
        if interval is not None and interval.low is not None and interval.high is not None:
            ends = f"{interval.low:+.3f} to {interval.high:+.3f}"
        values = (formatting.score(row.baseline.value), formatting.score(row.finetuned.value))
        verdict = row.verdict.partition(":")[0]
        rows.append((HEADLINES[row.name], *values, difference, ends, _SHORT.get(verdict, verdict)))
    print_fitted(heads, rows)
    reasons = dict.fromkeys(row.verdict for row in comparison.headlines if ":" in row.verdict)
    for verdict, _, reason in (text.partition(": ") for text in reasons):
        click.echo(f"{_SHORT.get(verdict, verdict)}: {reason}")
