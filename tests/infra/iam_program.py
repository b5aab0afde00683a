"""The roles of the program, and the ARNs of what it registers."""

from __future__ import annotations

from typing import Any

from receipt_trainer.local.pulumi_program import Recording
from tests.infra.edits import stack, statements

ACCOUNT, REGION = "123456789012", "us-east-1"
HERE = f"{REGION}:{ACCOUNT}"
PARENT = "/aws/service/deeplearning/ami/x86_64/some-gpu/latest/ami-id"
POLICY, ROLE = "aws:iam/rolePolicy:RolePolicy", "aws:iam/role:Role"
ROLES = ("worker", "builder", "execution", "flow", "silence", "expiry")


def recorded(environment: str = "dev", parent_image: str = PARENT) -> Recording:
    bake = {"enabled": True, "parent_image": parent_image, "schedule": ""}
    return stack(environment=environment, golden_ami=bake, tags={"team": "vision"})


def outputs() -> dict[str, Any]:
    return recorded().outputs


def table(name: str) -> str:
    return f"arn:aws:dynamodb:{HERE}:table/receipt-trainer-dev-{name}"


def bucket(name: str) -> str:
    """`artifacts` or `wheels`."""
    sid = {"artifacts": "ArtifactsList", "wheels": "WheelhouseList"}[name]
    return str(_statement(sid)["Resource"][0])


def topic(name: str) -> str:
    return str(outputs()[{"notices": "notices_topic_arn", "alarms": "alarm_topic_arn"}[name]])


def queue(name: str) -> str:
    """`gpu-high`, or `gpu-dead`."""
    pool, _, kind = name.partition("-")
    found = outputs()["pools"][pool]
    url = found["dead_letter_queue_url"] if kind == "dead" else found["queue_urls"][kind]
    return f"arn:aws:sqs:{HERE}:{url.rpartition('/')[2]}"


def access_points() -> list[str]:
    """Those that the worker's policy names."""
    return list(_statement("MountFiles")["Condition"]["StringEquals"]["elasticfilesystem:AccessPointArn"])


def file_system() -> str:
    return str(_statement("MountFiles")["Resource"][0])


def _statement(sid: str) -> dict[str, Any]:
    (found,) = [one for one in statements(policy("worker")) if one["Sid"] == sid]
    return found


def access_point(name: str) -> str:
    return f"arn:aws:elasticfilesystem:{HERE}:access-point/{name}"


def log_group(name: str) -> str:
    return f"arn:aws:logs:{HERE}:log-group:/receipt-trainer/dev/{name}"


def group(name: str) -> str:
    return f"arn:aws:autoscaling:{HERE}:autoScalingGroup:11111111-2222:autoScalingGroupName/{name}"


def policy(role: str) -> str:
    name = {
        "worker": "roles-worker-policy",
        "builder": "roles-builder-policy",
        "execution": "roles-image-execution-policy",
        "flow": "flow-logs-policy",
        "silence": "silence-policy",
        "expiry": "image-expiry-policy",
    }[role]
    return str(recorded().one(name, POLICY).inputs["policy"])


def documents() -> dict[str, str]:
    found = {f"{p.name}": str(p.inputs["policy"]) for p in recorded().of_type(POLICY)}
    return found | {f"trust of {r.name}": str(r.inputs["assumeRolePolicy"]) for r in recorded().of_type(ROLE)}
