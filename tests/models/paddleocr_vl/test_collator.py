"""Batches of augmented examples keep the bound on tokens, and all of the page."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from receipt_trainer.config.job_file import PaddleOcrVlJob, load_job_file
from receipt_trainer.config.paddleocr_vl import AugmentationSection, VlDataConfig, VlTrainingConfig
from receipt_trainer.data.augment import Augmenter
from receipt_trainer.data.document_set import VlExample
from receipt_trainer.models.paddleocr_vl import dataset as prepared
from receipt_trainer.models.paddleocr_vl.collator import VlCollator, shrunk
from receipt_trainer.models.paddleocr_vl.encode import IGNORED, answer_ids, count_tokens
from receipt_trainer.models.paddleocr_vl.model import load_processor
from receipt_trainer.training import arguments
from receipt_trainer.training.arguments import num_workers
from receipt_trainer.training.hardware import Machine
from tests.models.paddleocr_vl.runs import write_config


@pytest.fixture
def processor(tiny_model: Path) -> Any:
    """One that takes images of up to 448 x 448 pixels as they are."""
    found = load_processor(str(tiny_model))
    found.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 448 * 448}
    return found


def lengths(processor: Any, example: VlExample, max_length: int | None) -> list[int]:
    """Tokens of an example in 20 epochs, with a rotation by up to 45 degrees; its answer is whole in each."""
    augmentation = AugmentationSection(enabled=True, rotation_range=45)
    collator = VlCollator([example], processor, augmentation=augmentation, seed=1, max_length=max_length)
    found = []
    for epoch in range(20):
        collator.epoch = epoch
        batch = collator([0])
        labels = batch["labels"][0]
        assert labels[labels != IGNORED].tolist() == answer_ids(processor, example)
        found.append(int(batch["attention_mask"].sum()))
    return found


@pytest.mark.parametrize("size", [(224, 224), (100, 400), (60, 56)], ids=["square", "narrow", "tiny"])
def test_a_turned_page_fits_the_sequence(processor: Any, tmp_path: Path, size: tuple[int, int]) -> None:
    """Turned pages need more tokens; where those are too many they are scaled down, the others stay as they are."""
    Image.effect_noise(size, 80).convert("RGB").save(tmp_path / "page.png")
    example = VlExample("one", tmp_path / "page.png", "Read.", "", '{"grand_total":12}')
    limit = count_tokens(processor, example).total
    free = lengths(processor, example, None)
    assert max(free) > limit
    bounded = lengths(processor, example, limit)
    assert max(bounded) <= limit
    for one, other in zip(free, bounded, strict=True):
        assert one > limit or one == other
    assert lengths(processor, example, max(free)) == free


def test_all_of_the_page_is_kept() -> None:
    """A page that is scaled down has its mark in the same place; first to the pixels that it had before the turn."""
    page = Image.new("L", (200, 100), 255)
    page.paste(0, (180, 80, 200, 100))
    sizes = []
    for smaller in shrunk(page, 10_000):
        assert smaller.width * smaller.height <= 10_000 or smaller.size == page.size
        dark = np.argwhere(np.asarray(smaller) < 128) / (smaller.height, smaller.width)
        assert dark.min(axis=0) == pytest.approx([0.8, 0.9], abs=0.03)
        assert dark.max(axis=0) == pytest.approx([1.0, 1.0], abs=0.03)
        sizes.append(smaller.size)
    assert sizes[:2] == [(200, 100), (141, 70)]
    assert sizes == sorted(sizes, reverse=True)


def test_an_empty_file_to_validate_on_counts_as_none(tmp_path: Path) -> None:
    """Beside train.jsonl: a share is held out then; one with a line is taken."""
    (tmp_path / "train.jsonl").write_text("{}\n")
    for text, expected in (("\n", None), ("{}\n", tmp_path / "val.jsonl")):
        (tmp_path / "val.jsonl").write_text(text)
        assert prepared.find_files(VlDataConfig(dataset_path=str(tmp_path)))[1] == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_large_images_are_scaled_before_they_are_changed(
    processor: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1.2 times the model's bound, upright; what comes of it depends on seed, epoch and example alone."""
    photo = Image.effect_noise((600, 400), 60).resize((2400, 1600)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo", kind, exif=exif)
    sizes: list[tuple[int, int]] = []
    augment = Augmenter.augment
    monkeypatch.setattr(
        Augmenter, "augment", lambda self, image, rng: sizes.append(image.size) or augment(self, image, rng)
    )
    example = VlExample("one", tmp_path / "photo", "Read.", "", "{}")
    made = []
    for epoch in (1, 0, 1):
        collator = VlCollator([example], processor, augmentation=AugmentationSection(enabled=True), seed=1)
        collator.epoch = epoch
        made.append(collator([0])["pixel_values"])
    assert made[0].equal(made[2])
    assert not (made[0].shape == made[1].shape and made[0].equal(made[1]))
    assert len(set(sizes)) == 1
    width, height = sizes[0]
    assert width * height == pytest.approx(1.2 * 448 * 448, rel=0.01)
    assert height / width == pytest.approx(1.5, abs=0.01)


def test_a_gpu_has_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 is one for each CPU that this process may use, at most 8, and none without a GPU; other numbers are kept."""
    monkeypatch.setattr(arguments, "SHARED_MEMORY", tmp_path / "none")
    for cpus, wanted, cuda, expected in ((3, 0, True, 3), (64, 0, True, 8), (64, 0, False, 0), (64, 2, True, 2)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cpus=cpus: set(range(cpus)))
        config = VlTrainingConfig(dataloader_workers=wanted)
        assert num_workers(config, Machine(cuda, "fp32")) == expected


@pytest.mark.parametrize(("mib", "expected"), [(64, 0), (300, 1), (700, 3), (10_000, 8)])
def test_workers_fit_into_shared_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mib: int, expected: int
) -> None:
    """Three batches of each: 8 images of 752,640 pixels are 69 MiB. Fewer than were asked for are said; a full shared
    memory would let the run wait for ever."""
    monkeypatch.setattr(arguments.shutil, "disk_usage", lambda _: SimpleNamespace(free=mib * 2**20))
    assert num_workers(VlTrainingConfig(dataloader_workers=8), Machine(False, "fp32")) == expected
    assert ("of 8 processes read images" in caplog.text) == (expected < 8)


def test_measuring_is_told(tiny_model: Path, receipts: Path, tmp_path: Path) -> None:
    """Each of the 16 examples counts once, those that are left out too."""
    job = load_job_file(write_config(tmp_path / "config.yaml", tiny_model, receipts)).spec
    assert isinstance(job, PaddleOcrVlJob)
    processor, told = load_processor(str(tiny_model)), []
    data = prepared.prepare(
        job.data_config, job.training_config, processor, lambda done, total: told.append((done, total))
    )
    assert told == [(number, 16) for number in range(1, 17)]
    shortest = int(data.train.lengths.min())
    training = job.training_config.model_copy(update={"max_sequence_length": int(data.train.lengths.max())})
    assert shortest < training.max_sequence_length
    told.clear()
    prepared.prepare(job.data_config, training, processor, lambda *seen: told.append(seen))
    assert len(told) == 16


def test_an_epoch_asks_some_documents_for_some_fields(processor: Any, tmp_path: Path) -> None:
    """By share, epoch and id: the same epoch asks the same, another one others; what is learned is what is asked."""
    Image.new("RGB", (60, 56), "white").save(tmp_path / "page.png")
    answer = '{"date":"2026-01-02","tax":1,"grand_total":12,"currency":"EUR"}'
    examples = [VlExample(str(n), tmp_path / "page.png", "OCR:{}", "", answer) for n in range(12)]
    collator = VlCollator(examples, processor, seed=1, field_subsets=0.5)

    def learned(epoch: int) -> list[str]:
        collator.epoch = epoch
        rows = collator(range(12))["labels"]
        return [processor.tokenizer.decode(row[row != IGNORED], skip_special_tokens=True) for row in rows]

    first = learned(0)
    assert first == learned(0) != learned(1)
    assert 0 < first.count(answer) < 12
    assert all(json.loads(text).items() <= json.loads(answer).items() for text in first)
