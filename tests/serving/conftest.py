"""A tiny model and its holder, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_trainer.serving.holder import Holder
from tests.conftest import Once
from tests.packages import make_run


@pytest.fixture(scope="session")
def run_dir(once: Once) -> Path:
    """A run with a package of drawn weights, which knows MERCHANT_NAME, DATE and GRAND_TOTAL: keys 1, 2 and 3."""
    return once("run", make_run)


@pytest.fixture(scope="session")
def holder(run_dir: Path) -> Holder:
    """That model, held."""
    return Holder.fixed(run_dir)
