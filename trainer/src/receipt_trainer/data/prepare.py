"""From a configuration to encoded splits: load, choose labels, split, encode, count."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract.names import OUTSIDE
from receipt_trainer.contract.run_record import SplitRecord
from receipt_trainer.data.dedup import near_duplicate_groups
from receipt_trainer.data.encode import EncodedSplit, Tokenizer, allowed_sets, encode
from receipt_trainer.data.labels import LabelSpace, label_space, labels_by_source, stored_labels
from receipt_trainer.data.ocr_errors import with_misread
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import UNKNOWN, Receipt
from receipt_trainer.data.sources.load import Progress, load_receipts
from receipt_trainer.data.split import Split, limit, read_split_file, split_by_keys, split_by_stored, split_receipts
from receipt_trainer.errors import UserError


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that training needs of the data.

    Attributes:
        sets: allowed sets behind the targets of words that a source does not fully annotate.
        tokenizer_hash: sha256 of the tokenizer that encoded the splits.
        counts: for run.json.
        origin: fields of the configuration that say where a snapshot's receipts came from; empty without one.
    """

    space: LabelSpace
    sets: list[frozenset[str]]
    train: EncodedSplit
    validation: EncodedSplit
    split: SplitRecord
    tokenizer_hash: str
    counts: dict[str, Any]
    origin: dict[str, Any] = field(default_factory=dict)


def prepare(config: DataConfig, tokenizer: Any, *, table: str | None, progress: Progress | None = None) -> Prepared:
    """Load and encode what `config` names.

    Args:
        table: name of the receipts table, needed where the data set is `dynamodb`.

    Raises:
        UserError: nothing to train on, an impossible label, a wrong split file, ...
    """
    problems = ProblemLog()
    loaded = load_receipts(config.dataset_name, problems, table=table, max_words=config.max_words, progress=progress)
    labelled = [receipt for receipt in loaded if receipt.is_labelled()]
    held_out: list[Receipt] | None = None
    if config.eval_dataset:
        held_out = load_receipts(config.eval_dataset, problems, table=table, max_words=config.max_words)
        held_out = [receipt for receipt in held_out if receipt.is_labelled()]
    whole = _split(labelled, held_out, config, problems)
    # The data set that is trained on decides what is learned: not a split left out, not somebody else's eval_dataset.
    learned = stored_labels(whole.train if config.eval_dataset else whole.train + whole.validation)
    space = label_space(config, learned, labels_by_source(whole.train + whole.validation))
    split = Split(limit(whole.train, config.max_samples), whole.validation, whole.seed)
    with_copies = with_misread(split.train, config.ocr_errors, config.split_seed)
    sets = allowed_sets(space, {receipt.source for receipt in (*split.train, *split.validation)})
    train = encode(with_copies, space, tokenizer, config, sets)
    validation = encode(split.validation, space, tokenizer, config, sets)
    if not int(train.examples.num_entity.sum()):
        raise UserError(f"no training word bears any of {', '.join(space.labels)}; check --allowed-label and the data")
    held_here = 0 if config.eval_dataset else len(whole.validation)
    counts = {
        "receipts": len(loaded),
        "receipts_without_valid_label": len(loaded) - len(labelled),
        "receipts_left_out_by_split": len(labelled) - len(whole.train) - held_here,
        "train": count(with_copies, train, space),
        "validation": count(split.validation, validation, space),
        "problems": problems.as_dict(),
    }
    return Prepared(space, sets, train, validation, split.record(), tokenizer_hash(tokenizer), counts)


def _split(labelled: list[Receipt], held_out: list[Receipt] | None, config: DataConfig, problems: ProblemLog) -> Split:
    if len(labelled) < 2 and held_out is None:
        raise UserError(
            f"{config.dataset_name}: {len(labelled)} receipts with a VALID label; at least 2 are needed to train"
            + problems.said()
        )
    if held_out is not None:
        if not labelled or not held_out:
            raise UserError(
                f"{config.dataset_name if not labelled else config.eval_dataset}: no labelled receipt{problems.said()}"
            )
        left = _unlike(labelled, held_out)
        if not left:
            raise UserError(f"{config.eval_dataset}: it holds all labelled receipts of {config.dataset_name}")
        train, validation = (sorted(side, key=lambda receipt: receipt.key) for side in (left, held_out))
        return Split(train, validation)
    if config.split_file:
        return _parted(split_by_keys(labelled, read_split_file(Path(config.split_file)), config.split_file))
    if config.train_split and config.eval_split:
        return _parted(split_by_stored(labelled, config.train_split, config.eval_split))
    split = split_receipts(labelled, fraction=config.validation_fraction, seed=config.split_seed)
    if not split.validation:
        raise UserError(
            f"{config.dataset_name}: all {len(labelled)} labelled receipts are near duplicates of each other, so none "
            "can be held out; validate on other receipts by --eval-dataset or --split-file"
        )
    return split


def _parted(split: Split) -> Split:
    """The split without training receipts that are near duplicates of held-out ones."""
    return Split(_unlike(split.train, split.validation), split.validation, split.seed)


def _unlike(labelled: list[Receipt], held_out: list[Receipt]) -> list[Receipt]:
    """The labelled receipts that are neither held out nor near duplicates of one that is."""
    together = [*held_out, *labelled]
    seen = {
        index
        for group in near_duplicate_groups(together)
        if any(index < len(held_out) for index in group)
        for index in group
    }
    return [receipt for index, receipt in enumerate(labelled, start=len(held_out)) if index not in seen]


def count(receipts: Sequence[Receipt], encoded: EncodedSplit, space: LabelSpace) -> dict[str, Any]:
    """Receipts, lines, words, tokens, examples and labelled words of one side.

    `words_left_out`, where there are any, are those of which nobody knows what they are.
    """
    labels = Counter(label for receipt in receipts for label in space.taught(receipt))
    left_out = {"words_left_out": labels[UNKNOWN]} if labels[UNKNOWN] else {}
    return {
        "receipts": len(receipts),
        "lines": sum(1 for receipt in receipts for _ in receipt.lines()),
        "words": len(encoded.words.texts),
        **left_out,
        "examples": len(encoded.examples),
        "tokens": len(encoded.examples.input_ids),
        "o_entity_ratio": round(encoded.examples.o_entity_ratio(), 4),
        "words_by_label": {label: labels[label] for label in (*space.labels, OUTSIDE)},
        "receipts_by_source": dict(sorted(Counter(receipt.source or "own" for receipt in receipts).items())),
    }


def tokenizer_hash(tokenizer: Tokenizer) -> str:
    """sha256 of a fast tokenizer's definition, without truncation and padding: any call may set or clear these."""
    backend: Any = tokenizer
    definition = json.loads(backend.backend_tokenizer.to_str())
    kept = {name: value for name, value in definition.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
