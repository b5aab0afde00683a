"""How sure a field's value is, from how sure its words are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from receipt_trainer.contract.package import Calibration

_EDGE: Final = 1e-6


def field_confidence(
    word_probabilities: Sequence[float], ocr_confidences: Sequence[float | None], calibration: Calibration
) -> float:
    """Probability that a field's value is right, 0..1.

    The labels' part is the calibrated product of the words' probabilities. Where words were read by OCR, it is
    multiplied by their reading confidences: all of them must be read right for the value to be.

    Args:
        word_probabilities: of the field's label, for each of its words, with the temperature.
        ocr_confidences: of each word; None where nobody read it.
    """
    labels = calibrated(product(word_probabilities), calibration.field_slope, calibration.field_offset)
    return labels * math.prod(each for each in ocr_confidences if each is not None)


def product(word_probabilities: Sequence[float]) -> float:
    """The probability that all words bear the label, were they independent."""
    return math.prod(word_probabilities)


def calibrated(probability: float, slope: float, offset: float) -> float:
    """The logistic curve at a probability: a line over its log odds."""
    return 1 / (1 + math.exp(-(slope * logit(probability) + offset)))


def logit(probability: float) -> float:
    """Log odds, finite at 0 and 1."""
    inside = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(inside / (1 - inside))
