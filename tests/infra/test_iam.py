from __future__ import annotations

import json
from typing import Final

import pytest

from tests.infra.edits import stack, statements
from tests.infra.iam_program import ACCOUNT, HERE, PARENT, POLICY, REGION, ROLE, ROLES, documents, policy, recorded
from tests.infra.policy_reading import listed

INLINE_LIMIT = 10_240
"""Characters of all inline policies of one role, without white space (IAM User Guide, "IAM and AWS STS quotas")."""

NO_RESOURCE_TYPE: Final = frozenset(
    {
        "autoscaling:DescribeAutoScalingGroups",
        "cloudwatch:PutMetricData",
        "ec2:DescribeHosts",
        "ec2:DescribeImages",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeInstances",
        "ec2:DescribeSnapshots",
        "ec2:DescribeSpotPriceHistory",
        "ec2:DescribeSubnets",
        "ec2:DescribeTags",
        "ec2messages:AcknowledgeMessage",
        "ec2messages:DeleteMessage",
        "ec2messages:FailMessage",
        "ec2messages:GetEndpoint",
        "ec2messages:GetMessages",
        "ec2messages:SendReply",
        "imagebuilder:ListImages",
        "logs:DescribeLogGroups",
        "ssm:DescribeInstanceInformation",
        "ssm:GetCommandInvocation",
        "ssm:ListAssociations",
        "ssm:ListCommandInvocations",
        "ssm:ListInventoryEntries",
        "ssm:PutInventory",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }
)
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


def test_policies_are_json_and_tags_are_set() -> None:
    """Documents carry the version that knows policy variables; every role carries the stack's tags."""
    assert all(json.loads(document)["Version"] == "2012-10-17" for document in documents().values())
    for role in recorded().of_type(ROLE):
        assert role.inputs["tags"]["team"] == "vision"
        assert role.inputs["tags"]["Project"] == "receipt-trainer"
