"""Putting a model in force: compared with the one before it on receipts that neither was trained on."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from receipt_trainer.aws import clients
from receipt_trainer.contract.names import MODEL_DIR, RUN_FILE
from receipt_trainer.contract.package import MANIFEST_FILE, SERVE_DIR, PackageManifest
from receipt_trainer.contract.pointer import SERVING_PREFIX, PromotedModel
from receipt_trainer.contract.run_record import LayoutLMRecord, read_record
from receipt_trainer.data.dedup import near_duplicate_groups
from receipt_trainer.data.receipt import Receipt
from receipt_trainer.inference.model_place import SCHEME, NoPackageError
from receipt_trainer.inference.package import ONNX_FILES, find_package

GENERATED: Final = "synthetic"
"""Source of receipts that a program has drawn: they say nothing of what people photograph."""
TEST: Final = "test"


def package_at(uri: str, *, by: str | None = None) -> PromotedModel:
    """The package of a run in S3, as it would be promoted.

    Raises:
        NoPackageError: none is there, or a newer version made it.
        UserError, WorldError: S3 refuses it.
    """
    place = uri.rstrip("/")
    for folder in (f"{place}/{MODEL_DIR}/{SERVE_DIR}", f"{place}/{SERVE_DIR}", place):
        said = _get(f"{folder}/{MANIFEST_FILE}")
        if said is not None:
            break
    else:
        raise NoPackageError(f"{uri}: no model package there; make it of the trained model: layoutlm-cli export RUN")
    try:
        manifest = PackageManifest.model_validate_json(said)
    except ValueError:
        raise NoPackageError(f"{folder}: its manifest is not one that this version reads") from None
    model = manifest.files[ONNX_FILES[manifest.precision]]
    return PromotedModel(
        package=folder,
        manifest_sha256=hashlib.sha256(said).hexdigest(),
        job_name=manifest.job_name,
        job_id=manifest.job_id,
        version=f"{manifest.job_name}/{model.sha256[:12]}",
        promoted_at=now(),
        promoted_by=by or getpass.getuser(),
    )


def now() -> str:
    """ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def upload_package(run: Path, bucket: str) -> str:
    """Bring a local run's package to where servers find it, its manifest last; returns the folder's URI.

    Raises:
        UserError: no package there.
        WorldError: S3 refuses it.
    """
    folder = find_package(run)
    digest = hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()
    prefix = f"{SERVING_PREFIX}/packages/{digest[:32]}"
    record = next((place / RUN_FILE for place in (folder, *folder.parents[:2]) if (place / RUN_FILE).is_file()), None)
    names = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST_FILE]
    client: Any = clients.s3()
    for path in [*([record] if record else []), *names, folder / MANIFEST_FILE]:
        with clients.aws_faults(f"write {SCHEME}{bucket}/{prefix}/{path.name}"), path.open("rb") as body:
            client.put_object(Bucket=bucket, Key=f"{prefix}/{path.name}", Body=body)
    return f"{SCHEME}{bucket}/{prefix}"


def record_of(model: PromotedModel) -> LayoutLMRecord | None:
    """The run.json of a promoted model; None where there is none that can be read."""
    for place in (model.package, model.package.removesuffix(f"/{MODEL_DIR}/{SERVE_DIR}")):
        said = _get(f"{place}/{RUN_FILE}")
        if said is not None:
            try:
                record = read_record(said)
            except ValueError:
                return None
            return record if isinstance(record, LayoutLMRecord) else None
    return None


def _get(uri: str) -> bytes | None:
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    client: Any = clients.s3()
    with clients.aws_faults(f"read {uri}"):
        try:
            return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        except client.exceptions.NoSuchKey:
            return None


def was_held_out(receipt: Receipt, record: LayoutLMRecord | None) -> bool:
    """Whether it is certain that a run was not trained on a receipt.

    A run says which receipts it held out, not which it trained on: so certain are those that it names, and those that
    are stored under another split than the one that it was told to train on. All others count as trained on.
    """
    if record is None:
        return False
    if record.split is not None and receipt.key in record.split.validation_keys:
        return True
    data = record.data_config
    by_stored = data.get("train_split") and data.get("eval_split")
    if not by_stored or data.get("split_file") or data.get("eval_dataset"):
        return False
    return bool(receipt.split) and receipt.split != data["train_split"]


def labelled_by_people(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Receipts that models can be compared on: with a VALID label, and not generated."""
    return [one for one in receipts if one.is_labelled() and one.source.casefold() != GENERATED]


def frozen_set(receipts: Sequence[Receipt], records: Sequence[LayoutLMRecord | None]) -> tuple[list[Receipt], str]:
    """Those of a table's receipts that no run was trained on, and what they are: of split test where there are any.

    A near duplicate of a receipt that a run may have been trained on counts as trained on, too.
    """
    held_out = [all(was_held_out(one, record) for record in records) for one in receipts]
    groups = near_duplicate_groups(receipts)
    kept = {index for group in groups if all(held_out[index] for index in group) for index in group}
    usable = labelled_by_people([one for index, one in enumerate(receipts) if index in kept])
    test = [one for one in usable if one.split == TEST]
    if test:
        return test, "receipts of split test that neither run was trained on"
    return usable, "receipts that both runs held out for validation"
