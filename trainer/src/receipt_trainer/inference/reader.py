"""Words to labelled words by the ONNX model of a package; no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import Unigram

from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.package import SAMPLE_FILE, TOKENIZER_FILE, PackageManifest, PackagePrecision
from receipt_trainer.data.decode import Floats, WordMeans, softmax, temper, whole_lines
from receipt_trainer.data.encode import Examples, Ints, encode
from receipt_trainer.data.labels import LabelSpace
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.record import parse_record
from receipt_trainer.errors import UserError
from receipt_trainer.inference.package import Package, open_package
from receipt_trainer.inference.rectangles import feed
from receipt_trainer.inference.session import open_session

MAX_TOKENS: Final = 1024
"""Of one call of the model, unless one window has more: what it needs of memory is bounded. More gains no time."""


@dataclass(frozen=True, slots=True)
class WordProbabilities:
    """What the model says of a receipt's words.

    Attributes:
        probabilities: (words, 1 + labels) of `O` and of each label, in the order of the receipt's words; rows sum to 1.
    """

    probabilities: Floats

    @property
    def labels(self) -> Ints:
        """(words,) the likeliest label of each, 0 for `O`."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int32)


class PackageTokenizer:
    """The tokenizer of a package, as `encode` wants it."""

    def __init__(self, path: Path, manifest: PackageManifest) -> None:
        try:
            self._tokenizer = read_tokenizer(path)
        except Exception as error:
            raise UserError(f"{path}: not a tokenizer: {' '.join(str(error).split())[:120]}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        tokens = manifest.special_tokens
        self.cls_token_id: int | None = tokens.cls
        self.sep_token_id: int | None = tokens.sep
        self.unk_token_id: int | None = tokens.unk

    def __call__(self, text: list[str], *, add_special_tokens: bool, verbose: bool) -> dict[str, list[list[int]]]:
        """One text at a time: a batch would start threads."""
        encode_one = self._tokenizer.encode
        return {"input_ids": [encode_one(one, add_special_tokens=add_special_tokens).ids for one in text]}


def read_tokenizer(path: Path) -> Tokenizer:
    """With the scores of its pieces as the file has them, to the last bit, as transformers takes them.

    `Tokenizer.from_file` reads some a bit too high or too low, which cuts a word otherwise where two ways weigh the
    same: a line drawn of one character.
    """
    tokenizer, model = Tokenizer.from_file(str(path)), json.loads(path.read_bytes())["model"]
    if model["type"] == "Unigram":
        pieces = [(piece, score) for piece, score in model["vocab"]]
        tokenizer.model = Unigram(pieces, model["unk_id"], model.get("byte_fallback", False))
    return tokenizer


class PackageReader:
    """A package's model, ready to read. Several threads may use one."""

    def __init__(self, package: Package, precision: PackagePrecision | None = None, *, threads: int = 1) -> None:
        """Load the model.

        Args:
            precision: of the model; by default the one that the manifest names.
            threads: that one call of the model uses.

        Raises:
            UserError: the package is damaged.
        """
        self.package, self.manifest = package, package.manifest
        manifest = package.manifest
        self.labels = (OUTSIDE, *manifest.labels)
        annotated = {source: frozenset(names) for source, names in manifest.annotated.items()}
        self.space = LabelSpace(manifest.labels, manifest.merge_amounts, annotated)
        self.tokenizer = PackageTokenizer(package.file(TOKENIZER_FILE), manifest)
        self._session = open_session(package.model(precision), threads=threads)

    @classmethod
    def open(cls, place: str | Path, precision: PackagePrecision | None = None) -> PackageReader:
        """The reader of a package: its folder, a run's, or a run's model/.

        Raises:
            UserError: no package there, or it is damaged.
        """
        return cls(open_package(place), precision)

    def read(self, receipts: Sequence[Receipt]) -> list[WordProbabilities]:
        """What the model says of each receipt's words, with the package's temperature."""
        temperature = self.manifest.calibration.temperature
        return [WordProbabilities(temper(means, temperature)) for means in self.read_raw(receipts)]

    def read_raw(self, receipts: Sequence[Receipt]) -> Iterator[Floats]:
        """(words, 1 + labels) probabilities of each receipt's words as the model gives them, without a temperature.

        One receipt after the other: several at once take longer, and in int8 each would depend on the others.
        """
        for receipt in receipts:
            yield self.read_windows(self.encode(receipt), receipt)

    def read_windows(self, examples: Examples, receipt: Receipt) -> Floats:
        """(words, 1 + labels) what the model gives for the words of a receipt, from its windows."""
        means = WordMeans(len(receipt.words), len(self.space.labels))
        for numbers in parts(examples):
            means.add(softmax(self.logits(examples, numbers)), examples.words_in(numbers))
        lines = np.array([word.line for word in receipt.words], dtype=np.int32)
        return whole_lines(means.mean(), lines, [0, len(lines)], self.space, self.manifest.name_change_cost)

    def encode(self, receipt: Receipt) -> Examples:
        """The windows of a receipt, as in training."""
        return encode([receipt], self.space, self.tokenizer, self.manifest.windows).examples

    def logits(self, examples: Examples, numbers: Ints) -> Floats:
        """(owned words, tags) what the model gives for some windows, each of which owns a word at least."""
        (logits,) = self._session.run(None, feed(examples, numbers))
        return np.asarray(logits, dtype=np.float32)

    def verify(self) -> None:
        """Read the package's sample.

        Raises:
            UserError: its words do not get the labels that they must.
        """
        path = self.package.file(SAMPLE_FILE)
        sample = json.loads(path.read_bytes())
        receipt = parse_record(sample["receipt"], SAMPLE_FILE, ProblemLog())
        if receipt is None:
            raise UserError(f"{path}: not a receipt")
        (found,) = self.read([receipt])
        read = [self.labels[label] for label in found.labels]
        if read != sample["labels"]:
            wrong = sum(one != other for one, other in zip(read, sample["labels"], strict=True))
            raise UserError(f"{self.package.folder}: reads {wrong} of the {len(read)} words of its own sample wrongly")


def parts(examples: Examples) -> Iterator[Ints]:
    """Numbers of the windows that own a word, the short ones first, in parts of at most `MAX_TOKENS` tokens."""
    lengths = examples.lengths
    owns = np.add.reduceat(examples.words >= 0, examples.offsets[:-1]) > 0
    order = np.argsort(lengths, kind="stable")
    order = order[owns[order]]
    part: list[int] = []
    tokens = 0
    for number in order.tolist():
        if part and tokens + lengths[number] > MAX_TOKENS:
            yield np.array(part, dtype=np.int32)
            part, tokens = [], 0
        part.append(number)
        tokens += int(lengths[number])
    if part:
        yield np.array(part, dtype=np.int32)
