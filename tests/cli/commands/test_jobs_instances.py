"""`receipt-trainer instances`."""

from __future__ import annotations

from datetime import timedelta

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.tables import iso
from tests.cli.jobs import Caller, register


def test_instances(instances_table: str, call: Caller) -> None:
    """Working, silent, failed and ended instances are told apart; what is past its expiry is not shown."""
    now = utc_now()
    beat = iso(now - timedelta(seconds=20))
    known = {"instance_type": "g6.xlarge", "market": "spot", "price_usd_per_h": 0.31, "pool": "gpu"}
    register(instances_table, "i-works", status="RUNNING", heartbeat_at=beat, job_id="12345678-9", **known)
    register(instances_table, "i-silent", status="IDLE", heartbeat_at=iso(now - timedelta(minutes=4)), pool="cpu")
    register(instances_table, "i-failed", status="BOOT_FAILED", reason="step=mount", at="2026-11-20T12:00:00Z")
    register(instances_table, "i-ended", status="ENDED", heartbeat_at=beat)
    register(instances_table, "i-past", status="IDLE", heartbeat_at=beat, expires_at=int(now.timestamp()) - 1)
    count = {"PK": "POOL#gpu", "SK": "BOOT_FAILURES", "num_failures": 1}
    dynamo.put(clients.dynamodb(), instances_table, count, "count")
    lines = {line.split()[0]: line for line in call("instances").out.splitlines()}
    assert set(lines) == {"instance", "i-works", "i-silent", "i-failed"}
    assert all(said in lines["i-works"] for said in ("RUNNING", " s ago", "12345678", "g6.xlarge", "0.3100"))
    assert "4 min ago (late)" in lines["i-silent"]
    assert "unknown" in lines["i-silent"]
    assert "step=mount" in lines["i-failed"]
    said = {one["instance_id"]: one for one in call("instances", "--json", "--all").json}
    assert set(said) == {"i-works", "i-silent", "i-failed", "i-ended"}
    assert [said[name]["late"] for name in ("i-works", "i-silent", "i-failed", "i-ended")] == [
        False,
        True,
        False,
        False,
    ]
    assert [one["instance_id"] for one in call("instances", "--json", "--pool", "cpu").json] == ["i-silent"]
    assert call("instances", "--pool", "none") == (0, "", "no instance is registered\n")
