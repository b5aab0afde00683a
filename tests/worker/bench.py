"""What a test of workers does again and again: queue a job, run a worker over it, look at what became of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import since_boot_s, utc_now
from receipt_trainer.contract.names import ENV_ARTIFACTS_BUCKET, ENV_INSTANCES_TABLE
from receipt_trainer.contract.tables import JOB_SK, job_pk
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.worker.attempt import run_dir_of
from receipt_trainer.worker.cloudwatch_metrics import Outcomes
from receipt_trainer.worker.log_forwarder import job_log
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine
from receipt_trainer.worker.settings import WorkerSettings
from tests.fork_server import Forked, Program
from tests.job_rows import messages
from tests.waiting import TIMEOUT_S

TRAINING = {
    "num_epochs": 2,
    "batch_size": 10,
    "gradient_accumulation_steps": 2,
    "learning_rate": 3e-3,
    "precision": "fp32",
    "device": "cpu",
    "logging_steps": 1,
    "export_package": False,
}
"""18 steps of two losses each with nine receipts; an epoch has nine."""

STEPS = list(range(1, 19))


class Bench:
    """One queue, one table, one folder of checkpoints."""

    def __init__(self, queue_url: str, jobs_table: str, receipts: Path, folder: Path, command: Sequence[str]) -> None:
        self.queue_url, self.command, self.folder = queue_url, command, folder
        self.queue = SqsQueue(clients.sqs(), queue_url)
        self.dynamodb = clients.dynamodb()
        self.table = JobTable(self.dynamodb, jobs_table)
        self.settings = WorkerSettings(
            checkpoints_dir=folder / "checkpoints",
            jobs_table=jobs_table,
            poll_s=0,
            beat_s=0.2,
            idle_timeout_s=0.0,
            retry_delay_s=0,
        )
        self._receipts = receipts

    def change(self, job_id: str, **values: Any) -> None:
        """Set attributes of a job's row."""
        self.dynamodb.update_item(
            TableName=self.settings.jobs_table,
            Key=dynamo.serialise({"PK": job_pk(job_id), "SK": JOB_SK}),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues=dynamo.serialise({f":{name}": value for name, value in values.items()}),
        )

    def submit(self, *, max_failures: int = 3, data: dict[str, Any] | None = None, **training: Any) -> str:
        """Queue a job; returns its id."""
        spec = {
            "job_name": "test",
            "model": "tiny",
            "training_config": TRAINING | training,
            "data_config": {"dataset_name": str(self._receipts), "examples": "line"} | (data or {}),
        }
        job = Job(
            job_id=str(uuid4()),
            name="test",
            status="PENDING",
            max_failures=max_failures,
            queue_url=self.queue_url,
            model="tiny",
            spec=spec,
            created_at=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        self.table.create(job)
        self.queue.send(job.job_id)
        return job.job_id

    def worker(
        self,
        name: str = "worker",
        *,
        machine: WorkerMachine | None = None,
        member: GroupMember | None = None,
        registry: InstanceRegistry | None = None,
        outcomes: Outcomes | None = None,
        clock: Callable[[], float] = since_boot_s,
        now: Callable[[], datetime] = utc_now,
        **settings: Any,
    ) -> Worker:
        """A worker that goes when there is nothing to do."""
        poll_s = 1 if settings.get("idle_timeout_s") else 0  # one that may be idle must not ask all the time
        chosen = replace(self.settings, **{"poll_s": poll_s, **settings})
        queue = SqsQueue(clients.sqs(), self.queue_url, visibility_s=chosen.visibility_s)
        open_log = job_log(Table(self.dynamodb, chosen.jobs_table))
        machine = machine or WorkerMachine(name)
        return Worker(
            chosen,
            self.table,
            [queue],
            machine,
            member=member,
            registry=registry,
            outcomes=outcomes,
            command=self.command,
            open_log=open_log,
            clock=clock,
            now=now,
        )

    def log(self, job_id: str) -> list[str]:
        """The messages of the job's log, in order."""
        return messages(self.settings.jobs_table, job_id)

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None, **options: Any) -> Forked:
        """`start-worker` as a process, with its output in `log_file`; its options are those of `tests.processes`."""
        where: dict[str, object] = {"--queue-url": self.queue_url, "--jobs-table": self.settings.jobs_table}
        where["--checkpoints-dir"] = self.settings.checkpoints_dir
        words = [part for pair in where.items() for part in pair]
        given = {ENV_ARTIFACTS_BUCKET: "", ENV_INSTANCES_TABLE: "", **(environ or {})}
        program = Program("start-worker")
        return program.start(
            [json.dumps({"command": self.command, **options}), *words, *arguments], self.log_file, given
        )

    @property
    def log_file(self) -> Path:
        return self.folder / "worker.log"

    def run_dir(self, job_id: str) -> Path:
        return run_dir_of(self.settings.checkpoints_dir, job_id)

    def attempts(self, job_id: str) -> list[dict[str, Any]]:
        """The ATTEMPT rows in their order."""
        return self.rows(job_id, "ATTEMPT#")

    def steps(self, job_id: str, name: str = "loss") -> list[int]:
        """The steps of a metric's rows, in order."""
        return sorted(int(row["step"]) for row in self.rows(job_id, f"METRIC#{name}#"))

    def rows(self, job_id: str, prefix: str = "") -> list[dict[str, Any]]:
        """The rows of a job whose sort keys begin so."""
        return list(
            dynamo.query(
                self.dynamodb,
                self.settings.jobs_table,
                "read rows",
                KeyConditionExpression="PK = :pk AND SK BETWEEN :first AND :last",
                ExpressionAttributeValues={":pk": job_pk(job_id), ":first": prefix or "!", ":last": f"{prefix}~"},
                ConsistentRead=True,
            )
        )

    def num_messages(self) -> int:
        """Messages of the queue, hidden ones too."""
        sqs: Any = clients.sqs()
        found = sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["All"])
        counts = found["Attributes"]
        return int(counts["ApproximateNumberOfMessages"]) + int(counts["ApproximateNumberOfMessagesNotVisible"])


class Running:
    """A worker in a thread of this process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.reason: str | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.reason = self.worker.run()
        except BaseException as error:
            self.error = error

    def end(self) -> str | None:
        """Wait for its end; returns why it ended."""
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the worker does not end"
        if self.error is not None:
            raise self.error
        return self.reason
