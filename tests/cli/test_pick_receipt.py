"""One receipt out of the receipts table."""

from __future__ import annotations

import pytest

from receipt_trainer.cli.commands.evaluate import draw
from receipt_trainer.data.problems import ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.synthetic import generate
from receipt_trainer.errors import UserError


@pytest.fixture
def stored(receipts_table: str) -> list[Receipt]:
    """Some receipts in the table."""
    receipts = list(generate(5, 3))
    import_receipts(receipts_table, receipts, ProblemLog())
    return receipts


def test_a_seed_draws_the_same_receipt_again(stored: list[Receipt], receipts_table: str) -> None:
    """The same table and seed give the same receipt, whole; other seeds give others."""
    by_key = {receipt.key: receipt for receipt in stored}
    drawn = [draw("dynamodb", receipts_table, None, seed, ProblemLog()) for seed in range(4)]
    assert [draw("dynamodb", receipts_table, None, seed, ProblemLog()).key for seed in range(4)] == [
        receipt.key for receipt in drawn
    ]
    assert len({receipt.key for receipt in drawn}) > 1
    assert all([word.text for word in one.words] == [word.text for word in by_key[one.key].words] for one in drawn)


def test_a_receipt_by_key_or_name(stored: list[Receipt], receipts_table: str) -> None:
    """Both find it; a name of nobody is a mistake."""
    for wanted in (stored[2].key, stored[2].name):
        assert draw("dynamodb", receipts_table, wanted, 0, ProblemLog()).key == stored[2].key
    with pytest.raises(UserError, match="nobody"):
        draw("dynamodb", receipts_table, "nobody", 0, ProblemLog())
