"""What holds for the batches and the starts of both families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.models.layoutlm.collator import PackedBatches
from receipt_trainer.models.layoutlm.model import resolve
from receipt_trainer.models.paddleocr_vl.collator import CurriculumBatches
from receipt_trainer.models.paddleocr_vl.model import require_family
from receipt_trainer.models.paddleocr_vl.processor import load_processor
from tests.training.unreachable import reach_nobody

Make = Callable[[int, int, int], Any]


def by_curriculum(count: int, size: int, seed: int) -> CurriculumBatches:
    hard = np.random.default_rng(1).random(count)
    return CurriculumBatches(np.arange(count) % 7, size, seed, schedule="easy_to_hard", difficulty=hard, num_epochs=10)


BATCHES: dict[str, Make] = {
    "layoutlm": lambda count, size, seed: PackedBatches(np.arange(count), size, seed),
    "paddleocr-vl": lambda count, size, seed: CurriculumBatches(np.arange(count) % 7, size, seed),
    "paddleocr-vl, easy to hard": by_curriculum,
}


@pytest.mark.parametrize("kind", BATCHES)
@given(count=st.integers(1, 60), size=st.integers(1, 9), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_every_example_comes_once_an_epoch(kind: str, count: int, size: int, seed: int, epoch: int) -> None:
    """The batches of an epoch hold every example exactly once, all but the last of full size, in a known number."""
    batches = BATCHES[kind](count, size, seed)
    batches.set_epoch(epoch)
    drawn = list(batches)
    assert len(drawn) == len(batches)
    assert all(len(batch) == size for batch in drawn[:-1])
    assert sorted(number for batch in drawn for number in batch) == list(range(count))


@pytest.mark.parametrize("kind", BATCHES)
def test_the_order_is_a_function_of_seed_and_epoch(kind: str) -> None:
    """The same seed and epoch give the same order whatever was drawn before, another epoch or seed another."""

    def order(seed: int, epoch: int, warm: int = 0) -> list[list[int]]:
        batches = BATCHES[kind](50, 8, seed)
        for earlier in range(warm):
            batches.set_epoch(earlier)
            list(batches)
        batches.set_epoch(epoch)
        np.random.default_rng().random()
        return list(batches)

    assert order(1, 3) == order(1, 3, warm=3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


@pytest.mark.parametrize("look", [resolve, require_family, load_processor])
def test_a_hub_out_of_reach_is_no_mistake(
    look: Callable[[str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name on the hub cannot be judged then; a folder, and any name in offline mode, can."""
    reach_nobody(monkeypatch, tmp_path / "cache")
    with pytest.raises(WorldError, match="model some/model: the hub could not be reached"):
        look("some/model")
    with pytest.raises(UserError):
        look(str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError):
        look("some/model")


def test_a_hub_out_of_reach_is_no_mistake_where_a_part_of_the_model_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier run that ended while it loaded leaves such a cache: transformers says only that files are missing."""
    reach_nobody(monkeypatch, tmp_path)
    model = tmp_path / "models--some--model"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("a" * 40)
    (model / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (model / "snapshots" / ("a" * 40) / "config.json").write_text('{"model_type": "paddleocr_vl"}')
    require_family("some/model")
    with pytest.raises(WorldError, match="model some/model: the hub could not be reached"):
        load_processor("some/model")
