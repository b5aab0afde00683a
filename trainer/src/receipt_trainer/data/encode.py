"""Receipts as encoded examples: words to sub-tokens, cut into windows, with a target a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.package import Windows
from receipt_trainer.data.labels import LabelSpace, to_bio
from receipt_trainer.data.receipt import UNKNOWN, Receipt


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used."""

    cls_token_id: int | None
    sep_token_id: int | None
    unk_token_id: int | None

    def __call__(self, text: list[str], *, add_special_tokens: bool, verbose: bool) -> Any:
        """Encode a list of texts; the result has `input_ids`."""


class WordEncoder:
    """Sub-tokens of words, each distinct text encoded once.

    A word never vanishes: one that the tokenizer makes nothing of (a lone variation selector, say) becomes [UNK].
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        """`max_tokens`: a longer word keeps only its first so many sub-tokens, so that it fits into one window."""
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._known: dict[str, list[int]] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Encode all new texts in one call, which is what makes encoding fast."""
        new = sorted(set(texts) - self._known.keys())
        if not new:
            return
        encoded = self._tokenizer(new, add_special_tokens=False, verbose=False)["input_ids"]
        unknown = self._tokenizer.unk_token_id
        for text, ids in zip(new, encoded, strict=True):
            self._known[text] = list(ids[: self._max_tokens]) or [0 if unknown is None else unknown]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each word, at least one a word."""
        self.learn(texts)
        return [self._known[text] for text in texts]


@dataclass(frozen=True, slots=True)
class Window:
    """Words `start`..`stop` of a receipt go in; of these, `own_start`..`own_stop` are labelled from this window."""

    start: int
    stop: int
    own_start: int
    own_stop: int


def cut(
    receipt: Receipt, lengths: Sequence[int], kind: Literal["line", "receipt"], budget: int, overlap: int
) -> list[Window]:
    """Windows of a receipt; every word is owned by exactly one of them.

    Args:
        receipt: in reading order.
        lengths: sub-tokens of each word, none above `budget`.
        kind: one piece a line, or the entire receipt as one piece.
        budget: sub-tokens that fit into a window, [CLS] and [SEP] not counted.
        overlap: sub-tokens that neighbouring windows of a piece too long for one share at most.
    """
    pieces = [len(words) for words in receipt.lines()] if kind == "line" else [len(receipt.words)]
    windows: list[Window] = []
    start = 0
    for size in filter(None, pieces):  # a receipt without words has no window
        windows += _slide(lengths, start, start + size, budget, overlap)
        start += size
    return windows


def _slide(lengths: Sequence[int], start: int, stop: int, budget: int, overlap: int) -> list[Window]:
    """Windows over words `start`..`stop`; two that overlap meet in the middle of what they share."""
    spans: list[tuple[int, int]] = []
    first = start
    while True:
        last = _reach(lengths, first, stop, budget)
        spans.append((first, last))
        if last == stop:
            break
        room = min(overlap, budget - lengths[last])  # the next word must fit behind what is shared
        back, shared = last, 0
        while back - 1 > first and shared + lengths[back - 1] <= room:
            back -= 1
            shared += lengths[back]
        first = back
    borders = [start, *((left[1] + right[0] + 1) // 2 for left, right in pairwise(spans)), stop]
    return [Window(a, b, borders[i], borders[i + 1]) for i, (a, b) in enumerate(spans)]


def _reach(lengths: Sequence[int], first: int, stop: int, budget: int) -> int:
    """The word after the last that fits; at least one word always does."""
    used, last = lengths[first], first + 1
    while last < stop and used + lengths[last] <= budget:
        used += lengths[last]
        last += 1
    return last


VIEWS: Final[Mapping[str, tuple[Literal["line", "receipt"], ...]]] = {
    "line": ("line",),
    "receipt": ("receipt",),
    "both": ("line", "receipt"),
}
"""How often each word is seen: once in its line, once in its receipt, or in both."""

IGNORED: Final = -100
"""Target of a token that is not supervised (torch's cross-entropy convention)."""

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Examples:
    """Windows as compressed rows: example i has tokens `offsets[i]`..`offsets[i + 1]`.

    Attributes:
        offsets: (examples + 1,) token offsets.
        input_ids: (tokens,) with [CLS] and [SEP].
        bbox: (tokens, 4) on the 0..1000 grid, top-left origin.
        targets: (tokens,) a tag id; `num_tags + k` for "any tag of allowed set k"; IGNORED elsewhere.
        words: (tokens,) number of the word within the split on the first sub-token of an owned word, else -1.
        num_outside, num_entity: (examples,) supervised words without and with a label.
    """

    offsets: NDArray[np.int64]
    input_ids: Ints
    bbox: Ints
    targets: Ints
    words: Ints
    num_outside: Ints
    num_entity: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(examples,) tokens of each example."""
        return np.diff(self.offsets)

    def words_in(self, numbers: Iterable[int]) -> Ints:
        """(owned words,) numbers of the words that these examples own, in the order of their first sub-tokens."""
        words = np.concatenate([self.words[self.offsets[n] : self.offsets[n + 1]] for n in numbers])
        return words[words >= 0]

    def o_entity_ratio(self) -> float:
        """Words without a label to words with one."""
        return float(self.num_outside.sum()) / max(1, int(self.num_entity.sum()))


@dataclass(frozen=True, slots=True)
class Words:
    """The words behind a split, receipt after receipt: what scoring, the report and predictions need.

    Attributes:
        keys, names, sources: of each receipt.
        sizes: (receipts, 2) width and height in pixels.
        offsets: (receipts + 1,) word offsets.
        texts: of each word.
        boxes: (words, 4) on the 0..1000 grid.
        lines: (words,) line numbers within the receipt.
        gold: (words,) label ids as they are scored: 0 for `O`, then the label space's labels in order. A label
            that the receipt's source does not annotate throughout is `O`, as it is in scored predictions; IGNORED is
            a word of which nobody knows what it is.
    """

    keys: list[str]
    names: list[str]
    sources: list[str]
    sizes: Ints
    offsets: NDArray[np.int64]
    texts: Sequence[str]
    boxes: Ints
    lines: Ints
    gold: Ints

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(words,) whether it is known what the word is, so that it is scored."""
        return np.asarray(self.gold != IGNORED)


@dataclass(frozen=True, slots=True)
class EncodedSplit:
    """One side of the split, as the model sees it and as people do."""

    examples: Examples
    words: Words


def allowed_sets(space: LabelSpace, sources: Iterable[str]) -> list[frozenset[str]]:
    """The distinct sets of labels that an `O` word may bear besides `O`, in a stable order; never the empty one."""
    sets = {space.unannotated(source) for source in sources} - {frozenset()}
    return sorted(sets, key=sorted)


def encode(
    receipts: Sequence[Receipt],
    space: LabelSpace,
    tokenizer: Tokenizer,
    config: DataConfig | Windows,
    sets: Sequence[frozenset[str]] = (),
) -> EncodedSplit:
    """Cut and encode receipts, in order.

    Args:
        sets: from `allowed_sets` over every source of the run; an `O` word of a source that is not covered by
            them counts as `O`.
    """
    budget = config.max_length - 2
    encoder = WordEncoder(tokenizer, budget)
    encoder.learn(word.text for receipt in receipts for word in receipt.words)
    builder = _Builder(space, tokenizer, config, sets)
    for receipt in receipts:
        builder.add(receipt, encoder.encode([word.text for word in receipt.words]))
    return EncodedSplit(builder.examples(), words_of(receipts, space))


def words_of(receipts: Sequence[Receipt], space: LabelSpace) -> Words:
    """The word table of receipts."""
    label_ids = {label: index for index, label in enumerate((OUTSIDE, *space.labels))} | {UNKNOWN: IGNORED}
    words = [word for receipt in receipts for word in receipt.words]
    return Words(
        keys=[receipt.key for receipt in receipts],
        names=[receipt.name or receipt.key for receipt in receipts],
        sources=[receipt.source for receipt in receipts],
        sizes=_ints([(receipt.width, receipt.height) for receipt in receipts], 2),
        offsets=np.cumsum([0, *(len(receipt.words) for receipt in receipts)], dtype=np.int64),
        texts=[word.text for word in words],
        boxes=_ints([word.box_1000() for word in words], 4),
        lines=_ints([word.line for word in words]),
        gold=_ints([label_ids[label] for receipt in receipts for label in _scored_labels(receipt, space)]),
    )


def _scored_labels(receipt: Receipt, space: LabelSpace) -> Iterator[str]:
    hidden = space.unannotated(receipt.source)
    for label in space.taught(receipt):
        yield OUTSIDE if label in hidden else label


def _ints(values: Sequence[object], columns: int = 0) -> Ints:
    array = np.array(values, dtype=np.int32)
    return array.reshape(-1, columns) if columns else array


class _Builder:
    def __init__(
        self, space: LabelSpace, tokenizer: Tokenizer, config: DataConfig | Windows, sets: Sequence[frozenset[str]]
    ) -> None:
        self._space = space
        self._config = config
        self._cls = tokenizer.cls_token_id or 0
        self._sep = tokenizer.sep_token_id or 0
        self._tag_ids = {tag: index for index, tag in enumerate(space.tags)}
        self._set_ids = {names: len(space.tags) + index for index, names in enumerate(sets)}
        self._offsets = [0]
        self._ids: list[int] = []
        self._bbox: list[tuple[int, int, int, int]] = []
        self._targets: list[int] = []
        self._words: list[int] = []
        self._counts: list[tuple[int, int]] = []
        self._words_before = 0

    def add(self, receipt: Receipt, pieces: list[list[int]]) -> None:
        labels = iter(self._space.taught(receipt))
        tags = [tag for line in receipt.lines() for tag in to_bio([next(labels) for _ in line])]
        unannotated = self._space.unannotated(receipt.source)
        outside = self._set_ids.get(unannotated, self._tag_ids[OUTSIDE])
        ids = self._tag_ids | {OUTSIDE: outside, UNKNOWN: IGNORED}
        targets = [ids[tag] for tag in tags]
        boxes = [word.box_1000() for word in receipt.words]
        overlap = self._config.window_stride if self._config.use_sliding_window else 0
        lengths = [len(piece) for piece in pieces]
        views = VIEWS[self._config.examples]
        for window in (w for view in views for w in cut(receipt, lengths, view, self._config.max_length - 2, overlap)):
            self._token(self._cls, (0, 0, 0, 0))
            owned = range(window.own_start, window.own_stop)
            for index in range(window.start, window.stop):
                first, *rest = pieces[index]
                if index in owned:
                    self._token(first, boxes[index], targets[index], self._words_before + index)
                else:
                    self._token(first, boxes[index])
                for token in rest:
                    self._token(token, boxes[index])
            self._token(self._sep, (1000, 1000, 1000, 1000))
            self._offsets.append(len(self._ids))
            unlabelled = sum(tags[index] == OUTSIDE for index in owned)
            unknown = sum(tags[index] == UNKNOWN for index in owned)
            self._counts.append((unlabelled, len(owned) - unlabelled - unknown))
        self._words_before += len(receipt.words)

    def _token(self, token: int, box: tuple[int, int, int, int], target: int = IGNORED, word: int = -1) -> None:
        self._ids.append(token)
        self._bbox.append(box)
        self._targets.append(target)
        self._words.append(word)

    def examples(self) -> Examples:
        counts = _ints(self._counts, 2)
        return Examples(
            offsets=np.array(self._offsets, dtype=np.int64),
            input_ids=_ints(self._ids),
            bbox=_ints(self._bbox, 4),
            targets=_ints(self._targets),
            words=_ints(self._words),
            num_outside=counts[:, 0],
            num_entity=counts[:, 1],
        )


def downsample(examples: Examples, ratio: float | None, seed: int, views: int = 1) -> NDArray[np.int64]:
    """Numbers of the examples to train on: all with a label, and of the others so many that the words without a
    label come down to `ratio` a word with one. None keeps all of these. The choice depends on the arguments alone.
    An example without any supervised word teaches nothing and is left out.

    Args:
        views: how often each word is seen; with two, the ratio is that of the lines, the view that can be thinned.
    """
    everything = np.flatnonzero(examples.num_outside + examples.num_entity).astype(np.int64)
    if ratio is None:
        return everything
    plain = everything[examples.num_entity[everything] == 0]
    staying = int(examples.num_outside.sum()) / views - int(examples.num_outside[plain].sum())
    room = ratio * int(examples.num_entity.sum()) / views - staying
    order = np.random.default_rng(seed).permutation(plain)
    kept = order[np.cumsum(examples.num_outside[order]) <= room]
    return np.sort(np.concatenate([everything[examples.num_entity[everything] > 0], kept]))
