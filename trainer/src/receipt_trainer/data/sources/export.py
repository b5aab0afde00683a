"""Receipts as files for other programs: JSON lines of ours, tasks of Label Studio, columns as on Hugging Face."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

from receipt_trainer.contract.names import CORE_LABELS
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.data.sources.formats.hugging_face import to_row
from receipt_trainer.data.sources.formats.label_studio import LABELING_CONFIG, to_task
from receipt_trainer.data.sources.record import to_line

SUFFIXES: Final = {
    "jsonl": (".jsonl", ".jsonl.gz"),
    "hf": (".jsonl", ".jsonl.gz"),
    "label-studio": (".json", ".json.gz"),
}
"""What a file of each format must end in."""


def lines(receipts: Iterable[Receipt], format: str, image_url: str = "{id}") -> Iterator[str]:
    """The lines of a file that, imported, gives the same receipts.

    Args:
        format: one of `SUFFIXES`.
        image_url: where Label Studio finds the image of a receipt, with {id} in place of the receipt's name.
    """
    if format == "jsonl":
        yield from map(to_line, receipts)
    elif format == "hf":
        yield from (_json(to_row(receipt)) + "\n" for receipt in receipts)
    else:
        before = "[\n"
        for receipt in receipts:
            image = image_url.replace("{id}", quote(receipt.name or receipt.key, safe=""))
            yield before + _json(to_task(receipt, image))
            before = ",\n"
        yield "\n]\n" if before == ",\n" else "[]\n"


def labeling_config(labels: Iterable[str]) -> str:
    """The configuration of a Label Studio project that the export fits: the core labels and those that occur."""
    names = dict.fromkeys((*CORE_LABELS, *sorted(labels)))
    escaped = (name.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;") for name in names)
    return LABELING_CONFIG.format(labels="\n".join(f'    <Label value="{name}"/>' for name in escaped))


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair in a field that we only carry along
        return json.dumps(value)
    return text
