"""First boots of the parent image: one that installs the trainer, and those that fail and say why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk
from tests.boot.cloud import Account, with_values
from tests.boot.instance import Instance


def _row(account: Account, instance: Instance) -> dict[str, Any]:
    return account.item(instance_pk(instance.folder.name), INSTANCE_SK)


def _num_failures(account: Account) -> int:
    return int(account.item("POOL#cpu", "BOOT_FAILURES").get("num_failures", 0))


def _assert_failed(account: Account, instance: Instance, step: str, *reasons: str) -> None:
    """It is off, its group has none in its place, and its row says why."""
    row = _row(account, instance)
    assert row.get("status") == "BOOT_FAILED", instance.words()
    assert row["reason"].startswith(f"boot failed: step={step} exit=")
    for reason in reasons:
        assert reason in row["reason"]
    assert instance.folder.name not in account.members()
    assert account.describe_group()["DesiredCapacity"] == 0


def test_a_boot_of_the_parent_image_installs_the_trainer(
    account: Account, parent: tuple[list[Path], dict[str, Path]], user_data: str
) -> None:
    """Offline, by pip, from the wheelhouse in the bucket; the worker stays up, and no boot is counted as failed."""
    instance, _ = account.launch(parent[0], with_values(user_data, settle_s=5))
    instance.boot()
    instance.wait_for("the boot", lambda: "booted in" in instance.boot_log())
    log = instance.boot_log()
    print(*(line for line in log.splitlines() if "took" in line or "booted" in line), sep="\n")
    assert "installing: the image has the wheelhouse 'none'" in log
    unit = instance.run("systemctl show --property=ActiveState,NRestarts receipt-worker").split()
    assert set(unit) == {"ActiveState=active", "NRestarts=0"}
    instance.wait_for("the worker's row", lambda: _row(account, instance).get("status") == "IDLE")
    assert _num_failures(account) == 0
    instance.run("systemctl stop receipt-worker")
    assert _row(account, instance)["status"] == "ENDED"
    instance.stop()


def test_a_worker_that_cannot_work_says_why(account: Account, golden: list[Path], user_data: str) -> None:
    """A queue that is not there: the row has the worker's own words, and how its unit ended."""
    name = account.outputs.pools["cpu"].queue_urls["normal"].rpartition("/")[2]
    instance, _ = account.launch(golden, user_data.replace(name, "nowhere.fifo"))
    before = _num_failures(account)
    instance.boot()
    instance.wait_off()
    _assert_failed(account, instance, "watch_worker", "nowhere.fifo", "unit: Result=exit-code ExecMainStatus=2")
    assert _num_failures(account) == before + 1


def test_an_instance_that_is_taken_back_while_it_boots(
    account: Account, parent: tuple[list[Path], dict[str, Path]], user_data: str
) -> None:
    """EC2 switches it off in the middle of the install: said, ended, and not counted as a fault of the stack."""
    instance, _ = account.launch(parent[0], user_data)
    before = _num_failures(account)
    instance.boot()
    instance.wait_for("the install", lambda: "step install\n" in instance.boot_log())
    instance.stop()
    _assert_failed(account, instance, "signal", "SIGTERM during install")
    assert _num_failures(account) == before


def test_a_disk_that_fills_up(account: Account, parent: tuple[list[Path], dict[str, Path]], user_data: str) -> None:
    """A root volume too small for the wheels: the reason is the kernel's, and reaches the row without the disk."""
    instance, _ = account.launch(parent[0], with_values(user_data, install_deadline_s=5), disk="120m")
    instance.boot()
    instance.wait_off()
    _assert_failed(account, instance, "install", "No space left on device")
