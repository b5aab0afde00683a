"""Takes an instance from its worker: a spot instance by AWS Fault Injection Service, another by stopping its unit.

Sources: AWS FIS User Guide, "AWS FIS actions reference" (aws:ec2:send-spot-instance-interruptions) and "IAM roles for
AWS FIS experiments"; AWS Systems Manager User Guide, "AWS Systems Manager Run Command".
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from tests.end_to_end.journey import JourneyError
from tests.end_to_end.leftovers import Stack

ACTION: Final = "aws:ec2:send-spot-instance-interruptions"
TRIES: Final = 12
WAIT_S: Final = 10.0
"""A new role is known everywhere after some seconds; until then an experiment fails."""
_POLICY: Final = "interrupt"
STOP: Final = "systemctl stop --no-block receipt-worker"
"""The worker hands its job back, and ends its instance as if it had been taken."""


class Interruptions:
    """What it makes in the account, `tidy` takes away."""

    def __init__(self, stack: Stack, account_id: str, region: str, *, sleep: Callable[[float], None] = time.sleep):
        """Make nothing yet; `sleep` waits between tries."""
        self._stack, self._account_id, self._region, self._sleep = stack, account_id, region, sleep
        self._role = f"{stack.prefix}-fis"
        self._template: str | None = None

    def interrupt(self, instance_id: str, *, is_spot: bool) -> str:
        """Have it interrupted; says how.

        Raises:
            JourneyError: it cannot be.
        """
        why = "it is no spot instance"
        if is_spot:
            try:
                return self._inject(instance_id)
            except (ClientError, BotoCoreError, JourneyError) as error:
                why = f"fault injection does not work: {error}"
        try:
            self._stack.client("ssm").send_command(
                InstanceIds=[instance_id], DocumentName="AWS-RunShellScript", Parameters={"commands": [STOP]}
            )
        except (ClientError, BotoCoreError) as error:
            raise JourneyError(f"{instance_id} cannot be interrupted: {why}; Run Command: {error}") from error
        return f"{instance_id}: `{STOP}` is sent ({why})"

    def _inject(self, instance_id: str) -> str:
        role, arn = self._make_role(), f"arn:aws:ec2:{self._region}:{self._account_id}:instance/{instance_id}"
        fis, said = self._stack.client("fis"), "nothing"
        for _ in range(TRIES):
            try:
                if self._template is None:
                    self._template = fis.create_experiment_template(**self._experiment(role, arn))[
                        "experimentTemplate"
                    ]["id"]
                state = self._run(self._template)
                if state["status"] in ("running", "completed"):
                    return f"{instance_id}: AWS is told to interrupt it, two minutes after its notice"
                said = f"{state['status']}: {state.get('reason')}"
            except ClientError as error:
                said = str(error)
                if error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException"):
                    raise
            self._sleep(WAIT_S)
        raise JourneyError(said)

    def _run(self, template: str) -> dict[str, Any]:
        fis = self._stack.client("fis")
        experiment = fis.start_experiment(experimentTemplateId=template)["experiment"]
        for _ in range(TRIES):
            state: dict[str, Any] = fis.get_experiment(id=experiment["id"])["experiment"]["state"]
            if state["status"] not in ("pending", "initiating"):
                break
            self._sleep(WAIT_S)
        return state

    def _experiment(self, role: str, instance_arn: str) -> dict[str, Any]:
        return {
            "description": "A worker of the first hour loses its spot instance",
            "roleArn": role,
            "stopConditions": [{"source": "none"}],
            "targets": {
                "worker": {
                    "resourceType": "aws:ec2:spot-instance",
                    "resourceArns": [instance_arn],
                    "selectionMode": "ALL",
                }
            },
            "actions": {
                "take": {
                    "actionId": ACTION,
                    "parameters": {"durationBeforeInterruption": "PT2M"},
                    "targets": {"SpotInstances": "worker"},
                }
            },
            "tags": self._tags(),
        }

    def _tags(self) -> dict[str, str]:
        return {"Project": self._stack.project, "Environment": self._stack.environment}

    def _make_role(self) -> str:
        """A role by which FIS may interrupt this stack's instances, and no others."""
        iam, own = self._stack.client("iam"), {"StringEquals": {"aws:SourceAccount": self._account_id}}
        trust = {"Effect": "Allow", "Principal": {"Service": "fis.amazonaws.com"}, "Action": "sts:AssumeRole"}
        made = iam.create_role(
            RoleName=self._role,
            AssumeRolePolicyDocument=_policy(trust | {"Condition": own}),
            Description="Fault injection of the end-to-end test",
            Tags=[{"Key": key, "Value": value} for key, value in self._tags().items()],
        )
        ours = {"StringEquals": {f"aws:ResourceTag/{key}": value for key, value in self._tags().items()}}
        instances = f"arn:aws:ec2:{self._region}:{self._account_id}:instance/*"
        iam.put_role_policy(
            RoleName=self._role,
            PolicyName=_POLICY,
            PolicyDocument=_policy(
                {
                    "Sid": "Interrupt",
                    "Effect": "Allow",
                    "Action": "ec2:SendSpotInstanceInterruptions",
                    "Resource": instances,
                    "Condition": ours,
                },
                # DescribeInstances knows no resources (Service Authorization Reference, Amazon EC2).
                {"Sid": "Look", "Effect": "Allow", "Action": "ec2:DescribeInstances", "Resource": "*"},
            ),
        )
        return str(made["Role"]["Arn"])

    def tidy(self) -> None:
        """Remove template and role, if they are there; may be called again."""
        iam = self._stack.client("iam")
        if self._template is not None:
            with _gone():
                self._stack.client("fis").delete_experiment_template(id=self._template)
        with _gone():
            iam.delete_role_policy(RoleName=self._role, PolicyName=_POLICY)
        with _gone():
            iam.delete_role(RoleName=self._role)


def _policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@contextlib.contextmanager
def _gone() -> Any:
    """What is not there needs no removing."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchEntity", "ResourceNotFoundException"):
            raise
