"""One embedded AWS for the whole session, spoken to over HTTP; a fresh table and environment for each test."""

from __future__ import annotations

import fcntl
import gc
import os
import shlex
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from receipt_trainer.contract.names import ENV_JOBS_TABLE, ENV_RECEIPTS_TABLE
from receipt_trainer.contract.tables import JOBS, RECEIPTS, TableShape
from receipt_trainer.local.emulator import LocalCloud
from tests import fork_server
from tests.fault_proxy import FaultProxy
from tests.fork_server import Program
from tests.queues import new_stack_queue

# No test may fail because the machine is slow, or because it draws other examples than in the run before; the first
# text of a fresh checkout takes seconds: hypothesis makes its table of characters then.
settings.register_profile(
    "same-everywhere", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same-everywhere")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """The garbage collector need not walk over what all imports have made, while it is made and ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    """The embedded AWS of this test session."""
    with LocalCloud(prefix="test-") as running:
        yield running


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """A folder that the first process of this session fills, and all others wait for; no test changes what is in it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, filling = shared / f"once-{name}", shared / f"once-{name}.{os.getpid()}"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                filling.mkdir()
                make(filling)
                filling.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def layoutlm_cli() -> Program:
    """Starts `layoutlm-cli` as child processes."""
    return Program("layoutlm-cli")


@pytest.fixture(scope="session")
def vl_cli() -> Program:
    """Starts `receipt-trainer` as child processes."""
    return Program("receipt-trainer")


@pytest.fixture(scope="session")
def training_command() -> tuple[str, ...]:
    """What stands for `python -m receipt_trainer.worker.main`."""
    return Program("training").command


@pytest.fixture(scope="session")
def aws_cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real AWS CLI; its import, a second of every call, is paid once a session."""
    pytest.importorskip("awscli", reason="no AWS CLI beside this Python")
    path = tmp_path_factory.mktemp("cli") / "aws"
    words = (sys.executable, "-I", "-S", fork_server.LAUNCHER, fork_server.address("tests.userdata.aws_cli"))
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def aws(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> LocalCloud:
    """The environment of the embedded AWS, and of no other."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_MAX_ATTEMPTS", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    return cloud


def _fresh_table(cloud: LocalCloud, shape: TableShape) -> Iterator[str]:
    name = f"{shape.name}-{uuid4().hex[:12]}"
    client = cloud.client("dynamodb")
    client.create_table(**shape.create_arguments(name))
    yield name
    client.delete_table(TableName=name)


@pytest.fixture
def receipts_table(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of an empty receipts table, also in DYNAMO_TABLE_NAME."""
    for name in _fresh_table(aws, RECEIPTS):
        monkeypatch.setenv(ENV_RECEIPTS_TABLE, name)
        yield name


@pytest.fixture
def jobs_table(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of an empty jobs table, also in JOBS_TABLE_NAME."""
    for name in _fresh_table(aws, JOBS):
        monkeypatch.setenv(ENV_JOBS_TABLE, name)
        yield name


@pytest.fixture
def queue_url(aws: LocalCloud) -> str:
    """URL of an empty FIFO queue, with the attributes that the stack gives its queues."""
    return new_stack_queue()


@pytest.fixture
def fault_proxy(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """An HTTP proxy before the embedded AWS that can answer with faults; AWS_ENDPOINT_URL points at it."""
    with FaultProxy(aws.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy
