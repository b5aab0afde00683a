"""Experiments: what they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.config.paddleocr_vl import INSTRUCTION
from receipt_trainer.errors import UserError
from receipt_trainer.sweep.definition import short
from receipt_trainer.sweep.experiments import read_experiments
from tests.sweep.lab import BASE, write, write_lab


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_lab(tmp_path)


def test_what_each_changes(folder: Path) -> None:
    """The base first, then each file with its one change; what a file does not say is the base's."""
    found = read_experiments(folder)
    assert [one.name for one in found] == ["base", "hot", "rank-8"]
    assert [one.said for one in found] == [
        "nothing: the base",
        "training.learning_rate: 0.0001 -> 0.0005",
        "lora.r: 16 -> 8",
    ]
    assert found[1].job.training_config.per_device_train_batch_size == 4
    assert found[1].job.training_config.experiment.name is None
    assert len({one.digest for one in found}) == 3


def test_either_name_of_a_key_is_over_the_other(tmp_path: Path) -> None:
    """Base and experiment may each call a key by its short or its long name."""
    job = {"family": "paddleocr-vl", "data_config": {"dataset_path": "here"}}
    write(tmp_path, "base", job | {"training_config": {"num_epochs": 1, "per_device_train_batch_size": 2}})
    write(tmp_path, "long", job | {"training_config": {"num_train_epochs": 3}})
    write(tmp_path, "short", job | {"training_config": {"batch_size": 4}})
    assert [one.said for one in read_experiments(tmp_path)[1:]] == [
        "training.num_train_epochs: 1.0 -> 3.0",
        "training.per_device_train_batch_size: 2 -> 4",
    ]


def test_a_key_that_is_not_written_with_its_default_is_compared(tmp_path: Path) -> None:
    """Experiments may set such a key where the base does not, and the other way round; versions have their names, and
    bring no recipe of their own."""
    job = {"family": "paddleocr-vl", "data_config": {"dataset_path": "here"}}
    write(tmp_path, "base", job | {"base": "1.0", "training_config": {"prompt": "OCR:{}", "learning_rate": 3e-5}})
    write(tmp_path, "asked", {"training_config": {"prompt": INSTRUCTION}})
    write(tmp_path, "newer", {"base": 1.5, "training_config": {}})
    assert [one.said for one in read_experiments(tmp_path)[1:]] == [
        f"training.prompt: OCR:{{}} -> {short(INSTRUCTION)}",
        "model_name_or_path: PaddlePaddle/PaddleOCR-VL -> PaddlePaddle/PaddleOCR-VL-1.5",
    ]
    write(tmp_path, "base", job | {"model": "PaddlePaddle/PaddleOCR-VL", "training_config": {}})
    write(tmp_path, "asked", {"training_config": {"prompt": "Read."}})
    assert [one.said for one in read_experiments(tmp_path)[1:]] == [
        f"training.prompt: {short(INSTRUCTION)} -> Read.",
        "model_name_or_path: PaddlePaddle/PaddleOCR-VL -> PaddlePaddle/PaddleOCR-VL-1.5",
    ]


def test_several_changes_are_named_and_refused(folder: Path) -> None:
    """All files that change more than one parameter are named with what they change; unless they are allowed."""
    write(folder, "two", {"lora": {"r": 8, "dropout": 0.2}})
    write(folder, "three", {"lora": {"r": 8}, "loss": {"use_focal": True}, "training": {"weight_decay": 0}})
    with pytest.raises(UserError) as refused:
        read_experiments(folder)
    text = str(refused.value)
    assert "three.yaml (lora.r, training.weight_decay, loss.use_focal)" in text
    assert "two.yaml (lora.r, lora.dropout)" in text
    assert "hot.yaml" not in text
    assert len(read_experiments(folder, allow_several=True)) == 5


def test_a_file_that_changes_nothing(folder: Path) -> None:
    """It is refused: it would be the base again."""
    write(folder, "same", {"lora": {"r": 16}, "experiment": {"description": "other"}, "output_dir": "elsewhere"})
    with pytest.raises(UserError, match=r"same\.yaml: it changes nothing"):
        read_experiments(folder)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["learning_rate", "lora.r"], "names lora.r, which is as in the base"),
        (["lora.dropout"], "names lora.dropout"),
        (["learning_rate"], None),
        (["training.learning_rate"], None),
        (["rate"], "names rate"),
    ],
)
def test_what_is_said_to_be_tested(folder: Path, said: list[str], reason: str | None) -> None:
    """hyperparameters_under_test are the real differences, no more."""
    write(folder, "hot", {"training": {"learning_rate": 5e-4}, "experiment": {"hyperparameters_under_test": said}})
    if reason is None:
        read_experiments(folder)
        return
    with pytest.raises(UserError, match=reason):
        read_experiments(folder)


def test_a_change_that_is_not_said(folder: Path) -> None:
    """Nor less."""
    write(folder, "two", {"lora": {"r": 8, "dropout": 0.2}, "experiment": {"hyperparameters_under_test": ["lora.r"]}})
    with pytest.raises(UserError, match=r"it changes lora\.dropout, which"):
        read_experiments(folder, allow_several=True)


@pytest.mark.parametrize(
    ("scaling", "values", "rate"),
    [
        ("linear", {"per_device_train_batch_size": 16}, 4e-4),
        ("sqrt", {"per_device_train_batch_size": 16}, 2e-4),
        ("linear", {"gradient_accumulation_steps": 1}, 5e-5),
        ("none", {"per_device_train_batch_size": 16}, 1e-4),
        ("linear", {"weight_decay": 0.1}, 1e-4),
    ],
)
def test_the_learning_rate_follows_the_batch(folder: Path, scaling: Any, values: dict[str, Any], rate: float) -> None:
    """By the factor of the documents a step or its root; it is no second change, and it is said."""
    write(folder, "size", {"training": values})
    found = {one.name: one for one in read_experiments(folder, scaling=scaling)}["size"]
    assert found.job.training_config.learning_rate == pytest.approx(rate)
    assert len(found.changes) == 1
    assert ("learning rate scaled" in found.said) == (rate != 1e-4)


def test_a_rate_that_is_given_is_kept(folder: Path) -> None:
    """Scaling does not touch what an experiment says itself."""
    write(folder, "both", {"training": {"per_device_train_batch_size": 16, "learning_rate": 3e-4}})
    found = {one.name: one for one in read_experiments(folder, scaling="linear", allow_several=True)}["both"]
    assert found.job.training_config.learning_rate == 3e-4


def test_mistakes_in_the_folder(tmp_path: Path) -> None:
    """No base, nothing but a base, a wrong key with its line, two files of one name, an odd name."""
    with pytest.raises(UserError, match=r"no base\.yaml"):
        read_experiments(tmp_path)
    write(tmp_path, "base", BASE)
    with pytest.raises(UserError, match="besides the base"):
        read_experiments(tmp_path)
    (tmp_path / "hot.yaml").write_text("training:\n  learning_rat: 1\n")
    with pytest.raises(UserError, match=r"hot\.yaml:2: unknown key 'learning_rat'"):
        read_experiments(tmp_path)
    write(tmp_path, "hot", {"lora": {"r": 4}})
    write(tmp_path, "hot", {"lora": {"r": 4}}).with_suffix(".yml").write_text("lora:\n  r: 5\n")
    with pytest.raises(UserError, match="two files have the same name"):
        read_experiments(tmp_path)
    (tmp_path / "hot.yml").rename(tmp_path / "a b.yml")
    with pytest.raises(UserError, match="call it by"):
        read_experiments(tmp_path)


def test_the_base_may_be_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--base names it, inside or outside of the folder."""
    other = write(tmp_path_factory.mktemp("other"), "start", BASE)
    (folder / "base.yaml").unlink()
    assert [one.name for one in read_experiments(folder, base=other)] == ["base", "hot", "rank-8"]
    inside = write(folder, "start", BASE)
    assert [one.name for one in read_experiments(folder, base=inside)] == ["base", "hot", "rank-8"]
