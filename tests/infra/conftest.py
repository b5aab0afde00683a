"""What tests of the whole program share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pulumi.runtime.proto import source_pb2

from receipt_trainer.local.emulator import LocalCloud
from tests.infra.edits import house
from tests.infra.pool_cloud import PoolCloud


@pytest.fixture(scope="session", autouse=True)
def no_stack_traces() -> Iterator[None]:
    """Where in the program a resource is made is looked at by no test; to find it out is a fifth of an evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace)
        yield


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
