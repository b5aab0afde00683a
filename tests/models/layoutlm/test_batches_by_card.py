"""How many tokens a batch has on a GPU where nobody says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.models.layoutlm import family
from receipt_trainer.models.layoutlm.family import LayoutLM
from receipt_trainer.training import hardware
from receipt_trainer.training.hardware import Machine, batch_tokens

GIB = 2**30
MINILM, BASE = 6 * 384, 12 * 768
MANY = 10**9


@pytest.mark.parametrize(
    ("precision", "memory", "width", "tokens", "expected"),
    [
        ("bf16", 16, MINILM, MANY, 62137),
        ("bf16", 16, BASE, MANY, 15534),
        ("fp32", 16, BASE, MANY, 7767),
        ("bf16", 141, BASE, MANY, 65536),  # the largest that was measured
        ("bf16", 141, BASE, 298_379, 745),  # SROIE's receipts: as many steps as on a CPU
        ("bf16", 141, BASE, 9_000, 700),
        ("bf16", 1, BASE, MANY, 970),
    ],
)
def test_by_memory_and_by_receipts(precision: Any, memory: int, width: int, tokens: int, expected: int) -> None:
    """Half of the card holds what a batch keeps for its gradients, and an epoch has 400 steps or batches of 700."""
    assert batch_tokens(Machine(True, precision), memory * GIB, width, tokens) == expected


def test_only_where_nobody_says_it_and_on_a_gpu(receipts_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, in job files and where examples are counted it stays 700; on a GPU the smallest card decides, and the
    number is part of the run's configuration."""
    data, console = DataConfig(dataset_name=str(receipts_file), examples="line"), Console(quiet=True)
    real = family.prepare

    def more(*args: Any, **kwargs: Any) -> Any:
        prepared = real(*args, **kwargs)
        return replace(prepared, counts=prepared.counts | {"train": prepared.counts["train"] | {"tokens": MANY}})

    monkeypatch.setattr(family, "prepare", more)

    def used(*, fills_card: bool, **training: Any) -> int:
        run = LayoutLM(model="tiny", training=TrainingConfig(**training), data=data, fills_card=fills_card)
        assert ("batch_tokens" in run.asked()) is not fills_card
        task = run.prepare(console, is_shown=False)
        assert task.fingerprint()["training_config"]["batch_tokens"] == task.hyperparameters.batch_tokens
        return task.hyperparameters.batch_tokens

    assert used(fills_card=True, device="cpu") == 700
    cards = [SimpleNamespace(total_memory=size) for size in (8 * 2**20, 2**40)]
    monkeypatch.setattr(hardware, "use_cuda", lambda config: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda card: cards[card])
    assert used(fills_card=False, precision="bf16") == 700
    assert used(fills_card=True, precision="bf16", batch_size=4) == 700
    assert used(fills_card=True, precision="fp32") == max(700, 4 * 2**20 // (120 * 128)) == 700
    cards[0].total_memory = 64 * 2**20
    assert used(fills_card=True, precision="bf16") == 32 * 2**20 // (60 * 128) == 4369
