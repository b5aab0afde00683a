"""Whether a merged model is what was trained: its files beside its base's, its answers beside others' to the same."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from receipt_trainer.data.document_set import VlExample
from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl.encode import encode_prompts
from receipt_trainer.models.paddleocr_vl.generate import answer_images
from receipt_trainer.models.paddleocr_vl.merge import folder_of, missing_code, parts
from receipt_trainer.models.paddleocr_vl.model import Device, load, locate

_WEIGHTS: Final = "*.safetensors"
_HEAD, _EMBEDDINGS = "lm_head.weight", "embed_tokens.weight"
_SEEN: Final = 24
"""Letters that are shown of a difference."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says to pages, in their order.

    Attributes:
        prompt: what it was asked.
        texts: greedy answers.
        first: (pages, vocabulary), float32 logits of each answer's first token.
    """

    prompt: str
    texts: list[str]
    first: Tensor


def answers_of(
    model: str,
    images: Sequence[Image.Image],
    *,
    adapter: Path | None = None,
    prompt: str | None = None,
    max_new_tokens: int,
    device: Device = "auto",
) -> Answers:
    """Ask a model, one page at a time, so that padding makes no difference.

    Args:
        adapter: folder of an adapter or its run, to put on `model`.
        prompt: what is asked; by default what the model was trained with.

    Raises:
        UserError: no such model or adapter, or a page of a shape that it cannot take.
        WorldError: the hub cannot be reached, or a page does not fit into the GPU's memory.
    """
    if adapter is not None:
        _, found = locate(str(adapter), None)
        if found is None:
            raise UserError(f"--adapter {adapter}: no adapter in it")
        adapter = found
    loaded = load(model, adapter=adapter, device=device)
    loaded = replace(loaded, prompt=prompt or loaded.prompt)
    texts, first = [], []
    for image in images:
        texts += answer_images(loaded, [image], max_new_tokens)
        batch: Any = encode_prompts(loaded.processor, [VlExample("page", Path(), loaded.prompt, "", "")], [image])
        with torch.inference_mode():
            first.append(loaded.model(**batch.to(loaded.device), logits_to_keep=1).logits[0, -1].float().cpu())
    return Answers(loaded.prompt, texts, torch.stack(first))


def first_difference(expected: str, found: str) -> str | None:
    """Where two answers part, white space around them aside; None where they do not."""
    expected, found = expected.strip(), found.strip()
    if expected == found:
        return None
    same = takewhile(lambda pair: pair[0] == pair[1], zip(expected, found, strict=False))
    at = sum(1 for _ in same)
    ours, theirs = (text[at : at + _SEEN] for text in (expected, found))
    return f"first difference at letter {at + 1}: {theirs!r} instead of {ours!r}"


def generated_pages(count: int) -> Iterator[tuple[str, Image.Image]]:
    """Drawn documents with their names, the same each time."""
    from receipt_trainer.data.synthetic.layout import TEMPLATES, lay_out_example
    from receipt_trainer.data.synthetic.render import encode, fonts_by_language

    fonts = fonts_by_language(("en",), ())
    for index in range(count):
        page = lay_out_example(0, index, tuple(TEMPLATES), fonts).page
        yield f"generated-{index}", Image.open(io.BytesIO(encode(page, None))).convert("RGB")


def folder_problems(base: str, merged: Path) -> list[str]:
    """What would keep other programs from loading a merged model as they load its base; empty: nothing.

    Raises:
        UserError: no model in `merged`, or files of either that are broken.
        WorldError: the base cannot be had from the hub.
    """
    try:
        values = {path.name: json.loads(path.read_bytes()) for path in sorted(merged.glob("*config.json"))}
    except (OSError, ValueError) as error:
        raise UserError(f"{merged}: a broken configuration: {error}") from None
    if "config.json" not in values:
        raise UserError(f"{merged}: no merged model in it (config.json is missing)")
    found = [
        f"{name}: auto_map asks for the code of {lacking}, which is not in the folder"
        for name, whole in values.items()
        for part in parts(whole)
        for lacking in missing_code(part, merged)
    ]
    found += [
        f"{path.name}: other users cannot read it"
        for path in (merged, *sorted(merged.iterdir()))
        if path.stat().st_mode & (0o005 if path.is_dir() else 0o004) != (0o005 if path.is_dir() else 0o004)
    ]
    own, published = (_shapes(folder) for folder in (merged, folder_of(base, [_WEIGHTS])))
    for said, names in (
        ("missing", published.keys() - own.keys()),
        ("not in the base", own.keys() - published.keys()),
        ("of another shape than the base's", {name for name in own if own[name] != published.get(name, own[name])}),
    ):
        if names:
            found.append(f"weights that are {said}: {len(names)}, such as {min(names)}")
    return found + _tie_problems(values["config.json"], _is_tied(merged, own))


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Of every weight, by its name."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob(_WEIGHTS)):
        try:
            with safe_open(path, "pt") as stored:
                found |= {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: not a file of weights: {error}") from None
    return found


def _is_tied(folder: Path, shapes: dict[str, Any]) -> bool | None:
    """Whether embeddings and head are one; None: they are two that are equal, so that both is right."""
    named = {end: name for end in (_HEAD, _EMBEDDINGS) for name in shapes if name.endswith(end)}
    if len(named) < 2:
        return True
    tensors: dict[str, Tensor] = {}
    for path in folder.glob(_WEIGHTS):
        with safe_open(path, "pt") as stored:
            tensors |= {name: stored.get_tensor(name) for name in named.values() if name in stored.keys()}  # noqa: SIM118
    return None if torch.equal(*tensors.values()) else False


def _tie_problems(config: dict[str, Any], tied: bool | None) -> list[str]:
    """Both flags count: programs differ in which one they believe. Without one at the root they take true."""
    text = config.get("text_config")
    flags = {"": config.get("tie_word_embeddings", True)}
    if isinstance(text, dict) and "tie_word_embeddings" in text:
        flags["text_config."] = text["tie_word_embeddings"]
    kind = "one tensor" if tied else "two tensors"
    return [
        f"config.json: {where}tie_word_embeddings is {str(flag).lower()}, but head and embeddings are {kind}"
        for where, flag in flags.items()
        if tied is not None and flag is not tied
    ]
