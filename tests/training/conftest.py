"""Synthetic receipts, their encoding and a tiny model, shared by the tests of the training room."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.prepare import Prepared, prepare
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve
from tests.models.paddleocr_vl.conftest import one_thread
from tests.worker.conftest import receipts_file

__all__ = ["one_thread", "receipts_file"]


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Single characters, as `--model tiny` has."""
    return load_tokenizer(resolve("tiny"))


@pytest.fixture(scope="session")
def prepared(receipts_file: Path, tokenizer: Any) -> Callable[..., Prepared]:
    """Encodes the receipts under the given data configuration."""

    def make(**config: Any) -> Prepared:
        return prepare(DataConfig(dataset_name=str(receipts_file), **config), tokenizer, table=None)

    return make
