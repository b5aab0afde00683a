"""Synthetic receipts, their encoding and a tiny model, shared by the tests of the training room."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.data.prepare import Prepared, prepare
from receipt_trainer.data.sources.record import to_record
from receipt_trainer.data.synthetic import generate
from receipt_trainer.models.layoutlm.model import load_tokenizer, resolve


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small matrices gain nothing from threads, and sums in one order compare exactly."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def receipts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine synthetic receipts as JSON lines."""
    path = tmp_path_factory.mktemp("receipts") / "receipts.jsonl"
    lines = [json.dumps(to_record(receipt), ensure_ascii=False) for receipt in generate(9, 12)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


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
