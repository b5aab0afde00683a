"""Problems of receipts as they come in: counted, named, and never silently kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any


class ProblemKind(StrEnum):
    """Kinds of problems. `NOTED` names those that leave no word, label or receipt out."""

    BAD_RECORD = "bad_record"  # not a receipt or a word at all: broken JSON, missing or impossible keys
    NO_WORDS = "no_words"
    MOSTLY_UNUSABLE = "mostly_unusable"  # a receipt of which more than half of the words have no text or no box
    TOO_MANY_WORDS = "too_many_words"
    DUPLICATE_RECEIPT = "duplicate_receipt"
    JUDGED_WORD_CHANGED = "judged_word_changed"  # an import would put a label of people on another word
    MISNAMED_KEY = "misnamed_key"  # `lable` stands there and `label` does not
    LINES_GUESSED = "lines_guessed"  # a word without a line number: all lines of the receipt are found by the boxes
    NOT_UTF8 = "not_utf8"  # read in another encoding
    EMPTY_TEXT = "empty_text"
    TEXT_CHANGED = "text_changed"  # a line break or tab is one space, other control characters are dropped
    TEXT_TOO_LONG = "text_too_long"
    BAD_BOX = "bad_box"  # NaN, infinite, not four numbers, no area
    BOX_OUTSIDE_PAGE = "box_outside_page"
    BOXES_FRACTIONS = "boxes_fractions"  # 0..1 or percent where pixels are meant
    BOXES_DOUBTFUL = "boxes_doubtful"  # they lie on the page, and look as if they meant something else
    LABEL_WITHOUT_WORD = "label_without_word"
    BAD_LABEL = "bad_label"  # not a name: empty, too long, not a text
    UNKNOWN_LABEL = "unknown_label"  # none of ours: kept as a label of its own
    BAD_STATUS = "bad_status"
    DUPLICATE_LABEL = "duplicate_label"  # one label twice on a word: the first is kept
    CONFLICTING_LABELS = "conflicting_labels"  # two VALID labels: the first by name is kept
    BAD_FIELD = "bad_field"  # a line number, confidence, invalid source or split: taken as not given
    BOX_CLIPPED = "box_clipped"  # a rounding error over the edge
    PAGE_SIZE_GUESSED = "page_size_guessed"  # nobody says it: boxes are then parts of what the words cover
    PAGE_SIZE_SWAPPED = "page_size_swapped"  # words that would lie on the page with width and height swapped
    LABEL_PREFIX_STRIPPED = "label_prefix_stripped"  # B-, I-, E-, S- and the like, before the label or behind it
    LABEL_IN_LIST = "label_in_list"  # ["DATE"]: the one in it is taken
    RIGHT_TO_LEFT_TEXT = "right_to_left_text"
    EMOJI_TEXT = "emoji_text"


NOTED = frozenset(
    {
        ProblemKind.MISNAMED_KEY,
        ProblemKind.LINES_GUESSED,
        ProblemKind.NOT_UTF8,
        ProblemKind.TEXT_CHANGED,
        ProblemKind.BOXES_DOUBTFUL,
        ProblemKind.UNKNOWN_LABEL,
        ProblemKind.CONFLICTING_LABELS,
        ProblemKind.BAD_FIELD,
        ProblemKind.BOX_CLIPPED,
        ProblemKind.PAGE_SIZE_GUESSED,
        ProblemKind.PAGE_SIZE_SWAPPED,
        ProblemKind.LABEL_PREFIX_STRIPPED,
        ProblemKind.LABEL_IN_LIST,
        ProblemKind.RIGHT_TO_LEFT_TEXT,
        ProblemKind.EMOJI_TEXT,
    }
)
"""Kinds that are reported while the word is kept; all others leave something out."""


ABOUT_LABELS = frozenset(
    {
        ProblemKind.MISNAMED_KEY,
        ProblemKind.BAD_LABEL,
        ProblemKind.BAD_STATUS,
        ProblemKind.DUPLICATE_LABEL,
        ProblemKind.CONFLICTING_LABELS,
        ProblemKind.LABEL_IN_LIST,
    }
)
"""Kinds that matter only where labels do: a model reads words without them."""


_NO_RECEIPT = (
    ProblemKind.BAD_RECORD,
    ProblemKind.BOXES_FRACTIONS,
    ProblemKind.MOSTLY_UNUSABLE,
    ProblemKind.NO_WORDS,
    ProblemKind.TOO_MANY_WORDS,
)
"""Kinds that leave a whole receipt out as it is read, the one that says most first."""

_SAID = 3
"""Kinds of problems in a message."""
_SHOWN = 12
"""Causes of a kind that are listed: misspelt labels, say."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its kind, receipt, where in that, the value that shows it, and `file:line` of the receipt."""

    kind: ProblemKind
    receipt: str
    where: str = ""
    detail: str = ""
    place: str = ""

    def __str__(self) -> str:
        place = "" if self.receipt.startswith(self.place) else self.place  # what has no id is called by its place
        said = " ".join(filter(None, (place, self.receipt, self.where)))
        return f"{self.kind}: {said}" + (f" ({self.detail})" if self.detail else "")


@dataclass(slots=True)
class ProblemLog:
    """Counts every problem, and keeps the first examples of each kind and what is likely to be behind it.

    Attributes:
        max_examples: of each kind.
        causes: for each kind what it is likely to come from, and how many words or receipts say so.
        place: `file:line` of what is being read; readers set it, and problems take it.
        places: the same of receipts that have been read, by key.
    """

    max_examples: int = 3
    counts: Counter[ProblemKind] = field(default_factory=Counter)
    examples: dict[ProblemKind, list[Problem]] = field(default_factory=dict)
    causes: dict[ProblemKind, Counter[str]] = field(default_factory=dict)
    place: str = ""
    places: dict[str, str] = field(default_factory=dict)

    def add(self, kind: ProblemKind, receipt: str, where: str = "", detail: object = "", cause: str = "") -> None:
        """Count a problem; `detail` is cut to 80 characters. `cause` is a sentence, the same for all alike."""
        self.counts[kind] += 1
        kept = self.examples.setdefault(kind, [])
        if len(kept) < self.max_examples:
            kept.append(Problem(kind, receipt, where, repr(detail)[:80] if detail != "" else "", self.place))
        if cause:
            self.explain(kind, cause)

    def explain(self, kind: ProblemKind, cause: str) -> None:
        """Say what problems of a kind are likely to come from."""
        self.causes.setdefault(kind, Counter())[cause] += 1

    def forget(self, kinds: Iterable[ProblemKind]) -> None:
        """Leave out what matters to nobody here."""
        for kind in kinds:
            self.counts.pop(kind, None)
            self.examples.pop(kind, None)
            self.causes.pop(kind, None)

    def merge(self, other: ProblemLog, place: str = "") -> None:
        """Take over the counts, examples and causes of another log, which is that of one place if that is given."""
        self.counts.update(other.counts)
        for kind, problems in other.examples.items():
            kept = self.examples.setdefault(kind, [])
            taken = problems[: self.max_examples - len(kept)]
            kept.extend([replace(one, place=place) for one in taken] if place else taken)
        for kind, causes in other.causes.items():
            self.causes.setdefault(kind, Counter()).update(causes)

    def said(self) -> str:
        """The commonest kinds, each with its first problems and likely cause, to follow a sentence in one line.

        Where the cause is known one problem shows it, else as many as are kept.
        """
        said = []
        for kind, count in self.counts.most_common(_SAID):
            likely = "".join(f": {cause}" for cause, _ in self.causes.get(kind, Counter()).most_common(1))
            shown = self.examples[kind][: 1 if likely or len(self.counts) > 1 else _SAID]
            said.append(f"{count} {', '.join(map(str, shown))}{likely}".replace(f", {kind}: ", ", "))
        return f". Problems, with the first of each kind: {'; '.join(said)}" if said else ""

    def refusal(self) -> str:
        """Why the one record that was looked at is no receipt, in a sentence."""
        kind = next((kind for kind in _NO_RECEIPT if self.counts[kind]), None)
        if kind is None:
            return "not a receipt"
        said = self.examples[kind][0].detail
        detail = said[1:].removesuffix(said[0]) if said else ""  # without its quotes
        if kind is ProblemKind.BOXES_FRACTIONS or not detail:
            detail = "no word in it can be used"
        cause = "".join(f": {cause}" for cause, _ in self.causes.get(kind, Counter()).most_common(1))
        others = ProblemLog(counts=self.counts.copy(), examples=self.examples, causes=self.causes)
        del others.counts[kind]
        return detail + cause + others.said()

    def as_dict(self) -> dict[str, Any]:
        """For run.json, by kind: {kind: {"count": n, "dropped": bool, "examples": [text, ...]}}.

        Where causes are likely, "causes" has them, the commonest first, each with how many words or receipts show it.
        """
        found = {}
        for kind in sorted(self.counts):
            entry: dict[str, Any] = {"count": self.counts[kind], "dropped": kind not in NOTED}
            entry["examples"] = [str(problem) for problem in self.examples[kind]]
            if causes := self.causes.get(kind):
                entry["causes"] = [f"{cause} ({n})" for cause, n in causes.most_common()]
            found[str(kind)] = entry
        return found


def problem_lines(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What a person is shown of `ProblemLog.as_dict`, also of one in run.json: counts, likely causes, examples."""
    for kind, entry in found.items():
        yield f"{kind}: {entry['count']} ({'left out' if entry['dropped'] else 'kept'})"
        causes = entry.get("causes", [])
        yield from (f"  likely: {cause}" for cause in causes[:_SHOWN])
        if len(causes) > _SHOWN:
            yield f"  and {len(causes) - _SHOWN} more"
        yield from (f"  {example}" for example in entry["examples"])
