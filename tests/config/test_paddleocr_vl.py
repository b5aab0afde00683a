from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from receipt_trainer.config.layoutlm import ResolvedJob, ResolvedVlJob, load_any_job_file, load_job_file
from receipt_trainer.config.paddleocr_vl import BASE_MODEL, VlConfig, is_vl_model, job_config, load_vl_config
from receipt_trainer.contract.job import JobSpec
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.routing import resolve
from tests.models.paddleocr_vl.tiny import make_tiny

EXAMPLES = Path(__file__).parents[2] / "trainer" / "examples"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    """Why a configuration is refused: one line."""
    with pytest.raises(UserError) as caught:
        load_vl_config(written(tmp_path, text))
    (line,) = str(caught.value).splitlines()
    return line


def test_the_documented_defaults() -> None:
    """What a configuration leaves out is as documented."""
    config = VlConfig()
    training = config.training
    assert config.model_name_or_path == BASE_MODEL == "PaddlePaddle/PaddleOCR-VL"
    assert (training.learning_rate, training.per_device_train_batch_size) == (2e-5, 8)
    assert (training.gradient_accumulation_steps, training.num_train_epochs) == (2, 5)
    assert (training.warmup_ratio, training.weight_decay, training.max_sequence_length) == (0.1, 0.01, 2048)
    assert (config.lora.enabled, config.lora.r, config.lora.lora_alpha, config.lora.dropout) == (True, 16, 32, 0.05)
    assert config.lora.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert not config.lora.include_vision
    assert not config.loss.use_focal
    assert not config.loss.use_label_smoothing


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lora:\n  r: 0\n", ":2: lora.r: input should be greater than or equal to 1, not 0"),
        ("seed: 1\n", ":1: unknown key 'seed' (known: augmentation, dataset_path"),
        ("lora:\n  r: 8\n  rank: 8\n", ":3: unknown key 'lora.rank' (known: dropout, enabled"),
        ("loss:\n  use_focal: true\n  use_label_smoothing: true\n", ":1: loss: use_focal and use_label_smoothing"),
        ("training:\n  learning_rate: fast\n", ":2: training.learning_rate: input should be a valid number"),
        ("training:\n  bf16: true\n  bf16: false\n", ":3: 'bf16' is given twice, first in line 2"),
        ("lora:\n  enabled: no\ntraining:\n  use_quantization: yes\n", "training.use_quantization needs lora.enabled"),
        ("augmentation:\n  brightness_range: .nan\n", ":2: augmentation.brightness_range:"),
        ("[]\n", "expected a mapping"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """One line with the file, the line and the key."""
    line = refusal(tmp_path, text)
    assert line.startswith(str(tmp_path / "file.yaml"))
    assert said in line


def test_the_example_has_every_default(tmp_path: Path) -> None:
    """The example's values are the defaults, but for those that every user sets."""
    config = load_vl_config(EXAMPLES / "paddleocr_vl.yaml")
    assert config.dataset_path == "data/documents"
    defaults = VlConfig()
    assert config.lora == defaults.lora
    assert config.training == defaults.training
    assert config.loss == defaults.loss
    assert config.augmentation.model_copy(update={"enabled": False}) == defaults.augmentation
    sections = yaml.safe_load((EXAMPLES / "paddleocr_vl.yaml").read_text())
    for name in ("loss", "augmentation"):
        assert sections[name].keys() == getattr(config, name).model_dump().keys()


def test_the_example_job_is_of_this_family() -> None:
    """The job file validates, explains itself, and the first family's commands point to the right one."""
    path = EXAMPLES / "paddleocr_vl_job.yaml"
    found = load_any_job_file(path)
    assert isinstance(found, ResolvedVlJob)
    config = job_config(found.spec.model, found.training, found.data)
    assert (config.loss.use_label_smoothing, config.training.save_steps) == (True, 50)
    assert found.spec.description
    assert path.read_text().count("#") >= 3
    with pytest.raises(UserError, match="receipt-trainer vl train"):
        load_job_file(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  rank: 3\n", ":4: unknown key 'rank'"),
        ("  loss: {use_focal: true, use_label_smoothing: true}\n", ":4: loss: use_focal and use_label_smoothing"),
        ("  batch_size: 2\n  per_device_train_batch_size: 4\n", "batch_size and per_device_train_batch_size"),
        ("  fp16: true\n", "unknown key 'fp16'"),
    ],
)
def test_a_wrong_job_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """The lines of a job file of this family are validated by this family's keys."""
    head = f"job_name: a\nmodel: {BASE_MODEL}\ntraining_config:\n"
    path = written(tmp_path, f"{head}{text}data_config: {{dataset_path: here}}\n")
    with pytest.raises(UserError) as caught:
        load_any_job_file(path)
    assert said in str(caught.value)


def test_a_job_without_a_data_set_is_refused(tmp_path: Path) -> None:
    """`data_config.dataset_path` has no default: there is no table of images."""
    with pytest.raises(UserError, match="dataset_path: field required"):
        load_any_job_file(written(tmp_path, f"job_name: a\nmodel: {BASE_MODEL}\n"))


def test_the_family_follows_from_the_model(tmp_path: Path) -> None:
    """By config.json where there is a folder, by its name where there is none."""
    named_otherwise = make_tiny(tmp_path / "mine")
    other = tmp_path / "paddleocr-vl-no-more"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "layoutlm"}')
    assert is_vl_model(str(named_otherwise))
    assert not is_vl_model(str(other))
    assert is_vl_model(BASE_MODEL)
    assert is_vl_model("/mnt/training/models/paddleocr_vl_invoices")
    assert not is_vl_model("microsoft/layoutlm-base-uncased")
    assert not is_vl_model("tiny")
    path = written(tmp_path, "job_name: a\nmodel: tiny\n")
    assert isinstance(load_any_job_file(path), ResolvedJob)


def spec(**training: Any) -> JobSpec:
    return JobSpec(job_name="a", model=BASE_MODEL, training_config=training, data_config={"dataset_path": "/data"})


def test_a_resolved_job_says_all_that_it_runs_with() -> None:
    """The stored job has every key; the stack's hyperparameters, which are the first family's, stay out."""
    resolved = resolve(spec(learning_rate=1e-4, lora={"r": 4}), {"num_epochs": 50.0, "learning_rate": 6e-5})
    assert resolved.training_config["learning_rate"] == 1e-4
    assert resolved.training_config["num_train_epochs"] == 5
    assert resolved.training_config["lora"]["r"] == 4
    assert resolved.data_config["augmentation"]["enabled"] is False
    again = resolve(resolved)
    assert again == resolved


def test_the_first_familys_names_stand_for_this_ones() -> None:
    """num_epochs, batch_size and lr_scheduler, as sweeps and job files write them."""
    resolved = resolve(spec(num_epochs=2, batch_size=4, lr_scheduler="linear"))
    assert resolved.training_config["num_train_epochs"] == 2
    assert resolved.training_config["per_device_train_batch_size"] == 4
    assert resolved.training_config["lr_scheduler_type"] == "linear"
    assert not resolved.training_config.keys() & {"num_epochs", "batch_size", "lr_scheduler"}


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Key and default of every field, sections with their name before."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from rows(field.annotation, f"{name}.")
        else:
            yield f"{prefix}{name}", field.default


def shown(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"


def test_the_documents_name_every_key_and_its_default() -> None:
    """The table of keys is complete, and says what the program does."""
    text = (Path(__file__).parents[2] / "docs" / "paddleocr-vl.md").read_text()
    section = text.partition("## Configuration\n")[2].partition("\n## ")[0]
    table = [line.split(" | ")[:2] for line in section.splitlines() if line.startswith("| `")]
    assert dict(table) == {f"| `{key}`": shown(default) for key, default in rows(VlConfig)}
