"""Photos and PDFs through a model on a server that writes JSON: what `read` and `serve` answer with --server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.job import Family
from receipt_trainer.data.amount_checks import arithmetic_problems, as_decimal, minor_digits
from receipt_trainer.data.document import at, check, no_object, read_strictly
from receipt_trainer.data.page_words import DocumentWords, PageWords
from receipt_trainer.errors import UserError
from receipt_trainer.extraction.amounts import currency_in
from receipt_trainer.extraction.dates import DateOrder
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import AMOUNTS, DISCOUNT, Evidence, decimal_text, gather_as
from receipt_trainer.extraction.items import NAME, QUANTITY, TOTAL, UNIT_PRICE
from receipt_trainer.extraction.known import Known, read_known
from receipt_trainer.extraction.summary import Reading, read_receipt
from receipt_trainer.inference.answer import Answer, make_answer
from receipt_trainer.inference.document_answers import version_of
from receipt_trainer.inference.document_server import DocumentServer, png_of
from receipt_trainer.inference.inputs import DrawnPage, Given
from receipt_trainer.pages.documents import open_pages
from receipt_trainer.pages.images import Content

_HEADER: Final = {
    **{"vendor.name": "MERCHANT_NAME", "vendor.address": "ADDRESS_LINE", "vendor.phone": "PHONE_NUMBER"},
    **{"vendor.tax_id": "TAX_ID", "invoice_number": "INVOICE_NUMBER", "date": "DATE", "due_date": "DUE_DATE"},
    **{"client.name": "CLIENT_NAME", "client.address": "CLIENT_ADDRESS", "client.tax_id": "CLIENT_TAX_ID"},
    **{"subtotal": "SUBTOTAL", "tax": "TAX", "tax_rate": "TAX_RATE", "discount": DISCOUNT},
    "grand_total": "GRAND_TOTAL",
}
"""The label of each value of a document that is not in a row; dots lead into objects."""
_ROW: Final = {"description": NAME, "quantity": QUANTITY, "unit_price": UNIT_PRICE, "total": TOTAL}
_ONE_EACH: Final = {"MERCHANT_NAME": "merchants", "DATE": "dates", "GRAND_TOTAL": "totals"}
_SHOWN: Final = 3
"""Problems of a page that are said; one is enough for a person to look."""
_LONGEST: Final = 2000
"""Characters of a value."""


def draw_pages(content: Content, name: str, pages: Collection[int] | None) -> tuple[DrawnPage, ...]:
    """The pages (numbers from 1; all if None) of an image or a PDF.

    Raises:
        UserError: it cannot be read, or lacks one of them.
    """
    found = open_pages(content, pages=pages, name=name)
    return tuple(DrawnPage(page.number, *page.image.size, png_of(page.image)) for page in found)


class ServerReader:
    """A model on a server that is ready to read, as `Reader` has it."""

    family: Family = "paddleocr-vl"

    def __init__(
        self,
        server: DocumentServer,
        *,
        date_order: DateOrder | None = None,
        currency: str | None = None,
        known: Known | Path | None = None,
    ) -> None:
        """Make a reader of a server.

        Args:
            date_order: of dates such as 03/04/2025, which the model should not write.
            currency: ISO 4217, where the model writes none.
            known: merchants and addresses by which misread ones are put right, or a file of them.

        Raises:
            UserError: there is no such order, the currency is not three letters, or `known` cannot be read.
        """
        self.server = server
        self._known = read_known(known) if isinstance(known, Path) else known
        self._evidence = gather_as(date_order, currency)
        self._currency = currency and currency.upper()
        asked = {name: getattr(server, name) for name in ("url", "model", "prompt", "max_new_tokens")}
        self.version = f"{server.model}/{version_of(asked)[:12]}"

    def about(self) -> dict[str, Any]:
        """See `Reader`: of a server nothing of it is known."""
        return {"precision": None, "labels": [], "calibrated": False}

    def open_photo(self, content: Content, name: str, pages: Collection[int] | None) -> Given:
        """See `Reader`."""
        return Given(name, drawn=draw_pages(content, name, pages))

    def answer(self, given: Given) -> Answer:
        """See `Reader`; each page is asked for itself, and all of them are one document."""
        if not given.drawn:
            raise UserError(f"{given.name}: {given.refusal or 'words; the model of --server reads photos and PDFs'}")
        texts = self.server.ask_drawn([page.png for page in given.drawn])
        told = {page.number: text for page, text in zip(given.drawn, texts, strict=True)}
        written = {number: read_strictly(text) for number, text in told.items()}
        documents = {number: document for number, document in written.items() if document is not None}
        currency = next(filter(None, map(_currency, documents.values())), self._currency)
        words, rows = _labelled(documents, currency)
        evidence: Evidence = self._evidence(words, currency=currency, today=date.today())
        point = replace(evidence.money, proved=Counter({".": 1}))  # a number of JSON has no other decimal sign
        reading = read_receipt(words, replace(evidence, money=point), lambda run: 1.0, self._known, rows)
        pages = [PageWords(page.number, page.width, page.height, ()) for page in given.drawn]
        model = {"name": self.server.model, "version": self.version, "precision": None}
        answer = make_answer(
            DocumentWords(given.name, tuple(pages)), (), _reviewed(reading, written, told), model, calibrated=None
        )
        answer["documents"] = [{"page": number, "document": document} for number, document in written.items()]
        return answer


def _currency(document: Mapping[str, Any]) -> str | None:
    said = document.get("currency")
    return currency_in(said) if isinstance(said, str) else None


@dataclass(slots=True)
class _Labelled:
    """Values as labelled words: one each, whose places nobody knows."""

    currency: str | None
    words: list[ReadWord]
    line: int = 0

    def add(self, label: str, value: Any, page: int) -> None:
        text = _printed(label, value, self.currency)
        if text:
            self.words.append(ReadWord(len(self.words), text, (0, 0, 0, 0), self.line, label, 1.0, page=page))


def _labelled(
    documents: Mapping[int, Mapping[str, Any]], currency: str | None
) -> tuple[list[ReadWord], list[list[ReadWord]]]:
    """The values of the pages' documents, each in a line of its own, and those of each row, which share a line."""
    found, rows = _Labelled(currency, []), []
    for page, document in documents.items():
        for path, label in _HEADER.items():
            found.line += 2  # what stands in lines that follow each other may be one block
            found.add(label, at(document, path), page)
        given = document.get("line_items")
        for item in given if isinstance(given, list) else ():
            found.line += 2
            before = len(found.words)
            for key, label in _ROW.items():
                found.add(label, item.get(key) if isinstance(item, Mapping) else None, page)
            rows.append(found.words[before:])
    return found.words, [row for row in rows if row]


def _printed(label: str, value: Any, currency: str | None) -> str:
    """A value as a document would print it: amounts with their money's digits; "" for none."""
    if isinstance(value, str):
        return " ".join(value[:_LONGEST].encode("utf-8", "replace").decode().split())
    number = as_decimal(value)
    if number is None:
        return ""
    short = number.normalize()
    exponent = short.as_tuple().exponent
    digits = minor_digits(currency) if currency or exponent < 0 else 0  # type: ignore[operator]
    if label in AMOUNTS and -exponent < digits:  # type: ignore[operator]
        return f"{short:.{digits}f}"
    return decimal_text(short)


def _reviewed(reading: Reading, written: Mapping[int, Mapping[str, Any] | None], told: Mapping[int, str]) -> Reading:
    """The reading with what is wrong with the pages' documents, which were made of the texts in `told`."""
    several = len(written) > 1
    reasons: list[tuple[str, str]] = []
    for number, document in written.items():
        where = f"page {number}: " if several else ""
        if document is None:
            reasons.append(("no_document", f"{where}{no_object(told[number])}"))
            continue
        reasons += [("broken_document", f"{where}{said}") for said in check(document)[:_SHOWN]]
        if not several:  # a page of several need not have all that its sums are of
            reasons += [("check_failed", said) for said in arithmetic_problems(document)[:_SHOWN]]
    for label, called in _ONE_EACH.items():
        values = {find.amount or find.value or find.text: find.text for find in reading.fields.get(label, ())}
        if len(values) > 1:
            several_texts = ", ".join([*values.values()][:_SHOWN])
            reasons.append(("pages_differ", f"the pages have several {called}: {several_texts}"))
    said_why = any(code == "check_failed" for code, _ in reasons)
    rest = [one for one in reading.review if not (said_why and one[0] == "check_failed")]
    return replace(reading, review=[*reasons, *rest])
