"""The examples of a run: read, measured, and held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from receipt_trainer.config.paddleocr_vl import VlDataConfig, VlTrainingConfig
from receipt_trainer.contract.sinks import report_progress
from receipt_trainer.data.document_set import (
    ExampleError,
    VlExample,
    example_lines,
    in_rows,
    read_examples,
    with_prompt,
)
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import count_tokens

REHEARSAL_SCORED: Final = 20
"""Pages of the base's own task that are scored, at most."""

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Side:
    """Examples of one side, each with its tokens (prompt with image, and answer), and of these the supervised ones."""

    examples: list[VlExample]
    lengths: NDArray[np.int64]
    answers: NDArray[np.int64]

    def counts(self) -> dict[str, int]:
        """For people and run.json."""
        return {
            "documents": len(self.examples),
            "tokens": int(self.lengths.sum()),
            "supervised_tokens": int(self.answers.sum()),
        }


@dataclass(frozen=True, slots=True)
class VlData:
    """The documents to train on and those to validate on.

    Attributes:
        left_out: {"id", "reason"} of each example that is too long or that the model cannot take.
        rehearsal: pages of the base's own task that are scored and not trained on.
        mixed: how many others were put among the examples to train on.
    """

    train: Side
    validation: Side
    left_out: list[dict[str, str]]
    rehearsal: tuple[VlExample, ...] = ()
    mixed: int = 0

    def counts(self) -> dict[str, Any]:
        """For people and run.json."""
        counts: dict[str, Any] = {"train": self.train.counts(), "validation": self.validation.counts()}
        return counts | {"left_out": len(self.left_out)}

    def fingerprint(self) -> str:
        """Hash of what the examples say, and of the names and sizes of their images."""
        digest = hashlib.sha256()
        for side in (self.train, self.validation):
            for example in side.examples:
                image = [example.image.name, example.image.stat().st_size]
                row = [example.id, image, example.instruction, example.input, example.output, example.difficulty]
                digest.update(json.dumps(row).encode() + b"\n")
            digest.update(b"\n")
        return digest.hexdigest()


def find_files(config: VlDataConfig) -> tuple[Path, Path | None]:
    """The files to train and to validate on; None: a share of the first is held out.

    A val.jsonl beside train.jsonl that has no line counts as none.

    Raises:
        UserError: the data set's folder lacks train.jsonl.
    """
    train = Path(config.dataset_path)
    validation = Path(config.val_path) if config.val_path else None
    if train.is_dir():
        beside = train / "val.jsonl"
        train = train / "train.jsonl"
        if not train.is_file():
            raise UserError(f"dataset_path {train.parent}: there is no train.jsonl in it; name the file itself")
        validation = validation or (beside if beside.is_file() and any(example_lines(beside)) else None)
    if validation is not None and validation.is_dir():
        validation = validation / "val.jsonl"
    return train, validation


def prepare(
    config: VlDataConfig, training: VlTrainingConfig, processor: Any, progress: Progress | None = None
) -> VlData:
    """Read both sides and leave out what does not fit the sequence or the model.

    Args:
        progress: called after each example that has been measured.

    Raises:
        UserError: as `find_files` and `read_examples`, an image cannot be read, or a side is empty.
    """
    train_file, validation_file = find_files(config)
    examples = _taught(train_file, training)
    if validation_file is not None:
        held_out = _taught(validation_file, training)
    else:
        examples, held_out = hold_out(examples, config.validation_fraction)
    mixed, scored = rehearsal_pages(config, len(examples))
    examples = [*examples, *mixed]
    limit = training.max_sequence_length
    left_out: list[dict[str, str]] = []
    done, total = count(1), len(examples) + len(held_out)

    def tell() -> None:
        number = next(done)
        report_progress(f"{number} of {total} documents measured")
        if progress is not None:
            progress(number, total)

    train, validation = (_measure(side, processor, limit, left_out, tell) for side in (examples, held_out))
    for side, name in ((train, "to train on"), (validation, "to validate on")):
        if not side.examples:
            first = f": {left_out[0]['id']}: {left_out[0]['reason']}" if left_out else ""
            raise UserError(f"{train_file}: no example {name}; {len(left_out)} were left out{first}")
    return VlData(train, validation, left_out, scored, len(mixed))


def rehearsal_pages(config: VlDataConfig, num_examples: int) -> tuple[list[VlExample], tuple[VlExample, ...]]:
    """Pages of the base's own task: those to train on beside so many examples, and those to score, none of them both.

    Raises:
        UserError: no such file, or too few pages in it.
    """
    if config.rehearsal_path is None:
        return [], ()
    pages = by_hash(read_examples(Path(config.rehearsal_path)))
    scored = min(REHEARSAL_SCORED, max(1, len(pages) // 2))
    wanted = round(num_examples * config.rehearsal_share / (1 - config.rehearsal_share))
    if wanted > len(pages) - scored:
        raise UserError(
            f"{config.rehearsal_path}: rehearsal_share {config.rehearsal_share:g} of {num_examples} examples needs "
            f"{wanted + scored} pages, {scored} of them to score; there are {len(pages)}: "
            "`receipt-trainer vl rehearse --pages` makes more"
        )
    return pages[scored : scored + wanted], tuple(pages[:scored])


def by_hash(examples: Sequence[VlExample]) -> list[VlExample]:
    """In the order of the hashes of their ids, which is by chance and always the same."""
    return sorted(examples, key=lambda example: hashlib.sha256(example.id.encode()).digest())


def _taught(file: Path, training: VlTrainingConfig) -> list[VlExample]:
    examples = with_prompt(read_examples(file), training.prompt)
    return [replace(one, output=in_rows(one.output)) for one in examples] if training.compact_items else examples


def hold_out(examples: Sequence[VlExample], fraction: float) -> tuple[list[VlExample], list[VlExample]]:
    """Both sides: held out are those with the smallest hashes of their ids, at least one.

    Raises:
        UserError: there is only one example.
    """
    if len(examples) < 2:
        raise UserError("one example cannot be split into two sides: give a file to validate on (val_path, --val-file)")
    number = min(max(1, round(len(examples) * fraction)), len(examples) - 1)
    chosen = {example.id for example in by_hash(examples)[:number]}
    sides = [example for example in examples if example.id not in chosen]
    return sides, [example for example in examples if example.id in chosen]


def _measure(
    examples: Sequence[VlExample],
    processor: Any,
    limit: int,
    left_out: list[dict[str, str]],
    tell: Callable[[], None],
) -> Side:
    kept, lengths, answers = [], [], []
    for example in examples:
        tell()
        try:
            tokens = count_tokens(processor, example)
        except ExampleError as error:
            left_out.append({"id": example.id, "reason": f"{error.field}: {error.reason}"})
            continue
        if tokens.total > limit:
            reason = f"{tokens.total} tokens ({tokens.answer} of them the answer), max_sequence_length is {limit}"
            left_out.append({"id": example.id, "reason": reason})
            continue
        kept.append(example)
        lengths.append(tokens.total)
        answers.append(tokens.answer)
    return Side(kept, np.asarray(lengths, dtype=np.int64), np.asarray(answers, dtype=np.int64))
