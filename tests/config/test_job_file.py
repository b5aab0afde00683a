"""Which family a job is of, forms of version 0.1.0, and what is stored and sent for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.config.job_file import LayoutLMJob, PaddleOcrVlJob, family_of, load_job_file, read_job
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.paddleocr_vl import BASES, ExperimentSection, VlDataConfig, VlTrainingConfig
from receipt_trainer.contract.waiting import body_of, body_version
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.submit import new_job

OLD = Path(__file__).parents[1] / "fixtures" / "0_1_0"
"""Job files of version 0.1.0, and the rows that its own code made of them (`asked_spec`, `new_job`) for `QUEUE`, the
pool gpu, a token that is the file's name and these defaults of a stack."""
QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs-gpu-normal.fifo"
DEFAULTS = {"learning_rate": 5e-5, "fp16": True}
ROWS: dict[str, dict[str, Any]] = json.loads((OLD / "rows.json").read_text())

VL = "training_config: {lora: {r: 4}}\ndata_config: {dataset_path: /data}\n"


def job_of(path: Path, token: str) -> Job:
    spec = load_job_file(path, changes={"resources": {"pool": "gpu"}}).spec
    return new_job(spec, QUEUE, defaults=DEFAULTS, client_token=f"token {token}")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ROWS)
def test_a_job_file_of_0_1_0_is_the_same_job(name: str) -> None:
    """Id, digest of what was asked, and every value of the stored spec: a resubmission is no other job."""
    row, job = ROWS[name], job_of(OLD / "jobs" / f"{name}.yaml", name)
    assert (job.job_id, job.request_hash) == (row["job_id"], row["asked"])
    assert json.loads(json.dumps(job.to_row()))["spec"] == row["spec"]
    assert job.body_version == 1, "a worker of 0.1.0 may have it"
    (note, *_) = load_job_file(OLD / "jobs" / f"{name}.yaml").notes
    assert note.endswith(f"add the line 'family: {family_of(job.spec)}'")


@pytest.mark.parametrize("name", ROWS)
def test_a_job_that_says_its_family_is_the_same_job(name: str, tmp_path: Path) -> None:
    """The line that the note asks for changes neither id nor digest; the message is left to newer workers."""
    text = (OLD / "jobs" / f"{name}.yaml").read_text()
    family = family_of(json.loads(ROWS[name]["spec"]))
    path = written(tmp_path, f"family: {family}\n{text}")
    job = job_of(path, name)
    assert (job.job_id, job.request_hash) == (ROWS[name]["job_id"], ROWS[name]["asked"])
    assert job.spec == json.loads(ROWS[name]["spec"]) | {"family": family}
    assert job.body_version == 2
    assert not any("family" in note and "add the line" in note for note in load_job_file(path).notes)


def test_what_0_1_0_does_not_know_is_written_where_it_is_used() -> None:
    """Fields that came later are written only with values other than their defaults, and are read again."""
    for config, used in (
        (TrainingConfig(export_package=False, min_steps=9), {"export_package": False, "min_steps": 9}),
        (
            DataConfig(ocr_errors=0.5, simulated_merchants=0.5, simulated_values=0.1),
            {"ocr_errors": 0.5, "simulated_merchants": 0.5, "simulated_values": 0.1},
        ),
        (
            VlTrainingConfig(
                prompt="OCR:{}", attn_implementation="eager", vision_cache_gb=0, compact_items=True, field_subsets=0.2
            ),
            {
                **{"prompt": "OCR:{}", "attn_implementation": "eager", "vision_cache_gb": 0, "compact_items": True},
                "field_subsets": 0.2,
            },
        ),
        (
            VlDataConfig(dataset_path="d", rehearsal_path="ocr.jsonl", rehearsal_share=0.1),
            {"rehearsal_path": "ocr.jsonl", "rehearsal_share": 0.1},
        ),
    ):
        kind = type(config)
        least = kind(dataset_path="d") if kind is VlDataConfig else kind()
        written, plain = config.model_dump(mode="json"), least.model_dump(mode="json")
        assert {key: value for key, value in written.items() if key not in plain} == used
        assert kind.added == used.keys()
        assert kind.model_validate(written) == config
        assert kind.model_validate(plain) == least


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_0_1_0_is_read(name: str) -> None:
    """As a worker reads it: typed, of the family that it was, and written again as it was."""
    job = Job.from_row(ROWS[name])
    spec = read_job(job.spec, "the row")
    assert isinstance(spec, PaddleOcrVlJob) == (name in ("paddleocr_vl_job", "short_names"))
    assert spec.model_dump(mode="json") == job.spec
    assert job.body_version == 1


def test_sections_of_0_1_0_are_read(tmp_path: Path) -> None:
    """What `vl train` of version 0.1.0 read is today's job with its defaults, with a note, for any command."""
    found = load_job_file(OLD / "jobs" / "paddleocr_vl.yaml")
    today = load_job_file(Path(__file__).parents[2] / "trainer" / "examples" / "paddleocr_vl.yaml").spec
    assert found.output_dir == Path("runs/paddleocr-vl")
    assert (found.spec.job_name, found.spec.description) == ("baseline", "The defaults")
    assert isinstance(found.spec, PaddleOcrVlJob)
    assert found.spec.data_config == today.data_config
    assert found.spec.model == today.model
    assert found.spec.training_config.model_copy(update={"experiment": ExperimentSection()}) == VlTrainingConfig()
    assert "sections as version 0.1.0 read them" in found.notes[0]


def test_a_configuration_of_0_1_0_needs_no_name(tmp_path: Path) -> None:
    """The run is named by the file, as then; an empty one had every default, with --train-file."""
    path = tmp_path / "my first.yaml"
    path.write_text("{}\n")
    found = load_job_file(path, expected="paddleocr-vl", changes={"data_config": {"dataset_path": "here"}})
    assert (found.spec.job_name, found.spec.family) == ("my-first", "paddleocr-vl")


def test_the_command_says_the_family_where_the_file_does_not(tmp_path: Path) -> None:
    """What `vl train` reads is of its family if nothing speaks against it."""
    path = written(tmp_path, "job_name: a\nmodel: /m/mine\n")
    data = {"data_config": {"dataset_path": "here"}}
    assert load_job_file(path, expected="paddleocr-vl", changes=data).spec.family == "paddleocr-vl"
    assert load_job_file(path, expected="layoutlm").spec.family == "layoutlm"
    path.write_text("job_name: a\nmodel: PaddlePaddle/PaddleOCR-VL\ndata_config: {dataset_path: here}\n")
    with pytest.raises(UserError, match="receipt-trainer vl train"):
        load_job_file(path, expected="layoutlm")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lora:\n  r: 0\n", ":2: lora.r: input should be greater than or equal to 1, not 0"),
        ("training:\n  seed: 1\n  learning_rate: fast\n", ":3: learning_rate: input should be a valid number"),
        ("training: 3\n", ":1: training_config: input should be a valid dictionary, not 3"),
        ("lora: {}\nseed: 1\n", ":2: unknown key 'seed' (known: data_config, description"),
        ("augmentation:\n  brightness_range: .nan\n", ":2: augmentation.brightness_range:"),
    ],
)
def test_a_wrong_section_of_0_1_0_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """The line is that of the file as it stands."""
    with pytest.raises(UserError) as caught:
        load_job_file(written(tmp_path, f"{text}dataset_path: here\n"))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "family"),
    [
        ({"family": "paddleocr-vl", "model": "tiny"}, "paddleocr-vl"),
        ({"family": "layoutlm", "model": "/m/paddleocr_vl"}, "layoutlm"),
        ({"model": "/m/mine", "data_config": {"dataset_path": "/d"}}, "paddleocr-vl"),
        ({"model": "/m/mine", "training_config": {"lora": {}}}, "paddleocr-vl"),
        ({"model": "/m/paddleocr_vl", "data_config": {"dataset_name": "dynamodb"}}, "layoutlm"),
        ({"model": "/m/mine", "training_config": {"batch_tokens": 300}}, "layoutlm"),
        ({"model": "PaddlePaddle/PaddleOCR-VL"}, "paddleocr-vl"),
        ({"model": "/m/mine", "training_config": {"num_epochs": 3}}, "layoutlm"),
        ({}, "layoutlm"),
        ({"training_config": "odd", "data_config": None, "model": 3}, "layoutlm"),
    ],
)
def test_the_family_is_said_or_follows_from_the_words(values: dict[str, Any], family: str) -> None:
    """What it says, else a key of one family alone, else the published model's name, else the first family."""
    assert family_of(values) == family


def test_no_folder_of_this_machine_decides(tmp_path: Path) -> None:
    """A folder with a model of the other family changes nothing: it may be another one where the job is trained."""
    (tmp_path / "config.json").write_text('{"model_type": "paddleocr_vl"}')
    assert family_of({"model": str(tmp_path)}) == "layoutlm"
    (tmp_path / "config.json").write_text('{"model_type": "layoutlm"}')
    assert family_of({"model": str(tmp_path), "data_config": {"dataset_path": "/d"}}) == "paddleocr-vl"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job_name: a\ntraining_config: {batch_tokens: 300, lora: {}}\n", "keys of both families"),
        ("family: bert\njob_name: a\n", ":1: family: must be layoutlm or paddleocr-vl, not 'bert'"),
        (f"family: layoutlm\njob_name: a\n{VL}", ":3: unknown key 'lora'"),
        (
            "family: layoutlm\njob_name: a\nmodel: PaddlePaddle/PaddleOCR-VL\n",
            ":3: model: PaddlePaddle/PaddleOCR-VL is",
        ),
        (f"family: paddleocr-vl\nmodel: microsoft/layoutlm-base-uncased\njob_name: a\n{VL}", ":2: model: microsoft/"),
        ("dataset_path: here\noutput_dir: 5\n", ":2: output_dir: must be the path of a folder, not 5"),
        (f"base: 2.0\njob_name: a\n{VL}", ":1: base: must be 1.0, 1.5, 1.6, not '2.0'; for others write model"),
        (f"job_name: a\nmodel: /m/mine\nbase: 1.5\n{VL}", ":3: base: it stands for the model of that name"),
        ("family: layoutlm\njob_name: a\nbase: 1.5\n", ":3: unknown key 'base'"),
    ],
)
def test_a_family_that_cannot_be_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """One line."""
    with pytest.raises(UserError) as caught:
        load_job_file(written(tmp_path, text))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("version", BASES)
def test_a_base_is_the_published_model_of_its_version(version: str, tmp_path: Path) -> None:
    """It names the model, and a recipe that trains it: all linear layers, their rate, warm-up and prompt. Version 0.1.0
    knows no prompt: its workers leave the message to newer ones."""
    spec = load_job_file(written(tmp_path, f"job_name: a\nbase: {version}\n{VL}")).spec
    assert isinstance(spec, PaddleOcrVlJob)
    assert spec.model == BASES[version]
    training = spec.training_config
    assert (training.learning_rate, training.warmup_ratio, training.prompt) == (1e-4, 0.05, "OCR:{}")
    assert (training.lora.r, len(training.lora.target_modules)) == (4, 7)
    assert new_job(spec, QUEUE).body_version == 2


@pytest.mark.parametrize(
    ("given", "rate", "modules"),
    [
        ("{learning_rate: 3e-5, lora: {target_modules: [q_proj]}}", 3e-5, 1),
        ("{lora: {enabled: false}}", 2e-5, 4),
        ("{}", 1e-4, 7),
    ],
)
def test_the_recipe_of_a_base_gives_way(tmp_path: Path, given: str, rate: float, modules: int) -> None:
    """To what the file says, and for whole models, whose rate is another."""
    text = f"job_name: a\nbase: 1.0\ntraining_config: {given}\ndata_config: {{dataset_path: /data}}\n"
    spec = load_job_file(written(tmp_path, text)).spec
    assert isinstance(spec, PaddleOcrVlJob)
    training = spec.training_config
    assert (training.learning_rate, len(training.lora.target_modules)) == (rate, modules)
    named = text.replace("base: 1.0", f"model: {BASES['1.0']}").replace(f"training_config: {given}\n", "")
    assert load_job_file(written(tmp_path, named)).spec.training_config == VlTrainingConfig()


def test_a_job_that_0_1_0_would_take_for_another_family_says_its_own(tmp_path: Path) -> None:
    """Its worker goes by the model's name: the stored job says the family, so that the worker leaves the message."""
    spec = load_job_file(written(tmp_path, f"job_name: a\nmodel: /m/mine\n{VL}")).spec
    assert new_job(spec, QUEUE).body_version == 2
    named = load_job_file(written(tmp_path, f"job_name: a\nmodel: /m/paddleocr-vl-mine\n{VL}")).spec
    assert new_job(named, QUEUE).body_version == 1


def rule_of_0_1_0(body: str) -> str | None:
    """`read_body` of version 0.1.0, as its jobs/queue.py had it: the job, or None, and the message is hidden for five
    minutes, so that a newer worker finds it."""
    said = json.loads(body)
    version = said["version"]
    if isinstance(version, bool) or not isinstance(version, int) or version < 1 or version > 1:
        return None
    return str(said["job_id"])


@pytest.mark.parametrize("says_family", [True, False])
def test_a_worker_of_0_1_0_leaves_the_new_form_to_newer_ones(says_family: bool) -> None:
    """And takes what it understands."""
    values = {"job_name": "a", "model": "tiny"} | ({"family": "layoutlm"} if says_family else {})
    job = new_job(read_job(values, "test"), QUEUE)
    assert body_version(json.loads(str(job.to_row()["spec"]))) == job.body_version
    assert rule_of_0_1_0(body_of(job.job_id, job.body_version)) == (None if says_family else job.job_id)


def test_numbers_in_quotes_are_read_and_said(tmp_path: Path) -> None:
    """What stands in quotes is the number, or the false, that it spells, and is said with its line."""
    path = tmp_path / "job.yaml"
    path.write_text(
        "family: layoutlm\njob_name: a\ntraining_config:\n  num_epochs: '3'\n  fp16: 'no'\n  learning_rate: 1e-4\n"
    )
    found = load_job_file(path)
    assert isinstance(found.spec, LayoutLMJob)
    assert (found.spec.training_config.num_epochs, found.spec.training_config.fp16) == (3, False)
    assert found.notes == (
        f"{path}:4: num_epochs: '3' in quotes is read as 3.0",
        f"{path}:5: fp16: 'no' in quotes is read as false",
    )
