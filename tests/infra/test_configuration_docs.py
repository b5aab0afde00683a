"""Pulumi.yaml and docs/configuration.md say what the settings are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from infra.setting_groups import JobsSettings
from infra.settings import StackSettings
from receipt_trainer.config.layoutlm import TrainingConfig

ROOT = Path(__file__).parents[2]
PROJECT = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
DECLARED = PROJECT["config"]
DOC = (ROOT / "docs" / "configuration.md").read_text()
TYPES = {"string": str, "boolean": bool, "object": dict}
EMPTY = {"environment": "", "alarm_email": "", "notify_email": "", "budget": {}, "training": {}, "jobs": {}}
"""How Pulumi.yaml writes what is unset."""


def defaults() -> dict[str, Any]:
    found = StackSettings.parse({}).model_dump(mode="json")
    return found | EMPTY


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def members(model: type[BaseModel]) -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        names |= {name} | (members(nested[0]) if nested else set())
    return names


def test_project_file_has_the_defaults_of_the_settings() -> None:
    """Pulumi.yaml declares exactly the keys of the settings, and with the same defaults, members included."""
    assert {key: entry["default"] for key, entry in DECLARED.items()} == defaults()


def test_defaults_of_the_project_file_change_nothing() -> None:
    """The values that Pulumi hands over for a stack that sets nothing mean what no values mean."""
    handed_over = {key: json.dumps(entry["default"]) for key, entry in DECLARED.items() if entry["type"] == "object"}
    handed_over |= {key: str(entry["default"]).lower() for key, entry in DECLARED.items() if entry["type"] != "object"}
    assert StackSettings.parse(handed_over) == StackSettings.parse({})


@pytest.mark.parametrize("key", DECLARED)
def test_every_key_has_type_default_and_description(key: str) -> None:
    """A key has the type of its default, and its description names every member."""
    entry = DECLARED[key]
    assert set(entry) == {"type", "default", "description"}
    assert isinstance(entry["default"], TYPES[entry["type"]])
    field = StackSettings.model_fields[key]
    holder = type("Holder", (BaseModel,), {"__annotations__": {key: field.annotation}})
    for member in members(holder) - {key, "gpu", "cpu"}:
        assert re.search(rf"\b{member}\b", entry["description"]), member


def test_the_required_pulumi_reads_the_requirement() -> None:
    """CLIs read `requiredPulumiVersion` from 3.219 on (pulumi's CHANGELOG), so a lower bound would promise nothing."""
    assert PROJECT["requiredPulumiVersion"] == ">=3.219.0"
    assert "3.219 or newer" in (ROOT / "docs" / "operations.md").read_text()


def rows() -> dict[str, str]:
    cells = [line.strip("|").split(" | ") for line in DOC.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): row[2].strip() for row in cells if len(row) == 4}


def test_the_manual_has_every_key_with_its_default() -> None:
    """docs/configuration.md has a row for each key and hyperparameter, and its default is the settings' own."""
    expected = flat(defaults()) | {"budget.monthly_usd": None, "budget.email": None}
    expected |= {f"jobs.{name}": field.default for name, field in JobsSettings.model_fields.items()}
    expected |= {f"training.{name}": field.default for name, field in TrainingConfig.model_fields.items()}
    found = rows()
    assert set(found) == set(expected)
    for key, value in expected.items():
        written = value if isinstance(value, str) and value else json.dumps(value)
        wanted = ("needed" if key.startswith("budget.") else "unset") if value is None else f"`{written}`"
        assert found[key] == wanted, key


def test_examples_of_the_manual_are_legal() -> None:
    """Every YAML example of the manual is a configuration that the settings accept."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOC, re.S)
    assert len(blocks) == 2
    for block in blocks:
        config = yaml.safe_load(block)["config"]
        config.pop("aws:region")
        StackSettings.parse({key.removeprefix("receipt-trainer:"): value for key, value in config.items()})


def test_commands_of_the_manual_set_known_members() -> None:
    """Every `pulumi config set` of the manual names a key or member that the settings know, and a legal value."""
    commands = re.findall(r"^\$ pulumi config set (?:--path )?'?receipt-trainer:([^ ']+)'? (\S+)$", DOC, re.M)
    assert len(commands) >= 5
    for path, text in commands:
        steps = re.findall(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)', path)
        value: Any = text
        for quoted, index, plain in reversed(steps):
            value = [value] if index else {quoted or plain: value}
        StackSettings.parse(value)
