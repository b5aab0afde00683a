"""DynamoDB, SQS, SSM parameters, log groups and SNS on the embedded AWS."""

from __future__ import annotations

from typing import Any, Final

from receipt_trainer.local.property_mapping import Clients, Creator, given, tag_list
from receipt_trainer.local.recording import Registration

_Made = tuple[str, dict[str, Any]]


def _keys(partition: str, sort: str | None) -> list[dict[str, str]]:
    names = [(partition, "HASH"), (sort, "RANGE")]
    return [{"AttributeName": name, "KeyType": kind} for name, kind in names if name]


def _index(index: dict[str, Any]) -> dict[str, Any]:
    projection = {"ProjectionType": index["projectionType"]}
    included = index.get("nonKeyAttributes")
    return {
        "IndexName": index["name"],
        "KeySchema": _keys(*_index_keys(index)),
        "Projection": projection | ({"NonKeyAttributes": included} if included else {}),
    }


def _index_keys(index: dict[str, Any]) -> tuple[str, str | None]:
    schema = {key["keyType"]: key["attributeName"] for key in index.get("keySchemas") or []}
    return schema.get("HASH") or index["hashKey"], schema.get("RANGE") or index.get("rangeKey")


def _table(resource: Registration, name: str, clients: Clients) -> _Made:
    dynamodb, inputs = clients("dynamodb"), resource.inputs
    indexes = [_index(index) for index in inputs.get("globalSecondaryIndexes") or []]
    attributes = [{"AttributeName": one["name"], "AttributeType": one["type"]} for one in inputs["attributes"]]
    made = dynamodb.create_table(
        TableName=name,
        BillingMode=inputs.get("billingMode", "PAY_PER_REQUEST"),
        AttributeDefinitions=attributes,
        KeySchema=_keys(inputs["hashKey"], inputs.get("rangeKey")),
        DeletionProtectionEnabled=bool(inputs.get("deletionProtectionEnabled")),
        Tags=tag_list(resource),
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
    )
    if (inputs.get("pointInTimeRecovery") or {}).get("enabled"):
        on = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=on)
    ttl = inputs.get("ttl") or {}
    if ttl.get("enabled", bool(ttl)):
        expiry = {"Enabled": True, "AttributeName": ttl["attributeName"]}
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)
    return name, {"arn": made["TableDescription"]["TableArn"]}


_QUEUE_ATTRIBUTES: Final = {
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "deduplicationScope": "DeduplicationScope",
    "delaySeconds": "DelaySeconds",
    "fifoQueue": "FifoQueue",
    "fifoThroughputLimit": "FifoThroughputLimit",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "policy": "Policy",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "redrivePolicy": "RedrivePolicy",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _queue(resource: Registration, name: str, clients: Clients) -> _Made:
    attributes = {api: _text(resource.inputs[key]) for key, api in _QUEUE_ATTRIBUTES.items() if key in resource.inputs}
    if attributes.get("FifoQueue") == "false":
        del attributes["FifoQueue"]  # AWS knows only "true"
    tags = resource.inputs.get("tags") or {}
    url = clients("sqs").create_queue(QueueName=name, Attributes=attributes, tags=tags)["QueueUrl"]
    return url, {"url": url}


def _queue_policy(resource: Registration, name: str, clients: Clients) -> _Made:
    url = resource.inputs["queueUrl"]
    clients("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": resource.inputs["policy"]})
    return url, {}


def _redrive_policy(resource: Registration, name: str, clients: Clients) -> _Made:
    url = resource.inputs["queueUrl"]
    clients("sqs").set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": resource.inputs["redrivePolicy"]})
    return url, {}


def _parameter(resource: Registration, name: str, clients: Clients) -> _Made:
    value = resource.inputs.get("value") or resource.inputs["insecureValue"]
    wanted = {"Name": name, "Type": resource.inputs["type"], "Value": value, "Tags": tag_list(resource)}
    wanted |= given(resource, Description="description", Tier="tier")
    version = clients("ssm").put_parameter(**wanted)["Version"]
    return name, {"version": version}


def _log_group(resource: Registration, name: str, clients: Clients) -> _Made:
    logs = clients("logs")
    logs.create_log_group(logGroupName=name, tags=resource.inputs.get("tags") or {})
    if days := resource.inputs.get("retentionInDays"):
        logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    return name, {}


def _metric_filter(resource: Registration, name: str, clients: Clients) -> _Made:
    metric = resource.inputs["metricTransformation"]
    transformation = {
        "metricName": metric["name"],
        "metricNamespace": metric["namespace"],
        "metricValue": metric["value"],
    }
    clients("logs").put_metric_filter(
        logGroupName=resource.inputs["logGroupName"],
        filterName=name,
        filterPattern=resource.inputs["pattern"],
        metricTransformations=[transformation],
    )
    return name, {}


def _topic(resource: Registration, name: str, clients: Clients) -> _Made:
    arn = clients("sns").create_topic(Name=name, Tags=tag_list(resource))["TopicArn"]
    return arn, {"arn": arn}


def _topic_policy(resource: Registration, name: str, clients: Clients) -> _Made:
    arn, policy = resource.inputs["arn"], resource.inputs["policy"]
    clients("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    return arn, {}


def _subscription(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(resource, TopicArn="topic", Protocol="protocol", Endpoint="endpoint")
    arn = clients("sns").subscribe(**wanted, ReturnSubscriptionArn=True)["SubscriptionArn"]
    return arn, {"arn": arn}


CREATORS: Final[dict[str, Creator]] = {
    "aws:dynamodb/table:Table": _table,
    "aws:sqs/queue:Queue": _queue,
    "aws:sqs/queuePolicy:QueuePolicy": _queue_policy,
    "aws:sqs/redrivePolicy:RedrivePolicy": _redrive_policy,
    "aws:ssm/parameter:Parameter": _parameter,
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": _metric_filter,
    "aws:sns/topic:Topic": _topic,
    "aws:sns/topicPolicy:TopicPolicy": _topic_policy,
    "aws:sns/topicSubscription:TopicSubscription": _subscription,
}
