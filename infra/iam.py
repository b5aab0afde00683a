"""IAM documents and roles: a role touches what is the stack's own, by named actions, and no more.

Source of the statements in all rooms: AWS Service Authorization Reference (which actions know which resources).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext

Statement = dict[str, Any]


def document(statements: Sequence[Statement]) -> str:
    """The policy document as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def policy(statements: Callable[..., Sequence[Statement]], **given: pulumi.Input[Any]) -> pulumi.Output[str]:
    """The document of `statements(**given)`, once the ARNs in `given` are known."""
    return pulumi.Output.all(**given).apply(lambda known: document(statements(**known)))


def allow(
    sid: str,
    service: str,
    actions: Sequence[str] | str,
    resources: pulumi.Input[Any],
    condition: dict[str, Any] | None = None,
    principal: Any = None,
    effect: str = "Allow",
) -> Statement:
    """One statement for actions of one service; in a resource's policy for a principal."""
    return {
        "Sid": sid,
        "Effect": effect,
        **({"Principal": principal} if principal else {}),
        "Action": f"{service}:*" if actions == "*" else [f"{service}:{action}" for action in actions],
        "Resource": list(resources) if isinstance(resources, tuple) else resources,
        **({"Condition": condition} if condition else {}),
    }


def deny_plain_http(service: str, resource: pulumi.Input[Any]) -> pulumi.Output[str]:
    """The resource policy that denies everything without TLS and allows nothing."""
    no_tls = {"Bool": {"aws:SecureTransport": "false"}}
    denial = allow("DenyUnencryptedTransport", service, "*", resource, no_tls, principal="*", effect="Deny")
    return pulumi.Output.json_dumps({"Version": "2012-10-17", "Statement": [denial]})


def role(
    parent: pulumi.Resource,
    name: str,
    context: AwsContext,
    kind: str,
    service: str,
    condition: dict[str, Any] | None = None,
) -> aws.iam.Role:
    """A role that one AWS service may assume, under `condition`."""
    trusted: Statement = {"Sid": "Assume", "Effect": "Allow", "Action": "sts:AssumeRole"}
    trusted |= {"Principal": {"Service": service}, **({"Condition": condition} if condition else {})}
    return aws.iam.Role(
        name,
        assume_role_policy=document([trusted]),
        tags=context.tags_for(kind),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def session_statements(context: AwsContext) -> list[Statement]:
    """SSM sessions and run-command without any key: the agent registers itself and opens its channels (Systems Manager
    User Guide, "Create a custom IAM role for Session Manager")."""
    channels = ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
    return [
        allow("RegisterAgent", "ssm", ["UpdateInstanceInformation"], [context.arn("ec2", "instance/*")]),
        allow("OpenSessions", "ssmmessages", channels, "*"),
    ]


def prefix_statements(sid: str, bucket: str, prefixes: Sequence[str], actions: Sequence[str]) -> list[Statement]:
    """`actions` on the objects below the prefixes of one bucket, and listing of those prefixes only."""
    listed = {"StringLike": {"s3:prefix": [f"{prefix}/*" for prefix in prefixes]}}
    objects = [f"{bucket}/{prefix}/*" for prefix in prefixes]
    return [allow(f"{sid}Objects", "s3", actions, objects), allow(f"{sid}List", "s3", ["ListBucket"], [bucket], listed)]


def wheelhouse_statements(bucket: str) -> list[Statement]:
    """Reading wheels, and the pretrained models that a team may put below `hf_cache`, which bakes and boots from
    another image take along."""
    return prefix_statements("Wheelhouse", bucket, ["wheelhouse", "hf_cache"], ["GetObject"])


def group_spellings(log_group: str) -> list[str]:
    """ARN of a log group, without `:*` at its end, in both ways in which CloudWatch Logs asks IAM about its creation.

    The Service Authorization Reference writes it with `:*`; denials name it with and without what follows the name.
    """
    return [log_group, f"{log_group}:*"]


def write_logs(*log_groups: str) -> Statement:
    """Writing to streams of existing log groups."""
    streams = [f"{group}:log-stream:*" for group in log_groups]
    return allow("WriteLogs", "logs", ["CreateLogStream", "PutLogEvents"], streams)


def list_streams(*log_groups: str) -> Statement:
    """Listing the streams of log groups."""
    groups = [spelling for group in log_groups for spelling in group_spellings(group)]
    return allow("ListLogStreams", "logs", ["DescribeLogStreams"], groups)
