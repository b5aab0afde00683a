"""Scores of a run's kept model: it answers validation documents when training is over."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from receipt_trainer.config.paddleocr_vl import EvaluationSection
from receipt_trainer.contract.names import PREDICTIONS_FILE
from receipt_trainer.contract.run_record import AnswerScores, PaddleOcrVlRecord
from receipt_trainer.contract.sinks import MetricsSink, report_progress
from receipt_trainer.data.document import DOCUMENT_SCHEMA
from receipt_trainer.data.document_set import VlExample
from receipt_trainer.errors import WorldError
from receipt_trainer.evaluation.answers import Prediction, write_predictions
from receipt_trainer.evaluation.documents import Evaluation, evaluate, read_strictly
from receipt_trainer.evaluation.ratio import Share
from receipt_trainer.models.paddleocr_vl.dataset import Side
from receipt_trainer.models.paddleocr_vl.generate import Unfinished, predict
from receipt_trainer.models.paddleocr_vl.model import Loaded
from receipt_trainer.training.console import progress_bar

METRICS: Final[Mapping[str, str]] = {
    "field_accuracy": "fields",
    "teds": "teds",
    "numeric_accuracy": "numeric",
    "parse_share": "parse",
}
"""Names in the record and in the jobs table, with those of an evaluation's scores."""

_MARGIN: Final = 1.5
"""Of the longest true answer, how long one may become: what is longer is wrong in any case."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scoring:
    """The documents to score and the model.

    Attributes:
        asked: all that the model depends on, JSON values; answers of another one are not taken for its own.
    """

    run_dir: Path
    section: EvaluationSection
    validation: Side
    asked: Mapping[str, Any]

    @property
    def max_new_tokens(self) -> int:
        """Longest answer, in tokens."""
        return self.section.max_new_tokens or int(self.validation.answers.max() * _MARGIN) + 1

    def documents(self) -> list[VlExample]:
        """Those that are scored, in the order of their file: of too many the ones with the smallest hashes of ids."""
        known = [example for example in self.validation.examples if is_document(example.output)]
        limit = self.section.documents or len(known)
        order = sorted(known, key=lambda example: hashlib.sha256(example.id.encode()).digest())
        chosen = {example.id for example in order[:limit]}
        return [example for example in known if example.id in chosen]

    def unfinished(self) -> Unfinished:
        """Where answers are kept while others are still to come."""
        asked = {**self.asked, "max_new_tokens": self.max_new_tokens}
        return Unfinished(self.run_dir / PREDICTIONS_FILE, asked)


def is_document(output: str) -> bool:
    """Whether a true answer is in the canonical form, of which all scores are."""
    return bool(DOCUMENT_SCHEMA["properties"].keys() & (read_strictly(output) or {}).keys())


def score_model(loaded: Loaded, scoring: Scoring, progress: Progress | None = None) -> AnswerScores | None:
    """Let the model answer, write its predictions, and return its scores for the record; None without a document.

    Answers that an interrupted attempt left are not asked for again.

    Raises:
        WorldError: a document does not fit into the GPU's memory.
    """
    examples = scoring.documents()
    if not examples:
        return None
    unfinished = scoring.unfinished()
    known = unfinished.answered(examples)
    rest = [example for example in examples if example.id not in known]
    found: dict[str, Prediction] = {}
    for prediction in unfinished.keep(known.values(), _answers(loaded, rest, scoring)):
        found[prediction.id] = prediction
        if progress is not None:
            progress(len(found), len(examples))
    predictions = [found[example.id] for example in examples]
    write_predictions(scoring.run_dir / PREDICTIONS_FILE, predictions)
    found_scores = evaluate(predictions, lambda done, total: report_progress(f"{done} of {total} answers scored"))
    more = {"of": len(scoring.validation.examples), "max_new_tokens": scoring.max_new_tokens}
    return summary(found_scores).model_copy(update=more)


def score_run(loaded: Loaded, scoring: Scoring, record: PaddleOcrVlRecord, sink: MetricsSink, console: Console) -> None:
    """`score_model`, with the scores put into the record and passed on.

    Raises:
        WorldError: as there.
    """
    sink.log("info", f"the kept model answers {len(scoring.documents())} validation documents, to be scored")
    with progress_bar(console, "answering") as progress:
        record.vl.scores = score_model(loaded, scoring, progress)
    record.timings["scoring_s"] = record.vl.scores.seconds if record.vl.scores else 0.0
    row = metric_row(record)
    for name in METRICS:
        if name in row:
            sink.metric(name, row[name], step=row["step"], epoch=row["epoch"])


def _answers(loaded: Loaded, examples: Sequence[VlExample], scoring: Scoring) -> Iterator[Prediction]:
    """Answers in order, by smaller batches where the memory is short."""
    size, done = scoring.section.batch_size, 0
    while done < len(examples):
        try:
            rest = examples[done:]
            for prediction in predict(loaded, rest, max_new_tokens=scoring.max_new_tokens, batch_size=size):
                done += 1
                yield prediction
        except WorldError:
            if size == 1:
                raise
            size //= 2


def summary(evaluation: Evaluation) -> AnswerScores:
    """The scores as the run record holds them: shares from 0 to 1, None where there was nothing to hit."""
    scores = evaluation.scores
    prefix = "field_region."
    return AnswerScores(
        **{name: scores.get(key, Share()).value for name, key in METRICS.items()},
        present_accuracy=scores.get("presents", Share()).value,
        regions={key.removeprefix(prefix): share.value for key, share in scores.items() if key.startswith(prefix)},
        documents=len(evaluation.documents),
        seconds=round(sum(document.prediction.seconds for document in evaluation.documents), 3),
    )


def metric_row(record: PaddleOcrVlRecord) -> dict[str, Any]:
    """The scores as a row of a training history, at the step of the model that is kept; {} where there are none."""
    scores, best = record.vl.scores or AnswerScores(), record.vl.best
    known = {name: value for name in METRICS if (value := getattr(scores, name)) is not None}
    return {"step": best.step, "epoch": best.epoch, **known} if known and best else {}


def forget_answers(run_dir: Path) -> None:
    """Remove what only an interrupted scoring needs."""
    Unfinished(run_dir / PREDICTIONS_FILE, {}).remove()
