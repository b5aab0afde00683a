"""A tiny model whose processor counts tokens."""

from tests.models.paddleocr_vl.conftest import tiny_model

__all__ = ["tiny_model"]
