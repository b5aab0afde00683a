"""A PaddleOCR-VL of the real classes with random weights, small enough to train on one CPU core."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PaddleOCRVLConfig,
    PaddleOCRVLForConditionalGeneration,
    PaddleOCRVLProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import PaddleOCRVLImageProcessorPil

PAD, BOS, EOS = "<unk>", "<|begin_of_sentence|>", "</s>"
IMAGE, IMAGE_START, IMAGE_END = "<|IMAGE_PLACEHOLDER|>", "<|IMAGE_START|>", "<|IMAGE_END|>"
SPECIAL = (PAD, BOS, EOS, IMAGE_START, IMAGE, IMAGE_END)

PIECES = (
    *('{"document_type":"receipt","vendor":{"name":', '{"document_type":"invoice","vendor":{"name":'),
    *(',"address":', ',"tax_id":', ',"phone":', '},"client":', '{"name":', ',"invoice_number":', ',"date":"2025-'),
    *(',"due_date":', ',"currency":"EUR"', ',"currency":"USD"', ',"line_items":[{"description":', ',{"description":'),
    *(',"quantity":', ',"unit_price":', ',"total":', '}],"subtotal":', ',"tax":', ',"tax_rate":', ',"discount":'),
    *(',"grand_total":', "null"),
)
"""What all answers share is one token each: an answer in bytes alone would take minutes to learn."""

CHAT_TEMPLATE = (
    "{{- '" + BOS + "' -}}{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}{{- 'User: ' -}}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}"
    "{{- '" + IMAGE_START + IMAGE + IMAGE_END + "' -}}{%- endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    "{{- '\\n' -}}"
    "{%- else -%}{{- 'Assistant: ' -}}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    "{{- '" + EOS + "' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'Assistant: ' -}}{%- endif -%}"
)
"""Of the form of the published model's."""

CONDITIONAL_TEMPLATE = (
    "{%- if not image_token is defined -%}{%- set image_token = '" + IMAGE_START + IMAGE + IMAGE_END + "' -%}"
    "{%- endif -%}" + CHAT_TEMPLATE.replace("'" + IMAGE_START + IMAGE + IMAGE_END + "'", "image_token")
)
"""As the published one has the image: transformers defines `image_token`, as the placeholder alone."""


def make_tiny(folder: Path, seed: int = 0, *, hidden: int = 64, layers: int = 2, image_side: int = 112) -> Path:
    """Write a model and its processor, as `from_pretrained` reads them.

    Args:
        folder: created.
        seed: of the weights.
        hidden: width of the language model, a multiple of 32.
        layers: of the language model.
        image_side: an image is scaled to about this side squared, in pixels; 28 x 28 of them are one token.

    Returns:
        `folder`.
    """
    tokenizer = make_tokenizer()
    image_processor = PaddleOCRVLImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": image_side**2})
    processor = PaddleOCRVLProcessor(image_processor, tokenizer, chat_template=CHAT_TEMPLATE)
    random = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        model = PaddleOCRVLForConditionalGeneration(_config(tokenizer, hidden, layers))
    finally:
        torch.random.set_rng_state(random)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, the special tokens of the published model, and the pieces that all answers share."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *letters))}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=PAD))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = with_special_tokens(inner)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in PIECES])
    return tokenizer


def with_special_tokens(inner: Tokenizer) -> PreTrainedTokenizerFast:
    """The special tokens of the published model around a tokenizer."""
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=PAD,
        extra_special_tokens={"image_token": IMAGE},
        clean_up_tokenization_spaces=False,
    )


def _config(tokenizer: PreTrainedTokenizerFast, hidden: int, layers: int) -> PaddleOCRVLConfig:
    head = hidden // 4
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": head,
        "max_position_embeddings": 4096,
        "initializer_range": 0.1,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [head // 2 - 2 * (3 * head // 16), 3 * head // 16, 3 * head // 16],
        },
        "tie_word_embeddings": False,
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 112,
        "patch_size": 14,
    }
    return PaddleOCRVLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_start_token_id=tokenizer.convert_tokens_to_ids(IMAGE_START),
        vision_end_token_id=tokenizer.convert_tokens_to_ids(IMAGE_END),
        tie_word_embeddings=False,
    )
