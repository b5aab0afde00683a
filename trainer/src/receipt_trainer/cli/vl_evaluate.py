"""`vl evaluate`: a model's scores on a test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli.vl_answers import Asking, ask, asking_options, score_file
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.evaluation.documents import Evaluation
    from receipt_trainer.evaluation.ratio import Share


@click.command(name="evaluate", short_help="Score a model on a test set.")
@click.option("--model-path", help="Model: a folder (whole model, adapter or run) or a name on the hub.")
@click.option("--adapter", type=click.Path(path_type=Path), help="Adapter to put on the model.")
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="File of the scores, R.json.")
@click.option(
    "--predictions",
    type=click.Path(path_type=Path),
    help="Score this file of predictions anew instead of asking a model.",
)
@asking_options
def command(
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
    from receipt_trainer.reports.documents import EvaluationFiles, require_page_libraries, write_evaluation

    asking = Asking(**how)
    files = EvaluationFiles(output)
    _require_file_name(output)
    require_page_libraries()
    if predictions is None:
        about = _ask(model_path, adapter, test_dir, limit, asking, files)
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
    _show(evaluation)
    click.echo(f"scores: {files.scores}\nreport: {files.page}")


def _require_file_name(output: Path) -> None:
    if output.suffix != ".json" or output.is_dir():
        raise UserError(f"--output {output}: name a file that ends in .json")


def _ask(
    model_path: str | None, adapter: Path | None, test_dir: Path | None, limit: int | None, asking: Asking, files: Any
) -> dict[str, str]:
    """Ask the model; returns what was asked, for the report."""
    from receipt_trainer.data.document_set import read_test_set

    if model_path is None or test_dir is None:
        raise UserError("give --model-path and --test-dir, or --predictions")
    examples = read_test_set(test_dir, limit)
    files.begin()
    ask(model_path, adapter, examples, asking, files.predictions)
    about = {"model": model_path, "test set": str(test_dir), "longest answer": f"{asking.max_new_tokens} tokens"}
    return about | ({"adapter": str(adapter)} if adapter else {}) | ({"limit": str(limit)} if limit else {})


def _show(evaluation: Evaluation) -> None:
    """The scores in the terminal, then those of each field."""
    from rich.console import Console

    from receipt_trainer.cli.score_tables import plain_table
    from receipt_trainer.evaluation.documents import HEADLINES
    from receipt_trainer.evaluation.ratio import Share
    from receipt_trainer.reports.documents import field_table

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
    from receipt_trainer.reports import formatting

    return formatting.score(share.value), f"{formatting.number(share.hits)} of {formatting.number(share.total)}"
