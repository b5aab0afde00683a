"""Importing receipts: again, changed, interrupted, beside the work of people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import image_pk, label_sk, receipt_sk, word_sk
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, WordLabel
from receipt_trainer.data.sources.dynamodb.read import read_all, read_labelled
from receipt_trainer.data.sources.dynamodb.write import MAX_EXTRA, import_receipts
from receipt_trainer.errors import UserError
from tests.data.table_helpers import by_key, everything, make, put
from tests.fault_proxy import FaultProxy


def test_import_again_writes_nothing(receipts_table: str) -> None:
    """A second import of the same receipts only asks for their hashes."""
    receipts = [make(f"r{n}", ("DATE", "VALID")) for n in range(5)]
    first = import_receipts(receipts_table, receipts, ProblemLog())
    before = everything(receipts_table)
    second = import_receipts(receipts_table, receipts, ProblemLog())
    assert (first.written, second.written, second.unchanged, second.items_put) == (5, 0, 5, 0)
    assert everything(receipts_table) == before


def test_changed_receipt_is_replaced_without_leftovers(receipts_table: str) -> None:
    """After an import of a changed receipt the table is as if only the new one had ever been imported."""
    import_receipts(receipts_table, [make("a", ("DATE", "VALID"), words=6)], ProblemLog())
    changed = make("a", ("TIME", "VALID"), words=4)
    done = import_receipts(receipts_table, [changed], ProblemLog())
    assert (done.replaced, done.items_deleted) == (1, 5)  # two words with their lines, one label
    assert list(read_all(receipts_table, ProblemLog())) == [changed]


def test_labels_of_people_survive_an_import(receipts_table: str) -> None:
    """A label that a person proposed or judged keeps its status, its word and its proposer, whatever an import says."""
    receipt = make("a", ("DATE", "VALID"), words=3)
    pk = image_pk(receipt.image_id)
    import_receipts(receipts_table, [receipt], ProblemLog())
    judged = everything(receipts_table)[pk, label_sk(1, 1, 1, "DATE")] | {"validation_status": "INVALID"}
    own = {"PK": pk, "SK": label_sk(1, 3, 1, "TAX"), "TYPE": "RECEIPT_WORD_LABEL", "validation_status": "VALID"}
    put(receipts_table, judged, own | {"label_proposed_by": "ann"})
    changed = make("a", ("DATE", "VALID"), words=4)
    done = import_receipts(receipts_table, [changed], ProblemLog())
    assert done.labels_of_people_kept == 1
    (found,) = read_all(receipts_table, ProblemLog())
    anns = WordLabel("TAX", "VALID", "ann")
    assert [word.labels for word in found.words] == [(WordLabel("DATE", "INVALID"),), (), (anns,), ()]


def _other_text(receipt: Receipt) -> Receipt:
    return replace(receipt, words=(*receipt.words[:-1], replace(receipt.words[-1], text="other")))


@pytest.mark.parametrize("changed", [make("a", words=2), _other_text(make("a"))])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_label_of_people_never_comes_to_lie_on_another_word(
    receipts_table: str, changed: Receipt, dry_run: bool
) -> None:
    """Where a word that a person labelled would go or get another text, nothing of the receipt is written."""
    receipt = make("a")
    own = {"PK": image_pk(receipt.image_id), "SK": label_sk(1, 3, 1, "TAX"), "TYPE": "RECEIPT_WORD_LABEL"}
    import_receipts(receipts_table, [receipt], ProblemLog())
    put(receipts_table, own | {"validation_status": "VALID", "label_proposed_by": "ann"})
    before, problems = everything(receipts_table), ProblemLog()
    done = import_receipts(receipts_table, [changed, make("b")], problems, dry_run=dry_run)
    assert (done.left_out, done.replaced, done.written) == (1, 0, 1)
    assert problems.as_dict() == {
        "judged_word_changed": {
            "count": 1,
            "dropped": True,
            "examples": ["judged_word_changed: a LINE 3 WORD 1 ('TAX')"],
        }
    }
    assert {key: item for key, item in everything(receipts_table).items() if key in before} == before


def test_a_labelled_word_of_others_that_an_import_does_not_know_stays(receipts_table: str) -> None:
    """A word that OCR wrote and a person labelled hinders no import without it: both stay as they are."""
    receipt = make("a", words=1)
    pk = image_pk(receipt.image_id)
    word = {"PK": pk, "SK": word_sk(1, 2, 1), "TYPE": "RECEIPT_WORD", "text": "o"}
    label = {"PK": pk, "SK": label_sk(1, 2, 1, "TAX"), "TYPE": "RECEIPT_WORD_LABEL", "validation_status": "VALID"}
    put(receipts_table, word, label)
    assert import_receipts(receipts_table, [receipt], ProblemLog()).left_out == 0
    items = everything(receipts_table)
    assert [items[pk, item["SK"]] for item in (word, label)] == [word, label]


def test_attributes_of_others_survive_an_import(receipts_table: str) -> None:
    """Over a word that OCR wrote, an import changes what it knows and keeps the rest; it never deletes such a word."""
    receipt = make("a", words=1)
    pk = image_pk(receipt.image_id)
    put(
        receipts_table,
        *({"PK": pk, "SK": word_sk(1, n, 1), "TYPE": "RECEIPT_WORD", "text": "o", "angle": 3} for n in (1, 2)),
    )
    import_receipts(receipts_table, [receipt], ProblemLog())
    items = everything(receipts_table)
    assert (items[pk, word_sk(1, 1, 1)]["text"], items[pk, word_sk(1, 1, 1)]["angle"]) == ("w0", 3)
    assert items[pk, word_sk(1, 2, 1)]["angle"] == 3


def test_interrupted_import_is_completed_by_another(receipts_table: str, fault_proxy: FaultProxy) -> None:
    """Stopped by a fault at any write, then run again: no item twice, none missing, none half."""
    receipts = [make(f"r{n}", ("DATE", "VALID"), words=20) for n in range(8)]
    for stop in (1, 2, 4):
        fault_proxy.calls.clear()
        fault_proxy.rule = lambda name, count, body, stop=stop: (  # type: ignore[misc]
            (400, {"__type": "x#AccessDeniedException", "message": "stop"})
            if name in ("BatchWriteItem", "PutItem") and count >= stop
            else None
        )
        with pytest.raises(UserError, match="AccessDenied"):
            import_receipts(receipts_table, receipts, ProblemLog())
    fault_proxy.rule = lambda name, count, body: None
    import_receipts(receipts_table, receipts, ProblemLog())
    interrupted = everything(receipts_table)
    assert list(read_labelled(receipts_table, ProblemLog())) == by_key(receipts)
    client = clients.dynamodb()
    dynamo.batch_write(client, receipts_table, "clear", deletes=[{"PK": pk, "SK": sk} for pk, sk in interrupted])
    import_receipts(receipts_table, receipts, ProblemLog())
    assert everything(receipts_table) == interrupted


def test_half_imported_receipt_is_not_trained_on(receipts_table: str) -> None:
    """Without its RECEIPT item, which an import writes last, a receipt is left out and named."""
    receipt = make("a", ("DATE", "VALID"))
    import_receipts(receipts_table, [receipt], ProblemLog())
    key = {"PK": image_pk(receipt.image_id), "SK": receipt_sk(1)}
    dynamo.batch_write(clients.dynamodb(), receipts_table, "test", deletes=[key])
    problems = ProblemLog()
    assert list(read_labelled(receipts_table, problems)) == []
    assert problems.counts == {ProblemKind.BAD_RECORD: 1}


def test_a_stopped_import_of_a_changed_receipt_is_not_trained_on(receipts_table: str, fault_proxy: FaultProxy) -> None:
    """Stopped between two versions a receipt is left out and named, whoever wrote its RECEIPT item; again completes."""
    old, new = make("a", ("DATE", "VALID"), words=40), make("a", ("TIME", "VALID"), words=30)
    key = image_pk(old.image_id), receipt_sk(1)
    import_receipts(receipts_table, [old], ProblemLog())
    head = everything(receipts_table)[key]
    for written_by in ({}, {"written_by": "ocr"}):
        put(receipts_table, head | written_by)
        for stop in (1, 2):
            fault_proxy.calls.clear()
            fault_proxy.rule = lambda name, count, body, stop=stop: (  # type: ignore[misc]
                (400, {"__type": "x#AccessDeniedException", "message": "stop"})
                if name in ("BatchWriteItem", "PutItem") and count >= stop
                else None
            )
            with pytest.raises(UserError, match="AccessDenied"):
                import_receipts(receipts_table, [new], ProblemLog())
            fault_proxy.rule = lambda name, count, body: None
            problems = ProblemLog()
            assert list(read_all(receipts_table, problems)) == []
            assert list(read_labelled(receipts_table, problems)) == []
            (first, *_) = problems.examples[ProblemKind.BAD_RECORD]
            assert "an import of it was stopped; run it again" in first.detail
        import_receipts(receipts_table, [new], ProblemLog())
        assert list(read_labelled(receipts_table, ProblemLog())) == [new]
        assert "importing" not in everything(receipts_table)[key]
        import_receipts(receipts_table, [old], ProblemLog())
        assert list(read_labelled(receipts_table, ProblemLog())) == [old]


def test_dry_run_and_oversize(receipts_table: str) -> None:
    """A dry run counts and writes nothing; a receipt too large for DynamoDB is left out by name, not a crash."""
    large = make("large", extra={"note": "x" * MAX_EXTRA})
    problems = ProblemLog()
    done = import_receipts(receipts_table, [make("a"), make("a"), large], problems, dry_run=True)
    assert (done.written, done.left_out) == (1, 2)
    assert problems.counts == {ProblemKind.DUPLICATE_RECEIPT: 1, ProblemKind.BAD_RECORD: 1}
    assert everything(receipts_table) == {}
