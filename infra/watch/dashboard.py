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
_USELESS: Final = {metrics.BOOT_FAILURES: "failed to boot", metrics.SILENT_INSTANCES: "silent"}
_OF_GROUP: Final = {
    "GroupDesiredCapacity": "asked for",
    "GroupPendingInstances": "booting",
    "GroupInServiceInstances": "in service",
    "GroupMaxSize": "at most",
}


def dashboard_body(
    context: AwsContext,
    pools: Mapping[PoolName, PoolSources],
    boot_log_group: pulumi.Input[str],
    worker_log_group: pulumi.Input[str],
    alarm_arns: Sequence[pulumi.Input[str]],
) -> dict[str, Any]:
    """Body as CloudWatch reads it ("Dashboard body structure and syntax"); names may be outputs."""
    region, environment = context.region, context.environment

    def own(pool: PoolName, metric: str, label: str, **look: Any) -> list[Any]:
        return _line(metrics.NAMESPACE, metric, metrics.dimensions(environment, pool), label, **look)

    def counted(title: str, lines: Sequence[list[Any]]) -> Widget:
        return _graph(region, title, lines, HOUR_S, stat="Sum", view="bar")

    ended = [own(pool, name, f"{pool}: {name}", color=color) for pool in pools for name, color in _OUTCOMES.items()]
    lost = [own(pool, metric, f"{pool}: {said}") for pool in pools for metric, said in _USELESS.items()]
    outcomes = [
        counted("Jobs that ended or are held, an hour", ended),
        counted("Interruptions, an hour", [own(pool, metrics.INTERRUPTIONS, pool) for pool in pools]),
        counted("Instances that were of no use, an hour", lost),
    ]
    spend = [own(pool, metrics.SPEND_USD, f"{pool} ($)") for pool in pools]
    total = _graph(region, "Dollars for instances, in the time shown", spend, DAY_S, stat="Sum", view="singleValue")
    total["properties"].update(setPeriodToTimeRange=True, sparkline=False)
    hourly = _graph(region, "Dollars for instances, an hour", spend, HOUR_S, stat="Sum", stacked=True)
    boots = _log_widget(region, "Last log lines of failed boots", boot_log_group, "(?i)error|fail|timed out")
    rows: list[Row] = [
        (3, [{"type": "alarm", "properties": {"title": "Alarms", "alarms": list(alarm_arns)}}]),
        *((6, _pool_widgets(region, pool, *sources)) for pool, sources in pools.items()),
        (6, outcomes),
        (6, [hourly, total]),
        (7, [boots]),
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
    def of_queue(metric: str, queue: pulumi.Input[str], label: str) -> list[Any]:
        return _line("AWS/SQS", metric, {"QueueName": queue}, label)

    waiting, taken = "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"
    backlog = [of_queue(waiting, queues[p], f"{p}: waiting") for p in PRIORITIES]
    backlog += [of_queue(taken, queues[p], f"{p}: taken") for p in PRIORITIES]
    backlog.append(of_queue(waiting, dead_letters, "dead letters"))
    ages = [of_queue("ApproximateAgeOfOldestMessage", queues[p], f"{p} (s)") for p in PRIORITIES]
    in_group = {"AutoScalingGroupName": group}
    instances = [_line("AWS/AutoScaling", metric, in_group, label) for metric, label in _OF_GROUP.items()]
    return [
        _graph(region, f"{pool}: jobs", backlog, MINUTE_S),
        _graph(region, f"{pool}: age of the oldest job, running ones too", ages, MINUTE_S),
        _graph(region, f"{pool}: instances", instances, MINUTE_S),
    ]


def _line(
    namespace: str, metric: str, dimensions: Mapping[str, pulumi.Input[str]], label: str, **look: Any
) -> list[Any]:
    return [namespace, metric, *(part for pair in dimensions.items() for part in pair), {"label": label, **look}]


def _graph(region: str, title: str, lines: Sequence[list[Any]], period_s: int, **given: Any) -> Widget:
    look = {"view": "timeSeries", "stat": "Maximum", "period": period_s, "stacked": False, **given}
    properties = {"title": title, "region": region, **look, "metrics": list(lines)}
    if look["view"] == "timeSeries":
        properties["yAxis"] = {"left": {"min": 0, "showUnits": False}}
    return {"type": "metric", "properties": properties}


def _log_widget(region: str, title: str, log_group: pulumi.Input[str], pattern: str) -> Widget:
    rest = f"' | fields @timestamp, @logStream, @message | filter @message like /{pattern}/"
    query = pulumi.Output.concat("SOURCE '", log_group, rest, " | sort @timestamp desc | limit 30")
    return {"type": "log", "properties": {"title": title, "region": region, "view": "table", "query": query}}
