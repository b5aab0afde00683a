"""Labelled words become finds: what was read as a field, where, and the value that it means."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import groupby, zip_longest
from typing import Any, Final, get_args

from receipt_trainer.contract.names import AMOUNT, OUTSIDE
from receipt_trainer.data.labels import NAMES, normalise
from receipt_trainer.data.ocr_errors import CONFUSIONS
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.errors import UserError
from receipt_trainer.extraction.amounts import (
    Marks,
    Money,
    MoneyEvidence,
    Point,
    currency_in,
    money,
    phones,
    proved_points,
    quantity,
)
from receipt_trainer.extraction.dates import Dated, DateEvidence, DateOrder, dated, flat, times
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.merchants import MERCHANT, bridged, companies

Box = tuple[float, float, float, float]
Confidence = Callable[[Sequence[ReadWord]], float]
"""The probability that the value of these words is right."""

DISCOUNT: Final = "DISCOUNT"
AMOUNTS: Final = frozenset({"SUBTOTAL", "TAX", "GRAND_TOTAL", "LINE_TOTAL", "UNIT_PRICE", DISCOUNT, AMOUNT})

_REGISTRATION: Final = re.compile(
    r"\s*\(?\b(?:co\.?\s*)?(?:reg(?:istration)?\.?\s*)?(?:no\.?:?\s*)?\d{5,7}\s?-\s?[A-Z]\)?$", re.I
)
_PRICED: Final = re.compile(r"\D{0,4}\d{1,3}(?:[.,]\d{3})*[.,]\d\d\D{0,3}|\D{0,4}\d+[.,]\d\d")


@dataclass(frozen=True, slots=True)
class Find:
    """Something read as a field.

    Attributes:
        value: of the field's kind, JSON; None where nothing or several things can be meant.
        ambiguous: the values that it may have, if there are several.
        repaired_from: the text as it was read, where the value comes of a mended one; else "".
        unit: of a quantity, as printed.
    """

    label: str
    value: Any
    text: str
    confidence: float
    words: tuple[ReadWord, ...]
    ambiguous: tuple[Any, ...] = ()
    repaired_from: str = ""
    unit: str = ""

    @property
    def box(self) -> Box:
        """Around its words on its page, in their unit."""
        x0, y0, x1, y1 = zip(*(word.box for word in self.words if word.page == self.page), strict=True)
        return min(x0), min(y0), max(x1), max(y1)

    @property
    def page(self) -> int:
        """Where it begins."""
        return self.words[0].page

    @property
    def amount(self) -> Decimal | None:
        """Its value, if that is an amount or a number."""
        value = self.value["amount"] if isinstance(self.value, Mapping) else self.value
        return Decimal(value) if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a receipt and its model say about how dates and amounts are written there."""

    dates: DateEvidence = field(default_factory=DateEvidence)
    money: MoneyEvidence = field(default_factory=MoneyEvidence)


def gather(
    words: Sequence[ReadWord],
    *,
    date_order: DateOrder | None = None,
    learned: Mapping[DateOrder, int] | None = None,
    marks: Marks | None = None,
    currency: str | None = None,
    today: date | None = None,
) -> Evidence:
    """The evidence of all words of a receipt, labelled or not.

    Args:
        words: in reading order.
        date_order: what the user says of day and month.
        learned: how many training dates were unambiguous, by order.
        marks: how marks in amounts were meant in training.
        currency: what the user says of the money.
        today: no date with its year first in two digits lies later.
    """
    lines = [list(line) for _, line in groupby(words, key=lambda word: (word.page, word.line))]
    labelled = [money(text) for text in _runs(words, AMOUNTS - {"UNIT_PRICE"})]
    others = [one for line in lines for one in dated(" ".join(word.text for word in line))]
    plain = [
        word.text
        for word, after in zip_longest(words, words[1:])
        if word.label in (OUTSIDE, "QUANTITY", "UNIT_PRICE") and not (after and after.text.startswith("%"))
    ]
    priced = [money(text) for text in plain if _PRICED.fullmatch(text)]
    known = currency or _currency(words, labelled)
    proved = proved_points([*labelled, *priced])
    whole = not proved and any(one is not None and "" in one.readings for one in labelled)
    evidence = MoneyEvidence(proved, None, known, whole, marks)
    if len(proved) != 1:
        most = proved.most_common(1)
        clear = bool(most) and most[0][1] >= 3 and most[0][1] >= 0.9 * sum(proved.values())
        evidence = replace(
            evidence, proved=Counter({most[0][0]: most[0][1]}) if clear else Counter(), sums=_sums(words)
        )
    latest = date(today.year + 1, today.month, min(today.day, 28)) if today else None
    return Evidence(DateEvidence(date_order, tuple(others), learned, latest), evidence)


def gather_as(date_order: DateOrder | None, currency: str | None, **learned: Any) -> Callable[..., Evidence]:
    """`gather` with what the user says, and what the model has `learned`.

    Raises:
        UserError: there is no such order, or the currency is not three letters.
    """
    if date_order is not None and date_order not in get_args(DateOrder):
        raise UserError(f"date order '{date_order}': use one of {', '.join(get_args(DateOrder))}")
    if currency is not None and not re.fullmatch("[A-Za-z]{3}", currency):
        raise UserError(f"currency '{currency}': write the three letters of ISO 4217, such as EUR")
    return partial(gather, date_order=date_order, currency=currency and currency.upper(), **learned)


def amount_marks(receipts: Iterable[Receipt]) -> Counter[str]:
    """How marks before three last digits are meant in the labelled amounts of receipts, where that is clear.

    Returns:
        Counts as `Marks`.
    """
    found = Counter[str]()
    for receipt in receipts:
        words = labelled_words(receipt)
        evidence = gather(words).money
        for text in _runs(words, AMOUNTS - {"UNIT_PRICE"}):
            printed = re.search(r"([.,])\d{3}(?!\d)", text)
            amount = money(text) if printed else None
            value = evidence.decide(amount) if amount is not None else None
            if printed is not None and amount is not None and value is not None:
                is_decimal = amount.readings.get("." if printed[1] == "." else ",") == value
                found[f"{printed[1]}{'decimal' if is_decimal else 'thousands'}"] += 1
    return found


def labelled_words(receipt: Receipt) -> list[ReadWord]:
    """The words of a receipt with the labels that people gave them."""
    return [
        ReadWord(number, word.text, word.box, word.line, normalise(word.valid_label() or OUTSIDE), 1.0)
        for number, word in enumerate(receipt.words)
    ]


def _runs(words: Sequence[ReadWord], labels: Iterable[str]) -> list[str]:
    runs = groupby(words, key=lambda word: (word.page, word.line, word.label))
    return [" ".join(word.text for word in run) for (_, _, label), run in runs if label in labels]


_WORDS_TOO: Final = frozenset({"BHD", "TRY", "TL", "FT", "KD", "RON", "COP", "PEN", "ARS"})
"""Currencies whose signs are words: they count beside a labelled amount only."""


def _currency(words: Sequence[ReadWord], labelled: Iterable[Money | None]) -> str | None:
    """The currency that the amounts name; where they name none, the one that stands elsewhere."""
    named = Counter(one.currency for one in labelled if one is not None and one.currency is not None)
    if not named:
        for word in words:
            text = word.text.strip("():.,*")
            found = currency_in(text) if re.search(r"\d|^\W*[A-Z]{2,3}\W*$|[€£₹฿₺₽₩₫]|^Rp", text) else None
            if found is not None and text.upper() not in _WORDS_TOO and len(text) <= 12:
                named[found] += 1
    best = named.most_common(2)
    return best[0][0] if len(best) == 1 or (best and best[0][1] > 2 * best[1][1]) else None


def _sums(words: Sequence[ReadWord]) -> Point | None:
    """The decimal sign with which parts add up to a total, if they do so with one sign alone.

    `7,273 + 727 = 8,000` does with a comma for thousands; `1.500 + 2.500 = 4.000` does either way.
    """
    by_label = {
        label: [one for text in _runs(words, {label}) if (one := money(text)) is not None]
        for label in ("LINE_TOTAL", "SUBTOTAL", "TAX", "GRAND_TOTAL")
    }
    holds: set[Point] = set()
    signs: tuple[Point, Point] = (".", ",")
    for sign in signs:
        parts = {
            label: [one.readings.get(sign, one.readings.get("")) for one in found] for label, found in by_label.items()
        }
        known = {label: [value for value in values if value is not None] for label, values in parts.items()}
        if any(len(known[label]) != len(parts[label]) for label in parts):
            continue
        sums = {a + b for a in known["SUBTOTAL"] for b in known["TAX"]}
        if len(known["LINE_TOTAL"]) > 1:
            sums.add(sum(known["LINE_TOTAL"], Decimal(0)))
        if sums & {*known["GRAND_TOTAL"], *known["SUBTOTAL"]}:
            holds.add(sign)
    return holds.pop() if len(holds) == 1 else None


def find_fields(words: Sequence[ReadWord], evidence: Evidence, confidence: Confidence) -> dict[str, list[Find]]:
    """All finds by label, in the order in which labels first occur, the most confident find of each first."""
    found: dict[str, list[Find]] = {}
    for label, run in field_runs(words):
        found.setdefault(label, []).extend(read_find(label, run, evidence, confidence(run)))
    if "DATE" in found:
        found["DATE"] = _mended_dates(found["DATE"], evidence)
    return {label: sorted(finds, key=lambda find: -find.confidence) for label, finds in found.items()}


def field_runs(words: Sequence[ReadWord]) -> Iterator[tuple[str, list[ReadWord]]]:
    """Runs of a label inside a line; those of `NAMES` go on in the next line and over an unsure word, and a merchant's
    end with the company's name."""
    for label, block in _blocks(bridged(words)):
        yield from ((label, run) for run in (companies(block) if label == MERCHANT else [block]))


def _blocks(words: Sequence[ReadWord]) -> Iterator[tuple[str, list[ReadWord]]]:
    open_blocks: dict[str, list[ReadWord]] = {}
    for (page, line), group in groupby(words, key=lambda word: (word.page, word.line)):
        runs = [(label, list(run)) for label, run in groupby(group, key=lambda word: word.label)]
        for label in [label for label, block in open_blocks.items() if _left(block[-1], page, line)]:
            yield label, open_blocks.pop(label)
        for label, run in runs:
            if label in NAMES:
                open_blocks.setdefault(label, []).extend(run)
            elif label != OUTSIDE:
                yield label, run
    yield from open_blocks.items()


def _left(last: ReadWord, page: int, line: int) -> bool:
    return last.page != page or line - last.line > 1


def read_find(label: str, words: Sequence[ReadWord], evidence: Evidence, confidence: float) -> list[Find]:
    """The find of these words, with its value; several where one run of words holds several dates or phones."""
    text = " ".join(word.text for word in words)
    plain = Find(label, None, text, confidence, tuple(words))
    if label in AMOUNTS:
        return [_money_find(plain, evidence.money)]
    if label in ("DATE", "DUE_DATE"):
        return _date_finds(plain, evidence.dates) or [plain]
    if label == "TIME":
        found = list(dict.fromkeys(times(text)))
        return [replace(plain, value=found[0] if len(found) == 1 else None, ambiguous=tuple(found[1:] and found))]
    if label == "PHONE_NUMBER":
        return [replace(plain, value=number) for number in phones(text)] or [plain]
    if label == "QUANTITY":
        return [_quantity_find(plain, evidence.money)]
    value = _REGISTRATION.sub("", text).strip() if label == "MERCHANT_NAME" else text
    return [replace(plain, value=value or text)]


def _money_find(plain: Find, evidence: MoneyEvidence) -> Find:
    found = money(plain.text)
    if found is None:
        return plain
    currency = found.currency or evidence.currency
    value = evidence.decide(found, whole_units=plain.label != "UNIT_PRICE")
    return replace(
        plain,
        value=None if value is None else {"amount": decimal_text(value), "currency": currency},
        ambiguous=tuple({"amount": decimal_text(one), "currency": currency} for one in found.values)
        if value is None
        else (),
        repaired_from=plain.text if found.repaired else "",
    )


def _quantity_find(plain: Find, evidence: MoneyEvidence) -> Find:
    found = quantity(plain.text)
    if found is None:
        return plain
    value = evidence.decide(found.number, whole_units=False)
    return replace(
        plain,
        value=None if value is None else decimal_text(value),
        ambiguous=tuple(decimal_text(one) for one in found.number.values) if value is None else (),
        unit=found.unit,
    )


def _date_finds(plain: Find, evidence: DateEvidence) -> list[Find]:
    finds, text = [], plain.text
    found = dated(text)
    repaired = ""
    if not found:
        mended = re.sub(r"(?<=[\d/.\-])[OoIl|S](?=[\d/.\-]|$)|^[OoIl|](?=[\d/.\-])", _digit, text)
        found, repaired = dated(mended) or _with_a_digit_misread(plain), text
    for one in found:
        day = evidence.decide(one)
        options = () if day is not None else tuple(option.isoformat() for option in evidence.possible(one))
        finds.append(
            replace(plain, value=day and day.isoformat(), ambiguous=options, repaired_from=repaired if day else "")
        )
    return finds


_MEANT: Final = {
    read: [digit for digit, (_, others) in CONFUSIONS.items() if digit.isdecimal() and read in others]
    for read in "0123456789"
}
"""The digits that OCR may have read as another."""


def _with_a_digit_misread(plain: Find) -> list[Dated]:
    """The dates in a text that OCR read and that holds none, where one digit that it confuses makes one day of it."""
    if any(word.reading is None for word in plain.words):
        return []
    text = flat(plain.text)
    tried = [text[:n] + digit + text[n + 1 :] for n in range(len(text)) for digit in _MEANT.get(text[n], ())]
    found = [dates for one in tried if (dates := dated(one))]
    return found[0] if found and all(dates == found[0] for dates in found) else []


def _digit(match: re.Match[str]) -> str:
    return match[0].translate(str.maketrans("OoIl|S", "001115"))


def _mended_dates(finds: list[Find], evidence: Evidence) -> list[Find]:
    """Parts of a date that stand apart ("30 MAR", "2018") as one find, where only together they are a date."""
    found: list[Find] = []
    for find in finds:
        last = found[-1] if found else None
        unread = find.value is None and not find.ambiguous
        if last is not None and unread and last.value is None and not last.ambiguous and last.page == find.page:
            both = replace(
                last,
                text=f"{last.text} {find.text}",
                words=(*last.words, *find.words),
                confidence=last.confidence * find.confidence,
            )
            if joined := _date_finds(both, evidence.dates):
                found[-1:] = joined
                continue
        found.append(find)
    return found


def decimal_text(value: Decimal) -> str:
    """A number as text, with the digits that were printed and no exponent."""
    return f"{value:f}"
