"""`--stack` and `--outputs`, as a user gives them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract.outputs import StackOutputs
from tests.cli.jobs import Caller

POOL = {
    "queue_urls": {"high": "https://queue/high.fifo", "normal": "https://queue/normal.fifo"},
    "dead_letter_queue_url": "https://queue/dead.fifo",
    "auto_scaling_group": "workers-gpu",
    "launch_template_id": "lt-1",
    "instance_types": ["g6.xlarge"],
    "market": "spot",
}


def exported(receipts_table: str) -> dict[str, Any]:
    """What a stack exports, with one real table."""
    values: dict[str, Any] = {
        name: f"a-{name}" for name, field in StackOutputs.model_fields.items() if field.annotation is str
    }
    known = {"region": "us-east-1", "receipts_table": receipts_table}
    return values | known | {"private_subnet_ids": ["subnet-1"], "pools": {"gpu": POOL}, "of_a_newer_stack": 1}


def stand(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    jobs_table: str,
    urls: Mapping[str, Mapping[str, str]],
    defaults: Mapping[str, Any],
) -> Path:
    """The saved outputs of a stack with these queues by pool and priority and these default hyperparameters.

    Its jobs table is the environment's, and of its other names nothing is left in there.
    """
    parameter = f"/training/{uuid4().hex}"
    clients.ssm().put_parameter(Name=parameter, Value=json.dumps(dict(defaults)), Type="String")
    pools = {pool: POOL | {"queue_urls": of} for pool, of in urls.items()}
    said = exported("receipts") | {"pools": pools, "jobs_table": jobs_table, "training_parameter": parameter}
    path = folder / "outputs.json"
    path.write_text(json.dumps(said))
    for name in ("INSTANCE_REGISTRY_TABLE_NAME", "DYNAMO_TABLE_NAME", "ARTIFACTS_BUCKET"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("JOBS_TABLE_NAME", jobs_table)
    return path


@pytest.fixture
def saved(tmp_path: Path, receipts_table: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved copy of the outputs; the environment does not name the table."""
    monkeypatch.delenv("DYNAMO_TABLE_NAME")
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(exported(receipts_table)))
    return path


@pytest.fixture
def pulumi(tmp_path: Path, saved: Path) -> str:
    """PATH with a `pulumi` in front that knows stack dev."""
    program = tmp_path / "bin" / "pulumi"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$*" = "stack output --json --non-interactive --stack dev" ] ||'
        f' {{ echo "error: no stack named that" >&2; exit 255; }}\ncat "{saved}"\n'
    )
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def test_a_saved_copy_names_the_table(saved: Path, call: Caller) -> None:
    """With --outputs a command needs no other name: it finds the receipts table of the stack."""
    done = call("receipts", "stats", "--outputs", str(saved))
    assert done.code == 0, done.err
    assert "Receipts" in done.out


def test_the_stack_is_asked_through_pulumi(pulumi: str, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --stack the outputs come from the pulumi command."""
    monkeypatch.setenv("PATH", pulumi)
    done = call("receipts", "stats", "--stack", "dev")
    assert done.code == 0, done.err


def test_a_flag_beside_it_wins(saved: Path, call: Caller) -> None:
    """A table named by its own flag is taken, not the stack's, wherever the flag stands."""
    for order in (0, 1):
        pairs = [["--dynamo-table", "no-such-table"], ["--outputs", str(saved)]]
        done = call("receipts", "stats", *pairs[order], *pairs[1 - order])
        assert done.code == 2
        assert "no-such-table" in done.err


def test_mistakes_are_one_line(
    saved: Path, pulumi: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pulumi, no such stack, no such file, a copy without an output: one line that says what to do, exit code 2."""
    values = json.loads(saved.read_text())
    del values["pools"]["gpu"]["auto_scaling_group"]
    lacking = tmp_path / "lacking.json"
    lacking.write_text(json.dumps(values))
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, path, words in (
        (("--stack", "dev"), str(empty), ("no pulumi on PATH", "--outputs")),
        (("--stack", "prod"), pulumi, ("pulumi says: error: no stack named that",)),
        (("--outputs", "nowhere.json"), pulumi, ("No such file", "pulumi stack output --json")),
        (("--outputs", str(lacking)), pulumi, ("pools.gpu.auto_scaling_group", "up to date")),
        (("--outputs", str(broken)), pulumi, ("broken.json", "pulumi stack output --json")),
    ):
        monkeypatch.setenv("PATH", path)
        done = call("receipts", "stats", *arguments)
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert all(word in done.err for word in words), done.err


def test_training_takes_table_and_bucket_from_the_stack(
    saved: Path, layoutlm: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`layoutlm-cli train --outputs` uses the stack's jobs table: one that is not there is named."""
    monkeypatch.setenv("RECEIPT_TRAINER_AWS_CLI", sys.executable)
    words = ("train", "--job-name", "x", "--dataset", "dynamodb", "--model", "tiny", "--output-dir", "run")
    said = layoutlm.refuse(*words, "--outputs", saved)
    assert "a-jobs_table" in said or "a-artifacts_bucket" in said
