"""Log groups, alarms, budget, dashboard, and the scheduled function's resources."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.functions.silent_instances import notices, waiting_jobs
from infra.pools.user_data import BootEnv
from infra.watch.silent_instances import HANDLER
from receipt_trainer.contract import liveness, metrics, waiting
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES, PoolName
from receipt_trainer.jobs.instances import GONE, LATE_AFTER_S
from receipt_trainer.local.pulumi_program import Recording
from receipt_trainer.worker.settings import WorkerSettings
from tests.infra.edits import stack
from tests.infra.pool_cloud import load_handler

ALARM, DASHBOARD = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/dashboard:Dashboard"
BUDGET, TOPIC = "aws:budgets/budget:Budget", "aws:sns/topic:Topic"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
POOLS: list[tuple[PoolName, ...]] = [("gpu",), ("gpu", "cpu")]
BUDGET_SETTINGS = {"monthly_usd": 12.5, "email": "money@example.com"}


def recorded(pools: tuple[PoolName, ...] = ("gpu", "cpu"), told: bool = True) -> Recording:
    who = {"alarm_email": "ops@example.com", "budget": BUDGET_SETTINGS} if told else {}
    return stack(pools={pool: {"enabled": pool in pools} for pool in POOL_NAMES}, **who)


def queue_names(kind: str) -> set[str]:
    """Names of the job queues, or of the dead-letter queues, of both pools."""
    pools = recorded().outputs["pools"].values()
    urls = {
        "jobs": {url for pool in pools for url in pool["queue_urls"].values()},
        "dead": {pool["dead_letter_queue_url"] for pool in pools},
    }
    return {url.rpartition("/")[2] for url in urls[kind]}


def topic() -> str:
    return str(recorded().outputs["alarm_topic_arn"])


def dashboard(pools: tuple[PoolName, ...] = ("gpu", "cpu")) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(recorded(pools).of_type(DASHBOARD)[0].inputs["dashboardBody"])
    return body


def alarms(kind: str) -> dict[str, dict[str, Any]]:
    found = [alarm for alarm in recorded().of_type(ALARM) if alarm.name.startswith("observability")]
    return {alarm.name: alarm.inputs for alarm in found if alarm.name.endswith(kind)}


def plain(name: str) -> str:
    """`gpu-high.fifo` of the queue that Pulumi has named `jobs-gpu-high-1a2b3c4.fifo`."""
    return re.sub(r"^jobs-|-[0-9a-f]{7}(?=\.fifo)", "", name)


def lines(body: dict[str, Any]) -> list[list[Any]]:
    return [line for widget in body["widgets"] for line in widget["properties"].get("metrics", [])]


def test_every_log_group_forgets() -> None:
    """Five groups under agreed names, Image Builder's by that of its recipe; each with the retention asked for."""
    made = stack(retention={"logs_days": 14})
    found = {group.inputs["name"]: group.inputs for group in made.of_type("aws:cloudwatch/logGroup:LogGroup")}
    assert found.keys() == {
        "/receipt-trainer/dev/boot",
        "/receipt-trainer/dev/worker",
        "/receipt-trainer/dev/flow",
        "/receipt-trainer/dev/silent-instances",
        "/aws/imagebuilder/receipt-trainer-dev-worker",
    }
    assert {inputs["retentionInDays"] for inputs in found.values()} == {14}
    assert all(inputs["tags"]["Project"] == "receipt-trainer" for inputs in found.values())


def test_a_dead_letter_is_an_alarm() -> None:
    """One message is enough, on the dead-letter queue of each pool."""
    found = alarms("dead-letters")
    assert {inputs["dimensions"]["QueueName"] for inputs in found.values()} == queue_names("dead")
    for inputs in found.values():
        assert (inputs["metricName"], inputs["statistic"]) == ("ApproximateNumberOfMessagesVisible", "Maximum")
        assert (inputs["comparisonOperator"], inputs["threshold"]) == ("GreaterThanThreshold", 0)


def test_an_hour_of_waiting_is_an_alarm_and_an_hour_of_training_is_none() -> None:
    """Only messages that nobody has taken count, and only if the queue was never empty for the whole hour."""
    found = alarms("-waiting")
    assert {inputs["dimensions"]["QueueName"] for inputs in found.values()} == queue_names("jobs")
    for inputs in found.values():
        assert (inputs["metricName"], inputs["statistic"]) == ("ApproximateNumberOfMessagesVisible", "Minimum")
        assert inputs["period"] * inputs["evaluationPeriods"] == 3600
        assert inputs["datapointsToAlarm"] == inputs["evaluationPeriods"]
        assert (inputs["comparisonOperator"], inputs["threshold"]) == ("GreaterThanThreshold", 0)


@pytest.mark.parametrize(
    ("kind", "metric", "says"),
    [
        ("boot-failures", metrics.BOOT_FAILURES, "aws autoscaling resume-processes"),
        ("silent-instances", metrics.SILENT_INSTANCES, "receipt-trainer instances"),
        ("held-jobs", metrics.JOBS_HELD, "receipt-trainer retry"),
    ],
)
def test_what_should_not_happen_is_an_alarm_in_a_quarter_of_an_hour(kind: str, metric: str, says: str) -> None:
    """Once is enough. The alarm of each pool reads the very metric, with the very dimensions, that the contract gives
    to those who put it."""
    found = alarms(kind)
    wanted = [metrics.dimensions("dev", "cpu"), metrics.dimensions("dev", "gpu")]
    assert [inputs["dimensions"] for _, inputs in sorted(found.items())] == wanted
    for inputs in found.values():
        assert (inputs["namespace"], inputs["metricName"]) == (metrics.NAMESPACE, metric)
        assert (inputs["statistic"], inputs["period"], inputs["evaluationPeriods"]) == ("Sum", 900, 1)
        assert (inputs["comparisonOperator"], inputs["threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
        assert says in inputs["alarmDescription"]


def test_the_boot_script_puts_the_metric_that_the_alarm_reads() -> None:
    """Namespace, name and dimensions stand in a script, which cannot import the contract: they are the same."""
    script = (Path(__file__).parents[2] / "userdata" / "boot_failed.sh").read_text()
    put = script[script.index("put-metric-data") :].partition("\n}")[0]
    assert re.findall(r'"(?:Namespace|MetricName|Name)": "(\w+)"', put) == [
        metrics.NAMESPACE,
        metrics.BOOT_FAILURES,
        *metrics.dimensions("dev", "gpu"),
    ]


def test_looks_that_fail_or_are_not_taken_are_an_alarm() -> None:
    """Every look of a quarter of an hour failed: a mail. No data, as nothing runs: a mail, too."""
    (inputs,) = alarms("-looks").values()
    assert (inputs["namespace"], inputs["metricName"]) == ("AWS/Lambda", "Errors")
    assert inputs["dimensions"] == {"FunctionName": "receipt-trainer-dev-silent-instances"}
    assert inputs["period"] // 60 // liveness.LOOK_EVERY_MIN == inputs["threshold"] == 3
    assert inputs["treatMissingData"] == "missing"
    assert inputs["alarmActions"] == inputs["insufficientDataActions"] == [topic()]
    assert inputs["alarmDescription"].startswith("receipt-trainer-dev: ")


def test_every_alarm_says_what_to_do_and_reaches_the_topic() -> None:
    """A mail names stack, pool and next step, in what CloudWatch keeps (1,024 signs); silence is no alarm."""
    found = [alarm for alarm in recorded().of_type(ALARM) if alarm.name.startswith("observability")]
    assert len(found) == 13
    for alarm in found:
        if alarm.name.endswith("-looks"):
            continue
        text = alarm.inputs["alarmDescription"]
        assert text.startswith(("receipt-trainer-dev, gpu pool: ", "receipt-trainer-dev, cpu pool: "))
        assert any(
            word in text for word in ("Read it there", "read its activity history", "aws autoscaling resume", "Why: ")
        )
        assert len(text) <= 1024
        assert alarm.inputs["alarmActions"] == [topic()]
        assert alarm.inputs["treatMissingData"] == "notBreaching"


def test_alarms_are_mailed_where_there_is_an_address() -> None:
    """Without an address there is a topic that one can subscribe to, and no mail."""
    (mail,) = recorded().of_type(SUBSCRIPTION)
    assert (mail.inputs["protocol"], mail.inputs["endpoint"]) == ("email", "ops@example.com")
    assert not recorded(told=False).of_type(SUBSCRIPTION)
    assert recorded(told=False).one("observability-alarms", TOPIC)


def test_the_budget_counts_what_carries_the_projects_tag() -> None:
    """Mails at 80 % and 100 % of the money and at a forecast of 100 %, as the settings say; no budget, no resource."""
    (budget,) = recorded().of_type(BUDGET)
    assert budget.inputs["name"] == "receipt-trainer-dev-monthly"
    assert (budget.inputs["budgetType"], budget.inputs["timeUnit"]) == ("COST", "MONTHLY")
    assert (budget.inputs["limitAmount"], budget.inputs["limitUnit"]) == ("12.50", "USD")
    assert budget.inputs["costFilters"] == [{"name": "TagKeyValue", "values": ["user:Project$receipt-trainer"]}]
    notices = {(n["notificationType"], n["threshold"], n["thresholdType"]) for n in budget.inputs["notifications"]}
    assert notices == {("ACTUAL", 80, "PERCENTAGE"), ("ACTUAL", 100, "PERCENTAGE"), ("FORECASTED", 100, "PERCENTAGE")}
    assert {tuple(n["subscriberEmailAddresses"]) for n in budget.inputs["notifications"]} == {("money@example.com",)}
    assert not recorded(told=False).of_type(BUDGET)


@pytest.mark.parametrize("pools", POOLS)
def test_widgets_fill_the_grid_without_overlap(pools: tuple[PoolName, ...]) -> None:
    """Every cell of 24 columns, from the top to the last row, belongs to exactly one widget."""
    cells: list[tuple[int, int]] = []
    for widget in dashboard(pools)["widgets"]:
        assert widget["x"] + widget["width"] <= 24
        rows = range(widget["y"], widget["y"] + widget["height"])
        cells += [(x, y) for x in range(widget["x"], widget["x"] + widget["width"]) for y in rows]
    bottom = max(y for _, y in cells) + 1
    assert len(cells) == len(set(cells)) == 24 * bottom


@pytest.mark.parametrize("pools", POOLS)
def test_the_dashboard_shows_each_pool_and_only_what_is_there(pools: tuple[PoolName, ...]) -> None:
    """Backlog and age of every queue, the group's instances, and all metrics of the contract, for each pool."""
    shown = {(line[0], line[1], plain(line[3])) for line in lines(dashboard(pools)) if line[0] != metrics.NAMESPACE}
    own = {
        (line[1], dict(zip(line[2:-1:2], line[3:-1:2], strict=True))["Pool"])
        for line in lines(dashboard(pools))
        if line[0] == metrics.NAMESPACE
    }
    waiting, taken, age = (
        "ApproximateNumberOfMessagesVisible",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateAgeOfOldestMessage",
    )
    queues = {
        ("AWS/SQS", metric, f"{pool}-{p}.fifo")
        for pool in pools
        for p in PRIORITIES
        for metric in (waiting, taken, age)
    }
    queues |= {("AWS/SQS", waiting, f"{pool}-dead.fifo") for pool in pools}
    groups = {
        ("AWS/AutoScaling", f"Group{kind}", f"receipt-trainer-dev-workers-{pool}")
        for pool in pools
        for kind in ("DesiredCapacity", "PendingInstances", "InServiceInstances", "MaxSize")
    }
    assert shown == queues | groups
    assert own == {(metric, pool) for metric in metrics.ALL_METRICS for pool in pools}


def test_widgets_have_what_cloudwatch_asks_of_them() -> None:
    """Region, title and view on each graph; logs by query; all alarms in one widget (at most 100)."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for widget in dashboard()["widgets"]:
        kinds.setdefault(widget["type"], []).append(widget["properties"])
    assert kinds.keys() == {"alarm", "metric", "log"}
    for shown in kinds["metric"]:
        assert shown["region"] == "us-east-1"
        assert shown["title"]
        assert shown["view"] in ("timeSeries", "bar", "singleValue")
        assert shown["period"] % 60 == 0
        assert shown["metrics"]
    assert [query["query"].split(" | ")[0] for query in kinds["log"]] == [
        "SOURCE '/receipt-trainer/dev/boot'",
        "SOURCE '/receipt-trainer/dev/worker'",
    ]
    (listed,) = kinds["alarm"]
    assert len(listed["alarms"]) == len(set(listed["alarms"])) == len(alarms("")) <= 100


FUNCTION, RULE = "aws:lambda/function:Function", "aws:cloudwatch/eventRule:EventRule"


def silence_recorded() -> Recording:
    return stack()


def function() -> dict[str, Any]:
    return silence_recorded().of_type(FUNCTION)[0].inputs


def test_the_function_is_run_every_five_minutes() -> None:
    """A rule has the function as its target, and of all who could call it only this rule may."""
    rule = silence_recorded().of_type(RULE)[0]
    assert rule.inputs["scheduleExpression"] == f"rate({liveness.LOOK_EVERY_MIN} minutes)"
    (target,) = silence_recorded().of_type("aws:cloudwatch/eventTarget:EventTarget")
    (permission,) = silence_recorded().of_type("aws:lambda/permission:Permission")
    assert target.inputs["arn"].endswith(":function:receipt-trainer-dev-silent-instances")
    assert permission.inputs["function"] == "receipt-trainer-dev-silent-instances"
    assert permission.inputs["action"] == "lambda:InvokeFunction"
    assert permission.inputs["principal"] == "events.amazonaws.com"
    assert rule.urn in permission.dependencies
    assert ":rule/silence-schedule" in permission.inputs["sourceArn"]
    assert target.inputs["rule"] in permission.inputs["sourceArn"]


def test_a_failed_run_is_not_repeated() -> None:
    """The next one comes in minutes and does the same; a late one is dropped."""
    (config,) = silence_recorded().of_type("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig")
    assert config.inputs["maximumRetryAttempts"] == 0
    assert config.inputs["maximumEventAgeInSeconds"] <= liveness.LOOK_EVERY_MIN * 60


def test_the_package_needs_nothing_but_what_lambda_has(tmp_path: Path) -> None:
    """The entry point of the unpacked package is there, in a Python that has boto3 and none of our other files; what
    of ours it then has imported is all that is packed."""
    for name, asset in function()["code"].assets.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(asset.path, tmp_path / name)
    module, entry = function()["handler"].split(".")
    program = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}]
sys.path.append({str(Path(boto3.__file__).parents[1])!r})  # without what its .pth files would add
import {module}
assert callable({module}.{entry})
print(*sorted(str(getattr(one, "__file__", None)) for one in sys.modules.values()), sep="\\n")
print(*sorted(sys.modules), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split("\n"))
    assert {str(tmp_path / name) for name in function()["code"].assets} == {
        one for one in imported if one.startswith(str(tmp_path))
    }
    assert not imported & {"pydantic", "receipt_trainer.aws", "receipt_trainer.errors"}


def test_the_function_reads_the_rules_of_the_stack() -> None:
    """What the stack writes into its environment is what the function reads, with the contract's limits and names."""
    given = json.loads(function()["environment"]["variables"]["RULES"])
    told = notices.NoticeRules(**given.pop("notices"))
    assert (told.table, told.stack) == ("receipt-trainer-dev-jobs", "dev")
    assert told.topic == silence_recorded().outputs["notices_topic_arn"]
    of_jobs = waiting_jobs.QueueRules(**given.pop("waiting_jobs"))
    assert of_jobs.table == "receipt-trainer-dev-jobs"
    urls = {(pool, priority): url for pool, of in of_jobs.queues.items() for priority, url in of.items()}
    pools = silence_recorded().outputs["pools"]
    assert urls == {(pool, priority): url for pool in pools for priority, url in pools[pool]["queue_urls"].items()}
    rules = load_handler().SilenceRules(**given["silent_instances"])
    assert rules.table == "receipt-trainer-dev-instances"
    assert rules.groups == {pool: f"receipt-trainer-dev-workers-{pool}" for pool in ("gpu", "cpu")}
    assert (rules.namespace, rules.metric) == (metrics.NAMESPACE, metrics.SILENT_INSTANCES)
    assert (rules.heartbeat_limit_s, rules.boot_limit_s) == (liveness.HEARTBEAT_LIMIT_S, liveness.BOOT_LIMIT_S)
    assert rules.max_boot_failures == BootEnv.model_fields["max_boot_failures"].default


def test_limits_leave_room_for_whoever_is_well() -> None:
    """Ten beats may be missed, `instances` has said for long that it is late, and a boot has ended itself long since;
    the second look comes with the next run, and not with one that was delivered twice."""
    assert WorkerSettings.__dataclass_fields__["beat_s"].default * 10 < liveness.HEARTBEAT_LIMIT_S
    assert LATE_AFTER_S < liveness.HEARTBEAT_LIMIT_S
    assert BootEnv.model_fields["boot_deadline_s"].default + 600 < liveness.BOOT_LIMIT_S
    assert 60 < liveness.SECOND_LOOK_S < liveness.LOOK_EVERY_MIN * 60
    assert liveness.LOOK_EVERY_MIN * 60 - 60 < waiting.APART_S <= liveness.LOOK_EVERY_MIN * 60
    assert waiting.OLD_S > 2 * liveness.LOOK_EVERY_MIN * 60


def test_the_function_writes_the_words_of_the_contract() -> None:
    """States, metric dimensions and keys stand in a file that cannot import the contract: they are the same."""
    text = HANDLER.read_text()
    for word in (liveness.STATUS_SILENT, liveness.STATUS_LOST, *metrics.dimensions("dev", "gpu")):
        assert f'"{word}"' in text
    assert liveness.STATUS_LOST in GONE
