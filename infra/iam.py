"""Roles of the stack: each may touch its own tables, prefixes, queues, file system and parameters, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import policies
from infra.image import golden_ami
from infra.image import policies as image_policies
from infra.naming import Naming
from receipt_trainer.contract.outputs import PoolName


@dataclass(frozen=True)
class FlowLogRoleArgs:
    """What the role of the VPC's flow logs needs: the ARN of their log group, without `:*` at its end."""

    naming: Naming
    region: str
    account_id: str
    partition: str
    flow_log_group_arn: pulumi.Input[str]


class FlowLogRole(pulumi.ComponentResource):
    """Role through which VPC flow logs reach their log group; apart, because the network needs it before all else.

    Attributes:
        role_arn: ARN of the role.
    """

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: FlowLogRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:FlowLogRole", name, None, opts)
        place = policies.Place(args.partition, args.region, args.account_id)
        flow_logs = place.arn("ec2", "vpc-flow-log/*")
        # Without them, flow logs of another account could be pointed at this role.
        condition = {"StringEquals": {"aws:SourceAccount": args.account_id}, "ArnLike": {"aws:SourceArn": flow_logs}}
        trusted = policies.trust("vpc-flow-logs.amazonaws.com", condition)
        role = _role(self, f"{name}-role", args.naming, "flow-logs", trusted)
        allowed = pulumi.Output.from_input(args.flow_log_group_arn).apply(
            lambda arn: policies.document(policies.flow_log_statements(arn))
        )
        aws.iam.RolePolicy(f"{name}-policy", role=role.id, policy=allowed, opts=pulumi.ResourceOptions(parent=self))
        self.role_arn = role.arn
        self.register_outputs({"role_arn": self.role_arn})


@dataclass(frozen=True)
class SilenceRoleArgs:
    """What the role of the function needs that ends silent instances, looks at queues, and sends notices.

    Attributes:
        naming: names and tags; it also names the Auto Scaling groups.
        region: AWS region, part of ARNs.
        account_id: account, part of ARNs.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        instances_table_arn: table with the heartbeats.
        jobs_table_arn: table of the jobs, which keeps notices until they are sent.
        queue_arns: job queues of all pools; no dead-letter queue.
        notices_topic_arn: topic of the notices.
        log_group_arn: of the function, without `:*` at its end.
        pools: the pools of the stack.
    """

    naming: Naming
    region: str
    account_id: str
    partition: str
    instances_table_arn: pulumi.Input[str]
    jobs_table_arn: pulumi.Input[str]
    queue_arns: Sequence[pulumi.Input[str]]
    notices_topic_arn: pulumi.Input[str]
    log_group_arn: pulumi.Input[str]
    pools: Sequence[PoolName]


class FunctionRole(pulumi.ComponentResource):
    """Role of one function of the stack.

    Attributes:
        role_arn: ARN of the role, known once its policy is there.
    """

    role_arn: pulumi.Output[str]

    def __init__(
        self,
        token: str,
        name: str,
        naming: Naming,
        kind: str,
        allowed: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(token, name, None, opts)
        role = _role(self, f"{name}-role", naming, kind, policies.trust("lambda.amazonaws.com"))
        own = pulumi.ResourceOptions(parent=self)
        policy = aws.iam.RolePolicy(f"{name}-policy", role=role.id, policy=allowed, opts=own)
        self.role_arn = pulumi.Output.all(role.arn, policy.id).apply(lambda known: str(known[0]))
        self.register_outputs({"role_arn": self.role_arn})


class SilenceRole(FunctionRole):
    """Role of the function that ends silent instances and sends notices."""

    def __init__(self, name: str, args: SilenceRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = policies.Place(args.partition, args.region, args.account_id)
        given: dict[str, Any] = {
            "instances": args.instances_table_arn,
            "jobs": args.jobs_table_arn,
            "queues": list(args.queue_arns),
            "topic": args.notices_topic_arn,
            "log_group": args.log_group_arn,
        }
        groups = [args.naming.name("workers", pool) for pool in args.pools]
        allowed = pulumi.Output.from_input(given).apply(
            lambda known: policies.document(
                [
                    *policies.silence_statements(place, known["instances"], groups, known["log_group"]),
                    *policies.waiting_statements(known["jobs"], known["queues"]),
                    *policies.notice_statements(known["jobs"], known["topic"]),
                ]
            )
        )
        super().__init__("receipts:infra:SilenceRole", name, args.naming, "silence", allowed, opts)


@dataclass(frozen=True)
class ImageExpiryRoleArgs:
    """What the role of the function needs that deletes expired images; all of it follows from names."""

    naming: Naming
    region: str
    account_id: str
    partition: str


class ImageExpiryRole(FunctionRole):
    """Role of the function that deletes expired images."""

    def __init__(self, name: str, args: ImageExpiryRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        place = policies.Place(args.partition, args.region, args.account_id)
        scope = image_policies.ImageScope(**_image_names(place, args.naming))
        allowed = policies.document(image_policies.expiry_statements(place, scope))
        super().__init__("receipts:infra:ImageExpiryRole", name, args.naming, "image-expiry", allowed, opts)


@dataclass(frozen=True)
class RolesArgs:
    """What the roles of workers and of bakes may touch.

    Attributes:
        naming: names and tags; it also names the Auto Scaling groups and what belongs to the Golden AMI.
        region: AWS region, part of ARNs.
        account_id: account, part of ARNs and of trust policies.
        partition: `aws`, `aws-cn` or `aws-us-gov`.
        receipts_table_arn: table that workers read.
        jobs_table_arn: table that workers read and write.
        instances_table_arn: table that workers read and write.
        artifacts_bucket_arn: bucket of runs and snapshots.
        wheels_bucket_arn: bucket of the wheelhouse.
        wheelhouse_parameter_arn: SSM parameter that names the current wheelhouse; a bake reads it.
        queue_arns: job queues of all pools; no dead-letter queue.
        file_system_arn: the EFS file system.
        access_point_arns: its access points; a mount without one is refused.
        parameter_arns: SSM parameters that workers read.
        parent_image: image id, or SSM parameter that holds one and that a bake reads.
        pools: the pools of the stack.
        log_group_arns: log groups that workers write to, without `:*` at their ends.
        bakes: whether images are baked.
    """

    naming: Naming
    region: str
    account_id: str
    partition: str
    receipts_table_arn: pulumi.Input[str]
    jobs_table_arn: pulumi.Input[str]
    instances_table_arn: pulumi.Input[str]
    artifacts_bucket_arn: pulumi.Input[str]
    wheels_bucket_arn: pulumi.Input[str]
    wheelhouse_parameter_arn: pulumi.Input[str]
    queue_arns: Sequence[pulumi.Input[str]]
    file_system_arn: pulumi.Input[str]
    access_point_arns: Sequence[pulumi.Input[str]]
    parameter_arns: Sequence[pulumi.Input[str]]
    parent_image: str
    pools: Sequence[PoolName]
    log_group_arns: Sequence[pulumi.Input[str]]
    bakes: bool = True


class Roles(pulumi.ComponentResource):
    """Roles of the worker, of the build instance, and of Image Builder itself.

    Attributes:
        worker_role_arn: role of every worker.
        worker_role_name: its name.
        worker_instance_profile_arn: profile for the launch templates.
        builder_instance_profile_name: profile for Image Builder's infrastructure configuration.
        image_builder_execution_role_arn: role that the pipeline runs as; it alone may write the image parameter.
    """

    worker_role_arn: pulumi.Output[str]
    worker_role_name: pulumi.Output[str]
    worker_instance_profile_arn: pulumi.Output[str]
    builder_instance_profile_name: pulumi.Output[str]
    image_builder_execution_role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: RolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:Roles", name, None, opts)
        place = policies.Place(args.partition, args.region, args.account_id)
        worker, worker_profile = self._instance_role(name, "worker", args, _worker_policy(place, args))
        builder, builder_profile = self._instance_role(name, "builder", args, _builder_policy(place, args))
        same_account = {"StringEquals": {"aws:SourceAccount": args.account_id}}
        trusted = policies.trust("imagebuilder.amazonaws.com", same_account)
        execution = _role(self, f"{name}-image-execution", args.naming, "image-execution", trusted)
        self._policy(f"{name}-image-execution", execution, _execution_policy(place, args, builder.arn))
        if args.bakes:
            # Ours is cut out of it without a bake on a real account having been seen: what it lacks would stop one.
            aws.iam.RolePolicyAttachment(
                f"{name}-image-execution-managed",
                role=execution.name,
                policy_arn=f"arn:{args.partition}:iam::aws:policy/EC2ImageBuilderExecutionPolicy",
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.worker_role_arn, self.worker_role_name = worker.arn, worker.name
        self.worker_instance_profile_arn = worker_profile.arn
        self.builder_instance_profile_name = builder_profile.name
        self.image_builder_execution_role_arn = execution.arn
        self.register_outputs(
            {"worker_role_arn": worker.arn, "image_builder_execution_role_arn": execution.arn},
        )

    def _instance_role(
        self, name: str, kind: str, args: RolesArgs, allowed: pulumi.Output[str]
    ) -> tuple[aws.iam.Role, aws.iam.InstanceProfile]:
        role = _role(self, f"{name}-{kind}", args.naming, kind, policies.trust("ec2.amazonaws.com"))
        policy = self._policy(f"{name}-{kind}", role, allowed)
        # An instance must not start before its role may do anything: hence the dependency on the policy.
        profile = aws.iam.InstanceProfile(
            f"{name}-{kind}-profile",
            role=role.name,
            tags=args.naming.tags_for(kind),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        return role, profile

    def _policy(self, name: str, role: aws.iam.Role, allowed: pulumi.Output[str]) -> aws.iam.RolePolicy:
        opts = pulumi.ResourceOptions(parent=self)
        return aws.iam.RolePolicy(f"{name}-policy", role=role.id, policy=allowed, opts=opts)


def _role(parent: pulumi.Resource, name: str, naming: Naming, kind: str, trusted: str) -> aws.iam.Role:
    opts = pulumi.ResourceOptions(parent=parent)
    return aws.iam.Role(name, assume_role_policy=trusted, tags=naming.tags_for(kind), opts=opts)


def _worker_policy(place: policies.Place, args: RolesArgs) -> pulumi.Output[str]:
    given: dict[str, Any] = {
        "receipts": args.receipts_table_arn,
        "jobs": args.jobs_table_arn,
        "instances": args.instances_table_arn,
        "artifacts": args.artifacts_bucket_arn,
        "wheels": args.wheels_bucket_arn,
        "queues": list(args.queue_arns),
        "file_system": args.file_system_arn,
        "access_points": list(args.access_point_arns),
        "parameters": list(args.parameter_arns),
        "groups": [args.naming.name("workers", pool) for pool in args.pools],
        "log_groups": list(args.log_group_arns),
    }
    return pulumi.Output.from_input(given).apply(
        lambda known: policies.document(policies.worker_statements(place, policies.WorkerScope(**known)))
    )


def _image_names(place: policies.Place, naming: Naming) -> dict[str, str]:
    recipe = golden_ami.recipe_name(naming)
    return {
        "recipe": recipe,
        "image_log_group": place.arn("logs", f"log-group:{image_policies.log_group_name(recipe)}"),
        "image_parameter": place.arn("ssm", f"parameter{golden_ami.image_parameter_name(naming)}"),
    }


def _image_scope(place: policies.Place, args: RolesArgs, builder_role: pulumi.Input[str] = "") -> dict[str, Any]:
    return {
        **_image_names(place, args.naming),
        "wheels": args.wheels_bucket_arn,
        "wheelhouse_parameter": args.wheelhouse_parameter_arn,
        "parent_image": args.parent_image,
        "builder_role": builder_role,
    }


def _builder_policy(place: policies.Place, args: RolesArgs) -> pulumi.Output[str]:
    return pulumi.Output.from_input(_image_scope(place, args)).apply(
        lambda known: policies.document(
            image_policies.builder_statements(place, image_policies.ImageScope(**known)),
        )
    )


def _execution_policy(place: policies.Place, args: RolesArgs, builder_role: pulumi.Output[str]) -> pulumi.Output[str]:
    return pulumi.Output.from_input(_image_scope(place, args, builder_role)).apply(
        lambda known: policies.document(
            image_policies.execution_statements(place, image_policies.ImageScope(**known)),
        )
    )
