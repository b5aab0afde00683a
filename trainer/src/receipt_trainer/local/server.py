"""The embedded AWS's own process: a moto server on a free port of the loopback, gone when its parent is.

Run as `python -m receipt_trainer.local.server PARENT`, its process id: prints its port on stdout, then
serves until its standard input ends. moto 5.2 is patched where it differs from AWS or is too slow.

These are moto's internals: the extra `local` pins its minor version, and `tests/local/test_server.py` names what
a new one has changed.

*Speed of DynamoDB.* moto looks at every item of a table for every query, copies an item once for every attribute that
is projected, and tries ten spellings of ten members for every value it sends. Here a query is handed its own partition,
a projection takes the attributes, and a plain value is sent as it is. All else is left to moto, but what it looks up
anew for every request of any service, its own folders and the methods of a class, is looked up once.

*Writes of DynamoDB, one at a time.* moto serves requests in threads without a lock, so that two conditional writes may
both find their condition true. A transaction copies each of its tables, once for each of its items, and puts the copy
back if a condition fails: what others wrote meanwhile is lost. Here one lock holds all writes, and a transaction
remembers only the items it touches.

*Auto Scaling.* moto answers CompleteLifecycleAction with a page of HTML and status 500; its instances wait for no hook,
so there is nothing to complete. To end an instance that is in no group is a fault of its own, where AWS says that it
found none.
"""

from __future__ import annotations

import copy
import logging
import os
import select
import sys
import threading
from functools import cache
from typing import Any, Final

from moto import backends
from moto.autoscaling.exceptions import ValidationError
from moto.autoscaling.models import AutoScalingBackend
from moto.autoscaling.responses import AutoScalingResponse
from moto.core import responses, utils
from moto.core.responses import EmptyResult
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import MotoRequestHandler
from moto.server import ThreadedMotoServer

_PARENT_CHECK_S: Final = 1.0

_lock = threading.RLock()
_thread = threading.local()
_moto_query: Any = Table.query
_moto_all_items: Any = Table.all_items
_moto_project: Any = Item.project
_moto_structure: Any = BaseJSONSerializer._serialize_type_structure
_moto_transact: Any = DynamoDBBackend.transact_write_items
_moto_terminate: Any = AutoScalingBackend.terminate_instance


def install() -> None:
    """Put the methods in the place of moto's, in this process."""
    for name in ("put_item", "update_item", "delete_item"):
        setattr(DynamoDBBackend, name, _alone(getattr(DynamoDBBackend, name)))
    for owner, name, method in (
        (Table, "query", _query),
        (Table, "all_items", _all_items),
        (Table, "__deepcopy__", _copy_table),
        (Item, "project", _project),
        (BaseJSONSerializer, "_serialize_type_structure", _structure),
        (DynamoDBBackend, "transact_write_items", _transact),
        (AutoScalingBackend, "terminate_instance", _terminate_instance),
        (AutoScalingResponse, "complete_lifecycle_action", lambda self: EmptyResult()),
        (responses, "method_names_from_class", cache(utils.method_names_from_class)),
        (backends, "list_of_moto_modules", frozenset(backends.list_of_moto_modules()).copy),
    ):
        setattr(owner, name, method)


def _query(
    self: Any,
    hash_key: Any,
    range_comparison: Any,
    range_objs: Any,
    limit: Any,
    exclusive_start_key: Any,
    scan_index_forward: Any,
    projection_expressions: Any,
    index_name: str | None = None,
    *rest: Any,
    **options: Any,
) -> Any:
    _thread.items = _candidates(self, hash_key, range_comparison, range_objs, index_name, options)
    paging = (limit, exclusive_start_key, scan_index_forward, projection_expressions)
    try:
        return _moto_query(self, hash_key, range_comparison, range_objs, *paging, index_name, *rest, **options)
    finally:
        _thread.items = None


def _candidates(
    table: Any, hash_key: Any, comparison: Any, values: Any, index_name: str | None, options: dict[str, Any]
) -> list[Any] | None:
    """The items a query can answer with; None leaves them all to moto."""
    if not table.range_key_attr or hash_key is None:
        return None
    if index_name is None:
        return list(table.items.get(hash_key, {}).values())
    conditions = options.get("hash_key_conditions") or []
    ranges = options.get("range_key_conditions") or []
    if len(conditions) != 1 or len(ranges) > 1:
        return None
    name, expected = conditions[0]
    found = [
        item
        for partition in list(table.items.values())
        for item in list(partition.values())
        if (key := item.attrs.get(name)) is not None and key.value == expected.value and key.type == expected.type
    ]
    if not ranges:
        return found
    sort_name = ranges[0][0]
    return [item for item in found if sort_name in item.attrs and item.attrs[sort_name].compare(comparison, values)]


def _all_items(self: Any) -> Any:
    narrowed = getattr(_thread, "items", None)
    if narrowed is not None:
        return narrowed
    if not self.range_key_attr or {key["AttributeType"] for key in self.attr} != {"S"}:
        return _moto_all_items(self)
    items = [item for partition in list(self.items.values()) for item in list(partition.values())]
    return sorted(items, key=lambda item: (item.hash_key.value, item.range_key.value))


def _project(self: Any, expressions: list[list[str]]) -> Any:
    if any(len(path) != 1 for path in expressions):
        return _moto_project(self, expressions)
    attributes = {path[0]: self.attrs[path[0]].to_json() for path in expressions if path[0] in self.attrs}
    return Item(hash_key=self.hash_key, range_key=self.range_key, attrs=attributes)


def _structure(self: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
    if shape.name == "AttributeValue" and key and _is_plain(value):
        serialized[key] = value
    else:
        _moto_structure(self, serialized, value, shape, key)


def _is_plain(value: Any) -> bool:
    """Whether an attribute value is JSON as it stands: one type, no bytes."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    kind, content = next(iter(value.items()))
    if kind == "M":
        return isinstance(content, dict) and all(map(_is_plain, content.values()))
    if kind == "L":
        return isinstance(content, list) and all(map(_is_plain, content))
    return isinstance(content, str) if kind in ("S", "N") else kind in ("BOOL", "NULL") and isinstance(content, bool)


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


def _terminate_instance(self: Any, instance_id: str, should_decrement: bool) -> Any:
    members = (state for group in self.autoscaling_groups.values() for state in group.instance_states)
    if all(state.instance.id != instance_id for state in members):
        raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
    return _moto_terminate(self, instance_id, should_decrement)


def main(parent: int) -> None:
    """Serve until the parent is gone."""
    install()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    MotoRequestHandler.protocol_version = "HTTP/1.1"  # connections stay open, as with AWS
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    _wait_for_end(parent)
    # No orderly stop: nothing is worth saving, and a request that hangs must not keep the process alive.
    os._exit(0)


def _wait_for_end(parent: int) -> None:
    """Until standard input ends: the kernel closes it when the parent dies, however it dies, on any system.

    The parent's id is looked at too, because a process the parent forked may hold the other end of the pipe open.
    """
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], _PARENT_CHECK_S)
        if readable and not os.read(sys.stdin.fileno(), 1):
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
