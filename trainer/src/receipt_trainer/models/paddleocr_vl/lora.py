"""Which weights are trained: adapters on the language model, and what is asked for beside them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from receipt_trainer.config.paddleocr_vl import LoraSection
from receipt_trainer.errors import UserError

_LANGUAGE: Final = "model.language_model.layers."
_VISION: Final = "model.visual."
_PROJECTOR: Final = "model.projector."
_VISION_NAMES: Final = {"o_proj": "out_proj", "gate_proj": "fc1", "up_proj": "fc1", "down_proj": "fc2"}
"""Layers that have another name in the vision tower."""


def attach_lora(model: Any, section: LoraSection) -> Any:
    """Put adapters on the model's linear layers; all other weights stand still.

    What is trained is kept in float32, modules_to_save among it: in bfloat16 a small step would be rounded away.

    Returns:
        A peft model around `model`.

    Raises:
        UserError: a module to adapt or to save is not there.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=section.r,
        lora_alpha=section.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=section.dropout,
        target_modules=target_pattern(model, section),
        modules_to_save=_whole_modules(model, section) or None,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    for weight in adapted.parameters():
        if weight.requires_grad:
            weight.data = weight.data.to(torch.float32)
    base = config.base_model_name_or_path
    if base is not None and Path(base).is_dir():  # else the adapter finds its base from one folder only
        config.base_model_name_or_path = str(Path(base).absolute())
    return adapted


def freeze_vision(model: Any, section: LoraSection) -> None:
    """Without adapters, language model and projector are trained; the vision tower only if it is asked for."""
    for name, weight in model.named_parameters():
        weight.requires_grad_(section.include_vision or not name.startswith(_VISION))


def trains_vision(model: nn.Module) -> bool:
    """Whether what the model makes of an image changes in training: its vision tower, or what projects it."""
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return any(part in name for name in trained for part in (_VISION, _PROJECTOR))


def target_pattern(model: nn.Module, section: LoraSection) -> str:
    """The full names of the layers to adapt. Plain names would hit layers of the vision tower as well.

    Raises:
        UserError: the language model has no such layer; names those that it has.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    known = sorted({name.rpartition(".")[2] for name in linear if name.startswith(_LANGUAGE)})
    unknown = [name for name in section.target_modules if name not in known]
    if unknown:
        raise UserError(f"lora.target_modules: the language model has no '{unknown[0]}' (it has: {', '.join(known)})")
    parts = [rf"{re.escape(_LANGUAGE)}\d+\..*\.({_any_of(section.target_modules)})"]
    if section.include_vision:
        there = {name.rpartition(".")[2] for name in linear if name.startswith(_VISION)}
        names = {name if name in there else _VISION_NAMES.get(name, name) for name in section.target_modules}
        parts.append(rf"{re.escape(_VISION)}.*\.({_any_of(sorted(names & there))})")
    return "|".join(f"(?:{part})" for part in parts)


def _any_of(names: Any) -> str:
    return "|".join(re.escape(name) for name in names)


def _whole_modules(model: Any, section: LoraSection) -> list[str]:
    """Full names of the modules to train in full: peft itself would take every name that ends alike.

    Raises:
        UserError: there is no such module, or its weights are tied to another's.
    """
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    found: list[str] = []
    for wanted in section.modules_to_save:
        if tied and wanted in ("embed_tokens", "lm_head"):
            raise UserError(
                f"lora.modules_to_save: {wanted} is tied in this model (embed_tokens is lm_head); leave it out"
            )
        names = [
            name
            for name, _ in model.named_modules()
            if name.rpartition(".")[2] == wanted and (section.include_vision or not name.startswith(_VISION))
        ]
        if not names:
            raise UserError(f"lora.modules_to_save: the model has no module '{wanted}' outside the vision tower")
        found += names
    return found
