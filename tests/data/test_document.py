"""The form of a document, its canonical text and its sums."""

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.data.amount_checks import arithmetic_problems
from receipt_trainer.data.document import (
    DOCUMENT_SCHEMA,
    FIELDS,
    ROWS_SCHEMA,
    canonical_json,
    check,
    from_rows,
    make_validator,
    read_strictly,
    read_tolerantly,
    to_rows,
)


def item(**given: Any) -> dict[str, Any]:
    return {"description": "Bread", "quantity": 2, "unit_price": 1.5, "total": 3} | given


def document(**given: Any) -> dict[str, Any]:
    """3.00 + 20 % = 3.60 EUR."""
    found = {
        "document_type": "receipt",
        "vendor": {"name": "Shop", "address": None, "tax_id": None, "phone": None},
        "client": None,
        "invoice_number": None,
        "date": "2025-02-28",
        "due_date": None,
        "currency": "EUR",
        "line_items": [item()],
        "subtotal": 3,
        "tax": 0.6,
        "tax_rate": 20,
        "discount": None,
        "grand_total": 3.6,
    }
    return found | given


def test_a_sound_document_has_no_problem() -> None:
    """The schema and the sums accept what they are made for."""
    assert check(document()) == [] == arithmetic_problems(document())


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"document_type": "letter"}, "document_type"),
        ({"date": "28.02.2025"}, "date"),
        ({"date": "2025-02-30"}, "date"),
        ({"currency": "€"}, "currency"),
        ({"grand_total": "3.60"}, "grand_total"),
        ({"grand_total": True}, "grand_total"),
        ({"grand_total": math.nan}, "grand_total"),
        ({"discount": -1}, "discount"),
        ({"line_items": None}, "line_items"),
        ({"line_items": [item(), item(total="3")]}, "line_items[1].total"),
        ({"line_items": [item(colour="red")]}, "line_items[0]"),
        ({"vendor": {"name": "Shop"}}, "vendor"),
        ({"vendor": None}, "vendor"),
        ({"client": {"name": "", "address": None, "tax_id": None}}, "client.name"),
        ({"colour": "red"}, "document"),
    ],
)
def test_what_is_against_the_schema_is_named(change: dict[str, Any], path: str) -> None:
    """A problem begins with the path of the field that has it."""
    found = check(document(**change))
    assert found
    assert {text.partition(": ")[0] for text in found} == {path}


def test_missing_keys_are_one_problem() -> None:
    """What a document does not say must be null, not absent; all that an object lacks is one line."""
    short = document(vendor={"name": "Shop"})
    del short["tax"], short["date"]
    assert check(short) == ["document: missing: date, tax", "vendor: missing: address, tax_id, phone"]
    (only,) = check({})
    assert only.startswith("document: missing: document_type, vendor, ")


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"grand_total": 3.61}, ["grand_total"]),
        ({"line_items": [item(total=4)]}, ["line_items[0].total", "subtotal"]),
        ({"line_items": [item(), item()]}, ["subtotal"]),
        ({"tax": 0.7, "grand_total": 3.7}, ["tax"]),
        ({"discount": 0.5}, ["grand_total"]),
        ({"discount": 0.5, "tax": 0.5, "grand_total": 3}, []),  # the tax is on what is left
        ({"subtotal": None, "tax": 0.5, "grand_total": 3}, []),  # the price includes the tax
        ({"subtotal": 2.5, "tax": 0.5, "grand_total": 3}, []),  # the same, with the net amount above
        ({"subtotal": None, "tax": None, "tax_rate": None, "grand_total": 3}, []),
        ({"subtotal": None, "tax": None, "tax_rate": None, "grand_total": 2}, ["grand_total"]),
        ({"line_items": [item(total=None)]}, []),
        ({"line_items": [item(quantity=0.333, unit_price=8.99, total=2.99), item(total=0.01, unit_price=0.005)]}, []),
        ({"line_items": [item(), {"description": "off", "quantity": None, "unit_price": None, "total": -1}],
          "subtotal": 2, "tax": 0.4, "grand_total": 2.4}, []),
    ],
)  # fmt: skip
def test_sums_worked_by_hand(change: dict[str, Any], paths: list[str]) -> None:
    """Each sum that does not hold is named once, and what may hold in one of the known ways is let be."""
    assert [text.partition(": ")[0] for text in arithmetic_problems(document(**change))] == paths


@pytest.mark.parametrize(
    ("currency", "total", "holds"),
    [("EUR", 3.62, False), ("CHF", 3.62, True), ("CHF", 3.63, False), ("JPY", 3.6, True), ("KWD", 3.601, False)],
)
def test_the_currency_sets_the_tolerance(currency: str, total: float, holds: bool) -> None:
    """Half a minor unit, and half the smallest coin where cash is rounded."""
    assert (arithmetic_problems(document(currency=currency, grand_total=total)) == []) == holds


def test_sums_are_decimal() -> None:
    """0.1 + 0.2 is 0.3 here."""
    lines = [item(quantity=1, unit_price=0.1, total=0.1)] * 3
    assert arithmetic_problems(document(line_items=lines, subtotal=0.3, tax=0, tax_rate=0, grand_total=0.3)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*DOCUMENT_SCHEMA["properties"], "other"]), JSON))
def test_no_document_is_too_strange(change: dict[str, Any]) -> None:
    """Whatever stands in the fields, the checks answer in lines that a terminal can show."""
    for text in [*check(document(**change)), *arithmetic_problems(document(**change))]:
        assert text.isprintable()
        text.encode()


def test_canonical_text_is_one_for_equal_documents() -> None:
    """Key order, missing keys, decimals and trailing zeros make no difference."""
    whole = document(grand_total=Decimal("3.60"), subtotal=3.0)
    turned = dict(reversed(list(whole.items())))
    del turned["client"], turned["discount"]
    assert canonical_json(turned) == canonical_json(document())
    assert list(json.loads(canonical_json(turned))) == list(DOCUMENT_SCHEMA["properties"])
    assert '"subtotal":3,"tax":0.6,"tax_rate":20,' in canonical_json(turned)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_canonical_amounts_keep_their_value(amount: Decimal) -> None:
    """An amount of two decimals is read back as it was."""
    text = canonical_json(document(grand_total=amount))
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal)["grand_total"] == amount


CELLS = st.none() | st.text(max_size=4) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9)
ITEMS = st.lists(st.fixed_dictionaries(dict.fromkeys(item(), CELLS)), max_size=4)
ODD = st.lists(st.dictionaries(st.sampled_from([*item(), "other", ""]), CELLS, max_size=5), max_size=3)


@given(ITEMS | ODD | CELLS)
def test_rows_lose_nothing(items: Any) -> None:
    """Of any line items that are objects, or no list at all; as text, too. Those of the schema keep their problems."""
    found = document(line_items=items)
    rows = to_rows(found)
    assert from_rows(rows) == found
    assert read_strictly(json.dumps(rows)) == read_tolerantly(f"so: {json.dumps(rows)}!") == found
    validator = make_validator(ROWS_SCHEMA)
    if isinstance(items, list) and items and all(one.keys() == item().keys() for one in items):
        assert rows["line_items"][0] == list(items[0])
        assert validator.is_valid(to_rows(document(line_items=[item() | one for one in items]))) == (not check(found))


@pytest.mark.parametrize(
    "rows",
    [
        [["description", "total"], ["tea", 1], ["egg"]],
        [["total", "total"], [1, 2]],
        [[1], [2]],
        [[], []],
        [["total"], {"total": 1}],
    ],
)
def test_broken_rows_are_left_as_they_are(rows: list[Any]) -> None:
    """So that the check names them: nothing is guessed."""
    broken = document(line_items=rows)
    assert from_rows(broken) == broken
    assert check(broken)
    assert not make_validator(ROWS_SCHEMA).is_valid(broken)


def test_fields_cover_the_schema() -> None:
    """Every scalar of the schema has a region, and every field of a region is in the schema."""
    expected = set()
    for key, inner in DOCUMENT_SCHEMA["properties"].items():
        expected |= {f"{key}.{name}" for name in inner.get("properties", {})} or {key}
    named = [name for names in FIELDS.values() for name in names]
    assert set(named) == expected
    assert len(named) == len(set(named))
