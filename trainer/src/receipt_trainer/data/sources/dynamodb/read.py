"""Reading the receipts table: labelled receipts through GSI3, one query a receipt; or all of it by a scan."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import validation_status_pk
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.clean import MAX_WORDS
from receipt_trainer.data.sources.dynamodb.assemble import (
    IMAGE_PREFIX,
    READ_ATTRIBUTES,
    READ_TYPES,
    ReceiptKey,
    assemble,
    key_of,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Progress = Callable[[int, int], None]
"""Called with (receipts done, receipts in all)."""

WORKERS: Final = 8
SEGMENTS: Final = 16

_LAST = "\U0010ffff"  # sorts after every other character, in UTF-8 as in Unicode
_T = TypeVar("_T")
_R = TypeVar("_R")


def index_segments(count: int) -> list[tuple[str, dict[str, str]]]:
    """`count` conditions on GSI3SK, each with its values, that together hold for every string.

    The cuts are `IMAGE#` and the first two hex digits of a UUID. DynamoDB has no half-open range, so BETWEEN takes a
    cut into both neighbours: a key that equals one is found twice, and the caller's set makes it one. What sorts before
    `IMAGE#` is in the first segment and what sorts after it in the last, so a table with other sort keys is read too.

    Raises:
        ValueError: `count` is not 1 to 256.
    """
    if not 1 <= count <= 256:
        raise ValueError(f"segments must be 1 to 256, not {count}")
    cuts = [f"{IMAGE_PREFIX}{256 * n // count:02x}" for n in range(1, count)]
    if not cuts:
        return [("", {})]
    middle = [(" AND GSI3SK BETWEEN :low AND :high", {":low": a, ":high": b}) for a, b in pairwise(cuts)]
    return [(" AND GSI3SK < :high", {":high": cuts[0]}), *middle, (" AND GSI3SK >= :low", {":low": cuts[-1]})]


def labelled_keys(
    client: DynamoDBClient,
    table: str,
    problems: ProblemLog,
    *,
    segments: int = SEGMENTS,
    workers: int = WORKERS,
    limit: int | None = None,
) -> list[ReceiptKey]:
    """The receipts that are labelled, sorted; with `limit` those of the first so many labels of each segment.

    Reads PK and SK of GSI3's partition of VALID labels, among which are the reviews that confirm a receipt. Both are
    recognised by their SK: other things have a validation status too, and are passed over.

    Raises:
        UserError: no such table or index, no credentials.
        WorldError: AWS did not answer within the retries.
    """

    def segment(part: tuple[str, dict[str, str]]) -> tuple[set[ReceiptKey], list[str]]:
        condition, values = part
        found: set[ReceiptKey] = set()
        strange: list[str] = []
        rows = dynamo.query(
            client,
            table,
            "find labelled receipts",
            IndexName="GSI3",
            KeyConditionExpression=f"GSI3PK = :status{condition}",
            ExpressionAttributeValues={":status": validation_status_pk("VALID"), **values},
            ProjectionExpression="PK, SK",
            **({"Limit": limit} if limit else {}),
        )
        for item in islice(rows, limit):
            if "#LABEL#" in str(item["SK"]) or str(item["SK"]).endswith("#REVIEW"):
                key = key_of(item)
                found.update([key] if key else [])
                strange.extend([] if key else [f"{item['PK']} {item['SK']}"])
        return found, strange

    keys: set[ReceiptKey] = set()
    for found, strange in _ordered_map(segment, index_segments(segments), workers):
        keys |= found
        for place in strange:
            problems.add(ProblemKind.BAD_RECORD, place, detail="a label that is on no receipt")
    return sorted(keys)


def sample_splits(client: DynamoDBClient, table: str, *, segments: int = 4, labels: int = 400) -> Counter[str]:
    """How often each split is stored on some labelled receipts from all over the table, "" for none.

    The receipts are those of the first so many VALID labels of each segment of GSI3: some dozens, read in a second
    however large the table is. Empty: no receipt has a VALID label.

    Raises:
        UserError, WorldError: as `labelled_keys`.
    """
    keys = labelled_keys(client, table, ProblemLog(), segments=segments, limit=labels)
    heads = dynamo.batch_get(client, table, "read receipts", [{"PK": key.pk, "SK": key.sk} for key in keys], ("split",))
    return Counter(str(head.get("split") or "") for head in heads)


def read_labelled(
    table: str,
    problems: ProblemLog,
    *,
    client: DynamoDBClient | None = None,
    workers: int = WORKERS,
    segments: int = SEGMENTS,
    max_words: int = MAX_WORDS,
    progress: Progress | None = None,
) -> Iterator[Receipt]:
    """Every sound receipt with a VALID label, in the order of the keys, however the reads overtake each other.

    Args:
        table: name of the receipts table.
        problems: takes the problems of the others.
        client: a DynamoDB client; by default a new one from the environment.
        workers: reads at one time.
        segments: ranges in which GSI3 is read.
        max_words: a receipt with more words is left out.
        progress: called after each receipt.

    Raises:
        UserError, WorldError: as `labelled_keys`.
    """
    connection = client or clients.dynamodb()
    keys = labelled_keys(connection, table, problems, segments=segments, workers=workers)

    def read(key: ReceiptKey) -> tuple[Receipt | None, ProblemLog]:
        log = ProblemLog(problems.max_examples)  # one a thread: a shared one would count wrong
        return assemble(key, query_receipt(connection, table, key), log, max_words), log

    for done, (receipt, log) in enumerate(_ordered_map(read, keys, workers), start=1):
        problems.merge(log)
        if progress is not None:
            progress(done, len(keys))
        if receipt is not None:
            yield receipt


def query_receipt(client: DynamoDBClient, table: str, key: ReceiptKey) -> Iterator[dict[str, Any]]:
    """All items of one receipt, by one query (of as many pages as it has megabytes).

    The range is the receipt's own sort key up to the last one below it: RECEIPT#00001 never reads RECEIPT#000010.
    Letters and other items below a receipt are filtered out by TYPE.
    """
    return dynamo.query(
        client,
        table,
        f"read receipt {key}",
        KeyConditionExpression="PK = :pk AND SK BETWEEN :first AND :last",
        **_parts({":pk": key.pk, ":first": key.sk, ":last": f"{key.sk}#{_LAST}"}),
    )


def _parts(values: dict[str, str]) -> dict[str, Any]:
    """Filter and projection of a receipt's items; all names by placeholder, since some are reserved words."""
    types = {f":type{n}": name for n, name in enumerate(READ_TYPES)}
    return {
        "FilterExpression": f"#TYPE IN ({', '.join(types)})",
        "ProjectionExpression": ", ".join(f"#{name}" for name in READ_ATTRIBUTES),
        "ExpressionAttributeNames": {f"#{name}": name for name in READ_ATTRIBUTES},
        "ExpressionAttributeValues": {**values, **types},
    }


def read_all(
    table: str,
    problems: ProblemLog,
    *,
    client: DynamoDBClient | None = None,
    workers: int = WORKERS,
    max_words: int = MAX_WORDS,
    progress: Progress | None = None,
) -> Iterator[Receipt]:
    """Every sound receipt, labelled or not, in the order of the keys, by a scan in `workers` segments.

    The entire table is read and its receipts' items are held in memory (about 1 kB a word).

    Raises:
        UserError, WorldError: as `labelled_keys`.
    """
    connection = client or clients.dynamodb()

    def segment(number: int) -> dict[ReceiptKey, list[dict[str, Any]]]:
        found: dict[ReceiptKey, list[dict[str, Any]]] = {}
        share = {"Segment": number, "TotalSegments": workers}
        for item in dynamo.scan(connection, table, "read all receipts", **share, **_parts({})):
            key = key_of(item)
            if key is not None:
                found.setdefault(key, []).append(item)
            else:
                logs[number].add(ProblemKind.BAD_RECORD, f"{item['PK']} {item['SK']}", detail=item["TYPE"])
        return found

    logs = [ProblemLog(problems.max_examples) for _ in range(workers)]
    by_key: dict[ReceiptKey, list[dict[str, Any]]] = {}
    for found in _ordered_map(segment, range(workers), workers):
        by_key |= found  # no key in two segments: a segment holds whole partitions
    for log in logs:
        problems.merge(log)
    total = len(by_key)
    for done, key in enumerate(sorted(by_key), start=1):
        receipt = assemble(key, by_key.pop(key), problems, max_words)
        if progress is not None:
            progress(done, total)
        if receipt is not None:
            yield receipt


def _ordered_map(function: Callable[[_T], _R], values: Iterable[_T], workers: int) -> Iterator[_R]:
    """Like map, `workers` calls at a time and few ahead of the consumer; the first error cancels what has not begun."""
    iterator = iter(values)
    with ThreadPoolExecutor(workers, thread_name_prefix="receipts") as pool:
        waiting: deque[Future[_R]] = deque(pool.submit(function, value) for value in islice(iterator, 4 * workers))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, value) for value in islice(iterator, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
