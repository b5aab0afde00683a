"""The one value of each field of a receipt, chosen from all that was found, and why a person should look at it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import product
from typing import Any, Final

from receipt_trainer.contract.names import AMOUNT, OUTSIDE
from receipt_trainer.data.dedup import letters
from receipt_trainer.extraction.amounts import money
from receipt_trainer.extraction.checks import Sums, checks, failed
from receipt_trainer.extraction.entities import ReadWord
from receipt_trainer.extraction.finds import (
    DISCOUNT,
    Confidence,
    Evidence,
    Find,
    decimal_text,
    find_fields,
    read_find,
)
from receipt_trainer.extraction.items import ITEM_LABELS, rows
from receipt_trainer.extraction.known import Known
from receipt_trainer.extraction.merchants import is_company
from receipt_trainer.extraction.totals import Place, backed, places
from receipt_trainer.extraction.unlabelled import date_in_words, merchant_in_words

LOW: Final = 0.7
"""A value of the summary that is right with less probability is for people to look at."""
CONFIRMED: Final = 1.0
"""What a sum that holds adds to the confidence of the amounts in it, when they are compared with others."""
ROUNDED: Final = 1.3 * CONFIRMED
"""The same of a total that another one is rounded to; more than the other gets of the sums."""
MOST_TAX: Final = Decimal("0.3")
"""Of an amount: more is hardly a tax."""
MOST: Final = 6
"""Different values of a label that sums are tried with."""

_KEYS: Final = {"merchant": "MERCHANT_NAME", "date": "DATE", "total": "GRAND_TOTAL"}


@dataclass(frozen=True, slots=True)
class ReadItem:
    """A row: its finds by "description", "quantity", "unit_price", "total"; a discount's total is negative."""

    finds: Mapping[str, Find]
    lines: tuple[int, ...]

    @property
    def amount(self) -> Decimal | None:
        """Its total."""
        return self.finds["total"].amount if "total" in self.finds else None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a receipt says.

    Attributes:
        summary: merchant, date, total, currency, subtotal, tax: a value or None each.
        checks: by name, None where it cannot be said.
        review: reasons for a person to look, as (code, text); none: the answer can be taken as it is.
        chosen: the finds that merchant, date, total and subtotal of the summary are from.
    """

    fields: Mapping[str, Sequence[Find]]
    summary: Mapping[str, Any]
    items: Sequence[ReadItem]
    checks: Mapping[str, bool | None]
    review: Sequence[tuple[str, str]] = ()
    chosen: Mapping[str, Find] = field(default_factory=dict)


@dataclass(slots=True)
class _Choice:
    """The find that stands for a value, and how much speaks for the value."""

    find: Find
    weight: float = field(default=0.0)


def read_receipt(
    words: Sequence[ReadWord],
    evidence: Evidence,
    confidence: Confidence,
    known: Known | None = None,
    given_rows: Sequence[Sequence[ReadWord]] | None = None,
) -> Reading:
    """Finds, rows, checks and summary of labelled words in reading order.

    Args:
        given_rows: the words of each line item where that is known, and all words are values of fields: then boxes
            are not looked at, and nothing that has no label is taken for a total or a date.
    """
    found = find_fields(words, evidence, confidence)
    if known is not None:
        for label, repair in (("MERCHANT_NAME", known.merchant), ("ADDRESS_LINE", known.address)):
            found |= {label: [_known(find, repair) for find in found[label]]} if label in found else {}
    items = [_item(row, evidence, confidence) for row in (rows(words) if given_rows is None else given_rows)]
    unlabelled: list[Find] = []
    if given_rows is None:
        unlabelled = [*date_in_words(words, found, evidence), *merchant_in_words(words, found, evidence)]
    page = places(words, evidence) if given_rows is None and AMOUNT not in found else []
    extras = _extras(words, evidence)
    total, subtotal, taxes = _amounts(words, found, items, extras, evidence.money.currency, page)
    unlabelled += [total] if total is not None and total not in found.get("GRAND_TOTAL", ()) else []
    found |= {find.label: [*found.get(find.label, ()), find] for find in unlabelled}
    total, subtotal, changed = _mended(total, subtotal, taxes, items)
    for find in changed:
        found[find.label] = [find if one.words == find.words else one for one in found[find.label]]
    sums = Sums(
        [item.amount for item in items],
        subtotal.amount if subtotal else None,
        _distinct(found.get("TAX", ()), taxes),
        total.amount if total else None,
        evidence.money.currency,
        extras,
    )
    merchant = _longest(found.get("MERCHANT_NAME", ()))
    date = _most(found.get("DATE", ()))
    summary: dict[str, Any] = {
        "merchant": merchant.value if merchant else None,
        "date": date.value if date else None,
        "total": _amount(total),
        "currency": evidence.money.currency,
        "subtotal": _amount(subtotal),
        "tax": decimal_text(sum(taxes, Decimal(0))) if taxes else None,
    }
    verdicts = checks(sums)
    sources = {"merchant": merchant, "date": date, "total": total, "subtotal": subtotal}
    chosen = {name: find for name, find in sources.items() if find is not None}
    shown = [find for name, find in chosen.items() if name in _KEYS]
    return Reading(found, summary, items, verdicts, _review(found, shown, verdicts, items), chosen)


def _known(find: Find, repair: Callable[[str], str | None]) -> Find:
    mended = repair(str(find.value or find.text))
    return find if mended is None else replace(find, value=mended, repaired_from=find.text)


def _amount(find: Find | None) -> str | None:
    return decimal_text(find.amount) if find is not None and find.amount is not None else None


def _item(row: Sequence[ReadWord], evidence: Evidence, confidence: Confidence) -> ReadItem:
    finds: dict[str, Find] = {}
    for name, label in zip(("description", "quantity", "unit_price", "total"), ITEM_LABELS, strict=True):
        words = [word for word in row if word.label == label]
        if words:
            finds[name] = read_find(label, words, evidence, confidence(words))[0]
    quantity, price, total = (finds.get(name) for name in ("quantity", "unit_price", "total"))
    if quantity is not None and quantity.ambiguous and total is not None and price is not None:
        fitting = [one for one in quantity.ambiguous if _whole(Decimal(one), price.amount, total.amount)]
        if len(fitting) == 1:
            finds["quantity"] = replace(quantity, value=fitting[0], ambiguous=())
    return ReadItem(finds, tuple(dict.fromkeys(word.line for word in row)))


def _whole(quantity: Decimal, price: Decimal | None, total: Decimal | None) -> bool:
    return price is not None and total is not None and abs(quantity * price - total) <= Decimal("0.01")


def _extras(words: Sequence[ReadWord], evidence: Evidence) -> list[Decimal]:
    """Amounts that bear no label, and discounts."""
    found = []
    for word in words:
        is_extra = word.label == DISCOUNT or (word.label == OUTSIDE and re.search(r"\d[.,]\d\d", word.text))
        if is_extra and (one := money(word.text)) is not None:
            value = evidence.money.decide(one)
            found += [value] if value else []
    return found


def _choices(finds: Iterable[Find], said: Mapping[Decimal, float] | None = None) -> list[_Choice]:
    """One for each amount, its find the most confident; what is `said` of an amount counts with its confidence."""
    by_value: dict[Decimal, _Choice] = {}
    for find in finds:
        if find.amount is not None:
            choice = by_value.setdefault(find.amount, _Choice(find, (said or {}).get(find.amount, 0.0)))
            choice.weight += find.confidence
    return sorted(by_value.values(), key=lambda choice: -choice.weight)[:MOST]


def _amounts(
    words: Sequence[ReadWord],
    found: Mapping[str, Sequence[Find]],
    items: Sequence[ReadItem],
    extras: Sequence[Decimal],
    currency: str | None,
    page: Sequence[Place],
) -> tuple[Find | None, Find | None, tuple[Decimal, ...]]:
    """Total, subtotal and taxes that go together best: confidence, repeats, what the page says, and sums that hold."""
    totals, near = _totals(words, found, items, page)
    subtotals, taxes = (_choices(found.get(label, ())) for label in ("SUBTOTAL", "TAX"))
    best: tuple[float, Find | None, Find | None, tuple[Decimal, ...]] | None = None
    values = [tax.find.amount for tax in taxes if tax.find.amount is not None]
    parts = [item.amount for item in items]
    options: Iterable[tuple[_Choice | None, _Choice | None]] = product(_or_none(totals), _or_none(subtotals))
    for total, subtotal in options:
        weight = (total.weight if total else 0.0) + (subtotal.weight if subtotal else 0.0)
        sums = Sums(
            parts,
            subtotal.find.amount if subtotal else None,
            values,
            total.find.amount if total else None,
            currency,
            extras,
        )
        fitting = sums.with_tax()
        verdicts = checks(sums)
        confirmed = fitting is not None or verdicts["items_sum_to_total"] or verdicts["tax_included"]
        weight += CONFIRMED * bool(confirmed) + 0.5 * CONFIRMED * bool(verdicts["items_sum_to_subtotal"])
        if total is not None:
            weight += _of_others(total.find, found) + (ROUNDED if _is_rounded(total.find, near, words) else 0.0)
        if best is None or weight > best[0] + 1e-9:
            chosen = fitting if fitting is not None else tuple(values[:1])
            best = weight, total.find if total else None, subtotal.find if subtotal else None, chosen
    return best[1:] if best else (None, None, ())


def _totals(
    words: Sequence[ReadWord], found: Mapping[str, Sequence[Find]], items: Sequence[ReadItem], page: Sequence[Place]
) -> tuple[list[_Choice], list[Find]]:
    """What may be the total, and its finds: labelled, said to be one, or a sum; among the first rounded ones, too."""
    labelled = found.get("GRAND_TOTAL", ())
    taken = {find.amount for find in labelled}
    parts = [item.amount for item in items]
    sums = {sum(filter(None, parts), Decimal(0))} if len(parts) > 1 and None not in parts else set()
    bases, taxes = ([one.amount for one in found.get(label, ()) if one.amount] for label in ("SUBTOTAL", "TAX"))
    sums |= {base + tax for base in bases for tax in taxes}
    said = backed(page)
    for find in labelled:  # what speaks against a label counts as the label is unsure
        amount = find.amount
        if amount is not None and said.get(amount, 0.0) < 0:
            said[amount] *= min(1.0, 2 * (1 - find.confidence))
    others = [place for place in page if place.amount not in taken]
    near = [*labelled, *(one.find for one in others if said[one.amount] > 0 or one.amount in sums)]
    rounded = [one.find for one in others if one.said >= 0 and _is_rounded(one.find, near, words)]
    return _choices([*near, *(find for find in rounded if find not in near)], said), near


def _of_others(total: Find, found: Mapping[str, Sequence[Find]]) -> float:
    """What it adds that two other amounts make this total: a base and its tax, whatever they were read as."""
    best = 0.0
    labels: dict[Decimal, set[str]] = defaultdict(set)
    for label in ("SUBTOTAL", "TAX", "GRAND_TOTAL"):
        for find in found.get(label, ()):
            if find.amount is not None:
                labels[find.amount].add(label)
    for base, of_base in labels.items():
        tax = total.amount - base if total.amount is not None else Decimal(0)
        if tax not in labels or not 0 < tax < base:
            continue
        if of_base | labels[tax] != {"GRAND_TOTAL"}:
            best = max(best, 0.5 * CONFIRMED)
        elif tax <= MOST_TAX * base:  # else it may be what was paid: the total and the change
            best = max(best, 0.3 * CONFIRMED)
    return best


def _is_rounded(find: Find, totals: Sequence[Find], words: Sequence[ReadWord]) -> bool:
    """Whether a total is another one rounded to coins, on a receipt that speaks of rounding."""
    amount = find.amount
    if amount is None or amount % Decimal("0.05") != 0 or not any("round" in word.text.casefold() for word in words):
        return False
    others = [other.amount for other in totals if other.amount not in (None, amount)]
    return any(other is not None and abs(other - amount) < Decimal("0.05") for other in others)


def _or_none(choices: Sequence[_Choice]) -> Sequence[_Choice | None]:
    return choices or (None,)


def _mended(
    total: Find | None, subtotal: Find | None, taxes: Sequence[Decimal], items: Sequence[ReadItem]
) -> tuple[Find | None, Find | None, list[Find]]:
    """An amount of which one character was read wrong, put right where the others add up to it."""
    parts = [item.amount for item in items]
    whole = sum((one for one in parts if one is not None), Decimal(0)) if parts and None not in parts else None
    base = subtotal.amount if subtotal else None
    changed: list[Find] = []
    expected = [one for one in (base + sum(taxes) if base is not None and taxes else None, whole) if one is not None]
    if total is not None and total.amount not in expected:
        for value in expected:
            if _misread(total, value) and (len(set(expected)) == 1 or expected.count(value) > 1 or len(parts) > 1):
                total = _with_amount(total, value)
                changed.append(total)
                break
    if subtotal is not None and whole is not None and len(parts) > 1 and base != whole and _misread(subtotal, whole):
        subtotal = _with_amount(subtotal, whole)
        changed.append(subtotal)
    return total, subtotal, changed


_ALIKE: Final = frozenset(
    map(frozenset, ("08", "17", "38", "56", "68", "89", "35", "27", "06", "69", "49", "14", "58"))
)


def _misread(find: Find, value: Decimal) -> bool:
    """Whether the find's digits are those of `value` but for a lost decimal point or one digit that looks alike."""
    if find.amount is None or find.amount == value or any(word.reading is None for word in find.words):
        return False  # nobody read it, so nobody misread it
    was, meant = re.sub(r"\D", "", decimal_text(find.amount)), re.sub(r"\D", "", f"{value:.2f}")
    if was == meant or was == meant.rstrip("0"):
        return True
    wrong = [pair for pair in zip(was, meant, strict=False) if pair[0] != pair[1]]
    return len(was) == len(meant) >= 3 and len(wrong) == 1 and frozenset(wrong[0]) in _ALIKE


def _with_amount(find: Find, value: Decimal) -> Find:
    currency = find.value["currency"] if isinstance(find.value, Mapping) else None
    return replace(find, value={"amount": f"{value:.2f}", "currency": currency}, repaired_from=find.text)


def _distinct(finds: Iterable[Find], first: Sequence[Decimal]) -> list[Decimal]:
    rest = (find.amount for find in finds)
    return list(dict.fromkeys([*first, *(one for one in rest if one is not None)]))


def _longest(finds: Iterable[Find]) -> Find | None:
    """The name that most speaks for: many sure words, and repeats; the company in the next line rather than a brand."""
    found = list(finds)
    weights: dict[str, float] = defaultdict(float)
    for find in found:
        weights[letters(str(find.value))] += sum(word.score - 0.4 for word in find.words) + 0.5 * find.confidence
    best = max(found, key=lambda find: weights[letters(str(find.value))], default=None)
    beside = [find for find in found if best and is_company(find.text) and _touch(best.words, find.words)]
    return beside[0] if beside and best and not is_company(best.text) else best


def _touch(words: Sequence[ReadWord], others: Sequence[ReadWord]) -> bool:
    """Whether there is no line between them."""
    pairs = ((words[-1], others[0]), (others[-1], words[0]))
    return any(one.page == other.page and other.line - one.line == 1 for one, other in pairs)


def _most(finds: Iterable[Find]) -> Find | None:
    """The value that repeats and confidence speak for; one that can be read before one that cannot."""
    found = [find for find in finds if find.value is not None or find.ambiguous]
    weights: dict[str, float] = defaultdict(float)
    for find in found:
        weights[str(find.value or find.ambiguous)] += find.confidence
    return max(found, key=lambda find: weights[str(find.value or find.ambiguous)], default=None)


def _review(
    found: Mapping[str, Sequence[Find]],
    chosen: Sequence[Find],
    verdicts: Mapping[str, bool | None],
    items: Sequence[ReadItem],
) -> list[tuple[str, str]]:
    reasons = []
    labels = {find.label for find in chosen}
    if AMOUNT in found and "GRAND_TOTAL" not in found:
        reasons.append(("merged_amounts", "the model tells no total from other amounts (--merge-amounts)"))
    reasons += [(f"no_{key}", f"no {key} was found") for key, label in _KEYS.items() if label not in labels]
    unclear = [find for find in chosen if find.value is None and find.ambiguous]
    unclear += [find for finds in found.values() for find in finds if find.ambiguous and find not in unclear]
    unclear += [find for item in items for find in item.finds.values() if find.ambiguous and find.label not in found]
    if unclear:
        names = ", ".join(f"{find.label} {find.text!r}" for find in unclear[:3])
        reasons.append(("ambiguous_value", f"may mean several values: {names}"))
    reasons += [("check_failed", f"{name} does not hold") for name in failed(dict(verdicts))]
    reasons += [
        ("low_confidence", f"{find.label} is right with a probability of {find.confidence:.2f} only")
        for find in chosen
        if find.confidence < LOW
    ]
    mended = [find for finds in found.values() for find in finds if find.repaired_from]
    reasons += [("repaired", f"{find.label} was read as {find.repaired_from!r}") for find in mended[:3]]
    return reasons
