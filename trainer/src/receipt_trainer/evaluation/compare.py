"""Two models on the same documents: what differs, and whether that is more than chance.

Intervals of the differences are from a paired bootstrap: documents are drawn in pairs with replacement. A verdict also
needs a paired permutation test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from receipt_trainer.errors import UserError
from receipt_trainer.evaluation.bootstrap import MIN_DOCUMENTS, NUM_RESAMPLES, Interval, paired_interval
from receipt_trainer.evaluation.documents import HEADLINES, Evaluation, ScoredDocument
from receipt_trainer.evaluation.ratio import Share

_SHOWN_IDS: Final = 3


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of both models. The interval is None where a model has no score."""

    name: str
    baseline: Share
    finetuned: Share
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """The difference in words: a word or two, and behind a colon why."""
        if self.interval is None:
            return "cannot be said: a model has no such score"
        if self.interval.num_documents < MIN_DOCUMENTS:
            return f"cannot be said: fewer than {MIN_DOCUMENTS} documents"
        if not self.interval.excludes_zero:
            return "no difference shown: the interval holds 0"
        if not self.interval.is_shown:
            return f"no difference shown: chance alone gives as much (p = {self.interval.p_value:.2g})"
        return "better: the interval excludes 0" if self.interval.difference > 0 else "worse: the interval excludes 0"


@dataclass(frozen=True, slots=True)
class Comparison:
    """All scores of two models on the same documents, and the documents that changed most, in pairs."""

    num_documents: int
    seed: int
    num_resamples: int
    level: float
    headlines: Sequence[Difference]
    fields: Sequence[Difference]
    regressions: Sequence[tuple[ScoredDocument, ScoredDocument]]
    improvements: Sequence[tuple[ScoredDocument, ScoredDocument]]

    def as_dict(self) -> dict[str, Any]:
        """The values for JSON."""
        settings = {name: getattr(self, name) for name in ("num_documents", "seed", "num_resamples", "level")}
        changed = {"regressions": self.regressions, "improvements": self.improvements}
        return settings | {
            "scores": {row.name: _row(row) for row in self.headlines},
            "fields": {row.name: _row(row) for row in self.fields},
            **{
                name: [{"id": a.prediction.id, "baseline": a.accuracy, "finetuned": b.accuracy} for a, b in pairs]
                for name, pairs in changed.items()
            },
        }


def _row(row: Difference) -> dict[str, Any]:
    interval = asdict(row.interval) | {"excludes_zero": row.interval.excludes_zero} if row.interval else None
    return {
        "baseline": row.baseline.as_dict(),
        "finetuned": row.finetuned.as_dict(),
        "interval": interval,
        "verdict": row.verdict,
    }


def compare(
    baseline: Evaluation,
    finetuned: Evaluation,
    *,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = NUM_RESAMPLES,
    num_changed: int = 6,
) -> Comparison:
    """Compare two evaluations, document by document.

    Raises:
        UserError: they are not of the same documents with the same truth.
    """
    pairs = _pairs(baseline, finetuned)
    sums = (baseline.scores, finetuned.scores)

    def difference(name: str) -> Difference:
        shares = [[document.scores.get(name, Share()) for document in side] for side in zip(*pairs, strict=True)]
        interval = paired_interval(shares[0], shares[1], seed=seed, level=level, num_resamples=num_resamples)
        return Difference(name, sums[0].get(name, Share()), sums[1].get(name, Share()), interval)

    by_change = sorted(pairs, key=lambda pair: pair[1].accuracy - pair[0].accuracy)
    return Comparison(
        num_documents=len(pairs),
        seed=seed,
        num_resamples=num_resamples,
        level=level,
        headlines=[difference(name) for name in HEADLINES],
        fields=[difference(name) for name in sums[0] | sums[1] if name.startswith(("field_region.", "field."))],
        regressions=[pair for pair in by_change if pair[1].accuracy < pair[0].accuracy][:num_changed],
        improvements=[pair for pair in reversed(by_change) if pair[1].accuracy > pair[0].accuracy][:num_changed],
    )


def _pairs(baseline: Evaluation, finetuned: Evaluation) -> list[tuple[ScoredDocument, ScoredDocument]]:
    there = {document.prediction.id: document for document in finetuned.documents}
    ids = {document.prediction.id for document in baseline.documents}
    lonely = sorted(ids ^ there.keys())
    if lonely:
        more = f" and {len(lonely) - _SHOWN_IDS} more" if len(lonely) > _SHOWN_IDS else ""
        raise UserError(
            f"the two sets of predictions are of different documents: {', '.join(lonely[:_SHOWN_IDS])}{more} stand in "
            "one only; evaluate both models on the same test set"
        )
    pairs = [(document, there[document.prediction.id]) for document in baseline.documents]
    for before, after in pairs:
        if before.gold != after.gold:
            raise UserError(f"the two sets of predictions have different truths for {before.prediction.id!r}")
    return pairs
