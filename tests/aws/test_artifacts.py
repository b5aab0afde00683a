"""A run's files in S3, by the real AWS CLI."""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.aws.artifacts import S3Artifacts
from receipt_trainer.contract.sinks import ArtifactSink
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local.emulator import LocalCloud

AWS_CLI = Path(sys.executable).parent / "aws"

needs_cli = pytest.mark.skipif(not AWS_CLI.is_file(), reason="no aws CLI beside this Python")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run's folder with a record, a model, a checkpoint and a temporary file."""
    run = tmp_path / "my run"
    for name in ("run.json", "model/model.safetensors", "report.html", "checkpoint-10/weights", ".run.json.1.tmp"):
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return run


def fake_cli(path: Path, script: str) -> str:
    """An executable that stands for the CLI where the real one cannot show what is asked."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@needs_cli
def test_the_real_cli_copies_a_run(aws: LocalCloud, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a run arrive under its prefix, checkpoints and temporary files do not, whatever its name."""
    name = "my run[1] *a?[!b]"
    run_dir = run_dir.rename(run_dir.with_name(name))
    monkeypatch.chdir(run_dir.parent)
    prefix = f"runs/{uuid4()}"
    sink: ArtifactSink = S3Artifacts(aws.bucket, prefix, cli=str(AWS_CLI))
    assert sink.upload(Path(name)) == f"s3://{aws.bucket}/{prefix}"
    listed = clients.s3().list_objects_v2(Bucket=aws.bucket, Prefix=prefix)["Contents"]
    keys = {entry["Key"].removeprefix(f"{prefix}/") for entry in listed}
    assert keys == {"run.json", "model/model.safetensors", "report.html"}


@needs_cli
def test_a_failed_sync_carries_the_clis_words(aws: LocalCloud, run_dir: Path) -> None:
    """A bucket that is not there: the error says so as the CLI said it."""
    sink = S3Artifacts("no-such-bucket-at-all", "x", cli=str(AWS_CLI), retry_wait_s=0)
    with pytest.raises(WorldError, match=r"aws s3 sync .* failed with exit code 1: .*NoSuchBucket"):
        sink.upload(run_dir)


@needs_cli
def test_the_real_cli_leaves_the_record_to_the_end(aws: LocalCloud, run_dir: Path, tmp_path: Path) -> None:
    """The sync of a folder called run[1] brings no run.json; the copy after it does."""
    run_dir = run_dir.rename(run_dir.with_name("run[1]"))
    prefix = f"runs/{uuid4()}"
    only_sync = fake_cli(tmp_path / "sync", f'[ "$2" = cp ] && {{ echo no >&2; exit 1; }}; exec "{AWS_CLI}" "$@"')
    with pytest.raises(WorldError, match=r"aws s3 cp"):
        S3Artifacts(aws.bucket, prefix, cli=only_sync, retry_wait_s=0).upload(run_dir)
    listed = clients.s3().list_objects_v2(Bucket=aws.bucket, Prefix=prefix)["Contents"]
    assert {entry["Key"].removeprefix(f"{prefix}/") for entry in listed} == {"model/model.safetensors", "report.html"}


def test_the_record_goes_last_by_an_argument_list(tmp_path: Path, run_dir: Path) -> None:
    """First the sync without run.json, then run.json; a folder with a space is one argument."""
    calls = tmp_path / "calls"
    cli = fake_cli(tmp_path / "aws", f'for a in "$@"; do printf "[%s]" "$a" >> {calls}; done; echo >> {calls}')
    S3Artifacts("b", "/p/", cli=cli).upload(run_dir)
    sync, copy = calls.read_text().splitlines()
    assert sync.startswith(
        f"[s3][sync][--only-show-errors][{run_dir}][s3://b/p]"
        f"[--exclude][{run_dir}/run.json][--exclude][{run_dir}/checkpoint-*/*]"
    )
    assert copy == f"[s3][cp][--only-show-errors][{run_dir}/run.json][s3://b/p/run.json]"


def test_an_aws_on_path_is_never_taken(tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conda-like `aws` first on PATH is not run, neither by default nor when the configured one is missing."""
    touched = tmp_path / "touched"
    conda = tmp_path / "conda"
    conda.mkdir()
    fake_cli(conda / "aws", f"touch {touched}")
    monkeypatch.setenv("PATH", f"{conda}:/bin:/usr/bin")
    missing = tmp_path / "none" / "aws"
    for cli, message in (
        (str(missing), f"there is no AWS CLI at {missing}; .*RECEIPT_TRAINER_AWS_CLI"),
        ("aws", "must be absolute, not 'aws'"),
    ):
        sink = S3Artifacts("b", "p", cli=cli)
        with pytest.raises(UserError, match=message):
            sink.check()
        with pytest.raises(UserError, match=message):
            sink.upload(run_dir)
    assert not touched.exists()


def test_a_sync_is_tried_again_but_not_for_ever(tmp_path: Path, run_dir: Path) -> None:
    """A sync that fails once is repaired by the next try; one that hangs is ended at its time limit."""
    mark = tmp_path / "mark"
    once = fake_cli(tmp_path / "once", f"[ -e {mark} ] && exit 0; touch {mark}; echo 'slow down' >&2; exit 1")
    S3Artifacts("b", "p", cli=once, retry_wait_s=0).upload(run_dir)
    hangs = fake_cli(tmp_path / "hangs", "exec sleep 60")
    with pytest.raises(WorldError, match=r"not done after 0.1 s"):
        S3Artifacts("b", "p", cli=hangs, retry_wait_s=0, timeout_s=0.1).upload(run_dir)


def test_no_run_to_upload(tmp_path: Path) -> None:
    """A folder that is not there is the user's error, not an empty upload."""
    with pytest.raises(UserError, match=r"there is no run to upload"):
        S3Artifacts("b", "p", cli=fake_cli(tmp_path / "aws", "true")).upload(tmp_path / "none")
