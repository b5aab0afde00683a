"""A tiny model, receipts on disk and training processes, shared by the tests of the second model family."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.tiny import make_tiny


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small matrices gain nothing from threads, and sums in one order compare exactly."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model with random weights and its processor."""
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def receipts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with 12 receipts to train on and 4 to validate on."""
    folder = tmp_path_factory.mktemp("receipts")
    write_receipts(folder, 12)
    write_receipts(folder, 4, seed=1, name="val")
    return folder
