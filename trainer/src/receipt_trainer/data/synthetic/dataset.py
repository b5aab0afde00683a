"""A data set of drawn documents in a folder: images by several processes, the lists of examples last."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from pathlib import Path
from random import Random
from typing import IO, Any, Final

import numpy as np

from receipt_trainer.data.document import canonical_json
from receipt_trainer.data.document_set import VlExample, to_line
from receipt_trainer.data.sources.record import to_line as receipt_line
from receipt_trainer.data.synthetic import receipt_of
from receipt_trainer.data.synthetic.corpus import OwnVendor
from receipt_trainer.data.synthetic.layout import LaidOut, lay_out_example
from receipt_trainer.data.synthetic.render import encode, fonts_by_language
from receipt_trainer.data.synthetic.words import Damage
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import write_atomically

LEVELS: Final = ("clean", "photo", "mixed")
MARKER: Final = ".generate.json"
TRAIN, VAL, BOXES = "train.jsonl", "val.jsonl", "receipts.jsonl"
BOXES_SOURCE: Final = "synthetic-vl"
_CHUNK: Final = 16
_FORMAT: Final = 3
"""Raised when the same seed would no longer give the same documents."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a data set; all that example k depends on besides k.

    Attributes:
        templates, languages: names to draw from.
        level: "clean" (as printed), "photo" (as photographed), "mixed" (half of each).
        boxes: whether receipts.jsonl with every word's box is written too (clean only).
        font_dirs: where fonts are looked for that the bundled ones cannot stand in for.
        vendors: as in `draw_document`.
    """

    seed: int
    templates: tuple[str, ...]
    languages: tuple[str, ...]
    level: str = "clean"
    split: float = 0.9
    boxes: bool = False
    font_dirs: tuple[Path, ...] = ()
    vendors: tuple[OwnVendor, ...] = ()


@dataclass(slots=True)
class Summary:
    """Counts of what was written. `drawn` images are new, the others were there; `bytes` is of all images."""

    count: int = 0
    drawn: int = 0
    bytes: int = 0
    val: int = 0
    templates: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)

    def add(self, made: _Made) -> None:
        """Count one example."""
        self.count += 1
        self.drawn += made.drawn
        self.bytes += made.bytes
        self.val += made.val
        self.templates[made.template] += 1
        self.languages[made.language] += 1


@dataclass(frozen=True, slots=True)
class _Made:
    line: str
    receipt: str
    val: bool
    drawn: bool
    bytes: int
    template: str
    language: str


def generate_dataset(
    folder: Path, count: int, plan: Plan, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Summary:
    """Write `count` examples: `images/`, then receipts.jsonl and val.jsonl, and train.jsonl last.

    Example k depends on the plan and k alone, so any number of workers writes the same bytes; only its side may change
    where it is the last and a side would have none. A run that was stopped
    resumes when it is started again with the same plan: images are written completely or not at all, and those that are
    there stay.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    try:
        _claim(folder, plan)
        summary = Summary()
        with _lists(folder, plan) as streams:
            for made in _all(folder, count, plan, workers):
                if summary.count == count - 1 and 0 < plan.split < 1 and summary.val in (0, count - 1):
                    # The last of a few: no side may stay empty, and one example alone is there to train on.
                    made = replace(made, val=summary.val == 0 < count - 1)
                summary.add(made)
                streams[VAL if made.val else TRAIN].write(made.line)
                if plan.boxes:
                    streams[BOXES].write(made.receipt)
                if progress is not None:
                    progress(summary.count, count)
        return summary
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written: {error.strerror or error}") from None


def _all(folder: Path, count: int, plan: Plan, workers: int) -> Iterator[_Made]:
    """All examples in order."""
    indices = [range(start, min(count, start + _CHUNK)) for start in range(0, count, _CHUNK)]
    if workers == 1:
        for chunk in indices:
            yield from _make_chunk(folder, plan, chunk)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(indices)), context, initializer=_ignore_interrupts) as pool:
        try:
            for made in pool.map(_make_chunk, repeat(folder), repeat(plan), indices):
                yield from made
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise WorldError(f"a worker died (out of memory?); start again to resume: {error}") from None
            raise


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's: it lets the chunks in hand be finished


def _make_chunk(folder: Path, plan: Plan, chunk: range) -> list[_Made]:
    fonts = fonts_by_language(plan.languages, plan.font_dirs)
    return [
        _make(folder, plan, index, lay_out_example(plan.seed, index, plan.templates, fonts, plan.vendors))
        for index in chunk
    ]


def _make(folder: Path, plan: Plan, index: int, laid_out: LaidOut) -> _Made:
    own = Random(f"vl:{plan.seed}:{index}:use")
    photo = plan.level == "photo" or (plan.level == "mixed" and own.random() < 0.5)
    val = own.random() >= plan.split
    path = folder / "images" / f"{index:06d}.{'jpg' if photo else 'png'}"
    new = not path.is_file()
    if new:
        camera = np.random.default_rng([abs(plan.seed), index, int(plan.seed < 0)]) if photo else None
        write_atomically(path, encode(laid_out.page, camera))
    name = f"synthetic-{plan.seed}-{index:06d}"
    difficulty = round(min(1.0, laid_out.difficulty + (0.2 if photo else 0.0)), 3)
    example = VlExample(name, path, "", "", canonical_json(laid_out.truth), difficulty)
    return _Made(
        line=to_line(example, folder),
        receipt=receipt_line(receipt_of(laid_out, name, BOXES_SOURCE, own, Damage())) if plan.boxes else "",
        val=val,
        drawn=new,
        bytes=path.stat().st_size,
        template=laid_out.template,
        language=laid_out.language,
    )


def _claim(folder: Path, plan: Plan) -> None:
    """Take the folder for this plan, or resume its run.

    The lists of a finished run go first: while images are drawn there is no list that says all are there.
    """
    marker = folder / MARKER
    settings = json.loads(json.dumps(asdict(plan) | {"format": _FORMAT}, default=str))
    before: Any = None
    if marker.is_file():
        try:
            before = json.loads(marker.read_bytes())
        except ValueError:
            before = None
        if before != settings:
            raise UserError(f"{folder}: was generated with other settings; give another folder, or empty this one")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: holds other files; give a folder that is new or empty")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    write_atomically(marker, json.dumps(settings, indent=1).encode())
    for name in (TRAIN, VAL, BOXES):
        (folder / name).unlink(missing_ok=True)
    for path in (folder / "images").glob(".*.tmp"):  # of a run that was killed
        path.unlink(missing_ok=True)


@contextmanager
def _lists(folder: Path, plan: Plan) -> Iterator[dict[str, IO[str]]]:
    """The lists under other names while they are written; the last one gets its name last."""
    names = [BOXES] * plan.boxes + [VAL] * (plan.split < 1) + [TRAIN] * (plan.split > 0)
    beside = {name: folder / f".{name}.part" for name in names}
    try:
        with ExitStack() as stack:
            streams: dict[str, IO[str]] = {}
            for name, path in beside.items():
                streams[name] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
            yield streams
            for stream in streams.values():
                stream.flush()
                os.fsync(stream.fileno())
        for name, path in beside.items():
            if path.stat().st_size:
                path.replace(folder / name)
    finally:
        for path in beside.values():
            path.unlink(missing_ok=True)
