"""The option of the first hour, and an account on the embedded AWS."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.contract.names import ENV_AWS_CLI
from receipt_trainer.local.emulator import LocalCloud
from tests.end_to_end import pulumi_stand_in
from tests.end_to_end.account import StackAccount
from tests.end_to_end.fleet import ROOT
from tests.fork_server import Program

MAX_USD = 2.0
OF_THE_PROGRAM = ("Pulumi.yaml", "__main__.py", "infra", "userdata", "trainer", "requirements.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--max-usd",
        type=float,
        default=MAX_USD,
        metavar="USD",
        help=f"The first hour on a real account turns back and destroys before it costs more (default {MAX_USD:g}).",
    )


@pytest.fixture
def max_usd(request: pytest.FixtureRequest) -> float:
    """The spending limit; the option is not there where this folder was not named on the command line."""
    return float(request.config.getoption("--max-usd", MAX_USD))


@pytest.fixture(scope="module")
def emptied() -> Iterator[LocalCloud]:
    """An embedded AWS that tests may make empty."""
    with LocalCloud(empty=True) as cloud:
        yield cloud


@pytest.fixture
def own_cloud(emptied: LocalCloud, aws_cli: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalCloud:
    """An empty embedded AWS, with a `pulumi` on PATH that works on it."""
    pulumi_stand_in.make_empty(emptied.endpoint)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in emptied.environment().items():
        monkeypatch.setenv(name, value)
    pulumi = tmp_path / "bin" / "pulumi"
    pulumi.parent.mkdir()
    pulumi.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.end_to_end.pulumi_stand_in "$@"\n'
    )
    pulumi.chmod(0o755)
    monkeypatch.setenv(ENV_AWS_CLI, str(aws_cli))
    monkeypatch.setenv("PATH", f"{pulumi.parent}{os.pathsep}{os.environ['PATH']}")
    return emptied


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The stack's program in a folder that may be written to."""
    folder = tmp_path / "program"
    folder.mkdir()
    for name in OF_THE_PROGRAM:
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def account(own_cloud: LocalCloud, program: Path, tmp_path: Path) -> Callable[..., StackAccount]:
    """Makes the real account's code, on the embedded AWS."""
    state = tmp_path / "state"
    state.mkdir()
    usual: dict[str, Any] = {"num_steps": 60, "sleep": lambda seconds: None}
    usual["ours"] = Program("receipt-trainer").command
    return lambda **given: StackAccount(program, state, "e2e-1a2b3c", **(usual | given))
