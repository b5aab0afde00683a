"""The worker's environment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from receipt_trainer.contract import names
from receipt_trainer.contract.env import WorkerEnv

VARIABLES = {field.alias: name for name, field in WorkerEnv.model_fields.items()}


def test_values_are_read_from_their_variables() -> None:
    """Each documented variable fills its field."""
    env = WorkerEnv.read({str(variable): f"v-{name}" for variable, name in VARIABLES.items()})
    assert env.model_dump() == {name: f"v-{name}" for name in VARIABLES.values()}
    assert set(VARIABLES) == {
        "DYNAMO_TABLE_NAME",
        "JOBS_TABLE_NAME",
        "INSTANCE_REGISTRY_TABLE_NAME",
        "ARTIFACTS_BUCKET",
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
