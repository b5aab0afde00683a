"""Configurations of the second model family, in job files of today's form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from receipt_trainer.config.job_file import PaddleOcrVlJob, load_job_file, read_job
from receipt_trainer.config.paddleocr_vl import BASE_MODEL, DEFAULT_PROMPT, LoraSection, VlDataConfig, VlTrainingConfig
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.routing import resolve

EXAMPLES = Path(__file__).parents[2] / "trainer" / "examples"
HEAD = "family: paddleocr-vl\njob_name: a\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return path


def example(name: str) -> PaddleOcrVlJob:
    found = load_job_file(EXAMPLES / name).spec
    assert isinstance(found, PaddleOcrVlJob)
    return found


def test_the_documented_defaults() -> None:
    """What a configuration leaves out is as documented."""
    job = PaddleOcrVlJob(job_name="a", data_config=VlDataConfig(dataset_path="data"))
    training, lora, loss = job.training_config, job.training_config.lora, job.training_config.loss
    assert job.model == BASE_MODEL == "PaddlePaddle/PaddleOCR-VL"
    assert (training.learning_rate, training.per_device_train_batch_size) == (2e-5, 8)
    assert (training.gradient_accumulation_steps, training.num_train_epochs) == (2, 5)
    assert (training.warmup_ratio, training.weight_decay, training.max_sequence_length) == (0.1, 0.01, 2048)
    assert (lora.enabled, lora.r, lora.lora_alpha, lora.dropout) == (True, 16, 32, 0.05)
    assert lora.target_modules == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert not lora.include_vision
    assert (loss.use_focal, loss.use_label_smoothing) == (False, False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training_config:\n  lora:\n    r: 0\n", ":5: lora.r: input should be greater than or equal to 1, not 0"),
        ("training_config:\n  num_epochs: yes\n", ":4: num_train_epochs: must be a number, not true or false"),
        ("training_config:\n  lora: {r: yes}\n", ":4: lora.r: must be a number, not true or false"),
        ("max_failures: yes\n", ":3: max_failures: must be a number, not true or false"),
        ("seed: 1\n", ":3: unknown key 'seed' (known: data_config, description"),
        ("training_config:\n  rank: 3\n", ":4: unknown key 'rank' (known: attn_implementation, bf16"),
        ("training_config:\n  fp16: true\n", ":4: unknown key 'fp16'"),
        ("training_config:\n  lora: {r: 8, rank: 8}\n", ":4: unknown key 'lora.rank' (known: dropout, enabled"),
        ("training_config:\n  loss: {use_focal: true, use_label_smoothing: true}\n", ":4: loss: use_focal and use_"),
        ("training_config:\n  learning_rate: fast\n", ":4: learning_rate: input should be a valid number"),
        ("training_config:\n  bf16: true\n  bf16: false\n", ":5: 'bf16' is given twice, first in line 4"),
        ("training_config: {lora: {enabled: no}, use_quantization: yes}\n", ":3: use_quantization needs lora.enabled"),
        ("training_config: {batch_size: 2, per_device_train_batch_size: 4}\n", "batch_size and per_device_train_batch"),
        ("training_config: 3\n", ":3: training_config: input should be a valid dictionary, not 3"),
        ("data_config:\n  dataset_path: here\n  augmentation: {brightness_range: .nan}\n", ":5: augmentation.brig"),
        ("model: ''\n", ":3: model: string should have at least 1 character"),
    ],
)
def test_a_wrong_job_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """One line with the file, the line and the key."""
    data = "" if "data_config" in text else "data_config: {dataset_path: here}\n"
    with pytest.raises(UserError) as caught:
        load_job_file(written(tmp_path, HEAD + text + data))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(str(tmp_path / "file.yaml"))
    assert said in line


def test_a_job_without_a_data_set_is_refused(tmp_path: Path) -> None:
    """`data_config.dataset_path` has no default: there is no table of images."""
    with pytest.raises(UserError, match="dataset_path: field required"):
        load_job_file(written(tmp_path, HEAD))


def test_the_example_has_every_default() -> None:
    """The example's values are the defaults, but for those that users set, and those that train better."""
    job = example("paddleocr_vl.yaml")
    assert job.data_config.dataset_path == "data/documents"
    better = {"learning_rate": 1e-4, "warmup_ratio": 0.05, "prompt": DEFAULT_PROMPT}
    language = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert job.training_config == VlTrainingConfig(**better, lora=LoraSection(target_modules=language))
    defaults = VlDataConfig(dataset_path="data/documents")
    assert job.data_config.augmentation.model_copy(update={"enabled": False}) == defaults.augmentation
    values = yaml.safe_load((EXAMPLES / "paddleocr_vl.yaml").read_text())
    assert values["training_config"]["loss"].keys() == job.training_config.loss.model_dump().keys()
    assert values["data_config"]["augmentation"].keys() == job.data_config.augmentation.model_dump().keys()


def test_the_first_familys_command_points_to_the_right_one() -> None:
    """A job of this family is not trained by `layoutlm-cli train`, nor one of the first by `vl train`."""
    assert example("paddleocr_vl_job.yaml").training_config.save_steps == 50
    with pytest.raises(UserError, match="receipt-trainer vl train"):
        load_job_file(EXAMPLES / "paddleocr_vl_job.yaml", expected="layoutlm")
    with pytest.raises(UserError, match="layoutlm-cli train"):
        load_job_file(EXAMPLES / "line.yaml", expected="paddleocr-vl")


def asked(**training: Any) -> PaddleOcrVlJob:
    values = {"family": "paddleocr-vl", "job_name": "a", "training_config": training}
    found = read_job({**values, "data_config": {"dataset_path": "/data"}}, "test")
    assert isinstance(found, PaddleOcrVlJob)
    return found


def test_a_resolved_job_says_all_that_it_runs_with() -> None:
    """The stored job has every key; the stack's hyperparameters, which are the first family's, stay out."""
    resolved = resolve(asked(learning_rate=1e-4, lora={"r": 4}), {"num_epochs": 50.0, "learning_rate": 6e-5})
    spec = resolved.model_dump(mode="json")
    assert spec["training_config"].keys() == VlTrainingConfig.model_fields.keys() - VlTrainingConfig.added
    assert (spec["training_config"]["learning_rate"], spec["training_config"]["num_train_epochs"]) == (1e-4, 5)
    assert (spec["training_config"]["lora"]["r"], spec["data_config"]["augmentation"]["enabled"]) == (4, False)
    assert resolve(resolved) == resolved == read_job(spec, "test")


def test_the_first_familys_names_stand_for_this_ones() -> None:
    """num_epochs, batch_size and lr_scheduler, as sweeps and job files of version 0.1.0 write them."""
    training = asked(num_epochs=2, batch_size=4, lr_scheduler="linear").training_config
    assert (training.num_train_epochs, training.per_device_train_batch_size) == (2, 4)
    assert training.lr_scheduler_type == "linear"


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
    assert dict(table) == {
        f"| `{section}.{key}`": "required" if default is PydanticUndefined else shown(default)
        for section, config in (("training_config", VlTrainingConfig), ("data_config", VlDataConfig))
        for key, default in rows(config)
    }
