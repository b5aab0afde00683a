"""`receipt-trainer sweep` as a process that is killed at random moments, and started again."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

from receipt_trainer.aws import clients
from tests.fault_proxy import Answer, FaultProxy
from tests.fork_server import Forked, Program
from tests.sweep.world import World
from tests.waiting import TIMEOUT_S

JOB = "family: layoutlm\njob_name: base\nmodel: tiny\ntraining_config: {learning_rate: 1e-4, num_epochs: 2}\n"
NUM_JOBS = 6
NUM_KILLS = 2
NUM_REQUESTS = 20
"""A sweep of six jobs makes more requests than that."""


class Killer:
    """Kills a process at its n-th request, which is made or not."""

    def __init__(self, at: int | None, is_made: bool) -> None:
        self._at, self._is_made, self._num_requests = at, is_made, 0
        self.process: Forked | None = None

    def __call__(self, name: str, count: int, body: dict[str, Any]) -> Answer | None:
        self._num_requests += 1
        if self._at is None or self._num_requests < self._at or self.process is None:
            return None
        self.process.send_signal(signal.SIGKILL)
        return None if self._is_made and self._num_requests == self._at else (500, {})


def test_a_sweep_that_is_killed_at_random_moments_queues_each_job_once(
    fault_proxy: FaultProxy, jobs_table: str, vl_cli: Program, tmp_path: Path
) -> None:
    """SIGKILL at a random request; then again, at another one. The last start completes the sweep."""
    rng = random.Random(1)
    path = tmp_path / "base.yaml"
    path.write_text(JOB)
    world = World(jobs_table, lambda training: 0.5)
    command: list[object] = ["sweep", "--config", path, "--queue-url", world.queue_url]
    command += ["--name", "killed", "--learning-rates", "1e-4,5e-5,1e-5", "--seeds", "0,1"]
    output = ""
    for at in (*(rng.randint(1, NUM_REQUESTS) for _ in range(NUM_KILLS)), None):
        killer = fault_proxy.rule = Killer(at, rng.random() < 0.5)
        log = tmp_path / f"{at}.log"
        killer.process = vl_cli.start(command, log)
        code = killer.process.wait(TIMEOUT_S)
        output = log.read_text(encoding="utf-8")
        assert code == (0 if at is None else -signal.SIGKILL), output
    fault_proxy.rule = lambda name, count, body: None
    assert "3 of 3 trials are queued" in output
    taken = world.work()
    assert (len(taken), len(set(taken))) == (NUM_JOBS, NUM_JOBS)
    jobs = world.all_jobs()
    wanted = {(rate, number) for rate in (1e-4, 5e-5, 1e-5) for number in (0, 1)}
    found = [(job.spec["training_config"]["learning_rate"], job.spec["training_config"]["seed"]) for job in jobs]
    assert sorted(found) == sorted(wanted)
    assert {job.status for job in jobs} == {"SUCCEEDED"}
    left: Any = clients.sqs().get_queue_attributes(QueueUrl=world.queue_url, AttributeNames=["All"])
    assert left["Attributes"]["ApproximateNumberOfMessages"] == "0"
