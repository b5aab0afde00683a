"""A whole job of a real worker on an instance of a group, with a stub for its training process, on a faulty wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.autoscaling import GroupMember
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import since_boot_s
from receipt_trainer.contract import names
from receipt_trainer.contract.run_record import LayoutLMRecord
from receipt_trainer.contract.tables import INSTANCE_SK, INSTANCES, JOBS, instance_pk
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.worker.attempt import run_dir_of
from receipt_trainer.worker.cloudwatch_metrics import Outcomes
from receipt_trainer.worker.log_forwarder import job_log
from receipt_trainer.worker.loop import Worker
from receipt_trainer.worker.registry import InstanceRegistry, WorkerMachine
from receipt_trainer.worker.settings import WorkerSettings
from tests.queues import new_queue
from tests.waiting import TIMEOUT_S
from tests.worker.faulty_wire import Call, FaultyWire

STUB = ("/bin/sh", "-c", 'until [ -e "$0" ]; do sleep 0.01; done')
"""Stands for a training process: it ends well when the heartbeat has been heard."""

VISIBILITY_S = 3


class Lab:
    """What all jobs of a test share: tables, a launch template, and clients with and without faults."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"lab-{uuid4().hex[:8]}"
        self.jobs_table, self.instances_table = f"{self.name}-jobs", f"{self.name}-instances"
        self.dynamodb: Any = clients.dynamodb()
        self.sqs: Any = clients.sqs()
        self.autoscaling: Any = clients.autoscaling()
        self.ec2: Any = clients.ec2()
        self.wire = FaultyWire()
        services = ("dynamodb", "sqs", "autoscaling", "cloudwatch")
        self.wired = {service: self.wire.attach(getattr(clients, service)()) for service in services}
        self.dynamodb.create_table(**JOBS.create_arguments(self.jobs_table))
        self.dynamodb.create_table(**INSTANCES.create_arguments(self.instances_table))
        template = {"ImageId": "ami-12c6146b", "InstanceType": "g6.xlarge"}
        self.ec2.create_launch_template(LaunchTemplateName=self.name, LaunchTemplateData=template)
        self.subnet = self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        self.table = JobTable(self.dynamodb, self.jobs_table)

    def close(self) -> None:
        self.ec2.delete_launch_template(LaunchTemplateName=self.name)
        for table in (self.jobs_table, self.instances_table):
            self.dynamodb.delete_table(TableName=table)

    def settings(self, folder: Path) -> WorkerSettings:
        times = {"visibility_s": VISIBILITY_S, "poll_s": 0, "beat_s": 0.05, "idle_timeout_s": 0.0, "retry_delay_s": 0}
        return WorkerSettings(checkpoints_dir=folder, jobs_table=self.jobs_table, **times)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Training:
    """Real training processes: the command that starts one, and the spec of their jobs."""

    command: Sequence[str]
    spec: Mapping[str, Any]


class WholeJob:
    """One queue, one job, one instance in a group of its own, and the worker that it has."""

    def __init__(self, lab: Lab, training: Training | None = None) -> None:
        """`training`: real training processes, and what they train; otherwise stubs."""
        self._training = training
        self.lab, self.job_id, self.name = lab, str(uuid4()), f"case-{uuid4().hex[:8]}"
        self.settings = lab.settings(lab.folder / self.name)
        self._beaten = lab.folder / f"{self.name}.beaten"
        self._command = (*STUB, str(self._beaten)) if training is None else training.command
        self.slept_s = 0.0
        self.queue_url = new_queue(self.name)
        self.submit(self.job_id)
        lab.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=self.name,
            MinSize=0,
            MaxSize=1,
            DesiredCapacity=1,
            VPCZoneIdentifier=lab.subnet,
            LaunchTemplate={"LaunchTemplateName": lab.name, "Version": "1"},
        )
        (self.instance_id,) = self.members()

    def submit(self, job_id: str) -> None:
        """Queue a job; one with a stub has its complete run already."""
        spec = {} if self._training is None else self._training.spec
        self.lab.table.create(Job(job_id, "test", "PENDING", queue_url=self.queue_url, model="tiny", spec=spec))
        SqsQueue(self.lab.sqs, self.queue_url).send(job_id)
        if self._training is not None:
            return
        own = {"job_name": "test", "job_id": job_id, "model": "tiny", "label_list": ["O"]}
        record = LayoutLMRecord(status="complete", training_config={}, data_config={}, **own)  # type: ignore[arg-type]
        record.write(run_dir_of(self.settings.checkpoints_dir, job_id) / names.RUN_FILE)

    def run(
        self, seen: Callable[[Worker], object] = lambda worker: None, **settings: Any
    ) -> UserError | WorldError | None:
        """Let the worker work until it goes; the error with which it ended, if there is one.

        Args:
            seen: is shown the worker before it begins.
            settings: other than the usual ones.
        """
        self.lab.wire.heard = self._hear
        try:
            worker = self._worker(replace(self.settings, **settings))
            seen(worker)
            worker.run()
        except (UserError, WorldError) as error:
            return error
        finally:
            self._beaten.touch()
        return None

    def _worker(self, settings: WorkerSettings) -> Worker:
        lab, wired = self.lab, self.lab.wired
        machine = WorkerMachine(
            f"{self.instance_id}-w", "gpu", self.instance_id, "g6.xlarge", "us-east-1a", "spot", 0.3
        )
        member = GroupMember(wired["autoscaling"], self.name, self.instance_id, hook="hook", sleep=lambda seconds: None)
        return Worker(
            settings,
            JobTable(wired["dynamodb"], lab.jobs_table),
            [SqsQueue(wired["sqs"], self.queue_url, visibility_s=VISIBILITY_S)],
            machine,
            registry=InstanceRegistry(wired["dynamodb"], lab.instances_table, machine),
            member=member,
            outcomes=Outcomes(wired["cloudwatch"], "test", "gpu", price_usd_per_h=0.3),
            command=self._command,
            open_log=job_log(Table(wired["dynamodb"], lab.jobs_table)),
            clock=lambda: since_boot_s() + self.slept_s,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept_s += seconds

    def _hear(self, call: Call) -> None:
        is_extended = call.operation == "ChangeMessageVisibility" or (call.operation, call.number) == ("UpdateItem", 2)
        if call.role == "heartbeat" and is_extended:
            self._beaten.touch()

    def members(self) -> list[str]:
        """Ids of the group's instances."""
        found = self.lab.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        return [one["InstanceId"] for one in found["AutoScalingGroups"][0]["Instances"]]

    def row(self) -> dict[str, Any]:
        """The instance's row; empty if there is none."""
        key = dynamo.serialise({"PK": instance_pk(self.instance_id), "SK": INSTANCE_SK})
        found = self.lab.dynamodb.get_item(TableName=self.lab.instances_table, Key=key)
        return dynamo.deserialise(found.get("Item", {}))

    def job(self) -> Job:
        return self.lab.table.get(self.job_id)

    def num_messages(self, *, hidden: bool = True) -> int:
        """Messages of the queue, hidden ones too unless `hidden` says no."""
        found = self.lab.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["All"])["Attributes"]
        return sum(
            int(found[f"ApproximateNumberOfMessages{which}"]) for which in (("", "NotVisible") if hidden else ("",))
        )

    def finish_elsewhere(self) -> None:
        """Another worker, on a quiet wire and an hour later, takes what is left."""
        later = JobTable(self.lab.dynamodb, self.lab.jobs_table, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
        queue = SqsQueue(self.lab.sqs, self.queue_url)
        self._beaten.touch()
        until = time.monotonic() + TIMEOUT_S
        while self.num_messages() and time.monotonic() < until:
            Worker(self.settings, later, [queue], WorkerMachine("second"), command=self._command).run()
            time.sleep(0.1)
