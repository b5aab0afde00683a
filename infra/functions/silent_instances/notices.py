"""Sends the notices of jobs that have ended, which the jobs table keeps until then.

A row is deleted once its notice is sent: a run that is cut off between the two sends it again. Needs nothing but the
contract's files beside it, Lambda's Python and its boto3. Sources: SNS API Reference, Publish; DynamoDB API Reference,
Query.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from receipt_trainer.contract import notices
from receipt_trainer.contract.cost import Cost

Clients = Callable[[str], Any]

MAX_A_RUN: Final = 100
"""Notices that one run sends; the next one continues."""
TIME_S: Final = 40.0
"""Seconds after which a run begins no further notice, so that a topic that does not answer delays nothing else."""


@dataclass(frozen=True)
class NoticeRules:
    """Settings from the stack: name of the jobs table, ARN of the topic, name of the Pulumi stack for the texts."""

    table: str
    topic: str
    stack: str


def send(
    rules: NoticeRules, client: Clients, now: datetime, clock: Callable[[], float] = time.monotonic
) -> dict[str, list[str]]:
    """Send what waits, oldest first; ids of the jobs whose notice was sent.

    Raises:
        RuntimeError: some notice could not be sent, or its row not be deleted; the others were.
        Exception: the rows could not be read; then nothing was sent.
    """
    dynamodb, sns, end = client("dynamodb"), client("sns"), clock() + TIME_S
    found: dict[str, list[str]] = {"notified": []}
    faults = []
    for row in list(_rows(dynamodb, rules.table, notices.PK, Limit=MAX_A_RUN)):
        if clock() >= end:
            break
        notice = notices.Notice.from_row(row)
        try:
            spent = notice.cost(list(_rows(dynamodb, rules.table, f"JOB#{notice.job_id}", "ATTEMPT#")), now)
            sns.publish(TopicArn=rules.topic, **_message(rules, notice, spent))
            dynamodb.delete_item(TableName=rules.table, Key={"PK": {"S": row["PK"]}, "SK": {"S": row["SK"]}})
        except (ClientError, BotoCoreError) as error:
            faults.append(f"{row['SK']}: {error}")
        else:
            found["notified"].append(notice.job_id)
            print(json.dumps({"job_id": notice.job_id, "event": "notice sent", "state": notice.state}))
    if faults:
        raise RuntimeError("; ".join(faults))
    return found


def _message(rules: NoticeRules, notice: notices.Notice, spent: Cost) -> dict[str, Any]:
    """Arguments of Publish; by the attributes a subscription can choose, such as failures alone."""
    told = {"state": notice.state, "job_name": notice.name}
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in told.items() if value}
    text = notice.text(rules.stack, spent)
    return {"Subject": notice.subject(rules.stack), "Message": text, "MessageAttributes": attributes}


def _rows(dynamodb: Any, table: str, partition: str, prefix: str = "", **bounds: Any) -> Iterator[Mapping[str, Any]]:
    """Rows of a partition whose sort keys begin with `prefix`, in their order; with a `Limit` the first ones alone."""
    values = {":pk": {"S": partition}} | ({":prefix": {"S": prefix}} if prefix else {})
    query = {
        "TableName": table,
        "KeyConditionExpression": "PK = :pk" + (" AND begins_with(SK, :prefix)" if prefix else ""),
        "ExpressionAttributeValues": values,
        "ConsistentRead": True,
        **bounds,
    }
    while True:
        answer = dynamodb.query(**query)
        yield from map(_plain, answer["Items"])
        if bounds or "LastEvaluatedKey" not in answer:
            return
        query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _plain(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Texts and numbers of an item; nothing else is needed here."""
    texts = {name: value["S"] for name, value in raw.items() if "S" in value}
    return texts | {name: float(value["N"]) for name, value in raw.items() if "N" in value}
