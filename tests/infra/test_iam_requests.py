from __future__ import annotations

import pytest

from receipt_trainer.contract import metrics
from tests.infra.edits import statements
from tests.infra.iam_program import (
    ACCOUNT,
    HERE,
    PARENT,
    REGION,
    access_point,
    access_points,
    bucket,
    file_system,
    group,
    log_group,
    policy,
    queue,
    table,
    topic,
)
from tests.infra.policy_reading import allowed

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


@pytest.mark.parametrize(
    ("role", "action", "resource", "context"),
    [
        ("worker", "dynamodb:Query", table("receipts"), {}),
        ("worker", "dynamodb:Query", table("receipts") + "/index/GSI3", {}),
        ("worker", "dynamodb:UpdateItem", table("jobs"), {}),
        ("worker", "dynamodb:Query", table("jobs") + "/index/GSI1", {}),
        ("worker", "dynamodb:PutItem", table("instances"), {}),
        ("worker", "s3:PutObject", RUN, {}),
        ("worker", "s3:ListBucket", ARTIFACTS, {"s3:prefix": "runs/a/"}),
        ("worker", "s3:GetObject", WHEEL, {}),
        ("worker", "s3:GetObject", f"{WHEELS}/hf_cache/hub/model.safetensors", {}),
        ("worker", "s3:ListBucket", WHEELS, {"s3:prefix": "hf_cache/"}),
        ("worker", "sqs:ReceiveMessage", queue("gpu-high"), {}),
        ("worker", "sqs:ChangeMessageVisibility", queue("cpu-normal"), {}),
        ("worker", "sqs:SendMessage", queue("cpu-normal"), {}),
        ("worker", "elasticfilesystem:ClientWrite", FILES, THROUGH),
        ("worker", "ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training-defaults", {}),
        ("worker", "autoscaling:SuspendProcesses", WORKERS, {}),
        ("worker", "autoscaling:TerminateInstanceInAutoScalingGroup", WORKERS, {}),
        ("worker", "autoscaling:DescribeAutoScalingGroups", "*", {}),
        ("worker", "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": metrics.NAMESPACE}),
        ("worker", "logs:PutLogEvents", log_group("boot") + ":log-stream:i-0", {}),
        ("worker", "ssm:UpdateInstanceInformation", INSTANCE, {}),
        ("worker", "ssmmessages:OpenDataChannel", "*", {}),
        ("builder", "imagebuilder:GetComponent", f"arn:aws:imagebuilder:{HERE}:component/NAME-1a2b3c4/1.0.0/1", {}),
        ("builder", "s3:GetObject", "arn:aws:s3:::ec2imagebuilder-toe-us-east-1-prod/latest/awstoe", {}),
        ("builder", "s3:GetObject", WHEEL, {}),
        ("builder", "ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/wheelhouse", {}),
        *(
            (role, "logs:CreateLogGroup", f"arn:aws:logs:{HERE}:log-group:/aws/imagebuilder/NAME{end}", {})
            for role in ("builder", "execution")
            for end in ("", ":log-stream:")
        ),
        ("flow", "logs:CreateLogGroup", log_group("flow"), {}),
        ("flow", "logs:CreateLogGroup", log_group("flow") + ":log-stream:", {}),
        ("execution", "ssm:PutParameter", IMAGE_PARAMETER, {}),
        ("execution", "ssm:GetParameter", f"arn:aws:ssm:{REGION}::parameter{PARENT}", {}),
        ("execution", "ec2:TerminateInstances", INSTANCE, MADE_BY_IMAGE_BUILDER),
        ("execution", "ec2:RunInstances", INSTANCE, {"aws:RequestTag/CreatedBy": "EC2 Image Builder"}),
        ("execution", "ec2:RunInstances", f"arn:aws:ec2:{REGION}::image/ami-0123456789abcdef0", {}),
        ("execution", "ssm:SendCommand", INSTANCE, MADE_BY_IMAGE_BUILDER),
        ("execution", "ssm:SendCommand", f"arn:aws:ssm:{REGION}::document/AWS-RunShellScript", {}),
        ("execution", "iam:PassRole", BUILDER_ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
        (
            "execution",
            "imagebuilder:StartImagePipelineExecution",
            f"arn:aws:imagebuilder:{HERE}:image-pipeline/NAME",
            {},
        ),
        ("flow", "logs:PutLogEvents", log_group("flow") + ":log-stream:eni-0-all", {}),
        ("silence", "autoscaling:DescribeAutoScalingGroups", "*", {}),
        ("silence", "ec2:DescribeInstances", "*", {}),
        ("silence", "dynamodb:BatchGetItem", table("instances"), {}),
        ("silence", "dynamodb:UpdateItem", table("instances"), {}),
        ("silence", "dynamodb:Query", table("jobs"), {"dynamodb:LeadingKeys": "LOOKS"}),
        ("silence", "dynamodb:Query", table("jobs") + "/index/GSI1", {"dynamodb:LeadingKeys": "STATUS#PENDING"}),
        ("silence", "dynamodb:PutItem", table("jobs"), {"dynamodb:LeadingKeys": "LOOKS"}),
        ("silence", "dynamodb:UpdateItem", table("jobs"), {"dynamodb:LeadingKeys": "JOB#1"}),
        ("silence", "sqs:GetQueueAttributes", queue("gpu-high"), {}),
        ("silence", "sqs:SendMessage", queue("cpu-normal"), {}),
        ("silence", "autoscaling:TerminateInstanceInAutoScalingGroup", WORKERS, {}),
        ("silence", "autoscaling:SuspendProcesses", group("receipt-trainer-dev-workers-cpu"), {}),
        ("silence", "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": metrics.NAMESPACE}),
        ("silence", "logs:PutLogEvents", log_group("silent-instances") + ":log-stream:2026/11/21/x", {}),
        ("silence", "dynamodb:Query", table("jobs"), {"dynamodb:LeadingKeys": "NOTICES"}),
        ("silence", "dynamodb:Query", table("jobs"), {"dynamodb:LeadingKeys": "JOB#0b1c"}),
        ("silence", "dynamodb:DeleteItem", table("jobs"), {"dynamodb:LeadingKeys": "NOTICES"}),
        ("silence", "sns:Publish", topic("notices"), {}),
    ],
)
def test_a_role_may_do_its_work(role: str, action: str, resource: str, context: dict[str, str]) -> None:
    """What boot scripts, workers, bakes and flow logs ask for is allowed."""
    assert allowed(policy(role), action, named(resource), context)


@pytest.mark.parametrize(
    ("role", "action", "resource", "context"),
    [
        ("worker", "dynamodb:DeleteTable", table("jobs"), {}),
        ("worker", "dynamodb:UpdateTable", table("instances"), {}),
        ("worker", "dynamodb:PutItem", table("receipts"), {}),
        ("worker", "dynamodb:BatchWriteItem", table("receipts"), {}),
        ("worker", "dynamodb:Query", table("jobs-of-others"), {}),
        ("worker", "dynamodb:GetItem", table("receipts").replace("-dev-", "-prod-"), {}),
        ("worker", "s3:PutObject", f"{ARTIFACTS}/elsewhere/run.json", {}),
        ("worker", "s3:PutObject", f"{ARTIFACTS}/runs-of-others/run.json", {}),
        ("worker", "s3:DeleteObject", RUN, {}),
        ("worker", "s3:PutObject", WHEEL, {}),
        ("worker", "s3:GetObject", f"{WHEELS}/secret", {}),
        ("worker", "s3:ListBucket", ARTIFACTS, {"s3:prefix": "elsewhere/"}),
        ("worker", "s3:ListBucket", ARTIFACTS, {}),
        ("worker", "sqs:SendMessage", queue("gpu-dead"), {}),
        ("worker", "sqs:ReceiveMessage", queue("gpu-dead"), {}),
        ("worker", "sqs:PurgeQueue", queue("gpu-high"), {}),
        ("worker", "elasticfilesystem:ClientMount", FILES, {}),
        ("worker", "elasticfilesystem:ClientMount", FILES, {"elasticfilesystem:AccessPointArn": access_point("other")}),
        ("worker", "elasticfilesystem:ClientRootAccess", FILES, THROUGH),
        ("worker", "ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/other/secret", {}),
        ("worker", "ssm:PutParameter", f"arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training-defaults", {}),
        ("worker", "ssm:PutParameter", IMAGE_PARAMETER, {}),
        ("worker", "autoscaling:SuspendProcesses", group("receipt-trainer-prod-workers-gpu"), {}),
        ("worker", "autoscaling:UpdateAutoScalingGroup", WORKERS, {}),
        ("worker", "autoscaling:ResumeProcesses", WORKERS, {}),
        ("worker", "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/Billing"}),
        ("worker", "logs:PutLogEvents", log_group("flow") + ":log-stream:i-0", {}),
        ("worker", "ec2:TerminateInstances", INSTANCE, {}),
        ("worker", "ssm:SendCommand", INSTANCE, {}),
        ("worker", "ssm:StartSession", INSTANCE, {}),
        ("worker", "iam:PassRole", BUILDER_ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("builder", "s3:GetObject", RUN, {}),
        ("builder", "s3:PutObject", WHEEL, {}),
        ("builder", "ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training", {}),
        ("builder", "ssm:PutParameter", IMAGE_PARAMETER, {}),
        ("builder", "dynamodb:GetItem", table("receipts"), {}),
        ("builder", "imagebuilder:GetComponent", f"arn:aws:imagebuilder:{HERE}:component/NAME-2/1.2.3/1", {}),
        # The stack whose environment is "dev-worker".
        (
            "builder",
            "imagebuilder:GetComponent",
            f"arn:aws:imagebuilder:{HERE}:component/NAME-worker-1a2b3c4/1.0.0/1",
            {},
        ),
        ("builder", "logs:CreateLogGroup", f"arn:aws:logs:{HERE}:log-group:/aws/imagebuilder/NAME-2", {}),
        ("flow", "logs:CreateLogGroup", log_group("flow-2"), {}),
        ("execution", "ssm:PutParameter", f"arn:aws:ssm:{HERE}:parameter/imagebuilder/other", {}),
        ("execution", "ssm:GetParameter", f"arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training", {}),
        ("execution", "ec2:TerminateInstances", INSTANCE, {}),
        ("execution", "ec2:RunInstances", INSTANCE, {}),
        ("execution", "ssm:SendCommand", INSTANCE, {}),
        ("execution", "ssm:SendCommand", f"arn:aws:ssm:{HERE}:document/mine", {}),
        ("execution", "ec2:DeregisterImage", f"arn:aws:ec2:{REGION}::image/ami-0123456789abcdef0", {}),
        (
            "execution",
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/admin",
            {"iam:PassedToService": "ec2.amazonaws.com"},
        ),
        ("execution", "iam:PassRole", BUILDER_ROLE, {"iam:PassedToService": "lambda.amazonaws.com"}),
        ("execution", "s3:GetObject", WHEEL, {}),
        ("flow", "logs:PutLogEvents", log_group("boot") + ":log-stream:eni-0-all", {}),
        ("flow", "logs:DeleteLogGroup", log_group("flow"), {}),
        (
            "silence",
            "autoscaling:TerminateInstanceInAutoScalingGroup",
            group("receipt-trainer-prod-workers-gpu"),
            {},
        ),
        ("silence", "autoscaling:TerminateInstanceInAutoScalingGroup", group("receipt-trainer-dev-workers-gpu-2"), {}),
        ("silence", "autoscaling:ResumeProcesses", WORKERS, {}),
        ("silence", "autoscaling:UpdateAutoScalingGroup", WORKERS, {}),
        ("silence", "ec2:TerminateInstances", INSTANCE, {}),
        ("silence", "dynamodb:DeleteItem", table("instances"), {}),
        ("silence", "dynamodb:Scan", table("instances"), {}),
        ("silence", "dynamodb:PutItem", table("jobs"), {"dynamodb:LeadingKeys": "JOB#1"}),
        ("silence", "dynamodb:UpdateItem", table("jobs"), {"dynamodb:LeadingKeys": "SWEEP#a"}),
        ("silence", "dynamodb:Query", table("receipts"), {}),
        ("silence", "sqs:ReceiveMessage", queue("cpu-normal"), {}),
        ("silence", "sqs:SendMessage", queue("cpu-dead"), {}),
        ("silence", "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": "AWS/Billing"}),
        ("silence", "logs:PutLogEvents", log_group("worker") + ":log-stream:i-0", {}),
        ("silence", "logs:CreateLogGroup", log_group("silent-instances"), {}),
        ("silence", "dynamodb:Query", table("jobs"), {"dynamodb:LeadingKeys": "SWEEPS"}),
        ("silence", "dynamodb:DeleteItem", table("jobs"), {"dynamodb:LeadingKeys": "JOB#0b1c"}),
        ("silence", "sns:Publish", topic("alarms"), {}),
        ("silence", "sns:Subscribe", topic("notices"), {}),
        ("worker", "sns:Publish", topic("notices"), {}),
    ],
)
def test_a_role_may_do_nothing_else(role: str, action: str, resource: str, context: dict[str, str]) -> None:
    """What would harm data, another stack or the account is refused, also where names begin alike."""
    assert not allowed(policy(role), action, named(resource), context)


def named(resource: str) -> str:
    """The resource, with what only the recorded program knows put in."""
    (builder,) = [s["Resource"][0] for s in statements(policy("execution")) if s["Sid"] == "PassBuilderRole"]
    return resource.replace("NAME", "receipt-trainer-dev-worker").replace(BUILDER_ROLE, builder)
