"""An adapter becomes part of its base model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from receipt_trainer.errors import UserError
from receipt_trainer.models.paddleocr_vl import model

_WEIGHTS: Final = "*.safetensors"
_BOOKKEEPING: Final = frozenset({"_name_or_path", "transformers_version", "_commit_hash", "dtype", "torch_dtype"})


def merge(base: str, adapter: Path, output: Path, *, warn: Callable[[str], None]) -> Path:
    """Write base and adapter as one model, with processor, to the new folder `output`, completely or not at all.

    Args:
        adapter: its folder, or that of a run, which has it in `model/`.
        warn: is called when `base` has another name than the adapter's base and cannot be compared with it.

    Raises:
        UserError: `output` is there, there is no adapter, or it belongs to another base.
    """
    if output.exists():
        raise UserError(f"{output} is there already; choose another folder")
    folder = find_adapter(adapter)
    require_same_base(base, model.adapter_base(folder), folder, warn)
    return model.merge(base, folder, output)


def find_adapter(path: Path) -> Path:
    """The folder that holds the adapter's configuration.

    Raises:
        UserError: there is none.
    """
    for folder in (path, path / "model"):
        if (folder / model.ADAPTER_CONFIG).is_file():
            return folder
    raise UserError(f"{path}: no adapter in it ({model.ADAPTER_CONFIG} is missing)")


def require_same_base(base: str, recorded: str, adapter: Path, warn: Callable[[str], None]) -> None:
    """Refuse a base that is not the one that the adapter was trained on, as far as that can be seen.

    Raises:
        UserError: shapes or weights of the two bases differ.
    """
    if base == recorded or _same_folder(base, recorded):
        return
    trained_on, given = _config(recorded), _config(base)
    if trained_on is not None and given is not None and trained_on != given:
        keys = sorted(key for key in trained_on.keys() | given.keys() if trained_on.get(key) != given.get(key))
        raise UserError(
            f"{adapter} was trained on {recorded}, and {base} is another model: {', '.join(keys[:3])} differ"
        )
    hashes = (_weights_hash(recorded), _weights_hash(base))
    if None in hashes:
        warn(f"{adapter} was trained on {recorded}; whether {base} has the same weights cannot be seen")
    elif hashes[0] != hashes[1]:
        raise UserError(f"{adapter} was trained on {recorded}, and the weights of {base} are others")


def _same_folder(first: str, second: str) -> bool:
    return Path(first).is_dir() and Path(second).is_dir() and Path(first).resolve() == Path(second).resolve()


def _config(name: str) -> dict[str, Any] | None:
    """The values that decide a model's shapes; None if it cannot be read."""
    from transformers import PreTrainedConfig

    try:
        values: dict[str, Any] = PreTrainedConfig.get_config_dict(name)[0]
    except (OSError, ValueError):
        return None
    return {key: value for key, value in values.items() if key not in _BOOKKEEPING} or None


def _weights_hash(name: str) -> str | None:
    """sha256 of a local model's weight files; None for a model that is not in a folder."""
    files = sorted(Path(name).glob(_WEIGHTS)) if Path(name).is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
