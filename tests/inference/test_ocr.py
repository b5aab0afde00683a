"""OCR of drawn pages, by the models that serve."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from receipt_trainer.inference.ocr import Ocr
from tests.inference.drawn import drawn_receipt, photo, recall


@pytest.fixture(scope="module")
def ocr() -> Iterator[Ocr]:
    """Its models are at hand: all of this module runs where nothing can connect to anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _refuse)
        yield Ocr()


def _refuse(*_: object) -> NoReturn:
    raise AssertionError("OCR tried to connect")


def texts(image: Image.Image, ocr: Ocr) -> list[str]:
    return [word.text for word in ocr.read(image).words]


@pytest.mark.parametrize(("turn", "turned"), [(0, 0), (90, 90), (180, 180), (270, 270), (4, 0)])
def test_a_page_is_read_however_it_lies(ocr: Ocr, turn: int, turned: int) -> None:
    """Nine of ten words are read, and the way that the page lies is told."""
    image, receipt = photo(1, 0, turn)
    page = ocr.read(image)
    assert recall([word.text for word in receipt.words], [word.text for word in page.words]) > 0.9
    assert page.turned == turned
    assert (page.width, page.height) == (image.size if turned % 180 == 0 else image.size[::-1])
    assert abs(page.skew - (turn if turned == 0 else 0)) < 3


def test_words_stand_where_they_are_printed(ocr: Ocr) -> None:
    """Boxes of words that occur once lie on the printed ones, and words come in reading order."""
    image, receipt = drawn_receipt(1, 1)
    page = ocr.read(image)
    printed = {word.text: word.box for word in receipt.words}
    unique = [
        word
        for word in page.words
        if word.text in printed
        and [w.text for w in page.words].count(word.text) == [w.text for w in receipt.words].count(word.text) == 1
    ]
    assert len(unique) > 20
    for word in unique:
        x0, y0, x1, y1 = (edge * size for edge, size in zip(printed[word.text], image.size * 2, strict=True))
        middle = (word.box[0] + word.box[2]) / 2, (word.box[1] + word.box[3]) / 2
        assert x0 <= middle[0] <= x1
        assert y0 <= middle[1] <= y1
    keys = [(word.line, word.box[0]) for word in page.words]
    assert keys == sorted(keys)


def test_a_blank_page_has_no_words(ocr: Ocr) -> None:
    """Neither paper nor noise is text."""
    noise = np.random.default_rng(0).integers(0, 255, (400, 300, 3), dtype=np.uint8)
    assert texts(Image.new("RGB", (300, 400), "white"), ocr) == []
    assert len(texts(Image.fromarray(noise), ocr)) < 3
    assert texts(Image.new("RGB", (1, 1)), ocr) == []
