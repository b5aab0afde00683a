from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.contract import metrics
from receipt_trainer.jobs.model import State
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.worker.cloudwatch_metrics import Outcomes
from receipt_trainer.worker.finalize import Left
from tests.fault_proxy import FaultProxy


def total(metric: str, environment: str) -> float:
    """The sum of a metric, as the dashboard asks for it."""
    now = datetime.now(UTC)
    own = metrics.dimensions(environment, "gpu")
    client: Any = clients.cloudwatch()
    answer = client.get_metric_statistics(
        Namespace=metrics.NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in own.items()],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


def test_endings_and_dollars_reach_cloudwatch(aws: LocalCloud) -> None:
    """Each ending counts once under the dimensions that the dashboard asks for, and every second is paid once."""
    moments = iter([0.0, 1800.0, 3600.0, 3600.0, 3600.0, 3600.0, 7200.0])
    outcomes = Outcomes(clients.cloudwatch(), "ends", "gpu", price_usd_per_h=0.5, clock=lambda: next(moments))
    states: tuple[State, ...] = ("SUCCEEDED", "INTERRUPTED", "PENDING")
    for left in (*map(Left, states), Left("INTERRUPTED", pause_s=30), Left("INTERRUPTED", is_held=True)):
        outcomes.ended(left)
    outcomes.gone()
    assert total(metrics.JOBS_SUCCEEDED, "ends") == 1
    assert total(metrics.INTERRUPTIONS, "ends") == 1
    assert total(metrics.JOBS_HELD, "ends") == 1
    assert total(metrics.JOBS_FAILED, "ends") == 0
    assert total(metrics.SPEND_USD, "ends") == pytest.approx(1.0)


def test_an_unknown_price_puts_no_dollars(aws: LocalCloud) -> None:
    """Where the price is not known nothing is said of dollars, rather than zero."""
    outcomes = Outcomes(clients.cloudwatch(), "free", "gpu")
    outcomes.ended(Left("FAILED"))
    outcomes.gone()
    listed = clients.cloudwatch().list_metrics(Namespace=metrics.NAMESPACE)["Metrics"]
    found = {
        row["MetricName"]
        for row in listed
        if {"Name": metrics.DIMENSION_ENVIRONMENT, "Value": "free"} in row["Dimensions"]
    }
    assert found == {metrics.JOBS_FAILED}


def test_a_fault_stops_no_worker(fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CloudWatch cannot be reached the worker goes on, and the dollars are said with the next metric."""
    moments = iter([0.0, 3600.0, 7200.0])
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    outcomes = Outcomes(clients.cloudwatch(), "late", "gpu", price_usd_per_h=1.0, clock=lambda: next(moments))
    fault_proxy.close()
    outcomes.ended(Left("SUCCEEDED"))
    fault_proxy.open()
    outcomes.gone()
    assert total(metrics.SPEND_USD, "late") == pytest.approx(2.0)
