"""The checks of the account: each is well on a whole account, and fails on one that is not."""

from __future__ import annotations

import dataclasses

import pytest

from receipt_trainer.doctor import account
from receipt_trainer.doctor.examination import examine
from receipt_trainer.doctor.subject import Clients, Subject
from tests.doctor.conftest import EMAIL, Stood, levels, look, with_outputs
from tests.doctor.wire import Wire, as_json, cost_tag, no_right, no_right_on_ec2, public_access, quota, volume_key


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


def with_pools(subject: Subject, **gpu: object) -> Subject:
    """The stack without image builds, with another pool gpu and the pool cpu of 4-vCPU types."""
    assert subject.outputs
    pools = dict(subject.outputs.pools)
    pools["gpu"] = pools["gpu"].model_copy(update=gpu)
    pools["cpu"] = pools["cpu"].model_copy(update={"instance_types": ["c7i.xlarge"], "max_instances": 2})
    return with_outputs(subject, pools=pools, image_pipeline_arn=None)


def test_every_pool_and_market_has_its_quota(subject: Subject) -> None:
    """Spot and on-demand instances, G and standard families, and bakes draw on quotas of their own."""
    found = look(account.look_at_quotas, subject)
    assert levels(found) == ["ok", "ok", "ok"]
    mixed = with_pools(subject, instance_types=["g5.2xlarge"], max_instances=3, on_demand_base=1)
    texts = [one.text for one in look(account.look_at_quotas, mixed)]
    assert [text.split(":")[0] for text in texts] == [
        "spot vCPUs of G and VT families",
        "on demand vCPUs of G and VT families",
        "spot vCPUs of standard families",
    ]
    assert "64 of at least 16 (pool gpu: 2 x 8)" in texts[0]
    assert "64 of at least 8 (pool gpu: 1 x 8)" in texts[1]
    assert "64 of at least 8 (pool cpu: 2 x 4)" in texts[2]


@pytest.mark.parametrize(("value", "level"), [(8, "ok"), (5, "warning"), (3, "failure")])
def test_a_small_quota(value: float, level: str, subject: Subject, wire: Wire) -> None:
    """Enough for one instance and not for the maximum is a warning; for none, a failure; the request is written out."""
    wire.answers["GetServiceQuota"] = quota(value)
    (gpu, cpu) = look(account.look_at_quotas, with_pools(subject, instance_types=["g5.xlarge"], max_instances=2))
    assert (gpu.level, cpu.level) == (level, level)
    if level != "ok":
        assert gpu.remedies == (
            "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code L-3819A6DF"
            " --desired-value 8 --region us-east-1",
        )


def test_an_account_without_a_value_of_its_own_has_the_default(subject: Subject, wire: Wire) -> None:
    """Where Service Quotas knows no value of the account, AWS's default counts."""
    wire.answers["GetServiceQuota"] = as_json({"__type": "NoSuchResourceException", "Message": "none"}, 400)
    wire.answers["GetAWSDefaultServiceQuota"] = quota(0)
    assert levels(look(account.look_at_quotas, with_pools(subject))) == ["failure", "failure"]


def test_a_right_that_is_lacking_is_named(subject: Subject, wire: Wire) -> None:
    """Without the right to read a quota there is a warning each, with the action."""
    wire.answers["GetServiceQuota"] = no_right("servicequotas:GetServiceQuota")
    found = look(account.look_at_quotas, subject)
    assert set(levels(found)) == {"warning"}
    assert all("servicequotas:GetServiceQuota" in one.text for one in found)


def test_classes_of_types() -> None:
    """The families that the stack accepts are in the classes of AWS's list; one that is not known says so."""
    classes = {
        "g": ("g4dn.xlarge", "g5.xlarge", "g6.xlarge", "gr6.4xlarge", "g6e.xlarge"),
        "p": ("p4d.24xlarge", "p4de.24xlarge"),
        "p5": ("p5.48xlarge", "p5e.48xlarge", "p5en.48xlarge"),
        "standard": ("c6i.xlarge", "m7a.xlarge", "r7i.xlarge", "t3.micro"),
        None: ("p6-b200.48xlarge", "inf2.xlarge", "x1.16xlarge"),
    }
    for expected, types in classes.items():
        assert {account.quota_class(kind) for kind in types} == {expected}


def test_a_family_without_a_known_quota_is_said(subject: Subject) -> None:
    """Of a type whose quota is not known the whole list is the remedy."""
    found = look(account.look_at_quotas, with_pools(subject, instance_types=["p6-b200.48xlarge"]))
    assert levels(found) == ["warning", "ok"]
    assert "list-service-quotas" in found[0].remedies[0]
