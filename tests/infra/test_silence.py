"""The function's resources: when it runs, as whom, with which rules; and that both sides mean the same by them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3

from infra.functions.silent_instances import notices, waiting_jobs
from infra.pools.user_data import BootEnv
from infra.watch.silent_instances import HANDLER
from receipt_trainer.contract import liveness, metrics, waiting
from receipt_trainer.jobs.instances import GONE, LATE_AFTER_S
from receipt_trainer.local.pulumi_program import Recording
from receipt_trainer.worker.settings import WorkerSettings
from tests.infra.edits import stack
from tests.infra.pool_cloud import load_handler

FUNCTION, RULE = "aws:lambda/function:Function", "aws:cloudwatch/eventRule:EventRule"


def recorded() -> Recording:
    return stack()


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
    assert told.topic == recorded().outputs["notices_topic_arn"]
    of_jobs = waiting_jobs.QueueRules(**given.pop("waiting_jobs"))
    assert of_jobs.table == "receipt-trainer-dev-jobs"
    urls = {(pool, priority): url for pool, of in of_jobs.queues.items() for priority, url in of.items()}
    pools = recorded().outputs["pools"]
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
