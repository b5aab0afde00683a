"""The tiny model in the form in which PaddlePaddle publishes it: flat config.json, code, bf16, template."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from receipt_trainer.config.paddleocr_vl import LoraSection
from receipt_trainer.data.document_set import TrainedAs
from receipt_trainer.models.paddleocr_vl.lora import attach_lora
from receipt_trainer.models.paddleocr_vl.merge import write_model
from receipt_trainer.models.paddleocr_vl.model import load
from receipt_trainer.models.paddleocr_vl.processor import load_processor
from tests.models.paddleocr_vl.tiny import (
    CONDITIONAL_TEMPLATE,
    PAD,
    SPECIAL,
    make_tiny,
    with_special_tokens,
)

TEMPLATES = {
    "1.0": CONDITIONAL_TEMPLATE,
    "1.5": CONDITIONAL_TEMPLATE.replace("'Assistant: '", "'Assistant:\\n'"),
}
"""By the model's version; both put the image between its two tokens where nobody has defined `image_token`."""

CODE = {
    "configuration_paddleocr_vl": (
        "import transformers\n\n\nclass PaddleOCRVLConfig(transformers.PaddleOCRVLConfig):\n    pass\n"
    ),
    "image_processing_paddleocr_vl": (
        "from transformers.models.paddleocr_vl.image_processing_pil_paddleocr_vl import PaddleOCRVLImageProcessorPil\n"
        "\n\nclass PaddleOCRVLImageProcessor(PaddleOCRVLImageProcessorPil):\n    pass\n"
    ),
}
UNUSED = "visual.vision_model.head.probe"
"""A weight that transformers has no use for."""


def make_published(
    folder: Path,
    version: str = "1.0",
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    pieces: Iterable[str] = (),
) -> Path:
    """Write the model.

    Args:
        version: decides the chat template.
        pieces: one token each, as in the tiny model.
    """
    make_tiny(folder, seed)
    nested = json.loads((folder / "config.json").read_bytes())
    text, vision = nested.pop("text_config"), nested.pop("vision_config")
    rope = text.pop("rope_parameters")
    flat = {name: value for name, value in text.items() if name not in ("dtype", "model_type")}
    flat |= {name: nested[name] for name in nested if name.endswith("_token_id")}
    flat |= {
        "architectures": ["PaddleOCRVLForConditionalGeneration"],
        "auto_map": {"AutoConfig": "configuration_paddleocr_vl.PaddleOCRVLConfig"},
        "model_type": "paddleocr_vl",
        "rope_scaling": {"mrope_section": rope["mrope_section"], "rope_type": "default", "type": "default"},
        "rope_theta": rope["rope_theta"],
        "tie_word_embeddings": False,
        "torch_dtype": (stored := str(dtype).removeprefix("torch.")),
        "use_cache": False,
        "vision_config": {**{k: v for k, v in vision.items() if k != "dtype"}, "torch_dtype": stored},
    }
    _write(folder / "config.json", flat)
    weights = {name: value.to(dtype) for name, value in load_file(folder / "model.safetensors").items()}
    save_file(
        weights | {UNUSED: torch.ones(1, 1, 32, dtype=dtype)},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    _write(folder / "generation_config.json", {"eos_token_id": 2, "use_cache": False})
    (folder / "processor_config.json").unlink()
    _write(
        folder / "preprocessor_config.json",
        {
            "auto_map": {"AutoImageProcessor": "image_processing_paddleocr_vl.PaddleOCRVLImageProcessor"},
            "image_processor_type": "PaddleOCRVLImageProcessor",
            "max_pixels": 112 * 112,
            "min_pixels": 56 * 56,
            "merge_size": 2,
            "patch_size": 14,
            "processor_class": "PaddleOCRVLProcessor",
        },
    )
    for name, code in CODE.items():
        (folder / f"{name}.py").write_text(code)
    _tokenizer(pieces).save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATES[version])
    return folder


def adapter_on(base: Path, folder: Path, section: LoraSection) -> Path:
    """An adapter with weights that are far from nothing, and the processor with a bound of its own."""
    loaded = load(base, device="cpu")
    adapted = attach_lora(loaded.model, section)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.3)
    processor = load_processor(str(base), max_image_pixels=100 * 100)
    write_model(adapted, processor, folder, trained=TrainedAs("Say it.", compact_items=True))
    return folder


def _tokenizer(pieces: Iterable[str]) -> PreTrainedTokenizerFast:
    """As sentencepiece's: a blank is part of a piece, and `▁{` is one."""
    letters = ["▁", *map(chr, range(33, 127)), "\n"]
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *letters, "▁{"))}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[("▁", "{")], unk_token=PAD))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    tokenizer = with_special_tokens(inner)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    return tokenizer


def _write(path: Path, values: object) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
