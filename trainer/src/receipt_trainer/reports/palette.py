"""Colours of the labels: one a label, the same in every picture. Red is kept for errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from receipt_trainer.contract.names import AMOUNT

ERROR: Final = "#b42318"
BACKGROUND_TEXT: Final = "#98a2ae"

_KNOWN: Final = {
    "MERCHANT_NAME": "#332288",
    "PHONE_NUMBER": "#3d9bd1",
    "ADDRESS_LINE": "#1f9484",
    "DATE": "#14682f",
    "TIME": "#6fa02c",
    "PRODUCT_NAME": "#1f5fbf",
    "QUANTITY": "#8a8a1f",
    "UNIT_PRICE": "#7a5a1e",
    "LINE_TOTAL": "#c48200",
    "SUBTOTAL": "#a9449b",
    "TAX": "#6d2a78",
    "GRAND_TOTAL": "#222b36",
    AMOUNT: "#c48200",
}
_OTHERS: Final = ("#4c6b8a", "#5e7d4f", "#8b6b94", "#6e6259", "#2f7f86", "#9a7434")


def label_colors(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label; labels beyond the core ones share six more in turn."""
    others = [label for label in labels if label not in _KNOWN]
    return {label: _KNOWN.get(label) or _OTHERS[others.index(label) % len(_OTHERS)] for label in labels}
