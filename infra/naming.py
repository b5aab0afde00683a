"""Names, paths and tags of what the stack creates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi


@dataclass(frozen=True)
class Naming:
    """How everything in one stack is called: project and environment come first, so that two stacks never meet."""

    project: str
    environment: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """`receipt-trainer-dev`."""
        return f"{self.project}-{self.environment}"

    def name(self, *parts: str) -> str:
        """`receipt-trainer-dev-worker-gpu` of `worker`, `gpu`: a physical name."""
        return "-".join((self.prefix, *parts))

    def path(self, *parts: str) -> str:
        """`/receipt-trainer/dev/worker` of `worker`: the name of a log group or an SSM parameter."""
        return "/" + "/".join((self.project, self.environment, *parts))

    def tags_for(self, name: str, **more: str) -> dict[str, str]:
        """Tags of the resource called `name`: the stack's own, the user's, then `more`."""
        own = {"Name": self.name(name), "Project": self.project, "Environment": self.environment}
        return {**own, **self.tags, **more}


def named(parent: pulumi.Resource, **more: Any) -> pulumi.ResourceOptions:
    """Options of a resource whose physical name is ours, not one that Pulumi makes up.

    What replaces it (another environment or region) gives it another name or place: the new one is made first, and the
    old one goes when nothing refers to it any more. Without a word of ours the provider deletes it first, while others
    still refer to it (pulumi-terraform-bridge: names that the user gives).
    """
    return pulumi.ResourceOptions(parent=parent, delete_before_replace=False, **more)
