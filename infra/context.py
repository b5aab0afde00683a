"""Where one stack stands and how everything in it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Self, TypeVar

import pulumi
import pulumi_aws as aws

from infra.settings import StackSettings

REPOSITORY: Final = Path(__file__).resolve().parents[1]
FUNCTIONS: Final = REPOSITORY / "infra" / "functions"
USERDATA: Final = REPOSITORY / "userdata"
Args = TypeVar("Args")


@dataclass(frozen=True)
class AwsContext:
    """Account, region and zones of a stack, and its names: project and environment come first, so that two stacks of
    one account never meet.

    Attributes:
        project: of Pulumi; the namespace of its settings, too.
        environment: such as `dev`.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        zones: availability zones that the stack uses.
        tags: the user's.
    """

    project: str
    environment: str
    partition: str
    region: str
    account_id: str
    zones: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def find(cls, settings: StackSettings) -> Self:
        """Ask AWS; raises SettingsError: the region has fewer zones than `network.az_count`."""
        # Local Zones and Wavelength Zones have other prices, and no mount targets.
        only_full = aws.GetAvailabilityZonesFilterArgs(name="zone-type", values=["availability-zone"])
        # An old zone that lacks several interface endpoints and current instance types.
        found = aws.get_availability_zones(state="available", filters=[only_full], exclude_zone_ids=["use1-az3"])
        project = pulumi.get_project()
        return cls(
            project=project,
            environment=settings.environment,
            partition=aws.get_partition().partition,
            region=aws.get_region().region,
            account_id=aws.get_caller_identity().account_id,
            zones=tuple(settings.zones(found.names, project)),
            tags=settings.tags,
        )

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

    def arn(self, service: str, resource: str, *, account: str | None = None) -> str:
        """ARN of `resource`, in this account or another; an empty account is left empty."""
        whose = self.account_id if account is None else account
        return f"arn:{self.partition}:{service}:{self.region}:{whose}:{resource}"


def named(parent: pulumi.Resource, **more: Any) -> pulumi.ResourceOptions:
    """Options of a resource whose physical name is ours, not one that Pulumi makes up.

    What replaces it (another environment or region) gives it another name or place: the new one is made first, and the
    old one goes when nothing refers to it. Without a word of ours the provider deletes it first, while others
    still refer to it (pulumi-terraform-bridge: names that the user gives).
    """
    return pulumi.ResourceOptions(parent=parent, delete_before_replace=False, **more)


class Component(pulumi.ComponentResource, Generic[Args]):
    """A component, with what its parts need: its name and arguments, and the options of a child.

    Its type is `receipts:infra:` and the class's name, or `kind`.
    """

    def __init__(self, name: str, args: Args, opts: pulumi.ResourceOptions | None = None, kind: str = "") -> None:
        super().__init__(f"receipts:infra:{kind or type(self).__name__}", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
