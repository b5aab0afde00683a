"""Examples as the model is given them: prompt with image, answer, and which tokens are learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor

from receipt_trainer.data.document_set import ExampleError, VlExample
from receipt_trainer.errors import UserError
from receipt_trainer.pages.images import image_size, open_image

IGNORED: Final = -100
"""Label of a token that is not learned."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as tensors.

    Attributes:
        id: of the example.
        input_ids, labels, mm_token_type_ids: (tokens,); labels are -100 but for the answer and its end token.
        pixel_values: (patches, channels, patch height, patch width); None where the image's features are known.
        image_grid_thw: (1, 3), patches by time, height and width.
    """

    id: str
    input_ids: Tensor
    labels: Tensor
    mm_token_type_ids: Tensor
    pixel_values: Tensor | None
    image_grid_thw: Tensor


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of an example: of the prompt with its image, and of the answer with its end token."""

    prompt: int
    answer: int

    @property
    def total(self) -> int:
        """Both."""
        return self.prompt + self.answer


def prompt_text(processor: Any, example: VlExample) -> str:
    """The prompt before the answer, by the model's chat template; one placeholder stands for the image.

    Raises:
        ExampleError: a token with a meaning of its own stands in the instruction or the input.
    """
    _refuse_special_tokens(processor, example, ("instruction", "input"))
    text: str = processor.apply_chat_template([_question(example)], add_generation_prompt=True, tokenize=False)
    return text


def _refuse_special_tokens(processor: Any, example: VlExample, fields: Sequence[str]) -> None:
    """Such a token would end the answer in its middle, or be taken for an image."""
    for field in fields:
        text = getattr(example, field)
        for token in processor.tokenizer.all_special_tokens:
            if token in text:
                raise ExampleError(example.id, field, f"{token} stands in it, which the model takes for a sign")


def _question(example: VlExample) -> dict[str, Any]:
    words = "\n".join(part for part in (example.instruction, example.input) if part)
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": words}]}


def answer_ids(processor: Any, example: VlExample) -> list[int]:
    """Token ids of the answer as it follows the prompt, with the end token as the last one.

    Raises:
        UserError: the chat template does not put the answer behind the prompt.
        ExampleError: a token with a meaning of its own stands in the texts.
    """
    _refuse_special_tokens(processor, example, ("output",))
    tokenizer = processor.tokenizer
    prompt = prompt_text(processor, example)
    answer = {"role": "assistant", "content": [{"type": "text", "text": example.output}]}
    whole = processor.apply_chat_template([_question(example), answer], add_generation_prompt=False, tokenize=False)
    if not whole.startswith(prompt + example.output):
        raise UserError("the model's chat template does not put the answer right behind the prompt")
    text = whole[len(prompt) :]
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    both = tokenizer(prompt + text, add_special_tokens=False)["input_ids"]
    # A token that spans the border would not be there when the model is asked: then the answer is cut on its own.
    alone = both[: len(before)] != before
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"] if alone else both[len(before) :]
    end = tokenizer.eos_token_id
    return [*(ids[: ids.index(end)] if end in ids else ids), end]


def encode_prompts(processor: Any, examples: Sequence[VlExample], images: Sequence[Image.Image] | None = None) -> Any:
    """A batch to generate answers from: prompts padded on the left, so that all answers begin at one place.

    Args:
        images: instead of the examples' own.

    Returns:
        input_ids, attention_mask, mm_token_type_ids: (examples, tokens); pixel_values: (patches, channels, height,
        width); image_grid_thw: (examples, 3).

    Raises:
        UserError: an image cannot be read.
        ExampleError: an image has a shape, or a text a token, that the model cannot take.
    """
    shown = list(images) if images is not None else [open_image(example.image) for example in examples]
    for example, image in zip(examples, shown, strict=True):
        _num_patches(processor, example, image.width, image.height)
    texts = [prompt_text(processor, example) for example in examples]
    return processor(
        images=shown, text=texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
    )


def encode_prompt(processor: Any, example: VlExample, image: Image.Image | None = None) -> Any:
    """The same of one example."""
    return encode_prompts(processor, [example], None if image is None else [image])


def count_tokens(processor: Any, example: VlExample) -> TokenCounts:
    """How long an example is, from the header of its image.

    Raises:
        UserError: the image cannot be read.
        ExampleError: the image has a shape, or a text a token, that the model cannot take.
    """
    width, height = image_size(example.image)
    patches = _num_patches(processor, example, width, height)
    text = processor.tokenizer(prompt_text(processor, example), add_special_tokens=False)["input_ids"]
    in_image = patches // processor.image_processor.merge_size**2
    return TokenCounts(len(text) - 1 + in_image, len(answer_ids(processor, example)))


def _num_patches(processor: Any, example: VlExample, width: int, height: int) -> int:
    try:
        patches: int = processor.image_processor.get_number_of_image_patches(height, width, {})
    except ValueError as error:  # one side is more than 200 times the other
        raise ExampleError(example.id, "image", f"{width} x {height} pixels: {error}") from None
    return patches


def _prompt_of_grid(processor: Any, example: VlExample, grid: Tensor) -> dict[str, Tensor]:
    """What `encode_prompt` gives for an image of (1, 3) patches, but for its pixels: the image is not opened."""
    num_tokens = int(grid.prod()) // processor.image_processor.merge_size**2
    text = prompt_text(processor, example).replace(processor.image_token, processor.image_token * num_tokens, 1)
    ids = torch.tensor([processor.tokenizer(text, add_special_tokens=False)["input_ids"]])
    return {
        "input_ids": ids,
        "mm_token_type_ids": (ids == processor.image_token_id).long(),
        "image_grid_thw": grid,
    }


def encode(
    processor: Any,
    example: VlExample,
    max_len: int | None = None,
    image: Image.Image | None = None,
    grid: Tensor | None = None,
) -> Encoded | None:
    """An example to learn from; None if it has more than `max_len` tokens: an answer is never cut.

    Args:
        image: instead of the example's own.
        grid: (1, 3), the image's patches by time, height and width where its features are known; it is not opened.

    Raises:
        UserError: the image cannot be read.
        ExampleError: the image has a shape, or a text a token, that the model cannot take.
    """
    prompt = encode_prompt(processor, example, image) if grid is None else _prompt_of_grid(processor, example, grid)
    answer = torch.tensor(answer_ids(processor, example))
    asked: Tensor = prompt["input_ids"][0]
    if max_len is not None and len(asked) + len(answer) > max_len:
        return None
    return Encoded(
        id=example.id,
        input_ids=torch.cat([asked, answer]),
        labels=torch.cat([torch.full_like(asked, IGNORED), answer]),
        mm_token_type_ids=torch.cat([prompt["mm_token_type_ids"][0], torch.zeros_like(answer)]),
        pixel_values=prompt.get("pixel_values"),
        image_grid_thw=prompt["image_grid_thw"],
    )


def collate(rows: Sequence[Encoded], pad_id: int) -> dict[str, Any]:
    """One batch, padded on the right.

    Returns:
        ids: of the examples.
        input_ids, attention_mask, labels, mm_token_type_ids: (examples, tokens).
        pixel_values: (patches of all images, channels, height, width), but of those whose features are known; not
            there where they are known of all.
        image_grid_thw: (examples, 3).
    """
    pixels = [row.pixel_values for row in rows if row.pixel_values is not None]

    def padded(tensors: Sequence[Tensor], value: int) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(list(tensors), batch_first=True, padding_value=value)

    return {
        "ids": [row.id for row in rows],
        "input_ids": padded([row.input_ids for row in rows], pad_id),
        "attention_mask": padded([torch.ones_like(row.input_ids) for row in rows], 0),
        "labels": padded([row.labels for row in rows], IGNORED),
        "mm_token_type_ids": padded([row.mm_token_type_ids for row in rows], 0),
        "image_grid_thw": torch.cat([row.image_grid_thw for row in rows]),
        **({"pixel_values": torch.cat(pixels)} if pixels else {}),
    }
