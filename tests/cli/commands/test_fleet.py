"""`receipt-trainer fleet`, on groups, queues and tables of the embedded AWS."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract import waiting_calls
from receipt_trainer.contract.tables import attempt_sk, iso, job_pk
from receipt_trainer.contract.waiting import Look
from receipt_trainer.fleet import groups
from receipt_trainer.local.emulator import LocalCloud
from tests.cli.jobs import Caller, add_job
from tests.fleet.page import Page
from tests.fleet.refusing import Refusing
from tests.fleet.stack import Stack, fall, stand
from tests.price_list import PriceList, product
from tests.waiting import TIMEOUT_S


@pytest.fixture
def stack(aws: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """Three instances, protected as they come, in the pool gpu; the price list knows one of its two types."""
    with PriceList(product("g6.xlarge", "us-east-1", "0.8048")) as prices:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", prices.url)
        made = stand(aws.client, tmp_path, 3)
        yield made
        fall(aws.client, made)


def bounds(stack: Stack, pool: str = "gpu") -> tuple[int, int, int]:
    """Minimum, desired, maximum of a pool's group."""
    found = {"gpu": stack.gpu, "cpu": stack.cpu}[pool].group()
    return found["MinSize"], found["DesiredCapacity"], found["MaxSize"]


def test_status_shows_all_and_changes_nothing(stack: Stack, call: Caller) -> None:
    """Bounds, backlog, instances with worker and heartbeat, prices and spend, of each pool; and nothing is touched."""
    busy, silent, booting = stack.ids
    now, before = utc_now(), (bounds(stack), bounds(stack, "cpu"))
    stack.gpu.beat(busy, now)
    stack.gpu.beat(silent, now - timedelta(minutes=7))
    url = stack.outputs.pools["gpu"].queue_urls["high"]
    for number in range(2):
        same = {"MessageGroupId": str(number), "MessageDeduplicationId": str(number)}
        clients.sqs().send_message(QueueUrl=url, MessageBody="{}", **same)
    clients.sqs().receive_message(QueueUrl=url)
    out = call("fleet", "--outputs", str(stack.path)).out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "instances: 3 asked for, 0 at least, 9 at most" in out
    assert "high: 1 waiting, 1 taken; normal: 0 waiting, 0 taken; dead letters: 0" in out
    assert all(said in lines[busy] for said in ("InService", "RUNNING", "a-job", "g6.xlarge", "spot", "0.3000"))
    assert "(late)" not in lines[busy]
    assert "7 min ago (late)" in lines[silent]
    assert "not registered" in lines[booting]
    assert lines["g6.xlarge"].split()[-1] == "0.8048"
    assert lines["g5.xlarge"].split()[-1] == "unknown"
    assert "0.0000" not in out  # the embedded AWS asks 0.00001 of each
    assert "cpu: no instance" in out
    assert "(from the start of each worker to its end" in out
    assert (bounds(stack), bounds(stack, "cpu")) == before


def test_status_for_scripts(stack: Stack, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """--json has the same, with the cheapest spot price first, and the spend of a job that runs today; a terminal of
    80 columns shows enough of its id to name it by."""
    now = utc_now()
    stack.gpu.beat(stack.ids[0], now)
    job_id = add_job(stack.outputs.jobs_table, name="runs", status="RUNNING", updated_at=iso(now), attempt=1)
    row = {"PK": job_pk(job_id), "SK": attempt_sk(1), "started_at": iso(now), "market": "on_demand"}
    row |= {"instance_type": "g6.xlarge", "availability_zone": "us-east-1a"}
    dynamo.put(clients.dynamodb(), stack.outputs.jobs_table, row, "put an attempt")
    said = call("fleet", "--status", "--json", "--pool", "gpu", "--outputs", str(stack.path)).json
    (pool,) = said["pools"]
    assert pool["group"]["desired"] == 3
    assert {one["instance_id"] for one in pool["instances"]} == set(stack.ids)
    assert {one["instance_id"] for one in pool["instances"] if one["worker"]} == {stack.ids[0]}
    prices = [one["usd_per_h"] for one in pool["spot"]]
    assert prices == sorted(prices)
    assert {one["instance_type"] for one in pool["spot"]} == {"g6.xlarge", "g5.xlarge"}
    assert {one["zone"] for one in pool["spot"]} <= set(pool["group"]["zones"])
    assert pool["on_demand"] == {"g6.xlarge": 0.8048, "g5.xlarge": None}
    assert pool["today"]["num_instances"] == 1
    assert [(job["job_id"], job["cost"]["num_at_list_price"]) for job in said["jobs_today"]] == [(job_id, 1)]
    monkeypatch.setenv("COLUMNS", "80")
    assert f"\n{job_id[:8]}  runs  RUNNING  " in call("fleet", "--outputs", str(stack.path)).out


def test_jobs_without_a_message_are_said(stack: Stack, call: Caller) -> None:
    """What the stack's function saw minutes ago, with the command that mends it at once; of the chosen pools alone."""
    now, [gpu] = utc_now(), [one for one in stack.outputs.places() if one.label == "gpu-high"]
    look = Look("gpu-high", now - timedelta(minutes=9), 1, 0, 0, now - timedelta(minutes=9))
    waiting_calls.keep(clients.dynamodb(), stack.outputs.jobs_table, gpu, look)
    given = "--outputs", str(stack.path)
    said = " ".join(call("fleet", *given).out.split())
    assert (
        "1 job waits in gpu-high, 0 messages: they get a new one within ten minutes, or at once by "
        f"`receipt-trainer doctor --heal --outputs {stack.path}`"
    ) in said
    [short] = call("fleet", "--json", *given).json["short"]
    assert (short["queue"], short["num_waiting"], short["at"]) == ("gpu-high", 1, iso(look.at))
    assert "--heal" not in call("fleet", "--pool", "cpu", *given).out


def test_a_half_made_stack_is_one_line(stack: Stack, call: Caller, tmp_path: Path) -> None:
    """Whatever the stack lacks is named, by status and by --json alike, with exit code 2 and no traceback."""
    for missing, said in (
        ("group", "there is no Auto Scaling group"),
        ("jobs", "there is no table"),
        ("instances", "there is no table"),
        ("high", "read the queue .*: there is no queue "),
        ("dead", "read the queue .*: there is no queue "),
    ):
        outputs = json.loads(stack.path.read_text())
        pool, name = outputs["pools"]["gpu"], f"half-made-{missing}"
        if missing in ("jobs", "instances"):
            outputs[f"{missing}_table"] = name
        elif missing == "group":
            pool["auto_scaling_group"] = name
        elif missing == "dead":
            pool["dead_letter_queue_url"] = pool["dead_letter_queue_url"].replace("dead", name)
        else:
            pool["queue_urls"]["high"] = pool["queue_urls"]["high"].replace("high", name)
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(outputs))
        for more in ((), ("--json",)):
            found = call("fleet", "--outputs", str(path), *more)
            assert (found.code, found.out, len(found.err.splitlines())) == (2, "", 1)
            assert re.search(said, found.err)
            assert name in found.err


@pytest.mark.parametrize(
    ("service", "status", "page"),
    [
        ("AUTO_SCALING", 200, b"<!DOCTYPE html>\n<html><body>Sign in</body></html>"),
        ("DYNAMODB", 502, b"<!DOCTYPE html>\n<html><body>Sign in</body></html>"),
        ("SQS", 200, b"<?xml version='1.0'?><Page>Sign in</Page>"),
        ("AUTO_SCALING", 502, b"<?xml version='1.0'?><Page>Sign in</Page>"),
    ],
)
def test_errors_of_aws_are_one_line_and_no_page(
    service: str, status: int, page: bytes, stack: Stack, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that answers with a page of HTML, whatever the status, or a service with XML that is none of its own: one
    line that says so, and not a word of the page."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with Page(status, page) as served:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", served.url)
        found = call("fleet", "--outputs", str(stack.path))
    assert (found.code in (1, 2), found.out, len(found.err.splitlines())) == (True, "", 1), found
    assert "<" not in found.err
    assert "Sign in" not in found.err


def test_no_price_reads_nothing(stack: Stack, call: Caller) -> None:
    """A price of nothing, or of so little that it would read 0.0000, is none that anybody knows; what cost less than a
    cent says so; and a job whose price is unknown costs no $0.00."""
    now, table = utc_now(), stack.outputs.jobs_table
    for number, (instance, price) in enumerate(zip(stack.ids, (0, 0.00001, 0.004), strict=True)):
        stack.gpu.beat(instance, now)
        key = {"PK": {"S": f"INSTANCE#{instance}"}, "SK": {"S": "INSTANCE"}}
        clients.dynamodb().update_item(
            TableName=stack.outputs.instances_table,
            Key=key,
            UpdateExpression="SET price_usd_per_h = :price",
            ExpressionAttributeValues={":price": {"N": str(price)}},
        )
        job_id = add_job(table, name=f"job-{number}", status="RUNNING", updated_at=iso(now), attempt=1)
        times = {"started_at": iso(now - timedelta(minutes=1)), "price_usd_per_h": price}
        dynamo.put(clients.dynamodb(), table, {"PK": job_pk(job_id), "SK": attempt_sk(1), **times}, "put an attempt")
    saved = ("--outputs", str(stack.path))
    for words in (("fleet", "--pool", "gpu"), ("instances",)):
        lines = {line.split()[0]: line for line in call(*words, *saved).out.splitlines() if line.strip()}
        assert "0.0000" not in " ".join(lines.values())
        assert [("unknown" in lines[one], "0.0040" in lines[one]) for one in stack.ids] == [
            (True, False),
            (True, False),
            (False, True),
        ]
    out = call("fleet", "--pool", "gpu", *saved).out
    assert "$0.00" not in out.replace("< $0.01", "")
    details = [call("job-details", f"job-{number}", *saved).out for number in range(3)]
    assert "unknown (" in details[0]
    assert all("< $0.01" in one for one in details[1:])
    assert not any("0.0000" in one or "$0.00" in one for one in details)


def test_without_a_price_list_the_rest_is_shown(stack: Stack, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not read prices, or has no way to them, gets `unknown` and the reason."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_PRICING")  # the embedded AWS has no price list
    said = call("fleet", "--outputs", str(stack.path))
    assert said.code == 0
    assert "on-demand prices are not available: read list prices: " in said.out
    assert "<" not in said.out.partition("are not available")[2].partition("\n")[0]


def test_start_and_stop_set_the_bounds(stack: Stack, call: Caller) -> None:
    """Every pool or the named one; what was set is said, and until when it holds."""
    saved = ("--outputs", str(stack.path))
    out = call("fleet", "--stop", "--pool", "cpu", *saved).out
    assert bounds(stack, "cpu") == (0, 0, 0)
    assert "cpu: minimum 0 -> 0, maximum 9 -> 0, desired 0 -> 0" in out
    assert "until a `pulumi up`" in out
    assert call("fleet", "--start", "--pool", "cpu", *saved).code == 0
    assert bounds(stack, "cpu") == (0, 0, 1)
    said = call("fleet", "--start", "--min-instances", "1", "--max-instances", "4", "--json", *saved).json
    assert [(one["pool"], one["minimum"], one["maximum"], one["desired"]) for one in said["pools"]] == [
        ("gpu", 1, 4, 3),
        ("cpu", 1, 4, 1),
    ]
    assert (bounds(stack), bounds(stack, "cpu")) == ((1, 3, 4), (1, 1, 4))


def test_stop_spares_a_training_worker_and_now_does_not(stack: Stack, call: Caller) -> None:
    """Protected instances outlive --stop, an idle one does not; --stop --now ends the others too, and none comes."""
    busy, idle, booting = stack.ids
    stack.gpu.beat(busy, utc_now())
    protect = {"AutoScalingGroupName": stack.gpu.name, "ProtectedFromScaleIn": False}
    clients.autoscaling().set_instance_protection(InstanceIds=[idle], **protect)  # as its worker does when idle
    out = call("fleet", "--stop", "--outputs", str(stack.path)).out
    assert "gpu: 3 there now" in out
    assert bounds(stack) == (0, 0, 0)
    assert set(stack.gpu.instances()) == {busy, booting}
    assert not stack.gpu.is_up(idle)
    out = call("fleet", "--stop", "--now", "--outputs", str(stack.path)).out
    assert "each saves its job" in out
    assert (stack.gpu.instances(), bounds(stack)) == ([], (0, 0, 0))
    assert not stack.gpu.is_up(busy)


BUSY = ("ScalingActivityInProgress", "an activity is in progress")
GONE = ("ValidationError", "Instance Id not found - No managed instance found for instance ID: i-1")


def test_what_cannot_be_ended_is_named_and_all_else_is_done(
    stack: Stack, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three instances one is refused and one is gone: the third is ended, both pools are at 0, and the error names
    the first alone."""
    busy, gone, third = stack.ids
    client = Refusing(clients.autoscaling(), {busy: BUSY, gone: GONE})
    monkeypatch.setattr(clients, "autoscaling", lambda: client)
    found = call("fleet", "--stop", "--now", "--outputs", str(stack.path))
    assert (found.code, found.err.count("\n")) == (1, 1)
    assert f"end {busy}: ScalingActivityInProgress" in found.err
    assert gone not in found.err
    assert not stack.gpu.is_up(third)
    assert (bounds(stack)[::2], bounds(stack, "cpu")) == ((0, 0), (0, 0, 0))


def test_a_pool_whose_bounds_are_refused_keeps_its_instances_and_stops_no_other(
    stack: Stack, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its instances would only be replaced; the next pool's bounds are set."""
    client = Refusing(clients.autoscaling(), {stack.gpu.name: BUSY})
    monkeypatch.setattr(clients, "autoscaling", lambda: client)
    found = call("fleet", "--stop", "--now", "--json", "--outputs", str(stack.path))
    assert found.code == 1
    assert f"set the bounds of {stack.gpu.name}: ScalingActivityInProgress" in found.err
    said = {one["pool"]: one for one in json.loads(found.out)["pools"]}
    assert (said["gpu"]["maximum"], said["gpu"]["ended"], said["cpu"]["maximum"]) == (9, [], 0)
    assert (set(stack.gpu.instances()), bounds(stack, "cpu")) == (set(stack.ids), (0, 0, 0))


def test_what_a_group_wants_is_not_set_back(stack: Stack) -> None:
    """An alarm that asked for more between the look at a group and the setting of its bounds is not undone."""
    client, name = clients.autoscaling(), stack.cpu.name
    before = groups.read_groups(client, [name])[name]
    client.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=2)
    groups.set_bounds(client, before, 0, 4)
    assert bounds(stack, "cpu") == (0, 2, 4)


def test_without_spot_prices_the_rest_is_shown(stack: Stack, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not read spot prices sees all else, and why they are missing."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    found = call("fleet", "--outputs", str(stack.path))
    assert (found.code, found.err) == (0, "")
    assert found.out.count("spot prices are not available: read spot prices: ") == 2
    assert "instances: 3 asked for" in found.out
    assert "0.8048" in found.out


def test_a_suspended_pool_says_why_nothing_comes(stack: Stack, call: Caller) -> None:
    """After failed boots bounds alone launch nothing: --start and the status say so, and what to type."""
    clients.autoscaling().suspend_processes(AutoScalingGroupName=stack.cpu.name, ScalingProcesses=["Launch"])
    out = call("fleet", "--start", "--pool", "cpu", "--outputs", str(stack.path)).out
    assert f"--auto-scaling-group-name {stack.cpu.name}" in out
    assert "launches are suspended" in call("fleet", "--pool", "cpu", "--outputs", str(stack.path)).out


def test_mistakes_are_one_line_and_change_nothing(stack: Stack, call: Caller) -> None:
    """What contradicts itself is refused before any group is touched."""
    before = bounds(stack), bounds(stack, "cpu")
    for words, said in (
        (("--start", "--stop"), "give one of them"),
        (("--now",), "--now goes with --stop"),
        (("--max-instances", "4"), "go with --start"),
        (("--start", "--min-instances", "5", "--max-instances", "4"), "--min-instances 5 is above"),
        (("--start", "--max-instances", "0"), "use --stop"),
    ):
        assert said in call.refuse("fleet", *words, "--outputs", stack.path)
    assert (bounds(stack), bounds(stack, "cpu")) == before


def test_without_a_stack_there_is_no_fleet(aws: LocalCloud, call: Caller) -> None:
    """The groups are known by the stack's outputs alone."""
    found = call("fleet")
    assert (found.code, found.err) == (2, "error: --stack NAME is needed (or --outputs FILE)\n")


def test_a_group_that_is_not_there_is_named(stack: Stack, call: Caller) -> None:
    """Outputs of a stack that was taken down lead to one clear line."""
    text = stack.path.read_text().replace(stack.gpu.name, "workers-gone")
    stack.path.write_text(text)
    found = call("fleet", "--stop", "--outputs", str(stack.path))
    assert (found.code, "'workers-gone'" in found.err) == (2, True)
    assert bounds(stack, "cpu") == (0, 0, 9)


def test_the_script_is_the_command(call: Caller) -> None:
    """`python -m receipt_trainer.scripts.auto_scale` has exactly the options of `receipt-trainer fleet`."""
    command = [sys.executable, "-m", "receipt_trainer.scripts.auto_scale", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    options = done.stdout.partition("Options:")[2]
    assert options == call("fleet", "--help").out.partition("Options:")[2]
    assert "--min-instances" in options
