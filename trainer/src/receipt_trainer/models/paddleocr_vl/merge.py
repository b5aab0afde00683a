"""Folders of models: an adapter with its processor, and a whole model in the form of the one that it began as."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub import snapshot_download
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers.utils import SAFE_WEIGHTS_NAME

from receipt_trainer.data.document_set import PROMPT_FILE, TrainedAs, trained_as
from receipt_trainer.errors import UserError
from receipt_trainer.files import replacing_folder, sha256_of
from receipt_trainer.models import hub
from receipt_trainer.models.paddleocr_vl.model import (
    ADAPTER_CONFIG,
    load_base,
    locate,
    require_family,
    stored_config,
    with_adapter,
)
from receipt_trainer.models.paddleocr_vl.processor import load_processor

_BOOKKEEPING: Final = frozenset({"_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype"})
"""Keys of a model's config.json that decide nothing of its shapes."""
_KEPT: Final = ("*.json", "*.jinja", "*.txt", "*.model", "*.py", "LICENSE*", "NOTICE*")
"""Files of a model that are not its weights: configuration, tokenizer, processor, code, licence."""
_NOT_KEPT: Final = ("*.safetensors.index.json", "*.bin.index.json", "adapter_*")
_WRITTEN: Final = ("*.safetensors", "*.safetensors.index.json")
"""What of a saved model is its weights."""


def write_model(
    model: Any,
    processor: Any,
    folder: Path,
    *,
    base: str | None = None,
    trained: TrainedAs | None = None,
    replace: bool = True,
) -> None:
    """Put model (or adapter) and processor into `folder`; see `replacing_folder`.

    Args:
        base: name or folder of the model that a whole `model` began as. Then the weights alone are new: configuration,
            tokenizer, processor, generation and code files are the base's own, so that the folder loads wherever the
            base does, with the processor's bound of pixels and chat template.
        trained: how it is asked and answers; stored beside it. None: as the published model.

    Raises:
        UserError: as `replacing_folder`.
        WorldError: the base's files cannot be had.
    """
    with replacing_folder(folder, replace=replace) as beside:
        model.save_pretrained(beside)
        if base is None:
            processor.save_pretrained(beside)
        else:
            _take_form(beside, folder_of(base, _KEPT), model, processor)
        (beside / PROMPT_FILE).write_text((trained or TrainedAs()).to_json(), encoding="utf-8")
        for path in beside.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)  # safetensors makes its files private


def folder_of(base: str, patterns: Sequence[str]) -> Path:
    """The folder of a model's files; of one on the hub those of `patterns`, or what the cache has if that is away."""
    name, _ = locate(base, None)  # a run has its model in a folder of its own
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(snapshot_download(base, allow_patterns=list(patterns)))
    except (*hub.ERRORS, ValueError) as error:
        try:
            return Path(snapshot_download(base, local_files_only=True))
        except (*hub.ERRORS, ValueError):
            hub.raise_if_unreachable(base, error)
            raise


def _take_form(folder: Path, source: Path, model: Any, processor: Any) -> None:
    """Beside the weights in `folder`, put the files of the base in the place of those that transformers wrote."""
    for path in folder.iterdir():
        if not any(fnmatch(path.name, pattern) for pattern in _WRITTEN):
            path.unlink()
    for path in source.iterdir():
        is_kept = any(fnmatch(path.name, pattern) for pattern in _KEPT)
        if path.is_file() and is_kept and not any(fnmatch(path.name, pattern) for pattern in _NOT_KEPT):
            shutil.copyfile(path, folder / path.name)
    # The published template puts the image between its two tokens only where nobody has defined `image_token`, and
    # transformers does: served by it, the model would be asked otherwise than it was trained.
    (folder / "chat_template.jinja").write_text(processor.chat_template, encoding="utf-8")
    _add_unused(folder, source)
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    for path in sorted(folder.glob("*config.json")):
        values = json.loads(path.read_bytes())
        before = json.dumps(values)
        _drop_missing_code(values, folder)
        if path.name == "config.json":
            for part in parts(values):
                part |= {name: dtype for name in ("dtype", "torch_dtype") if name in part}
        else:
            _bound_pixels(values.get("image_processor", values), processor.image_processor.size)
        if json.dumps(values) != before:
            path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _add_unused(folder: Path, source: Path) -> None:
    """Weights that the base's file has and transformers has no use for; the code that came with the base has."""
    written = folder / SAFE_WEIGHTS_NAME
    if not written.is_file():
        return
    tensors = load_file(written)
    more: dict[str, torch.Tensor] = {}
    for path in source.glob("*.safetensors"):
        with safe_open(path, "pt") as stored:
            more |= {name: stored.get_tensor(name) for name in stored.keys() if name not in tensors}  # noqa: SIM118
    if more:
        save_file(tensors | more, written, metadata={"format": "pt"})


def parts(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A configuration and all that are within it."""
    yield values
    for part in values.values():
        if isinstance(part, dict):
            yield from parts(part)


def _drop_missing_code(values: dict[str, Any], folder: Path) -> None:
    """A reference to code that did not come with the base would stop every loader that trusts remote code."""
    for part in parts(values):
        if missing_code(part, folder):
            del part["auto_map"]


def missing_code(part: dict[str, Any], folder: Path) -> list[str]:
    """The classes whose code a configuration asks for and `folder` lacks."""
    named = part.get("auto_map")
    return [name for name, one in named.items() if not _is_there(one, folder)] if isinstance(named, dict) else []


def _is_there(reference: Any, folder: Path) -> bool:
    """Of `module.Class`; one of another repository (`name--module.Class`) is looked for there."""
    listed = reference if isinstance(reference, list) else [reference]
    modules = [str(one).partition(".")[0] for one in listed if one]
    return all("--" in str(one) for one in listed if one) or all((folder / f"{one}.py").is_file() for one in modules)


def _bound_pixels(values: dict[str, Any], size: Any) -> None:
    """The processor's bounds, in the words that the file has for them; they are only ever narrower."""
    names = {"max_pixels": "longest_edge", "min_pixels": "shortest_edge"}
    values |= {name: size[edge] for name, edge in names.items() if isinstance(values.get(name), int)}
    stored = values.get("size")
    if isinstance(stored, dict):
        stored |= {edge: size[edge] for edge in names.values() if isinstance(stored.get(edge), int)}


def merge(base: str, adapter: Path, output: Path, *, warn: Callable[[str], None]) -> Path:
    """Write base and adapter as one model, with processor, to the new folder `output`, completely or not at all.

    It answers as the two do; its dtype is that of the base's file.

    Args:
        adapter: its folder, or that of a run, which has it in `model/`.
        warn: is called when `base` has another name than the adapter's base and cannot be compared with it.

    Raises:
        UserError: `output` is there, also where another process put it there meanwhile; there is no adapter, or it
            belongs to another base.
        WorldError: the hub cannot be reached.
    """
    if output.exists():
        raise UserError(f"{output} is there already; choose another folder")
    recorded, folder = locate(str(adapter), None)
    if folder is None:
        raise UserError(f"{adapter}: no adapter in it ({ADAPTER_CONFIG} is missing)")
    _require_same_base(base, recorded, folder, warn)
    require_family(base)
    stored = stored_config(base) or {}
    named = stored.get("dtype") or stored.get("torch_dtype") or "float32"
    # Sums in float32: each merged weight is rounded once, at the end.
    model = with_adapter(load_base(base, torch.device("cpu"), torch.float32), folder)
    merged = model.merge_and_unload().to(getattr(torch, str(named).removeprefix("torch.")))
    write_model(merged, load_processor(base, folder), output, base=base, trained=trained_as(folder), replace=False)
    return output


def _require_same_base(base: str, recorded: str, adapter: Path, warn: Callable[[str], None]) -> None:
    """Refuse a base that is not, as far as can be seen, the adapter's; UserError: shapes or weights differ."""
    folders = Path(base), Path(recorded)
    if base == recorded or (all(folder.is_dir() for folder in folders) and folders[0].samefile(folders[1])):
        return
    trained_on, given = (stored_config(name) for name in (recorded, base))
    if trained_on and given:
        keys = sorted((trained_on.keys() | given.keys()) - _BOOKKEEPING)
        differing = [key for key in keys if trained_on.get(key) != given.get(key)]
        if differing:
            told = ", ".join(differing[:3])
            raise UserError(f"{adapter} was trained on {recorded}, and {base} is another model: {told} differ")
    hashes = [[sha256_of(file) for file in sorted(Path(name).glob("*.safetensors"))] for name in (recorded, base)]
    if not all(hashes):
        warn(f"{adapter} was trained on {recorded}; whether {base} has the same weights cannot be seen")
    elif hashes[0] != hashes[1]:
        raise UserError(f"{adapter} was trained on {recorded}, and the weights of {base} are others")
