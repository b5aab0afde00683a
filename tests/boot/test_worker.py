"""One instance of the Golden AMI that stays: what happens to a worker after its boot. The last test ends it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk
from tests.boot.cloud import Account, with_values
from tests.boot.instance import Instance, wait_for
from tests.boot.jobs import CHILD, Jobs
from tests.boot.network import IMDS_ADDRESS

PROGRAM = "opt/pytorch/bin/receipt-trainer"


@pytest.fixture(scope="module")
def worker(account: Account, golden: list[Path], user_data: str) -> Instance:
    """An instance with a worker that waits for jobs."""
    instance, _ = account.launch(golden, with_values(user_data, settle_s=5))
    instance.boot()
    instance.wait_for("the boot", lambda: "booted in" in instance.boot_log())
    return instance


def _show(instance: Instance, name: str, unit: str = "receipt-worker") -> str:
    return instance.run(f"systemctl show --property={name} --value {unit}").strip()


def test_nothing_listens_beyond_loopback(worker: Instance) -> None:
    """Whoever has the address of an instance finds no open port; the metadata service's stand-in is the test's."""
    addresses = [line.split()[3] for line in worker.run("ss --listening --tcp --numeric --no-header").splitlines()]
    assert addresses
    assert {address.rpartition(":")[0] for address in addresses} <= {"127.0.0.1", "[::1]", IMDS_ADDRESS}


def test_logs_are_rotated_while_the_worker_writes(worker: Instance) -> None:
    """The real logrotate cuts a log of 51 MB that systemd has open to append: what comes next stands at its front."""
    worker.run("head --bytes=51M /dev/zero >>/var/log/receipt-trainer/worker.log")
    worker.run("systemctl start logrotate.service")
    log = worker.root / "var/log/receipt-trainer/worker.log"
    assert log.stat().st_size < 1_000_000
    assert (log.parent / "worker.log.1.gz").stat().st_size > 0
    assert _show(worker, "ActiveState", "logrotate.timer") == "active"
    worker.run("systemctl restart receipt-worker")
    worker.wait_for("a word of the worker", lambda: log.stat().st_size > 0)
    assert log.stat().st_size < 1_000_000
    assert "\0" not in worker.worker_log()


@contextlib.contextmanager
def _little_memory(pid: int) -> Iterator[None]:
    """A control group without a page to spare: the next one that the process asks for is its last."""
    memory = Path("/sys/fs/cgroup/memory")
    is_old = memory.is_dir()
    group = (memory if is_old else Path("/sys/fs/cgroup")) / f"boot-{pid}"
    if not is_old and "memory" not in Path("/sys/fs/cgroup/cgroup.subtree_control").read_text().split():
        pytest.skip("no memory controller in /sys/fs/cgroup")
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if is_old else "memory.max")).write_text("1M")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        wait_for("an empty control group", lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def test_a_training_process_that_the_kernel_kills_for_memory(
    worker: Instance, account: Account, tmp_path: Path
) -> None:
    """The attempt fails with that reason, the job goes back to its queue, and the worker's unit does not restart."""
    jobs = Jobs(account, tmp_path)
    job = jobs.submit()
    before = _show(worker, "NRestarts")
    worker.wait_for("training", lambda: jobs.get(job).status == "RUNNING" and jobs.rows(job, "METRIC#loss#"))
    found = Path("/proc").glob("[0-9]*/cmdline")
    (pid,) = {int(one.parent.name) for one in found if CHILD.encode() in _bytes(one)}
    with _little_memory(pid):
        worker.wait_for("the end of the attempt", lambda: jobs.outcomes(job) != ["None"])
    jobs.table.cancel(job)
    (attempt,) = jobs.rows(job, "ATTEMPT#")[:1]
    print("out of memory:", attempt["outcome"], attempt["reason"])
    assert attempt["outcome"] == "FAILED"
    assert "memory" in attempt["reason"]
    assert jobs.get(job).num_failures == 1
    assert (_show(worker, "ActiveState"), _show(worker, "NRestarts")) == ("active", before)
    worker.wait_for("the job's end", lambda: jobs.get(job).status == "CANCELLED")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_reboot_brings_the_worker_back(worker: Instance) -> None:
    """Both file systems come from fstab, the unit starts after them, and the user data does not run again."""
    booted = worker.boot_log().count("booted in")
    worker.reboot()
    worker.wait_for("process 1", worker.init_pid)
    worker.wait_for("systemd", lambda: "active" in worker.run("systemctl is-active receipt-worker", check=False))
    worker.wait_for("the worker", lambda: _show(worker, "ActiveState") == "active")
    mounts = worker.run("findmnt --noheadings --output=TARGET").split()
    assert {"/mnt/checkpoints", "/mnt/training"} <= {re.sub("^[^/]*", "", mount) for mount in mounts}
    assert _show(worker, "ActiveState", "mnt-checkpoints.mount") == "active"
    assert worker.boot_log().count("booted in") == booted


def test_a_worker_that_does_not_stay_up_ends_its_instance(worker: Instance, account: Account) -> None:
    """At the start limit systemd runs the unit of failures: the row has the worker's words, and the instance ends."""
    worker.write(PROGRAM, "#!/bin/bash\necho 'error: broken on purpose' >&2\nexit 1\n")
    (worker.root / PROGRAM).chmod(0o755)
    worker.run("systemctl kill --kill-who=main --signal=KILL receipt-worker")
    worker.wait_off()
    row = account.item(instance_pk(worker.folder.name), INSTANCE_SK)
    assert row["status"] == "BOOT_FAILED"
    assert row["reason"].startswith("boot failed: step=worker")
    assert "error: broken on purpose" in row["reason"]
    assert worker.folder.name not in account.members()
