"""What a stack has however many workers it runs: network, data, queues, logs, wheels, default hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pulumi
import pulumi_aws as aws

import receipt_trainer
from infra.data.file_system import FileSystem, FileSystemArgs
from infra.data.queues import JobQueues, JobQueuesArgs
from infra.data.storage import Buckets, BucketsArgs
from infra.data.tables import Tables, TablesArgs
from infra.data.training_defaults import TrainingDefaults, TrainingDefaultsArgs
from infra.iam import FlowLogRole, FlowLogRoleArgs
from infra.naming import Naming
from infra.network.vpc import Network, NetworkArgs
from infra.settings import StackSettings
from infra.watch.observability import LogGroups, LogGroupsArgs
from infra.wheelhouse import build
from infra.wheelhouse.objects import Wheelhouse, WheelhouseArgs

REPOSITORY = Path(__file__).resolve().parents[1]


def refuse_another_trainer() -> None:
    """Stop if Python finds another trainer than this repository's: workers get the wheel that is built from here.

    Yesterday's copy in the virtual environment would render yesterday's `worker.env` for today's worker.

    Raises:
        RunError: says which one it finds, and how to put it right.
    """
    found, own = Path(receipt_trainer.__file__).resolve(), (REPOSITORY / "trainer" / "src").resolve()
    if not found.is_relative_to(own):
        raise pulumi.RunError(
            f"receipt_trainer: Python finds the copy in {found.parent}, and workers would get the one in {own}; run "
            "pulumi install (elsewhere: pip install --editable ./trainer)"
        )


@dataclass(frozen=True)
class Place:
    """Where the stack stands: partition such as `aws`, region, account id, and the availability zones it uses."""

    partition: str
    region: str
    account_id: str
    zones: tuple[str, ...]

    @classmethod
    def find(cls, settings: StackSettings) -> Self:
        """Ask AWS.

        Raises:
            SettingsError: the region has fewer zones than `network.az_count`.
        """
        # Local Zones and Wavelength Zones have other prices, and no mount targets.
        only_full = aws.GetAvailabilityZonesFilterArgs(name="zone-type", values=["availability-zone"])
        # An old zone that lacks several interface endpoints and current instance types.
        found = aws.get_availability_zones(state="available", filters=[only_full], exclude_zone_ids=["use1-az3"])
        return cls(
            partition=aws.get_partition().partition,
            region=aws.get_region().region,
            account_id=aws.get_caller_identity().account_id,
            zones=tuple(settings.zones(found.names)),
        )


class Base:
    """The components that stand before any worker."""

    def __init__(self, settings: StackSettings, naming: Naming, place: Place) -> None:
        self.logs = LogGroups("logs", LogGroupsArgs(naming=naming, retention_days=settings.retention.logs_days))
        self.network = self._network(settings, naming, place)
        self.buckets = Buckets(
            "storage",
            BucketsArgs(
                naming=naming,
                old_versions_days=settings.retention.old_versions_days,
                protect_data=settings.protect_data,
            ),
        )
        self.files = FileSystem(
            "files",
            FileSystemArgs(
                naming=naming,
                private_subnet_ids=self.network.private_subnet_ids,
                security_group_id=self.network.file_system_security_group_id,
                protect_data=settings.protect_data,
            ),
        )
        self.tables = Tables("tables", TablesArgs(naming=naming, protect_data=settings.protect_data))
        self.queues = JobQueues("jobs", JobQueuesArgs(naming=naming, pools=list(settings.pools)))
        self.defaults = TrainingDefaults("training", TrainingDefaultsArgs(naming=naming, training=settings.training))
        chosen = settings.wheelhouse
        wheels = build.chosen_folder(REPOSITORY, chosen.python_versions, chosen.path)
        self.wheelhouse = Wheelhouse(
            "wheelhouse",
            WheelhouseArgs(naming=naming, bucket=self.buckets.wheels.id, folder=wheels),
        )

    def _network(self, settings: StackSettings, naming: Naming, place: Place) -> Network:
        flow_logs = FlowLogRole(
            "flow-logs",
            FlowLogRoleArgs(
                naming=naming,
                region=place.region,
                account_id=place.account_id,
                partition=place.partition,
                flow_log_group_arn=self.logs.flow.arn,
            ),
        )
        return Network(
            "network",
            NetworkArgs(
                naming=naming,
                region=place.region,
                account_id=place.account_id,
                partition=place.partition,
                cidr=settings.network.cidr,
                availability_zones=place.zones,
                nat=settings.network.nat,
                bakes=settings.golden_ami.enabled,
                flow_log_role_arn=flow_logs.role_arn,
                flow_log_group_arn=self.logs.flow.arn,
            ),
        )
