"""What the engine does with an edit: which resources it replaces, in which order, and what it deletes first.

`replacements.json` says for each resource type which inputs the AWS provider (5.100.0, asked for a plan of each single
change) replaces the resource for; paths are Pulumi's, without list indices.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from receipt_trainer.local.pulumi_program import Recording, Registration

REPLACING: Mapping[str, list[str]] = json.loads((Path(__file__).parent / "replacements.json").read_text())
HOLDS_DATA = (
    "aws:dynamodb/table:Table",
    "aws:s3/bucket:Bucket",
    "aws:efs/fileSystem:FileSystem",
    "aws:efs/accessPoint:AccessPoint",
    "aws:sqs/queue:Queue",
)
"""Types that hold data or jobs."""
_NAMES = {"aws:s3/bucket:Bucket": "bucket", "aws:cloudwatch/dashboard:Dashboard": "dashboardName"}
"""The input that is the physical name, where it is not `name`."""


@dataclass(frozen=True)
class Replacement:
    """A resource that the engine replaces, before and after."""

    old: Registration
    new: Registration

    @property
    def deletes_first(self) -> bool:
        """What the program says wins; the provider deletes first what has a name that the program gave."""
        said = self.new.delete_before_replace
        return bool(own_name(self.old)) if said is None else said


def own_name(resource: Registration) -> str:
    """The physical name that the program gives to a resource; "" where Pulumi makes one up."""
    return str(resource.inputs.get(_NAMES.get(resource.type, "name")) or "")


def replacements(before: Recording, after: Recording) -> dict[str, Replacement]:
    """What an update from one to the other replaces, by URN.

    A resource is replaced if a replacing input differs, or was made of something that is replaced: its new id is not
    known before.
    """
    old, new = _by_urn(before), _by_urn(after)
    both = old.keys() & new.keys()
    found: dict[str, Replacement] = {}
    while True:
        more = {
            urn: Replacement(old[urn], new[urn])
            for urn in both - found.keys()
            if _replaced(old[urn], new[urn], found.keys())
        }
        if not more:
            return found
        found |= more


def deleted_first(before: Recording, replaced: Mapping[str, Replacement]) -> set[str]:
    """URNs of what the engine deletes before it creates anything in its place.

    These are the replaced resources with delete-before-replace, and all that was made of them by a replacing input.
    """
    old = _by_urn(before)
    found = {urn for urn, replacement in replaced.items() if replacement.deletes_first}
    while more := {urn for urn in old.keys() - found if _made_of(old[urn], found)}:
        found |= more
    return found


def left_behind(before: Recording, replaced: Mapping[str, Replacement]) -> list[str]:
    """`resource refers to resource` for each that stays, at least for now, while what it refers to is deleted first."""
    gone = deleted_first(before, replaced)
    if not gone:
        return []
    return [
        f"{resource.name} refers to {urn.rpartition('::')[2]}"
        for resource in _by_urn(before).values()
        if resource.urn not in gone
        for urn in sorted(gone.intersection(_referred_to(resource)))
    ]


def colliding(replaced: Mapping[str, Replacement]) -> list[str]:
    """Names that an update would give to a new resource while the old one still bears it."""
    return [
        f"{one.new.name} is created as '{own_name(one.new)}' before the old one goes"
        for one in replaced.values()
        if own_name(one.new) and own_name(one.new) == own_name(one.old) and not one.deletes_first
    ]


def _by_urn(recording: Recording) -> dict[str, Registration]:
    return {resource.urn: resource for resource in recording.resources if resource.custom and not resource.read}


def _referred_to(resource: Registration) -> set[str]:
    return {urn for urns in resource.references.values() for urn in urns}


def _replaced(old: Registration, new: Registration, replaced: Set[str]) -> bool:
    return _made_of(new, replaced) or any(_replaces(new.type, path) for path in _changes(old.inputs, new.inputs))


def _made_of(resource: Registration, others: Set[str]) -> bool:
    """Whether a replacing input was made of one of these."""
    replacing = {path.partition(".")[0] for path in REPLACING.get(resource.type, ())}
    return any(not others.isdisjoint(urns) for key, urns in resource.references.items() if key in replacing)


def _replaces(token: str, path: tuple[str, ...]) -> bool:
    known = [tuple(text.split(".")) for text in REPLACING[token]]
    return any(path[: len(one)] == one or one[: len(path)] == path for one in known)


def _changes(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of what differs, without list indices; JSON texts of one content are the same."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _changes(old.get(key), new.get(key), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from _changes(*(items[index] if index < len(items) else None for items in (old, new)), path)
    elif _content(old) != _content(new):
        yield path


def _content(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return getattr(value, "path", value)
