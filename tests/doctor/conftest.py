"""A whole stack that stands on an embedded AWS, with its state as pulumi would export it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.doctor.findings import Finding
from receipt_trainer.doctor.pulumi_state import State
from receipt_trainer.doctor.subject import Clients, Subject, read_settings
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.mocks import IMAGE, Registration
from receipt_trainer.local.pulumi_program import Recording, load_config, run
from receipt_trainer.local.resources import Creation, stand_in
from tests import rest_of_account
from tests.doctor.wire import Wire, well

ROOT = Path(__file__).parents[2]
EMAIL = "ml@example.com"
PARENT = "/parents/latest"
"""A parameter that names the parent image."""
CHANGES: dict[str, Any] = {
    "golden_ami": {"enabled": True},
    "network": {"az_count": 2, "nat": "single"},
    "alarm_email": EMAIL,
    "notify_email": EMAIL,
    "budget": {"monthly_usd": 20, "email": EMAIL},
}


@dataclass(frozen=True)
class Stood:
    """The stack: what it exports, what the program registered, and its state (`pulumi stack export`)."""

    cloud: LocalCloud
    outputs: StackOutputs
    recording: Recording
    resources: list[dict[str, Any]]


def record(folder: Path, become: Any = None, changes: dict[str, Any] | None = None) -> Recording:
    """The program with both pools, an image of its own, alarm mail and budget."""
    stand_in(folder)
    config = load_config(ROOT, "dev", {**CHANGES, **(changes or {})})
    config["receipt-trainer:wheelhouse"] = json.dumps({"path": str(folder)})
    return run(ROOT, config=config, become=become)


@pytest.fixture(scope="session")
def stood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stood]:
    """Made once; a test that breaks something of it puts it back."""
    folder = tmp_path_factory.mktemp("doctor") / "wheelhouse"
    folder.mkdir()
    with LocalCloud(empty=True) as cloud:
        creation, states = Creation(cloud.client), dict[str, dict[str, Any]]()

        def become(resource: Registration) -> tuple[str, dict[str, Any]]:
            id_, outputs = creation.become(resource)
            if not resource.read:
                states[resource.urn] = {"id": id_, "outputs": {**resource.inputs, **outputs}}
            return id_, outputs

        recording = record(folder, become)
        resources = [
            {"urn": one.urn, "type": one.type, "inputs": one.inputs, "parent": one.parent, **states.get(one.urn, {})}
            for one in recording.resources
            if not one.read
        ]
        # EC2 refuses to look for a group by an id that is none.
        groups = [one["id"] for one in resources if one["type"].endswith(":SecurityGroup")]
        real = {id_: f"sg-{number:017x}" for number, id_ in enumerate(groups)}
        real |= rest_of_account.make(cloud.client, "receipt-trainer", "dev")
        cloud.client("ssm").put_parameter(Name=PARENT, Value=IMAGE, Type="String")
        outputs = StackOutputs.parse(with_real_ids(recording.outputs, real))
        outputs = outputs.model_copy(update={"parent_image": PARENT})
        for topic in (outputs.alarm_topic_arn, outputs.notices_topic_arn):
            cloud.client("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint=EMAIL)
        yield Stood(cloud, outputs, recording, with_real_ids(resources, real))


def with_real_ids(value: Any, real: Mapping[str, str]) -> Any:
    """A value in which the ids of what was only recorded are those of what was made in its place."""
    if isinstance(value, dict):
        return {key: with_real_ids(item, real) for key, item in value.items()}
    if isinstance(value, list):
        return [with_real_ids(item, real) for item in value]
    return real.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="session")
def served(stood: Stood) -> Iterator[Wire]:
    """The embedded AWS of that stack with what it lacks before it."""
    with Wire(stood.cloud.endpoint) as wire:
        yield wire


@pytest.fixture(scope="session")
def made_clients() -> Clients:
    """Clients of that AWS, for all tests."""
    return Clients()


@pytest.fixture
def wire(stood: Stood, served: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """That AWS as the environment's one, all well."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_MAX_ATTEMPTS", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    urls = {"AWS_ENDPOINT_URL": served.url, "HF_ENDPOINT": served.url}
    for name, value in (stood.cloud.environment() | urls).items():
        monkeypatch.setenv(name, value)
    served.answers = well()
    served.calls.clear()
    return served


@pytest.fixture
def subject(stood: Stood, wire: Wire, made_clients: Clients) -> Subject:
    """That stack, looked at with credentials, its state known."""
    made = Subject(
        now=datetime.now(UTC),
        folder=ROOT,
        stack="dev",
        outputs=stood.outputs,
        given=" --stack dev",
        region="us-east-1",
        configured_region="us-east-1",
        settings=read_settings(ROOT, "dev"),
        account="123456789012",
        clients=made_clients,
    )
    made.__dict__["state"] = state_of(stood.resources)
    return made


def state_of(resources: list[dict[str, Any]], pending: tuple[tuple[str, str], ...] = ()) -> State:
    """A state as `read_state` gives it."""
    return State(tuple(resources), pending)


def with_outputs(subject: Subject, **changes: Any) -> Subject:
    """The same stack with other outputs."""
    assert subject.outputs is not None
    changed = dataclasses.replace(subject, outputs=subject.outputs.model_copy(update=changes))
    changed.__dict__["state"] = subject.__dict__["state"]
    return changed


def levels(found: list[Finding]) -> list[str]:
    """The findings' levels."""
    return [one.level for one in found]


def write_pulumi(folder: Path, outputs: Any, export: Any, version: str = "v3.260.0") -> str:
    """PATH with a `pulumi` in front that answers `version`, `stack output` and `stack export` of stack dev."""
    program = folder / "bin" / "pulumi"
    program.parent.mkdir()
    (folder / "outputs").write_text(json.dumps(outputs))
    (folder / "export").write_text(json.dumps(export, default=str))
    program.write_text(
        f'#!/bin/sh\ncase "$*" in\n'
        f'"version") echo "{version}";;\n'
        f'"stack output --json --non-interactive --stack dev") cat "{folder}/outputs";;\n'
        f'"stack export --non-interactive --stack dev") cat "{folder}/export";;\n'
        '*) echo "error: no stack named that" >&2; exit 255;;\nesac\n'
    )
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


Look = Callable[[Subject], Any]


def look(check: Look, subject: Subject) -> list[Finding]:
    """All findings of one check."""
    return list(check(subject))
