"""Checkpoints that can be trusted: sealed last, verified first, refused when they belong to another run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from receipt_trainer.errors import UserError
from receipt_trainer.files import flush_folder, sha256_of, write_atomically

SEAL: Final = "complete.json"
"""Completion marker: names, sizes and sha256 of a checkpoint's files, and the fingerprint of its run."""

STATE: Final = "trainer_state.json"
"""File of the state of transformers' Trainer in a checkpoint."""

_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint."""

    path: Path
    step: int
    fingerprint: dict[str, Any]


def seal(path: Path, fingerprint: Mapping[str, Any]) -> int:
    """Mark a written checkpoint as complete, once all its bytes are on disk; returns how many these are."""
    step = _step(path)
    if step is None:
        raise ValueError(f"{path} is not a checkpoint folder")
    files: dict[str, dict[str, Any]] = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != SEAL:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
            files[str(file.relative_to(path))] = {"size": file.stat().st_size, "sha256": digest}
    content = json.dumps({"step": step, "fingerprint": fingerprint, "files": files}, indent=1)
    flush_folder(path)
    write_atomically(path / SEAL, content.encode())
    flush_folder(path)
    flush_folder(path.parent)
    return sum(int(file["size"]) for file in files.values())


def _step(path: Path) -> int | None:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def verify(path: Path) -> Checkpoint | None:
    """The checkpoint in `path`, or None if it was not sealed or a file is not as it was sealed."""
    step = _step(path)
    try:
        marker = json.loads((path / SEAL).read_bytes())
        if step is None or marker["step"] != step or not marker["files"]:
            return None
        if not all(_intact(path / name, file) for name, file in marker["files"].items()):
            return None
        return Checkpoint(path, step, marker["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _intact(path: Path, expected: Mapping[str, Any]) -> bool:
    if path.stat().st_size != expected["size"]:
        return False
    return bool(sha256_of(path) == expected["sha256"])


def folders(run_dir: Path) -> list[Path]:
    """Checkpoint folders of a run, complete or not, the newest first."""
    found = [(step, path) for path in run_dir.glob("checkpoint-*") if (step := _step(path)) is not None]
    return [path for _, path in sorted(found, reverse=True)]


def latest(run_dir: Path) -> Checkpoint | None:
    """The newest complete checkpoint whose best model is complete too.

    A best checkpoint that is not there was beaten by a later one, which resuming from here makes again.
    """
    for path in folders(run_dir):
        found = verify(path)
        if found is None:
            continue
        best = best_of(found)
        if best is None or best == path or not best.exists() or verify(best) is not None:
            return found
    return None


def best_of(checkpoint: Checkpoint) -> Path | None:
    """Folder of the best model at the time of a checkpoint, wherever the run has been moved since."""
    try:
        step = json.loads((checkpoint.path / STATE).read_bytes()).get("best_global_step")
    except (OSError, ValueError, AttributeError):
        return None
    return checkpoint.path.with_name(f"checkpoint-{step}") if step else None


def clear_leftovers(run_dir: Path, found: Checkpoint | None) -> list[int]:
    """Delete unsealed folders, and damaged ones behind the checkpoint that was found; returns their steps."""
    return _remove_all(
        path
        for path in folders(run_dir)
        if not (path / SEAL).is_file() or found is None or (_step(path) or 0) > found.step
    )


def prune(run_dir: Path, keep: int, best: str | None) -> list[int]:
    """Delete all but `keep` sealed checkpoints: the newest, the best, the next newest; returns the steps."""
    sealed = [path.name for path in folders(run_dir) if (path / SEAL).is_file()]
    wanted = sealed[:1] + ([Path(best).name] if best else [])
    kept = set(wanted) | set([name for name in sealed if name not in wanted][: max(0, keep - len(set(wanted)))])
    return _remove_all(path for path in folders(run_dir) if path.name not in kept)


def _remove_all(paths: Iterable[Path]) -> list[int]:
    steps = []
    for path in paths:
        remove(path)
        steps.append(_step(path) or 0)
    return steps


def remove(path: Path) -> None:
    """Delete a checkpoint; its seal goes first, so that a half-deleted one is never taken."""
    (path / SEAL).unlink(missing_ok=True)
    shutil.rmtree(path)


def require_same_run(checkpoint: Checkpoint, fingerprint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another run; the UserError names the first differences."""
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
