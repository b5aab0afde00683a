"""What clients ask of AWS, as the requests that IAM decides on. Source: Service Authorization Reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.infra.iam_program import ACCOUNT, HERE, REGION

_WRITES: Final = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
_ACTIONS: Final = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}
"""Where an operation is another action's."""


@dataclass(frozen=True)
class Request:
    """One request: an action on a resource, with the context that the stack's conditions look at."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


class Recorder:
    """Listens to clients.

    Attributes:
        requests: what was asked, in order.
        groups: the Auto Scaling group of each instance that is ended by its own id.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.groups: dict[str, str] = {}

    def attach(self, client: Any) -> Any:
        """The same client, listened to."""
        client.meta.events.register("before-parameter-build", self._hear)
        return client

    def _hear(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.requests += _requests(model.service_model.service_name, model.name, params, self.groups)

    def actions(self) -> set[str]:
        """All actions that were asked for."""
        return {request.action for request in self.requests}


def _requests(service: str, operation: str, params: Mapping[str, Any], groups: Mapping[str, str]) -> Iterator[Request]:
    if service == "dynamodb":
        yield from _of_dynamodb(operation, params)
        return
    action = _ACTIONS.get(f"{service}:{operation}", f"{service}:{operation}")
    if service == "sqs":
        yield Request(action, queue_arn(params["QueueUrl"]))
    elif service == "sns":
        yield Request(action, params["TopicArn"])
    elif service == "cloudwatch":
        yield Request(action, "*", {"cloudwatch:namespace": params["Namespace"]})
    elif service == "autoscaling" and not operation.startswith("Describe"):
        group = params.get("AutoScalingGroupName") or groups[params["InstanceId"]]
        yield Request(action, f"arn:aws:autoscaling:{HERE}:autoScalingGroup:11111111-2222:autoScalingGroupName/{group}")
    elif operation.startswith("Describe"):
        yield Request(action, "*")
    else:
        raise AssertionError(f"{action}: nobody said which resource that is about")


def _of_dynamodb(operation: str, params: Mapping[str, Any]) -> Iterator[Request]:
    if operation == "TransactWriteItems":
        for item in params["TransactItems"]:
            ((kind, what),) = item.items()
            yield _on_table(_WRITES[kind], what["TableName"], what)
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        for table in params["RequestItems"]:
            yield _on_table(operation, table, {})
    else:
        yield _on_table(operation, params["TableName"], params)


def _on_table(operation: str, table: str, params: Mapping[str, Any]) -> Request:
    index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
    keys = params.get("Key") or params.get("Item") or {}
    values = params.get("ExpressionAttributeValues", {})
    partition = keys.get("PK") or (values.get(":pk") if operation == "Query" else None)
    context = {"dynamodb:LeadingKeys": str(partition["S"])} if partition else {}
    return Request(f"dynamodb:{operation}", f"{table_arn(table)}{index}", context)


def table_arn(name: str) -> str:
    """Of a table of the embedded AWS."""
    return f"arn:aws:dynamodb:{HERE}:table/{name}"


def queue_arn(url: str) -> str:
    """Of a queue of the embedded AWS."""
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.rpartition('/')[2]}"
