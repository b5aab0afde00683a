"""moto's DynamoDB writes, one at a time, as DynamoDB's are to whoever looks.

moto 5.2 serves requests in threads without a lock, so that two conditional writes may both find their condition true. A
transaction copies each of its tables, once for each of its items, and puts the copy back if a condition fails: what
others wrote meanwhile is lost. Here one lock holds all writes, and a transaction remembers only the items it touches.
"""

from __future__ import annotations

import copy
import threading
from typing import Any, Final

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table

_WRITES: Final = ("put_item", "update_item", "delete_item")
_lock = threading.RLock()
_thread = threading.local()
_moto_transact: Any = DynamoDBBackend.transact_write_items


def install() -> None:
    """Put the methods in the place of moto's, in this process."""
    for name in _WRITES:
        setattr(DynamoDBBackend, name, _alone(getattr(DynamoDBBackend, name)))
    for owner, name, method in (
        (DynamoDBBackend, "transact_write_items", _transact),
        (Table, "__deepcopy__", _copy_table),
    ):
        setattr(owner, name, method)


def _alone(write: Any) -> Any:
    def alone(*arguments: Any, **options: Any) -> Any:
        with _lock:
            return write(*arguments, **options)

    return alone


def _transact(self: Any, transact_items: list[dict[str, Any]]) -> None:
    with _lock:
        before = [_touched(self, next(iter(item.values()))) for item in transact_items]
        _thread.keeps_tables = True
        try:
            _moto_transact(self, transact_items)
        except BaseException:
            for table, keys, item in filter(None, before):
                _put_back(table, keys, item)
            raise
        finally:
            _thread.keeps_tables = False


def _touched(backend: Any, operation: dict[str, Any]) -> tuple[Any, tuple[Any, Any], Any] | None:
    """Table, keys and a copy of the item that an operation is about; None for what moto refuses anyway."""
    table = backend.tables.get(operation.get("TableName"))
    key = operation.get("Key") or operation.get("Item") or {}
    if table is None or not all(name in key for name in table.table_key_attrs):
        return None
    keys = backend.get_keys_value(table, key)
    return table, keys, copy.deepcopy(table.get_item(*keys))


def _put_back(table: Any, keys: tuple[Any, Any], item: Any) -> None:
    hash_key, range_key = keys
    owner, key = (table.items, hash_key) if range_key is None else (table.items[hash_key], range_key)
    if item is None:
        owner.pop(key, None)
    else:
        owner[key] = item


def _copy_table(self: Any, memo: dict[int, Any]) -> Any:
    """A table in a transaction is its own copy; any other is copied as ever."""
    if getattr(_thread, "keeps_tables", False):
        return self
    copied = memo[id(self)] = Table.__new__(Table)
    copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
    return copied
