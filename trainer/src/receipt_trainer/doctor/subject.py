"""The subject of the checks: a stack by its outputs, or by its configuration while it has none, and job files."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from receipt_trainer.aws import clients
from receipt_trainer.contract.names import PROJECT
from receipt_trainer.contract.outputs import POOL_NAMES, PoolOutputs, StackOutputs
from receipt_trainer.doctor.pulumi_state import State, read_state
from receipt_trainer.errors import UserError
from receipt_trainer.local.stack_config import load_config, project_file


class Clients:
    """Clients that are made once each: making one takes longer than most requests, and two at a time is not safe."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str | None], Any] = {}
        self._lock = threading.Lock()

    def of(self, service: str, region: str | None) -> Any:
        """See `receipt_trainer.aws.clients.brief`."""
        with self._lock:
            if (service, region) not in self._made:
                self._made[service, region] = clients.brief(service, region=region)
            return self._made[service, region]


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as it is configured; `max_instances` is None where an older stack does not say."""

    name: str
    instance_types: tuple[str, ...]
    market: str
    max_instances: int | None
    on_demand_base: int = 0


@dataclass
class Subject:
    """All that checks know from the start; read from several threads.

    Attributes:
        stack: its name; None if only a saved copy of outputs is given, or no stack at all.
        outputs: what it exports; None while it has none.
        given: `--stack` or `--outputs` as the person gave it, with a space before, for commands that are proposed.
        region: the one that is looked at; None if none is known.
        configured_region: the one that plain `aws` commands take.
        settings: the configuration by key without namespace, defaults merged in; empty without the program's folder.
        account: the account's id, once credentials are known.
    """

    now: datetime
    folder: Path
    stack: str | None = None
    outputs: StackOutputs | None = None
    given: str = ""
    region: str | None = None
    configured_region: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    job_files: tuple[Path, ...] = ()
    account: str = ""
    partition: str = "aws"
    clients: Clients = field(default_factory=Clients)

    @property
    def project(self) -> str:
        """First part of every name."""
        return self.outputs.project if self.outputs else str(self.settings.get("project") or PROJECT)

    @property
    def environment(self) -> str:
        """Second part of every name: configured, or the stack's name."""
        return self.outputs.environment if self.outputs else str(self.settings.get("environment") or self.stack)

    @property
    def nat(self) -> str | None:
        """`network.nat`; None if it is not known."""
        known = self.outputs.nat if self.outputs else None
        return known or self._setting("network", "nat")

    @property
    def parent_image(self) -> str | None:
        """`golden_ami.parent_image`; None if it is not known."""
        known = self.outputs.parent_image if self.outputs else None
        return known or self._setting("golden_ami", "parent_image")

    @property
    def bakes(self) -> bool:
        """Whether Image Builder makes an image of the stack's own."""
        if self.outputs:
            return self.outputs.image_pipeline_arn is not None
        return bool(self._setting("golden_ami", "enabled"))

    @property
    def num_zones(self) -> int:
        """`network.az_count`; 0 if it is not known."""
        return len(self.outputs.private_subnet_ids) if self.outputs else int(self._setting("network", "az_count") or 0)

    @property
    def pool_outputs(self) -> dict[str, PoolOutputs]:
        """The pools of the stack's outputs, in the order in which all commands name them."""
        exported = self.outputs.pools if self.outputs else {}
        return {name: exported[name] for name in POOL_NAMES if name in exported}

    @property
    def pools(self) -> list[Pool]:
        """The enabled pools."""
        if self.outputs:
            return [
                Pool(name, tuple(pool.instance_types), pool.market, pool.max_instances, pool.on_demand_base)
                for name, pool in self.pool_outputs.items()
            ]
        configured: Mapping[str, Any] = self.settings.get("pools") or {}
        return [_pool(name, values) for name, values in configured.items() if values.get("enabled", True)]

    @cached_property
    def state(self) -> State:
        """The stack's state as pulumi keeps it; read once. WorldError: pulumi cannot say."""
        return read_state(self.stack or "")

    def client(self, service: str) -> Any:
        """The client of a service in the region that is looked at."""
        return self.clients.of(service, self.region)

    def command(self, words: str) -> str:
        """A pulumi command for this stack."""
        return f"{words} --stack {self.stack}" if self.stack else words

    def _setting(self, group: str, member: str) -> Any:
        return (self.settings.get(group) or {}).get(member)


def _pool(name: str, values: Mapping[str, Any]) -> Pool:
    types, market = tuple(values.get("instance_types") or ()), str(values.get("market", "spot"))
    return Pool(name, types, market, values.get("max_instances"), int(values.get("on_demand_base") or 0))


def read_settings(folder: Path, stack: str) -> dict[str, Any]:
    """The configuration of a stack from the program's files, defaults merged in at every depth.

    Returns:
        values by key, those of the project without their namespace; `project` is its name. Empty where there is no
        program, or a value is encrypted, which only pulumi reads.
    """
    try:
        project = str(project_file(folder)["name"])
        defaults, own = load_config(folder, ""), load_config(folder, stack)
    except UserError:
        return {}
    merged = {key: _merged(_decoded(defaults.get(key)), _decoded(own[key])) for key in own}
    return {key.removeprefix(f"{project}:"): value for key, value in merged.items()} | {"project": project}


def _decoded(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError:
        return text


def _merged(default: Any, own: Any) -> Any:
    if not isinstance(default, dict) or not isinstance(own, dict):
        return own
    return default | {key: _merged(default.get(key), value) for key, value in own.items()}
