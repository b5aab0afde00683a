"""The function's resources: when it runs, as whom, with which rules; and that both sides mean the same by them."""

from __future__ import annotations

import ast
import json
import sys
from functools import cache
from typing import Any

from infra.boot import BootEnv
from infra.naming import Naming
from infra.silence import HANDLER, SilentInstances, SilentInstancesArgs
from receipt_trainer.contract import liveness, metrics
from receipt_trainer.jobs.instances import GONE, LATE_AFTER_S
from receipt_trainer.local.program import Recording, run
from receipt_trainer.worker.settings import WorkerSettings
from tests.infra.pool_cloud import load_handler

FUNCTION, RULE = "aws:lambda/function:Function", "aws:cloudwatch/eventRule:EventRule"
NAMING = Naming("receipt-trainer", "dev")


@cache
def recorded() -> Recording:
    def program() -> None:
        SilentInstances(
            "silence",
            SilentInstancesArgs(
                naming=NAMING,
                groups={"gpu": NAMING.name("workers", "gpu"), "cpu": NAMING.name("workers", "cpu")},
                instances_table=NAMING.name("instances"),
                log_group=NAMING.path("silent-instances"),
                role_arn="arn:aws:iam::123456789012:role/silence",
            ),
        )

    return run(program)


def function() -> dict[str, Any]:
    return recorded().of_type(FUNCTION)[0].inputs


def test_the_function_is_run_every_five_minutes() -> None:
    """A rule has the function as its target, and of all who could call it only this rule may."""
    rule = recorded().of_type(RULE)[0]
    assert rule.inputs["scheduleExpression"] == f"rate({liveness.LOOK_EVERY_MIN} minutes)"
    (target,) = recorded().of_type("aws:cloudwatch/eventTarget:EventTarget")
    (permission,) = recorded().of_type("aws:lambda/permission:Permission")
    assert target.inputs["arn"].endswith(":function:receipt-trainer-dev-silent-instances")
    assert permission.inputs["function"] == "receipt-trainer-dev-silent-instances"
    assert permission.inputs["action"] == "lambda:InvokeFunction"
    assert permission.inputs["principal"] == "events.amazonaws.com"
    assert rule.urn in permission.dependencies
    assert ":rule/silence-schedule" in permission.inputs["sourceArn"]
    assert target.inputs["rule"] in permission.inputs["sourceArn"]


def test_a_failed_run_is_not_repeated() -> None:
    """The next one comes in minutes and does the same; a late one is dropped."""
    (config,) = recorded().of_type("aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig")
    assert config.inputs["maximumRetryAttempts"] == 0
    assert config.inputs["maximumEventAgeInSeconds"] <= liveness.LOOK_EVERY_MIN * 60


def test_the_code_is_one_file_that_needs_nothing_of_ours() -> None:
    """Lambda gets handler.py alone; it imports what Lambda's Python has, and its entry point exists."""
    assert function()["code"].assets["handler.py"].path == str(HANDLER)
    assert len(function()["code"].assets) == 1
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(HANDLER.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    assert imported - sys.stdlib_module_names == {"boto3", "botocore"}
    module, entry = function()["handler"].split(".")
    assert (module, callable(getattr(load_handler(), entry))) == ("handler", True)


def test_the_function_reads_the_rules_of_the_stack() -> None:
    """What the stack writes into its environment is what the function reads, with the contract's limits and names."""
    rules = load_handler().Rules(**json.loads(function()["environment"]["variables"]["RULES"]))
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


def test_the_function_writes_the_words_of_the_contract() -> None:
    """States, metric dimensions and keys stand in a file that cannot import the contract: they are the same."""
    text = HANDLER.read_text()
    for word in (liveness.STATUS_SILENT, liveness.STATUS_LOST, *metrics.dimensions("dev", "gpu")):
        assert f'"{word}"' in text
    assert liveness.STATUS_LOST in GONE
