"""The dashboard: what waits, what runs, how jobs ended, what it cost, and why a boot failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pulumi

from infra.context import AwsContext
from receipt_trainer.contract import metrics
from receipt_trainer.contract.outputs import PRIORITIES, PoolName, Priority

COLUMNS: Final = 24
"""Width of CloudWatch's grid."""
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86400

PoolSources = tuple[Mapping[Priority, pulumi.Input[str]], pulumi.Input[str], pulumi.Input[str]]
"""Job queue of each priority, dead-letter queue, Auto Scaling group: their names."""
Widget = dict[str, Any]
Row = tuple[int, Sequence[Widget]]
"""Height, and widgets that share the width evenly."""

_OUTCOMES: Final = {
    metrics.JOBS_SUCCEEDED: "#2ca02c",
    metrics.JOBS_FAILED: "#d62728",
    metrics.JOBS_CANCELLED: "#7f7f7f",
    metrics.JOBS_HELD: "#ff7f0e",
}


def dashboard_body(
    context: AwsContext,
    pools: Mapping[PoolName, PoolSources],
    boot_log_group: pulumi.Input[str],
    worker_log_group: pulumi.Input[str],
    alarm_arns: Sequence[pulumi.Input[str]],
) -> dict[str, Any]:
    """Body as CloudWatch reads it ("Dashboard body structure and syntax"); names may be outputs."""
    region = context.region
    alarms = {"type": "alarm", "properties": {"title": "Alarms", "alarms": list(alarm_arns)}}
    rows: list[Row] = [
        (3, [alarms]),
        *((6, _pool_widgets(region, pool, *sources)) for pool, sources in pools.items()),
        (6, _outcome_widgets(context, list(pools))),
        (6, _cost_widgets(context, list(pools))),
        (
            7,
            [_log_widget(context.region, "Last log lines of failed boots", boot_log_group, "(?i)error|fail|timed out")],
        ),
        (7, [_log_widget(region, "Last errors of workers", worker_log_group, "(?i)error|traceback")]),
    ]
    return {"start": "-P1D", "periodOverride": "inherit", "widgets": list(_laid_out(rows))}


def _laid_out(rows: Iterable[Row]) -> Iterable[Widget]:
    top = 0
    for height, widgets in rows:
        width = COLUMNS // len(widgets)
        for place, widget in enumerate(widgets):
            yield {"x": place * width, "y": top, "width": width, "height": height, **widget}
        top += height


def _pool_widgets(
    region: str,
    pool: PoolName,
    queues: Mapping[Priority, pulumi.Input[str]],
    dead_letters: pulumi.Input[str],
    group: pulumi.Input[str],
) -> list[Widget]:
    waiting, taken = "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"
    backlog = [
        *(_line("AWS/SQS", waiting, {"QueueName": queues[p]}, f"{p}: waiting") for p in PRIORITIES),
        *(_line("AWS/SQS", taken, {"QueueName": queues[p]}, f"{p}: taken") for p in PRIORITIES),
        _line("AWS/SQS", waiting, {"QueueName": dead_letters}, "dead letters"),
    ]
    age = "ApproximateAgeOfOldestMessage"
    ages = [_line("AWS/SQS", age, {"QueueName": queues[p]}, f"{p} (s)") for p in PRIORITIES]
    in_group = {"AutoScalingGroupName": group}
    instances = [
        _line("AWS/AutoScaling", "GroupDesiredCapacity", in_group, "asked for"),
        _line("AWS/AutoScaling", "GroupPendingInstances", in_group, "booting"),
        _line("AWS/AutoScaling", "GroupInServiceInstances", in_group, "in service"),
        _line("AWS/AutoScaling", "GroupMaxSize", in_group, "at most"),
    ]
    return [
        _graph(region, f"{pool}: jobs", backlog, MINUTE_S),
        _graph(region, f"{pool}: age of the oldest job, running ones too", ages, MINUTE_S),
        _graph(region, f"{pool}: instances", instances, MINUTE_S),
    ]


def _outcome_widgets(context: AwsContext, pools: Sequence[PoolName]) -> list[Widget]:
    region, environment = context.region, context.environment
    outcomes = [
        _own(environment, pool, metric, f"{pool}: {metric}", color=color)
        for pool in pools
        for metric, color in _OUTCOMES.items()
    ]
    interruptions = [_own(environment, pool, metrics.INTERRUPTIONS, pool) for pool in pools]
    useless = {metrics.BOOT_FAILURES: "failed to boot", metrics.SILENT_INSTANCES: "silent"}
    lost = [_own(environment, pool, metric, f"{pool}: {said}") for pool in pools for metric, said in useless.items()]
    return [
        _graph(region, "Jobs that ended or are held, an hour", outcomes, HOUR_S, stat="Sum", view="bar"),
        _graph(region, "Interruptions, an hour", interruptions, HOUR_S, stat="Sum", view="bar"),
        _graph(region, "Instances that were of no use, an hour", lost, HOUR_S, stat="Sum", view="bar"),
    ]


def _cost_widgets(context: AwsContext, pools: Sequence[PoolName]) -> list[Widget]:
    region, environment = context.region, context.environment
    spend = [_own(environment, pool, metrics.SPEND_USD, f"{pool} ($)") for pool in pools]
    shown = {"setPeriodToTimeRange": True, "sparkline": False}
    total = _graph(region, "Dollars for instances, in the time shown", spend, DAY_S, stat="Sum", view="singleValue")
    total["properties"].update(shown)
    return [_graph(region, "Dollars for instances, an hour", spend, HOUR_S, stat="Sum", stacked=True), total]


def _own(environment: str, pool: PoolName, metric: str, label: str, **look: Any) -> list[Any]:
    return _line(metrics.NAMESPACE, metric, metrics.dimensions(environment, pool), label, **look)


def _line(
    namespace: str, metric: str, dimensions: Mapping[str, pulumi.Input[str]], label: str, **look: Any
) -> list[Any]:
    flat = [part for pair in dimensions.items() for part in pair]
    return [namespace, metric, *flat, {"label": label, **look}]


def _graph(
    region: str,
    title: str,
    lines: Sequence[list[Any]],
    period_s: int,
    *,
    stat: str = "Maximum",
    view: str = "timeSeries",
    stacked: bool = False,
) -> Widget:
    properties: dict[str, Any] = {
        "title": title,
        "region": region,
        "view": view,
        "stat": stat,
        "period": period_s,
        "stacked": stacked,
        "metrics": list(lines),
    }
    if view == "timeSeries":
        properties["yAxis"] = {"left": {"min": 0, "showUnits": False}}
    return {"type": "metric", "properties": properties}


def _log_widget(region: str, title: str, log_group: pulumi.Input[str], pattern: str) -> Widget:
    query = pulumi.Output.concat(
        "SOURCE '",
        log_group,
        f"' | fields @timestamp, @logStream, @message | filter @message like /{pattern}/"
        " | sort @timestamp desc | limit 30",
    )
    return {"type": "log", "properties": {"title": title, "region": region, "view": "table", "query": query}}
