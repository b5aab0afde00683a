"""What a phone or a scanner does to a page: tint, folds, uneven light, tilt, blur and noise."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from receipt_trainer.data.augment import add_noise


def photograph(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The page as it may look in a photo; nothing of it is cut off and all of it stays legible.

    Args:
        image: RGB.
        rng: the only source of chance.
    """
    pixels = np.asarray(image, dtype=np.float32)
    height, width, _ = pixels.shape
    tint = np.array([1.0, rng.uniform(0.955, 1.0), rng.uniform(0.87, 0.99)], dtype=np.float32)
    ink = rng.uniform(0.0, 60.0)  # faded print: black becomes grey
    pixels = (pixels * (1 - ink / 255) + ink) * tint
    pixels *= _light(rng, height, width)[:, :, None]
    for _ in range(int(rng.integers(0, 3))):
        pixels *= _fold(rng, height, width)
    page = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    page = _on_table(page, rng)
    if rng.random() < 0.6:
        page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    return add_noise(page, rng.uniform(0.004, 0.025), rng, grey=True)


def _light(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, width): brighter towards one side."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.22)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(np.cos(angle))
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    light: np.ndarray = 1 - np.float32(strength) * (1 + across + down) / 2
    return light


def _fold(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(height, 1, 1) or (1, width, 1): a soft shadow along a fold, darker on one side of it."""
    across = rng.random() < 0.6
    size = height if across else width
    distance = np.arange(size, dtype=np.float32) - np.float32(size * rng.uniform(0.2, 0.8))
    spread = np.where(distance < 0, rng.uniform(4, 10), rng.uniform(20, 60)).astype(np.float32)
    shade = 1 - np.float32(rng.uniform(0.05, 0.16)) * np.exp(-np.abs(distance) / spread)
    return shade[:, None, None] if across else shade[None, :, None]


def _on_table(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Tilted a little, on a ground of another colour that shows around it."""
    grey = rng.integers(60, 200)
    red, green, blue = (int(np.clip(grey + shift, 0, 255)) for shift in rng.integers(-18, 19, 3))
    edge = int(rng.integers(4, 32))
    canvas = Image.new("RGB", (page.width + 2 * edge, page.height + 2 * edge), (red, green, blue))
    canvas.paste(page, (edge, edge))
    angle = rng.uniform(-2.5, 2.5)
    return canvas.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(red, green, blue))
