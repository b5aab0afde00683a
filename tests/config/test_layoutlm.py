"""The configurations, job files and what the command line makes of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.cli.training import configure
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import AnyJob, LayoutLMJob, load_job_file
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.yaml import read_yaml
from receipt_trainer.errors import UserError

EXAMPLES = sorted((Path(__file__).parents[2] / "trainer" / "examples").glob("*.yaml"))

DOCUMENTED = """\
job_name: weekly-2026.11
description: The form that is documented elsewhere
tags:
  team: receipts
model: microsoft/layoutlm-base-uncased
training_config:
  num_epochs: 10
  batch_size: 8
  learning_rate: 5e-5
  weight_decay: 0.01
  gradient_accumulation_steps: 2
  fp16: true
  early_stopping_patience: 3
data_config:
  dataset_name: dynamodb
  train_split: train
  eval_split: validation
  max_samples: 500
  use_sliding_window: true
  augment: false
"""


def job(tmp_path: Path, text: str | bytes) -> AnyJob:
    path = tmp_path / "job.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_job_file(path).spec


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        job(tmp_path, text)
    message = str(caught.value)
    assert len(message.splitlines()) == 1, message
    assert message.startswith(str(tmp_path / "job.yaml")), message
    return message.removeprefix(str(tmp_path / "job.yaml"))


def outcome(expected: type[Exception], call: Callable[[], Any]) -> tuple[str, Any]:
    """The message of an expected error, or the result."""
    try:
        return "", call()
    except expected as error:
        return str(error), None


def flags(**given: Any) -> tuple[LayoutLMJob | None, TrainingConfig, DataConfig]:
    return configure({"settings": (), "allowed_labels": (), "job_file": None} | given)


@pytest.mark.parametrize("model", [TrainingConfig, DataConfig])
def test_every_field_is_described(model: type[TrainingConfig | DataConfig]) -> None:
    """Every field has a description of more than its own name."""
    for name, field in model.model_fields.items():
        assert len(field.description or "") >= 12, name


def test_a_setting_names_one_field() -> None:
    """No name is a field of both configurations, so `--set NAME=VALUE` is never ambiguous."""
    assert not set(TrainingConfig.model_fields) & set(DataConfig.model_fields)


@pytest.mark.parametrize("model", [TrainingConfig, DataConfig])
def test_unknown_keys_are_named_with_the_known_ones(model: type[TrainingConfig | DataConfig]) -> None:
    """An unknown key gives one line with its name and every known one."""
    with pytest.raises(UserError) as caught:
        parse(model, {"learning_rat": 1}, "here")
    message = str(caught.value)
    assert message.startswith("here: unknown key 'learning_rat' (known: ")
    assert all(name in message for name in model.model_fields)


@pytest.mark.parametrize(
    ("model", "values", "named"),
    [
        (TrainingConfig, {"learning_rate": 0}, "learning_rate"),
        (TrainingConfig, {"learning_rate": float("nan")}, "learning_rate"),
        (TrainingConfig, {"batch_size": 0}, "batch_size"),
        (TrainingConfig, {"batch_size": 2.5}, "batch_size"),
        (TrainingConfig, {"warmup_ratio": 1}, "warmup_ratio"),
        (TrainingConfig, {"max_grad_norm": float("inf")}, "max_grad_norm"),
        (TrainingConfig, {"seed": 2**32}, "seed"),
        (TrainingConfig, {"precision": "fp8"}, "precision"),
        (TrainingConfig, {"num_epochs": True}, "num_epochs: must be a number, not true or false"),
        (TrainingConfig, {"batch_size": False}, "batch_size: must be a number, not true or false"),
        (TrainingConfig, {"fp16": True, "precision": "bf16"}, "fp16"),
        (TrainingConfig, {"fp16": False, "precision": "bf16"}, "fp16"),
        (DataConfig, {"max_length": 513}, "max_length"),
        (DataConfig, {"max_length": 64}, "window_stride (128)"),
        (DataConfig, {"window_stride": 510}, "max_length - 2 (510)"),
        (DataConfig, {"examples": "page"}, "'line', 'receipt' or 'both'"),
        (DataConfig, {"o_entity_ratio": float("inf")}, "o_entity_ratio"),
        (DataConfig, {"o_entity_ratio": -1}, "o_entity_ratio"),
        (DataConfig, {"train_split": "train"}, "eval_split"),
        (DataConfig, {"eval_dataset": "a.jsonl", "split_file": "run.json"}, "eval_dataset and split_file"),
        (DataConfig, {"allowed_labels": "DATE"}, "allowed_labels"),
        (DataConfig, {"annotated_labels": {"a\nb": 1}}, "annotated_labels.a\\nb"),
        (DataConfig, {"dataset_name": ["x" * 1000]}, "dataset_name"),
    ],
)
def test_values_out_of_range_are_named(model: type[Any], values: dict[str, Any], named: str) -> None:
    """A value out of range, or two that contradict each other, give one short line that names the field."""
    with pytest.raises(UserError) as caught:
        parse(model, values, "here")
    message = str(caught.value)
    assert named in message
    assert message.startswith("here: ")
    assert message.isprintable()
    assert len(message) < 300


def test_every_wrong_field_is_named() -> None:
    """Two mistakes are told at once."""
    with pytest.raises(UserError, match=r"^here: batch_size: .*; learning_rate: "):
        parse(TrainingConfig, {"learning_rate": 2, "batch_size": -1}, "here")


@given(
    values=st.dictionaries(
        st.sampled_from([*TrainingConfig.model_fields, *DataConfig.model_fields]) | st.text(max_size=8),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers()),
        max_size=4,
    ),
    model=st.sampled_from([TrainingConfig, DataConfig]),
)
def test_any_values_are_accepted_or_refused_in_one_line(values: dict[str, Any], model: type[Any]) -> None:
    """Whatever is given, the result is a configuration without NaN and infinity, or one printable line."""
    message, parsed = outcome(UserError, lambda: parse(model, values, "here"))
    assert message.isprintable()
    if parsed is not None:
        assert all(math.isfinite(value) for value in parsed.model_dump().values() if isinstance(value, float))


def test_the_documented_job_file_is_accepted(tmp_path: Path) -> None:
    """All keys of the documented form are known, and mean what they say; 5e-5 is a number although YAML 1.1 says no."""
    found = job(tmp_path, DOCUMENTED)
    assert found.job_name == "weekly-2026.11"
    assert found.tags == {"team": "receipts"}
    assert found.model == "microsoft/layoutlm-base-uncased"
    wanted = yaml.safe_load(DOCUMENTED)
    training = found.training_config.model_dump(exclude_unset=True)
    assert training == wanted["training_config"] | {"learning_rate": 5e-5}
    assert found.data_config.model_dump(exclude_unset=True) == wanted["data_config"]


@pytest.mark.parametrize(
    ("old", "new", "line", "named"),
    [
        ("job_name", "jobname", 1, "job_name: field required"),
        ("description", "descripton", 2, "unknown key 'descripton' (known: data_config, description"),
        ("weekly-2026.11", "../etc", 1, "job_name: must be 1 to 64 of"),
        ("  batch_size: 8", "  batchsize: 8", 8, "unknown key 'batchsize' (known: attention_dropout, batch_size"),
        ("  batch_size: 8", "  batch_size: 0", 8, "batch_size: input should be greater than or equal to 1, not 0"),
        ("  augment: false", "  augment: perhaps", 20, "augment: "),
        ("  eval_split: validation", "", 14, "train_split and eval_split are given together"),
        ("  batch_size: 8", "  batch_size: 010", 8, "batch_size: 010 is 8 in YAML: write 8, or quotes around a text"),
        ("  batch_size: 8", "  batch_size: 1:30", 8, "batch_size: 1:30 is 90 in YAML"),
        ("weekly-2026.11", "no", 1, "not False (YAML reads yes, no, on and off so: write quotes around the text)"),
        ("  train_split: train", "  dataset_name: again", 16, "'dataset_name' is given twice, first in line 15"),
        ("  fp16: true", "  2: true", 12, "2: keys should be strings"),
    ],
)
def test_a_wrong_key_is_named_with_file_and_line(tmp_path: Path, old: str, new: str, line: int, named: str) -> None:
    """A wrong key or value in a job file is named with FILE:LINE."""
    assert old in DOCUMENTED
    message = refused(tmp_path, DOCUMENTED.replace(old, new))
    assert message.startswith(f":{line}: ")
    assert named in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a list",
        b"just a text",
        b"job_name: [",
        b"job_name: a\n\tb: c",
        b"\x00",
        b"\xff\xfe\xfa",
        b"job_name: a\n---\njob_name: b",
        b"job_name: a\ndescription: 2024-13-45",
        b"job_name: !!bool maybe",
        b"job_name: !!timestamp never",
        b"job_name: !!python/object:os.system ls",
        b"? [a, b]\n: c",
        b"[" * 5000,
        b"job_name: a\ntraining_config: &a {b: *a}",
        b"job_name: a\nresources: &a {b: *a}\ntags: *a",
        b"job_name: a\ntraining_config: []",
    ],
)
def test_what_is_no_job_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Broken, cyclic, deep or dangerous YAML, and YAML that is no mapping, give one line; never a traceback."""
    refused(tmp_path, content)


@given(text=st.text(alphabet=st.sampled_from("abjob_name:-[]{}&*!|>'\"\n\t #123?%@`,."), max_size=60))
def test_any_text_is_yaml_or_a_value_error(text: str) -> None:
    """Reading YAML gives a value or a ValueError of one line."""
    message, _ = outcome(ValueError, lambda: read_yaml(text))
    assert len(message.splitlines()) <= 1


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, and a folder, are refused by name."""
    with pytest.raises(UserError, match="No such file"):
        load_job_file(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="directory"):
        load_job_file(tmp_path)


def test_an_empty_section_is_no_mistake(tmp_path: Path) -> None:
    """`training_config:` with all its keys commented out means the defaults."""
    found = job(tmp_path, "job_name: a\ntraining_config:\n  # batch_size: 8\ndata_config:\n")
    assert (found.training_config, found.data_config) == (TrainingConfig(), DataConfig())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(path: Path) -> None:
    """Every example file validates, says its family in today's form, and explains itself by comments."""
    found = load_job_file(path)
    assert found.notes == ()
    if found.spec.family == "layoutlm":
        assert configure({"job_file": path})[1:] == (found.spec.training_config, found.spec.data_config)
    assert found.spec.description
    assert path.read_text().count("#") >= 3


def test_there_are_examples() -> None:
    """The examples that the test above validates are there."""
    assert {"line", "receipt", "smoke", "paddleocr_vl", "paddleocr_vl_job"} <= {path.stem for path in EXAMPLES}


def test_flags_override_the_job_file(tmp_path: Path) -> None:
    """Defaults, then the job file, then --set, then flags; a zero and a `no` are values, too."""
    path = tmp_path / "job.yaml"
    path.write_text(DOCUMENTED + "  merge_amounts: true\n  o_entity_ratio: 2\n")
    spec, training, data = flags(
        job_file=path,
        num_epochs=3.0,
        merge_amounts=False,
        o_entity_ratio=0.0,
        settings=("weight_decay=2e-2", "augment=yes"),
    )
    assert spec is not None
    assert (training.num_epochs, training.batch_size, training.weight_decay) == (3, 8, 0.02)
    assert (data.merge_amounts, data.o_entity_ratio, data.augment, data.max_samples) == (False, 0, True, 500)


def test_the_precision_flag_overrides_fp16_of_the_job_file(tmp_path: Path) -> None:
    """`--precision bf16` wins over `fp16: true` in the file instead of contradicting it."""
    path = tmp_path / "job.yaml"
    path.write_text(DOCUMENTED)
    training = flags(job_file=path, precision="bf16")[1]
    assert (training.precision, training.fp16) == ("bf16", None)


@pytest.mark.parametrize("given_labels", [("DATE", "TIME"), ("DATE,TIME",), ("DATE, ,TIME,",)])
def test_allowed_labels_are_repeated_or_joined(given_labels: tuple[str, ...]) -> None:
    """--allowed-label may be repeated or hold several labels joined by commas; --set does the same."""
    assert flags(allowed_labels=given_labels)[2].allowed_labels == ("DATE", "TIME")
    assert flags(settings=(f"allowed_labels={','.join(given_labels)}",))[2].allowed_labels == ("DATE", "TIME")
    assert flags(settings=(f"allowed_labels=[{','.join(given_labels).replace(' ,', '')}]",))[2].allowed_labels


def test_settings_keep_texts_as_texts() -> None:
    """A quoted number stays a text, null unsets, 3e-4 is a number where one is wanted."""
    data = flags(settings=("train_split='2024'", "eval_split='1e3'", "max_samples=null"))[2]
    assert (data.train_split, data.eval_split, data.max_samples) == ("2024", "1e3", None)
    assert flags(settings=("learning_rate=3e-4",))[1].learning_rate == 3e-4


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("learning_rate", "expected KEY=VALUE"),
        ("learning_rat=1", "--set learning_rat: unknown field (known: allowed_labels"),
        ("learning_rate=[", "invalid value"),
        ("split_file=2024-13-45", "invalid value"),
        ("learning_rate=7", "learning_rate: input should be less than or equal to 1"),
        ("o_entity_ratio=.nan", "o_entity_ratio"),
        ("=1", "unknown field"),
    ],
)
def test_wrong_settings_are_named(setting: str, named: str) -> None:
    """A wrong --set gives one line that names it; whatever stands behind it is no traceback."""
    with pytest.raises(UserError) as caught:
        flags(settings=(setting,))
    assert named in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_wrong_flag_is_not_blamed_on_the_job_file(tmp_path: Path) -> None:
    """The job file is right by itself, so what is wrong afterwards is the command line's."""
    path = tmp_path / "job.yaml"
    path.write_text(DOCUMENTED)
    with pytest.raises(UserError, match=r"^command line: learning_rate: "):
        flags(job_file=path, learning_rate=7.0)
