"""The stack's configuration, read once: `StackSettings.load(pulumi.Config())` at the top of the program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import pulumi
from pulumi.runtime import config as pulumi_config
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo, field_validator

from infra.network.subnets import plan, usable_addresses
from infra.setting_groups import (
    BudgetSettings,
    Email,
    GoldenAmiSettings,
    JobsSettings,
    NetworkSettings,
    PoolSettings,
    PoolsSettings,
    RetentionSettings,
    SettingGroup,
    Tags,
    WheelhouseSettings,
)
from receipt_trainer.config.base import explain, section_of
from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.contract.outputs import PoolName

_TAKEN_ADDRESSES: Final = 24
"""In each private subnet: interface endpoints, the mount target, an image build, and some to spare."""
_TAKEN_PUBLIC_ADDRESSES: Final = 2
"""In each public subnet: an image build or its test, and one to spare."""
_NO_SECRETS: Final = "it would be readable in names, tags or parameters; allowed: pulumi config set --plaintext"


class SettingsError(pulumi.RunError):
    """Wrong configuration; a line for each problem. Pulumi prints it without a traceback."""


def _problem_lines(model: type[BaseModel], error: ValidationError, project: str) -> list[str]:
    """A line for each thing that pydantic found: the key, what is wrong and allowed, what the key is for."""
    lines = []
    for item in error.errors(include_url=False):
        # A list whose items are all wrong is also called too short: its items have their own lines.
        # A default that follows from another member has none where that one is wrong.
        if item["type"] == "default_factory_not_called" or (item["type"] == "too_short" and item["input"]):
            continue
        path = ".".join(str(part) for part in item["loc"])
        name = path if path.isprintable() else repr(path)[1:-1]
        reason = explain(model, item).removeprefix(f"{name}: ").replace(f"unknown key '{name}'", "unknown key", 1)
        if item["type"] == "extra_forbidden" and len(item["loc"]) == 1 and "." in name:
            reason += f"; was --path left out? pulumi config set --path {project}:{name} ..."
        shown = name.removesuffix(".[key]")
        lines.append(f"{project}:{shown}: {' '.join(reason.split())}{_meaning(model, item['loc'])}")
    return lines


def _meaning(model: type[BaseModel], loc: Sequence[int | str]) -> str:
    """The purpose of the key, in brackets; empty for one that does not exist."""
    field = None
    for part in loc:
        if (found := model.model_fields.get(str(part))) is None:
            break
        field, model = found, section_of(model, str(part)) or model
    return f" ({field.description})" if field is not None else ""


def _room(network: NetworkSettings) -> int:
    """Addresses for workers."""
    subnets = plan(network.cidr, network.az_count)
    if network.nat == "public":
        return usable_addresses(subnets.public) - network.az_count * _TAKEN_PUBLIC_ADDRESSES
    return usable_addresses(subnets.private) - network.az_count * _TAKEN_ADDRESSES


NoneIfEmpty = BeforeValidator(lambda value: None if value in ({}, "") else value)


class StackSettings(SettingGroup):
    """Everything that `pulumi config set receipt-trainer:...` can say."""

    environment: str = Field(
        "dev",
        pattern=r"^[a-z](?:-?[a-z0-9])*$",
        max_length=16,
        description="Part of every name and tag, such as dev; empty: the stack's name",
    )
    network: NetworkSettings = Field(default_factory=NetworkSettings, description="The VPC")
    pools: PoolsSettings = Field(default_factory=PoolsSettings, description="The worker pools")
    training: TrainingConfig = Field(default_factory=TrainingConfig, description="Default hyperparameters of every job")
    jobs: JobsSettings = Field(default_factory=JobsSettings, description="Defaults of every job")
    golden_ami: GoldenAmiSettings = Field(default_factory=GoldenAmiSettings, description="The image of the workers")
    retention: RetentionSettings = Field(default_factory=RetentionSettings, description="How long things are kept")
    budget: Annotated[BudgetSettings | None, NoneIfEmpty] = Field(
        None, description="Monthly budget with a mail address; empty: none"
    )
    alarm_email: Annotated[Email | None, NoneIfEmpty] = Field(
        None, description="Mail address for alarms, name@example.com; empty: they only show on the dashboard"
    )
    notify_email: Annotated[Email | None, NoneIfEmpty] = Field(
        None, description="Mail address for notices of jobs; empty: no mail, unless an address is subscribed by hand"
    )
    protect_data: bool = Field(True, description="Tables, buckets and file system outlive pulumi destroy")
    replace_data: bool = Field(False, description="An edit may replace what holds data by something empty")
    tags: Tags = Field(
        default_factory=dict,
        description="Tags of every resource, beside Name, Project and Environment; keys of 1 to 128 of A-Z a-z 0-9 "
        "+ - = . _ : /, values of up to 256 letters, digits, spaces and + - = . _ : / @",
    )
    wheelhouse: WheelhouseSettings = Field(default_factory=WheelhouseSettings, description="The workers' wheels")

    @field_validator("pools")
    @classmethod
    def _fits(cls, value: PoolsSettings, info: ValidationInfo) -> PoolsSettings:
        pools = [pool for pool in (value.gpu, value.cpu) if pool.enabled]
        if not pools:
            raise ValueError("no pool is enabled; allowed: enabled true for gpu, cpu or both")
        network, wanted = info.data.get("network"), sum(pool.max_instances for pool in pools)
        if network is not None and wanted > (room := _room(network)):
            raise ValueError(
                f"{wanted} instances (max_instances of all pools) find no addresses in {network.cidr} with "
                f"network.az_count {network.az_count} and network.nat {network.nat}; allowed: up to {room}, or a "
                "larger network.cidr"
            )
        return value

    @property
    def enabled_pools(self) -> dict[PoolName, PoolSettings]:
        """The pools that there are."""
        both: dict[PoolName, PoolSettings] = {"gpu": self.pools.gpu, "cpu": self.pools.cpu}
        return {name: pool for name, pool in both.items() if pool.enabled}

    def zones(self, available: Sequence[str], project: str = "receipt-trainer") -> list[str]:
        """The first `network.az_count` zones of the region; raises SettingsError: the region has fewer."""
        count = self.network.az_count
        if count > len(available):
            what = f"{count} is above the number of zones here ({len(available)}: {', '.join(available)})"
            raise SettingsError(f"{project}:network.az_count: {what}; allowed: 1 to {len(available)}")
        return sorted(available)[:count]

    @classmethod
    def parse(cls, values: Mapping[str, Any], project: str = "receipt-trainer", stack: str = "dev") -> StackSettings:
        """Settings from values by key, objects as mappings or as JSON text.

        Raises SettingsError: one line for each problem, with the full key, what is wrong, and what is allowed.
        """
        decoded, problems = _decode(values, project)
        decoded["environment"] = decoded.get("environment") or stack
        try:
            settings = cls.model_validate(decoded)
        except ValidationError as error:
            problems += _problem_lines(cls, error, project)
        if problems:
            raise SettingsError("\n".join(problems))
        return settings

    @classmethod
    def load(cls, config: pulumi.Config) -> StackSettings:
        """Settings of the current stack; an unknown key is refused, too.

        Raises SettingsError: see `parse`; it ends the preview without a traceback.
        """
        # Every value of the namespace, known or not: pulumi.Config only answers for names it is asked for.
        prefix, given = f"{config.name}:", {**pulumi_config.get_config_env(), **pulumi_config.CONFIG.get()}
        values = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        secret = [key for key in values if pulumi_config.is_config_secret(f"{config.name}:{key}")]
        if secret:
            lines = (f"{config.name}:{key}: is set with --secret; {_NO_SECRETS}" for key in secret)
            raise SettingsError("\n".join(lines))
        return cls.parse(values, config.name, pulumi.get_stack())


def _decode(values: Mapping[str, Any], project: str) -> tuple[dict[str, Any], list[str]]:
    """Objects out of their JSON texts; a null is a member left out."""
    decoded: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in values.items():
        if isinstance(value, str) and value and key in _OBJECTS:
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                problems.append(
                    f"{project}:{key}: is not JSON; allowed: an object, as pulumi config set --path writes it"
                )
                continue
        if value not in (None, ""):
            decoded[key] = _without_nulls(value)
    return decoded, problems


def _without_nulls(value: Any, depth: int = 0) -> Any:
    if not isinstance(value, dict) or depth > 3:
        return value
    return {key: _without_nulls(item, depth + 1) for key, item in value.items() if item is not None}


_OBJECTS: Final = frozenset(
    name
    for name in StackSettings.model_fields
    if name not in ("environment", "alarm_email", "notify_email", "protect_data", "replace_data")
)
