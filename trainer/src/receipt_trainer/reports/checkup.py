"""What training on receipts would meet, told without training: the same findings for HTML and for the terminal."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.names import CORE_LABELS, OUTSIDE
from receipt_trainer.data.dedup import letters, near_duplicate_groups
from receipt_trainer.data.labels import label_space, labels_by_source, nearest_label, normalise, stored_labels
from receipt_trainer.data.problems import NOTED, Problem, ProblemKind, ProblemLog
from receipt_trainer.data.receipt import UNKNOWN, Receipt
from receipt_trainer.data.split import split_receipts
from receipt_trainer.extraction.finds import field_runs, labelled_words
from receipt_trainer.reports.formatting import one_line

WINDOW: Final = DataConfig().max_length
"""Tokens of an example, two of them its marks."""
ROOM: Final = WINDOW - 2
THIN: Final = 10
"""Receipts below which a label is hardly learned, and its score says nothing."""
NUM_DRAWN: Final = 10
"""Receipts drawn for a person to look at."""
_FEW: Final = 100
"""Receipts below which one word is said about how many are enough."""
_SHOWN: Final = 3
_MANY: Final = 1_000_000
_SPACES_OF_A_LINE: Final = 2
_MANY_LINES: Final = 0.2
"""Part of all words with so many spaces from which they look like lines."""
_QUIET: Final = frozenset(
    {
        ProblemKind.RIGHT_TO_LEFT_TEXT,
        ProblemKind.EMOJI_TEXT,
        ProblemKind.LABEL_PREFIX_STRIPPED,
        ProblemKind.LABEL_IN_LIST,
        ProblemKind.LINES_GUESSED,
        ProblemKind.NOT_UTF8,
        ProblemKind.TEXT_CHANGED,
        ProblemKind.BOX_CLIPPED,
        ProblemKind.UNKNOWN_LABEL,  # those that look misspelt are said by themselves
    }
)
"""Kinds that nobody needs to mend."""

_RUN: Final = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A label as it is stored: what it is learned as, on how many words and receipts, the known one that it may be."""

    name: str
    learned_as: str
    num_words: int
    num_receipts: int
    nearest: str | None = None

    @property
    def remark(self) -> str:
        """What a person should know of it; "" if nothing."""
        if self.nearest:
            return f"not known: {self.nearest} misspelt?"
        if self.learned_as == OUTSIDE:
            return "counts as no label"
        said = [] if self.learned_as in CORE_LABELS else ["a label of its own"]
        said += [f"fewer than {THIN} receipts"] if self.num_receipts < THIN else []
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source, and the labels that it does not annotate; all others are taken as complete."""

    name: str
    num_receipts: int
    annotated: tuple[str, ...]
    unannotated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SplitRow:
    """The split that training would make; of the validation receipts those of a merchant that is labelled."""

    num_train: int
    num_validation: int
    num_merchants: int
    num_new_merchants: int
    thin: tuple[str, ...]


@dataclass(slots=True)
class Checkup:
    """All that is known of receipts before training.

    Attributes:
        name: what was checked, as a person calls it.
        formats: the format of each file by its name; empty for a table.
        refused: why files cannot be read, a sentence each.
        num_words_unknown: words that wait for a judgement or stand on a receipt labelled in part.
        statuses: labels that are not VALID, by status.
        near: names of receipts that say nearly the same, a group each.
        longest: (receipt, words, about how many tokens), the longest first.
        num_windows: receipts longer than a window.
        problems_said, remarks: sentences; the first need a person, the second do not.
        drawn: names of the receipts to look at, with why.
    """

    name: str
    problems: ProblemLog
    formats: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    num_receipts: int = 0
    num_words: int = 0
    num_labelled_words: int = 0
    num_labelled: int = 0
    num_words_unknown: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    labels: list[LabelRow] = field(default_factory=list)
    sources: list[SourceRow] = field(default_factory=list)
    near: list[list[str]] = field(default_factory=list)
    split: SplitRow | None = None
    longest: list[tuple[str, int, int]] = field(default_factory=list)
    num_windows: int = 0
    problems_said: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    drawn: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0: sound, 1: with problems, 2: nothing to train on."""
        return 2 if self.split is None or self.refused else 1 if self.problems_said or self.num_left_out else 0

    @property
    def num_left_out(self) -> int:
        """Problems that left something out or need a look."""
        return sum(count for kind, count in self.problems.counts.items() if kind not in _QUIET)

    def problems_shown(self) -> dict[str, dict[str, Any]]:
        """The problems as `ProblemLog.as_dict` has them, the commonest first, with a few examples of each."""
        few = ProblemLog(counts=self.problems.counts, causes=self.problems.causes)
        few.examples = {kind: found[:_SHOWN] for kind, found in self.problems.examples.items()}
        return dict(sorted(few.as_dict().items(), key=lambda item: -item[1]["count"]))

    @property
    def verdict(self) -> str:
        """The outcome in a sentence."""
        if self.exit_code == 2:
            return "Training would stop on this."
        return "Training would run, but look at these first." if self.exit_code else "Sound: training would run."


def check_receipts(
    name: str,
    receipts: Sequence[Receipt],
    problems: ProblemLog,
    *,
    formats: Mapping[str, str] | None = None,
    refused: Sequence[str] = (),
) -> Checkup:
    """See `Checkup`.

    Args:
        problems: of reading them, with every example kept (`all_problems`).
    """
    found = Checkup(name, problems, dict(formats or {}), list(refused))
    labelled = [receipt for receipt in receipts if receipt.is_labelled()]
    words = [word for receipt in receipts for word in receipt.words]
    found.num_receipts, found.num_words, found.num_labelled = len(receipts), len(words), len(labelled)
    found.num_labelled_words = sum(word.valid_label() is not None for word in words)
    found.num_words_unknown = sum(receipt.taught_labels().count(UNKNOWN) for receipt in labelled)
    found.statuses = Counter(label.status for word in words for label in word.labels if label.status != "VALID")
    found.labels = _label_rows(labelled)
    found.sources = _source_rows(labelled)
    groups = near_duplicate_groups(receipts)
    found.near = [[_name(receipts[n]) for n in group] for group in groups if len(group) > 1]
    found.split = _split_row(labelled)
    sized = sorted(((_name(each), len(each.words), _tokens(each)) for each in receipts), key=lambda row: -row[2])
    found.longest, found.num_windows = sized[:_SHOWN], sum(row[2] > ROOM for row in sized)
    _judge(found, labelled)
    found.remarks += [
        *_stored_splits(labelled),
        *_remarks(found),
        *(_enough(found.split, found.num_labelled) if found.split else []),
    ]
    found.drawn = _drawn(found, receipts)
    return found


def all_problems() -> ProblemLog:
    """A log that keeps every example, so that each word with a problem is drawn as one."""
    return ProblemLog(max_examples=_MANY)


def _name(receipt: Receipt) -> str:
    return receipt.name or receipt.key


def _tokens(receipt: Receipt) -> int:
    """About how many sub-tokens BERT's vocabulary makes of the words: within 15 % on SROIE, CORD and FUNSD."""
    runs = [run for word in receipt.words for run in _RUN.findall(word.text)]
    return sum(-(-len(run) // (2 if run[0].isdigit() else 5)) for run in runs)


def _label_rows(labelled: Sequence[Receipt]) -> list[LabelRow]:
    words: Counter[str] = Counter()
    receipts: Counter[str] = Counter()
    for receipt in labelled:
        names = [label for label in receipt.taught_labels() if label not in (OUTSIDE, UNKNOWN)]
        words.update(names)
        receipts.update(set(names))
    order = {label: n for n, label in enumerate(CORE_LABELS)}
    ranked = sorted(words, key=lambda name: (order.get(normalise(name), len(order)), -words[name], name))
    return [LabelRow(name, normalise(name), words[name], receipts[name], nearest_label(name)) for name in ranked]


def _source_rows(labelled: Sequence[Receipt]) -> list[SourceRow]:
    if not labelled:
        return []
    by_source = labels_by_source(labelled)
    space = label_space(DataConfig(), stored_labels(labelled), by_source)
    counts = Counter(receipt.source for receipt in labelled)
    rows = []
    for source in sorted(counts):
        missing = space.unannotated(source)
        annotated = tuple(label for label in space.labels if label not in missing)
        rows.append(SourceRow(source, counts[source], annotated, tuple(sorted(missing))))
    return rows


def _merchant(receipt: Receipt) -> str:
    runs = field_runs(labelled_words(receipt))
    return letters(" ".join(word.text for word in next((run for name, run in runs if name == "MERCHANT_NAME"), ())))


def _split_row(labelled: Sequence[Receipt]) -> SplitRow | None:
    config = DataConfig()
    if len(labelled) < 2:
        return None
    split = split_receipts(labelled, fraction=config.validation_fraction, seed=config.split_seed)
    if not split.validation:
        return None
    known = {_merchant(receipt) for receipt in split.train}
    merchants = {merchant for receipt in split.validation if (merchant := _merchant(receipt))}
    held, taught = _normal(split.validation), _normal(split.train)
    return SplitRow(
        len(split.train),
        len(split.validation),
        len(merchants),
        len(merchants - known),
        tuple(sorted((taught | held) - (taught & held))),
    )


def _normal(receipts: Sequence[Receipt]) -> set[str]:
    return {normalise(label) for label in stored_labels(receipts)} - {OUTSIDE}


def _judge(found: Checkup, labelled: Sequence[Receipt]) -> None:
    """Say what a person should mend."""
    said = found.problems_said
    without = found.num_receipts - found.num_labelled
    if not found.num_receipts and not found.refused and not found.problems.counts:
        said.append("no receipt is in it")
    if found.num_receipts and not labelled:
        held = ", ".join(f"{count} {status}" for status, count in sorted(found.statuses.items()))
        said.append(f"no word has a VALID label{f' ({held})' if held else ''}: there is nothing to learn")
    elif without:
        (said if 2 * without > found.num_receipts else found.remarks).append(
            f"{without} of {found.num_receipts} receipts: no VALID label, so not trained on"
        )
    swapped = found.problems.counts[ProblemKind.PAGE_SIZE_SWAPPED]
    if swapped:
        said.append(
            f"width and height look swapped on {swapped} receipts: their words would lie on the page if they were the "
            "other way round (a photo that is stored lying)"
        )
    for row in found.labels:
        if row.nearest:
            said.append(
                f"the label {one_line(row.name, 40)} ({row.num_words} x) is not known: is it {row.nearest}? "
                "As it stands it is learned as a label of its own"
            )
    spaced = sum(word.text.count(" ") >= _SPACES_OF_A_LINE for receipt in labelled for word in receipt.words)
    if spaced > _MANY_LINES * sum(len(receipt.words) for receipt in labelled):
        said.append(
            f"{spaced} words are several words each: are they whole lines? A word alone is needed, with a box of its "
            "own, or a caption and its value get one label"
        )
    if len(labelled) >= 2 and found.split is None:
        said.append(f"all {len(labelled)} labelled receipts are near duplicates of each other: none can be held out")
    elif len(labelled) == 1:
        said.append("one labelled receipt alone: at least 2 are needed, one to learn from and one to validate")


def _remarks(found: Checkup) -> list[str]:
    """What is good to know, and needs no change."""
    remarks = []
    thin = [row.name for row in found.labels if row.num_receipts < THIN and row.learned_as != OUTSIDE]
    if thin:
        names = f": {', '.join(one_line(name, 30) for name in thin)}" if len(thin) <= _SHOWN else ""
        remarks.append(
            f"{len(thin)} of {len(found.labels)} labels are on fewer than {THIN} receipts{names}; "
            "their scores say little"
        )
    if found.num_words_unknown:
        remarks.append(
            f"words neither learned nor scored, because nobody has judged them yet: {found.num_words_unknown}"
        )
    alike = sum(map(len, found.near))
    if alike:
        remarks.append(
            f"{alike} receipts say nearly the same as others, in groups: {len(found.near)}; "
            "a group stays on one side of the split"
        )
    if found.num_windows:
        remarks.append(
            f"longer than a window of {WINDOW} tokens: {found.num_windows} of {found.num_receipts} receipts; "
            "they are read in several windows that overlap, and nothing is lost"
        )
    return remarks


def _stored_splits(labelled: Sequence[Receipt]) -> Iterator[str]:
    stored = Counter(receipt.split for receipt in labelled)
    if any(stored):
        counts = ", ".join(f"{one_line(split, 30) or '(none)'} {count}" for split, count in sorted(stored.items()))
        yield (
            f"stored splits ({counts}) are not looked at, the split is by hash, unless train_split and eval_split name "
            "two of them; then receipts of all others are left out"
        )


def _enough(split: SplitRow, num_labelled: int) -> list[str]:
    said = []
    if split.num_merchants:
        said.append(
            f"of the merchants on validation receipts, {split.num_new_merchants} of {split.num_merchants} "
            f"{'is' if split.num_new_merchants == 1 else 'are'} on no training receipt"
            + ("" if split.num_new_merchants else ": the score will not say how the model reads other shops")
        )
    if split.thin:
        said.append(f"on one side of the split only: {', '.join(one_line(name, 30) for name in split.thin)}")
    if num_labelled < _FEW:
        margin = round(100 / split.num_validation**0.5)
        many = f"the {split.num_validation} validation receipts are" if split.num_validation > 1 else "one receipt is"
        said.append(
            f"{many} few to measure by: what is right on half of them may be right on "
            f"{max(0, 50 - margin)} to {min(100, 50 + margin)} % of others. Some hundred receipts, and {THIN} or more "
            "for each label, say more"
        )
    return said


def problems_by_place(found: Checkup) -> dict[str, dict[str, Problem]]:
    """By receipt and place in it: the worst problem there."""
    by_place: dict[str, dict[str, Problem]] = {}
    for problem in _examples(found.problems):
        known = by_place.setdefault(problem.receipt, {}).setdefault(problem.where, problem)
        if known.kind in NOTED and problem.kind not in NOTED:
            by_place[problem.receipt][problem.where] = problem
    return by_place


def _examples(problems: ProblemLog) -> list[Problem]:
    return [problem for kind in problems.examples for problem in problems.examples[kind]]


def _drawn(found: Checkup, receipts: Sequence[Receipt]) -> dict[str, str]:
    """Which receipts a person should see: one for each kind of oddity, those with the most, and some sound ones."""
    counts: dict[str, Counter[ProblemKind]] = {}
    for problem in _examples(found.problems):
        counts.setdefault(problem.receipt, Counter())[problem.kind] += 1
    odd = sorted(counts, key=lambda name: -sum(n for kind, n in counts[name].items() if kind not in _QUIET))
    kinds = sorted(
        found.problems.counts, key=lambda kind: (kind in NOTED, kind in _QUIET, -found.problems.counts[kind])
    )
    chosen: dict[str, str] = {}
    for kind in kinds:
        name = next((name for name in odd if kind in counts[name] and name not in chosen), None)
        if name is not None:
            chosen[name] = ""
    for row in found.labels:
        named = (_name(each) for each in receipts if row.nearest and row.name in each.taught_labels())
        if row.nearest and (name := next(named, None)):
            chosen.setdefault(name, f"has the label {one_line(row.name, 40)}")
    names = [_name(each) for each in sorted(receipts, key=lambda each: len(each.words))]
    sound = [name for name in dict.fromkeys(names) if name not in counts and name not in chosen]
    most = NUM_DRAWN + sum(ProblemKind.BAD_RECORD in counts.get(name, ()) for name in chosen)  # some cannot be drawn
    rest = [name for name in odd if name not in chosen]
    chosen |= dict.fromkeys(rest[: max(0, most - min(_SHOWN, len(sound)) - len(chosen))], "")
    room = most - len(chosen)
    if room > 0 and sound:
        spread = [sound[round(n * (len(sound) - 1) / max(room - 1, 1))] for n in range(room)]
        chosen |= dict.fromkeys(spread, "no problem was found")
    chosen |= dict.fromkeys([name for name in rest if name not in chosen][: max(0, most - len(chosen))], "")
    return dict(list(chosen.items())[:most])
