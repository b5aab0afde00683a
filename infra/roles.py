"""Roles of workers, of bakes and of flow logs; each may touch what is the stack's own, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component
from infra.data.file_system import FileSystem
from infra.data.queues import JobQueues
from infra.data.storage import Buckets
from infra.data.tables import Tables
from infra.data.training_defaults import TrainingDefaults
from infra.iam import (
    Statement,
    allow,
    group_spellings,
    list_streams,
    policy,
    prefix_statements,
    role,
    session_statements,
    wheelhouse_statements,
    write_logs,
)
from infra.image.policies import builder_statements, execution_statements
from infra.settings import StackSettings
from infra.watch.logs import LogGroups
from infra.wheelhouse.objects import Wheelhouse
from receipt_trainer.contract import metrics
from receipt_trainer.contract.outputs import PoolName

OWN_NAMESPACE: Final = {"StringEquals": {"cloudwatch:namespace": metrics.NAMESPACE}}


@dataclass(frozen=True)
class FlowLogRoleArgs:
    """Arguments of the role of the VPC's flow logs: the ARN of their log group, without `:*` at its end."""

    context: AwsContext
    log_group_arn: pulumi.Input[str]


class FlowLogRole(Component[FlowLogRoleArgs]):
    """Role through which VPC flow logs reach their log group; apart, because the network needs it before all else."""

    def __init__(self, name: str, args: FlowLogRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        context = args.context
        flow_logs = context.arn("ec2", "vpc-flow-log/*")
        # Without them, flow logs of another account could be pointed at this role.
        condition = {"StringEquals": {"aws:SourceAccount": context.account_id}, "ArnLike": {"aws:SourceArn": flow_logs}}
        made = role(self, f"{name}-role", context, "flow-logs", "vpc-flow-logs.amazonaws.com", condition)
        allowed = policy(_flow_log_statements, log_group=args.log_group_arn)
        aws.iam.RolePolicy(f"{name}-policy", role=made.id, policy=allowed, opts=self._child)
        self.role_arn = made.arn
        self.register_outputs({"role_arn": self.role_arn})


def _flow_log_statements(log_group: str) -> list[Statement]:
    """Rights that flow logs need (VPC User Guide, "IAM role for publishing flow logs"); the group exists, and its
    creation is asked for all the same."""
    return [
        allow("CreateOwnGroup", "logs", ["CreateLogGroup"], group_spellings(log_group)),
        write_logs(log_group),
        list_streams(log_group),
        allow("FindGroup", "logs", ["DescribeLogGroups"], "*"),
    ]


@dataclass(frozen=True)
class StackParts:
    """What workers and bakes use: their roles may touch it, and the workers' user data says where it is."""

    context: AwsContext
    settings: StackSettings
    tables: Tables
    buckets: Buckets
    queues: JobQueues
    files: FileSystem
    defaults: TrainingDefaults
    wheelhouse: Wheelhouse
    logs: LogGroups


class Roles(Component[StackParts]):
    """Roles of the worker, of the build instance, and of Image Builder itself.

    Attributes:
        worker_role_arn: role of every worker.
        worker_instance_profile_arn: profile for the launch templates.
        builder_instance_profile_name: profile for Image Builder's infrastructure configuration.
        image_builder_execution_role_arn: role that the pipeline runs as; it alone may write the image parameter.
    """

    def __init__(self, name: str, args: StackParts, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        context, bake = args.context, args.settings.golden_ami
        worker, worker_profile = self._instance_role("worker", _worker_policy(args))
        wheels, parameter = args.buckets.wheels.arn, args.wheelhouse.parameter_arn
        allowed = policy(lambda **known: builder_statements(context, **known), wheels=wheels, parameter=parameter)
        builder, builder_profile = self._instance_role("builder", allowed)
        same_account = {"StringEquals": {"aws:SourceAccount": context.account_id}}
        service = "imagebuilder.amazonaws.com"
        execution = role(self, f"{name}-image-execution", context, "image-execution", service, same_account)
        allowed = policy(lambda builder: execution_statements(context, bake.parent_image, builder), builder=builder.arn)
        self._policy(f"{name}-image-execution", execution, allowed)
        if bake.enabled:
            # Ours is cut out of it without a bake on a real account having been seen: what it lacks would stop one.
            aws.iam.RolePolicyAttachment(
                f"{name}-image-execution-managed",
                role=execution.name,
                policy_arn=f"arn:{context.partition}:iam::aws:policy/EC2ImageBuilderExecutionPolicy",
                opts=self._child,
            )
        self.worker_role_arn, self.worker_instance_profile_arn = worker.arn, worker_profile.arn
        self.builder_instance_profile_name = builder_profile.name
        self.image_builder_execution_role_arn = execution.arn
        self.register_outputs({"worker_role_arn": worker.arn, "image_builder_execution_role_arn": execution.arn})

    def _instance_role(self, kind: str, allowed: pulumi.Output[str]) -> tuple[aws.iam.Role, aws.iam.InstanceProfile]:
        context, name = self._args.context, f"{self._name}-{kind}"
        made = role(self, name, context, kind, "ec2.amazonaws.com")
        # An instance must not start before its role may do anything: hence the dependency on the policy.
        after_policy = pulumi.ResourceOptions(parent=self, depends_on=[self._policy(name, made, allowed)])
        tags = context.tags_for(kind)
        return made, aws.iam.InstanceProfile(f"{name}-profile", role=made.name, tags=tags, opts=after_policy)

    def _policy(self, name: str, of: aws.iam.Role, allowed: pulumi.Output[str]) -> aws.iam.RolePolicy:
        return aws.iam.RolePolicy(f"{name}-policy", role=of.id, policy=allowed, opts=self._child)


def _worker_policy(args: StackParts) -> pulumi.Output[str]:
    context = args.context
    groups = [context.arn("autoscaling", group_pattern(context, pool)) for pool in args.settings.enabled_pools]
    return policy(
        lambda **known: _worker_statements(context, groups, SimpleNamespace(**known)),
        receipts=args.tables.receipts.arn,
        jobs=args.tables.jobs.arn,
        instances=args.tables.instances.arn,
        artifacts=args.buckets.artifacts.arn,
        wheels=args.buckets.wheels.arn,
        queues=args.queues.all_arns,
        file_system=args.files.file_system_arn,
        access_points=args.files.access_point_arns,
        parameter=args.defaults.parameter_arn,
        log_groups=[args.logs.boot.arn, args.logs.worker.arn],
    )


def group_pattern(context: AwsContext, pool: PoolName) -> str:
    """Resource part of the ARN of a pool's Auto Scaling group, whose UUID is not known beforehand."""
    return f"autoScalingGroup:*:autoScalingGroupName/{context.name('workers', pool)}"


def _worker_statements(context: AwsContext, groups: Sequence[str], arns: SimpleNamespace) -> list[Statement]:
    """Rights of a worker from boot to its own end, and none on another stack; `arns` as `_worker_policy` names them."""
    # SendMessage: a waiting job's message is sent anew before SQS drops it.
    queue_actions = ["ReceiveMessage", "DeleteMessage", "SendMessage", "ChangeMessageVisibility", "GetQueueAttributes"]
    artifact_actions = ["PutObject", "AbortMultipartUpload", "ListMultipartUploadParts"]
    through_access_points = {"StringEquals": {"elasticfilesystem:AccessPointArn": list(arns.access_points)}}
    mount = ["ClientMount", "ClientWrite"]
    lifecycle = [
        *("CompleteLifecycleAction", "SetInstanceProtection"),
        *("SuspendProcesses", "TerminateInstanceInAutoScalingGroup"),
    ]
    written = [arn for table in (arns.jobs, arns.instances) for arn in (table, f"{table}/index/*")]
    return [
        allow("ReadReceipts", "dynamodb", ["Query", "Scan"], [arns.receipts, f"{arns.receipts}/index/*"]),
        allow("ReadState", "dynamodb", ["BatchGetItem", "DescribeTable", "Query"], written),
        allow("WriteState", "dynamodb", ["BatchWriteItem", "PutItem", "UpdateItem"], [arns.jobs, arns.instances]),
        *prefix_statements("Artifacts", arns.artifacts, ["runs", "snapshots"], artifact_actions),
        *wheelhouse_statements(arns.wheels),
        allow("TakeJobs", "sqs", queue_actions, arns.queues),
        allow("MountFiles", "elasticfilesystem", mount, [arns.file_system], through_access_points),
        allow("ReadDefaults", "ssm", ["GetParameter"], [arns.parameter]),
        allow("OwnGroup", "autoscaling", lifecycle, groups),
        # No narrower resource exists; a worker takes no job for a group that somebody has stopped.
        allow("FindGroup", "autoscaling", ["DescribeAutoScalingGroups"], "*"),
        allow("PutMetrics", "cloudwatch", ["PutMetricData"], "*", OWN_NAMESPACE),
        # No narrower resource exists; the worker writes its own price to its row of the instances table.
        allow("ReadSpotPrices", "ec2", ["DescribeSpotPriceHistory"], "*"),
        write_logs(*arns.log_groups),
        list_streams(*arns.log_groups),
        *session_statements(context),
    ]
