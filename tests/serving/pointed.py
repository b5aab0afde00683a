"""Packages in a bucket of the embedded AWS, and a pointer to one of them."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receipt_trainer.aws import clients
from receipt_trainer.contract.package import MANIFEST_FILE, SAMPLE_FILE, PackageFile, PackageManifest
from receipt_trainer.contract.pointer import Pointer, PromotedModel
from receipt_trainer.serving.pointer_store import PointerStore


@dataclass
class Bucket:
    """A bucket to which copies of one package are uploaded, each as the model of another job."""

    package: Path
    name: str = field(default_factory=lambda: f"models-{uuid.uuid4().hex[:12]}")

    def __post_init__(self) -> None:
        clients.s3().create_bucket(Bucket=self.name)

    @property
    def store(self) -> PointerStore:
        """The pointer `default`."""
        return PointerStore(self.name, "default")

    def put(self, key: str, body: bytes) -> None:
        """An object."""
        clients.s3().put_object(Bucket=self.name, Key=key, Body=body)

    def upload(self, job: str, without: str = "", **changed: bytes) -> PromotedModel:
        """Upload the package as the model of a job; `changed` are contents that its manifest does not know."""
        prefix = f"runs/{job}/1/model/serve/"
        said = json.loads((self.package / MANIFEST_FILE).read_bytes()) | {"job_name": job}
        for path in self.package.iterdir():
            if path.name not in (MANIFEST_FILE, without):
                self.put(prefix + path.name, changed.get(path.stem, path.read_bytes()))
        return self.finish(job, PackageManifest.model_validate(said))

    def upload_wrong(self, job: str) -> PromotedModel:
        """Upload a sound package whose sample asks for labels that the model does not give."""
        sample = json.loads((self.package / SAMPLE_FILE).read_bytes())
        sample["labels"] = ["O" if label != "O" else "DATE" for label in sample["labels"]]
        body = json.dumps(sample).encode()
        said = json.loads((self.package / MANIFEST_FILE).read_bytes()) | {"job_name": job}
        self.upload(job, sample=body)
        said["files"][SAMPLE_FILE] = PackageFile(sha256=hashlib.sha256(body).hexdigest(), size=len(body)).model_dump()
        return self.finish(job, PackageManifest.model_validate(said))

    def finish(self, job: str, manifest: PackageManifest) -> PromotedModel:
        """Write the manifest, which goes last."""
        body = manifest.model_dump_json().encode()
        self.put(f"runs/{job}/1/model/serve/{MANIFEST_FILE}", body)
        return PromotedModel(
            package=f"s3://{self.name}/runs/{job}/1/model/serve",
            manifest_sha256=hashlib.sha256(body).hexdigest(),
            job_name=job,
            job_id="1",
            version=job,
            promoted_at="2026-01-01T00:00:00+00:00",
            promoted_by="tests",
        )

    def point(self, model: PromotedModel) -> None:
        """Put a model in force."""
        former = self.store.find()
        pointer = former.pointer.followed_by(model) if former else Pointer(name="default", current=model)
        self.store.replace(pointer, former)

    def promote(self, job: str, **how: Any) -> None:
        """Upload and put in force."""
        self.point(self.upload(job, **how))
