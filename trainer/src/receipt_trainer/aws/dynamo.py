"""DynamoDB items as Python values: typed both ways, paged, written in batches that come through."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from tenacity import RetryError, Retrying, retry_if_result, stop_after_attempt, wait_random_exponential

from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.errors import WorldError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Item = dict[str, Any]
"""An item as Python values: str, int, float, bool, None, list, dict."""

Sleep = Callable[[float], None]


class Table(NamedTuple):
    """A table, and the client with which it is read and written: `query(*table, ...)`."""

    client: DynamoDBClient
    name: str


WRITE_BATCH: Final = 25
"""Items in one BatchWriteItem (DynamoDB's limit)."""
GET_BATCH: Final = 100
"""Keys in one BatchGetItem (DynamoDB's limit)."""
MAX_ROUNDS: Final = 8
"""Rounds for what a batch left unprocessed; the waits between them add up to 40 s at most."""

_SMALLEST, _LARGEST = 1e-129, 9.9e125  # DynamoDB's number range is 1E-130 to 9.99E+125

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()
_T = TypeVar("_T")


def serialise(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as DynamoDB's typed attributes.

    A float becomes the number with its shortest exact digits. What no DynamoDB number can hold (NaN, the infinities,
    magnitudes beyond 1e125) becomes its text; `to_float` reads both.
    """
    return {name: _serializer.serialize(_plain(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        fits = math.isfinite(value) and (value == 0 or _SMALLEST <= abs(value) <= _LARGEST)
        return Decimal(repr(value)) if fits else repr(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def deserialise(raw: Mapping[str, Any]) -> Item:
    """Typed attributes as an item: a whole number below 2**53 is an int, any other a float."""
    return {name: _python(_deserializer.deserialize(value)) for name, value in raw.items()}


def _python(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
    if isinstance(value, dict):
        return {key: _python(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_python(inner) for inner in value]
    return value


def size_bytes(item: Mapping[str, Any]) -> int:
    """The bytes of an item as DynamoDB counts them against its limit of 409,600 (Developer Guide, "Item sizes")."""
    return sum(len(name.encode()) + _size_of(value) for name, value in item.items())


def _size_of(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int | float):
        return 21  # at most; one of few digits has less
    if isinstance(value, Mapping):
        return 3 + size_bytes(value) + len(value)
    return 3 + sum(1 + _size_of(inner) for inner in value)


def query(client: DynamoDBClient, table: str, doing: str, **arguments: Any) -> Iterator[Item]:
    """All items of a Query, page after page; `ExpressionAttributeValues` are given as Python values."""
    return _pages(client, "query", table, doing, arguments)


def scan(client: DynamoDBClient, table: str, doing: str, **arguments: Any) -> Iterator[Item]:
    """All items of a Scan, page after page; `ExpressionAttributeValues` are given as Python values."""
    return _pages(client, "scan", table, doing, arguments)


def _pages(client: Any, operation: str, table: str, doing: str, arguments: Mapping[str, Any]) -> Iterator[Item]:
    given = dict(arguments)
    if "ExpressionAttributeValues" in given:
        given["ExpressionAttributeValues"] = serialise(given["ExpressionAttributeValues"])
    with aws_faults(doing, table=table):
        for page in client.get_paginator(operation).paginate(TableName=table, **given):
            for raw in page["Items"]:
                yield deserialise(raw)


def put(client: DynamoDBClient, table: str, item: Mapping[str, Any], doing: str) -> None:
    """Write one item over any that has its key."""
    with aws_faults(doing, table=table):
        client.put_item(TableName=table, Item=serialise(item))


def put_new(client: DynamoDBClient, table: str, item: Mapping[str, Any], doing: str) -> Item | None:
    """Write one item where none has its key; else what is there, which may be this very item of a lost answer."""
    given = {"ConditionExpression": "attribute_not_exists(PK)", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    try:
        with aws_faults(doing, table=table):
            client.put_item(TableName=table, Item=serialise(item), **given)  # type: ignore[arg-type]
    except WorldError as error:
        if error_code(error.__cause__) != "ConditionalCheckFailedException":
            raise
        return deserialise(getattr(error.__cause__, "response", {}).get("Item", {}))
    return None


def batch_write(
    client: DynamoDBClient,
    table: str,
    doing: str,
    *,
    puts: Iterable[Mapping[str, Any]] = (),
    deletes: Iterable[Mapping[str, str]] = (),
    sleep: Sleep = time.sleep,
) -> None:
    """Write and delete items, 25 a request, until DynamoDB has taken all of them; WorldError if it does not in time.

    No key may occur twice.
    """
    requests = [{"PutRequest": {"Item": serialise(item)}} for item in puts]
    requests += [{"DeleteRequest": {"Key": serialise(key)}} for key in deletes]

    def send(request: dict[str, Any]) -> dict[str, Any]:
        with aws_faults(doing, table=table):
            return dict(client.batch_write_item(RequestItems=request).get("UnprocessedItems") or {})

    for chunk in chunks(requests, WRITE_BATCH):
        _drain(send, {table: chunk}, doing, sleep)


def batch_get(
    client: DynamoDBClient,
    table: str,
    doing: str,
    keys: Sequence[Mapping[str, str]],
    attributes: Sequence[str],
    *,
    sleep: Sleep = time.sleep,
) -> list[Item]:
    """Those of the items that exist, with the named attributes, read consistently, 100 keys a request."""
    names = {f"#{name}": name for name in attributes}
    found: list[Item] = []

    def send(request: dict[str, Any]) -> dict[str, Any]:
        with aws_faults(doing, table=table):
            answer = client.batch_get_item(RequestItems=request)
        for raw in answer["Responses"].values():
            found.extend(deserialise(item) for item in raw)
        return dict(answer.get("UnprocessedKeys") or {})

    for chunk in chunks(keys, GET_BATCH):
        wanted = {
            "Keys": [serialise(key) for key in chunk],
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
            "ConsistentRead": True,
        }
        _drain(send, {table: wanted}, doing, sleep)
    return found


def _drain(send: Callable[[dict[str, Any]], dict[str, Any]], request: dict[str, Any], doing: str, sleep: Sleep) -> None:
    """Send `request`, then what it left unprocessed, with growing random waits between."""
    left = request

    def step() -> bool:
        nonlocal left
        left = send(left)
        return bool(left)

    retrying = Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_attempt(MAX_ROUNDS),
        wait=wait_random_exponential(multiplier=0.1, max=10),
        sleep=sleep,
    )
    try:
        retrying(step)
    except RetryError:
        raise WorldError(f"{doing}: DynamoDB left items unprocessed {MAX_ROUNDS} times: it is throttling") from None


def chunks(values: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of `size` values, the last one shorter."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
