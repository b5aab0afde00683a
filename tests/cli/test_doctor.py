"""`receipt-trainer doctor` as a user calls it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_receipts import COMMAND
from tests.doctor.conftest import ROOT, Stood, made_clients, served, stood, wire, write_pulumi
from tests.doctor.wire import Wire, quota

__all__ = ["made_clients", "served", "stood", "wire"]


def call(*arguments: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command at 80 columns."""
    return subprocess.run(
        [*COMMAND, "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80"} | environ,
    )


@pytest.fixture
def path(stood: Stood, wire: Wire, tmp_path: Path) -> str:
    """PATH with a pulumi that knows the stack, and programs of today."""
    found = write_pulumi(
        tmp_path, stood.outputs.model_dump(mode="json"), {"deployment": {"resources": stood.resources}}
    )
    for name, says in (("aws", "aws-cli/2.31.0 Python/3.13"), ("session-manager-plugin", "1.2.707.0")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho "{says}"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    return found


def test_a_stack_that_is_well(path: str) -> None:
    """Exit code 0; a line for each thing, within 80 columns."""
    done = call("--stack", "dev", PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok       pulumi 3.260.0" in done.stdout
    assert "failure" not in done.stdout
    assert done.stdout.splitlines()[-1].endswith("0 failed")
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_failure(path: str, wire: Wire, tmp_path: Path) -> None:
    """Exit code 1, and the command that mends it on one line of its own, whole, to be copied."""
    wire.answers["GetServiceQuota"] = quota(0)
    saved = tmp_path / "outputs"
    done = call("--outputs", str(saved), PATH=path)
    assert done.returncode == 1
    assert (
        "           $ aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-3819A6DF"
        " --desired-value 4 --region us-east-1"
    ) in done.stdout.splitlines()


def test_for_scripts(path: str, tmp_path: Path) -> None:
    """--json has all findings with level and remedies, the counts, and what was looked at."""
    job = tmp_path / "job.yaml"
    job.write_text("job_name: a-job\nmodel: tiny\n")
    done = call(str(job), "--stack", "dev", "--json", PATH=path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["stack"], said["region"], said["account"]) == ("dev", "us-east-1", "123456789012")
    assert sum(said["counts"].values()) == len(said["findings"])
    assert {one["level"] for one in said["findings"]} <= {"ok", "warning"}
    found = [one for one in said["findings"] if one["check"] == "job files"]
    assert [one["found"] for one in found] == [f"{job}: model tiny comes with the trainer"]


def test_before_anything_is_installed(wire: Wire, tmp_path: Path) -> None:
    """Without pulumi, without a stack, elsewhere: no traceback, what is lacking is said, exit code 1."""
    (tmp_path / "empty").mkdir()
    done = call("--stack", "dev", cwd=tmp_path, PATH=str(tmp_path / "empty"))
    assert done.returncode == 1
    assert "no pulumi on PATH" in done.stdout
    assert "Traceback" not in done.stderr


def test_mistakes(tmp_path: Path) -> None:
    """A file that is not there, two names of one stack, the local stack: one line, exit code 2."""
    for arguments in (("nowhere.yaml",), ("--outputs", "nowhere.json"), ("--stack", "local")):
        done = call(*arguments)
        assert done.returncode == 2, arguments
        assert len(done.stderr.splitlines()) == 1
    assert call("--stack", "dev", "--outputs", "x").returncode == 2


def test_help_needs_no_aws() -> None:
    """--help imports nothing that talks to AWS."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom receipt_trainer.cli.receipt_trainer import group\n"
        "assert CliRunner().invoke(group, ['doctor', '--help']).exit_code == 0\n"
        "print([name for name in ('boto3', 'torch', 'rich') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
