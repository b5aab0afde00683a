"""Job files: whether they are right, their pool is there, and their model can be had on a worker."""

from __future__ import annotations

import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from receipt_trainer.config.layoutlm import load_any_job_file
from receipt_trainer.contract import names
from receipt_trainer.contract.job import JobSpec
from receipt_trainer.doctor.findings import Finding, cannot_look, failure, ok, one_line, warning
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.routing import choose_pool

HUB: Final = "https://huggingface.co"
CACHE: Final = "hf_cache/hub"
"""Prefix in the wheels bucket of what lands in every worker's cache."""

_TIMEOUT_S: Final = 10
_ON_WORKERS: Final = (names.TRAINING_MOUNT, names.CHECKPOINTS_MOUNT, names.HF_CACHE_DIR)
_REFUSED: Final = (401, 403, 404)


def look_at_jobs(subject: Subject) -> Iterator[Finding]:
    """Every job file that was named."""
    if not subject.job_files:
        yield ok("no job file was named; `receipt-trainer doctor JOB.yaml` looks at its model, too")
    for path in subject.job_files:
        try:
            spec = load_any_job_file(path).spec
            if subject.outputs:
                choose_pool(spec.resources, list(subject.outputs.pools))
        except UserError as error:
            yield failure(one_line(error), f"receipt-trainer submit-job --dry-run{subject.given} --config {path}")
            continue
        try:
            yield _model(path, spec, subject)
        except Exception as error:  # one file hides no other
            yield cannot_look(f"{path}: model {spec.model}", error)


def _model(path: Path, spec: JobSpec, subject: Subject) -> Finding:
    model, text = spec.model, f"{path}: model {spec.model}"
    if model == "tiny":
        return ok(f"{text} comes with the trainer")
    if model.startswith(("/", ".", "~")) or Path(model).is_dir():
        return _folder(text, model)
    if subject.nat is None:
        up = subject.command("pulumi up")
        return warning(f"{text}: network.nat is not known, the outputs are of an older stack", up)
    if subject.nat == "none":
        return _copy(text, model, subject)
    return _hub(text, model)


def _folder(text: str, model: str) -> Finding:
    """A folder of the workers cannot be seen from here; one of this machine is not there."""
    if any(PurePosixPath(model).is_relative_to(mount) for mount in _ON_WORKERS):
        return warning(f"{text} is a folder of the workers, which is not seen from here", "ls it in a session.")
    return failure(
        f"{text} is a folder of this machine, which no worker has",
        f"Put it on the hub, or under {names.TRAINING_MOUNT} in a session, and name it so in the job file.",
    )


def _copy(text: str, model: str, subject: Subject) -> Finding:
    """Without the internet workers have what the wheels bucket has."""
    if subject.outputs is None:
        return warning(f"{text}: workers have no internet; look again when the stack stands", "pulumi up")
    bucket, folder = subject.outputs.wheels_bucket, f"models--{model.replace('/', '--')}"
    found = subject.clients.of("s3", subject.region).list_objects_v2(
        Bucket=bucket, Prefix=f"{CACHE}/{folder}/", MaxKeys=1
    )
    if found.get("KeyCount"):
        return ok(f"{text} is in s3://{bucket}/{CACHE}/, from where images and boots take it")
    remedies = [
        f"hf download {shlex.quote(model)}",
        f"aws s3 sync ~/.cache/huggingface/hub/{folder}/ s3://{bucket}/{CACHE}/{folder}/ --exclude '*/blobs/*'",
    ]
    if pipeline := subject.outputs.image_pipeline_arn:
        remedies.append(f"aws imagebuilder start-image-pipeline-execution --image-pipeline-arn {pipeline}")
    return failure(f"{text} is on the hub, which no worker reaches (network.nat none)", *remedies)


def _hub(text: str, model: str) -> Finding:
    """Workers reach the hub; whether it has the model is seen from here, without a token, as they have none."""
    url = f"{os.environ.get('HF_ENDPOINT') or HUB}/{model}/resolve/main/config.json"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT_S):  # noqa: S310
            return ok(f"{text} is on the hub, which workers reach")
    except urllib.error.HTTPError as error:
        if error.code in _REFUSED:
            return failure(
                f"{text}: the hub has no such public model (HTTP {error.code})", f"Correct it, see {HUB}/models."
            )
        return warning(f"{text}: the hub answers HTTP {error.code}", "Look again later.")
    except (OSError, ValueError) as error:
        return warning(f"{text}: the hub was not reached from here: {one_line(error)}", "Look again later.")
