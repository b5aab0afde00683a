"""Checkpoints that can be trusted: sealed last, verified first, refused when they belong to another run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.run_record import write_atomically
from receipt_trainer.errors import UserError

SEAL: Final = "complete.json"
"""Completion marker: names, sizes and sha256 of a checkpoint's files, and the fingerprint of its run."""

_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint."""

    path: Path
    step: int
    fingerprint: dict[str, Any]


def seal(path: Path, fingerprint: Mapping[str, Any]) -> None:
    """Mark a written checkpoint as complete, once all its bytes are on disk."""
    files = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != SEAL:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
            files[str(file.relative_to(path))] = {"size": file.stat().st_size, "sha256": digest}
    content = json.dumps({"fingerprint": fingerprint, "files": files}, indent=1)
    write_atomically(path / SEAL, content.encode())


def verify(path: Path) -> Checkpoint | None:
    """The checkpoint in `path`, or None if it was not sealed or a file is not as it was sealed."""
    match = _NAME.fullmatch(path.name)
    try:
        marker = json.loads((path / SEAL).read_bytes())
        if match is None or not all(_intact(path / name, file) for name, file in marker["files"].items()):
            return None
        return Checkpoint(path, int(match[1]), marker["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _intact(path: Path, expected: Mapping[str, Any]) -> bool:
    if path.stat().st_size != expected["size"]:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == expected["sha256"]


def folders(run_dir: Path) -> list[Path]:
    """Checkpoint folders of a run, whole or not, the newest first."""
    found = [(int(match[1]), path) for path in run_dir.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def latest(run_dir: Path) -> Checkpoint | None:
    """The newest complete checkpoint."""
    return next((found for path in folders(run_dir) if (found := verify(path)) is not None), None)


def prune(run_dir: Path, keep: int, best: str | None) -> None:
    """Delete all but the `keep` newest sealed checkpoints and the best one; unsealed ones go too."""
    sealed = [path for path in folders(run_dir) if (path / SEAL).is_file()]
    kept = {path.name for path in sealed[:keep]} | ({Path(best).name} if best else set())
    for path in folders(run_dir):
        if path.name not in kept:
            remove(path)


def remove(path: Path) -> None:
    """Delete a checkpoint; its seal goes first, so that a half-deleted one is never taken."""
    (path / SEAL).unlink(missing_ok=True)
    shutil.rmtree(path)


def require_same_run(checkpoint: Checkpoint, fingerprint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another run.

    Raises:
        UserError: names the first differences.
    """
    differences = list(compare(checkpoint.fingerprint, fingerprint))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise UserError(
            f"{checkpoint.path} belongs to another run: {'; '.join(differences[:3])}{more}; "
            "use another --job-name, or --restart to start over"
        )


def compare(stored: Any, wanted: Any, where: str = "") -> list[str]:
    """Differences between two nested values, as readable texts."""
    if isinstance(stored, Mapping) and isinstance(wanted, Mapping):
        return [
            text
            for key in sorted({*stored, *wanted})
            for text in compare(stored.get(key), wanted.get(key), f"{where}.{key}" if where else str(key))
        ]
    if json.dumps(stored, sort_keys=True, default=list) == json.dumps(wanted, sort_keys=True, default=list):
        return []
    return [f"{where} is {_short(stored)} there and {_short(wanted)} here"]


def _short(value: Any) -> str:
    text = json.dumps(value, default=list)
    return text if len(text) <= 60 else text[:57] + "..."
