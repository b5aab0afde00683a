"""The tables of a sweep: a row a trial, and the scores of its parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.cli.render import tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from receipt_trainer.sweep.definition import Definition
    from receipt_trainer.sweep.objective import Objective
    from receipt_trainer.sweep.results import Result

_STYLES: Final = {
    "WAITING": "cyan",
    "PLANNED": "cyan",
    "RUNNING": "yellow",
    "PRUNING": "yellow",
    "COMPLETE": "green",
    "HELD": "magenta",
    "FAILED": "red",
    "PRUNED": "dim",
    "CANCELLED": "dim",
}

_WIDE: Final = 30
_NARROW: Final = 12
"""Characters of a value at most, on a wide screen and on a narrow one."""
_ENDLESS: Final = 100_000
_DROPPED_FIRST: Final = ("seeds", "± sd", "time", "cost")


def effective(definition: Definition, params: dict[str, Any]) -> list[Any]:
    """Values as trained with: the learning rate after scaling."""
    from receipt_trainer.sweep import keys, plan

    if definition.scale_lr == "none":
        return [*params.values()]
    config = plan.overrides(definition, params)
    return [keys.get(config[axis.section], axis.key) for axis in definition.axes]


def value_text(value: Any, limit: int = _WIDE) -> str:
    """A hyperparameter's value in so many characters at most, as a job file has it."""
    from receipt_trainer.reports import formatting

    if value is None:
        return "unset"
    if isinstance(value, list | tuple):
        return formatting.one_line(",".join(str(one) for one in value) or "none", limit)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else formatting.one_line(str(value), limit)


def score_text(objective: Objective, value: float | None) -> str:
    """A score with three digits; a loss, which may be small, with four that count."""
    from receipt_trainer.reports import formatting

    if value is None or not objective.is_lower_better:
        return formatting.score(value)
    return f"{value:#.4g}"


def texts(cells: Sequence[str]) -> list[Text]:
    """Cells without markup."""
    from rich.text import Text

    return [Text(cell) for cell in cells]


def trials_table(
    definition: Definition, results: Sequence[Result], *, is_stacked: bool = False, hidden: Collection[str] = ()
) -> Table:
    """A row a trial, in the order given.

    Args:
        is_stacked: write the words of a hyperparameter's name below each other, and cut its values short.
        hidden: columns to leave out.
    """
    columns = _columns(definition, results, _NARROW if is_stacked else _WIDE)
    kept = {name: cells for name, cells in columns.items() if name not in hidden}
    heads = [name.replace("_", "\n").replace(".", "\n") if is_stacked else name for name in kept]
    shown = tables.table(*heads, right=[head for head in heads if head != "state"])
    for cells in zip(*kept.values(), strict=True):
        shown.add_row(*cells)
    return shown


def _columns(definition: Definition, results: Sequence[Result], limit: int) -> dict[str, list[Text]]:
    """The cells of each column, by its head."""
    from rich.text import Text

    from receipt_trainer.reports import formatting
    from receipt_trainer.sweep.keys import title

    goal, keys = definition.goal, [axis.key for axis in definition.axes]
    rows = [effective(definition, {key: result.trial.params[key] for key in keys}) for result in results]
    found = {"trial": texts([str(result.trial.number) for result in results])}
    for place, key in enumerate(keys):
        found[title(key)] = texts([value_text(row[place], limit) for row in rows])
    found["state"] = [Text(result.state, style=_STYLES.get(result.state, "")) for result in results]
    found[goal.title] = texts([_score(goal, result) for result in results])
    found["± sd"] = texts(["–" if result.score_sd is None else f"{result.score_sd:.4f}" for result in results])
    found["seeds"] = texts([f"{len(result.trial.scores)}/{len(result.trial.runs)}" for result in results])
    found["time"] = texts([formatting.duration(result.seconds or None) for result in results])
    return found | {"cost": texts([_dollars(result) for result in results])}


def _score(objective: Objective, result: Result) -> str:
    last = result.last_score
    return score_text(objective, result.score) if last is None else f"({score_text(objective, last)})"


def fit(definition: Definition, results: Sequence[Result], console: Console) -> tuple[Table, list[str]]:
    """The table as wide as the console at most, and the columns that there is no room for."""
    from receipt_trainer.sweep.keys import title

    def fits(table: Table) -> bool:
        return console.measure(table, options=console.options.update(max_width=_ENDLESS)).maximum <= console.width

    whole = trials_table(definition, results)
    if fits(whole):
        return whole, []
    droppable = [*_DROPPED_FIRST, *(title(axis.key) for axis in reversed(definition.axes))]
    for many in range(len(droppable) + 1):
        shown = trials_table(definition, results, is_stacked=True, hidden=droppable[:many])
        if fits(shown):
            break
    return shown, droppable[:many]


def _dollars(result: Result) -> str:
    from receipt_trainer.reports import formatting

    if result.usd is None:
        return "unknown" if result.num_unknown else "–"
    return f"{'≥ ' if result.num_unknown else ''}{formatting.dollars(result.usd)}"


def parts_table(what: str, found: Mapping[int, Mapping[str, float]]) -> Table | None:
    """Scores of labels or regions by the trial's number; None where they are known of no trial."""
    from receipt_trainer.reports import formatting

    parts = list(dict.fromkeys(part for scores in found.values() for part in scores))
    if not parts:
        return None
    heads = [formatting.one_line(part, 20) for part in parts]
    shown = tables.table(what, *heads, right=heads)
    for number, scores in found.items():
        if scores:
            shown.add_row(*texts([f"trial {number}", *(formatting.score(scores.get(part)) for part in parts)]))
    return shown


def totals(definition: Definition, results: Sequence[Result]) -> str:
    """States, time and dollars of all trials in a line."""
    from collections import Counter

    from receipt_trainer.reports import formatting
    from receipt_trainer.sweep.plan import num_planned

    counts = Counter(result.state.lower() for result in results)
    states = ", ".join(f"{many} {state}" for state, many in counts.items()) or "none yet"
    known = [result.usd for result in results if result.usd is not None]
    unknown = sum(result.num_unknown for result in results)
    dollars = formatting.dollars(sum(known)) if known else "price unknown"
    more = f" and {unknown} attempts without a price" if known and unknown else ""
    time = formatting.duration(sum(result.seconds for result in results))
    return (
        f"sweep '{definition.name}', {num_planned(definition)} trials ({definition.method}): {states}; "
        f"{time} of instance time, {dollars}{more}"
    )
