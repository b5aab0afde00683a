"""Receipts and raw items for tests of the receipts table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.data.receipt import Receipt, Word, WordLabel, image_id_for

BOX = (0.1, 0.2, 0.3, 0.25)


def make(name: str, *labels: tuple[str, str], words: int = 3, **changes: Any) -> Receipt:
    """A receipt of `words` words whose first one has `labels`."""
    first = Word("w0", BOX, 0, tuple(WordLabel(*label) for label in sorted(labels)), 0.5, {"seg": 1.0})
    rest = (Word(f"w{n}", BOX, n) for n in range(1, words))
    receipt = Receipt(
        image_id_for("mine", name), 1, (first, *rest), name, "mine", "train", 800, 1600, {"fields": {"a": 1}}
    )
    return replace(receipt, **changes)


def put(table: str, *items: dict[str, Any]) -> None:
    """Write items as somebody else would."""
    dynamo.batch_write(clients.dynamodb(), table, "test", puts=items)


def everything(table: str) -> dict[tuple[str, str], dict[str, Any]]:
    """All items of a table by key, without the time stamps."""
    items = dynamo.scan(clients.dynamodb(), table, "test")
    return {(i["PK"], i["SK"]): {k: v for k, v in i.items() if k != "timestamp_added"} for i in items}


def by_key(receipts: list[Receipt]) -> list[Receipt]:
    """In the order in which a table is read."""
    return sorted(receipts, key=lambda receipt: receipt.key)
