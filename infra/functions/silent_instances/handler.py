"""Ends instances of the worker pools without a heartbeat for too long. Runs in AWS Lambda, every few minutes.

An instance is silent if its heartbeat in the instances table is old, or if it never had one and was launched long ago.
The first look that finds it so marks its row; a later one ends it if nothing has changed. A worker's heartbeat
replaces its entire row, and the mark with it: so wrong clocks, or minutes in which the table took no writes,
end no instance that still beats. If anything cannot be read, the run fails before it ends anyone.

Besides, each run gives jobs without a message a new one (`waiting_jobs`), and sends the notices of jobs that have
ended (`notices`).

Needs only the files beside it, Lambda's Python and its boto3. Sources: EC2 Auto Scaling API Reference,
TerminateInstanceInAutoScalingGroup; DynamoDB API Reference, BatchGetItem.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.functions.silent_instances import notices, waiting_jobs

Clients = Callable[[str], Any]
Row = dict[str, Any]

STATES: Final = ("Pending", "InService")
"""Of all states in a group; instances on the way out, or put into standby by a person, are left alone."""
LOST: Final = "LOST"
BATCH: Final = 100
READ_ROUNDS: Final = 5
KEPT_S: Final = 7 * 86_400
_READ: Final = ("PK", "status", "reason", "at", "heartbeat_at", "silent_since")


@dataclass(frozen=True)
class SilenceRules:
    """Settings from the stack: names, limits, the Auto Scaling group of each pool."""

    table: str
    environment: str
    groups: Mapping[str, str]
    heartbeat_limit_s: float
    boot_limit_s: float
    second_look_s: float
    max_boot_failures: int
    namespace: str
    metric: str


@dataclass(frozen=True)
class PoolInstance:
    """An instance of a pool's group."""

    pool: str
    group: str
    instance_id: str

    @property
    def key(self) -> dict[str, Any]:
        """Of its row."""
        return {"PK": {"S": f"INSTANCE#{self.instance_id}"}, "SK": {"S": "INSTANCE"}}


def handle(event: object, context: object) -> dict[str, list[str]]:
    """Lambda's entry point; RULES has the rules of each part, by its name, as JSON. A part's fault stops no other.

    Raises RuntimeError: what could not be done; all else was.
    """
    config = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=5, read_timeout=10)
    given = json.loads(os.environ["RULES"])
    aws: Any = boto3  # whose hints want the name of one service
    client, now = cache(lambda service: aws.client(service, config=config)), datetime.now(UTC)
    parts: dict[str, Callable[[], dict[str, list[str]]]] = {
        "silent_instances": lambda: look(SilenceRules(**given["silent_instances"]), client, now),
        "waiting_jobs": lambda: waiting_jobs.look(waiting_jobs.QueueRules(**given["waiting_jobs"]), client, now),
        "notices": lambda: notices.send(notices.NoticeRules(**given["notices"]), client, now),
    }
    found: dict[str, list[str]] = {}
    faults = []
    for name, part in parts.items():
        try:
            found |= part()
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__}: {error}")
    if faults:
        raise RuntimeError("; ".join(faults))
    return found


def look(
    rules: SilenceRules, client: Clients, now: datetime, sleep: Callable[[float], None] = time.sleep
) -> dict[str, list[str]]:
    """One look at all instances; ids of those that were marked and of those that were ended.

    Raises:
        RuntimeError: some instance could not be marked or ended; the others were.
        Exception: something could not be read; then no instance was touched.
    """
    members = list(_members(client("autoscaling"), rules.groups))
    rows = _rows(client("dynamodb"), rules.table, members, sleep)
    launches = _launches(client("ec2"), [one for one in members if _last_sign(rows.get(one.instance_id)) is None])
    found: dict[str, list[str]] = {"marked": [], "ended": []}
    faults = []
    for one in members:
        row = rows.get(one.instance_id, {})
        why = reason(rules, row, launches.get(one.instance_id), now)
        if why is None:
            continue
        try:
            done = _treat(rules, client, one, row, why, now)
        except ClientError as error:
            faults.append(f"{one.instance_id}: {error}")
        else:
            if done is not None:
                found[done].append(one.instance_id)
    if faults:
        raise RuntimeError("; ".join(faults))
    return found


def reason(rules: SilenceRules, row: Row, launched_at: datetime | None, now: datetime) -> str | None:
    """Why an instance is silent; None if it is not. A time in the future is as strange as one long ago."""
    sign = _last_sign(row)
    if sign is None:
        if launched_at is None or (now - launched_at).total_seconds() <= rules.boot_limit_s:
            return None
        return f"launched at {launched_at:%FT%TZ}, and no heartbeat in {rules.boot_limit_s:g} s"
    seen = _moment(sign)
    if seen is not None and abs((now - seen).total_seconds()) <= rules.heartbeat_limit_s:
        return None
    return f"last heard of at {sign}; the limit is {rules.heartbeat_limit_s:g} s"


def _treat(rules: SilenceRules, client: Clients, one: PoolInstance, row: Row, why: str, now: datetime) -> str | None:
    """Mark a silent instance, or end it if it was marked long enough ago; None if there is nothing to do yet."""
    marked_at = _moment(row.get("silent_since"))
    if marked_at is not None and (now - marked_at).total_seconds() < rules.second_look_s:
        return None
    verdict = "marked" if marked_at is None else "ended"
    if not _write(client("dynamodb"), rules.table, one, row, why, now):
        _say("it was heard of again", one)
        return None
    if verdict == "ended":
        # Counted first: an end that fails is tried again, at a row that says LOST, which is counted no more.
        if "heartbeat_at" not in row and row.get("status") not in ("BOOT_FAILED", LOST):
            _count_boot_failure(client, rules, one, now)
        _end(client("autoscaling"), one)
        _count(client("cloudwatch"), rules, one)
    _say(verdict, one, why)
    return verdict


def _members(autoscaling: Any, groups: Mapping[str, str]) -> Iterator[PoolInstance]:
    pools = {group: pool for pool, group in groups.items()}
    pages = autoscaling.get_paginator("describe_auto_scaling_groups").paginate(AutoScalingGroupNames=list(pools))
    for group in pages.search("AutoScalingGroups[]"):
        name = group["AutoScalingGroupName"]
        for instance in group["Instances"]:
            if instance["LifecycleState"] in STATES:
                yield PoolInstance(pools[name], name, instance["InstanceId"])


def _rows(dynamodb: Any, table: str, members: Sequence[PoolInstance], sleep: Callable[[float], None]) -> dict[str, Row]:
    """Rows by instance id; all that exist, or an exception."""
    found: dict[str, Row] = {}
    names = {f"#{name}": name for name in _READ}
    read = {"ConsistentRead": True, "ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    for start in range(0, len(members), BATCH):
        left: Any = {table: {"Keys": [one.key for one in members[start : start + BATCH]], **read}}
        for attempt in range(READ_ROUNDS):
            if attempt:
                sleep(0.2 * 2**attempt)
            answer = dynamodb.batch_get_item(RequestItems=left)
            for raw in answer["Responses"].get(table, []):
                row = {name: value["S"] for name, value in raw.items() if "S" in value}
                found[row["PK"].removeprefix("INSTANCE#")] = row
            left = answer.get("UnprocessedKeys") or {}
            if not left:
                break
        else:
            raise RuntimeError(f"DynamoDB left keys of {table} unprocessed {READ_ROUNDS} times")
    return found


def _launches(ec2: Any, members: Sequence[PoolInstance]) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for start in range(0, len(members), BATCH):
        # By a filter: an id that EC2 does not know yet, or no longer knows, is then no error.
        ids = {"Name": "instance-id", "Values": [one.instance_id for one in members[start : start + BATCH]]}
        pages = ec2.get_paginator("describe_instances").paginate(Filters=[ids])
        found |= {one["InstanceId"]: one["LaunchTime"] for one in pages.search("Reservations[].Instances[]")}
    return found


def _write(dynamodb: Any, table: str, one: PoolInstance, row: Row, why: str, now: datetime) -> bool:
    """Mark the row, or say in a marked one that the instance is lost; False if somebody wrote in between.

    Both set the mark to now: of two looks at once one ends the instance, and an end that fails is tried again later.
    """
    sign, marked = _last_sign(row), row.get("silent_since")
    texts = {":now": f"{now:%FT%TZ}"}
    if marked is None:
        new = "silent_since = :now, #type = if_not_exists(#type, :type), #pool = if_not_exists(#pool, :pool)"
        update = f"SET {new}, #status = if_not_exists(#status, :status), #expires = :expires"
        texts |= {":type": "INSTANCE", ":pool": one.pool, ":status": "SILENT"}
        names = {"#type": "TYPE", "#pool": "pool"}
    else:
        new = "silent_since = :now, ended_at = :now, #expires = :expires"
        update = f"SET #status = :status, #reason = :reason, {new}"
        texts |= {":status": LOST, ":reason": _reason_of_end(row, why)}
        names = {"#reason": "reason"}
    tests = ["silent_since = :marked" if marked else "attribute_not_exists(silent_since)"]
    tests.append("(heartbeat_at = :sign OR #at = :sign)" if sign else "attribute_not_exists(heartbeat_at)")
    tests += [] if sign else ["attribute_not_exists(#at)"]
    texts |= {name: text for name, text in ((":sign", sign), (":marked", marked)) if text}
    try:
        dynamodb.update_item(
            TableName=table,
            Key=one.key,
            UpdateExpression=update,
            ConditionExpression=" AND ".join(tests),
            ExpressionAttributeNames=names | {"#status": "status", "#at": "at", "#expires": "expires_at"},
            ExpressionAttributeValues={name: {"S": text} for name, text in texts.items()} | _expires(now),
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _reason_of_end(row: Row, why: str) -> str:
    """With what the row said before; what it said of an end that failed stays as it is."""
    before = row.get("reason")
    if before and row.get("status") == LOST:
        return str(before)
    return f"ended by the stack: {why}" + (f"; before that: {before}" if before else "")


def _expires(now: datetime) -> dict[str, Any]:
    return {":expires": {"N": str(int(now.timestamp()) + KEPT_S)}}


def _end(autoscaling: Any, one: PoolInstance) -> None:
    """End it, and ask for one instance less: if there is work, the backlog asks for another, as for any instance."""
    end = autoscaling.terminate_instance_in_auto_scaling_group
    try:
        end(InstanceId=one.instance_id, ShouldDecrementDesiredCapacity=True)
    except ClientError as error:
        said = error.response["Error"]
        message = said.get("Message", "").lower().replace(" ", "")
        if said["Code"] != "ValidationError" or "minsize" not in message:
            raise
        # The group is as small as it may be: it gets another one in its place.
        end(InstanceId=one.instance_id, ShouldDecrementDesiredCapacity=False)


def _count(cloudwatch: Any, rules: SilenceRules, one: PoolInstance) -> None:
    """For the alarm. The instance is being ended already: a fault is logged and does not fail the run."""
    dimensions = [{"Name": "Environment", "Value": rules.environment}, {"Name": "Pool", "Value": one.pool}]
    datum = {"MetricName": rules.metric, "Value": 1.0, "Unit": "Count", "Dimensions": dimensions}
    try:
        cloudwatch.put_metric_data(Namespace=rules.namespace, MetricData=[datum])
    except ClientError as error:
        _say("it was not counted", one, str(error))


def _count_boot_failure(client: Clients, rules: SilenceRules, one: PoolInstance, now: datetime) -> None:
    """A boot that could not even say that it failed counts as one that did: after some in a row the pool rests."""
    answer = client("dynamodb").update_item(
        TableName=rules.table,
        Key={"PK": {"S": f"POOL#{one.pool}"}, "SK": {"S": "BOOT_FAILURES"}},
        UpdateExpression="ADD num_failures :one SET expires_at = :expires",
        ExpressionAttributeValues={":one": {"N": "1"}} | _expires(now),
        ReturnValues="UPDATED_NEW",
    )
    num_failures = int(answer["Attributes"]["num_failures"]["N"])
    if num_failures >= rules.max_boot_failures:
        client("autoscaling").suspend_processes(AutoScalingGroupName=one.group, ScalingProcesses=["Launch"])
        _say("the pool launches no more", one, f"{num_failures} failed boots in a row")


def _last_sign(row: Row | None) -> str | None:
    """When the worker, or a boot that failed, last wrote; as it stands in the row."""
    found = row or {}
    return found.get("heartbeat_at") or found.get("at") or None


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _say(what: str, one: PoolInstance, why: str = "") -> None:
    print(json.dumps({"instance_id": one.instance_id, "pool": one.pool, "event": what, "reason": why}))
