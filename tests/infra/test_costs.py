"""The month at rest that docs/costs.md adds up, reckoned anew from what the program registers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.network.endpoints import INTERFACE_SERVICES
from receipt_trainer.contract import names
from receipt_trainer.local.pulumi_program import Recording, run
from tests.infra.edits import NAMESPACE, ROOT, evaluate

HOURS = 730
SNAPSHOT_GB, WHEELHOUSE_GB = 75, 0.51
ENDPOINT, ALARM = "aws:ec2/vpcEndpoint:VpcEndpoint", "aws:cloudwatch/metricAlarm:MetricAlarm"
STANDING = {
    "aws:kms/key:Key": 1.0,
    "aws:secretsmanager/secret:Secret": 0.4,
    "aws:route53/zone:Zone": 0.5,
    "aws:ec2/instance:Instance": 3.0,
    "aws:lb/loadBalancer:LoadBalancer": 16.0,
}
"""At least so many dollars a month for one that is there; the stack has none of them, and the page no row."""
COLUMNS: Mapping[str, Mapping[str, Any] | None] = {
    "`nat: none`": {},
    "`nat: single`": {"network": {"nat": "single"}},
    "`nat: public`": {"network": {"nat": "public"}},
    "dev": None,
}
"""Column of the page -> what a stack with the defaults changes; None for Pulumi.dev.yaml as it stands."""


@cache
def stack(wheelhouse: Path, column: str) -> Recording:
    changes = COLUMNS[column]
    if changes is None:
        return evaluate(wheelhouse)
    given = {"wheelhouse": {"path": str(wheelhouse)}, **changes}
    return run(ROOT, config={f"{NAMESPACE}{key}": json.dumps(value) for key, value in given.items()})


def at_rest(recording: Recording) -> dict[str, float]:
    """Dollars a month in us-east-1 by row of the page, for the rows that a resource can add to."""
    interfaces = [e for e in recording.of_type(ENDPOINT) if e.inputs["vpcEndpointType"] == "Interface"]
    metrics = sum(
        sum("metric" in query for query in alarm.inputs.get("metricQueries", ())) or 1
        for alarm in recording.of_type(ALARM)
    )
    baked = recording.of_type("aws:imagebuilder/imagePipeline:ImagePipeline")
    dashboards = recording.of_type("aws:cloudwatch/dashboard:Dashboard")
    for group in recording.of_type("aws:autoscaling/group:Group"):
        assert group.inputs["minSize"] == 0
    return {
        "interface endpoints": sum(len(e.inputs["subnetIds"]) for e in interfaces) * 0.01 * HOURS,
        "NAT gateway": len(recording.of_type("aws:ec2/natGateway:NatGateway")) * 0.045 * HOURS,
        "its public address": len(recording.of_type("aws:ec2/eip:Eip")) * 0.005 * HOURS,
        "alarms": metrics * 0.10,
        "snapshot": len(baked) * SNAPSHOT_GB * 0.05,
        "wheelhouse": WHEELHOUSE_GB * 0.023,
        "dashboard": max(0, len(dashboards) - 3) * 3.0,
        "others": sum(STANDING.get(resource.type, 0) for resource in recording.resources),
    }


def page() -> Mapping[str, dict[str, float]]:
    """Column -> row -> dollars, as docs/costs.md has them."""
    text = (ROOT / "docs" / "costs.md").read_text().partition("## Why")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    head, *body = [row for row in rows if len(row) == 2 + len(COLUMNS)]
    assert head[2:] == list(COLUMNS)
    return {
        column: {row[0]: float(row[place].strip("*$") or 0) for row in body}
        for place, column in enumerate(head)
        if place > 1
    }


@pytest.mark.parametrize("column", COLUMNS)
def test_the_page_says_what_the_stack_costs_at_rest(wheelhouse: Path, column: str) -> None:
    """Each row and the sum of each column are those of the resources that the program registers."""
    written, reckoned = page()[column], at_rest(stack(wheelhouse, column))
    assert reckoned.pop("others") == 0
    for name, dollars in reckoned.items():
        (said,) = [value for row, value in written.items() if row.startswith(name)]
        assert said == pytest.approx(dollars, abs=0.005), name
    *parts, total = written.values()
    assert sum(parts) == pytest.approx(total)
    assert sum(reckoned.values()) == pytest.approx(total, abs=0.01)


def test_the_dev_stack_rests_for_at_most_five_dollars(wheelhouse: Path) -> None:
    """Pulumi.dev.yaml, by the same arithmetic; with an image it is more, and that stands beside it."""
    assert sum(at_rest(stack(wheelhouse, "dev")).values()) <= 5
    dev, public = page()["dev"]["**a month**"], page()["`nat: public`"]["**a month**"]
    assert public - dev == pytest.approx(SNAPSHOT_GB * 0.05)


def test_the_readme_repeats_the_page() -> None:
    """Whole dollars of dev, of dev with an image, and of the default network."""
    readme = (ROOT / "README.md").read_text()
    for column in ("dev", "`nat: public`", "`nat: none`"):
        assert re.search(rf"\${page()[column]['**a month**']:.0f}\b", readme), column


def test_the_arithmetic_names_the_endpoints_and_prices() -> None:
    """The column of the arithmetic counts the endpoints there are."""
    number = len(INTERFACE_SERVICES)
    assert f"| {number} × $0.01/h × 730 h | ${number * 0.01 * 730:.2f} |" in (ROOT / "docs" / "costs.md").read_text()


def test_what_a_hundred_jobs_leave_is_reckoned_right() -> None:
    """Each row's arithmetic gives its dollars; days are the settings' own, rows have the sizes that were measured."""
    text = (ROOT / "docs" / "costs.md").read_text().partition("### What a hundred jobs leave")[2].partition("\n### ")[0]
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("|") and "×" in line]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    assert len(rows) == 5
    for what, arithmetic, dollars in rows:
        product = 1.0
        for sign, number in re.findall(r"(^|×|/) ?\$?([0-9.]+)", arithmetic):
            product = product / float(number) if sign == "/" else product * float(number)
        assert f"${product:.2f}" == dollars, what
    assert f"for {names.DEFAULT_CHECKPOINTS_DAYS} of 30 days" in text
    assert names.DEFAULT_ROWS_DAYS == 365
    assert pytest.approx(0.00015, abs=0.00001) == (340 * 380 + 40 * 400) / 1e9
    assert f"${100 * 2 * 1.36 * 0.30:.2f} a month, or ${100 * 2 * 1.36 * 0.016:.2f} unread" in text
