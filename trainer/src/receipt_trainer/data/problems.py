"""Problems of receipts as they come in: counted, named, and never silently kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ProblemKind(StrEnum):
    """Kinds of problems. `NOTED` names those that leave no word, label or receipt out."""

    BAD_RECORD = "bad_record"  # not a receipt or a word at all: broken JSON, missing or impossible keys
    NO_WORDS = "no_words"
    TOO_MANY_WORDS = "too_many_words"
    DUPLICATE_RECEIPT = "duplicate_receipt"
    JUDGED_WORD_CHANGED = "judged_word_changed"  # an import would put a label of people on another word
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    BAD_BOX = "bad_box"  # NaN, infinite, not four numbers, no area
    BOX_OUTSIDE_PAGE = "box_outside_page"
    BOXES_FRACTIONS = "boxes_fractions"  # 0..1 where pixels are meant
    LABEL_WITHOUT_WORD = "label_without_word"
    BAD_LABEL = "bad_label"  # not a name: empty, too long, not a text
    BAD_STATUS = "bad_status"
    DUPLICATE_LABEL = "duplicate_label"  # one label twice on a word: the first is kept
    CONFLICTING_LABELS = "conflicting_labels"  # two VALID labels: the first by name is kept
    BAD_FIELD = "bad_field"  # a line number, confidence, invalid source or split: taken as not given
    BOX_CLIPPED = "box_clipped"  # a rounding error over the edge
    PAGE_SIZE_GUESSED = "page_size_guessed"  # nobody says it: boxes are then parts of what the words cover
    PAGE_SIZE_SWAPPED = "page_size_swapped"  # words that would lie on the page with width and height swapped
    LABEL_PREFIX_STRIPPED = "label_prefix_stripped"  # B-, I-, E-, S- and the like: the label is what follows
    RIGHT_TO_LEFT_TEXT = "right_to_left_text"
    EMOJI_TEXT = "emoji_text"


NOTED = frozenset(
    {
        ProblemKind.CONFLICTING_LABELS,
        ProblemKind.BAD_FIELD,
        ProblemKind.BOX_CLIPPED,
        ProblemKind.PAGE_SIZE_GUESSED,
        ProblemKind.PAGE_SIZE_SWAPPED,
        ProblemKind.LABEL_PREFIX_STRIPPED,
        ProblemKind.RIGHT_TO_LEFT_TEXT,
        ProblemKind.EMOJI_TEXT,
    }
)
"""Kinds that are reported while the word is kept; all others leave something out."""


_SAID = 3
"""Kinds of problems in a message."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: what kind, in which receipt, where in it, and the value that shows it."""

    kind: ProblemKind
    receipt: str
    where: str = ""
    detail: str = ""

    def __str__(self) -> str:
        place = f"{self.receipt} {self.where}".strip()
        return f"{self.kind}: {place}" + (f" ({self.detail})" if self.detail else "")


@dataclass(slots=True)
class ProblemLog:
    """Counts every problem and keeps the first `max_examples` of each kind by name."""

    max_examples: int = 5
    counts: Counter[ProblemKind] = field(default_factory=Counter)
    examples: dict[ProblemKind, list[Problem]] = field(default_factory=dict)

    def add(self, kind: ProblemKind, receipt: str, where: str = "", detail: object = "") -> None:
        """Count a problem; `detail` is cut to 80 characters."""
        self.counts[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < self.max_examples:
            kept.append(Problem(kind, receipt, where, repr(detail)[:80] if detail != "" else ""))

    def merge(self, other: ProblemLog) -> None:
        """Take over the counts and examples of another log."""
        self.counts.update(other.counts)
        for kind, problems in other.examples.items():
            kept = self.examples.setdefault(kind, [])
            kept.extend(problems[: self.max_examples - len(kept)])

    def said(self) -> str:
        """The first problem of the commonest kinds, to follow a sentence in one line; "" if there is none."""
        first = [f"{count} {self.examples[kind][0]}" for kind, count in self.counts.most_common(_SAID)]
        return f". Problems, with the first of each kind: {'; '.join(first)}" if first else ""

    def as_dict(self) -> dict[str, Any]:
        """For run.json: {kind: {"count": n, "dropped": bool, "examples": [text, ...]}}, by kind."""
        return {
            str(kind): {
                "count": self.counts[kind],
                "dropped": kind not in NOTED,
                "examples": [str(problem) for problem in self.examples[kind]],
            }
            for kind in sorted(self.counts)
        }
