"""Changed images keep all of the page, and the same draw gives the same pixels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from receipt_trainer.config.paddleocr_vl import AugmentationSection
from receipt_trainer.data.augment import Augmenter, paper_colour, rotate


def page(width: int, height: int) -> Image.Image:
    """Light paper with a dark mark in each corner."""
    image = Image.new("RGB", (width, height), (240, 235, 220))
    pen = ImageDraw.Draw(image)
    for x in (0, width - 4):
        for y in (0, height - 4):
            pen.rectangle((x, y, x + 3, y + 3), fill=(10, 10, 10))
    return image


def change(image: Image.Image, seed: int = 0, **given: Any) -> Image.Image:
    augmenter = Augmenter(AugmentationSection(enabled=True, **given))
    return augmenter.augment(image, np.random.default_rng(seed))


NOTHING = {"rotation_range": 0, "brightness_range": 0, "contrast_range": 0, "noise_std": 0, "blur_probability": 0}


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(16, 90), st.integers(16, 90)),
    st.integers(0, 2**32),
    st.floats(0, 45),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
    st.floats(0, 0.3),
    st.floats(0, 1),
)
def test_deterministic_and_never_smaller(
    size: tuple[int, int], seed: int, rotation: float, brightness: float, contrast: float, noise: float, blur: float
) -> None:
    """Any bounds: equal draws give equal pixels in RGB, the image given is left alone, and none of it is cut off."""
    bounds = {"rotation_range": rotation, "brightness_range": brightness, "contrast_range": contrast}
    bounds |= {"noise_std": noise, "blur_probability": blur}
    image = page(*size)
    before = image.tobytes()
    first, second = (change(image, seed, **bounds) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert (first.mode, first.size) == ("RGB", second.size)
    assert image.tobytes() == before
    turned = size if rotation == 0 else min(size)
    assert first.size == turned if rotation == 0 else min(first.size) >= turned


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 80), st.integers(20, 80), st.floats(-45, 45))
def test_a_turned_page_is_all_there(width: int, height: int, degrees: float) -> None:
    """All four corner marks are still on it, and the new ground has the colour of the paper."""
    turned = np.asarray(rotate(page(width, height), degrees).convert("L"), dtype=float)
    marks = page(width, height).convert("L")
    ink = (231 - np.asarray(marks, dtype=float)).clip(0).sum()
    assert (231 - turned).clip(0).sum() == pytest.approx(ink, rel=0.25)
    assert np.median(turned) > 200


def test_nothing_asked_for_is_nothing_done() -> None:
    """Bounds of zero, and an augmentation that is off, leave the pixels alone."""
    image = page(40, 50)
    assert change(image, **NOTHING).tobytes() == image.tobytes()
    off = Augmenter(AugmentationSection(enabled=False)).augment(image, np.random.default_rng(0))
    assert off.tobytes() == image.tobytes()


@pytest.mark.parametrize("key", list(NOTHING))
def test_each_bound_does_something(key: str) -> None:
    """Every key of the configuration changes the pixels."""
    value = {"rotation_range": 20, "blur_probability": 1}.get(key, 0.3)
    assert change(page(40, 50), **NOTHING | {key: value}).tobytes() != page(40, 50).tobytes()


def test_one_bound_leaves_the_other_draws_alone() -> None:
    """Without rotation the brightness that is drawn is the same as with it."""
    image = Image.new("RGB", (30, 30), (100, 100, 100))
    bright = NOTHING | {"brightness_range": 0.5}
    plain, turned = change(image, 3, **bright), change(image, 3, **bright | {"rotation_range": 5})
    assert plain.getpixel((15, 15)) == turned.getpixel((turned.width // 2, turned.height // 2)) != (100, 100, 100)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA", "CMYK", "I;16"])
def test_any_mode(mode: str) -> None:
    """Whatever Pillow opens becomes RGB; what is transparent becomes white."""
    changed = change(Image.new(mode, (20, 20)), **NOTHING)
    assert (changed.mode, changed.size) == ("RGB", (20, 20))
    if mode in ("RGBA", "LA"):
        assert paper_colour(changed) == (255, 255, 255)
