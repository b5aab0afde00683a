"""One worker pool: launch template, Auto Scaling group, and scale-out on backlog."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component, named
from infra.network.vpc import Network
from infra.pools.scaling import BacklogScaling, BacklogScalingArgs
from infra.pools.user_data import LIFECYCLE_HOOK
from infra.setting_groups import PoolSettings
from receipt_trainer.contract.outputs import PoolName, Priority

CHECKPOINT_S: Final = 300
"""Seconds that an instance which is taken away has for its last checkpoint; a spot notice leaves 120 of them."""
ROOT_DEVICE: Final = "/dev/xvda"
"""Root device of Amazon Linux 2023; another name would add a second, empty volume."""
GROUP_METRICS: Final = (
    aws.autoscaling.Metric.GROUP_DESIRED_CAPACITY,
    aws.autoscaling.Metric.GROUP_IN_SERVICE_INSTANCES,
    aws.autoscaling.Metric.GROUP_MAX_SIZE,
    aws.autoscaling.Metric.GROUP_PENDING_INSTANCES,
    aws.autoscaling.Metric.GROUP_TERMINATING_INSTANCES,
    aws.autoscaling.Metric.GROUP_TOTAL_INSTANCES,
)


@dataclass(frozen=True)
class WorkerPoolArgs:
    """One pool of workers.

    Attributes:
        image_parameter_name: SSM parameter with the image id; read at every launch.
        instance_profile_arn: profile of the worker role.
        public_address: an instance has a public IPv4 address while it runs.
        user_data: plain text, as `user_data` gives it.
    """

    context: AwsContext
    pool: PoolName
    settings: PoolSettings
    image_parameter_name: str
    instance_profile_arn: pulumi.Input[str]
    network: Network
    public_address: bool
    user_data: pulumi.Input[str]
    queue_names: Mapping[Priority, pulumi.Input[str]]


class WorkerPool(Component[WorkerPoolArgs]):
    """Instances that take jobs of one kind; none while there is no job.

    Launched on backlog, never ended by a scaling policy: a worker ends its own instance when idle. An edit of the
    template changes what is launched next and touches no instance that runs.
    """

    def __init__(self, name: str, args: WorkerPoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        template = self._template()
        group = self._group(template)
        BacklogScaling(
            f"{name}-scaling",
            BacklogScalingArgs(args.context, args.pool, args.settings.max_instances, group.name, args.queue_names),
            self._child,
        )
        self.group_name, self.launch_template_id = group.name, template.id
        self.register_outputs({"group_name": group.name, "launch_template_id": template.id})

    def _template(self) -> aws.ec2.LaunchTemplate:
        args, tags = self._args, self._args.context.tags_for(f"worker-{self._args.pool}", Pool=self._args.pool)
        return aws.ec2.LaunchTemplate(
            f"{self._name}-template",
            description=f"Workers of the {args.pool} pool of {args.context.prefix}",
            # Resolved at every launch, so that a finished bake needs no `pulumi up`.
            image_id=pulumi.Output.concat("resolve:ssm:", args.image_parameter_name),
            # The group overrides it; who starts one instance by hand from this template gets a type of the pool.
            instance_type=args.settings.instance_types[0],
            user_data=pulumi.Output.from_input(args.user_data).apply(lambda text: b64encode(text.encode()).decode()),
            update_default_version=True,
            iam_instance_profile={"arn": args.instance_profile_arn},
            instance_initiated_shutdown_behavior="terminate",
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,
                # With tags in the metadata, EC2 refuses to launch with a user's tag key that holds a space or a slash.
                "instance_metadata_tags": "disabled",
            },
            # Workers put their own metrics; one-minute EC2 metrics would cost and tell nothing of a GPU.
            monitoring={"enabled": False},
            block_device_mappings=[
                {
                    "device_name": ROOT_DEVICE,
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": args.settings.root_volume_gib,
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            network_interfaces=[
                {
                    "device_index": 0,
                    "associate_public_ip_address": "true" if args.public_address else "false",
                    "delete_on_termination": "true",
                    "security_groups": [args.network.worker_security_group_id],
                }
            ],
            tag_specifications=[{"resource_type": kind, "tags": tags} for kind in ("instance", "volume")],
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _group(self, template: aws.ec2.LaunchTemplate) -> aws.autoscaling.Group:
        args, tags = self._args, self._args.context.tags_for(f"worker-{self._args.pool}", Pool=self._args.pool)
        return aws.autoscaling.Group(
            f"{self._name}-group",
            name=args.context.name("workers", args.pool),
            min_size=args.settings.min_instances,
            max_size=args.settings.max_instances,
            vpc_zone_identifiers=args.network.worker_subnet_ids,
            mixed_instances_policy=self._instances_policy(template),
            # Off by default: the recommendation is no notice, and where capacity is scarce the next one gets it too.
            capacity_rebalance=args.settings.capacity_rebalance,
            # Workers end themselves; balancing zones would end one that trains.
            protect_from_scale_in=True,
            suspended_processes=["AZRebalance"],
            health_check_type="EC2",
            health_check_grace_period=CHECKPOINT_S,
            default_instance_warmup=180,
            initial_lifecycle_hooks=[
                {
                    "name": LIFECYCLE_HOOK,
                    "lifecycle_transition": "autoscaling:EC2_INSTANCE_TERMINATING",
                    "heartbeat_timeout": CHECKPOINT_S,
                    "default_result": "CONTINUE",
                }
            ],
            enabled_metrics=[*GROUP_METRICS],
            metrics_granularity="1Minute",
            wait_for_capacity_timeout="0",
            force_delete=True,
            tags=[{"key": key, "value": value, "propagate_at_launch": True} for key, value in tags.items()],
            # Moved by the alarm and by the workers; `pulumi up` must not set it back.
            opts=named(self, ignore_changes=["desiredCapacity"]),
        )

    def _instances_policy(self, template: aws.ec2.LaunchTemplate) -> aws.autoscaling.GroupMixedInstancesPolicyArgsDict:
        settings = self._args.settings
        return {
            "launch_template": {
                "launch_template_specification": {
                    "launch_template_id": template.id,
                    # A number, never "$Latest": with that, a new version would show no difference in a preview.
                    "version": template.latest_version.apply(str),
                },
                "overrides": [{"instance_type": instance_type} for instance_type in settings.instance_types],
            },
            "instances_distribution": {
                "on_demand_base_capacity": settings.on_demand_base,
                "on_demand_percentage_above_base_capacity": 0 if settings.market == "spot" else 100,
                "on_demand_allocation_strategy": "lowest-price",
                "spot_allocation_strategy": "price-capacity-optimized",
            },
        }
