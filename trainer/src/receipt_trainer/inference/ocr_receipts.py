"""Photos as receipts of the words that the reader itself reads, so that a model trains on what it will be given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.gold_words import align
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.foreign import receipts_of
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing, sha256_of
from receipt_trainer.inference.ocr import Ocr, read_document
from receipt_trainer.pages.kinds import is_document_file

HASH: Final = "image_sha256"
"""Of a written receipt: what its image was when it was read."""


@dataclass
class Done:
    """What became of images: pages read and found read before, refusals by image, and words of read, gold and both."""

    read: int = 0
    unchanged: int = 0
    refused: dict[Path, str] = field(default_factory=dict)
    words: int = 0
    with_gold: int = 0
    gold: int = 0
    gold_met: int = 0


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files, and in place of a folder the images and PDFs in it, sorted by name.

    Raises:
        UserError: no such file or folder, or a folder without any.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        inside = sorted(file for file in path.rglob("*") if is_document_file(file)) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path}: no image or PDF in this folder")
        found |= dict.fromkeys(inside)
    return list(found)


def write_ocr_receipts(
    images: Sequence[Path],
    output: Path,
    gold: Mapping[str, Receipt],
    problems: ProblemLog,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Done:
    """Read images into a JSON lines file, a line a page; those that stand there already and have not changed are kept.

    Every line is complete as soon as its page is read, so that a stopped run resumes when it is started again.

    Args:
        images: their names without ending are the receipts' ids.
        output: the file, *.jsonl.
        gold: receipts by name, whose labels the words take that are read at the same places.

    Raises:
        UserError: the file cannot be written.
    """
    done = Done()
    try:
        before = _lines_before(output)
        ocr: Ocr | None = None
        wanted = {path: sha256_of(path) for path in images}
        kept = [line for path in images for line in before.get(wanted[path], ())]
        with replacing(output) as stream:
            stream.writelines(kept)
        done.unchanged = len(kept)
        with output.open("a", encoding="utf-8", newline="\n") as stream:
            for count, path in enumerate(images, start=1):
                if wanted[path] not in before:
                    ocr = ocr or Ocr()
                    for receipt in _read(ocr, path, gold, problems, done):
                        extra = receipt.extra | {HASH: wanted[path]}
                        stream.write(to_line(replace(receipt, extra=extra)))
                        stream.flush()
                if progress is not None:
                    progress(count, len(images))
    except OSError as error:
        raise UserError(f"{error.filename or output}: {error.strerror or error}") from None
    return done


def _read(ocr: Ocr, path: Path, gold: Mapping[str, Receipt], problems: ProblemLog, done: Done) -> Iterator[Receipt]:
    try:
        document = read_document(ocr, path, str(path))
    except UserError as error:
        done.refused[path] = str(error)
        return
    receipts = receipts_of(replace(document, name=path.stem), problems)
    if not receipts:
        done.refused[path] = f"{path}: no words were found"
    for receipt in receipts:
        truth = gold.get(receipt.name) or gold.get(path.name)
        if truth is not None:
            aligned = align(receipt, truth)
            receipt = aligned.receipt
            done.with_gold += 1
            done.gold += aligned.gold
            done.gold_met += aligned.gold_met
        done.read += 1
        done.words += len(receipt.words)
        yield receipt


def _lines_before(output: Path) -> dict[str, list[str]]:
    """The whole lines of an earlier run by the hash of their image."""
    found: dict[str, list[str]] = {}
    if output.is_file():
        with output.open(encoding="utf-8") as stream:
            for line in stream:
                record: Any = None
                if line.endswith("\n"):
                    try:
                        record = json.loads(line)
                    except ValueError:
                        record = None
                if not isinstance(record, dict) or not isinstance(record.get(HASH), str):
                    if line.endswith("\n"):
                        raise UserError(f"{output}: holds other receipts; give a file that is new")
                    continue  # the line that a stopped run was writing
                found.setdefault(record[HASH], []).append(line)
    return found
