"""Training images changed a little, anew each epoch, without losing anything of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from receipt_trainer.pages.images import as_rgb

if TYPE_CHECKING:
    from receipt_trainer.config.paddleocr_vl import AugmentationSection


class Augmenter:
    """Rotation, brightness, contrast, blur and noise, each within the bounds of the configuration."""

    def __init__(self, config: AugmentationSection) -> None:
        self.config = config

    def augment(self, image: Image.Image, rng: np.random.Generator, *, turn: bool = True) -> Image.Image:
        """A changed copy in RGB; the same image and generator state give the same pixels.

        Always the same number of values is drawn before the noise, so that turning one change off leaves the others as
        they were.

        Args:
            image: any mode; transparent parts count as white paper.
            rng: the caller derives it from seed, epoch and example.
            turn: False leaves rotation out, so that the size stays as it is.
        """
        config = self.config
        page = as_rgb(image)
        if not config.enabled:
            return page.copy()
        angle, brightness, contrast, blurred, radius = rng.uniform(-1, 1, 5).tolist()
        if config.rotation_range and turn:
            page = rotate(page, angle * config.rotation_range)
        page = ImageEnhance.Brightness(page).enhance(1 + brightness * config.brightness_range)
        page = ImageEnhance.Contrast(page).enhance(1 + contrast * config.contrast_range)
        if (blurred + 1) / 2 < config.blur_probability:
            # 0.5 to 1 pixel: text stays legible.
            page = page.filter(ImageFilter.GaussianBlur(0.5 + (radius + 1) / 4))
        return add_noise(page, config.noise_std, rng) if config.noise_std else page


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Turned counterclockwise on a canvas that is large enough for all of it, filled with the paper's colour."""
    return image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=paper_colour(image))


def paper_colour(image: Image.Image) -> tuple[int, int, int]:
    """The median colour along the edges of an RGB image."""
    pixels = np.asarray(image)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(edges, axis=0)
    return int(red), int(green), int(blue)


def add_noise(image: Image.Image, std: float, rng: np.random.Generator, *, grey: bool = False) -> Image.Image:
    """Gaussian noise on every pixel, the same on all channels if `grey`; `std` is a share of white."""
    pixels = np.asarray(image, dtype=np.float32)
    shape = (*pixels.shape[:2], 1) if grey else pixels.shape
    noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(255 * std)
    return Image.fromarray(np.clip(pixels + noise + 0.5, 0, 255).astype(np.uint8))
