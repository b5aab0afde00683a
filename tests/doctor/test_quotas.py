"""vCPU quotas against the pools, with Service Quotas answered over HTTP."""

from __future__ import annotations

import pytest

from receipt_trainer.doctor import quotas
from receipt_trainer.doctor.subject import Subject
from tests.doctor.conftest import levels, look, with_outputs
from tests.doctor.wire import Wire, as_json, no_right, quota


def with_pools(subject: Subject, **gpu: object) -> Subject:
    """The stack without image builds, with another pool gpu and the pool cpu of 4-vCPU types."""
    assert subject.outputs
    pools = dict(subject.outputs.pools)
    pools["gpu"] = pools["gpu"].model_copy(update=gpu)
    pools["cpu"] = pools["cpu"].model_copy(update={"instance_types": ["c7i.xlarge"], "max_instances": 2})
    return with_outputs(subject, pools=pools, image_pipeline_arn=None)


def test_every_pool_and_market_has_its_quota(subject: Subject) -> None:
    """Spot and on-demand instances, G and standard families, and bakes draw on quotas of their own."""
    found = look(quotas.look_at_quotas, subject)
    assert levels(found) == ["ok", "ok", "ok"]
    mixed = with_pools(subject, instance_types=["g5.2xlarge"], max_instances=3, on_demand_base=1)
    texts = [one.text for one in look(quotas.look_at_quotas, mixed)]
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
    (gpu, cpu) = look(quotas.look_at_quotas, with_pools(subject, instance_types=["g5.xlarge"], max_instances=2))
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
    assert levels(look(quotas.look_at_quotas, with_pools(subject))) == ["failure", "failure"]


def test_a_right_that_is_lacking_is_named(subject: Subject, wire: Wire) -> None:
    """Without the right to read a quota there is a warning each, with the action."""
    wire.answers["GetServiceQuota"] = no_right("servicequotas:GetServiceQuota")
    found = look(quotas.look_at_quotas, subject)
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
        assert {quotas.quota_class(kind) for kind in types} == {expected}


def test_a_family_without_a_known_quota_is_said(subject: Subject) -> None:
    """Of a type whose quota is not known the whole list is the remedy."""
    found = look(quotas.look_at_quotas, with_pools(subject, instance_types=["p6-b200.48xlarge"]))
    assert levels(found) == ["warning", "ok"]
    assert "list-service-quotas" in found[0].remedies[0]
