"""What tests of the whole program share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.stand_in_wheelhouse import stand_in
from tests.infra.pool_cloud import PoolCloud


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ready wheelhouse of empty wheels, for the workers' Pythons."""
    folder = tmp_path_factory.mktemp("stack") / "wheelhouse"
    folder.mkdir()
    stand_in(folder)
    return folder


@pytest.fixture
def pool(aws: LocalCloud) -> Iterator[PoolCloud]:
    """A pool that is there until the end of the test."""
    made = PoolCloud(aws.client)
    yield made
    made.drop()
