"""`submit-job` and `sweep` say what a job will take and cost before it is queued."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.cli import queueing
from receipt_trainer.jobs.estimate import Measured
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.local.emulator import LocalCloud
from tests.cli.jobs import Caller, Said, add_job
from tests.fault_proxy import FaultProxy
from tests.fleet.stack import Stack, fall, stand
from tests.price_list import PriceList, product

JOB = "job_name: my-job\nmodel: tiny\nresources: {pool: gpu}\ntraining_config: {num_epochs: 10}\n"


@pytest.fixture
def stack(aws: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack at rest, with a price list that knows one of the gpu pool's types."""
    with PriceList(product("g6.xlarge", "us-east-1", "0.8048")) as prices:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", prices.url)
        made = stand(aws.client, tmp_path, 0)
        clients.ssm().put_parameter(Name=made.outputs.training_parameter, Value="{}", Type="String", Overwrite=True)
        (tmp_path / "job.yaml").write_text(f"family: layoutlm\n{JOB}")
        yield made
        fall(aws.client, made)


def type_(call: Caller, stack: Stack, command: str, *more: str) -> Said:
    """A command on the job file and the stack."""
    return call(command, "--config", str(stack.path.parent / "job.yaml"), "--outputs", str(stack.path), *more)


def remember(call: Caller, stack: Stack) -> None:
    """An earlier run of the job, of ten epochs of 60,000 tokens, on a g6.xlarge."""
    spec = type_(call, stack, "submit-job", "--dry-run", "--json").json["spec"]
    speed = Measured(60_000, 10.0, 100, 1000.0, 30.0, "g6.xlarge").to_text()
    add_job(stack.outputs.jobs_table, status="SUCCEEDED", spec=json.dumps(spec), measured=speed)


def test_nothing_is_guessed(stack: Stack, call: Caller) -> None:
    """Without an earlier run the price is said and the rest is unknown; the job is queued."""
    said = type_(call, stack, "submit-job")
    assert said.code == 0, said.err
    first, second = said.err.splitlines()[:2]
    assert first.startswith("pool gpu: price now: spot from $")
    assert second == "expected: unknown: no earlier run of this recipe was measured on these machines"
    job = JobTable(clients.dynamodb(), stack.outputs.jobs_table).get(said.out.strip())
    assert (job.expected_s, job.expected_usd) == (None, None)


def test_time_and_dollars_are_said_and_kept(stack: Stack, call: Caller) -> None:
    """600,000 tokens at 1,000 a second and half a minute; dollars at the type's spot price; kept in the job's row."""
    remember(call, stack)
    dry = type_(call, stack, "submit-job", "--dry-run", "--json").json["expected"]
    assert (dry["seconds"], dry["instance_type"], dry["price"]["on_demand_usd_per_h"]) == (630.0, "g6.xlarge", 0.8048)
    assert dry["usd"] == pytest.approx(630 / 3600 * dry["price"]["usd_per_h"])
    said = type_(call, stack, "submit-job")
    assert "for g6.xlarge in us-east-1" in said.err
    assert "on demand $0.8048/h" in said.err
    assert "expected: 10 min 30 s and < $0.01, boot not in it" in said.err
    assert "(1,000 tokens/s on g6.xlarge in 1 earlier run)" in said.err
    job = JobTable(clients.dynamodb(), stack.outputs.jobs_table).get(said.out.strip())
    assert (job.expected_s, job.expected_usd) == (630.0, pytest.approx(dry["usd"]))


def test_a_sweep_says_the_sum_first(stack: Stack, call: Caller) -> None:
    """Of its plan: trials of other epochs take other times; in a dry run, too. Each job keeps its own in its row."""
    remember(call, stack)
    for more in (("--dry-run",), ("--name", "epochs")):
        said = type_(call, stack, "sweep", "--epochs", "5,10", "--seeds", "0,1", *more)
        assert said.code == 0, said.err
        assert "expected: 4 jobs, 32 min 00 s of instance time and < $0.01" in said.err
    rows = call("jobs", "--outputs", str(stack.path), "--json", "--status", "PENDING").json
    assert sorted(row["expected_s"] for row in rows) == [330.0, 330.0, 630.0, 630.0]
    assert all(row["expected_usd"] > 0 for row in rows)


def test_a_search_is_foreseen_by_its_base(stack: Stack, call: Caller) -> None:
    """Its values are not chosen yet; a learning rate that would be scaled is not."""
    remember(call, stack)
    rates = ("--learning-rates", "1e-5:1e-4", "--search", "tpe", "--trials", "3")
    for more in (("--dry-run",), ("--dry-run", "--scale-lr", "linear", "--batch-sizes", "2,4"), ("--name", "search")):
        said = type_(call, stack, "sweep", *rates, *more)
        assert said.code == 0, said.err
        assert "expected: by the base, 3 jobs, 31 min 30 s of instance time" in said.err


@pytest.mark.parametrize("endpoint", ["EC2", "PRICING", "AUTO_SCALING"])
def test_a_price_that_cannot_be_had_stops_nothing(
    stack: Stack, call: Caller, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """Nobody answers: it is said, time is still known, and the job is queued."""
    remember(call, stack)
    monkeypatch.setenv(f"AWS_ENDPOINT_URL_{endpoint}", "http://127.0.0.1:9")
    said = type_(call, stack, "submit-job")
    assert (said.code, len(said.out.split())) == (0, 1)
    assert "not all prices are known: read" in said.err
    assert "expected: 10 min 30 s and " in said.err


def test_expected_stands_beside_actual(stack: Stack, call: Caller) -> None:
    """`jobs`, `job-status` and `job-details` show what was expected; scripts get it from the row."""
    remember(call, stack)
    job_id = type_(call, stack, "submit-job").out.strip()
    stacked = ("--outputs", str(stack.path))
    shown: Any = call("jobs", *stacked, "--json", "--name", "my-job").json[0]
    assert (shown["expected_s"], shown["spent_s"]) == (630.0, 0.0)
    assert "10 min 30 s" in call("job-status", *stacked, job_id).out
    assert "10 min 30 s" in call("job-details", *stacked, job_id).out
    assert "expected" in call("jobs", *stacked).out


def test_looks_are_few_however_many_jobs_there_are(fault_proxy: FaultProxy, stack: Stack, call: Caller) -> None:
    """The submission is two requests, as ever; with the looks before and the group's raising behind it, 28 in all."""
    remember(call, stack)
    for number in range(30):
        add_job(stack.outputs.jobs_table, status="PENDING", minutes=number)
    fault_proxy.calls.clear()
    assert type_(call, stack, "submit-job").code == 0
    counts = fault_proxy.calls
    assert (counts["TransactWriteItems"], counts["SendMessage"], counts["SetDesiredCapacity"]) == (1, 1, 1)
    assert counts.total() <= 28


def test_what_exceeds_a_limit_is_said_and_the_limit_is_kept(stack: Stack, call: Caller) -> None:
    """Ten and a half minutes are above an eighth of an hour; the job has the limits, and list prices for dollars."""
    remember(call, stack)
    said = type_(call, stack, "submit-job", "--max-hours", "0.125", "--max-usd", "0.001")
    assert "warning: 10 min 30 s are expected, and max_hours 0.125 stops it before\n" in said.err
    assert "max_usd" not in said.err  # the embedded AWS sells for next to nothing
    dear = ["$3.20 are expected, and max_usd 3 stops it before"]
    assert list(queueing.limit_lines(60.0, 3.2, 1.0, 3.0)) == dear
    assert not [*queueing.limit_lines(60.0, 3.2, None, 3.2), *queueing.limit_lines(None, None, 1.0, 1.0)]
    job = JobTable(clients.dynamodb(), stack.outputs.jobs_table).get(said.out.strip())
    assert (job.spec["max_hours"], job.spec["max_usd"]) == (0.125, 0.001)
    assert json.loads(job.list_prices or "") == {"g6.xlarge": 0.8048}
    said = type_(call, stack, "submit-job", "--max-hours", "1")
    assert "stops it before" not in said.err
    assert JobTable(clients.dynamodb(), stack.outputs.jobs_table).get(said.out.strip()).list_prices is None
    said = type_(call, stack, "submit-job", "--notify")  # whose notice says dollars
    assert JobTable(clients.dynamodb(), stack.outputs.jobs_table).get(said.out.strip()).list_prices is not None
    said = type_(call, stack, "sweep", "--epochs", "5,10", "--dry-run", "--max-hours", "0.2")
    assert "warning: 16 min 00 s are expected, and max_hours 0.2 stops it before\n" in said.err


def test_limits_come_from_flag_file_and_stack(stack: Stack, call: Caller, tmp_path: Path) -> None:
    """The flag wins over the job file, `null` in the file is no limit, and what nobody says is the stack's default."""
    outputs = json.loads(stack.path.read_text()) | {"job_defaults": {"max_hours": 7.0}}
    stack.path.write_text(json.dumps(outputs))

    def asked(text: str, *flags: str) -> tuple[float | None, float | None]:
        (tmp_path / "job.yaml").write_text(JOB + text)
        spec = type_(call, stack, "submit-job", "--dry-run", "--json", *flags).json["spec"]
        return spec.get("max_hours"), spec.get("max_usd")

    assert asked("") == (7.0, None)
    assert asked("max_hours: 3\nmax_usd: 2.5\n") == (3.0, 2.5)
    assert asked("max_hours: 3\n", "--max-hours", "4.5", "--max-usd", "1") == (4.5, 1.0)
    assert asked("max_hours: null\n") == (None, None)
    for text, value in (("max_hours: 0\n", "0"), ("max_usd: .nan\n", "nan"), ("max_usd: true\n", "number")):
        (tmp_path / "job.yaml").write_text(JOB + text)
        said = type_(call, stack, "submit-job", "--dry-run")
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert "job.yaml:5: max_" in said.err
        assert value in said.err
    for flag in ("0", "nan", "-1", "inf", "x"):
        said = type_(call, stack, "submit-job", "--dry-run", "--max-hours", flag)
        assert said.code == 2
        assert "--max-hours" in said.err
