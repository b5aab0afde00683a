"""The training stack: settings become components, components become outputs."""

from __future__ import annotations

from typing import Any

import pulumi

from infra import preview_checks
from infra.context import REPOSITORY, AwsContext
from infra.data.file_system import FileSystem, FileSystemAccess, FileSystemAccessArgs, FileSystemArgs
from infra.data.queues import JobQueues, JobQueuesArgs
from infra.data.storage import Buckets, BucketsArgs
from infra.data.tables import Tables, TablesArgs
from infra.data.training_defaults import TrainingDefaults, TrainingDefaultsArgs
from infra.image.expiry import ImageExpiry, ImageExpiryArgs
from infra.image.golden_ami import GoldenAmi, GoldenAmiArgs
from infra.network.vpc import Network, NetworkArgs
from infra.pools.user_data import user_data
from infra.pools.worker_pool import WorkerPool, WorkerPoolArgs
from infra.roles import FlowLogRole, FlowLogRoleArgs, Roles, StackParts
from infra.settings import StackSettings
from infra.watch.logs import LogGroups, LogGroupsArgs
from infra.watch.observability import Observability, ObservabilityArgs
from infra.watch.silent_instances import Notices, NoticesArgs, SilentInstances, SilentInstancesArgs
from infra.wheelhouse.build import chosen_folder
from infra.wheelhouse.objects import Wheelhouse, WheelhouseArgs


async def main() -> None:
    """Register the stack. The SDK awaits it: the last update's outputs must be known before the first resource."""
    preview_checks.refuse_another_trainer(REPOSITORY)
    settings = StackSettings.load(pulumi.Config())
    context = AwsContext.find(settings)
    preview_checks.check_instance_types(settings, context.project)
    preview_checks.refuse_replaced_data(await preview_checks.read_outputs(), settings, context.region, context.project)
    preview_checks.warn_of_parent(settings.golden_ami.parent_image)
    preview_checks.warn_of_key(context.region)
    keep, bake = settings.protect_data, settings.golden_ami

    logs = LogGroups("logs", LogGroupsArgs(context, settings.retention.logs_days))
    flow_logs = FlowLogRole("flow-logs", FlowLogRoleArgs(context, logs.flow.arn))
    network = Network(
        "network",
        NetworkArgs(
            context,
            cidr=settings.network.cidr,
            nat=settings.network.nat,
            bakes=bake.enabled,
            flow_log_role_arn=flow_logs.role_arn,
            flow_log_group_arn=logs.flow.arn,
        ),
    )
    buckets = Buckets("storage", BucketsArgs(context, settings.retention.old_versions_days, keep))
    files = FileSystem(
        "files", FileSystemArgs(context, network.private_subnet_ids, network.file_system_security_group_id, keep)
    )
    tables = Tables("tables", TablesArgs(context, keep))
    queues = JobQueues("jobs", JobQueuesArgs(context, list(settings.enabled_pools)))
    hyperparameters = settings.training.model_dump(mode="json", exclude_unset=True)
    defaults = TrainingDefaults("training", TrainingDefaultsArgs(context, hyperparameters))
    wheels = chosen_folder(REPOSITORY, settings.wheelhouse.python_versions, settings.wheelhouse.path)
    wheelhouse = Wheelhouse("wheelhouse", WheelhouseArgs(context, buckets.wheels.id, wheels))

    parts = StackParts(context, settings, tables, buckets, queues, files, defaults, wheelhouse, logs)
    roles = Roles("roles", parts)
    access = FileSystemAccess("files-access", FileSystemAccessArgs(files, roles.worker_role_arn))
    # A schedule may start a bake at once: its wheels, and the parameter that names them, must be there.
    after_wheels = pulumi.ResourceOptions(depends_on=[wheelhouse])
    image = GoldenAmi("image", GoldenAmiArgs(context, bake, roles, network, wheelhouse.parameter_name), after_wheels)
    if bake.enabled:
        ImageExpiry(
            "image-expiry",
            ImageExpiryArgs(context, logs.image.name),
            pulumi.ResourceOptions(depends_on=[image]),  # without the parameter every look fails
        )

    # A group with a minimum launches as soon as it is there: what a boot needs must be there before.
    after_boots_needs = pulumi.ResourceOptions(
        depends_on=[network, *files.mount_targets, wheelhouse.manifest_object, image, access]
    )
    pools = {
        pool: WorkerPool(
            pool,
            WorkerPoolArgs(
                context,
                pool,
                chosen,
                image_parameter_name=image.image_parameter_name,
                instance_profile_arn=roles.worker_instance_profile_arn,
                network=network,
                public_address=settings.network.nat == "public",
                user_data=user_data(parts, pool),
                queue_names=queues.names[pool],
            ),
            after_boots_needs,
        )
        for pool, chosen in settings.enabled_pools.items()
    }

    notices = Notices("notices", NoticesArgs(context, settings.notify_email))
    silence = SilentInstances("silence", SilentInstancesArgs(context, pools, tables, queues, notices, logs))
    observability = Observability(
        "observability",
        ObservabilityArgs(context, pools, queues, logs, silence, settings.alarm_email, settings.budget),
    )

    outputs: dict[str, Any] = {  # the fields of the contract's StackOutputs
        "project": context.project,
        "environment": context.environment,
        "region": context.region,
        "receipts_table": tables.receipts.name,
        "jobs_table": tables.jobs.name,
        "instances_table": tables.instances.name,
        "artifacts_bucket": buckets.artifacts.id,
        "wheels_bucket": buckets.wheels.id,
        "wheelhouse_prefix": wheelhouse.prefix,
        "file_system_id": files.file_system_id,
        "training_access_point_id": files.training_access_point_id,
        "checkpoints_access_point_id": files.checkpoints_access_point_id,
        "training_parameter": defaults.parameter_name,
        "image_parameter": image.image_parameter_name,
        "image_pipeline_arn": image.pipeline_arn,
        "worker_log_group": logs.worker.name,
        "boot_log_group": logs.boot.name,
        "dashboard_name": observability.dashboard_name,
        "vpc_id": network.vpc_id,
        "private_subnet_ids": network.private_subnet_ids,
        "nat": settings.network.nat,
        "cidr": settings.network.cidr,
        "parent_image": bake.parent_image,
        "alarm_topic_arn": observability.topic_arn,
        "notices_topic_arn": notices.topic_arn,
        "budget_usd": settings.budget.monthly_usd if settings.budget else 0,
        "job_defaults": settings.jobs.model_dump(mode="json", exclude_none=True),
        "pools": {
            pool: {
                "queue_urls": queues.urls[pool],
                "dead_letter_queue_url": queues.dead_letter_urls[pool],
                "auto_scaling_group": pools[pool].group_name,
                "launch_template_id": pools[pool].launch_template_id,
                "instance_types": list(chosen.instance_types),
                "market": chosen.market,
                "max_instances": chosen.max_instances,
                "on_demand_base": chosen.on_demand_base,
            }
            for pool, chosen in settings.enabled_pools.items()
        },
    }
    for name, value in outputs.items():
        pulumi.export(name, value)


pulumi.run(main)
