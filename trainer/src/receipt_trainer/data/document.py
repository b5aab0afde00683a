"""The content of a document, as one JSON form: its schema and its canonical text.

Amounts are JSON numbers in units of the currency (12.5 is twelve and a half dollars), `tax_rate` is in percent,
`discount` is what was taken off (positive), dates are ISO 8601, and what a document does not say is null.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NoReturn

_TEXT: Final = {"type": ["string", "null"], "minLength": 1}
_NUMBER: Final = {"type": ["number", "null"]}
_DATE: Final = {"type": ["string", "null"], "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "format": "date"}


_FENCE: Final = re.compile(r"```[A-Za-z]*[ \t]*\n?(.*?)(?:```|\Z)", flags=re.S)


def _record(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_LINE_ITEM: Final = _record({"description": _TEXT, "quantity": _NUMBER, "unit_price": _NUMBER, "total": _NUMBER})
_CLIENT: Final = _record({"name": _TEXT, "address": _TEXT, "tax_id": _TEXT})

DOCUMENT_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Invoice or receipt",
} | _record(
    {
        "document_type": {"enum": ["invoice", "receipt"]},
        "vendor": _record({"name": _TEXT, "address": _TEXT, "tax_id": _TEXT, "phone": _TEXT}),
        "client": _CLIENT | {"type": ["object", "null"]},
        "invoice_number": _TEXT,
        "date": _DATE,
        "due_date": _DATE,
        "currency": {"type": ["string", "null"], "pattern": "^[A-Z]{3}$"},
        "line_items": {"type": "array", "items": _LINE_ITEM},
        "subtotal": _NUMBER,
        "tax": _NUMBER,
        "tax_rate": _NUMBER | {"minimum": 0, "maximum": 100},
        "discount": _NUMBER | {"minimum": 0},
        "grand_total": _NUMBER,
    }
)
"""JSON Schema 2020-12 of a document. All keys are there, in this order; no others."""

TABLE: Final = "line_items"


def _row(cells: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": cells, "items": False, "minItems": len(cells)}


_COLUMNS: Final = _LINE_ITEM["properties"]
_ROWS: Final = {
    "type": "array",
    "prefixItems": [_row([{"const": name} for name in _COLUMNS])],
    "items": _row(list(_COLUMNS.values())),
}
ROWS_SCHEMA: Final[dict[str, Any]] = DOCUMENT_SCHEMA | {"properties": DOCUMENT_SCHEMA["properties"] | {TABLE: _ROWS}}
"""The same of a document whose line items are rows, see `to_rows`."""
EITHER_SCHEMA: Final[dict[str, Any]] = DOCUMENT_SCHEMA | {
    "properties": DOCUMENT_SCHEMA["properties"] | {TABLE: {"anyOf": [DOCUMENT_SCHEMA["properties"][TABLE], _ROWS]}}
}
"""The same for a model of which it is not known whether it writes rows."""


def subset_schema(schema: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The schema of a document that has only these of its keys."""
    kept = {name: value for name, value in schema["properties"].items() if name in names}
    return {**schema, "properties": kept, "required": list(kept)}


FIELDS: Final[dict[str, list[str]]] = {
    "header": [
        "document_type",
        *("vendor.name", "vendor.address", "vendor.tax_id", "vendor.phone"),
        *("invoice_number", "date", "due_date", "currency"),
    ],
    "client": ["client.name", "client.address", "client.tax_id"],
    "table": [TABLE],
    "totals": ["subtotal", "tax", "tax_rate", "discount", "grand_total"],
}
"""Fields by the region of the page where they stand; dots lead into objects."""


def decoded(text: str | bytes) -> Any:
    """A value of JSON whose objects have each key once.

    Raises:
        ValueError: it is none; where a key stands twice, one of the two values would be lost.
        RecursionError: it is nested too deep.
    """
    return json.loads(text, object_pairs_hook=_once)


_BETWEEN: Final = re.compile(r"[\s,]*")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key '{printable(twice[:40])}' stands in an object twice")
    return found


def objects(text: str) -> list[tuple[dict[str, Any], str]]:
    """The objects of JSON that stand one after the other, parted by blanks or commas, each with its text; [] if none.

    As `decoded`, but for texts that hold anything else or a broken object: none of theirs is given.
    """
    decoder, at, found = json.JSONDecoder(object_pairs_hook=_once), 0, []
    try:
        while text.startswith("{", at):
            value, end = decoder.raw_decode(text, at)
            found.append((value, text[at:end]))
            at = end + len(_BETWEEN.match(text, end)[0])  # type: ignore[index]
    except (ValueError, RecursionError):
        return []
    return found if at == len(text) else []


def check(document: Any, schema: Mapping[str, Any] = DOCUMENT_SCHEMA) -> list[str]:
    """Violations of the schema, each as "path: reason"; empty if there are none.

    Numbers that are not finite are problems under every schema, because JSON has none.

    Raises:
        jsonschema.exceptions.SchemaError: the schema itself is wrong.
        referencing.exceptions.Unresolvable: it refers to what is not in it; nothing is fetched.
    """
    return [f"{path}: {reason}" for path, reason in schema_problems(document, schema)]


def schema_problems(document: Any, schema: Mapping[str, Any] = DOCUMENT_SCHEMA) -> list[tuple[str, str]]:
    """As `check`, in pairs (path, reason). The path of the document itself is "document"."""
    validator = _canonical_validator() if schema is DOCUMENT_SCHEMA else make_validator(schema)
    return problems_by(validator, document)


def make_validator(schema: Mapping[str, Any]) -> Any:
    """A validator of the draft that the schema names (2020-12 by default).

    Raises:
        jsonschema.exceptions.SchemaError: the schema is wrong.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    kind = validator_for(schema, default=Draft202012Validator)
    kind.check_schema(schema)
    return kind(schema, registry=Registry(), format_checker=kind.FORMAT_CHECKER)  # an empty registry fetches nothing


def problems_by(validator: Any, document: Any) -> list[tuple[str, str]]:
    """Errors by a validator of `make_validator`, by path, and all numbers that are not finite."""
    found = [(dotted(error.absolute_path), _reason(error)) for error in validator.iter_errors(document)]
    return sorted(set(found)) + [(path, "not a finite number") for path in not_finite(document, "")]


@lru_cache(maxsize=1)
def _canonical_validator() -> Any:
    return make_validator(DOCUMENT_SCHEMA)


def dotted(path: Any) -> str:
    """("line_items", 3, "total") as "line_items[3].total"."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return printable(text[:200]) or "document"


def printable(text: str) -> str:
    """A text of a stranger for a terminal: control characters and halves of surrogate pairs escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _reason(error: Any) -> str:
    """Short, whatever the size of the value."""
    if error.validator == "required":  # one error a key, of which all say the same
        return printable(
            f"missing: {', '.join(key for key in error.validator_value if key not in error.instance)}"[:200]
        )
    if error.validator in ("additionalProperties", "minimum", "maximum"):
        return printable(str(error.message)[:200])
    value = error.instance
    shown = f"a list of {len(value)}" if isinstance(value, list) else "an object" if isinstance(value, dict) else None
    shown = shown or printable(json.dumps(value, ensure_ascii=False)[:60])
    wanted = error.validator_value
    expected = " or ".join(wanted) if error.validator == "type" and isinstance(wanted, list) else str(wanted)[:80]
    return f"{shown} where {error.validator} is {expected}"


def not_finite(value: Any, path: str) -> Iterator[str]:
    """Paths of the numbers that are not finite, from `path` on."""
    if isinstance(value, float) and not math.isfinite(value):
        yield printable(path.removeprefix(".")[:200]) or "document"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from not_finite(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from not_finite(inner, f"{path}[{index}]")


def canonical_json(document: Mapping[str, Any]) -> str:
    """The text that a model is trained to write: compact, keys in the schema's order, every key there.

    Equal documents give equal texts: whole numbers have no decimals, others the fewest digits; `Decimal`s are taken.
    Keys that the schema does not know follow the others, sorted.
    """
    return json.dumps(_ordered(document, DOCUMENT_SCHEMA), ensure_ascii=False, separators=(",", ":"))


def _ordered(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        known = schema.get("properties", {})
        keys = [*known, *sorted(str(key) for key in value.keys() - known.keys())]
        return {key: _ordered(value.get(key), known.get(key, {})) for key in keys}
    if isinstance(value, (list, tuple)):
        return [_ordered(inner, schema.get("items", {})) for inner in value]
    if isinstance(value, Decimal | float):
        number = float(value)
        return int(number) if abs(number) < 1e15 and number.is_integer() else number
    return value


def at(document: Mapping[str, Any], field: str) -> Any:
    """The value of a dotted field; None where it, or what should hold it, is missing or of another kind."""
    value: Any = document
    for part in field.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def to_rows(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its line items as rows: their keys once, then the values of each line, a list each.

    As it is where there is no line, or they are not all objects with the same keys.
    """
    items = document.get(TABLE)
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) and item for item in items):
        return dict(document)
    keys = list(items[0])
    if any(item.keys() != items[0].keys() for item in items):
        return dict(document)
    return {**document, TABLE: [keys, *([item[key] for key in keys] for item in items)]}


def from_rows(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document that `to_rows` was given; one whose line items are no rows, or of unequal length, as it is."""
    table = document.get(TABLE)
    if not isinstance(table, list) or not table or not all(isinstance(row, list) for row in table):
        return dict(document)
    keys, *rows = table
    are_names = keys and all(isinstance(key, str) for key in keys) and len({*keys}) == len(keys)
    if not are_names or any(len(row) != len(keys) for row in rows):
        return dict(document)
    return {**document, TABLE: [dict(zip(keys, row, strict=True)) for row in rows]}


def number(amount: Decimal | None) -> int | float | None:
    """A decimal as the JSON number that has the same digits."""
    if amount is None:
        return None
    return int(amount) if amount == amount.to_integral_value() else float(amount)


def is_date(text: str) -> bool:
    """Whether a text is a day of the calendar, written YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def read_strictly(answer: str) -> dict[str, Any] | None:
    """The object that `answer` is, white space around it aside; None if it is not one object of RFC 8259 JSON.

    Line items that are rows become objects, for rows say themselves what they are. NaN and Infinity, which Python's
    reader admits and the standard does not, are refused, and a key that stands twice.
    """
    try:
        value = json.loads(answer, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return from_rows(value) if isinstance(value, dict) else None


def no_object(answer: str) -> str:
    """Why `read_strictly` finds nothing, in words for who reads the answer."""
    text = answer.strip()
    if text.startswith("{") and not text.endswith("}"):
        return "the answer ends before its JSON does: it was cut off at --max-new-tokens, or repeats itself"
    return "the answer is not a JSON object"


def read_tolerantly(answer: str) -> dict[str, Any] | None:
    """The first object in `answer`: inside a code fence if there is one, with any text around it.

    Nothing is repaired: a bracket or a quote that is missing stays missing.
    """
    fence = _FENCE.search(answer)
    for text in ([fence[1]] if fence else []) + [answer]:
        start = text.find("{")
        if start < 0:
            continue
        try:
            value, _ = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_once).raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return from_rows(value)
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
