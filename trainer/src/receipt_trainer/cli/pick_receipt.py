"""One receipt out of a data set: the one asked for, or one that a seed chooses."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from receipt_trainer.aws import clients
from receipt_trainer.cli.trained import labelled, load_with_progress
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.assemble import assemble
from receipt_trainer.data.sources.dynamodb.read import labelled_keys, query_receipt
from receipt_trainer.data.sources.load import TABLE
from receipt_trainer.errors import UserError


def draw(dataset: str, table: str | None, wanted: str | None, seed: int, problems: ProblemLog) -> Receipt:
    """A receipt with a VALID label. The same data set and seed give the same receipt.

    Raises:
        UserError: there is none, or none of that key or name.
    """
    if dataset.strip() == TABLE and table:
        found = _from_table(table, wanted, seed, problems)
        if found is not None:
            return found
    receipts = labelled(load_with_progress(dataset, table, problems), dataset)
    if wanted is None:
        return Random(seed).choice(receipts)  # noqa: S311 - a sample, not a secret
    return _called(receipts, wanted, dataset)


def _called(receipts: Iterable[Receipt], wanted: str, dataset: str) -> Receipt:
    found = [receipt for receipt in receipts if wanted in (receipt.key, receipt.name)]
    if not found:
        raise UserError(f"--receipt {wanted}: no receipt of {dataset} with a VALID label has that key or name")
    if len(found) > 1:
        keys = ", ".join(receipt.key for receipt in found[:5])
        raise UserError(f"--receipt {wanted}: {len(found)} receipts have that name; say which by its key: {keys}")
    return found[0]


def _from_table(table: str, wanted: str | None, seed: int, problems: ProblemLog) -> Receipt | None:
    """One query instead of one a receipt: the index has the keys. None for a name, which only the receipts know."""

    client = clients.dynamodb()
    keys = labelled_keys(client, table, problems)
    chosen = [key for key in keys if str(key) == wanted]
    if wanted is None:
        chosen = Random(seed).sample(keys, len(keys))  # noqa: S311 - a sample, not a secret
    for key in chosen:
        receipt = assemble(key, query_receipt(client, table, key), problems)
        if receipt is not None and receipt.has_valid_label():
            return receipt
    return None
