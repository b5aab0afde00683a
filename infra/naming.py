"""Names, paths and tags of what the stack creates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
