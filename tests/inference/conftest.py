"""A tiny trained run and its package, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with its package. Tests do not change it."""
    return make_run(tmp_path_factory.mktemp("packaged") / "run")
