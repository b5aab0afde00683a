"""The label space of a run, and BIO tags: an entity is a run of one label inside a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.names import AMOUNT, CORE_LABELS, OUTSIDE
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import UNKNOWN, Receipt
from receipt_trainer.errors import UserError


def to_bio(labels: Sequence[str]) -> list[str]:
    """Tags of one line's word labels: `B-` where a run of a label begins, `I-` where it continues.

    A word whose label is UNKNOWN stays so, and ends a run: what is known behind it begins with `B-`.
    """
    tags = []
    previous = OUTSIDE
    for label in labels:
        tags.append(label if label in (OUTSIDE, UNKNOWN) else f"{'I' if label == previous else 'B'}-{label}")
        previous = label
    return tags


SYNONYMS: Final[Mapping[str, str]] = {
    "BUSINESS_NAME": "MERCHANT_NAME",
    "PHONE": "PHONE_NUMBER",
    "ITEM_TOTAL": "LINE_TOTAL",
    "ITEM_NAME": "PRODUCT_NAME",
    "ITEM_PRICE": "UNIT_PRICE",
    "TOTAL": "GRAND_TOTAL",
    "NONE": OUTSIDE,
    "NO_LABEL": OUTSIDE,
    "OTHER": OUTSIDE,
    "AUTH_CODE": OUTSIDE,
    "CHANGE": OUTSIDE,
}

NAMES: Final = ("MERCHANT_NAME", "ADDRESS_LINE")
"""Labels of names: they fill lines, and go on in the next one."""

AMOUNT_LABELS: Final = frozenset({"LINE_TOTAL", "SUBTOTAL", "TAX", "GRAND_TOTAL"})

_KNOWN: Final = frozenset((*CORE_LABELS, AMOUNT, OUTSIDE))

PUBLIC_SOURCES: Final[Mapping[str, frozenset[str]]] = {
    "sroie": frozenset({"MERCHANT_NAME", "ADDRESS_LINE", "DATE", "GRAND_TOTAL"}),
    "wildreceipt": frozenset(CORE_LABELS) - {"UNIT_PRICE"},
    "cord": frozenset({"PRODUCT_NAME", "QUANTITY", "UNIT_PRICE", "LINE_TOTAL", "SUBTOTAL", "TAX", "GRAND_TOTAL"}),
    "funsd": frozenset(),
}
"""Labels that a public data set annotates: SROIE (Huang et al. 2019), WildReceipt (Sun et al. 2021), CORD
(Park et al. 2019), FUNSD (Jaume et al. 2019). Any other source is taken to annotate every label."""


def normalise(name: str) -> str:
    """The core name of a label: upper case, `grand total` and `grand-total` as `GRAND_TOTAL`, synonyms resolved.

    `O` for what is no entity. A name that is none of ours stays as it is spelt.
    """
    upper = name.strip().upper()
    joined = upper.replace("-", "_").replace(" ", "_")
    known = joined if joined in _KNOWN or joined in SYNONYMS else upper
    return SYNONYMS.get(known, known) or OUTSIDE


def nearest_label(name: str) -> str | None:
    """The core label that an unknown name is nearly spelt like or shares words with; None if known, or like none."""
    own = normalise(name).replace("-", "_").replace(" ", "_")
    if own in _KNOWN:
        return None
    known, parts = (*CORE_LABELS, *SYNONYMS), set(own.split("_"))
    alike = [label for label in known if (words := set(label.split("_"))) <= parts or parts <= words]
    close = get_close_matches(own, known, 1, 0.75) or get_close_matches(own, alike, 1, 0)
    found = normalise(close[0]) if close else OUTSIDE
    return None if found == OUTSIDE else found


def stored_labels(receipts: Iterable[Receipt]) -> set[str]:
    """Every label that a word teaches."""
    return {label for receipt in receipts for label in receipt.taught_labels()} - {OUTSIDE, UNKNOWN}


def labels_by_source(receipts: Iterable[Receipt]) -> dict[str, set[str]]:
    """Every label that a word of each source teaches."""
    found: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        found.setdefault(receipt.source, []).append(receipt)
    return {source: stored_labels(group) for source, group in found.items()}


def is_known(name: str) -> bool:
    """Whether a label is one of the core, a synonym of one, or a name for none."""
    return normalise(name) in _KNOWN


def note_unknown_labels(receipts: Iterable[Receipt], problems: ProblemLog) -> None:
    """Count the labels that are none of ours, and say which of ours each is like."""
    causes: dict[str, str | None] = {}
    for receipt in receipts:
        for n, word in enumerate(receipt.words):
            for label in word.labels:
                cause = causes.get(label.name, "")
                if cause == "":
                    cause = causes[label.name] = None if is_known(label.name) else _unknown(label.name)
                if cause is not None:
                    problems.place = problems.places.get(receipt.key, "")
                    problems.add(ProblemKind.UNKNOWN_LABEL, receipt.name or receipt.key, f"word {n}", label.name, cause)
    problems.place = ""


def _unknown(name: str) -> str:
    near = nearest_label(name)
    return f"{name} is a label of its own" + (f"; is {near} meant?" if near else "")


@dataclass(frozen=True)
class LabelSpace:
    """Which labels are learned, and what each stored label becomes.

    Attributes:
        labels: the entity labels, without prefix, in a fixed order.
        merge_amounts: whether amounts are one label.
        annotated: for each source that annotates only some labels, the labels it annotates (normalised, not merged).
            Sources are distinguished regardless of case.
    """

    labels: tuple[str, ...]
    merge_amounts: bool = False
    annotated: Mapping[str, frozenset[str]] = field(default_factory=lambda: PUBLIC_SOURCES)

    def __post_init__(self) -> None:
        annotated = {source.casefold(): names for source, names in self.annotated.items()}
        object.__setattr__(self, "annotated", annotated)

    @property
    def tags(self) -> tuple[str, ...]:
        """`O`, then B- and I- of each label: the model's ids in order."""
        return (OUTSIDE, *(f"{prefix}-{label}" for label in self.labels for prefix in "BI"))

    def map(self, stored: str | None) -> str:
        """The label of this space for a stored label; `O` for none, for non-entities and for labels not learned."""
        if stored is None:
            return OUTSIDE
        name = self._merge(normalise(stored))
        return name if name in self.labels else OUTSIDE

    def taught(self, receipt: Receipt) -> list[str]:
        """The label of this space that each word of a receipt teaches, `O` for none; UNKNOWN words teach nothing."""
        return [label if label == UNKNOWN else self.map(label) for label in receipt.taught_labels()]

    def _merge(self, name: str) -> str:
        return AMOUNT if self.merge_amounts and name in AMOUNT_LABELS else name

    def unannotated(self, source: str) -> frozenset[str]:
        """Labels that an `O` word of `source` may bear nevertheless.

        A merged AMOUNT counts as unannotated as soon as one of the labels merged into it is, unless the source
        annotates AMOUNT as such.
        """
        known = self.annotated.get(source.casefold())
        if known is None:
            return frozenset()
        return frozenset(label for label in self.labels if label not in known and not self._origins(label) <= known)

    def _origins(self, label: str) -> frozenset[str]:
        """The unmerged labels behind `label`."""
        return AMOUNT_LABELS if self.merge_amounts and label == AMOUNT else frozenset((label,))


def label_space(
    config: DataConfig, stored_labels: Iterable[str] = (), by_source: Mapping[str, Iterable[str]] | None = None
) -> LabelSpace:
    """The label space of a configuration.

    Args:
        config: merge_amounts, allowed_labels and annotated_labels are read.
        stored_labels: labels that occur in the data; those beyond the core twelve are learned too.
        by_source: labels that occur in the receipts of each source. A public data set whose labels have other names
            than ours annotates those, beside what it is known to annotate.

    Raises:
        UserError: an allowed or annotated label that cannot occur, with those that can.
    """
    merged = config.merge_amounts
    probe = LabelSpace((), merged)
    stored = {normalise(name) for name in stored_labels} - {OUTSIDE}
    present = {probe._merge(name) for name in stored}
    core = list(dict.fromkeys(probe._merge(name) for name in CORE_LABELS))
    possible = core + sorted(present - set(core))
    wanted = [name.strip() for name in config.allowed_labels]
    for name in wanted:
        if name not in possible:
            raise UserError(
                f"allowed label '{name}' cannot occur{_hint(name, merged)}; possible: {', '.join(possible)}"
            )
    chosen = [name for name in possible if (name in wanted if wanted else name in present or not present)]
    if not chosen:
        raise UserError("no label is left to learn: check --allowed-label and the labels of the data set")
    public = dict(PUBLIC_SOURCES)
    for source, names in (by_source or {}).items():
        if source.casefold() in public:
            public[source.casefold()] |= frozenset(map(normalise, names)) - {OUTSIDE}
    return LabelSpace(tuple(chosen), merged, {**public, **_annotated(config, stored)})


def _annotated(config: DataConfig, stored: set[str]) -> dict[str, frozenset[str]]:
    """The labels that sources annotate, as configured; a name for "no entity" is allowed and ignored."""
    possible = dict.fromkeys((*CORE_LABELS, AMOUNT, *sorted(stored)))
    found = {}
    for source, given in config.annotated_labels.items():
        for name in given:
            if normalise(name) not in (*possible, OUTSIDE):
                raise UserError(
                    f"annotated label '{name}' of source '{source}' cannot occur; possible: {', '.join(possible)}"
                )
        found[source.casefold()] = frozenset(map(normalise, given))
    return found


def _hint(name: str, merged: bool) -> str:
    if name == AMOUNT:
        return " without --merge-amounts"
    if merged and name in AMOUNT_LABELS:
        return f" with --merge-amounts (it is {AMOUNT})"
    if normalise(name) != name:
        return f" (it is normalised to {normalise(name)})"
    return ""
