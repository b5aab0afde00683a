"""`vl compare`: two models on the same test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from receipt_trainer.cli.vl_answers import Asking, ask, asking_options, score_file
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.evaluation.compare import Comparison

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
def command(
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
    from receipt_trainer.evaluation.compare import compare
    from receipt_trainer.reports.documents import render_comparison, require_page_libraries

    asking = Asking(**how)
    require_page_libraries()
    sides = {"baseline": (baseline_model, baseline_predictions), "finetuned": (finetuned_model, finetuned_predictions)}
    sources = _answers(sides, test_dir, limit, asking, output_dir)
    evaluations = [score_file(source, asking.progress) for source in sources.values()]
    comparison = compare(evaluations[0], evaluations[1], seed=seed, num_resamples=resamples)
    about = {side: str(model or predictions) for side, (model, predictions) in sides.items()}
    folders = (sources["baseline"].parent, sources["finetuned"].parent)
    page = render_comparison(comparison, about, folders)
    _write(output_dir, page, {"status": "complete", "about": about} | comparison.as_dict())
    _show(comparison)
    click.echo(f"report: {output_dir / 'comparison.html'}")


def _answers(
    sides: dict[str, tuple[str | None, Path | None]],
    test_dir: Path | None,
    limit: int | None,
    asking: Asking,
    output_dir: Path,
) -> dict[str, Path]:
    """The predictions of both sides, made where they are not given."""
    from receipt_trainer.data.document_set import read_test_set

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


def _write(output_dir: Path, page: str, record: dict[str, Any]) -> None:
    from receipt_trainer.files import write_atomically

    marker = output_dir / "comparison.json"
    marker.unlink(missing_ok=True)
    write_atomically(output_dir / "comparison.html", page.encode("utf-8", "replace"))
    write_atomically(
        marker, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    )


def _show(comparison: Comparison) -> None:
    from receipt_trainer.cli.fitted_table import print_fitted
    from receipt_trainer.evaluation.documents import HEADLINES
    from receipt_trainer.reports import formatting

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
