"""Where a model package is: in a folder, or in S3, from where it is kept in a cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Final

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from receipt_trainer.contract.names import MODEL_DIR
from receipt_trainer.contract.package import MANIFEST_FILE, SERVE_DIR, PackageFile, PackageManifest
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.files import replacing_folder
from receipt_trainer.inference.package import ONNX_FILES

SCHEME: Final = "s3://"
ENV_CACHE: Final = "XDG_CACHE_HOME"
_DIGITS: Final = 32
"""Of a manifest's hash, which is the name of its package's folder in the cache."""
_TRIES: Final = 3
_CHUNK: Final = 1 << 20


class NoPackageError(UserError):
    """No package is there that this version reads."""


class DamagedPackageError(WorldError):
    """A package is not what its manifest says."""


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


def download(uri: str, cache: Path, *, manifest_sha256: str | None = None) -> Path:
    """A package of S3 in the cache; what is there already, by the hash of its manifest, is not fetched again.

    The folder appears whole or not at all. Of the models only the one that the manifest names is fetched.

    Args:
        manifest_sha256: of the manifest that is wanted; by default any.

    Raises:
        NoPackageError: no package is there, or a newer version made it.
        DamagedPackageError: a file is missing, or is not what the manifest says.
        UserError, WorldError: S3 or the disk refuses it.
    """
    folder = cache / manifest_sha256[:_DIGITS] if manifest_sha256 else None
    if folder is not None and (folder / MANIFEST_FILE).is_file():
        return folder
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    prefix = key.strip("/")
    for inner in ("", f"{SERVE_DIR}/", f"{MODEL_DIR}/{SERVE_DIR}/"):
        base = f"{prefix}/{inner}" if prefix else inner
        said = _get(bucket, f"{base}{MANIFEST_FILE}")
        if said is not None:
            break
    else:
        raise NoPackageError(f"{uri}: no model package there; the run's folder with {MODEL_DIR}/{SERVE_DIR} is wanted")
    found = hashlib.sha256(said).hexdigest()
    if manifest_sha256 is not None and found != manifest_sha256:
        raise DamagedPackageError(f"{SCHEME}{bucket}/{base}{MANIFEST_FILE} is not the manifest that was promoted")
    folder = cache / found[:_DIGITS]
    if (folder / MANIFEST_FILE).is_file():
        return folder
    try:
        manifest = PackageManifest.model_validate_json(said)
    except ValueError:
        why = "its manifest is not one that this version reads; upgrade receipt-trainer"
        raise NoPackageError(f"{uri}: {why}") from None
    try:
        return _fetch_all(bucket, base, manifest, folder)
    except OSError as error:
        raise WorldError(f"{cache}: the model cannot be kept there: {error.strerror or error}") from None


def _fetch_all(bucket: str, base: str, manifest: PackageManifest, folder: Path) -> Path:
    unused = set(ONNX_FILES.values()) - {ONNX_FILES[manifest.precision]}
    kept = {n: f for n, f in manifest.files.items() if n not in unused and Path(n).name == n}
    try:
        with replacing_folder(folder, replace=False) as beside:
            for name, wanted in kept.items():
                _fetch(bucket, f"{base}{name}", beside / name, wanted)
            text = manifest.model_copy(update={"files": kept}).model_dump_json()
            (beside / MANIFEST_FILE).write_text(text, encoding="utf-8")
    except UserError:
        if not (folder / MANIFEST_FILE).is_file():
            raise
        # Another process has put it there meanwhile.
    return folder


def _fetch(bucket: str, key: str, path: Path, wanted: PackageFile) -> None:
    """Download a file as it comes, so that no memory has to hold it; three times where the connection breaks."""
    broken = retry_if_exception_type(WorldError)
    found = Retrying(retry=broken, stop=stop_after_attempt(_TRIES), reraise=True)(_stream, bucket, key, path)
    if found != wanted.sha256:
        what = "is missing" if found is None else "is not the file that the manifest names"
        raise DamagedPackageError(f"{SCHEME}{bucket}/{key} {what}; upload the run again")


def _stream(bucket: str, key: str, path: Path) -> str | None:
    """Write an object to a file; returns its SHA-256, or None if there is no such object."""
    from receipt_trainer.aws import clients

    digest = hashlib.sha256()
    with clients.aws_faults(f"read {SCHEME}{bucket}/{key}"), path.open("wb") as file:
        body = _body(bucket, key)
        if body is None:
            return None
        for chunk in body.iter_chunks(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _get(bucket: str, key: str) -> bytes | None:
    """An object's content; None if there is none."""
    from receipt_trainer.aws import clients

    with clients.aws_faults(f"read {SCHEME}{bucket}/{key}"):
        body = _body(bucket, key)
        return None if body is None else bytes(body.read())


def _body(bucket: str, key: str) -> Any:
    from receipt_trainer.aws import clients

    client: Any = clients.s3()
    try:
        return client.get_object(Bucket=bucket, Key=key)["Body"]
    except client.exceptions.NoSuchKey:
        return None
