"""The worker's environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from receipt_trainer.contract import env as env_file
from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv
from tests.contract.systemd_reader import read_like_systemd

VARIABLES = {field.alias: name for name, field in WorkerEnv.model_fields.items()}


def test_values_are_read_from_their_variables() -> None:
    """Each documented variable fills its field."""
    env = WorkerEnv.read({str(variable): f"v-{name}" for variable, name in VARIABLES.items()})
    assert env.model_dump() == {name: f"v-{name}" for name in VARIABLES.values()}
    assert set(VARIABLES) == {
        "RECEIPT_TRAINER_PROJECT",
        "RECEIPT_TRAINER_ENVIRONMENT",
        "RECEIPT_TRAINER_POOL",
        "AWS_REGION",
        "DYNAMO_TABLE_NAME",
        "JOBS_TABLE_NAME",
        "INSTANCE_REGISTRY_TABLE_NAME",
        "ARTIFACTS_BUCKET",
        "JOB_QUEUE_URL_HIGH",
        "JOB_QUEUE_URL_NORMAL",
        "AUTO_SCALING_GROUP_NAME",
        "TERMINATION_LIFECYCLE_HOOK",
        "CHECKPOINTS_DIR",
        "TRAINING_DATA_DIR",
        "HF_HOME",
        "TRAINING_DEFAULTS_PARAMETER",
        "WORKER_LOG_GROUP",
        "RECEIPT_TRAINER_CHECKPOINTS_DAYS",
        "RECEIPT_TRAINER_ROWS_DAYS",
        "RECEIPT_TRAINER_AWS_CLI",
    }


def test_an_empty_value_is_none() -> None:
    """systemd writes `NAME=` for what is not set: it counts as unset, so the default stands."""
    assert WorkerEnv.read(dict.fromkeys(map(str, VARIABLES), "")) == WorkerEnv.read({})
    assert WorkerEnv.read({names.ENV_AWS_CLI: ""}).aws_cli == "/usr/bin/aws"


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name not in VARIABLES.values()), st.text(), max_size=5))
def test_unknown_variables_are_ignored(environ: dict[str, str]) -> None:
    """Whatever else is in an environment does not matter."""
    known = {names.ENV_RECEIPTS_TABLE: "receipts"}
    rest = {name: value for name, value in environ.items() if name not in VARIABLES}
    assert WorkerEnv.read(rest | known) == WorkerEnv.read(known)


def test_it_cannot_be_changed() -> None:
    """What the stack said stays said."""
    env = WorkerEnv.read({})
    with pytest.raises(ValidationError):
        env.jobs_table = "other"  # type: ignore[misc]


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES.values())), st.text(), max_size=6))
def test_a_file_holds_what_was_written_or_names_what_it_cannot(values: dict[str, str]) -> None:
    """Any text survives the file; what systemd may drop is refused by its name."""
    refused = [name for name, value in values.items() if value == "" or env_file.why_undeliverable(value)]
    if refused:
        with pytest.raises(ValueError) as error:
            WorkerEnv.build(**values).to_env_file()
        assert str(error.value).partition(":")[0] in {*refused, *(WorkerEnv.model_fields[n].alias for n in refused)}
        return
    env = WorkerEnv.build(**values)
    assert WorkerEnv.read(read_like_systemd(env.to_env_file())) == env
    found = read_like_systemd(env.to_env_file())
    assert found.pop(names.ENV_DEFAULT_REGION, None) == env.region
    assert found == env.model_dump(by_alias=True, exclude_none=True)


def test_the_region_is_there_for_every_sdk() -> None:
    """boto3 reads AWS_DEFAULT_REGION alone, others AWS_REGION: the file has both."""
    found = read_like_systemd(WorkerEnv.build(region="eu-west-1").to_env_file())
    assert (found["AWS_REGION"], found["AWS_DEFAULT_REGION"]) == ("eu-west-1", "eu-west-1")


def test_an_unknown_field_cannot_be_written() -> None:
    """A misspelt field is refused by its name, with those that there are."""
    with pytest.raises(ValueError, match=r"^job_table: no such field .* jobs_table"):
        WorkerEnv.build(job_table="jobs")


def test_days_are_numbers_or_the_default() -> None:
    """Days come as text: a number of them, the default where there is none, and one line for what is no number."""
    assert (WorkerEnv.read({}).num_checkpoints_days, WorkerEnv.read({}).num_rows_days) == (14, 365)
    assert WorkerEnv.read({names.ENV_ROWS_DAYS: "3650"}).num_rows_days == 3650
    for text in ("0", "3651", "1.5", "-1", "ten", "\u0661"):
        with pytest.raises(ValueError, match=f"^{names.ENV_CHECKPOINTS_DAYS}=.*1 to 3650$"):
            _ = WorkerEnv.read({names.ENV_CHECKPOINTS_DAYS: text}).num_checkpoints_days
