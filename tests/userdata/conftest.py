"""Instances to boot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.local.emulator import LocalCloud
from tests.userdata import aws_cli
from tests.userdata.machine import Account, Machine


@pytest.fixture(scope="session")
def venv_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh virtual environment with nothing but pip, made without a network."""
    folder = tmp_path_factory.mktemp("pytorch")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def aws_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the real AWS CLI answers."""
    with aws_cli.AwsCli(str(tmp_path_factory.mktemp("aws") / "s")) as running:
        yield running.socket_path


@pytest.fixture
def account(aws: LocalCloud) -> Account:
    """A fresh account's worth of resources."""
    return Account()


@pytest.fixture
def machine(tmp_path: Path, account: Account, cloud: LocalCloud, venv_python: Path, aws_socket: str) -> Machine:
    """An instance of the parent image: no packages of ours, no marker."""
    (tmp_path / "root").mkdir()
    environment = cloud.applied_to(os.environ) | {
        "HOST_PYTHON": sys.executable,
        "AWS_CLIENT": aws_cli.__file__,
        "AWS_SOCKET": aws_socket,
        "VENV_PYTHON": str(venv_python),
    }
    return Machine(tmp_path / "root", account, environment)


@pytest.fixture
def golden(machine: Machine) -> Machine:
    """An instance of the Golden AMI."""
    machine.make_golden()
    return machine
