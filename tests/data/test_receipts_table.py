"""The receipts table: what is written is read, by few requests, whatever else is in the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receipt_trainer.aws import clients
from receipt_trainer.contract.tables import image_pk, label_sk, receipt_sk, validation_status_pk, word_sk
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import WordLabel
from receipt_trainer.data.sources.dynamodb.assemble import ReceiptKey, assemble
from receipt_trainer.data.sources.dynamodb.read import index_segments, labelled_keys, read_all, read_labelled
from receipt_trainer.data.sources.dynamodb.write import import_receipts
from receipt_trainer.data.sources.record import parse_record
from tests.data.receipt_strategies import json_values, sound_records
from tests.data.table_helpers import by_key, make, put
from tests.fault_proxy import FaultProxy, throttle


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sound_records(), min_size=1, max_size=2, unique_by=lambda record: (record["source"], record["id"])))
def test_json_lines_to_table_and_back_is_lossless(receipts_table: str, records: list[dict[str, Any]]) -> None:
    """Sound receipts come back from a table equal in every field: boxes, lines, labels, statuses, carried fields."""
    prefix = uuid4().hex  # the table is shared by the examples
    receipts = [
        parse_record(record | {"image_id": f"{prefix}-{n}"}, "x", ProblemLog()) for n, record in enumerate(records)
    ]
    given_receipts = [receipt for receipt in receipts if receipt is not None]
    import_receipts(receipts_table, given_receipts, ProblemLog())
    found = [receipt for receipt in read_all(receipts_table, ProblemLog()) if receipt.image_id.startswith(prefix)]
    assert found == by_key(given_receipts)
    labelled = [r for r in read_labelled(receipts_table, ProblemLog()) if r.image_id.startswith(prefix)]
    assert labelled == [receipt for receipt in by_key(given_receipts) if receipt.is_labelled()]


def test_labelled_receipts_cost_one_query_each(receipts_table: str) -> None:
    """Reading n labelled receipts takes one request for each and one for each index segment, and no more."""
    receipts = [make(f"r{n}", ("DATE", "VALID"), words=30) for n in range(20)] + [
        make("plain"),
        make("no", ("DATE", "INVALID")),
    ]
    import_receipts(receipts_table, receipts, ProblemLog())
    client = clients.dynamodb()
    sent: Counter[str] = Counter()
    client.meta.events.register(
        "before-send.dynamodb", lambda request, **_: sent.update([request.headers["X-Amz-Target"]])
    )
    progress: list[tuple[int, int]] = []
    found = list(
        read_labelled(
            receipts_table,
            ProblemLog(),
            client=client,
            segments=4,
            progress=lambda done, total: progress.append((done, total)),
        )
    )
    assert found == by_key(receipts[:20])
    assert sent == {b"DynamoDB_20120810.Query": 20 + 4}
    assert progress == [(n, 20) for n in range(1, 21)]


@given(st.integers(1, 256), st.text(max_size=12) | st.text("IMAGE#0123456789abcdefABCDEF-", max_size=14))
def test_index_segments_cover_every_string(count: int, key: str) -> None:
    """Any sort key at all, odd ones included, satisfies the condition of at least one segment."""
    checks: dict[str, Callable[[dict[str, str]], bool]] = {
        "": lambda values: True,
        " AND GSI3SK < :high": lambda values: key < values[":high"],
        " AND GSI3SK BETWEEN :low AND :high": lambda values: values[":low"] <= key <= values[":high"],
        " AND GSI3SK >= :low": lambda values: key >= values[":low"],
    }
    segments = index_segments(count)
    assert len(segments) == count
    assert any(checks[condition](values) for condition, values in segments)


def test_segments_find_the_same_receipts_as_one_query(receipts_table: str) -> None:
    """However finely the index is cut, every receipt is found once, those with odd index keys too."""
    items = []
    ids = [str(uuid4()) for _ in range(12)] + ["0", "FFFF", "zzz", "é"]
    for n, image_id in enumerate(ids):
        keys = {"PK": image_pk(image_id), "SK": label_sk(1, 1, 1, "DATE"), "TYPE": "RECEIPT_WORD_LABEL"}
        odd = ["", "#", "IMAGE#80", "\U0010ffff"][n % 4] + str(n) if n >= 8 else f"IMAGE#{image_id}#{keys['SK']}"
        items.append({**keys, "GSI3PK": validation_status_pk("VALID"), "GSI3SK": odd})
    put(receipts_table, *items)
    client, wanted = clients.dynamodb(), sorted(ReceiptKey(image_pk(image_id), "RECEIPT#00001") for image_id in ids)
    for segments in (1, 2, 16, 256):
        assert labelled_keys(client, receipts_table, ProblemLog(), segments=segments) == wanted


def test_a_real_table_is_read_as_it_stands(receipts_table: str) -> None:
    """Items without our attributes, letters, other types with a status, boxes from the bottom left: all as they are."""
    image_id = str(uuid4())
    pk = image_pk(image_id)
    valid = {"GSI3PK": validation_status_pk("VALID")}
    box = {"x": 0.1, "y": 0.7, "width": 0.2, "height": 0.1}
    put(
        receipts_table,
        {"PK": pk, "SK": receipt_sk(1), "TYPE": "RECEIPT", "width": 600, "height": 900},
        {
            "PK": pk,
            "SK": word_sk(1, 2, 1),
            "TYPE": "RECEIPT_WORD",
            "text": "Total",
            "bounding_box": box,
            "confidence": 1,
        },
        {"PK": pk, "SK": word_sk(1, 1, 1), "TYPE": "RECEIPT_WORD", "text": "Shop", "bounding_box": box},
        {"PK": pk, "SK": word_sk(1, 2, 1) + "#LETTER#00001", "TYPE": "RECEIPT_LETTER", "text": "T"},
        {"PK": pk, "SK": "RECEIPT#00001#ANALYSIS#X", "TYPE": "SUMMARY", "GSI3SK": "CHATGPT#1", **valid},
        {
            **{"PK": pk, "SK": label_sk(1, 2, 1, "TOTAL"), "TYPE": "RECEIPT_WORD_LABEL", "validation_status": "VALID"},
            **{"GSI3SK": "CHATGPT#2", **valid},
        },
        {"PK": pk, "SK": label_sk(1, 1, 1, "DATE"), "TYPE": "RECEIPT_WORD_LABEL", "validation_status": None},
        # another receipt whose number begins with the same digits, beyond the five that are usual
        {"PK": pk, "SK": "RECEIPT#000010", "TYPE": "RECEIPT", "width": 1, "height": 1},
        {
            "PK": pk,
            "SK": "RECEIPT#000010#LINE#00001#WORD#00001",
            "TYPE": "RECEIPT_WORD",
            "text": "no",
            "bounding_box": box,
        },
    )
    problems = ProblemLog()
    (receipt,) = read_labelled(receipts_table, problems)
    assert not problems.counts
    assert (receipt.key, receipt.name, receipt.source) == (f"{image_id}#00001", f"{image_id}#00001", "")
    assert [(word.text, word.line) for word in receipt.words] == [("Shop", 0), ("Total", 1)]
    assert receipt.words[1].box == pytest.approx((0.1, 0.2, 0.3, 0.3))
    assert receipt.words[0].labels == (WordLabel("DATE", "NONE"),)
    assert receipt.words[1].valid_label() == "TOTAL"
    assert {receipt.receipt_id for receipt in read_all(receipts_table, problems)} == {1, 10}


def test_every_defect_of_a_table_is_named() -> None:
    """Each broken item costs what it is about, is counted under its kind, and leaves the rest readable."""
    pk, sk = image_pk("i"), receipt_sk(1)
    word = {"TYPE": "RECEIPT_WORD", "text": "x", "bounding_box": {"x": 0, "y": 0, "width": 0.1, "height": 0.1}}
    items: list[dict[str, Any]] = [
        {"SK": sk, "TYPE": "RECEIPT", "extra": "{broken"},
        {"SK": word_sk(1, 1, 1), **word},
        {"SK": word_sk(1, 1, 2), **word, "bounding_box": None},
        {"SK": word_sk(1, 1, 3), **word, "bounding_box": {"x": 0.5, "y": 0.5, "width": 0.9, "height": 0.1}},
        {"SK": word_sk(1, 1, 4), **word, "bounding_box": {"x": "NaN", "y": 0, "width": 1, "height": 1}},
        {"SK": word_sk(1, 1, 5), **word, "text": " "},
        {"SK": word_sk(1, 1, 6), **word, "confidence": "much"},
        {"SK": f"{sk}#LINE#1#WORD#x", **word},
        {"SK": label_sk(1, 9, 9, "DATE"), "TYPE": "RECEIPT_WORD_LABEL", "validation_status": "VALID"},
        {"SK": label_sk(1, 1, 1, "DATE"), "TYPE": "RECEIPT_WORD_LABEL", "validation_status": "SURE"},
    ]
    problems = ProblemLog()
    receipt = assemble(ReceiptKey(pk, sk), [{"PK": pk, **item} for item in items], problems)
    assert receipt is not None
    assert len(receipt.words) == 2
    assert problems.counts == {
        ProblemKind.BAD_BOX: 2,
        ProblemKind.BOX_OUTSIDE_PAGE: 1,
        ProblemKind.EMPTY_TEXT: 1,
        ProblemKind.BAD_FIELD: 2,
        ProblemKind.BAD_RECORD: 1,
        ProblemKind.LABEL_WITHOUT_WORD: 1,
        ProblemKind.BAD_STATUS: 1,
    }
    assert assemble(ReceiptKey(pk, sk), [{"PK": pk, "SK": word_sk(1, 1, 1), **word}], problems) is None


@pytest.mark.parametrize(
    ("given_size", "size", "noted"),
    [
        ({"width": 600, "height": 900}, (600, 900), 0),
        ({}, (0, 0), 0),
        ({"width": 0, "height": 0}, (0, 0), 0),
        ({"width": 10**7, "height": 900}, (0, 0), 1),
        ({"width": 600, "height": -1}, (0, 0), 1),
        ({"width": 600, "height": 0.5}, (0, 0), 1),
        ({"width": "600", "height": 900}, (0, 0), 1),
    ],
)
def test_an_impossible_size_is_noted_and_not_known(
    given_size: dict[str, Any], size: tuple[int, int], noted: int
) -> None:
    """What JSON lines would refuse as a page is noted and is 0 by 0; a size that is not given, or 0, is no problem."""
    pk, sk, problems = image_pk("i"), receipt_sk(1), ProblemLog()
    box = {"x": 0, "y": 0, "width": 0.1, "height": 0.1}
    word = {"PK": pk, "SK": word_sk(1, 1, 1), "TYPE": "RECEIPT_WORD", "text": "x", "bounding_box": box}
    receipt = assemble(ReceiptKey(pk, sk), [{"PK": pk, "SK": sk, "TYPE": "RECEIPT", **given_size}, word], problems)
    assert receipt is not None
    assert (receipt.width, receipt.height) == size
    assert problems.counts == ({ProblemKind.BAD_FIELD: noted} if noted else {})


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["text", "bounding_box", "width", "name", "extra", "importing", "TYPE"]), json_values
        )
    )
)
def test_hostile_items_never_crash(values: list[dict[str, Any]]) -> None:
    """Whatever the attributes of items are, reading ends in a receipt or in a problem."""
    sks = [receipt_sk(1), word_sk(1, 1, 1), label_sk(1, 1, 1, "DATE"), "RECEIPT#00001#X"]
    types = ["RECEIPT", "RECEIPT_WORD", "RECEIPT_WORD_LABEL", "RECEIPT_WORD"]
    items = [{"PK": "IMAGE#i", "SK": sks[n % 4], "TYPE": types[n % 4], **value} for n, value in enumerate(values)]
    problems = ProblemLog()
    assert assemble(ReceiptKey("IMAGE#i", receipt_sk(1)), items, problems) is not None or problems.counts


def test_throttled_reads_and_writes_come_through(receipts_table: str, fault_proxy: FaultProxy) -> None:
    """ThrottlingException on import and on reading is retried until it works; nothing is lost or doubled."""
    receipts = [make(f"r{n}", ("DATE", "VALID")) for n in range(3)]
    fault_proxy.rule = lambda name, count, body: throttle(name, 2)(name, count, body)
    import_receipts(receipts_table, receipts, ProblemLog())
    assert list(read_labelled(receipts_table, ProblemLog(), segments=2)) == by_key(receipts)
    assert fault_proxy.calls["BatchWriteItem"] > 2
