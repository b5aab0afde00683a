"""Answers for people and spreadsheets: a table of 80 columns, CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from typing import IO, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLUMNS: Final = (
    *("file", "id", "merchant", "date", "time", "total", "currency", "subtotal", "tax", "address", "phone"),
    *("items", "review", "reasons", "error"),
)
ITEM_COLUMNS: Final = ("file", "id", "row", "description", "quantity", "unit", "unit_price", "total", "discount")
WIDTH: Final = 80


def csv_rows(answer: Mapping[str, Any], *, items: bool) -> Iterable[list[str]]:
    """The rows of an answer: one, or one an item."""
    head = [answer.get("source", {}).get("file", ""), answer["id"]]
    if items:
        for item in answer.get("items", ()):
            count = item["quantity"] or {}
            cells = [str(item["row"]), _text(item["description"]), _text(count), str(count.get("unit", ""))]
            cells += [_text(item["unit_price"]), _text(item["total"]), "yes" if item["discount"] else ""]
            yield _safe([*head, *cells])
        return
    if "error" in answer:
        yield _safe([*head, *[""] * (len(COLUMNS) - 3), answer["error"]])
        return
    summary = {key: value or "" for key, value in answer["summary"].items()}
    summary |= {
        name: _text(next(iter(answer["fields"].get(label, ())), None))
        for name, label in (("time", "TIME"), ("address", "ADDRESS_LINE"), ("phone", "PHONE_NUMBER"))
    }
    reasons = "; ".join(reason["text"] for reason in answer["review_reasons"])
    known = [summary[name] for name in COLUMNS[2:-4]]
    yield _safe([*head, *known, str(len(answer["items"])), "yes" if answer["review"] else "", reasons, ""])


def write_csv(out: IO[str], answers: Iterable[Mapping[str, Any]], *, items: bool) -> None:
    """CSV as spreadsheets take it, with a line of names first."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(ITEM_COLUMNS if items else COLUMNS)
    for answer in answers:
        writer.writerows(csv_rows(answer, items=items))


def _safe(row: list[str]) -> list[str]:
    """No cell that a spreadsheet takes for a formula; numbers stay as they are."""
    numbers = [cell.removeprefix("-").replace(".", "", 1).isdecimal() for cell in row]
    return [
        f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t") and not is_number else cell
        for cell, is_number in zip(map(_utf8, row), numbers, strict=True)
    ]


def _utf8(text: str) -> str:
    """Bytes of file names that are no UTF-8 as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _text(find: Mapping[str, Any] | None) -> str:
    """A find's value, or its text where it has none."""
    if not find:
        return ""
    value = find["value"]
    return str(value["amount"] if isinstance(value, dict) else find["text"] if value is None else value)


def show(console: Console, answer: Mapping[str, Any]) -> None:
    """One document: its summary, its rows, what does not hold."""
    console.print(Text(_utf8(answer["id"]), style="bold"), end="")
    if "error" in answer:
        console.print(Text(f"  not read: {_utf8(answer['error'])}", style="red"))
        return
    console.print()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", width=10)
    table.add_column(overflow="fold")
    summary = answer["summary"]
    for key in ("merchant", "date", "total", "subtotal", "tax"):
        value = summary[key]
        unit = summary["currency"] if key not in ("merchant", "date") else None
        table.add_row(key, Text(f"{value} {unit or ''}".rstrip()) if value else Text("-", style="dim"))
    console.print(table)
    if answer["items"]:
        rows = Table(box=None, pad_edge=False, header_style="dim")
        rows.add_column("item", overflow="fold", max_width=44)
        for name in ("quantity", "price", "total"):
            rows.add_column(name, justify="right")
        for item in answer["items"]:
            rows.add_row(*(Text(_text(item[name])) for name in ("description", "quantity", "unit_price", "total")))
        console.print(rows)
    for reason in answer["review_reasons"]:
        console.print(Text(f"look at it: {reason['text']}", style="yellow"))
