"""The receipt: words with text, box, line and labels."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from receipt_trainer.contract.names import OUTSIDE

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1) as fractions of the page in 0..1, origin at the TOP LEFT, x0 < x1, y0 < y1."""

UNKNOWN: Final = ""
"""In place of the label of a word of which nobody knows what it is: it is neither learned nor scored."""

CORRECTIONS: Final = "corrections"
"""Source of a receipt that is known from its corrections alone."""
ORIGINAL_TEXT: Final = "original_text"
"""Among the `extra` of a word whose text a person has corrected: what OCR read."""

_KEY_NAMESPACE = uuid.UUID("6b1f6f0e-5a55-5f0e-9d6b-3f4c1c0a7e21")


@dataclass(frozen=True, slots=True)
class WordLabel:
    """A label somebody or something gave a word, and what became of it.

    `proposed_by` is who: a program, a model, a person; "" where nobody is named. `added` is when, ISO 8601; "" where
    nobody says it, which counts as before any time.
    """

    name: str
    status: str = "VALID"
    proposed_by: str = ""
    added: str = field(default="", compare=False)

    @property
    def is_open(self) -> bool:
        """Whether a judgement is still to come."""
        return self.status in ("PENDING", "NEEDS_REVIEW")


@dataclass(frozen=True, slots=True)
class Review:
    """What a person has said of a receipt as a whole.

    Attributes:
        confirmed: whether its labels are all there are; else those that it has are, and nothing is known of the rest.
        by: who said it; "" where nobody is named.
        at: when, ISO 8601; "" where it is not known yet.
    """

    confirmed: bool
    by: str = ""
    at: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Word:
    """One word. `line` is its visual row (0 at the top of a JSON lines receipt; the LINE number in a table).

    `place` is where its source keeps it: its sort key in a table, else "".
    """

    text: str
    box: Box
    line: int
    labels: tuple[WordLabel, ...] = ()
    confidence: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    place: str = field(default="", compare=False)

    def valid_label(self) -> str | None:
        """The VALID label, the first by name if there are several, or None."""
        valid = sorted(label.name for label in self.labels if label.status == "VALID")
        return valid[0] if valid else None

    def is_open(self) -> bool:
        """Whether its newest label still waits for a judgement: PENDING or NEEDS_REVIEW, and no VALID one as new."""
        judged = max((label.added for label in self.labels if label.status == "VALID"), default=None)
        return any(label.is_open and (judged is None or label.added > judged) for label in self.labels)

    def box_1000(self) -> tuple[int, int, int, int]:
        """The box on LayoutLM's 0..1000 grid (Xu et al. 2020, LayoutLM, section 2.2), corners ordered."""
        x0, y0, x1, y1 = (min(1000, max(0, round(1000 * value))) for value in self.box)
        return x0, y0, max(x0, x1), max(y0, y1)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt in reading order.

    Attributes:
        image_id: UUID of the image.
        receipt_id: number of the receipt on its image, from 1.
        words: in reading order: by line, then as given.
        name: what people call it (the id in a JSON lines file); the key where there is none.
        source: data set it came from ("" = the user's own); decides which labels are annotated.
        split: the split it was stored under, or "".
        width, height: page size in pixels.
        review: what a person has said of it as a whole; None of receipts of older versions and of other programs,
            whose labels are taken to be all there are.
    """

    image_id: str
    receipt_id: int
    words: tuple[Word, ...]
    name: str = ""
    source: str = ""
    split: str = ""
    width: int = 0
    height: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    review: Review | None = None

    @property
    def key(self) -> str:
        """Stable key, the same in a table and in JSON lines: `<image_id>#<receipt_id>`."""
        return f"{self.image_id}#{self.receipt_id:05d}"

    def lines(self) -> Iterator[tuple[Word, ...]]:
        """The words of each line, from top to bottom."""
        for _, words in groupby(self.words, key=lambda word: word.line):
            yield tuple(words)

    def corrects(self, other: Receipt) -> bool:
        """Whether this is what a person has made of the other, a receipt of the same key, later."""
        return self.review is not None and self.review.at > (other.review.at if other.review else "")

    def taught_labels(self) -> list[str]:
        """What each word teaches: the name of its label, `O` for none, UNKNOWN for nothing at all.

        Nothing is known of a word that waits for a judgement, nor of one without a VALID label on a receipt whose
        labels somebody has set without confirming it whole. Such words are neither learned nor scored.
        """
        whole = self.review is None or self.review.confirmed
        found = []
        for word in self.words:
            label = word.valid_label()
            known = not word.is_open() and (whole or label is not None)
            found.append((label or OUTSIDE) if known else UNKNOWN)
        return found

    def is_labelled(self) -> bool:
        """Whether it can be learned: a word has a VALID label, or a person has confirmed that none has any."""
        is_confirmed = self.review is not None and self.review.confirmed
        return is_confirmed or any(word.valid_label() is not None for word in self.words)


def image_id_for(source: str, name: str) -> str:
    """UUID of a receipt that has only a name: the same name of the same source is always the same receipt."""
    return str(uuid.uuid5(_KEY_NAMESPACE, f"{source}:{name}"))
