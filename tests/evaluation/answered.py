"""Documents and predictions made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from receipt_trainer.evaluation.answers import Prediction

ITEMS: list[dict[str, Any]] = [
    {"description": "Coffee", "quantity": 2, "unit_price": 2.5, "total": 5.0},
    {"description": "Cake", "quantity": 1, "unit_price": 4.0, "total": 4.0},
    {"description": "Tea", "quantity": 3, "unit_price": 2.0, "total": 6.0},
]


def document(**changes: Any) -> dict[str, Any]:
    """A document that says something in every field and adds up; `changes` replace top-level keys."""
    return {
        "document_type": "invoice",
        "vendor": {"name": "Blue Café", "address": "1 High St", "tax_id": "GB 1", "phone": "555 1"},
        "client": {"name": "Ann", "address": "2 Low St", "tax_id": "GB 2"},
        "invoice_number": "A-17",
        "date": "2024-01-31",
        "due_date": "2024-02-29",
        "currency": "EUR",
        "line_items": [dict(item) for item in ITEMS],
        "subtotal": 15.0,
        "tax": 3.0,
        "tax_rate": 20,
        "discount": 1.0,
        "grand_total": 17.0,
    } | changes


def predict(gold: Mapping[str, Any], answer: Mapping[str, Any] | str, id: str = "one") -> Prediction:
    """An answer to a document, as an object or as it was written."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return Prediction(id, f"{id}.png", json.dumps(gold), text, 0.5)
