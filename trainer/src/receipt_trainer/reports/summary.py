"""The content of a record, ready to be shown: the same rows for HTML and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.run_record import (
    AnswerScores,
    FinalLoss,
    LayoutLMRecord,
    PackageOutcome,
    PaddleOcrVlRecord,
    RunRecord,
    Score,
)
from receipt_trainer.reports import formatting

MAX_COUNT_ROWS = 60


class Headline(NamedTuple):
    """The first lines of a report. `score` is of the kept model, or of the best evaluation so far."""

    score: Score | None
    best_epoch: float | None
    num_epochs: float
    duration_s: float | None
    cost_usd: float | None


class Setting(NamedTuple):
    """One hyperparameter with its meaning; `is_default` is None where the field is not known."""

    name: str
    value: str
    meaning: str = ""
    is_default: bool | None = None


class CountTable(NamedTuple):
    """Counts in columns; a missing cell is empty."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[str]]]


class ProblemRow(NamedTuple):
    """One kind of problem in the data set, what became of what had it, and examples."""

    kind: str
    number: str
    fate: str
    examples: list[str]


def headline(record: LayoutLMRecord) -> Headline:
    """Score, epochs, time and cost of a run, as far as it got."""
    epochs = record.epoch_metrics
    best = max(epochs, key=lambda row: row.f1, default=None)
    if record.best is not None:
        best = next((row for row in epochs if row.step == record.best.step), best)
    score = record.overall
    if score is None and best is not None:
        score = Score(precision=best.precision, recall=best.recall, f1=best.f1, support=0)
    return Headline(
        score=score,
        best_epoch=record.best.epoch if record.best else (best.epoch if best else None),
        num_epochs=epochs[-1].epoch if epochs else 0,
        duration_s=duration_s(record) or (epochs[-1].elapsed_s if epochs else record.timings.get("train_s")),
        cost_usd=next((record.cost[key] for key in ("total_usd", "cost_usd", "usd") if key in record.cost), None),
    )


def duration_s(record: RunRecord) -> float | None:
    """Wall-clock time in seconds; None where the run has not ended."""
    for key in ("total_s", "wall_s"):
        if key in record.timings:
            return record.timings[key]
    if record.started_at and record.finished_at:
        try:
            ends = [datetime.fromisoformat(text) for text in (record.started_at, record.finished_at)]
            return (ends[1] - ends[0]).total_seconds()
        except (ValueError, TypeError):  # not ISO 8601, or only one of them with a time zone
            pass
    return None


def label_order(record: LayoutLMRecord) -> list[str]:
    """Entity labels in the record's order, then any others that are scored."""
    known = [label for label in record.entity_labels if label != OUTSIDE]
    return known + [label for label in record.per_label if label not in known]


def label_scores(record: LayoutLMRecord) -> list[tuple[str, Score]]:
    """Scores of the labels, in the record's order."""
    return [(label, record.per_label[label]) for label in label_order(record) if label in record.per_label]


def layoutlm_settings(record: LayoutLMRecord) -> dict[str, list[Setting]]:
    """How it was trained, and on which data."""
    training, data = settings(record.training_config, TrainingConfig), settings(record.data_config, DataConfig)
    return {"Training": training, "Data": data}


def settings(values: Mapping[str, Any], model: type[BaseModel] | None = None) -> list[Setting]:
    """Rows of a configuration; with `model` each with its meaning, and whether it is the default."""
    rows = []
    for name, value in values.items():
        known = model.model_fields.get(name) if model else None
        default = known.get_default(call_default_factory=True) if known else None
        same = (list(default) if isinstance(default, tuple) else default) == value if known else None
        rows.append(Setting(str(name), formatting.value_text(value), known.description or "" if known else "", same))
    return rows


def measures(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Timings, costs, versions: name and value, with the unit that the key's suffix says."""
    return [formatting.measure(str(key), value) for key, value in values.items()]


def facts(record: RunRecord) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titled groups of measures that the record has: model package, time, cost, machine, software."""
    groups = (
        ("Timings", record.timings),
        ("Cost", record.cost),
        ("Hardware", record.hardware),
        ("Versions", record.versions),
    )
    found = [(title, measures(values)) for title, values in groups if values]
    package = package_rows(record.package) if isinstance(record, LayoutLMRecord) and record.package else []
    return [("Model package", package), *found] if package else found


def package_rows(outcome: PackageOutcome) -> list[tuple[str, str]]:
    """Where the run's package is, the precision that reading loads, and F1 of each; or why there is none."""
    rows = [
        ("Folder", outcome.folder),
        ("Precision", outcome.precision or "no package"),
        ("F1 in fp32", None if outcome.f1_fp32 is None else formatting.score(outcome.f1_fp32)),
        ("F1 in int8", None if outcome.f1_int8 is None else formatting.score(outcome.f1_int8)),
        ("Validation receipts", formatting.number(outcome.num_validation) if outcome.num_validation else None),
        ("Reason", outcome.reason and formatting.one_line(outcome.reason, 200)),
    ]
    return [(name, value) for name, value in rows if value is not None]


def problem_rows(counts: Mapping[str, Any]) -> list[ProblemRow]:
    """The problems of the data set (`ProblemLog.as_dict`), the commonest first."""
    given = counts.get("problems")
    found = []
    for kind, item in given.items() if isinstance(given, dict) else ():
        if isinstance(item, dict):
            number, examples = item.get("count"), item.get("examples")
            known = number if isinstance(number, int) and not isinstance(number, bool) else 0
            causes = item.get("causes")
            shown = [f"likely: {cause}" for cause in causes[:5]] if isinstance(causes, list) else []
            shown += examples[:5] if isinstance(examples, list) else []
            texts = [formatting.one_line(text, 140).removeprefix(f"{kind}: ") for text in shown]
            fate = "left out" if item.get("dropped", True) else "kept, noted"
            found.append((known, ProblemRow(formatting.words_of(kind), formatting.number(known), fate, texts)))
    return [row for _, row in sorted(found, key=lambda pair: -pair[0])]


def count_tables(counts: Mapping[str, Any]) -> list[CountTable]:
    """Everything in `dataset_counts` but the problems: mappings with common keys side by side, nested ones apart."""
    given = {key: value for key, value in counts.items() if key != "problems"}
    tables: list[CountTable] = []
    single = {key: value for key, value in given.items() if not isinstance(value, dict)}
    if single:
        tables.append(_count_table("", {"": single}))
    groups: list[dict[str, Mapping[str, Any]]] = []
    for key, value in given.items():
        if not isinstance(value, dict) or not value:
            continue
        group = next((group for group in groups if any(set(value) & set(column) for column in group.values())), None)
        if group is None:
            groups.append({str(key): value})
        else:
            group[str(key)] = value
    for group in groups:
        tables += _group_tables(group)
    return tables


def _group_tables(group: Mapping[str, Mapping[str, Any]]) -> list[CountTable]:
    """One table of the plain values, and one for each mapping among the values."""
    flat = {column: {k: v for k, v in values.items() if not isinstance(v, dict)} for column, values in group.items()}
    title = "" if len(group) > 1 else next(iter(group))
    tables = [_count_table(title, flat)] if any(flat.values()) else []
    nested = dict.fromkeys(k for values in group.values() for k, v in values.items() if isinstance(v, dict))
    for key in nested:
        columns = {column: values[key] for column, values in group.items() if isinstance(values.get(key), dict)}
        tables.append(_count_table(str(key) if len(group) > 1 else f"{title}: {formatting.words_of(key)}", columns))
    return tables


def _count_table(title: str, columns: Mapping[str, Mapping[str, Any]]) -> CountTable:
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = []
    for name in names[:MAX_COUNT_ROWS]:
        cells = [formatting.value_text(column[name]) if name in column else "" for column in columns.values()]
        rows.append((formatting.words_of(name), cells))
    if len(names) > MAX_COUNT_ROWS:
        rows.append((f"… and {len(names) - MAX_COUNT_ROWS} more in run.json", [""] * len(columns)))
    heads = [formatting.words_of(name) for name in columns] if len(columns) > 1 else [""]
    return CountTable(formatting.words_of(title), heads, rows)


def running_notes(record: RunRecord, notes: Sequence[str]) -> list[str]:
    """Plain sentences on what is not as usual with this run."""
    said = []
    if record.status == "running":
        said.append("The run has not ended: this is what it has recorded so far.")
    if record.status == "failed":
        said.append("The run failed: this is what it recorded before.")
    return said + list(notes)


def run_view(record: RunRecord, notes: Sequence[str]) -> dict[str, Any]:
    """The part of a run's page that all families share."""
    return {
        "record": record,
        "notes": running_notes(record, notes),
        "count_tables": count_tables(record.dataset_counts),
        "facts": facts(record),
    }


def describe_scores(record: PaddleOcrVlRecord) -> str:
    """The kept model's validation loss and, where they are known, the scores of its answers, on one line."""
    parts = {"eval_loss": "validation loss", "eval_accuracy": "tokens right", "field_accuracy": "field accuracy"}
    parts |= {"teds": "TEDS", "numeric_accuracy": "numeric accuracy", "parse_share": "JSON"}
    known = (record.vl.final or FinalLoss()).model_dump() | (record.vl.scores or AnswerScores()).model_dump()
    said = [f"{word} {known[key]:.4f}" for key, word in parts.items() if known.get(key) is not None]
    if record.vl.rehearsal:
        said.append(
            f"base's own task {record.vl.rehearsal.before:.4f} -> {record.vl.rehearsal.after:.4f} edit distance"
        )
    return ", ".join(said)
