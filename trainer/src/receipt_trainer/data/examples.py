"""Encoded receipts: flat arrays that are cut, packed and memory-mapped without copying."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.data import bio
from receipt_trainer.data.align import Tokenizer, WordEncoder
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.windows import cut

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
            that the receipt's source does not annotate throughout is `O`, as it is in scored predictions.
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
    config: DataConfig,
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
    label_ids = {label: index for index, label in enumerate((OUTSIDE, *space.labels))}
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
    for word in receipt.words:
        label = space.map(word.valid_label())
        yield OUTSIDE if label in hidden else label


def _ints(values: Sequence[object], columns: int = 0) -> Ints:
    array = np.array(values, dtype=np.int32)
    return array.reshape(-1, columns) if columns else array


class _Builder:
    def __init__(
        self, space: LabelSpace, tokenizer: Tokenizer, config: DataConfig, sets: Sequence[frozenset[str]]
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
        tags = [
            tag
            for line in receipt.lines()
            for tag in bio.encode([self._space.map(word.valid_label()) for word in line])
        ]
        unannotated = self._space.unannotated(receipt.source)
        outside = self._set_ids.get(unannotated, self._tag_ids[OUTSIDE])
        targets = [outside if tag == OUTSIDE else self._tag_ids[tag] for tag in tags]
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
            entities = sum(tags[index] != OUTSIDE for index in owned)
            self._counts.append((len(owned) - entities, entities))
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
    label come down to `ratio` a word with one. None keeps all. The choice depends on the arguments alone.

    Args:
        views: how often each word is seen; with two, the ratio is that of the lines, the view that can be thinned.
    """
    everything = np.arange(len(examples), dtype=np.int64)
    if ratio is None:
        return everything
    plain = everything[examples.num_entity == 0]
    staying = int(examples.num_outside.sum()) / views - int(examples.num_outside[plain].sum())
    room = ratio * int(examples.num_entity.sum()) / views - staying
    order = np.random.default_rng(seed).permutation(plain)
    kept = order[np.cumsum(examples.num_outside[order]) <= room]
    return np.sort(np.concatenate([everything[examples.num_entity > 0], kept]))
