"""The checks of the account: each is well on a whole account, and fails on one that is not."""

from __future__ import annotations

import dataclasses

import pytest

from receipt_trainer.doctor import account
from receipt_trainer.doctor.examination import examine
from receipt_trainer.doctor.subject import Clients, Subject
from tests.doctor.conftest import EMAIL, Stood, levels, look, with_outputs
from tests.doctor.wire import Wire, as_json, cost_tag, no_right, no_right_on_ec2, public_access, volume_key


def test_credentials(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who we are is said; without credentials that is a failure, and AWS is asked nothing else."""
    assert levels(look(account.look_at_credentials, subject)) == ["ok"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    nobody = dataclasses.replace(subject, account="", clients=Clients())
    said = {check.name: found for check, found in examine(nobody)}
    assert levels(said["credentials"]) == ["failure"]
    assert "aws configure" in said["credentials"][0].remedies
    assert {name for name, found in said.items() if found} <= {
        *("program", "pulumi", "pulumi SDK", "AWS CLI", "credentials", "region")
    }


def test_expired_credentials(subject: Subject, wire: Wire) -> None:
    """A token that has expired is a failure with AWS's own word."""
    wire.answers["GetCallerIdentity"] = no_right_on_ec2()._replace(
        body="<ErrorResponse><Error><Code>ExpiredToken</Code><Message>is expired</Message></Error></ErrorResponse>"
    )
    (found,) = look(account.look_at_credentials, dataclasses.replace(subject, account=""))
    assert found.level == "failure"
    assert "ExpiredToken" in found.text


def test_region(subject: Subject) -> None:
    """Another region of plain commands is a warning, another one in the configuration a failure, none a failure."""
    assert levels(look(account.look_at_region, subject)) == ["ok"]
    other = dataclasses.replace(subject, configured_region="eu-west-1")
    (_, found) = look(account.look_at_region, other)
    assert (found.level, found.remedies) == ("warning", ("export AWS_REGION=us-east-1",))
    moved = dataclasses.replace(subject, settings={"aws:region": "eu-west-1"})
    (_, found) = look(account.look_at_region, moved)
    assert (found.level, found.remedies) == ("failure", ("pulumi config set aws:region us-east-1 --stack dev",))
    assert levels(look(account.look_at_region, dataclasses.replace(subject, region=None))) == ["failure"]


def test_zones(subject: Subject) -> None:
    """Too few zones are a failure; a pool of which no type is sold here is one, a type of several a warning."""
    assert levels(look(account.look_at_zones, subject)) == ["ok", "ok", "ok"]
    many = with_outputs(subject, private_subnet_ids=[f"subnet-{number}" for number in range(7)])
    assert levels(look(account.look_at_zones, many)) == ["failure", "ok", "ok"]
    assert subject.outputs
    pools = dict(subject.outputs.pools)
    pools["gpu"] = pools["gpu"].model_copy(update={"instance_types": ["g5.xlarge", "g99.xlarge"]})
    pools["cpu"] = pools["cpu"].model_copy(update={"instance_types": ["c99.xlarge"]})
    found = look(account.look_at_zones, with_outputs(subject, pools=pools))
    assert levels(found) == ["ok", "warning", "failure"]
    assert "g99.xlarge" in found[1].text


def test_key_of_volumes(subject: Subject, wire: Wire) -> None:
    """A key of the account's own is a warning with both remedies."""
    assert levels(look(account.look_at_volume_key, subject)) == ["ok"]
    key = "arn:aws:kms:us-east-1:123456789012:key/0f1d-1"
    wire.answers["GetEbsDefaultKmsKeyId"] = volume_key(key)
    (found,) = look(account.look_at_volume_key, subject)
    assert found.level == "warning"
    assert found.remedies[0].startswith(f"aws kms create-grant --key-id {key} --grantee-principal arn:aws:iam::1234")
    assert "reset-ebs-default-kms-key-id" in found.remedies[1]


@pytest.mark.parametrize(
    ("nat", "mode", "level"),
    [
        ("public", "off", "ok"),
        ("public", "block-ingress", "failure"),
        ("public", "block-bidirectional", "failure"),
        ("single", "block-ingress", "ok"),
        ("single", "block-bidirectional", "warning"),
        ("none", "block-bidirectional", "ok"),
    ],
)
def test_public_access(nat: str, mode: str, level: str, subject: Subject, wire: Wire) -> None:
    """Block Public Access stops workers with public addresses, and in both ways a NAT gateway."""
    wire.answers["DescribeVpcBlockPublicAccessOptions"] = public_access(mode)
    (found,) = look(account.look_at_public_access, with_outputs(subject, nat=nat))
    assert found.level == level
    assert level == "ok" or "create-vpc-block-public-access-exclusion --vpc-id vpc-" in found.remedies[0]


def test_budget(subject: Subject, wire: Wire) -> None:
    """A budget counts by a tag that must be active; without one nobody is asked."""
    assert levels(look(account.look_at_budget, subject)) == ["ok"]
    for answer in (cost_tag("Inactive"), as_json({"CostAllocationTags": []})):
        wire.answers["ListCostAllocationTags"] = answer
        (found,) = look(account.look_at_budget, subject)
        assert found.level == "warning"
        assert "update-cost-allocation-tags-status" in found.remedies[0]
    wire.answers["ListCostAllocationTags"] = no_right("ce:ListCostAllocationTags")
    assert levels(look(account.look_at_budget, with_outputs(subject, budget_usd=0))) == ["ok"]


def test_alarm_mail(subject: Subject, stood: Stood, wire: Wire) -> None:
    """An address that has not confirmed is a warning with the command for a new mail."""
    (found,) = look(account.look_at_alarm_mail, subject)
    assert (found.level, found.text) == ("ok", f"alarms go to {EMAIL}")
    member = (
        f"<Endpoint>{EMAIL}</Endpoint><Protocol>email</Protocol><SubscriptionArn>PendingConfirmation</SubscriptionArn>"
    )
    inner = f"<Subscriptions><member>{member}</member></Subscriptions>"
    wire.answers["ListSubscriptionsByTopic"] = no_right_on_ec2()._replace(
        status=200,
        body="<ListSubscriptionsByTopicResponse><ListSubscriptionsByTopicResult>"
        f"{inner}</ListSubscriptionsByTopicResult></ListSubscriptionsByTopicResponse>",
    )
    (found,) = look(account.look_at_alarm_mail, subject)
    assert found.level == "warning"
    assert found.remedies[0].startswith(f"aws sns subscribe --topic-arn {stood.outputs.alarm_topic_arn}")
    assert levels(look(account.look_at_alarm_mail, with_outputs(subject, alarm_topic_arn=None))) == ["warning"]


def test_notice_mail(subject: Subject) -> None:
    """The same of the topic of the notices; a stack that is older than the notices is to be updated."""
    (found,) = look(account.look_at_notice_mail, subject)
    assert (found.level, found.text) == ("ok", f"notices go to {EMAIL}")
    assert levels(look(account.look_at_notice_mail, with_outputs(subject, notices_topic_arn=None))) == ["warning"]
