"""What runs jobs: roles, the image, and one pool of instances for each kind of job."""

from __future__ import annotations

from typing import Any

import pulumi

from infra import preview_checks
from infra.base import Base, Place
from infra.data.file_system import FileSystemAccess, FileSystemAccessArgs
from infra.iam import ImageExpiryRole, ImageExpiryRoleArgs, Roles, RolesArgs, SilenceRole, SilenceRoleArgs
from infra.image.expiry import ImageExpiry, ImageExpiryArgs
from infra.image.golden_ami import GoldenAmi, GoldenAmiArgs, recipe_name
from infra.naming import Naming
from infra.pools.user_data import WorkerData
from infra.pools.worker_pool import WorkerPool, WorkerPoolArgs
from infra.settings import StackSettings
from infra.watch.silent_instances import Notices, NoticesArgs, SilentInstances, SilentInstancesArgs
from receipt_trainer.contract.outputs import PoolName


class Workers:
    """Roles, Golden AMI and pools over a base."""

    def __init__(self, settings: StackSettings, naming: Naming, place: Place, base: Base) -> None:
        self._settings, self._naming, self._place, self._base = settings, naming, place, base
        self._access_points = [base.files.training_access_point_arn, base.files.checkpoints_access_point_arn]
        self.roles = self._roles()
        self._access = FileSystemAccess(
            "files-access",
            FileSystemAccessArgs(
                file_system_id=base.files.file_system_id,
                file_system_arn=base.files.file_system_arn,
                access_point_arns=self._access_points,
                worker_role_arn=self.roles.worker_role_arn,
            ),
        )
        preview_checks.warn(settings.golden_ami.parent_image, place.region)
        self.image = self._golden_ami()
        data = self._worker_data()
        self.pools = {pool: self._pool(pool, data) for pool in settings.pools}
        notices = NoticesArgs(naming=naming, email=settings.notify_email)
        self.notices = Notices("notices", notices)
        self.silence = self._silence()
        if settings.golden_ami.enabled:
            self._image_expiry()

    def outputs_of(self, pool: PoolName) -> dict[str, Any]:
        """What the stack exports of a pool: the fields of the contract's `PoolOutputs`."""
        chosen = self._settings.pools[pool]
        return {
            "queue_urls": self._base.queues.urls[pool],
            "dead_letter_queue_url": self._base.queues.dead_letter_urls[pool],
            "auto_scaling_group": self.pools[pool].group_name,
            "launch_template_id": self.pools[pool].launch_template_id,
            "instance_types": list(chosen.instance_types),
            "market": chosen.market,
            "max_instances": chosen.max_instances,
            "on_demand_base": chosen.on_demand_base,
        }

    def _roles(self) -> Roles:
        base, place = self._base, self._place
        return Roles(
            "roles",
            RolesArgs(
                naming=self._naming,
                region=place.region,
                account_id=place.account_id,
                partition=place.partition,
                receipts_table_arn=base.tables.receipts.arn,
                jobs_table_arn=base.tables.jobs.arn,
                instances_table_arn=base.tables.instances.arn,
                artifacts_bucket_arn=base.buckets.artifacts.arn,
                wheels_bucket_arn=base.buckets.wheels.arn,
                wheelhouse_parameter_arn=base.wheelhouse.parameter_arn,
                queue_arns=[arn for arns in base.queues.arns.values() for arn in arns.values()],
                file_system_arn=base.files.file_system_arn,
                access_point_arns=self._access_points,
                parameter_arns=[base.defaults.parameter_arn],
                parent_image=self._settings.golden_ami.parent_image,
                pools=list(self._settings.pools),
                log_group_arns=[base.logs.boot.arn, base.logs.worker.arn],
                bakes=self._settings.golden_ami.enabled,
            ),
        )

    def _golden_ami(self) -> GoldenAmi:
        base, bake = self._base, self._settings.golden_ami
        return GoldenAmi(
            "image",
            GoldenAmiArgs(
                naming=self._naming,
                region=self._place.region,
                account_id=self._place.account_id,
                parent_image=bake.parent_image,
                enabled=bake.enabled,
                schedule=bake.schedule,
                builder_instance_profile_name=self.roles.builder_instance_profile_name,
                execution_role_arn=self.roles.image_builder_execution_role_arn,
                subnet_id=base.network.builder_subnet_id,
                security_group_id=base.network.builder_security_group_id,
                wheelhouse_parameter=base.wheelhouse.parameter_name,
            ),
            # A schedule may start a bake at once: its wheels, and the parameter that names them, must be there.
            pulumi.ResourceOptions(depends_on=[base.wheelhouse]),
        )

    def _worker_data(self) -> WorkerData:
        base = self._base
        return WorkerData(
            naming=self._naming,
            region=self._place.region,
            boot={
                "wheels_bucket": base.buckets.wheels.id,
                "wheelhouse_prefix": base.wheelhouse.prefix,
                "wheelhouse_hash": base.wheelhouse.content_hash,
                "file_system_id": base.files.file_system_id,
                "checkpoints_access_point_id": base.files.checkpoints_access_point_id,
                "training_access_point_id": base.files.training_access_point_id,
                "boot_log_group": base.logs.boot.name,
                "worker_log_group": base.logs.worker.name,
                "instances_table": base.tables.instances.name,
            },
            worker={
                "receipts_table": base.tables.receipts.name,
                "jobs_table": base.tables.jobs.name,
                "instances_table": base.tables.instances.name,
                "artifacts_bucket": base.buckets.artifacts.id,
                "training_parameter": base.defaults.parameter_name,
                "worker_log_group": base.logs.worker.name,
                "checkpoints_days": str(self._settings.retention.checkpoints_days),
                "rows_days": str(self._settings.retention.rows_days),
            },
        )

    def _pool(self, pool: PoolName, data: WorkerData) -> WorkerPool:
        base, settings = self._base, self._settings.pools[pool]
        return WorkerPool(
            pool,
            WorkerPoolArgs(
                naming=self._naming,
                pool=pool,
                instance_types=settings.instance_types,
                min_instances=settings.min_instances,
                max_instances=settings.max_instances,
                on_demand_base=settings.on_demand_base,
                root_volume_gib=settings.root_volume_gib,
                market=settings.market,
                capacity_rebalance=settings.capacity_rebalance,
                image_parameter_name=self.image.image_parameter_name,
                instance_profile_arn=self.roles.worker_instance_profile_arn,
                security_group_id=base.network.worker_security_group_id,
                subnet_ids=base.network.worker_subnet_ids,
                public_address=self._settings.network.nat == "public",
                user_data=data.user_data(pool, base.queues.urls[pool]),
                queue_names=base.queues.names[pool],
            ),
            # A group with a minimum launches as soon as it is there: what a boot needs must be there before.
            pulumi.ResourceOptions(
                depends_on=[
                    base.network,
                    *base.files.mount_targets,
                    base.wheelhouse.manifest_object,
                    self.image,
                    self._access,
                ]
            ),
        )

    def _silence(self) -> SilentInstances:
        base, place, pools = self._base, self._place, self._settings.pools
        role = SilenceRole(
            "silence",
            SilenceRoleArgs(
                naming=self._naming,
                region=place.region,
                account_id=place.account_id,
                partition=place.partition,
                instances_table_arn=base.tables.instances.arn,
                jobs_table_arn=base.tables.jobs.arn,
                queue_arns=[arn for arns in base.queues.arns.values() for arn in arns.values()],
                notices_topic_arn=self.notices.topic_arn,
                log_group_arn=base.logs.silence.arn,
                pools=list(pools),
            ),
        )
        return SilentInstances(
            "silence",
            SilentInstancesArgs(
                naming=self._naming,
                groups={pool: self.pools[pool].group_name for pool in pools},
                instances_table=base.tables.instances.name,
                jobs_table=base.tables.jobs.name,
                queue_urls=base.queues.urls,
                notices_topic=self.notices.topic_arn,
                log_group=base.logs.silence.name,
                role_arn=role.role_arn,
            ),
        )

    def _image_expiry(self) -> ImageExpiry:
        place, naming = self._place, self._naming
        role = ImageExpiryRole(
            "image-expiry",
            ImageExpiryRoleArgs(
                naming=naming, region=place.region, account_id=place.account_id, partition=place.partition
            ),
        )
        return ImageExpiry(
            "image-expiry",
            ImageExpiryArgs(
                naming=naming,
                recipe=recipe_name(naming),
                image_arns=f"arn:{place.partition}:imagebuilder:{place.region}:{place.account_id}:image/",
                image_parameter=self.image.image_parameter_name,
                log_group=self._base.logs.image.name,
                role_arn=role.role_arn,
            ),
            # Without the parameter every look fails.
            pulumi.ResourceOptions(depends_on=[self.image]),
        )
