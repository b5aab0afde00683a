"""Evaluations and comparisons as HTML files that need nothing else: no script, no request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.data.document import FIELDS
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.compare import Comparison, Difference
from receipt_trainer.models.paddleocr_vl.document_view import image_uri, view_document, view_fields
from receipt_trainer.models.paddleocr_vl.evaluate import HEADLINES, Evaluation, Judged
from receipt_trainer.models.paddleocr_vl.scores.ratio import Share

if TYPE_CHECKING:
    from jinja2 import Environment

NUM_WORST: Final = 8


def render_evaluation(evaluation: Evaluation, about: Mapping[str, str], folder: Path) -> str:
    """The page of one evaluation, with its worst documents.

    Args:
        about: what was evaluated, by name.
        folder: what relative paths of images start from.
    """
    view = {"about": about} | evaluation_view(evaluation, folder)
    return page_environment().get_template("evaluation.html.j2").render(view)


def evaluation_view(evaluation: Evaluation, folder: Path) -> dict[str, Any]:
    """What is shown of an evaluation; `folder` is what relative paths of images start from."""
    scores = evaluation.scores
    worst = evaluation.worst(len(evaluation.documents))
    return {
        "num_documents": len(evaluation.documents),
        "num_imperfect": len(worst),
        "num_bounded": sum(not document.teds_is_exact for document in evaluation.documents),
        "scores": scores,
        "headlines": [(label, scores.get(name, Share())) for name, label in HEADLINES.items()],
        "gold_totals": scores.get("gold_arithmetic.totals", Share()),
        "regions": field_table(scores),
        "worst": [view_document(document, folder) for document in worst[:NUM_WORST]],
    }


def render_comparison(comparison: Comparison, about: Mapping[str, str], folders: tuple[Path, Path]) -> str:
    """The page of a comparison, with the documents that changed most."""
    view = {
        "about": about,
        "comparison": comparison,
        "regions": _regions(comparison),
        "labels": HEADLINES,
        "changed": [
            ("What became worse", [_changed(pair, folders) for pair in comparison.regressions]),
            ("What became better", [_changed(pair, folders) for pair in comparison.improvements]),
        ],
    }
    return page_environment().get_template("comparison.html.j2").render(view)


def _regions(comparison: Comparison) -> list[tuple[str, Difference, list[tuple[str, Difference]]]]:
    """(region, its difference, its fields with theirs) in the order of `field_table`."""
    rows = {row.name: row for row in comparison.fields}
    table = field_table({name: row.baseline + row.finetuned for name, row in rows.items()})
    return [
        (region, rows[f"field_region.{region}"], [(name, rows[f"field.{name}"]) for name, *_ in fields])
        for region, _, _, fields in table
    ]


def _changed(pair: tuple[Judged, Judged], folders: tuple[Path, Path]) -> dict[str, Any]:
    before, after = pair
    fields = view_fields(before.gold, [before.found, after.found])
    return {
        "title": before.prediction.id,
        "before": before,
        "after": after,
        "image": image_uri(folders[1] / after.prediction.image),
        "fields": [field for field in fields if field.found[0][1] != field.found[1][1]],
    }


def field_table(scores: Mapping[str, Share]) -> list[tuple[str, Share, Share, list[tuple[str, Share, Share]]]]:
    """(region, all, present, its fields in the same form) in the order of the schema; regions never tried left out."""
    table = []
    for region, names in FIELDS.items():
        prefixes = tuple(f"field.{name}" for name in names)
        fields = [
            (name.removeprefix("field."), share, scores.get(name.replace("field.", "present.", 1), Share()))
            for name, share in scores.items()
            if name in prefixes or name.startswith(tuple(f"{prefix}." for prefix in prefixes))
        ]
        whole = scores.get(f"field_region.{region}", Share())
        if whole.total:
            table.append((region, whole, scores.get(f"present_region.{region}", Share()), fields))
    return table


def require_page_libraries() -> None:
    """Say so before hours of work if pages cannot be written.

    Raises:
        UserError: jinja2 is not installed.
    """
    page_environment()


@cache
def page_environment() -> Environment:
    """Templates of both rooms, which escape whatever they are given.

    Raises:
        UserError: jinja2 is not installed.
    """
    try:
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise UserError(f"the report needs {error.name}: pip install 'receipt-trainer[report]'") from None
    from receipt_trainer.reports import formatting

    def printable(value: object) -> object:
        return formatting.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("receipt_trainer.models.paddleocr_vl"), PackageLoader("receipt_trainer.reports")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names: Sequence[str] = ("score", "percent", "number", "one_line", "duration", "when")
    environment.filters.update({name: getattr(formatting, name) for name in names})
    return environment
