"""Lambda functions and their schedules on the embedded AWS, which keeps them and runs none."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Final

from pulumi import AssetArchive, FileAsset

from receipt_trainer.local.property_mapping import Clients, Creator, given, pascal
from receipt_trainer.local.recording import Registration

_Made = tuple[str, dict[str, Any]]
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip file: the same bytes for the same content


def _function(resource: Registration, name: str, clients: Clients) -> _Made:
    inputs = resource.inputs
    made = clients("lambda").create_function(
        FunctionName=name,
        Code={"ZipFile": _zipped(inputs["code"])},
        Tags=inputs.get("tags") or {},
        **{
            key[:1].upper() + key[1:]: pascal(inputs[key])
            for key in ("description", "handler", "loggingConfig", "memorySize", "role", "runtime", "timeout")
            if inputs.get(key) is not None
        },
        Environment={"Variables": (inputs.get("environment") or {}).get("variables") or {}},
    )
    return name, {"arn": made["FunctionArn"]}


def _zipped(code: AssetArchive) -> bytes:
    """The archive of files by name as Lambda takes it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, asset in sorted(code.assets.items()):
            if not isinstance(asset, FileAsset):
                raise TypeError(f"{name}: the code of a function here is made of files, not of {type(asset).__name__}")
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), Path(asset.path).read_bytes())
    return content.getvalue()


def _event_invoke_config(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(
        resource,
        FunctionName="functionName",
        MaximumEventAgeInSeconds="maximumEventAgeInSeconds",
        MaximumRetryAttempts="maximumRetryAttempts",
    )
    clients("lambda").put_function_event_invoke_config(**wanted)
    return str(wanted["FunctionName"]), {}


def _permission(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(resource, FunctionName="function", Action="action", Principal="principal", SourceArn="sourceArn")
    clients("lambda").add_permission(StatementId=name, **wanted)
    return name, {"statementId": name}


def _rule(resource: Registration, name: str, clients: Clients) -> _Made:
    names = {"ScheduleExpression": "scheduleExpression", "EventPattern": "eventPattern"}
    wanted = given(resource, Description="description", **names)
    made = clients("events").put_rule(Name=name, **wanted)
    return name, {"arn": made["RuleArn"]}


def _target(resource: Registration, name: str, clients: Clients) -> _Made:
    target: dict[str, Any] = {"Id": name, "Arn": resource.inputs["arn"]}
    if policy := resource.inputs.get("retryPolicy"):
        target["RetryPolicy"] = pascal(policy)
    clients("events").put_targets(Rule=resource.inputs["rule"], Targets=[target])
    return name, {}


CREATORS: Final[dict[str, Creator]] = {
    "aws:lambda/function:Function": _function,
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": _event_invoke_config,
    "aws:lambda/permission:Permission": _permission,
    "aws:cloudwatch/eventRule:EventRule": _rule,
    "aws:cloudwatch/eventTarget:EventTarget": _target,
}
