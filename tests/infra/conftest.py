"""What tests of the whole program share."""

from __future__ import annotations

from pathlib import Path

import pytest

from receipt_trainer.local.provision_wheelhouse import stand_in


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ready wheelhouse of one empty wheel, for the workers' Python."""
    folder = tmp_path_factory.mktemp("stack") / "wheelhouse"
    folder.mkdir()
    stand_in(folder, "3.12")
    return folder
