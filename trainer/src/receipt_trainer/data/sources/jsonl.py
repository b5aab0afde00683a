"""Files of receipts as JSON lines, or as one JSON array; what their words mean otherwise is said."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import MAX_WORDS, strip_prefixes
from receipt_trainer.data.sources.formats.hugging_face import NAMES_OF_NUMBERS
from receipt_trainer.data.sources.record import cause_of, given_label, is_whole, parse_record
from receipt_trainer.errors import UserError
from receipt_trainer.files import open_text


def read_jsonl(
    path: Path, problems: ProblemLog, max_words: int = MAX_WORDS, label_names: Sequence[str] = ()
) -> Iterator[Receipt]:
    """The sound receipts of a file of JSON lines, or of one JSON array; all others are in `problems`.

    Of two with one key the first counts, but for what a person has corrected: of that the latest.

    Prefixes of labels (B-, I-, E-, S-) are stripped where all of the file's labels have them.

    Args:
        label_names: names of labels that the file gives by number, in their order.

    Raises:
        UserError: the file is missing or is not what its name says; its labels are numbers without names; most words
            of most receipts cannot be used.
    """
    found: dict[str, Receipt] = {}
    suspicion = _Suspicion(path)
    for place, record in records(path, problems):
        before = suspicion.lost(problems)
        receipt = parse_record(record, place, problems, max_words, label_names)
        suspicion.look(record, before, problems, has_names=bool(label_names))
        if receipt is None:
            continue
        if receipt.key in found and not receipt.corrects(found[receipt.key]):
            problems.add(ProblemKind.DUPLICATE_RECEIPT, receipt.name, place)
            continue
        found[receipt.key] = receipt
    suspicion.judge(problems)
    yield from strip_prefixes(found.values(), problems)


def records(path: Path, problems: ProblemLog) -> Iterator[tuple[str, Any]]:
    """Each decoded line, or element of the array that the file is, and its place."""
    try:
        with open_text(path) as stream:
            first = next((line for line in stream if line.strip()), "")
            stream.seek(0)
            if first.lstrip().startswith("[") and not _is_json(first):
                yield from _elements(stream.read(), path, problems)
                return
            for row, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    problems.add(ProblemKind.BAD_RECORD, f"{path.name}:{row}", detail=str(error))
                    continue
                inner = record if isinstance(record, list) else [record]
                yield from ((f"{path.name}:{row}", each) for each in inner)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot read receipts: {reason}") from None


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _elements(text: str, path: Path, problems: ProblemLog) -> Iterator[tuple[str, Any]]:
    try:
        array = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.add(ProblemKind.BAD_RECORD, path.name, detail=f"neither JSON lines nor one JSON array: {error}")
        return
    yield from ((f"{path.name}[{n}]", each) for n, each in enumerate(array))


_UNUSABLE: Final = (
    ProblemKind.EMPTY_TEXT,
    ProblemKind.BAD_BOX,
    ProblemKind.BOX_OUTSIDE_PAGE,
    ProblemKind.BOXES_FRACTIONS,
)


@dataclass(slots=True)
class _Suspicion:
    """Whether a file means something else by its words than we do."""

    path: Path
    receipts: int = 0
    unusable: int = 0
    numbered: object = None
    cause: str = ""

    def lost(self, problems: ProblemLog) -> int:
        """Words lost so far."""
        return sum(problems.counts[kind] for kind in _UNUSABLE)

    def look(self, record: Any, before: int, problems: ProblemLog, *, has_names: bool) -> None:
        """Count a record, of whose words some have been lost since `before`."""
        words = record.get("words") if isinstance(record, dict) else None
        if not isinstance(words, list) or not words:
            return
        self.receipts += 1
        labels = record.get("ner_tags") if isinstance(words[0], str) else [given_label(word) for word in words]
        if not has_names and self.numbered is None and isinstance(labels, list):
            self.numbered = next((each for each in labels if is_whole(each, 0)), None)
        if 2 * (self.lost(problems) - before) > len(words):
            self.unusable += 1
            self.cause = self.cause or cause_of(record)

    def judge(self, problems: ProblemLog) -> None:
        """Refuse what cannot be meant so.

        Raises:
            UserError: labels are numbers and nobody says their names; most receipts have lost most of their words.
        """
        if self.numbered is not None:
            raise UserError(f"{self.path}: label {self.numbered} is a number: say the labels' names{NAMES_OF_NUMBERS}")
        if 2 * self.unusable > self.receipts:
            raise UserError(
                f"{self.path}: most words of {self.unusable} of {self.receipts} receipts cannot be used"
                f"{self.cause}{problems.said()}"
            )
