"""moto's DynamoDB, fast enough for tens of thousands of items; its answers stay the same.

moto 5.2 looks at every item of a table for every query, copies an item once for every attribute that is projected, and
tries ten spellings of ten members for every value it sends. Here a query is handed its own partition, a projection
takes the attributes, and a plain value is sent as it is. Whatever is not plain is left to moto.
"""

from __future__ import annotations

import threading
from typing import Any

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table

_thread = threading.local()
_moto_query: Any = Table.query
_moto_all_items: Any = Table.all_items
_moto_project: Any = Item.project
_moto_structure: Any = BaseJSONSerializer._serialize_type_structure


def install() -> None:
    """Put the four methods in the place of moto's, in this process."""
    for owner, name, method in (
        (Table, "query", _query),
        (Table, "all_items", _all_items),
        (Item, "project", _project),
        (BaseJSONSerializer, "_serialize_type_structure", _structure),
    ):
        setattr(owner, name, method)


def _query(self: Any, hash_key: Any, comparison: Any, values: Any, *rest: Any, **options: Any) -> Any:
    # rest: limit, exclusive_start_key, scan_index_forward, projection_expressions, index_name, ...
    index_name = rest[4] if len(rest) > 4 else options.get("index_name")
    _thread.items = _candidates(self, hash_key, comparison, values, index_name, options)
    try:
        return _moto_query(self, hash_key, comparison, values, *rest, **options)
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
