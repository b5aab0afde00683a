"""What tests of the whole program share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.local.emulator import LocalCloud
from tests.infra.edits import house
from tests.infra.pool_cloud import PoolCloud


@pytest.fixture(scope="session")
def wheelhouse() -> Path:
    """A ready wheelhouse of empty wheels, for the workers' Pythons."""
    return house()


@pytest.fixture
def pool(aws: LocalCloud) -> Iterator[PoolCloud]:
    """A pool that is there until the end of the test."""
    made = PoolCloud(aws.client)
    yield made
    made.drop()
