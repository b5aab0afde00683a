"""The other end of the Pulumi SDK's wire, in this process: it records, answers, and asks what a resource becomes."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime import rpc
from pulumi.runtime.proto import engine_pb2, resource_pb2

from receipt_trainer.local.mock_invokes import Answer, call, read
from receipt_trainer.local.program_recording import Become, Recording, Registration

_STACK: Final = "pulumi:pulumi:Stack"

# No resource references and no output values: a resource that is an input arrives as its id. No transforms and hooks:
# they need a server of their own, so a program that uses them fails here, by name.
_FEATURES: Final = (
    resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
    resource_pb2.RESOURCE_MONITOR_FEATURE_DELETED_WITH,
    resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACEMENT_TRIGGER,
    resource_pb2.RESOURCE_MONITOR_FEATURE_REPLACE_WITH,
)


@dataclass
class Monitor:
    """Takes the place of the engine's resource monitor; its methods are called from several threads."""

    project: str
    stack: str
    region: str
    become: Become
    answers: Mapping[str, Answer]
    recording: Recording = field(default_factory=Recording)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def GetDeploymentInfo(self, request: Any) -> Any:  # noqa: N802 - names of the wire
        """What this end understands."""
        return resource_pb2.DeploymentInfo(supportedFeatures=_FEATURES)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        """A resource to be created."""
        if request.type == _STACK:
            return resource_pb2.RegisterResourceResponse(urn=self._urn(request))
        inputs, secret = plain_properties(request.object)
        registration = Registration(
            type=request.type,
            name=request.name,
            urn=self._urn(request),
            inputs=inputs,
            parent=request.parent,
            dependencies=tuple(sorted(request.dependencies)),
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            delete_before_replace=request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
            ignore_changes=tuple(request.ignoreChanges),
            replace_on_changes=tuple(request.replaceOnChanges),
            references={key: tuple(sorted(found.urns)) for key, found in request.propertyDependencies.items()},
            aliases=tuple(self._alias(request, alias) for alias in request.aliases),
            custom=request.custom,
            id=request.importId,
            secret_inputs=secret,
        )
        id_, state = self._add(registration, request.object)
        return resource_pb2.RegisterResourceResponse(urn=registration.urn, id=id_, object=state)

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        """A resource that exists already."""
        inputs, secret = plain_properties(request.properties)
        registration = Registration(
            type=request.type,
            name=request.name,
            urn=self._urn(request),
            inputs=inputs,
            parent=request.parent,
            dependencies=tuple(sorted(request.dependencies)),
            read=True,
            id=request.id,
            secret_inputs=secret,
        )
        outputs = read(request.type, {"id": request.id, **inputs}, self.answers)
        _, state = self._add(registration, request.properties, outputs)
        return resource_pb2.ReadResourceResponse(urn=registration.urn, properties=state)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        """Outputs of a component; those of the stack are kept."""
        if f"::{_STACK}::" in request.urn:
            self.recording.outputs, self.recording.secret_outputs = plain_properties(request.outputs)
        return Empty()

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        """A provider function."""
        arguments, _ = plain_properties(request.args)
        response = resource_pb2.ResourceInvokeResponse()
        # The field is a keyword of Python.
        getattr(response, "return").update(call(request.tok, arguments, self.region, self.answers))
        return response

    def RegisterPackage(self, request: Any) -> Any:  # noqa: N802
        """A provider package; nothing depends on the reference."""
        return resource_pb2.RegisterPackageResponse(ref="package")

    def SignalAndWaitForShutdown(self, request: Any) -> Any:  # noqa: N802
        """The program has ended."""
        return Empty()

    def Log(self, request: Any) -> Any:  # noqa: N802
        """A message of the program (this is the engine's part of the wire)."""
        if request.severity > engine_pb2.DEBUG:
            with self._lock:
                self.recording.messages.append(request.message)
        return Empty()

    def _urn(self, request: Any) -> str:
        return _urn(self.stack, self.project, request.parent, request.type, request.name)

    def _alias(self, request: Any, alias: Any) -> str:
        """The URN that an alias names; what it leaves out is as the resource has it now."""
        if alias.WhichOneof("alias") == "urn":
            return str(alias.urn)
        spec = alias.spec
        parent = "" if spec.noParent else spec.parentUrn or request.parent
        stack, project = spec.stack or self.stack, spec.project or self.project
        return _urn(stack, project, parent, spec.type or request.type, spec.name or request.name)

    def _add(
        self, registration: Registration, given: Struct, read_outputs: dict[str, Any] | None = None
    ) -> tuple[str, Struct]:
        with self._lock:
            if any(known.urn == registration.urn for known in self.recording.resources):
                raise ValueError(f"two resources are called {registration.urn}")
            self.recording.resources.append(registration)
        if read_outputs is not None:
            return registration.id, _state(given, registration, read_outputs)
        id_, outputs = self.become(registration) if registration.custom else ("", {})
        return id_, _state(given, registration, outputs)


def _urn(stack: str, project: str, parent: str, kind: str, name: str) -> str:
    if parent:
        above = parent.split("::")[2]
        kind = kind if above == _STACK else f"{above}${kind}"
    return f"urn:pulumi:{stack}::{project}::{kind}::{name}"


def plain_properties(struct: Struct) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Properties as they are on the wire -> their values (secrets unwrapped), and the names of the secret ones."""
    values = rpc.deserialize_properties(struct, keep_unknowns=True)
    secret = tuple(sorted(name for name, value in values.items() if rpc.is_rpc_secret(value)))
    return {name: _integral(rpc.unwrap_rpc_secret(value)) for name, value in values.items()}, secret


def _integral(value: Any) -> Any:
    """The wire knows only floats; a count or a port is an int."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return {key: _integral(item) for key, item in value.items()} if isinstance(value, dict) else value


def _state(given: Struct, registration: Registration, outputs: Mapping[str, Any]) -> Struct:
    """The inputs as they came (assets, secrets) and over them what the resource became; a secret input stays one."""
    state = Struct()
    state.CopyFrom(given)
    new = {name: value for name, value in outputs.items() if registration.inputs.get(name) is not value}
    state.update(
        {
            name: rpc.wrap_rpc_secret(value) if name in registration.secret_inputs else value
            for name, value in new.items()
        }
    )
    return state
