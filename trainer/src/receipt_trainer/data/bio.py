"""BIO tags a line: an entity is a run of one label inside a line, so tags and labels determine each other."""

from __future__ import annotations

from collections.abc import Sequence

from receipt_trainer.contract.names import OUTSIDE


def encode(labels: Sequence[str]) -> list[str]:
    """Tags of one line's word labels: `B-` where a run of a label begins, `I-` where it goes on."""
    tags = []
    previous = OUTSIDE
    for label in labels:
        tags.append(label if label == OUTSIDE else f"{'I' if label == previous else 'B'}-{label}")
        previous = label
    return tags


def label_of(tag: str) -> str:
    """The label of a tag, without its prefix."""
    return tag if tag == OUTSIDE else tag[2:]
