"""A package in S3 is downloaded once, checked, and kept."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.package import MANIFEST_FILE, ONNX_FP32, ONNX_INT8, TOKENIZER_FILE, PackageFile
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference.model_place import download, find_model
from receipt_trainer.local.emulator import LocalCloud
from tests.inference.told import ToldModel

FILES = {ONNX_INT8: b"small", ONNX_FP32: b"large", TOKENIZER_FILE: b"{}"}


@pytest.fixture
def bucket(aws: LocalCloud) -> str:
    """A bucket with a run's package, without its large model, which is not needed."""
    name = f"models-{uuid.uuid4().hex[:12]}"
    client = clients.s3()
    client.create_bucket(Bucket=name)
    files = {key: PackageFile(sha256=hashlib.sha256(body).hexdigest(), size=len(body)) for key, body in FILES.items()}
    manifest = ToldModel().manifest.model_copy(update={"files": files})
    for key, body in FILES.items():
        if key != ONNX_FP32:
            client.put_object(Bucket=name, Key=f"runs/j/1/model/serve/{key}", Body=body)
    client.put_object(
        Bucket=name, Key=f"runs/j/1/model/serve/{MANIFEST_FILE}", Body=manifest.model_dump_json().encode()
    )
    return name


@pytest.mark.parametrize("inner", ["", "/", "/model", "/model/serve/"])
def test_a_package_is_downloaded_once(bucket: str, tmp_path: Path, inner: str) -> None:
    """By the run's place or the package's; the model that the manifest names; a second time nothing is fetched."""
    uri = f"s3://{bucket}/runs/j/1{inner}"
    folder = download(uri, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted([MANIFEST_FILE, ONNX_INT8, TOKENIZER_FILE])
    before = (folder / ONNX_INT8).stat().st_mtime_ns
    assert download(uri, tmp_path) == folder
    assert (folder / ONNX_INT8).stat().st_mtime_ns == before


def test_a_damaged_package(bucket: str, tmp_path: Path) -> None:
    """A file that is not the manifest's is refused, and no manifest is left that would make it count as there."""
    clients.s3().put_object(Bucket=bucket, Key=f"runs/j/1/model/serve/{ONNX_INT8}", Body=b"other")
    with pytest.raises(WorldError, match="is not the file"):
        download(f"s3://{bucket}/runs/j/1", tmp_path)
    assert not list(tmp_path.rglob(MANIFEST_FILE))


def test_no_package(bucket: str, tmp_path: Path) -> None:
    """What is no package says what is wanted; a folder stays a folder."""
    with pytest.raises(UserError, match="no model package there"):
        download(f"s3://{bucket}/other", tmp_path)
    assert find_model("RUN") == Path("RUN")
