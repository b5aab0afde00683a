"""Roles: what their policies allow, and nothing else."""

from __future__ import annotations

from typing import Final

import pytest

from receipt_trainer.contract import metrics
from tests.infra.edits import stack, statements
from tests.infra.iam_program import (
    ACCOUNT,
    HERE,
    PARENT,
    POLICY,
    REGION,
    ROLE,
    ROLES,
    access_point,
    access_points,
    bucket,
    documents,
    file_system,
    group,
    log_group,
    policy,
    queue,
    recorded,
    table,
    topic,
)
from tests.infra.policy_reading import allowed, listed

INLINE_LIMIT = 10_240
"""Characters of all inline policies of one role, without white space (IAM User Guide, "IAM and AWS STS quotas")."""

NO_RESOURCE_TYPE: Final = {
    f"{service}:{action}"
    for service, actions in {
        "autoscaling": "DescribeAutoScalingGroups",
        "cloudwatch": "PutMetricData",
        "ec2": "DescribeHosts DescribeImages DescribeInstanceStatus DescribeInstanceTypeOfferings "
        "DescribeInstanceTypes DescribeInstances DescribeSnapshots DescribeSpotPriceHistory DescribeSubnets "
        "DescribeTags",
        "ec2messages": "AcknowledgeMessage DeleteMessage FailMessage GetEndpoint GetMessages SendReply",
        "imagebuilder": "ListImages",
        "logs": "DescribeLogGroups",
        "ssm": "DescribeInstanceInformation GetCommandInvocation ListAssociations "
        "ListCommandInvocations ListInventoryEntries PutInventory",
        "ssmmessages": "CreateControlChannel CreateDataChannel OpenControlChannel OpenDataChannel",
    }.items()
    for action in actions.split()
}
"""Actions for which the Service Authorization Reference names no resource type, so that only `*` can stand there."""


def test_every_role_has_one_policy_and_it_is_read_here() -> None:
    """No role is left out of the tests below, and none gets a policy that cannot be read here."""
    assert len(recorded().of_type(ROLE)) == len(recorded().of_type(POLICY)) == 6
    assert len(documents()) == 12
    assert not any(role.inputs.keys() & {"managedPolicyArns", "inlinePolicies"} for role in recorded().of_type(ROLE))


def test_aws_own_policy_stands_beside_ours_on_the_role_of_bakes_alone() -> None:
    """No bake was seen on a real account yet: until then an action that our policy lacks does not stop one. Of all
    roles only that of bakes has it, and only where bakes are made."""
    (attached,) = recorded().of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
    assert attached.inputs["policyArn"] == "arn:aws:iam::aws:policy/EC2ImageBuilderExecutionPolicy"
    assert recorded().one("roles-image-execution", ROLE).urn in attached.dependencies
    without = stack(golden_ami={"enabled": False})
    assert not without.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment")


@pytest.mark.parametrize("name", sorted(documents()))
def test_statements_allow_named_actions_only(name: str) -> None:
    """No wildcard in an action, nothing by exclusion, and every statement says with its Sid what it is for."""
    read = statements(documents()[name])
    assert len({statement["Sid"] for statement in read}) == len(read) > 0
    for statement in read:
        assert statement["Effect"] == "Allow"
        assert not statement.keys() & {"NotAction", "NotResource", "NotPrincipal"}
        assert all("*" not in action and "?" not in action for action in listed(statement["Action"]))
        assert statement.get("Principal") != "*"


@pytest.mark.parametrize("role", ROLES)
def test_everything_is_a_resource_only_where_aws_offers_no_narrower_one(role: str) -> None:
    """`*` stands for actions without a resource type; elsewhere service, region, account and kind are written out."""
    for statement in statements(policy(role)):
        for resource in listed(statement["Resource"]):
            if resource == "*":
                assert set(listed(statement["Action"])) <= NO_RESOURCE_TYPE, statement["Sid"]
                continue
            _, partition, service, region, account, kind = resource.split(":", 5)
            assert partition == "aws"
            assert service not in ("", "*")
            assert region in ("", REGION)
            assert account in ("", "aws", ACCOUNT)
            assert kind[0] not in "*?", resource


def test_the_table_of_actions_without_a_resource_type_has_no_idle_entry() -> None:
    """What the table excuses is in use: an entry that nobody needs would excuse the next mistake."""
    used = {
        action
        for role in ROLES
        for statement in statements(policy(role))
        if statement["Resource"] == "*"
        for action in listed(statement["Action"])
    }
    assert used == NO_RESOURCE_TYPE


@pytest.mark.parametrize(
    ("parent", "parameter"),
    [
        ("ami-0123456789abcdef0", None),
        (PARENT, f"arn:aws:ssm:{REGION}::parameter{PARENT}"),
        ("/golden/base", f"arn:aws:ssm:{HERE}:parameter/golden/base"),
    ],
)
def test_a_bake_reads_the_parameter_of_its_parent_image_and_no_other(parent: str, parameter: str | None) -> None:
    """The parent image may be an id, AWS's public parameter, or the account's own."""
    read = statements(str(recorded("dev", parent).one("roles-image-execution-policy", POLICY).inputs["policy"]))
    assert [s["Resource"] for s in read if s["Sid"] == "ReadParentImage"] == ([[parameter]] if parameter else [])


def test_roles_are_assumed_by_their_service_for_this_account_only() -> None:
    """A service that acts for many accounts may use a role for this one only; an instance needs no such condition."""
    trusts = {role.name: statements(str(role.inputs["assumeRolePolicy"]))[0] for role in recorded().of_type(ROLE)}
    services = {name: trust["Principal"] for name, trust in trusts.items()}
    assert services == {
        "image-expiry-role": {"Service": "lambda.amazonaws.com"},
        "flow-logs-role": {"Service": "vpc-flow-logs.amazonaws.com"},
        "roles-builder": {"Service": "ec2.amazonaws.com"},
        "roles-image-execution": {"Service": "imagebuilder.amazonaws.com"},
        "roles-worker": {"Service": "ec2.amazonaws.com"},
        "silence-role": {"Service": "lambda.amazonaws.com"},
    }
    for name in ("flow-logs-role", "roles-image-execution"):
        assert trusts[name]["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_policies_fit_into_a_role() -> None:
    """With both pools and the longest environment, each role's policy keeps below IAM's limit."""
    for found in recorded("a234567890123456").of_type(POLICY):
        assert len("".join(str(found.inputs["policy"]).split())) < INLINE_LIMIT, found.name


def test_a_profile_waits_for_its_policy() -> None:
    """No instance starts with a role that may not do anything yet."""
    for kind in ("worker", "builder"):
        profile = recorded().one(f"roles-{kind}-profile")
        assert recorded().one(f"roles-{kind}-policy").urn in profile.dependencies


MADE_BY_IMAGE_BUILDER = {"aws:ResourceTag/CreatedBy": "EC2 Image Builder"}
RUN = f"{bucket('artifacts')}/runs/a/run.json"
WHEEL = f"{bucket('wheels')}/wheelhouse/abc/x.whl"
ARTIFACTS, WHEELS = bucket("artifacts"), bucket("wheels")
FILES = file_system()
THROUGH = {"elasticfilesystem:AccessPointArn": access_points()[1]}
INSTANCE = f"arn:aws:ec2:{HERE}:instance/i-0123456789abcdef0"
IMAGE_PARAMETER = f"arn:aws:ssm:{HERE}:parameter/imagebuilder/receipt-trainer/dev/worker-image"
WORKERS = group("receipt-trainer-dev-workers-gpu")
BUILDER_ROLE = f"arn:aws:iam::{ACCOUNT}:role/roles-builder"


ALLOWED = f"""
worker dynamodb:Query {table("receipts")}
worker dynamodb:Query {table("receipts")}/index/GSI3
worker dynamodb:UpdateItem {table("jobs")}
worker dynamodb:Query {table("jobs")}/index/GSI1
worker dynamodb:PutItem {table("instances")}
worker s3:PutObject {RUN}
worker s3:ListBucket {ARTIFACTS} s3:prefix=runs/a/
worker s3:GetObject {WHEEL}
worker s3:GetObject {WHEELS}/hf_cache/hub/model.safetensors
worker s3:ListBucket {WHEELS} s3:prefix=hf_cache/
worker sqs:ReceiveMessage {queue("gpu-high")}
worker sqs:ChangeMessageVisibility {queue("cpu-normal")}
worker sqs:SendMessage {queue("cpu-normal")}
worker elasticfilesystem:ClientWrite {FILES} elasticfilesystem:AccessPointArn={access_points()[1]}
worker ssm:GetParameter arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training-defaults
worker autoscaling:SuspendProcesses {WORKERS}
worker autoscaling:TerminateInstanceInAutoScalingGroup {WORKERS}
worker autoscaling:DescribeAutoScalingGroups *
worker cloudwatch:PutMetricData * cloudwatch:namespace={metrics.NAMESPACE}
worker logs:PutLogEvents {log_group("boot")}:log-stream:i-0
worker ssm:UpdateInstanceInformation {INSTANCE}
worker ssmmessages:OpenDataChannel *
builder imagebuilder:GetComponent arn:aws:imagebuilder:{HERE}:component/NAME-1a2b3c4/1.0.0/1
builder s3:GetObject arn:aws:s3:::ec2imagebuilder-toe-us-east-1-prod/latest/awstoe
builder s3:GetObject {WHEEL}
builder ssm:GetParameter arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/wheelhouse
builder logs:CreateLogGroup arn:aws:logs:{HERE}:log-group:/aws/imagebuilder/NAME
builder logs:CreateLogGroup arn:aws:logs:{HERE}:log-group:/aws/imagebuilder/NAME:log-stream:
execution logs:CreateLogGroup arn:aws:logs:{HERE}:log-group:/aws/imagebuilder/NAME
execution logs:CreateLogGroup arn:aws:logs:{HERE}:log-group:/aws/imagebuilder/NAME:log-stream:
flow logs:CreateLogGroup {log_group("flow")}
flow logs:CreateLogGroup {log_group("flow")}:log-stream:
execution ssm:PutParameter {IMAGE_PARAMETER}
execution ssm:GetParameter arn:aws:ssm:{REGION}::parameter{PARENT}
execution ec2:TerminateInstances {INSTANCE} aws:ResourceTag/CreatedBy=EC2 Image Builder
execution ec2:RunInstances {INSTANCE} aws:RequestTag/CreatedBy=EC2 Image Builder
execution ec2:RunInstances arn:aws:ec2:{REGION}::image/ami-0123456789abcdef0
execution ssm:SendCommand {INSTANCE} aws:ResourceTag/CreatedBy=EC2 Image Builder
execution ssm:SendCommand arn:aws:ssm:{REGION}::document/AWS-RunShellScript
execution iam:PassRole {BUILDER_ROLE} iam:PassedToService=ec2.amazonaws.com
execution imagebuilder:StartImagePipelineExecution arn:aws:imagebuilder:{HERE}:image-pipeline/NAME
flow logs:PutLogEvents {log_group("flow")}:log-stream:eni-0-all
silence autoscaling:DescribeAutoScalingGroups *
silence ec2:DescribeInstances *
silence dynamodb:BatchGetItem {table("instances")}
silence dynamodb:UpdateItem {table("instances")}
silence dynamodb:Query {table("jobs")} dynamodb:LeadingKeys=LOOKS
silence dynamodb:Query {table("jobs")}/index/GSI1 dynamodb:LeadingKeys=STATUS#PENDING
silence dynamodb:PutItem {table("jobs")} dynamodb:LeadingKeys=LOOKS
silence dynamodb:UpdateItem {table("jobs")} dynamodb:LeadingKeys=JOB#1
silence sqs:GetQueueAttributes {queue("gpu-high")}
silence sqs:SendMessage {queue("cpu-normal")}
silence autoscaling:TerminateInstanceInAutoScalingGroup {WORKERS}
silence autoscaling:SuspendProcesses {group("receipt-trainer-dev-workers-cpu")}
silence cloudwatch:PutMetricData * cloudwatch:namespace={metrics.NAMESPACE}
silence logs:PutLogEvents {log_group("silent-instances")}:log-stream:2026/11/21/x
silence dynamodb:Query {table("jobs")} dynamodb:LeadingKeys=NOTICES
silence dynamodb:Query {table("jobs")} dynamodb:LeadingKeys=JOB#0b1c
silence dynamodb:DeleteItem {table("jobs")} dynamodb:LeadingKeys=NOTICES
silence sns:Publish {topic("notices")}
"""


@pytest.mark.parametrize("request_", ALLOWED.strip().splitlines())
def test_a_role_may_do_its_work(request_: str) -> None:
    """What boot scripts, workers, bakes and flow logs ask for is allowed."""
    assert asked(request_)


REFUSED = f"""
worker dynamodb:DeleteTable {table("jobs")}
worker dynamodb:UpdateTable {table("instances")}
worker dynamodb:PutItem {table("receipts")}
worker dynamodb:BatchWriteItem {table("receipts")}
worker dynamodb:Query {table("jobs-of-others")}
worker dynamodb:GetItem {table("receipts").replace("-dev-", "-prod-")}
worker s3:PutObject {ARTIFACTS}/elsewhere/run.json
worker s3:PutObject {ARTIFACTS}/runs-of-others/run.json
worker s3:DeleteObject {RUN}
worker s3:PutObject {WHEEL}
worker s3:GetObject {WHEELS}/secret
worker s3:ListBucket {ARTIFACTS} s3:prefix=elsewhere/
worker s3:ListBucket {ARTIFACTS}
worker sqs:SendMessage {queue("gpu-dead")}
worker sqs:ReceiveMessage {queue("gpu-dead")}
worker sqs:PurgeQueue {queue("gpu-high")}
worker elasticfilesystem:ClientMount {FILES}
worker elasticfilesystem:ClientMount {FILES} elasticfilesystem:AccessPointArn={access_point("other")}
worker elasticfilesystem:ClientRootAccess {FILES} elasticfilesystem:AccessPointArn={access_points()[1]}
worker ssm:GetParameter arn:aws:ssm:{HERE}:parameter/other/secret
worker ssm:PutParameter arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training-defaults
worker ssm:PutParameter {IMAGE_PARAMETER}
worker autoscaling:SuspendProcesses {group("receipt-trainer-prod-workers-gpu")}
worker autoscaling:UpdateAutoScalingGroup {WORKERS}
worker autoscaling:ResumeProcesses {WORKERS}
worker cloudwatch:PutMetricData * cloudwatch:namespace=AWS/Billing
worker logs:PutLogEvents {log_group("flow")}:log-stream:i-0
worker ec2:TerminateInstances {INSTANCE}
worker ssm:SendCommand {INSTANCE}
worker ssm:StartSession {INSTANCE}
worker iam:PassRole {BUILDER_ROLE} iam:PassedToService=ec2.amazonaws.com
builder s3:GetObject {RUN}
builder s3:PutObject {WHEEL}
builder ssm:GetParameter arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training
builder ssm:PutParameter {IMAGE_PARAMETER}
builder dynamodb:GetItem {table("receipts")}
builder imagebuilder:GetComponent arn:aws:imagebuilder:{HERE}:component/NAME-2/1.2.3/1
builder imagebuilder:GetComponent arn:aws:imagebuilder:{HERE}:component/NAME-worker-1a2b3c4/1.0.0/1
builder logs:CreateLogGroup arn:aws:logs:{HERE}:log-group:/aws/imagebuilder/NAME-2
flow logs:CreateLogGroup {log_group("flow-2")}
execution ssm:PutParameter arn:aws:ssm:{HERE}:parameter/imagebuilder/other
execution ssm:GetParameter arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training
execution ec2:TerminateInstances {INSTANCE}
execution ec2:RunInstances {INSTANCE}
execution ssm:SendCommand {INSTANCE}
execution ssm:SendCommand arn:aws:ssm:{HERE}:document/mine
execution ec2:DeregisterImage arn:aws:ec2:{REGION}::image/ami-0123456789abcdef0
execution iam:PassRole arn:aws:iam::{ACCOUNT}:role/admin iam:PassedToService=ec2.amazonaws.com
execution iam:PassRole {BUILDER_ROLE} iam:PassedToService=lambda.amazonaws.com
execution s3:GetObject {WHEEL}
flow logs:PutLogEvents {log_group("boot")}:log-stream:eni-0-all
flow logs:DeleteLogGroup {log_group("flow")}
silence autoscaling:TerminateInstanceInAutoScalingGroup {group("receipt-trainer-prod-workers-gpu")}
silence autoscaling:TerminateInstanceInAutoScalingGroup {group("receipt-trainer-dev-workers-gpu-2")}
silence autoscaling:ResumeProcesses {WORKERS}
silence autoscaling:UpdateAutoScalingGroup {WORKERS}
silence ec2:TerminateInstances {INSTANCE}
silence dynamodb:DeleteItem {table("instances")}
silence dynamodb:Scan {table("instances")}
silence dynamodb:PutItem {table("jobs")} dynamodb:LeadingKeys=JOB#1
silence dynamodb:UpdateItem {table("jobs")} dynamodb:LeadingKeys=SWEEP#a
silence dynamodb:Query {table("receipts")}
silence sqs:ReceiveMessage {queue("cpu-normal")}
silence sqs:SendMessage {queue("cpu-dead")}
silence cloudwatch:PutMetricData * cloudwatch:namespace=AWS/Billing
silence logs:PutLogEvents {log_group("worker")}:log-stream:i-0
silence logs:CreateLogGroup {log_group("silent-instances")}
silence dynamodb:Query {table("jobs")} dynamodb:LeadingKeys=SWEEPS
silence dynamodb:DeleteItem {table("jobs")} dynamodb:LeadingKeys=JOB#0b1c
silence sns:Publish {topic("alarms")}
silence sns:Subscribe {topic("notices")}
worker sns:Publish {topic("notices")}
"""


@pytest.mark.parametrize("request_", REFUSED.strip().splitlines())
def test_a_role_may_do_nothing_else(request_: str) -> None:
    """What would harm data, another stack or the account is refused, also where names begin alike."""
    assert not asked(request_)


def asked(line: str) -> bool:
    """Whether a role is allowed what a line says: `role action resource [key=value]`, NAME for the recipe's name."""
    role, action, resource, *rest = line.split(" ", 3)
    (builder,) = [s["Resource"][0] for s in statements(policy("execution")) if s["Sid"] == "PassBuilderRole"]
    named = resource.replace("NAME", "receipt-trainer-dev-worker").replace(BUILDER_ROLE, builder)
    return allowed(policy(role), action, named, dict([rest[0].split("=", 1)]) if rest else {})
