"""PP-OCRv6's small models by onnxruntime: where text stands in an image, and what a line of it says.

Models, detection's post-processing and the character set are rapidocr's; they lie in its wheel, nothing is downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import rapidocr
from numpy.typing import NDArray
from rapidocr.ch_ppocr_det.utils import DBPostProcess

from receipt_trainer.inference.session import open_session

Pixels = NDArray[np.uint8]
"""(height, width, 3), RGB."""
Quad = NDArray[np.float32]
"""(4, 2): corners (x, y) of a line of text from its top left, clockwise as one reads it."""

_MODELS: Final = Path(rapidocr.__file__).parent / "models"
_DETECTOR: Final = "PP-OCRv6_det_small.onnx"
_RECOGNISER: Final = "PP-OCRv6_rec_small.onnx"

_SIDE: Final = 960
_AREA: Final = 480 * 960
"""Pixels the detector sees of a page: its longer side is `_SIDE`, or more where the page is so narrow that it has less
than this area, as long receipts are."""
_MAX_ENLARGED: Final = 2.0
_STEP: Final = 32
"""The network halves its input five times."""
_LINE_HEIGHT: Final = 48
_MAX_LINE_WIDTH: Final = 3200
_GROUP_WIDTHS: Final = 1.12
"""Lines within this ratio of widths are recognised together; padding costs less than calls."""
_GROUP_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class LineText:
    """What a line says; `confidences` and `places` are of its characters, places 0..1 along the line."""

    text: str
    confidences: tuple[float, ...]
    places: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """The mean of the characters', 0 without any."""
        return sum(self.confidences) / len(self.confidences) if self.confidences else 0.0


class TextDetector:
    """Finds lines of text."""

    def __init__(self) -> None:
        self._session = open_session(_MODELS / _DETECTOR)
        self._boxes = DBPostProcess(
            thresh=0.3, box_thresh=0.5, max_candidates=1000, unclip_ratio=1.6, use_dilation=True, score_mode="fast"
        )

    def find(self, image: Pixels) -> list[Quad]:
        """Corners of the lines in pixels of the image, in no order."""
        height, width = image.shape[:2]
        scale = max(_SIDE / max(width, height), math.sqrt(_AREA / (width * height)))
        scale = min(scale, _MAX_ENLARGED) if max(width, height) < _SIDE / _MAX_ENLARGED else min(scale, 1.0)
        size = [max(_STEP, round(side * scale / _STEP) * _STEP) for side in (width, height)]
        shrinks = size[0] * size[1] < width * height / 4
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(image, size, interpolation=how), dtype=np.uint8)
        (found,) = self._session.run(None, {self._session.get_inputs()[0].name: _normalised(small)[None]})
        boxes, _ = self._boxes(found, (height, width))
        return [np.asarray(box, dtype=np.float32) for box in boxes]


class TextRecogniser:
    """Reads lines of text."""

    def __init__(self) -> None:
        self._session = open_session(_MODELS / _RECOGNISER)

    @cached_property
    def _characters(self) -> list[str]:
        """By the model's ids: first CTC's blank, last the space."""
        characters: list[str] = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        return ["", *characters, " "]

    def read(self, lines: Sequence[Pixels]) -> list[LineText]:
        """The texts of lines as `cut` makes them, in order."""
        texts: list[LineText] = [LineText("", (), ())] * len(lines)
        for group in _groups([line.shape[1] for line in lines]):
            width = max(lines[index].shape[1] for index in group)
            batch = np.zeros((len(group), 3, _LINE_HEIGHT, width), dtype=np.float32)
            for row, index in enumerate(group):
                batch[row, :, :, : lines[index].shape[1]] = _normalised(lines[index])
            (scores,) = self._session.run(None, {self._session.get_inputs()[0].name: batch})
            best, certain = scores.argmax(axis=2), scores.max(axis=2)
            for row, index in enumerate(group):
                texts[index] = self._decoded(best[row], certain[row], width / lines[index].shape[1])
        return texts

    def _decoded(self, ids: NDArray[Any], certain: NDArray[Any], padded: float) -> LineText:
        """CTC: what is repeated counts once, blanks not at all. `padded` is the batch's width over the line's."""
        starts = np.flatnonzero((ids != 0) & (np.diff(ids, prepend=0) != 0))
        return LineText(
            "".join(self._characters[ids[start]] for start in starts),
            tuple(float(certain[start]) for start in starts),
            tuple(min(1.0, (float(start) + 0.5) / len(ids) * padded) for start in starts),
        )


def cut(image: Pixels, quad: Quad) -> Pixels:
    """The part of an image within four corners, straight and as high as the recogniser takes it."""
    top, bottom = np.linalg.norm(quad[1] - quad[0]), np.linalg.norm(quad[2] - quad[3])
    left, right = np.linalg.norm(quad[3] - quad[0]), np.linalg.norm(quad[2] - quad[1])
    wide, high = max(float(top), float(bottom)), max(float(left), float(right), 1.0)
    width = min(_MAX_LINE_WIDTH, max(8, math.ceil(_LINE_HEIGHT * wide / high)))
    target = np.array([[0, 0], [width, 0], [width, _LINE_HEIGHT], [0, _LINE_HEIGHT]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(quad, target)
    return np.asarray(
        cv2.warpPerspective(
            image, matrix, (width, _LINE_HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    )


def _groups(widths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of lines that are recognised together, from the narrowest on."""
    group: list[int] = []
    for index in sorted(range(len(widths)), key=widths.__getitem__):
        if group and (len(group) == _GROUP_SIZE or widths[index] > _GROUP_WIDTHS * widths[group[0]]):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _normalised(image: Pixels) -> NDArray[np.float32]:
    """(3, height, width) in -1..1, BGR as the models were trained."""
    scaled = image[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    scaled *= 1 / 127.5
    scaled -= 1
    return scaled
