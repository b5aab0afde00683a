from __future__ import annotations

from functools import cache

from infra.iam import (
    FlowLogRole,
    FlowLogRoleArgs,
    ImageExpiryRole,
    ImageExpiryRoleArgs,
    Roles,
    RolesArgs,
    SilenceRole,
    SilenceRoleArgs,
)
from infra.naming import Naming
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES
from receipt_trainer.local.pulumi_program import Recording, run

ACCOUNT, REGION = "123456789012", "us-east-1"
HERE = f"{REGION}:{ACCOUNT}"
PARENT = "/aws/service/deeplearning/ami/x86_64/some-gpu/latest/ami-id"
POLICY, ROLE = "aws:iam/rolePolicy:RolePolicy", "aws:iam/role:Role"


def roles_args(naming: Naming, parent_image: str = PARENT) -> RolesArgs:
    return RolesArgs(
        naming=naming,
        region=REGION,
        account_id=ACCOUNT,
        partition="aws",
        receipts_table_arn=table("receipts"),
        jobs_table_arn=table("jobs"),
        instances_table_arn=table("instances"),
        artifacts_bucket_arn="arn:aws:s3:::artifacts-1234567",
        wheels_bucket_arn="arn:aws:s3:::wheels-1234567",
        wheelhouse_parameter_arn=f"arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/wheelhouse",
        queue_arns=[queue(f"{pool}-{priority}") for pool in POOL_NAMES for priority in PRIORITIES],
        file_system_arn=f"arn:aws:elasticfilesystem:{HERE}:file-system/fs-0123456789abcdef0",
        access_point_arns=[access_point("fsap-0"), access_point("fsap-1")],
        parameter_arns=[f"arn:aws:ssm:{HERE}:parameter/receipt-trainer/dev/training"],
        parent_image=parent_image,
        pools=POOL_NAMES,
        log_group_arns=[log_group("boot"), log_group("worker")],
    )


def silence_args(naming: Naming) -> SilenceRoleArgs:
    return SilenceRoleArgs(
        naming=naming,
        region=REGION,
        account_id=ACCOUNT,
        partition="aws",
        instances_table_arn=table("instances"),
        jobs_table_arn=table("jobs"),
        queue_arns=[queue(f"{pool}-{priority}") for pool in POOL_NAMES for priority in PRIORITIES],
        notices_topic_arn=topic("notices"),
        log_group_arn=log_group("silent-instances"),
        pools=POOL_NAMES,
    )


def table(name: str) -> str:
    return f"arn:aws:dynamodb:{HERE}:table/receipt-trainer-dev-{name}"


def topic(name: str) -> str:
    return f"arn:aws:sns:{HERE}:{name}"


def queue(name: str) -> str:
    return f"arn:aws:sqs:{HERE}:{name}.fifo"


def access_point(name: str) -> str:
    return f"arn:aws:elasticfilesystem:{HERE}:access-point/{name}"


def log_group(name: str) -> str:
    return f"arn:aws:logs:{HERE}:log-group:/receipt-trainer/dev/{name}"


def group(name: str) -> str:
    return f"arn:aws:autoscaling:{HERE}:autoScalingGroup:11111111-2222:autoScalingGroupName/{name}"


@cache
def recorded(environment: str = "dev", parent_image: str = PARENT) -> Recording:
    def program() -> None:
        naming = Naming("receipt-trainer", environment, {"team": "vision"})
        FlowLogRole("flow-log-role", FlowLogRoleArgs(naming, REGION, ACCOUNT, "aws", log_group("flow")))
        Roles("roles", roles_args(naming, parent_image))
        SilenceRole("silence", silence_args(naming))
        ImageExpiryRole("expiry", ImageExpiryRoleArgs(naming, REGION, ACCOUNT, "aws"))

    return run(program)


def policy(role: str) -> str:
    name = {
        "worker": "roles-worker-policy",
        "builder": "roles-builder-policy",
        "execution": "roles-image-execution-policy",
        "flow": "flow-log-role-policy",
        "silence": "silence-policy",
        "expiry": "expiry-policy",
    }[role]
    return str(recorded().one(name, POLICY).inputs["policy"])


def documents() -> dict[str, str]:
    found = {f"{p.name}": str(p.inputs["policy"]) for p in recorded().of_type(POLICY)}
    return found | {f"trust of {r.name}": str(r.inputs["assumeRolePolicy"]) for r in recorded().of_type(ROLE)}
