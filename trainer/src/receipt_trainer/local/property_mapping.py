"""From what Pulumi's AWS provider takes to what the AWS API takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from receipt_trainer.local.recording import Registration

Clients = Callable[[str], Any]
"""boto3 client of a service by its name; may be called from several threads."""

Creator = Callable[[Registration, str, Clients], tuple[str, dict[str, Any]]]
"""Create a resource of a physical name; its id, and the outputs that cannot be told from its inputs."""


def tag_list(resource: Registration) -> list[dict[str, str]]:
    """Tags as most services take them."""
    return [{"Key": key, "Value": value} for key, value in (resource.inputs.get("tags") or {}).items()]


def tag_specification(resource: Registration, kind: str) -> list[dict[str, Any]]:
    """Tags as EC2 takes them when it creates a `kind`; empty without tags, which EC2 wants so."""
    tags = tag_list(resource)
    return [{"ResourceType": kind, "Tags": tags}] if tags else []


def given(resource: Registration, **names: str) -> dict[str, Any]:
    """The inputs that are there, by the API's names: `given(r, Description="description")`."""
    return {
        parameter: resource.inputs[name] for parameter, name in names.items() if resource.inputs.get(name) is not None
    }


def pascal(value: Any) -> Any:
    """Mappings with keys as the API writes them: `volumeSize` -> `VolumeSize`."""
    if isinstance(value, Mapping):
        return {key[:1].upper() + key[1:]: pascal(item) for key, item in value.items()}
    return [pascal(item) for item in value] if isinstance(value, list) else value
