"""What each role may do: IAM statements as plain dicts, from plain ARNs.

Sources: AWS Service Authorization Reference (which actions know which resources); EC2 Image Builder User Guide,
"Use AWS managed policies" and "Create and update AMI distribution configurations"; Systems Manager User Guide,
"Create a custom IAM role for Session Manager"; VPC User Guide, "IAM role for publishing flow logs".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from receipt_trainer.contract import metrics, notices
from receipt_trainer.contract.tables import LOOKS_PK, job_pk, job_status_pk

Statement = dict[str, Any]

READ_RECEIPTS = ("Query", "Scan")
READ_STATE = ("BatchGetItem", "DescribeTable", "Query")
WRITE_STATE = ("BatchWriteItem", "PutItem", "UpdateItem")
LIFECYCLE = (
    "CompleteLifecycleAction",
    "SetInstanceProtection",
    "SuspendProcesses",
    "TerminateInstanceInAutoScalingGroup",
)
SESSION_CHANNELS = ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
ARTIFACT_PREFIXES = ("runs", "snapshots")
WHEELHOUSE_PREFIX = "wheelhouse"
MODELS_PREFIX = "hf_cache"
"""Where a team may put pretrained models, which bakes and boots from another image take along."""


@dataclass(frozen=True)
class Place:
    """Where ARNs that nobody hands over are: partition such as `aws`, region, account id."""

    partition: str
    region: str
    account_id: str

    def arn(self, service: str, resource: str, *, region: str | None = None, account: str | None = None) -> str:
        """ARN of `resource`; an empty region or account is left empty."""
        where = self.region if region is None else region
        whose = self.account_id if account is None else account
        return f"arn:{self.partition}:{service}:{where}:{whose}:{resource}"

    def group(self, name: str) -> str:
        """ARN of the Auto Scaling group called `name`, whose UUID nobody knows beforehand."""
        return self.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{name}")


@dataclass(frozen=True)
class WorkerScope:
    """ARNs and names that a worker may touch; groups are names of Auto Scaling groups."""

    receipts: str
    jobs: str
    instances: str
    artifacts: str
    wheels: str
    queues: Sequence[str]
    file_system: str
    access_points: Sequence[str]
    parameters: Sequence[str]
    groups: Sequence[str]
    log_groups: Sequence[str]


def document(statements: Sequence[Statement]) -> str:
    """The policy document as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(
    sid: str,
    service: str,
    actions: Sequence[str],
    resources: Sequence[str] | str,
    condition: dict[str, Any] | None = None,
) -> Statement:
    """One Allow statement for actions of one service."""
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": [f"{service}:{action}" for action in actions],
        "Resource": resources if isinstance(resources, str) else list(resources),
    }
    return {**statement, "Condition": condition} if condition else statement


def trust(service: str, condition: dict[str, Any] | None = None) -> str:
    """Trust policy of a role that one AWS service may assume, as JSON."""
    statement: Statement = {
        "Sid": "Assume",
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": service},
    }
    return document([{**statement, "Condition": condition} if condition else statement])


def session_statements(place: Place) -> list[Statement]:
    """SSM sessions and run-command without any key: the agent registers itself and opens its channels."""
    return [
        allow("RegisterAgent", "ssm", ["UpdateInstanceInformation"], [place.arn("ec2", "instance/*")]),
        allow("OpenSessions", "ssmmessages", SESSION_CHANNELS, "*"),
    ]


def prefix_statements(sid: str, bucket: str, prefixes: Sequence[str], actions: Sequence[str]) -> list[Statement]:
    """`actions` on the objects below the prefixes of one bucket, and listing of those prefixes only."""
    listed = {"StringLike": {"s3:prefix": [f"{prefix}/*" for prefix in prefixes]}}
    objects = [f"{bucket}/{prefix}/*" for prefix in prefixes]
    return [
        allow(f"{sid}Objects", "s3", actions, objects),
        allow(f"{sid}List", "s3", ["ListBucket"], [bucket], listed),
    ]


def group_spellings(log_group: str) -> list[str]:
    """ARN of a log group, without `:*` at its end, in both ways in which CloudWatch Logs asks IAM about its creation.

    The Service Authorization Reference writes it with `:*`; denials name it with and without what follows the name.
    """
    return [log_group, f"{log_group}:*"]


def log_statements(log_groups: Sequence[str]) -> list[Statement]:
    """Writing to streams of existing log groups; streams are `<group>:log-stream:<name>`."""
    streams = [f"{group}:log-stream:*" for group in log_groups]
    groups = [spelling for group in log_groups for spelling in group_spellings(group)]
    return [
        allow("WriteLogs", "logs", ["CreateLogStream", "PutLogEvents"], streams),
        allow("ListLogStreams", "logs", ["DescribeLogStreams"], groups),
    ]


def worker_statements(place: Place, scope: WorkerScope) -> list[Statement]:
    """What a worker needs from boot to its own end, and nothing of another stack."""
    # SendMessage: a waiting job's message is sent anew before SQS drops it.
    queue_actions = ["ReceiveMessage", "DeleteMessage", "SendMessage", "ChangeMessageVisibility", "GetQueueAttributes"]
    artifact_actions = ["PutObject", "AbortMultipartUpload", "ListMultipartUploadParts"]
    through_access_points = {"StringEquals": {"elasticfilesystem:AccessPointArn": list(scope.access_points)}}
    own_namespace = {"StringEquals": {"cloudwatch:namespace": metrics.NAMESPACE}}
    written = [scope.jobs, f"{scope.jobs}/index/*", scope.instances, f"{scope.instances}/index/*"]
    read_only = [scope.receipts, f"{scope.receipts}/index/*"]
    return [
        allow("ReadReceipts", "dynamodb", READ_RECEIPTS, read_only),
        allow("ReadState", "dynamodb", READ_STATE, written),
        allow("WriteState", "dynamodb", WRITE_STATE, [scope.jobs, scope.instances]),
        *prefix_statements("Artifacts", scope.artifacts, ARTIFACT_PREFIXES, artifact_actions),
        *prefix_statements("Wheelhouse", scope.wheels, [WHEELHOUSE_PREFIX, MODELS_PREFIX], ["GetObject"]),
        allow("TakeJobs", "sqs", queue_actions, scope.queues),
        allow(
            "MountFiles",
            "elasticfilesystem",
            ["ClientMount", "ClientWrite"],
            [scope.file_system],
            through_access_points,
        ),
        allow("ReadDefaults", "ssm", ["GetParameter"], scope.parameters),
        allow("OwnGroup", "autoscaling", LIFECYCLE, [place.group(name) for name in scope.groups]),
        # No narrower resource exists; a worker takes no job for a group that somebody has stopped.
        allow("FindGroup", "autoscaling", ["DescribeAutoScalingGroups"], "*"),
        allow("PutMetrics", "cloudwatch", ["PutMetricData"], "*", own_namespace),
        # No narrower resource exists; the worker writes its own price to its row of the instances table.
        allow("ReadSpotPrices", "ec2", ["DescribeSpotPriceHistory"], "*"),
        *log_statements(scope.log_groups),
        *session_statements(place),
    ]


def silence_statements(place: Place, instances: str, groups: Sequence[str], log_group: str) -> list[Statement]:
    """What the function needs that ends silent instances: of the account it may see instances, and end its own."""
    own_namespace = {"StringEquals": {"cloudwatch:namespace": metrics.NAMESPACE}}
    own_groups = [place.group(name) for name in groups]
    return [
        allow("FindGroups", "autoscaling", ["DescribeAutoScalingGroups"], "*"),
        allow("FindLaunches", "ec2", ["DescribeInstances"], "*"),
        allow("ReadHeartbeats", "dynamodb", ["BatchGetItem", "UpdateItem"], [instances]),
        allow("EndSilent", "autoscaling", ["SuspendProcesses", "TerminateInstanceInAutoScalingGroup"], own_groups),
        allow("PutMetrics", "cloudwatch", ["PutMetricData"], "*", own_namespace),
        allow("WriteLogs", "logs", ["CreateLogStream", "PutLogEvents"], [f"{log_group}:log-stream:*"]),
    ]


def waiting_statements(jobs: str, queues: Sequence[str]) -> list[Statement]:
    """What the function needs that gives jobs without a message a new one: it reads jobs by state, counts and sends
    messages, keeps its looks, and lets a job name the queue that came in the place of one that is gone."""
    of_states = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [job_status_pk("*")]}}
    of_looks = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [LOOKS_PK]}}
    of_jobs = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [job_pk("*")]}}
    return [
        allow("FindJobs", "dynamodb", ["Query"], [f"{jobs}/index/GSI1"], of_states),
        allow("KeepLooks", "dynamodb", ["PutItem", "Query"], [jobs], of_looks),
        allow("MoveJobs", "dynamodb", ["UpdateItem"], [jobs], of_jobs),
        allow("SendMessages", "sqs", ["GetQueueAttributes", "SendMessage"], queues),
    ]


def notice_statements(jobs: str, topic: str) -> list[Statement]:
    """What the function needs that sends notices: it reads them and what a job's attempts cost, and deletes them."""
    read = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [notices.PK, "JOB#*"]}}
    deleted = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [notices.PK]}}
    return [
        allow("ReadNotices", "dynamodb", ["Query"], [jobs], read),
        allow("DeleteNotices", "dynamodb", ["DeleteItem"], [jobs], deleted),
        allow("SendNotices", "sns", ["Publish"], [topic]),
    ]


def flow_log_statements(log_group: str) -> list[Statement]:
    """What VPC flow logs ask of their role; the group exists, and its creation is asked for all the same."""
    return [
        allow("CreateOwnGroup", "logs", ["CreateLogGroup"], group_spellings(log_group)),
        *log_statements([log_group]),
        allow("FindGroup", "logs", ["DescribeLogGroups"], "*"),
    ]
