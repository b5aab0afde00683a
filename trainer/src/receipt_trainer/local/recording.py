"""The resources and outputs of a Pulumi program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Registration:
    """One resource as the program asked for it.

    Attributes:
        type: token, such as `aws:s3/bucket:Bucket`.
        name: logical name.
        urn: as Pulumi writes it.
        inputs: by their names on the wire (camelCase), secrets unwrapped; an integral number is an int.
        parent: URN; "" for none.
        dependencies: URNs, of `depends_on` and of the inputs.
        delete_before_replace: None where the program leaves it to the provider.
        aliases: URNs that the resource had before, as the engine would resolve them.
        references: for each input, the URNs of the resources whose ids or outputs it was made of.
        custom: False for a component.
        read: True for a `.get()`, which the stack does not own.
        id: of the resource that is read or imported; "" for one to be created.
        secret_inputs: names of the inputs that are or hold a secret.
    """

    type: str
    name: str
    urn: str
    inputs: dict[str, Any]
    parent: str = ""
    dependencies: tuple[str, ...] = ()
    protect: bool = False
    retain_on_delete: bool = False
    delete_before_replace: bool | None = None
    ignore_changes: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    references: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    custom: bool = True
    read: bool = False
    id: str = ""
    secret_inputs: tuple[str, ...] = ()


@dataclass
class Recording:
    """The result of one run of a program.

    Attributes:
        resources: sorted by type and name.
        outputs: what the stack exports, secrets unwrapped.
        secret_outputs: names of the outputs that are or hold a secret.
        messages: what the program logged through `pulumi.log`.
    """

    resources: list[Registration] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    secret_outputs: tuple[str, ...] = ()
    messages: list[str] = field(default_factory=list)

    def of_type(self, token: str) -> list[Registration]:
        """The resources of one type, sorted by name; empty if there are none."""
        return [resource for resource in self.resources if resource.type == token]

    def one(self, name: str, token: str | None = None) -> Registration:
        """The resource of a logical name (and type); LookupError: there is none, or more than one."""
        found = [r for r in self.resources if r.name == name and token in (None, r.type)]
        if len(found) != 1:
            named = (
                ", ".join(r.type for r in found)
                or f"none; there are {', '.join(sorted({r.name for r in self.resources}))}"
            )
            raise LookupError(f"resource '{name}': {named}")
        return found[0]


Become = Callable[[Registration], tuple[str, dict[str, Any]]]
"""Makes a resource's results: its id and its outputs, which need not repeat the inputs. Called from several threads."""
