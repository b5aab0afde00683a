"""Importing receipts into the receipts table: deterministic keys, so that running again completes and never doubles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.aws.dynamo import Item
from receipt_trainer.contract.tables import review_sk
from receipt_trainer.data.problems import ProblemKind, ProblemLog
from receipt_trainer.data.receipt import Receipt, Review
from receipt_trainer.data.sources.dynamodb.assemble import (
    IMPORT,
    LABEL,
    LINE,
    RECEIPT,
    REVIEW,
    WORD,
    ReceiptKey,
    content_hash,
    part_items,
    place_of,
    receipt_item,
    receipt_key,
    review_item,
    review_of,
)
from receipt_trainer.data.sources.dynamodb.read import WORKERS, Progress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

MAX_EXTRA: Final = 100_000
"""Characters of JSON that may be carried along with a word or a receipt; an item ends at 400 kB."""

_DOING = "import receipts"


def _utc_now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass(slots=True)
class ImportResult:
    """The results of an import, or of its dry run. Counts are of receipts unless they say otherwise."""

    written: int = 0
    replaced: int = 0
    unchanged: int = 0
    left_out: int = 0
    items_put: int = 0
    items_deleted: int = 0
    labels_of_people_kept: int = 0
    labels_taken: int = 0
    """Words that have a label less: those that lose their VALID label and get no other."""


@dataclass(slots=True)
class _Plan:
    """The changes of a receipt's items: none, if a label of people is on a word that changes."""

    puts: list[Item] = field(default_factory=list)
    deletes: list[dict[str, str]] = field(default_factory=list)
    labels_kept: int = 0
    labels_taken: int = 0
    judged: tuple[str, str] | None = None
    """Where that word stands, and the label on it."""


def mark_imported(receipt: Receipt, *, partial: bool = False) -> Receipt:
    """The receipt with what its import says of it as a whole, where nobody has said it yet.

    Labels of people are all there are, unless they are said to be partial. Where no label is VALID, machines have
    proposed what there is, and nobody has looked.
    """
    if receipt.review is not None:
        return receipt
    return replace(receipt, review=Review(receipt.is_labelled() and not partial, IMPORT))


def import_receipts(
    table: str,
    receipts: Iterable[Receipt],
    problems: ProblemLog,
    *,
    client: DynamoDBClient | None = None,
    workers: int = WORKERS,
    dry_run: bool = False,
    progress: Progress | None = None,
    now: Callable[[], str] = _utc_now,
) -> ImportResult:
    """Write receipts that are not in the table as they are.

    A receipt's words and labels go first and its RECEIPT item last, with a hash of its content: a receipt with that
    hash is complete and is skipped. One with another is replaced, and what an earlier import left of it is deleted;
    until that is done its RECEIPT item has no hash and says `importing`, so that a mixture is never read.
    What others wrote stays: a label that somebody else proposed or judged keeps its status, a word keeps its
    attributes that are not ours. A receipt is left as it is if such a label is on a word that would be another.

    Args:
        table: name of the receipts table.
        receipts: held in memory; of two with one key the first counts.
        problems: takes the receipts that are left out.
        client: a DynamoDB client; by default a new one from the environment.
        workers: receipts written at one time.
        dry_run: read and count only.
        progress: called after each receipt.
        now: time stamp of new labels, ISO 8601.

    Raises:
        UserError: no such table, no credentials.
        WorldError: AWS did not answer, or throttled, beyond the retries; running again resumes from there.
    """
    result = ImportResult()
    wanted = _importable(receipts, problems, result)
    connection = client or clients.dynamodb()
    stored = _stored_hashes(connection, table, wanted)
    changed = [receipt for receipt in wanted if stored.get(receipt.key) != content_hash(receipt)]
    result.unchanged = len(wanted) - len(changed)
    tell, total = progress or (lambda done, total: None), len(wanted)
    tell(result.unchanged, total)
    with _threads(workers) as pool:
        futures = {pool.submit(_write_receipt, connection, table, each, dry_run, now): each for each in changed}
        for done, future in enumerate(as_completed(futures), result.unchanged + 1):
            _count(result, future.result(), replaced=futures[future].key in stored)
            tell(done, total)
    for future, receipt in futures.items():  # in the order given, not in the order done
        if judged := future.result().judged:
            problems.add(ProblemKind.JUDGED_WORD_CHANGED, receipt.name or receipt.key, *judged)
    return result


def labels_taken(table: str, receipts: Iterable[Receipt], *, workers: int = WORKERS) -> int:
    """How many words would have a label less after an import, of receipts that are stored and have changed.

    Raises:
        UserError, WorldError: as `import_receipts`.
    """
    client = clients.dynamodb()
    wanted = _importable(receipts, ProblemLog(), ImportResult())
    stored = _stored_hashes(client, table, wanted)
    changed = [each for each in wanted if each.key in stored and stored[each.key] != content_hash(each)]
    with _threads(workers) as pool:
        return sum(pool.map(lambda each: _write_receipt(client, table, each, True, _utc_now).labels_taken, changed))


@contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Of an import; after a fault, and at Ctrl-C, they begin nothing more, which could take minutes."""
    with ThreadPoolExecutor(workers, thread_name_prefix="import") as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _importable(receipts: Iterable[Receipt], problems: ProblemLog, result: ImportResult) -> list[Receipt]:
    wanted: dict[str, Receipt] = {}
    for receipt in receipts:
        extras = [receipt.extra, *(word.extra for word in receipt.words)]
        if receipt.key in wanted and not receipt.corrects(wanted[receipt.key]):
            problems.add(ProblemKind.DUPLICATE_RECEIPT, receipt.name or receipt.key)
        elif any(extra and len(json.dumps(extra)) > MAX_EXTRA for extra in extras):
            detail = f"extra fields of more than {MAX_EXTRA} characters"
            problems.add(ProblemKind.BAD_RECORD, receipt.name or receipt.key, detail=detail)
        else:
            wanted[receipt.key] = receipt
            continue
        result.left_out += 1
    return list(wanted.values())


def _stored_hashes(client: DynamoDBClient, table: str, receipts: list[Receipt]) -> dict[str, str | None]:
    """By receipt key: the hash its RECEIPT item has, None if it has none; no entry without such an item."""
    by_key = {tuple(receipt_key(receipt)): receipt.key for receipt in receipts}
    keys = [{"PK": pk, "SK": sk} for pk, sk in by_key]
    items = dynamo.batch_get(client, table, _DOING, keys, ("PK", "SK", "content_hash"))
    return {by_key[item["PK"], item["SK"]]: item.get("content_hash") for item in items}


def _count(result: ImportResult, plan: _Plan, *, replaced: bool) -> None:
    if plan.judged:
        result.left_out += 1
        return
    result.replaced += replaced
    result.written += not replaced
    result.items_put += len(plan.puts) + 1
    result.items_deleted += len(plan.deletes)
    result.labels_of_people_kept += plan.labels_kept
    result.labels_taken += plan.labels_taken


def _write_receipt(
    client: DynamoDBClient, table: str, receipt: Receipt, dry_run: bool, now: Callable[[], str]
) -> _Plan:
    existing = _existing_items(client, table, receipt)
    head = existing.pop(receipt_key(receipt).sk, None)
    review = existing.pop(review_sk(receipt.receipt_id), None)
    plan = _plan(part_items(receipt), existing)
    stamp = now()
    plan.puts += _review_put(receipt, review, stamp)
    if dry_run or plan.judged:
        return plan
    for item in plan.puts:
        if item["TYPE"] == LABEL:
            item.setdefault("timestamp_added", stamp)
    if head is not None and (plan.puts or plan.deletes):
        mark_importing(client, table, receipt_key(receipt))
    dynamo.batch_write(client, table, _DOING, puts=plan.puts)
    dynamo.batch_write(client, table, _DOING, deletes=plan.deletes)
    finished = _merged(head, receipt_item(receipt))
    finished.pop("importing", None)
    dynamo.put(client, table, finished, _DOING)
    return plan


def _review_put(receipt: Receipt, stored: Item | None, stamp: str) -> list[Item]:
    """The item of the receipt's review, unless it is there or says less than what a person has said since."""
    new, old = receipt.review, review_of(stored) if stored else None
    if new is None or new == old or (old and old.by != IMPORT and (old.confirmed or not new.confirmed)):
        return []
    return [review_item(receipt, replace(new, at=new.at or stamp))]


def mark_importing(client: DynamoDBClient, table: str, key: ReceiptKey) -> None:
    """Say on a RECEIPT item that its parts are of two versions from now on; the import's last put takes it back."""
    with aws_faults(_DOING, table=table):
        client.update_item(
            TableName=table,
            Key={"PK": {"S": key.pk}, "SK": {"S": key.sk}},
            UpdateExpression="REMOVE content_hash SET importing = :true",
            ExpressionAttributeValues={":true": {"BOOL": True}},
        )


def _existing_items(client: DynamoDBClient, table: str, receipt: Receipt) -> dict[str, Item]:
    """The stored items of a receipt, by sort key: leftovers of a stopped import, an older version, work of others."""
    key = receipt_key(receipt)
    types = {":receipt": RECEIPT, ":review": REVIEW, ":line": LINE, ":word": WORD, ":label": LABEL}
    items = dynamo.query(
        client,
        table,
        _DOING,
        KeyConditionExpression="PK = :pk AND SK BETWEEN :first AND :last",
        FilterExpression=f"#TYPE IN ({', '.join(types)})",
        ExpressionAttributeNames={"#TYPE": "TYPE"},
        ExpressionAttributeValues={":pk": key.pk, ":first": key.sk, ":last": f"{key.sk}#\U0010ffff", **types},
        ConsistentRead=True,
    )
    return {str(item["SK"]): item for item in items}


def _plan(wanted: dict[str, Item], existing: dict[str, Item]) -> _Plan:
    plan = _Plan()
    kept = {sk for sk, item in existing.items() if not _is_ours(item)}
    plan.judged = _judged_word_changed(wanted, existing, kept)
    if plan.judged:
        return plan
    for sk, item in wanted.items():
        old = existing.get(sk)
        if old is not None and sk in kept and item["TYPE"] == LABEL:
            plan.labels_kept += 1
            continue
        new = _merged(old, item)
        if old is None or _without_time(new) != _without_time(old):
            plan.puts.append(new)
    for sk, item in existing.items():
        if sk not in wanted and sk not in kept and not any(other.startswith(f"{sk}#") for other in kept):
            plan.deletes.append({"PK": item["PK"], "SK": sk})
    plan.labels_taken = _labels_taken(wanted, existing, {each["SK"] for each in plan.deletes})
    return plan


def _labels_taken(wanted: dict[str, Item], existing: dict[str, Item], deleted: set[str]) -> int:
    """How many labelled words a receipt has less, where words lose their VALID label and others get none for it."""

    def words(items: Iterable[tuple[str, Item]]) -> set[str]:
        return {sk.partition("#LABEL#")[0] for sk, item in items if _is_valid(item)}

    before, after = words(existing.items()), words(wanted.items())
    after |= words((sk, item) for sk, item in existing.items() if sk not in deleted)
    return max(0, len(before - after) - len(after - before))


def _is_valid(item: Item) -> bool:
    return item["TYPE"] == LABEL and item.get("validation_status") == "VALID"


def _judged_word_changed(wanted: dict[str, Item], existing: dict[str, Item], kept: set[str]) -> tuple[str, str] | None:
    """The first word with a label of others that would get another text or go, and that label; None if there is none.

    A word that somebody else wrote and the import does not know stays.
    """
    for sk in sorted(kept):
        place = place_of(sk)
        if place is None or place.label is None:
            continue
        word_sk = sk.removesuffix(f"#LABEL#{place.label}")
        old, new = existing.get(word_sk), wanted.get(word_sk)
        if new is None and word_sk in kept:
            continue
        if (old or {}).get("text") != (new or {}).get("text"):
            return f"LINE {place.line} WORD {place.word}", place.label
    return None


def _without_time(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != "timestamp_added"}


def _is_ours(item: Item) -> bool:
    """Whether an import wrote the item and no person has judged it since."""
    if item["TYPE"] == LABEL:
        wrote = IMPORT in (item.get("label_proposed_by"), item.get("written_by"))
        return wrote and item.get("validation_status") == item.get("imported_status")
    return item.get("written_by") == IMPORT


def _merged(old: Item | None, new: Item) -> Item:
    """`new`; over an item of somebody else, with the attributes that only that one has, and still theirs."""
    if old is None or _is_ours(old):
        return dict(new)
    ours: dict[str, Any] = {name: value for name, value in new.items() if name != "written_by"}
    return {**old, **ours}
