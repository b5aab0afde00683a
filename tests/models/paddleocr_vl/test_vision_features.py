"""Features of images that a frozen vision tower computes once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from receipt_trainer.config.paddleocr_vl import LoraSection, VlTrainingConfig
from receipt_trainer.data.document_set import VlExample, read_examples
from receipt_trainer.models.paddleocr_vl import vision_features
from receipt_trainer.models.paddleocr_vl.collator import VlCollator
from receipt_trainer.models.paddleocr_vl.family import vision_features as features_of
from receipt_trainer.models.paddleocr_vl.loss import TokenLoss, answer_loss
from receipt_trainer.models.paddleocr_vl.model import load, load_processor, prepare_for_training
from receipt_trainer.models.paddleocr_vl.trainer import values_of
from receipt_trainer.models.paddleocr_vl.vision_features import VisionFeatures


@pytest.fixture
def examples(receipts: Path, tmp_path: Path) -> list[VlExample]:
    """Receipts in a folder of this test's own."""
    return read_examples(Path(shutil.copytree(receipts, tmp_path / "receipts")) / "train.jsonl")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    loaded = load(str(tiny_model), device="cpu", dtype=torch.float32).model
    return prepare_for_training(loaded, VlTrainingConfig(gradient_checkpointing=False, lora=LoraSection(dropout=0)))


def losses(model: Any, collator: VlCollator, features: VisionFeatures | None, rounds: list[list[int]]) -> list[float]:
    return [
        float(answer_loss(model, values_of(model, collator(numbers), features), TokenLoss()).total.detach())
        for numbers in rounds
    ]


ROUNDS = [[0, 1, 2], [3, 1], [2, 0, 3]]
"""In the second round one of two images is known, in the last one all are."""


def test_losses_are_those_of_the_images(model: Any, tiny_model: Path, examples: list[VlExample]) -> None:
    """Pixels, some features and features alone give the same losses; what is known is not opened again."""
    processor = load_processor(str(tiny_model))
    expected = losses(model, VlCollator(examples, processor), None, ROUNDS)
    features = VisionFeatures(len(examples), 10**9)
    collator = VlCollator(examples, processor, features=features)
    found = losses(model, collator, features, ROUNDS[:2])
    for number in range(4):
        examples[number].image.unlink()
    found += losses(model, collator, features, ROUNDS[2:])
    assert found == pytest.approx(expected, rel=1e-5)
    assert features.grids[:4].all()
    assert not features.grids[4:].any()


def test_what_does_not_fit_is_computed_again(
    model: Any, tiny_model: Path, examples: list[VlExample], caplog: pytest.LogCaptureFixture
) -> None:
    """With room for some images the rest is as before, and one line says so."""
    processor = load_processor(str(tiny_model))
    whole = VisionFeatures(4, 10**9)
    expected = losses(model, VlCollator(examples, processor, features=whole), whole, ROUNDS)
    features = VisionFeatures(4, whole.num_bytes // 2)
    assert losses(model, VlCollator(examples, processor, features=features), features, ROUNDS) == expected
    assert 0 < int(features.grids.all(dim=1).sum()) < 4
    (line,) = (record.message for record in caplog.records if record.name == vision_features.__name__)
    assert line.startswith("image features of 50 % of the documents are kept, the rest not: they take more than")


def test_a_full_disk_ends_no_run(
    model: Any, tiny_model: Path, examples: list[VlExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that the disk refuses leaves the images to be computed each time."""
    processor = load_processor(str(tiny_model))
    expected = losses(model, VlCollator(examples, processor), None, ROUNDS)
    monkeypatch.setattr(vision_features.tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("w+b"))  # noqa: SIM115
    features = VisionFeatures(4, 10**9)
    found = losses(model, VlCollator(examples, processor, features=features), features, ROUNDS)
    assert found == pytest.approx(expected, rel=1e-5)
    assert not features.grids.any()


def test_without_a_place_for_them_nothing_is_kept(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A TMPDIR that is not there ends no run, and is said."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    assert features_of(model, VlTrainingConfig(), 1, 1) is None
    assert "image features are not kept: [Errno 2] No such file or directory" in caplog.text


@pytest.mark.parametrize(
    ("lora", "kept"),
    [
        (LoraSection(), True),
        (LoraSection(include_vision=True), False),
        (LoraSection(modules_to_save=("projector",)), False),
        (LoraSection(enabled=False), False),
    ],
    ids=["adapters", "vision too", "projector too", "all weights"],
)
def test_features_that_change_are_not_kept(tiny_model: Path, lora: LoraSection, kept: bool) -> None:
    """Only where neither vision tower nor projector learns."""
    training = VlTrainingConfig(lora=lora)
    trained = prepare_for_training(load(str(tiny_model), device="cpu", dtype=torch.float32).model, training)
    assert (features_of(trained, training, 1, 1) is not None) is kept
    assert features_of(trained, training.model_copy(update={"vision_cache_gb": 0.0}), 1, 1) is None
