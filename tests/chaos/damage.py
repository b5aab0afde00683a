"""Damage to checkpoints, as a disk or a cut connection to it does."""

from __future__ import annotations

import random
from pathlib import Path

from receipt_trainer.training import checkpoints

WEIGHTS = "model.safetensors"


def newest(run_dir: Path) -> Path | None:
    """Weights of the newest sealed checkpoint."""
    sealed = (path / WEIGHTS for path in checkpoints.folders(run_dir) if (path / checkpoints.SEAL).is_file())
    return next(sealed, None)


def flip(path: Path, seed: int) -> None:
    """Change one byte; the file's size stays."""
    rng = random.Random(seed)
    with path.open("r+b") as file:
        at = rng.randrange(path.stat().st_size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << rng.randrange(8))]))


def cut(path: Path) -> None:
    """Leave the first half."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
