"""The tables of a sweep: a row a trial, and the F1 of each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.cli import job_show

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from receipt_trainer.sweep.definition import Definition
    from receipt_trainer.sweep.results import Result

_STYLES: Final = {
    "WAITING": "cyan",
    "PLANNED": "cyan",
    "RUNNING": "yellow",
    "PRUNING": "yellow",
    "COMPLETE": "green",
    "FAILED": "red",
    "PRUNED": "dim",
    "CANCELLED": "dim",
}


def effective(definition: Definition, params: dict[str, Any]) -> list[Any]:
    """Values as trained with: the learning rate after scaling."""
    from receipt_trainer.sweep import plan

    if definition.scale_lr == "none":
        return [*params.values()]
    config = plan.overrides(definition, params)
    return [config[axis.section][axis.key] for axis in definition.axes]


def value_text(value: Any) -> str:
    """A hyperparameter's value."""
    from receipt_trainer.report import wording

    if value is None:
        return "unset"
    return f"{value:.4g}" if isinstance(value, float) else wording.one_line(str(value), 30)


def texts(cells: Sequence[str]) -> list[Text]:
    """Cells without markup."""
    from rich.text import Text

    return [Text(cell) for cell in cells]


def trials_table(definition: Definition, results: Sequence[Result]) -> Table:
    """A row a trial, in the order given."""
    from rich.text import Text

    from receipt_trainer.report import wording

    keys = [axis.key for axis in definition.axes]
    right = ("trial", *keys, "F1", "± sd", "seeds", "time", "cost")
    shown = job_show.table("trial", *keys, "state", "F1", "± sd", "seeds", "time", "cost", right=right)
    for result in results:
        trial = result.trial
        f1 = f"({wording.score(result.last_f1)})" if result.last_f1 is not None else wording.score(result.f1)
        values = effective(definition, {key: trial.params[key] for key in keys})
        cells = texts([str(trial.number), *(value_text(value) for value in values)])
        cells.append(Text(result.state, style=_STYLES.get(result.state, "")))
        ended = f"{len(trial.f1s)}/{len(trial.runs)}"
        sd = "–" if result.f1_sd is None else f"{result.f1_sd:.4f}"
        shown.add_row(*cells, *texts([f1, sd, ended, wording.duration(result.seconds), _dollars(result)]))
    return shown


def _dollars(result: Result) -> str:
    from receipt_trainer.report import wording

    if result.usd is None:
        return "unknown" if result.num_unknown else "–"
    return f"{'at least ' if result.num_unknown else ''}{wording.dollars(result.usd)}"


def labels_table(results: Sequence[Result]) -> Table | None:
    """F1 of each label, for the trials where it is known; None where it is for none."""
    from receipt_trainer.report import wording

    labels = list(dict.fromkeys(label for result in results for label in result.per_label))
    if not labels:
        return None
    shown = job_show.table("F1 of", *(wording.one_line(label, 20) for label in labels), right=labels)
    for result in results:
        if result.per_label:
            scores = [wording.score(result.per_label.get(label)) for label in labels]
            shown.add_row(*texts([f"trial {result.trial.number}", *scores]))
    return shown


def totals(definition: Definition, results: Sequence[Result]) -> str:
    """States, time and dollars of all trials in a line."""
    from collections import Counter

    from receipt_trainer.report import wording
    from receipt_trainer.sweep.plan import num_planned

    counts = Counter(result.state.lower() for result in results)
    states = ", ".join(f"{many} {state}" for state, many in counts.items()) or "none yet"
    known = [result.usd for result in results if result.usd is not None]
    unknown = sum(result.num_unknown for result in results)
    dollars = wording.dollars(sum(known)) if known else "price unknown"
    more = f" and {unknown} attempts without a price" if known and unknown else ""
    time = wording.duration(sum(result.seconds for result in results))
    return (
        f"sweep '{definition.name}', {num_planned(definition)} trials ({definition.method}): {states}; "
        f"{time} of instance time, {dollars}{more}"
    )
