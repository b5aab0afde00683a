"""Requests as they go over the wire, in IAM's words: which actions on which resources they ask for.

Source: Service Authorization Reference, of each service. A transaction of DynamoDB asks for the actions of its parts.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fault_proxy import FaultProxy
from tests.infra.policy_reading import allowed, listed, statements

HERE = "us-east-1:123456789012"
_PREFIXES = {"monitoring": "cloudwatch"}
"""Where signing names and IAM's prefixes differ."""
_SIGNED = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")
_AS = {"SendMessageBatch": "SendMessage", "DeleteMessageBatch": "DeleteMessage"}
_PARTS = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


@dataclass(frozen=True, order=True)
class Asked:
    """One thing that a request asks IAM for; `context` is (key, value) pairs."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


def read(method: str, path: str, headers: Mapping[str, str], body: bytes, group: str = "") -> Iterator[Asked]:
    """What a signed request asks for; `group` is that of an instance which is ended by its id."""
    known = {name.lower(): value for name, value in headers.items()}
    signed = _SIGNED.search(known.get("authorization", ""))
    assert signed is not None, f"{method} {path} is not signed"
    service = _PREFIXES.get(signed[1], signed[1])
    if service == "s3":
        yield from _s3(method, path)
        return
    operation, given = _operation(path, known, body)
    if service == "autoscaling":  # an instance is of its group; which one, the request that ends it does not say
        given = {"AutoScalingGroupName": group} | given
    yield from _READERS[service](service, operation, given)


def _operation(path: str, headers: Mapping[str, str], body: bytes) -> tuple[str, dict[str, Any]]:
    """JSON with a target, the query protocol, or Smithy's RPC with CBOR, of which only the text is looked at."""
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2], json.loads(body)
    if "/operation/" in path:
        return path.rpartition("/")[2], {"cbor": body}
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    return form.pop("Action"), form


def _s3(method: str, path: str) -> Iterator[Asked]:
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if not key:
        yield Asked("s3:ListBucket", arn, (("s3:prefix", query.get("prefix", [""])[0]),))
    elif method == "GET" and "uploadId" in query:
        yield Asked("s3:ListMultipartUploadParts", f"{arn}/{key}")
    elif method == "DELETE":
        yield Asked("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", f"{arn}/{key}")
    else:
        yield Asked("s3:GetObject" if method in ("GET", "HEAD") else "s3:PutObject", f"{arn}/{key}")


def _dynamodb(service: str, operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    if operation == "TransactWriteItems":
        for [(kind, part)] in (one.items() for one in given["TransactItems"]):
            key = (part.get("Key") or part["Item"])["PK"]["S"]
            yield _item(_PARTS[kind], part["TableName"], key)
    elif operation in ("BatchGetItem", "BatchWriteItem"):
        for table in given["RequestItems"]:
            yield _item(operation, table)
    else:
        index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
        values, key = given.get("ExpressionAttributeValues", {}), given.get("Key") or given.get("Item") or {}
        leading = key.get("PK") or values.get(":pk") or {}
        yield _item(operation, given["TableName"] + index, leading.get("S"))


def _item(action: str, table: str, leading: str | None = None) -> Asked:
    context = (("dynamodb:LeadingKeys", leading),) if leading else ()
    return Asked(f"dynamodb:{action}", f"arn:aws:dynamodb:{HERE}:table/{table}", context)


def _sqs(service: str, operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    name = given["QueueUrl"].rpartition("/")[2]
    yield Asked(f"sqs:{_AS.get(operation, operation)}", f"arn:aws:sqs:{HERE}:{name}")


def _autoscaling(service: str, operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    if operation.startswith("Describe"):
        yield Asked(f"autoscaling:{operation}", "*")
    else:
        name = f"autoScalingGroup:1:autoScalingGroupName/{given['AutoScalingGroupName']}"
        yield Asked(f"autoscaling:{operation}", f"arn:aws:autoscaling:{HERE}:{name}")


def _cloudwatch(service: str, operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    namespace = given.get("Namespace") or re.search(rb"Namespace.?(ReceiptTrainer)", given["cbor"])[1].decode()  # type: ignore[index]
    yield Asked(f"cloudwatch:{operation}", "*", (("cloudwatch:namespace", namespace),))


def _any(service: str, operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    yield Asked(f"{service}:{operation}", "*")


def _topic(service: str, operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    yield Asked(f"{service}:{operation}", given["TopicArn"])


def _parameter(service: str, operation: str, given: dict[str, Any]) -> Iterator[Asked]:
    yield Asked(f"{service}:{operation}", f"arn:aws:ssm:{HERE}:parameter{given['Name']}")


_READERS = {
    "dynamodb": _dynamodb,
    "sqs": _sqs,
    "autoscaling": _autoscaling,
    "cloudwatch": _cloudwatch,
    "ec2": _any,
    "pricing": _any,
    "servicequotas": _any,
    "sns": _topic,
    "ssm": _parameter,
}


class Calls:
    """What was asked for while it recorded; `group` as for `read`."""

    def __init__(self, proxy: FaultProxy, group: str) -> None:
        self._group = group
        self.asked: set[Asked] = set()
        self._lock = threading.Lock()
        proxy.record = self._record

    def _record(self, method: str, path: str, headers: Any, body: bytes) -> None:
        found = set(read(method, path, headers, body, self._group))
        with self._lock:
            self.asked |= found

    def check(self, policy: str, explained: Mapping[tuple[str, str], str]) -> None:
        """All that was called is allowed; all that is allowed was called, or is explained, and nothing in vain.

        `explained`: (statement, action) that no call is -> who needs it.
        """
        refused = sorted(one for one in self.asked if not allowed(policy, one.action, one.resource, dict(one.context)))
        assert refused == [], f"not allowed: {refused}"
        never = set()
        for statement in statements(policy):
            for action in listed(statement["Action"]):
                only = json.dumps({"Statement": [{**statement, "Action": action}]})
                if not any(allowed(only, one.action, one.resource, dict(one.context)) for one in self.asked):
                    never.add((statement["Sid"], action))
        vain = sorted(never - explained.keys())
        assert vain == [], f"allowed, and never called: {vain}"
        assert sorted(explained.keys() - never) == [], "explained in vain"
