"""On-demand list prices in `instances` and `job-details`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli.render.jobs import cost_text
from receipt_trainer.contract.cost import Cost
from receipt_trainer.contract.tables import attempt_sk, instance_pk, iso, job_pk
from receipt_trainer.local.emulator import LocalCloud
from tests.cli.jobs import Caller, add_job
from tests.price_list import PriceList, product

ON_DEMAND = {"market": "on_demand", "instance_type": "g5.xlarge", "availability_zone": "eu-central-1b"}


@pytest.fixture
def listed(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceList]:
    """A price list of one product."""
    with PriceList(product("g5.xlarge", "eu-central-1", "1.2580000000")) as prices:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", prices.url)
        yield prices


def test_job_details_say_that_a_price_is_from_the_list(listed: PriceList, jobs_table: str, call: Caller) -> None:
    """Two hours on demand cost twice the list price, marked; in JSON each attempt says whether its price is one."""
    job_id = add_job(jobs_table, name="a-job", status="SUCCEEDED")
    times = {"started_at": "2026-11-20T08:00:00+00:00", "ended_at": "2026-11-20T10:00:00+00:00"}
    rows = [times | ON_DEMAND, times | ON_DEMAND | {"price_usd_per_h": 0.5, "market": "spot"}]
    for number, row in enumerate(rows, 1):
        key = {"PK": job_pk(job_id), "SK": attempt_sk(number), "attempt": number}
        dynamo.put(clients.dynamodb(), jobs_table, key | row, "put an attempt")
    out = call("job-details", "a-job").out
    assert "$3.52" in out
    assert "1 of 2 attempts at today's on-demand list price" in out
    said = call("job-details", "a-job", "--json").json
    assert [(one["usd"], one["at_list_price"]) for one in said["attempts"]] == [(2.516, True), (1.0, False)]
    assert len(listed.asked) == 2  # once for each call of the program


def test_instances_say_that_a_price_is_from_the_list(
    listed: PriceList, aws: LocalCloud, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance on demand has the list price beside the word; without the API it is unknown."""
    table = aws.table_names["instances"]
    row = {"PK": instance_pk("i-demand"), "SK": "INSTANCE", "status": "IDLE", "heartbeat_at": iso(utc_now())}
    dynamo.put(clients.dynamodb(), table, row | ON_DEMAND | {"pool": "gpu-listed"}, "register")
    words = ("instances", "--pool", "gpu-listed")
    assert "1.2580 (list)" in call(*words).out
    (said,) = call(*words, "--json").json
    assert (said["price_usd_per_h"], said["is_list_price"]) == (1.258, True)
    listed.status = 400
    assert "unknown" in call(*words).out
    clients.dynamodb().delete_item(TableName=table, Key=dynamo.serialise({"PK": row["PK"], "SK": "INSTANCE"}))


@pytest.mark.parametrize(
    ("usd", "num_unknown", "said"),
    [(3.55e-08, 0, "< $0.01 ("), (3.55e-08, 1, "< $0.01 ("), (0.0123, 1, "at least $0.0123 ("), (0.0, 0, "$0.00 (")],
)
def test_less_than_a_cent_is_said_in_words(usd: float, num_unknown: int, said: str) -> None:
    """Nobody reads an exponent: what costs less than a cent is said to, and nothing else is rounded away."""
    cost = Cost(seconds=4.0, num_attempts=2, usd=usd, num_unknown=num_unknown, num_at_list_price=0)
    assert cost_text(cost).startswith(said)
