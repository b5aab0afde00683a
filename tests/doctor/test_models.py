"""Job files, and where their models are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.doctor import models
from receipt_trainer.doctor.findings import Finding
from receipt_trainer.doctor.subject import Subject
from tests.doctor.conftest import levels, look, with_outputs
from tests.doctor.wire import Answer, Wire

HUB_PATH = "/microsoft/layoutlm-base-uncased/resolve/main/config.json"


def job(subject: Subject, folder: Path, text: str = "") -> Finding:
    """What is found of one job file."""
    path = folder / "job.yaml"
    path.write_text(f"job_name: a-job\n{text}")
    (found,) = look(models.look_at_jobs, dataclasses.replace(subject, job_files=(path,)))
    return found


def test_without_job_files(subject: Subject) -> None:
    """None was named: that is well, and said."""
    assert levels(look(models.look_at_jobs, subject)) == ["ok"]


def test_a_model_without_the_internet(subject: Subject, tmp_path: Path) -> None:
    """With `none`, the hub is out of reach: a failure with three commands, until the wheels bucket has a copy."""
    alone = with_outputs(subject, nat="none")
    found = job(alone, tmp_path)
    assert found.level == "failure"
    assert [one.split()[0:3] for one in found.remedies] == [
        ["hf", "download", "microsoft/layoutlm-base-uncased"],
        ["aws", "s3", "sync"],
        ["aws", "imagebuilder", "start-image-pipeline-execution"],
    ]
    assert alone.outputs
    key = "hf_cache/hub/models--microsoft--layoutlm-base-uncased/snapshots/1/config.json"
    clients.s3().put_object(Bucket=alone.outputs.wheels_bucket, Key=key, Body=b"{}")
    assert job(alone, tmp_path).level == "ok"
    clients.s3().delete_object(Bucket=alone.outputs.wheels_bucket, Key=key)


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (404, "failure"), (401, "failure"), (503, "warning")])
def test_a_model_of_the_hub(status: int, level: str, subject: Subject, tmp_path: Path, wire: Wire) -> None:
    """Where workers reach the hub it is asked without a token, as they ask; what it lacks is a failure."""
    wire.answers[HUB_PATH] = Answer(status, "application/json", "")
    assert job(with_outputs(subject, nat="public"), tmp_path).level == level


def test_a_hub_out_of_reach(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that this machine does not reach is a warning: workers may."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert job(subject, tmp_path).level == "warning"


def test_outputs_of_an_older_stack(subject: Subject, tmp_path: Path) -> None:
    """Where the outputs do not say how workers reach the internet, nothing is claimed."""
    older = dataclasses.replace(with_outputs(subject, nat=None), settings={})
    found = job(older, tmp_path)
    assert (found.level, found.remedies) == ("warning", ("pulumi up --stack dev",))


def test_a_folder(subject: Subject, tmp_path: Path) -> None:
    """A folder of this machine is on no worker; one of the workers' file system is not seen from here."""
    assert job(subject, tmp_path, f"model: {tmp_path}\n").level == "failure"
    assert job(subject, tmp_path, "model: /mnt/training/models/mine\n").level == "warning"
    assert job(subject, tmp_path, "model: tiny\n").level == "ok"


def test_a_wrong_job_file(subject: Subject, tmp_path: Path) -> None:
    """A wrong key, or a pool that the stack lacks, is a failure that names it; other files are looked at."""
    found = job(subject, tmp_path, "modle: tiny\n")
    assert found.level == "failure"
    assert "modle" in found.text
    assert subject.outputs
    small = with_outputs(subject, pools={"cpu": subject.outputs.pools["cpu"]})
    assert "no pool 'gpu'" in job(small, tmp_path, "model: tiny\nresources: {gpu: true}\n").text
