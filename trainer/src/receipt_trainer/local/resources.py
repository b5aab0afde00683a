"""The stack on the embedded AWS: the program runs in this process, and what it registers is created at once."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from pulumi import RunError

from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local import (
    mocks,
    provision_compute,
    provision_data,
    provision_functions,
    provision_network,
    provision_storage,
    stand_in_wheelhouse,
)
from receipt_trainer.local.emulator import REGION, LocalCloud
from receipt_trainer.local.property_mapping import Clients, Creator
from receipt_trainer.local.pulumi_program import load_config, run
from receipt_trainer.local.recording import Registration
from receipt_trainer.local.stack_config import project_file

CREATORS: Final[dict[str, Creator]] = {
    **provision_storage.CREATORS,
    **provision_data.CREATORS,
    **provision_network.CREATORS,
    **provision_compute.CREATORS,
    **provision_functions.CREATORS,
}

_REASONS: Final = {
    "aws:imagebuilder/": "the emulator lacks Image Builder",
    "aws:efs/backupPolicy:": "the emulator lacks backup policies of file systems",
    "aws:s3/bucketPolicy:": "it refuses what comes without TLS, and the emulator speaks plain HTTP",
    "aws:sqs/redriveAllowPolicy:": "the emulator lacks redrive-allow policies",
    "aws:budgets/": "nothing is spent here",
}
_UNWRITTEN: Final = "local mode has no stand-in for it"


@dataclass(frozen=True)
class Resource:
    """One resource of the stack.

    Attributes:
        type: token.
        name: logical name.
        physical: name or id on the embedded AWS; "" if it was only recorded.
        reason: why it was only recorded; "" if it was created.
    """

    type: str
    name: str
    physical: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Deployment:
    """What stands on the embedded AWS, and what the program asked for that it cannot have; sorted by type and name.

    Attributes:
        registered: all of it as the program registered it, with the inputs that it had here.
    """

    outputs: StackOutputs
    created: list[Resource]
    recorded: list[Resource]
    registered: list[Registration]


def provision(
    program: Path,
    cloud: LocalCloud,
    *,
    stack: str = "dev",
    overrides: Mapping[str, Any] | None = None,
    with_wheels: bool = False,
) -> Deployment:
    """Run the program in a folder for a stack, create its resources, and hand the outputs to `cloud`.

    Args:
        program: folder with `Pulumi.yaml` and `__main__.py`.
        cloud: a running embedded AWS, started with `empty=True`.
        stack: whose `Pulumi.<stack>.yaml` is read, if there is one.
        overrides: configuration over that of the files; a key replaces.
        with_wheels: upload the wheelhouse that the program builds; otherwise one that nobody can install.

    Raises:
        UserError: the configuration cannot be read, or the program refuses it.
        WorldError: the embedded AWS refuses a resource; with its words.
    """
    project = project_file(program)
    name = str(project["name"])
    creation = Creation(cloud.client)
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as scratch:
        config = load_config(program, stack, overrides) | {"aws:region": REGION}
        if not with_wheels:
            config |= _wheelhouse(project, config, Path(scratch))
        try:
            recording = run(program, project=name, stack=stack, config=config, become=creation.become)
        except RunError as error:
            raise UserError(str(error)) from None
    try:
        outputs = StackOutputs.parse(recording.outputs)
    except ValueError as error:
        raise UserError(f"{program}: {error}") from None
    cloud.adopt(outputs)
    found = sorted(creation.found, key=lambda one: (one.type, one.name))
    created = [one for one in found if not one.reason]
    return Deployment(outputs, created, [one for one in found if one.reason], recording.resources)


def _wheelhouse(project: Mapping[str, Any], config: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Configuration by which the program finds its wheelhouse in `folder`; none for a program without one."""
    key = f"{project['name']}:wheelhouse"
    declared = project.get("config") or {}
    if key not in declared and "wheelhouse" not in declared:
        return {}
    own = json.loads(config.get(key) or "{}")
    settings = {"python_versions": list(stand_in_wheelhouse.PYTHONS)} | own | {"path": str(folder)}
    stand_in_wheelhouse.stand_in(folder, settings["python_versions"])
    return {key: json.dumps(settings)}


@dataclass
class Creation:
    """Creates what is registered, on the embedded AWS that `clients` lead to; `become` is called in several threads."""

    clients: Clients
    found: list[Resource] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def become(self, resource: Registration) -> tuple[str, dict[str, Any]]:
        """Create one resource, or note why not.

        Raises:
            WorldError: the embedded AWS knows such resources and refuses this one.
        """
        id_, outputs = mocks.become(resource, REGION)
        if resource.read or not resource.type.startswith("aws:"):
            return id_, outputs
        creator = CREATORS.get(resource.type)
        reason = "" if creator else _reason(resource.type)
        if creator:
            name = mocks.name_of(resource)
            try:
                id_, real = creator(resource, name, self.clients)
                outputs |= real
            except (ClientError, BotoCoreError, ResponseParserError) as error:
                reason = _lacking(error)
                if not reason:
                    raise WorldError(f"the embedded AWS refuses {resource.type} {resource.name}: {error}") from error
        physical = "" if reason else id_.rpartition("/" if id_.startswith("http") else ":")[2]
        with self._lock:
            self.found.append(Resource(resource.type, resource.name, physical, reason))
        return id_, outputs


def _reason(token: str) -> str:
    return next((reason for prefix, reason in _REASONS.items() if token.startswith(prefix)), _UNWRITTEN)


def _lacking(error: Exception) -> str:
    """Why the emulator cannot do it, if that is what an error says; else ""."""
    if isinstance(error, ResponseParserError):
        return "the emulator fails at it"  # with a page of HTML, where the service speaks XML
    if not isinstance(error, ClientError):
        return ""
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
        return f"the emulator fails at {error.operation_name}"
    if error.operation_name == "AttachRolePolicy" and error.response["Error"]["Code"] == "NoSuchEntity":
        return "the emulator has no policies that AWS manages"
    return ""
