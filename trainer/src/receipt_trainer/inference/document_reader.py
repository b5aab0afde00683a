"""From a photo, a PDF or words to fields: a model package, the reader of pages, and what is made of labelled words."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.contract.package import KNOWN_FILE
from receipt_trainer.data.page_words import DocumentWords, PageWords, line_numbers, straightened
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt, Word, image_id_for
from receipt_trainer.data.sources.clean import MAX_WORDS, clean, sound_box
from receipt_trainer.errors import UserError
from receipt_trainer.extraction.confidence import field_confidence
from receipt_trainer.extraction.dates import DateOrder
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import gather_as
from receipt_trainer.extraction.known import Known, make_known, read_known
from receipt_trainer.extraction.summary import Reading, read_receipt
from receipt_trainer.inference.answer import Answer, make_answer
from receipt_trainer.inference.inputs import Given, Inputs, of_record
from receipt_trainer.inference.model_place import find_model
from receipt_trainer.inference.package import ONNX_FILES
from receipt_trainer.inference.reader import PackageReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receipt_trainer.contract.job import Family
    from receipt_trainer.inference.ocr import Ocr
    from receipt_trainer.pages.images import Content

Source = str | Path | bytes | Mapping[str, Any] | DocumentWords
"""A file's path, the bytes of one, {"width", "height", "words"} or another program's JSON, or words of pages."""


RELABELLED: Final = ("fields", "summary", "items", "checks", "review", "review_reasons")
"""Parts of an answer that follow from the labels of its words."""


class LazyOcr:
    """The reader of pages, loaded when it is first needed; models that follow each other may share one."""

    def __init__(self) -> None:
        self._ocr: Ocr | None = None
        self._lock = Lock()

    def __call__(self) -> Ocr:
        """The reader of pages."""
        with self._lock:
            if self._ocr is None:
                from receipt_trainer.inference.ocr import Ocr

                self._ocr = Ocr()
            return self._ocr


class DocumentReader:
    """A model that is ready to read. Several threads may use one.

    Attributes:
        ocr: gives the reader of pages.
    """

    family: Family = "layoutlm"

    def __init__(
        self,
        model: PackageReader,
        *,
        date_order: DateOrder | None = None,
        currency: str | None = None,
        known: Known | str | Path | None = None,
        today: date | None = None,
        ocr: LazyOcr | None = None,
    ) -> None:
        """Make a reader of a model.

        Args:
            date_order: of dates such as 03/04/2025; by default what the receipt proves, else what the model has seen.
            currency: ISO 4217, where none is printed.
            known: merchants and addresses by which misread ones are put right, or a file of them (JSON lines of
                `merchant` and `address`); by default the model's own.
            today: dates with a year of two digits in front are not much later; by default the clock's at each read.
            ocr: that of another reader; by default one of its own.

        Raises:
            UserError: there is no such order, the currency is not three letters, or `known` cannot be read.
        """
        self.model, self.manifest = model, model.manifest
        self.ocr = ocr or LazyOcr()
        if isinstance(known, str | Path):
            known = read_known(Path(known))
        self._known = known if known is not None else _own_known(model)
        self._evidence = gather_as(
            date_order, currency, learned=self.manifest.date_orders, marks=self.manifest.amount_marks
        )
        self._today = today

    @classmethod
    def open(cls, model: str | Path, **options: Any) -> DocumentReader:
        """The reader of a model.

        Args:
            model: a run's folder, a package's, or s3://bucket/.../model/serve, which is kept in a cache.
            options: as of `__init__`.

        Raises:
            UserError: there is no package, or it is damaged.
            WorldError: it cannot be downloaded.
        """
        return cls(PackageReader.open(find_model(model)), **options)

    @property
    def version(self) -> str:
        """Name of the job and beginning of the hash of the model that reads."""
        file = self.manifest.files[ONNX_FILES[self.manifest.precision]]
        return f"{self.manifest.job_name}/{file.sha256[:12]}"

    def read(self, source: Source, *, pages: Collection[int] | None = None, format: str | None = None) -> Answer:
        """Read one document.

        Args:
            source: a path of a photo, PDF or file with words; what stands in such a file, as bytes; a dict of words as
                in our JSON lines (`id` and each `line` may be missing), or as another program gives it; or words of
                pages.
            pages: numbers of the pages that are read, from 1.
            format: of a file with words, where it is not recognised.

        Raises:
            UserError: it cannot be read; or it has several documents, which `receipt-trainer read` takes.
            TypeError: it is none of these.
        """
        if isinstance(source, DocumentWords):
            return self.answer(Given(source.name, source))
        inputs = Inputs(self.open_photo, format, pages)
        if isinstance(source, Mapping):
            content = json.dumps(dict(source), default=_plain).encode()
            if {"words", "width", "height"} & source.keys():
                return self.answer(of_record(json.loads(content), "words"))
            given = inputs.of_bytes(content, "the dict")
        elif isinstance(source, bytes):
            given = inputs.of_bytes(source, "bytes")
        elif isinstance(source, str | Path):
            given = inputs.of_file(Path(source))
        else:
            raise TypeError(f"read takes a path, bytes or a dict of words, not {type(source).__name__}")
        first, second = next(given, None), next(given, None)
        if first is None:
            raise UserError(f"{_called(source)}: there is no document in it")
        if second is not None:
            raise UserError(f"{_called(source)}: it has several documents; read it with: receipt-trainer read")
        return self.answer(first)

    def about(self) -> dict[str, Any]:
        """See `Reader`."""
        manifest = self.manifest
        calibrated = manifest.calibration.calibrated
        return {"precision": manifest.precision, "labels": list(manifest.labels), "calibrated": calibrated}

    def open_photo(self, content: Content, name: str, pages: Collection[int] | None) -> Given:
        """See `Reader`: its words by OCR."""
        from receipt_trainer.inference.ocr import read_document

        return Given(name, read_document(self.ocr(), content, name, pages=pages))

    def answer(self, given: Given) -> Answer:
        """See `Reader`."""
        if given.words is None:
            raise UserError(f"{given.name}: {given.refusal}")
        problems = list(given.problems)
        document = _with_sound_confidences(given.words, problems)
        words = self._labelled(document, problems)
        model = {"name": self.manifest.job_name, "version": self.version, "precision": self.manifest.precision}
        said = list(dict.fromkeys(problems))  # a word may be looked at twice
        calibrated = self.manifest.calibration.calibrated
        return make_answer(document, words, self._reading(words), model, calibrated=calibrated, problems=said)

    def fields_of(self, answer: Mapping[str, Any], labels: Mapping[int, str]) -> dict[str, Any]:
        """What an answer says of fields, summary, items, checks and review where a person has labelled words of it.

        Args:
            answer: its `id`, `pages` and `words`.
            labels: of the person, by the words' places; the others keep theirs, and no model is asked.
        """
        words = [
            ReadWord(
                number=number,
                text=word["text"],
                box=tuple(word["box"]),
                line=word["line"],
                label=labels.get(number, word["label"]),
                score=1.0 if number in labels else word["confidence"],
                reading=None if number in labels else word["ocr_confidence"],
                page=word["page"],
            )
            for number, word in enumerate(answer["words"])
        ]
        pages = tuple(PageWords(page["page"], page["width"], page["height"], ()) for page in answer["pages"])
        document = DocumentWords(answer["id"], pages)
        calibrated = self.manifest.calibration.calibrated
        found = make_answer(document, words, self._reading(words), {}, calibrated=calibrated)
        return {name: found[name] for name in RELABELLED}

    def _reading(self, words: Sequence[ReadWord]) -> Reading:
        calibration = self.manifest.calibration

        def confidence(run: Sequence[ReadWord]) -> float:
            return field_confidence([word.score for word in run], [word.reading for word in run], calibration)

        evidence = self._evidence(words, today=self._today or date.today())
        return read_receipt(words, evidence, confidence, self._known)

    def _labelled(self, document: DocumentWords, problems: list[str]) -> list[ReadWord]:
        """The words of all pages with labels, numbered in reading order; lines are counted through the pages."""
        found: list[ReadWord] = []
        count = sum(len(page.words) for page in document.pages)
        if count > MAX_WORDS:
            raise UserError(f"{document.name}: {count} words, at most {MAX_WORDS}")
        for page in document.pages:
            receipt = _receipt(document, page, problems)
            if receipt is None:
                continue
            first_line = found[-1].line + 1 if found else 0
            (probabilities,) = self.model.read([receipt])
            lowest = min(word.line for word in receipt.words)
            for word, label, row in zip(receipt.words, probabilities.labels, probabilities.probabilities, strict=True):
                place = page.words[word.extra["place"]]
                found.append(
                    ReadWord(
                        number=len(found),
                        text=word.text,
                        box=place.box,
                        line=first_line + word.line - lowest,
                        label=self.model.labels[label],
                        score=float(row[label]),
                        reading=place.confidence,
                        page=page.number,
                    )
                )
        return found


def _receipt(document: DocumentWords, page: PageWords, problems: list[str]) -> Receipt | None:
    """A page as the model takes it: its lines straight, invalid words left out; None where no word is left."""
    boxes = straightened(page)
    if all(word.line is not None for word in page.words):
        lines = [word.line or 0 for word in page.words]
    else:
        lines = line_numbers(boxes)
    log = ProblemLog(max_examples=100)
    words = []
    for place, (word, box, line) in enumerate(zip(page.words, boxes, lines, strict=True)):
        x0, y0, x1, y1 = box
        scaled = (x0 / page.width, y0 / page.height, x1 / page.width, y1 / page.height)
        inside = tuple(min(1.0, max(0.0, edge)) for edge in scaled) if page.skew else scaled
        sound = sound_box(inside, document.name, f"word {place}", log)
        if sound is not None:
            words.append(Word(word.text, sound, line, confidence=word.confidence, extra={"place": place}))
    words.sort(key=lambda word: word.line)
    receipt = Receipt(
        image_id_for(document.source, document.name),
        page.number,
        tuple(words),
        document.name,
        document.source,
        width=round(page.width),
        height=round(page.height),
    )
    kept = clean(receipt, log, places=[f"word {word.extra['place']}" for word in words]) if words else None
    problems += [str(one) for kind, found in log.examples.items() for one in found if kind != "no_words"]
    return kept


def _with_sound_confidences(document: DocumentWords, problems: list[str]) -> DocumentWords:
    """The document without the reading confidences that are no probabilities, such as percentages."""
    wrong = sum(not _is_probability(word.confidence) for page in document.pages for word in page.words)
    if not wrong:
        return document
    problems.append(f"bad_field: reading confidences of {wrong} words are not between 0 and 1, taken as not given")
    pages = [
        replace(
            page,
            words=tuple(
                word if _is_probability(word.confidence) else replace(word, confidence=None) for word in page.words
            ),
        )
        for page in document.pages
    ]
    return replace(document, pages=tuple(pages))


def _is_probability(confidence: float | None) -> bool:
    return confidence is None or 0 <= confidence <= 1


def _own_known(model: PackageReader) -> Known | None:
    if KNOWN_FILE not in model.manifest.files:
        return None
    said = json.loads(model.package.file(KNOWN_FILE).read_bytes())
    return make_known(said["merchants"], said["addresses"])


def _called(source: Source) -> str:
    return str(source) if isinstance(source, str | Path) else "what was given"


def _plain(value: Any) -> Any:
    """Numbers and arrays of numpy as JSON has them, and as text what JSON has not."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
