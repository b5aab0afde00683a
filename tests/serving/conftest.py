"""A tiny model and its holder, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_trainer.serving.holder import Holder
from tests.packages import make_run


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with a package of drawn weights, which knows MERCHANT_NAME, DATE and GRAND_TOTAL."""
    return make_run(tmp_path_factory.mktemp("served") / "run")


@pytest.fixture(scope="session")
def holder(run_dir: Path) -> Holder:
    """That model, held."""
    return Holder.fixed(run_dir)
