"""The processor of a model: tokenizer, image processor and chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from transformers import AutoProcessor, PaddleOCRVLConfig

from receipt_trainer.errors import UserError
from receipt_trainer.models import hub

LOAD_ERRORS: Final = (*hub.ERRORS, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError)
"""Errors of loading from broken or missing files."""


def load_processor(name: str, adapter: Path | None = None, *, max_image_pixels: int | None = None) -> Any:
    """Tokenizer, image processor and chat template; an adapter's own where it was stored with some.

    Args:
        max_image_pixels: images with more are scaled down to it; stored with the processor. None, or more than its
            own bound: its own.

    Raises:
        UserError: there is none.
        WorldError: the hub cannot be reached.
    """
    stored = adapter is not None and (adapter / "processor_config.json").is_file()
    source = str(adapter) if stored else name
    try:
        with hub.reached(source):
            processor = AutoProcessor.from_pretrained(source)
        if processor.chat_template is None:
            raise ValueError("it has no chat template")
        _frame_image(processor, name)
    except LOAD_ERRORS as error:
        hub.raise_if_unreachable(source, error)
        raise UserError(f"{source}: no processor of PaddleOCR-VL: {one_line(error)}") from None
    if max_image_pixels is not None:
        _bound_images(processor.image_processor, max_image_pixels)
    return processor


def _bound_images(image_processor: Any, max_pixels: int) -> None:
    """Sizes are numbers of pixels here, whatever their names say."""
    size = image_processor.size
    size["longest_edge"] = min(size["longest_edge"], max_pixels)
    size["shortest_edge"] = min(size["shortest_edge"], size["longest_edge"])


def _frame_image(processor: Any, name: str) -> None:
    """Let the chat template put the image between the tokens that the model knows it by.

    The published template says so only where `image_token` is not defined, and transformers defines it.

    Raises:
        ValueError: it cannot be made to.
    """
    start, end = _frame(processor, name)
    framed = f"{start}{processor.image_token}{end}"
    if not start or not end or framed in _asked(processor):
        return
    processor.chat_template = f'{{%- set image_token = "{framed}" -%}}{processor.chat_template}'
    if _asked(processor).count(framed) != 1:
        raise ValueError(f"its chat template does not put the image between {start} and {end}")


def _frame(processor: Any, name: str) -> tuple[str, str]:
    """Both tokens; empty where the vocabulary has none."""
    try:
        with hub.reached(name):
            config = PaddleOCRVLConfig.from_pretrained(name)
    except OSError as error:
        hub.raise_if_unreachable(name, error)
        return "", ""  # a processor without a model, to count tokens
    ids = [config.vision_start_token_id, config.vision_end_token_id]
    if any(number is None or number >= len(processor.tokenizer) for number in ids):
        return "", ""
    start, end = processor.tokenizer.convert_ids_to_tokens(ids)
    return start or "", end or ""


def _asked(processor: Any) -> str:
    content = [{"type": "image"}, {"type": "text", "text": "?"}]
    text: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return text


def one_line(error: BaseException) -> str:
    """An error's message on one line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
