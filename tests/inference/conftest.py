"""A tiny trained run and its package, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Once
from tests.packages import make_run


@pytest.fixture(scope="session")
def run(once: Once) -> Path:
    """The folder of a run with its package. Tests do not change it."""
    return once("run", make_run)
