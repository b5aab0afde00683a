"""Where a model package is: in a folder, or in S3, from where it is kept in a cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final

from receipt_trainer.contract.names import MODEL_DIR
from receipt_trainer.contract.package import MANIFEST_FILE, SERVE_DIR, PackageFile, PackageManifest
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import write_atomically
from receipt_trainer.inference.package import ONNX_FILES

SCHEME: Final = "s3://"
ENV_CACHE: Final = "XDG_CACHE_HOME"


def find_model(model: str | Path) -> Path:
    """A local folder with the model: as given, or downloaded.

    Raises:
        UserError: no package there.
        WorldError: it cannot be downloaded whole.
    """
    return download(str(model), cache_folder()) if str(model).startswith(SCHEME) else Path(model)


def cache_folder() -> Path:
    """Where downloaded packages are kept, one folder each."""
    return Path(os.environ.get(ENV_CACHE) or Path.home() / ".cache") / "receipt-trainer" / "models"


def download(uri: str, cache: Path) -> Path:
    """A package of S3 in the cache; what is there already, by the hash of its manifest, is not fetched again.

    The manifest is written last. Of the models only the one that it names is fetched.

    Raises:
        UserError: no package is there.
        WorldError: a file is not what the manifest says.
    """
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    prefix = key.strip("/")
    for inner in ("", f"{SERVE_DIR}/", f"{MODEL_DIR}/{SERVE_DIR}/"):
        base = f"{prefix}/{inner}" if prefix else inner
        said = _get(bucket, f"{base}{MANIFEST_FILE}")
        if said is not None:
            break
    else:
        raise UserError(f"{uri}: no model package there; the run's folder with {MODEL_DIR}/{SERVE_DIR} is wanted")
    folder = cache / hashlib.sha256(said).hexdigest()[:32]
    if (folder / MANIFEST_FILE).is_file():
        return folder
    try:
        manifest = PackageManifest.model_validate_json(said)
    except ValueError:
        raise UserError(f"{uri}: its manifest is not one that this version reads; upgrade receipt-trainer") from None
    unused = set(ONNX_FILES.values()) - {ONNX_FILES[manifest.precision]}
    for name, wanted in manifest.files.items():
        if Path(name).name == name and name not in unused:
            _fetch(bucket, f"{base}{name}", folder / name, wanted)
    kept = manifest.model_copy(update={"files": {n: f for n, f in manifest.files.items() if n not in unused}})
    write_atomically(folder / MANIFEST_FILE, kept.model_dump_json().encode())
    return folder


def _fetch(bucket: str, key: str, path: Path, wanted: PackageFile) -> None:
    content = _get(bucket, key)
    if content is None or hashlib.sha256(content).hexdigest() != wanted.sha256:
        what = "is missing" if content is None else "is not the file that the manifest names"
        raise WorldError(f"{SCHEME}{bucket}/{key} {what}; upload the run again")
    write_atomically(path, content)


def _get(bucket: str, key: str) -> bytes | None:
    """An object's content; None if there is none."""
    from receipt_trainer.aws import clients

    client: Any = clients.s3()
    with clients.aws_faults(f"read {SCHEME}{bucket}/{key}"):
        try:
            content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
    return content
