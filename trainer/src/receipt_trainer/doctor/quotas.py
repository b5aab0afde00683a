"""vCPU quotas of EC2 against what the pools may launch."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from receipt_trainer.aws.clients import error_code
from receipt_trainer.doctor.findings import Finding, cannot_look, failure, ok, warning
from receipt_trainer.doctor.subject import Pool, Subject

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


@dataclass(frozen=True, slots=True)
class Need:
    """What one pool asks of one quota: so many instances, the smallest of so many vCPUs."""

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
    client = subject.clients.of("service-quotas", subject.region)
    for (kind, market), wanted in needs.items():
        name = f"{market.replace('_', ' ')} vCPUs of {NAMES[kind]}"
        try:
            value = _quota(client, CODES[kind, market])
        except Exception as error:  # one quota that cannot be read hides no other
            yield cannot_look(f"quota {CODES[kind, market]} ({name})", error)
        else:
            yield _judge(name, CODES[kind, market], value, wanted, subject)


def _vcpus(subject: Subject, types: list[str]) -> dict[str, int]:
    """vCPUs by type, as EC2 says; types that it does not know are left out."""
    if not types:
        return {}
    pages = subject.clients.of("ec2", subject.region).get_paginator("describe_instance_types")
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


def _judge(name: str, code: str, value: float, wanted: list[Need], subject: Subject) -> Finding:
    in_all = sum(need.num_instances * need.vcpus for need in wanted)
    who = ", ".join(f"{need.what}: {need.num_instances} x {need.vcpus}" for need in wanted)
    text = f"{name}: {value:g} of at least {in_all} ({who})"
    remedy = (
        f"aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {code}"
        f" --desired-value {in_all} --region {subject.region}"
    )
    if starved := [need.what for need in wanted if value < need.vcpus]:
        return failure(f"{text}: {' and '.join(starved)} cannot launch", remedy)
    return ok(text) if value >= in_all else warning(f"{text}: not all can run at once", remedy)
