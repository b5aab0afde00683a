"""Instances to boot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from receipt_trainer.local.emulator import LocalCloud
from tests import fork_server
from tests.userdata.machine import Account, Machine


@pytest.fixture(scope="session")
def venv_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh virtual environment with nothing but pip, made without a network."""
    folder = tmp_path_factory.mktemp("pytorch")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture
def account(aws: LocalCloud) -> Account:
    """A fresh account's worth of resources."""
    return Account()


@pytest.fixture
def machine(tmp_path: Path, account: Account, cloud: LocalCloud, venv_python: Path) -> Machine:
    """An instance of the parent image: no packages of ours, no marker."""
    (tmp_path / "root").mkdir()
    environment = cloud.applied_to(os.environ) | {
        "HOST_PYTHON": sys.executable,
        "AWS_CLIENT": fork_server.LAUNCHER,
        "AWS_SOCKET": fork_server.address("tests.userdata.aws_cli"),
        "VENV_PYTHON": str(venv_python),
    }
    return Machine(tmp_path / "root", account, environment)


@pytest.fixture
def golden(machine: Machine) -> Machine:
    """An instance of the Golden AMI."""
    machine.make_golden()
    return machine
