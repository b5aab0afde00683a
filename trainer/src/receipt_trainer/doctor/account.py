"""The account: credentials, region, zones, quotas, the default key of volumes, Block Public Access, budget, mail."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from receipt_trainer.aws import clients
from receipt_trainer.aws.clients import error_code
from receipt_trainer.doctor.findings import Finding, failure, guarded, ok, one_line, warning
from receipt_trainer.doctor.subject import Pool, Subject
from receipt_trainer.errors import UserError

AWS_KEY: Final = "alias/aws/ebs"
BUDGET_TAG: Final = "Project"
"""The cost allocation tag by which the stack's budget counts."""

_LAUNCHER: Final = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"


def look_at_credentials(subject: Subject) -> Iterator[Finding]:
    """Check the identity of the caller. Sets the subject's account; without it nothing on AWS can be looked at."""
    try:
        if subject.region is None:
            raise UserError("no region is known")
        with clients.aws_faults("ask AWS who you are"):
            said = subject.client("sts").get_caller_identity()
    except Exception as error:  # whatever it is, it is the finding
        yield failure(f"credentials: {one_line(error)}", "aws configure", "aws sso login")
        return
    subject.account, subject.partition = said["Account"], said["Arn"].split(":")[1]
    yield ok(f"{said['Arn'].partition('::')[2] or said['Arn']}")


def look_at_region(subject: Subject) -> Iterator[Finding]:
    """The region that is looked at, against the one of plain `aws` commands and the one of the program's files."""
    region, written = subject.region, subject.settings.get("aws:region")
    if region is None:
        yield failure("no region is known", "export AWS_REGION=us-east-1")
        return
    yield ok(region)
    if subject.configured_region != region:
        other = f"take {subject.configured_region}" if subject.configured_region else "have no region"
        yield warning(f"the stack is in {region}, plain `aws` commands here {other}", f"export AWS_REGION={region}")
    if subject.outputs and written and written != region:
        yield failure(
            f"the stack stands in {region}, its configuration names {written}",
            subject.command(f"pulumi config set aws:region {region}"),
        )


def look_at_zones(subject: Subject) -> Iterator[Finding]:
    """Zones enough for the stack, and in which of them its instance types are sold."""
    ec2 = subject.client("ec2")
    full = [{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    there = sorted(one["ZoneName"] for one in ec2.describe_availability_zones(Filters=full)["AvailabilityZones"])
    if len(there) < subject.num_zones:
        yield failure(
            f"{subject.region} has {len(there)} zones for this account, network.az_count is {subject.num_zones}",
            subject.command(f"pulumi config set --path receipt-trainer:network.az_count {len(there)}"),
        )
    else:
        yield ok(f"{len(there)} zones, {subject.num_zones or 'some'} of them used")
    yield from look_at_types(subject)


def look_at_types(subject: Subject) -> Iterator[Finding]:
    """Which of the pools' instance types are sold in the region."""
    for pool in subject.pools:
        yield _sold(subject.client("ec2"), pool.name, pool.instance_types, subject)


def _sold(ec2: Any, pool: str, types: tuple[str, ...], subject: Subject) -> Finding:
    # Filter values of Auto Scaling's kind, not InstanceType members: a misspelled type is no error, it is not sold.
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": list(types)}]
    )
    sold = {one["InstanceType"] for page in pages for one in page["InstanceTypeOfferings"]}
    if missing := [kind for kind in types if kind not in sold]:
        level = warning if sold else failure
        return level(
            f"pool {pool}: not sold in {subject.region}: {', '.join(missing)}",
            subject.command(f"pulumi config set --path 'receipt-trainer:pools.{pool}.instance_types[0]' TYPE"),
        )
    return ok(f"pool {pool}: its {len(types)} types are sold here")


def look_at_volume_key(subject: Subject) -> Iterator[Finding]:
    """The key that volumes without one of their own are encrypted with. Source: EC2 User Guide, EBS encryption, and
    Auto Scaling User Guide, "Required KMS key policy for use with encrypted volumes".
    """
    key = subject.client("ec2").get_ebs_default_kms_key_id()["KmsKeyId"]
    if key == AWS_KEY or key.endswith(AWS_KEY):
        yield ok(f"default key of volumes: {AWS_KEY}")
        return
    role = f"arn:{subject.partition}:iam::{subject.account}:{_LAUNCHER}"
    operations = "Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext"
    yield warning(
        f"volumes are encrypted with {key} by default; Auto Scaling needs a grant for it, and bakes need a key policy",
        f"aws kms create-grant --key-id {key} --grantee-principal {role} --operations {operations} DescribeKey"
        " CreateGrant",
        "Or, for the whole account and region: aws ec2 reset-ebs-default-kms-key-id.",
    )


def look_at_public_access(subject: Subject) -> Iterator[Finding]:
    """VPC Block Public Access: with either mode on, instances with public addresses reach nothing.

    Source: EC2 API Reference, VpcBlockPublicAccessOptions.
    """
    answer = subject.client("ec2").describe_vpc_block_public_access_options()
    mode = answer["VpcBlockPublicAccessOptions"].get("InternetGatewayBlockMode", "off")
    vpc = subject.outputs.vpc_id if subject.outputs else "VPC"
    if mode == "off":
        yield ok("VPC Block Public Access is off")
    elif subject.nat == "public":
        yield failure(
            f"VPC Block Public Access is {mode}: with network.nat public no worker reaches anything",
            f"aws ec2 create-vpc-block-public-access-exclusion --vpc-id {vpc} --internet-gateway-exclusion-mode"
            " allow-bidirectional",
            "Or set network.nat to none, or to single if the mode is block-ingress.",
        )
    elif subject.nat == "single" and mode == "block-bidirectional":
        yield warning(
            f"VPC Block Public Access is {mode}: the NAT gateway reaches nothing",
            f"aws ec2 create-vpc-block-public-access-exclusion --vpc-id {vpc} --internet-gateway-exclusion-mode"
            " allow-egress",
        )
    else:
        yield ok(f"VPC Block Public Access is {mode}; network.nat {subject.nat or 'none'} works with it")


def look_at_budget(subject: Subject) -> Iterator[Finding]:
    """Whether Cost Explorer knows the tag that the budget counts by. Source: ListCostAllocationTags."""
    budget = (
        subject.outputs.budget_usd if subject.outputs else (subject.settings.get("budget") or {}).get("monthly_usd")
    )
    if not budget:
        yield ok("no budget is set")
        return
    answer = subject.clients.of("ce", "us-east-1").list_cost_allocation_tags(TagKeys=[BUDGET_TAG])
    if any(tag["TagKey"] == BUDGET_TAG and tag["Status"] == "Active" for tag in answer["CostAllocationTags"]):
        yield ok(f"${float(budget):g} a month, counted by the tag {BUDGET_TAG}")
    else:
        yield warning(
            f"the tag {BUDGET_TAG} is not active: the budget sees no costs",
            "aws ce update-cost-allocation-tags-status --cost-allocation-tags-status"
            f" TagKey={BUDGET_TAG},Status=Active",
            "AWS knows a tag only some hours after the first resource bore it.",
        )


def look_at_alarm_mail(subject: Subject) -> Iterator[Finding]:
    """Whether the subscribers of alarms have confirmed."""
    topic = subject.outputs.alarm_topic_arn if subject.outputs else None
    return _mail_of(subject, topic, "alarm", "they show on the dashboard")


def look_at_notice_mail(subject: Subject) -> Iterator[Finding]:
    """Whether the subscribers of the notices of jobs have confirmed."""
    topic = subject.outputs.notices_topic_arn if subject.outputs else None
    return _mail_of(subject, topic, "notice", "`notify_email` is not set")


def _mail_of(subject: Subject, topic: str | None, kind: str, otherwise: str) -> Iterator[Finding]:
    """Check the mail subscriptions of a topic. Source: SNS API Reference, ListSubscriptionsByTopic."""
    if topic is None:
        yield warning(f"the stack's outputs do not name the topic of its {kind}s", subject.command("pulumi up"))
        return
    pages = subject.client("sns").get_paginator("list_subscriptions_by_topic")
    mails = [one for page in pages.paginate(TopicArn=topic) for one in page["Subscriptions"]]
    mails = [one for one in mails if one["Protocol"].startswith("email")]
    if not mails:
        yield ok(f"no address gets mail of {kind}s; {otherwise}")
    for one in mails:
        if one["SubscriptionArn"].startswith("arn:"):
            yield ok(f"{kind}s go to {one['Endpoint']}")
        else:
            yield warning(
                f"{one['Endpoint']} has not confirmed: no {kind} arrives; the link is in AWS's mail, or in a new one",
                f"aws sns subscribe --topic-arn {topic} --protocol {one['Protocol']} --notification-endpoint"
                f" {one['Endpoint']}",
            )


CODES: Final = {
    ("standard", "spot"): "L-34B43A08",
    ("standard", "on_demand"): "L-1216C47A",
    ("g", "spot"): "L-3819A6DF",
    ("g", "on_demand"): "L-DB2E81BA",
    ("p", "spot"): "L-7212CCBC",
    ("p5", "spot"): "L-C4BD4855",
    ("p", "on_demand"): "L-417A185B",
    ("p5", "on_demand"): "L-417A185B",
}
"""Codes of the quotas, by class and market. Source: Amazon EC2 endpoints and quotas, AWS General Reference."""
NAMES: Final = {"standard": "standard families", "g": "G and VT families", "p": "P family", "p5": "P5 family"}

_STANDARD: Final = frozenset("acdhimrtz")
_BUILD_VCPUS: Final = 2
"""Of the instance that bakes an image, which is on demand."""


class Need(NamedTuple):
    """The demand of one pool on one quota: so many instances, the smallest of so many vCPUs."""

    what: str
    num_instances: int
    vcpus: int


def quota_class(instance_type: str) -> str | None:
    """The class of quotas that a type counts in; None where its quota is not known here."""
    family = re.match(r"[a-z]+", instance_type)
    letters = family[0] if family else ""
    if letters in ("g", "gr", "vt"):
        return "g"
    if letters == "p":
        generation = instance_type[1:2]
        return "p5" if generation == "5" else "p" if generation in "234" else None
    return "standard" if letters[:1] in _STANDARD and letters != "inf" else None


def look_at_quotas(subject: Subject) -> Iterator[Finding]:
    """Each quota that the pools draw on: enough for one instance, and for their maxima."""
    sizes = _vcpus(subject, [kind for pool in subject.pools for kind in pool.instance_types])
    needs: dict[tuple[str, str], list[Need]] = defaultdict(list)
    for pool in subject.pools:
        yield from _add(needs, pool, sizes)
    if subject.bakes:
        needs["standard", "on_demand"].append(Need("bakes of the image", 1, _BUILD_VCPUS))
    client = subject.client("service-quotas")
    for (kind, market), wanted in needs.items():
        name, code = f"{market.replace('_', ' ')} vCPUs of {NAMES[kind]}", CODES[kind, market]
        judge = partial(_judge, name, code, wanted, subject, client)
        yield from guarded(f"quota {code} ({name})", judge)


def _vcpus(subject: Subject, types: list[str]) -> dict[str, int]:
    """vCPUs by type, as EC2 says; types that it does not know are left out."""
    if not types:
        return {}
    pages = subject.client("ec2").get_paginator("describe_instance_types")
    found = pages.paginate(Filters=[{"Name": "instance-type", "Values": sorted(set(types))}])
    return {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for page in found for one in page["InstanceTypes"]}


def _add(needs: dict[tuple[str, str], list[Need]], pool: Pool, sizes: dict[str, int]) -> Iterator[Finding]:
    most = 1 if pool.max_instances is None else pool.max_instances
    base = min(pool.on_demand_base, most) if pool.market == "spot" else 0
    kinds: dict[str, list[int]] = defaultdict(list)
    for kind in pool.instance_types:
        known = quota_class(kind)
        if known is None:
            yield warning(
                f"pool {pool.name}: the quota of {kind} is not known here",
                "aws service-quotas list-service-quotas --service-code ec2 --output table"
                " --query 'Quotas[].[QuotaName, QuotaCode, Value]'",
            )
        elif kind in sizes:
            kinds[known].append(sizes[kind])
    for known, vcpus in kinds.items():
        for market, count in ((pool.market, most - base), ("on_demand", base)):
            if count:
                needs[known, market].append(Need(f"pool {pool.name}", count, min(vcpus)))


def _quota(client: Any, code: str) -> float:
    """The account's value, or AWS's default where it has none of its own."""
    try:
        answer = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)
    except client.exceptions.ClientError as error:
        if error_code(error) != "NoSuchResourceException":
            raise
        answer = client.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)
    return float(answer["Quota"]["Value"])


def _judge(name: str, code: str, wanted: list[Need], subject: Subject, client: Any) -> Iterator[Finding]:
    value = _quota(client, code)
    in_all = sum(need.num_instances * need.vcpus for need in wanted)
    who = ", ".join(f"{need.what}: {need.num_instances} x {need.vcpus}" for need in wanted)
    text = f"{name}: {value:g} of at least {in_all} ({who})"
    remedy = (
        f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {code}"
        f" --desired-value {in_all} --region {subject.region}"
    )
    if starved := [need.what for need in wanted if value < need.vcpus]:
        yield failure(f"{text}: {' and '.join(starved)} cannot launch", remedy)
    else:
        yield ok(text) if value >= in_all else warning(f"{text}: not all can run at once", remedy)
