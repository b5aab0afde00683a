"""A model package on disk: found, checked, opened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from receipt_trainer.contract.names import MODEL_DIR, RUN_FILE
from receipt_trainer.contract.package import (
    MANIFEST_FILE,
    ONNX_FP32,
    ONNX_INT8,
    SAMPLE_FILE,
    SERVE_DIR,
    TOKENIZER_FILE,
    PackageFile,
    PackageManifest,
    PackagePrecision,
)
from receipt_trainer.errors import UserError
from receipt_trainer.files import sha256_of

ONNX_FILES: Final[dict[PackagePrecision, str]] = {"fp32": ONNX_FP32, "int8": ONNX_INT8}
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Package:
    """A complete package, its files as they were when it was made."""

    folder: Path
    manifest: PackageManifest

    def model(self, precision: PackagePrecision | None = None) -> Path:
        """The model's file; that which the manifest names if no precision is asked for.

        Raises:
            UserError: the package has none of that precision, or it is damaged.
        """
        wanted = precision or self.manifest.precision
        if ONNX_FILES[wanted] not in self.manifest.files:
            raise UserError(f"{self.folder}: the package has no {wanted} model; it has {self.manifest.precision}")
        return self.file(ONNX_FILES[wanted])

    def file(self, name: str) -> Path:
        """A file whose content is what it was when the package was made.

        Raises:
            UserError: it is missing or damaged.
        """
        path, wanted = self.folder / name, self.manifest.files.get(name)
        try:
            found = describe(path)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or error}; {_AGAIN}") from None
        if wanted is None or found != wanted:
            raise UserError(f"{path}: damaged, not the file that the package was made with; {_AGAIN}")
        return path


_AGAIN: Final = "copy the package again, or make it anew: layoutlm-cli export RUN"


def describe(path: Path) -> PackageFile:
    """Hash and size of a file.

    Raises:
        OSError: it cannot be read.
    """
    return PackageFile(sha256=sha256_of(path), size=path.stat().st_size)


def find_package(place: str | Path) -> Path:
    """The folder of a package: itself, or that of a run, or of a run's model/.

    Raises:
        UserError: there is none.
    """
    path = Path(place)
    for folder in (path, path / SERVE_DIR, path / MODEL_DIR / SERVE_DIR):
        if (folder / MANIFEST_FILE).is_file():
            return folder
    if any((folder / "config.json").is_file() for folder in (path, path / MODEL_DIR)) or (path / RUN_FILE).is_file():
        raise UserError(f"{path}: no model package there; make it of the trained model: layoutlm-cli export {path}")
    raise UserError(f"{path}: no model package there; give a run's folder, or that of a package")


def open_package(place: str | Path) -> Package:
    """The package of a run, or in a folder. Sizes are checked here, hashes of the files that are used where they are.

    Raises:
        UserError: there is none, a newer version made it, or it is damaged.
    """
    folder = find_package(place)
    path = folder / MANIFEST_FILE
    try:
        said: Any = json.loads(path.read_bytes())
        made_by = said.get("format") if isinstance(said, dict) else None
        if isinstance(made_by, int) and made_by > _FORMAT:
            raise UserError(
                f"{path}: format {made_by} of a newer version ({said.get('trainer_version', 'unknown')}); this one "
                f"reads format {_FORMAT}: upgrade receipt-trainer"
            )
        manifest = PackageManifest.model_validate(said)
    except (OSError, ValueError) as error:  # a ValidationError is one too
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UserError(f"{path}: not the manifest of a package ({' '.join(why.split())[:120]}); {_AGAIN}") from None
    for name in (ONNX_FILES[manifest.precision], TOKENIZER_FILE, SAMPLE_FILE):
        if name not in manifest.files:
            raise UserError(f"{path}: does not list {name}; {_AGAIN}")
    for name, wanted in manifest.files.items():
        if Path(name).name != name:
            raise UserError(f"{path}: lists {name!r}, which is no file of a package; {_AGAIN}")
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != wanted.size:
            there = "missing" if size is None else f"{size} bytes instead of {wanted.size}"
            raise UserError(f"{folder / name}: {there}; {_AGAIN}")
    return Package(folder, manifest)
