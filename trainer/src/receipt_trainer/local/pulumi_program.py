"""A Pulumi program run in this process, without the pulumi CLI: what it registers is recorded, not deployed."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty
from pulumi.runtime import rpc, settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import engine_pb2, resource_pb2
from pulumi.runtime.stack import run_in_stack

from receipt_trainer.local import mocks
from receipt_trainer.local.mocks import Answer, Become, Recording, Registration, call, read
from receipt_trainer.local.stack_config import load_config, qualified

__all__ = ["Become", "Monitor", "Recording", "Registration", "load_config", "run"]

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


class Monitor(MockMonitor, Mocks):
    """pulumi's mock of the engine, and what it leaves out: URNs with all parents, options, secrets, exports, messages.

    Its methods are called from several threads.
    """

    def __init__(self, *, project: str, stack: str, region: str, become: Become, answers: Mapping[str, Answer]) -> None:
        """See `run` for the arguments."""
        super().__init__(self)
        self.project, self.stack = project, stack
        self.recording = Recording()
        self._region, self._become, self._answers = region, become, answers
        self._lock = threading.Lock()
        self._asked = threading.local()  # the request that `new_resource` is called for

    def GetDeploymentInfo(self, request: Any) -> Any:  # noqa: N802 - names of the wire
        """The features that this end supports."""
        return resource_pb2.DeploymentInfo(supportedFeatures=_FEATURES)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        """A resource to be created."""
        self._asked.request, self._asked.options = request, self._options(request)
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def ReadResource(self, request: Any) -> Any:  # noqa: N802
        """A resource that exists already."""
        self._asked.request, self._asked.options = request, {"read": True, "id": request.id}
        return super().ReadResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        """Outputs of a component; those of the stack are kept."""
        if f"::{_STACK}::" in request.urn:
            self.recording.outputs, self.recording.secret_outputs = _plain(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]

    def Log(self, request: Any) -> Any:  # noqa: N802
        """A message of the program (this is the engine's part of the wire)."""
        if request.severity > engine_pb2.DEBUG:
            with self._lock:
                self.recording.messages.append(request.message)
        return Empty()

    def call(self, args: MockCallArgs) -> Any:
        """The result of a provider function."""
        return call(args.token, _plain(args.args)[0], self._region, self._answers)

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        """Record a resource; its id, and its inputs with what it became over them: a secret input stays secret."""
        request = self._asked.request
        inputs, secret = _plain(args.inputs)
        registration = Registration(
            type=args.typ,
            name=args.name,
            urn=self.make_urn(request.parent, args.typ, args.name),
            inputs=inputs,
            parent=request.parent,
            dependencies=tuple(sorted(request.dependencies)),
            secret_inputs=secret,
            **self._asked.options,
        )
        with self._lock:
            if any(known.urn == registration.urn for known in self.recording.resources):
                raise ValueError(f"two resources are called {registration.urn}")
            self.recording.resources.append(registration)
        id_, outputs = self._made(registration)
        new = {name: value for name, value in outputs.items() if inputs.get(name) is not value}
        wrapped = {name: rpc.wrap_rpc_secret(value) if name in secret else value for name, value in new.items()}
        return id_, {**args.inputs, **wrapped}

    def _made(self, registration: Registration) -> tuple[str, dict[str, Any]]:
        if registration.read:
            arguments = {"id": registration.id, **registration.inputs}
            return registration.id, read(registration.type, arguments, self._answers) or {}
        return self._become(registration) if registration.custom else ("", {})

    def _options(self, request: Any) -> dict[str, Any]:
        return {
            "protect": request.protect,
            "retain_on_delete": request.retainOnDelete,
            "delete_before_replace": request.deleteBeforeReplace if request.deleteBeforeReplaceDefined else None,
            "ignore_changes": tuple(request.ignoreChanges),
            "replace_on_changes": tuple(request.replaceOnChanges),
            "references": {key: tuple(sorted(found.urns)) for key, found in request.propertyDependencies.items()},
            "aliases": tuple(self._alias(request, alias) for alias in request.aliases),
            "custom": request.custom,
            "id": request.importId,
        }

    def _alias(self, request: Any, alias: Any) -> str:
        """The URN that an alias names; what it leaves out is as the resource has it now."""
        if alias.WhichOneof("alias") == "urn":
            return str(alias.urn)
        spec = alias.spec
        parent = "" if spec.noParent else spec.parentUrn or request.parent
        stack, project = spec.stack or self.stack, spec.project or self.project
        return _urn(stack, project, parent, spec.type or request.type, spec.name or request.name)

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN that the engine gives: with the types of all components above, without the stack's."""
        return _urn(self.stack, self.project, parent, type_, name)


def _urn(stack: str, project: str, parent: str, kind: str, name: str) -> str:
    above = parent.split("::")[2] if parent else _STACK
    kind = kind if above == _STACK else f"{above}${kind}"
    return f"urn:pulumi:{stack}::{project}::{kind}::{name}"


def _plain(properties: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Properties as they came over the wire -> their values (secrets unwrapped), and the names of the secret ones."""
    secret = tuple(sorted(name for name, value in properties.items() if rpc.is_rpc_secret(value)))
    return {name: _integral(rpc.unwrap_rpc_secret(value)) for name, value in properties.items()}, secret


def _integral(value: Any) -> Any:
    """The wire knows only floats; a count or a port is an int."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_integral(item) for item in value]
    return {key: _integral(item) for key, item in value.items()} if isinstance(value, dict) else value


REGION: Final = "us-east-1"


def run(
    program: Path | Callable[[], Any],
    *,
    project: str = "receipt-trainer",
    stack: str = "dev",
    config: Mapping[str, Any] | None = None,
    become: Become | None = None,
    answers: Mapping[str, Answer] | None = None,
) -> Recording:
    """Run a program once; runs of one process do not see each other.

    Args:
        program: folder of `__main__.py`, or a function that registers resources.
        project: also the namespace of keys without one.
        config: as `load_config` gives it; nothing is read from files here.
        become: what a resource becomes; default: `<name>-id` and plausible outputs.
        answers: results of provider functions, and outputs of resources that are read, by token; before the known ones.

    Raises:
        LookupError: the program calls a provider function without an answer.
        Exception: the program's own, unchanged.
    """
    given = {"aws:region": REGION} | qualified(config or {}, project)
    region = given["aws:region"]
    monitor = Monitor(
        project=project,
        stack=stack,
        region=region,
        become=become or (lambda resource: mocks.become(resource, region)),
        answers=answers or {},
    )
    # The SDK keeps its state in context variables: a copy of the context ends with the run.
    contextvars.copy_context().run(_evaluate, program, monitor, given)
    monitor.recording.resources.sort(key=lambda resource: (resource.type, resource.name, resource.urn))
    return monitor.recording


def _evaluate(program: Path | Callable[[], Any], monitor: Monitor, config: dict[str, str]) -> None:
    folder = program.resolve() if isinstance(program, Path) else None
    set_all_config(config, [])
    settings.ROOT.set(None)
    settings.configure(
        settings.Settings(
            project=monitor.project,
            stack=monitor.stack,
            monitor=monitor,
            engine=monitor,
            dry_run=False,
            organization="local",
            root_directory=str(folder or Path.cwd()),
        )
    )
    with _inside(folder) if folder else nullcontext(), _uncollected(), asyncio.Runner() as runner:
        # One failure fails every output that depends on it; the first comes out of the run, the rest would be printed.
        runner.get_loop().set_exception_handler(lambda loop, context: None)
        runner.run(run_in_stack(lambda: _call(program, folder)))


def _call(program: Path | Callable[[], Any], folder: Path | None) -> None:
    # Nothing is returned: the SDK would take it for something to await.
    if folder:
        runpy.run_path(str(folder), run_name="__main__")
    elif callable(program):
        program()


@contextmanager
def _uncollected() -> Iterator[None]:
    """The garbage collector at rest: nearly all that the SDK makes is in use until a program ends, and walking over it
    again and again is a third of a run's time (0.24 of 0.77 s; without it the process needs 40 MiB more)."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """The folder as working directory; modules of its own are imported anew and forgotten afterwards."""
    directory, path = Path.cwd(), list(sys.path)
    own = {entry.stem for entry in folder.iterdir() if entry.is_dir() or entry.suffix == ".py"}
    aside = _take_modules(own)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(directory)
        sys.path[:] = path
        _take_modules(own)
        sys.modules.update(aside)


def _take_modules(own: set[str]) -> dict[str, ModuleType]:
    """Take the modules (and what is in them) whose top-level names are the folder's out of `sys.modules`."""
    taken = {name for name in sys.modules if name.partition(".")[0] in own and name != "__main__"}
    return {name: sys.modules.pop(name) for name in taken}
