"""How fast a run was, kept in its job's row, and what a job will take: unknown where it was not measured."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from statistics import median
from typing import Any, Final

from receipt_trainer.aws import dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.config.job_file import family_of
from receipt_trainer.contract.run_record import AnyRecord, LayoutLMRecord
from receipt_trainer.contract.tables import job_status_pk

MIN_SHARE: Final = 0.1
"""Of a run's steps that an attempt must have trained itself; less says little of its machine."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run, as its last attempt saw it; `instance_type` is None on no instance.

    `tokens` are of one pass over the training examples, `epochs` the passes, `steps` the optimizer's. `tokens_per_s`
    has
    evaluations and checkpoints in it; `overhead_s` is what the attempt spent before and after training.
    """

    tokens: int
    epochs: float
    steps: int
    tokens_per_s: float
    overhead_s: float
    instance_type: str | None = None

    def to_text(self) -> str:
        """As the job's row has it."""
        return json.dumps(asdict(self))


def read(text: object) -> Measured | None:
    """The measurements in a job's row; None where they cannot be read."""
    try:
        values = json.loads(str(text))
        found = Measured(**{name: values[name] for name in Measured.__slots__})
        numbers = (found.tokens, found.epochs, found.steps, found.tokens_per_s)
        is_sound = all(math.isfinite(number) and number > 0 for number in numbers) and found.overhead_s >= 0
    except (ValueError, TypeError, KeyError):
        return None
    return found if is_sound else None


def measure(record: AnyRecord, start_step: int, seconds: float, instance_type: str | None) -> Measured | None:
    """Of a complete run's last attempt, `seconds` in all; None if it trained too little, or a number is missing."""
    tokens = (record.dataset_counts.get("train") or {}).get("tokens")
    steps, trained_s = record.timings.get("steps"), record.timings.get("train_this_attempt_s")
    rows = record.epoch_metrics if isinstance(record, LayoutLMRecord) else record.vl.evaluations
    epochs = rows[-1].epoch if rows else None  # the last evaluation is the end of training
    if not (tokens and steps and trained_s and epochs) or trained_s > seconds:
        return None
    share = (steps - start_step) / steps
    if share < MIN_SHARE:
        return None
    rate = tokens * epochs * share / trained_s
    return Measured(int(tokens), epochs, int(steps), round(rate, 1), round(seconds - trained_s, 1), instance_type)


HISTORY: Final = 50
"""The newest so many SUCCEEDED jobs are looked at: one page of an index, however many jobs there are."""
_IMAGES: Final = ("max_image_pixels", "max_sequence_length")
_BATCHES: Final = (
    *("batch_size", "batch_tokens", "per_device_train_batch_size", "gradient_accumulation_steps"),
    "difficulty_schedule",
)
_SAME_DATA: Final = frozenset({"augment", "augmentation", "annotated_labels"})
"""Keys of `data_config` that change no number of tokens."""


@dataclass(frozen=True, slots=True)
class Run:
    """An earlier run: what it was asked, and how it went."""

    spec: Mapping[str, Any]
    measured: Measured


@dataclass(frozen=True, slots=True)
class Estimate:
    """Instance time of a job, boots not in it; None: unknown, and `why` says why. `is_at_most`: it may stop early.

    `tokens_per_s` is the median of `num_runs` earlier runs, on `instance_type`; None: on no instance.
    """

    seconds: float | None
    why: str | None = None
    tokens_per_s: float | None = None
    instance_type: str | None = None
    num_runs: int = 0
    is_at_most: bool = False


def read_history(table: Table) -> list[Run]:
    """The newest runs that were measured, the newest first; one request."""
    rows = dynamo.query(
        *table,
        "read earlier runs",
        IndexName="GSI1",
        KeyConditionExpression="GSI1PK = :pk",
        ExpressionAttributeValues={":pk": job_status_pk("SUCCEEDED")},
        ExpressionAttributeNames={"#spec": "spec", "#measured": "measured"},
        ProjectionExpression="#spec, #measured",
        ScanIndexForward=False,
        Limit=HISTORY,
    )
    found = []
    for row in islice(rows, HISTORY):
        known = read(row.get("measured"))
        try:
            spec = json.loads(row.get("spec") or "null")
        except ValueError:
            continue
        if known is not None and isinstance(spec, dict):
            found.append(Run(spec, known))
    return found


def estimate(spec: Mapping[str, Any], history: Sequence[Run], types: Collection[str] | None) -> Estimate:
    """The estimate of a job by its resolved spec and earlier runs, the newest first.

    Args:
        types: instance types that the job may get; None: any machine counts.
    """
    same = [run for run in history if _recipe(run.spec) == _recipe(spec)]
    same = [run for run in same if types is None or run.measured.instance_type in types]
    if not same:
        return Estimate(None, "no earlier run of this recipe was measured on these machines")
    kind = same[0].measured.instance_type
    own = [run.measured for run in same if run.measured.instance_type == kind]
    rate = median(one.tokens_per_s for one in own)
    known = Estimate(None, None, rate, kind, len(own))
    like = [run for run in history if _data(run.spec) == _data(spec)]
    if not like:
        return replace(known, why="no earlier run says how many tokens this data has")
    epochs = _epochs(spec, like)
    if epochs is None:
        return replace(known, why="no earlier run says how many steps an epoch has")
    seconds = like[0].measured.tokens * epochs / rate + median(one.overhead_s for one in own)
    return replace(known, seconds=seconds, is_at_most=bool(_training(spec).get("early_stopping_patience")))


def _training(spec: Mapping[str, Any], section: str = "training_config") -> Mapping[str, Any]:
    found = spec.get(section)
    return found if isinstance(found, Mapping) else {}


def _recipe(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """Key of all that decides how fast a machine trains: family, model, kind of examples, size of images."""
    model, data = str(spec.get("model")), _training(spec, "data_config")
    kinds = (data.get("examples"), data.get("o_entity_ratio"))
    return family_of(spec), model, kinds, tuple(_training(spec).get(name) for name in _IMAGES)


def _data(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Key of all that decides how many tokens an epoch has."""
    data = {name: value for name, value in _training(spec, "data_config").items() if name not in _SAME_DATA}
    images = [_training(spec).get(name) for name in _IMAGES]
    return str(spec.get("model")), json.dumps([data, images], sort_keys=True, default=str)


def _epochs(spec: Mapping[str, Any], like: Sequence[Run]) -> float | None:
    """Passes over the examples; where steps are given, by the steps an epoch of the same batches had."""
    training = _training(spec)
    if not training.get("max_steps"):
        given = training.get("num_epochs", training.get("num_train_epochs"))
        return float(given) if isinstance(given, int | float) else None
    batches = [training.get(name) for name in _BATCHES]
    for run in like:
        if [_training(run.spec).get(name) for name in _BATCHES] == batches:
            return float(training["max_steps"]) * run.measured.epochs / run.measured.steps
    return None
