"""One run: what is undisturbed, then jobs, workers and chaos, until all is quiet; then what is left."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.config.job_file import LayoutLMJob
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.contract import names, waiting_calls
from receipt_trainer.contract.tables import INSTANCES, JOBS, job_pk
from receipt_trainer.errors import WorldError
from receipt_trainer.jobs.curves import read_curves
from receipt_trainer.jobs.submit import new_job, retry_job, submit_training_job
from receipt_trainer.local.emulator import LocalCloud
from tests.chaos import times
from tests.chaos.crew import GROUP, SLOTS, Crew
from tests.chaos.invariants import Curves, Evidence
from tests.chaos.journal import Journal
from tests.chaos.plan import PlannedJob
from tests.chaos.stage import Stage
from tests.chaos.tcp_proxy import TcpProxy
from tests.chaos.wires import Wires
from tests.queues import new_queue
from tests.training.runs import write_receipts
from tests.worker.bench import TRAINING, Bench

POLL_S: Final = 0.1
END_S: Final = 60.0
RETRY_S: Final = 3.0
"""A person sends a message again so long after it could not be sent."""
TERMINAL: Final = ("SUCCEEDED", "FAILED", "CANCELLED")


class ChaosRun:
    """Runs a plan on an embedded AWS that is in the environment."""

    def __init__(self, jobs: Sequence[PlannedJob], cloud: LocalCloud, command: Sequence[str], folder: Path) -> None:
        """Make queues and receipts; logs, checkpoints and the journal go to the folder."""
        self._plan, self._cloud, self._command, self._folder = jobs, cloud, tuple(command), folder
        self._table = cloud.table_names[JOBS.name]
        self._dynamodb = clients.dynamodb()
        self._queues = _make_queues(cloud)
        _make_group(cloud)
        self._receipts = folder / "receipts.jsonl"
        write_receipts(self._receipts, 7)
        self.journal = Journal(folder / "journal.jsonl")

    def undisturbed(self) -> dict[int, Curves]:
        """The curves of each variant, trained by a worker that nobody disturbs; the longest sets the times."""
        longest_s = 0.0
        bench = Bench(self._queues["quiet"], self._table, self._receipts, self._folder, self._command)
        found = {}
        for variant in sorted({job.variant for job in self._plan if job.fate == "ordinary"}):
            job_id = self._submit("undisturbed", variant, self._queues["quiet"], str(self._receipts))
            began = time.monotonic()
            bench.worker().run()
            longest_s = max(longest_s, time.monotonic() - began)
            assert bench.table.get(job_id).status == "SUCCEEDED", bench.table.get(job_id).reason
            found[variant] = read_curves(Table(self._dynamodb, self._table), job_id)
        times.stretch(longest_s)
        return found

    def _submit(self, name: str, variant: int, queue: str, dataset: str, **more: Any) -> str:
        return submit_training_job(
            queue_url=queue,
            model_name="tiny",
            training_config=TrainingConfig.model_validate(TRAINING | {"num_epochs": 3, "seed": variant}),
            data_config=DataConfig(dataset_name=dataset, examples="line"),
            job_name=name,
            jobs_table=self._table,
            **more,
        )

    def run(self, seed: int, deadline_s: float) -> Evidence:
        """Bounded by the deadline, of a machine that is fast enough; what is not done by then is in the evidence."""
        undisturbed = self.undisturbed()
        environment = self._cloud.environment() | {"CHAOS_STAGE": Stage.address_in(self._folder)}
        queues = [self._queues["high"], self._queues["normal"]]
        with Crew(self._command, environment, queues, self._folder) as crew:
            stage = Stage(self._folder, self._cloud, crew, self.journal)
            wires = Wires(stage, crew, self.journal)
            jobs = self._submit_all(seed, stage, wires)
            crew.open(self._cloud.endpoint, {slot: wires.of_worker(slot) for slot in SLOTS})
            faults = self._wait(stage, crew, jobs, time.monotonic() + times.stretched(deadline_s))
            if not crew.end(times.stretched(END_S)):
                faults.append(f"workers did not end within {times.stretched(END_S):g} s of SIGTERM")
            processes = self._left_over(time.monotonic() + times.stretched(END_S))
        return Evidence(
            jobs=jobs,
            rows={job_id: self._rows(job_id) for job_id in jobs},
            undisturbed=undisturbed,
            journal=self.journal,
            members=crew.all,
            messages={name: self._num_messages(url) for name, url in self._queues.items()},
            instances=self._instances(),
            objects=self._objects(),
            processes=processes,
            left=stage.left(),
            faults=faults,
        )

    def _left_over(self, until: float) -> list[str]:
        """Processes that are still there; the one of a worker that was killed last writes its checkpoint first."""
        while (found := list(_left_over(self._command[-2], self._folder))) and time.monotonic() < until:
            time.sleep(0.1)
        return found

    def _submit_all(self, seed: int, stage: Stage, wires: Wires) -> dict[str, PlannedJob]:
        """Through a proxy of its own, which loses messages; those are sent again as the error says."""
        jobs = {}
        with TcpProxy(self._cloud.endpoint, wires.of_submitter) as way:
            sqs = cast("Any", _client_at(way.url, "sqs"))
            for job in self._plan:
                token = f"chaos-{seed}-{job.name}"
                job_id = _id_of(token)
                jobs[job_id] = job
                stage.expect(job_id, job)
                dataset = "/nowhere/receipts.jsonl" if job.fate == "mistaken" else str(self._receipts)
                more: dict[str, Any] = {"priority": job.priority, "client_token": token, "sqs": sqs}
                try:
                    given = self._submit(job.name, job.variant, self._queues[job.priority], dataset, **more)
                    assert given == job_id
                except WorldError as error:
                    if job_id not in wires.unsendable or f"receipt-trainer retry {job_id}" not in str(error):
                        raise
        for job_id in wires.unsendable:
            stage.put_off(RETRY_S, lambda job_id=job_id: retry_job(job_id, jobs_table=self._table))
        return jobs

    def _wait(self, stage: Stage, crew: Crew, jobs: Mapping[str, PlannedJob], until: float) -> list[str]:
        """Until every job has ended, every message is gone, and nothing more is to happen."""
        while time.monotonic() < until:
            is_more_to_come = stage.run_due()
            crew.replace_the_gone()
            is_done = all(self._status(job_id) in TERMINAL for job_id in jobs)
            if is_done and not is_more_to_come and not any(map(self._num_messages, self._queues.values())):
                return []
            time.sleep(POLL_S if not is_done else 5 * POLL_S)
        states = {job.name: self._status(job_id) for job_id, job in jobs.items()}
        return [f"the deadline passed; not done: {[name for name, one in states.items() if one not in TERMINAL]}"]

    def _status(self, job_id: str) -> str:
        row = self._cloud.client("dynamodb").get_item(
            TableName=self._table, Key={"PK": {"S": job_pk(job_id)}, "SK": {"S": "JOB"}}, ConsistentRead=True
        )
        return str(row.get("Item", {}).get("status", {}).get("S"))

    def _rows(self, job_id: str) -> list[dict[str, Any]]:
        condition, values = "PK = :pk", {":pk": job_pk(job_id)}
        given: dict[str, Any] = {"KeyConditionExpression": condition, "ExpressionAttributeValues": values}
        return list(dynamo.query(self._dynamodb, self._table, "read a job", **given))

    def _instances(self) -> dict[str, dict[str, Any]]:
        table = self._cloud.table_names[INSTANCES.name]
        return {str(row["instance_id"]): row for row in dynamo.scan(self._dynamodb, table, "read instances")}

    def _objects(self) -> dict[str, str]:
        """What is in the bucket, by the key behind `runs/`: the text of each run.json, "" of other files."""
        s3, found = self._cloud.client("s3"), {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self._cloud.bucket, Prefix="runs/"):
            for row in page.get("Contents", []):
                key, text = row["Key"], ""
                if key.endswith(names.RUN_FILE):
                    text = s3.get_object(Bucket=self._cloud.bucket, Key=key)["Body"].read().decode()
                found[key.removeprefix("runs/")] = text
        return found

    def _num_messages(self, url: str) -> int:
        return waiting_calls.count(self._cloud.client("sqs"), url).total


def _make_queues(cloud: LocalCloud) -> dict[str, str]:
    """High and normal with their dead-letter queue, as the stack has them, and one for the undisturbed runs."""
    sqs, urls = cloud.client("sqs"), {}
    for name in ("dead", "high", "normal", "quiet"):
        attributes = {"VisibilityTimeout": str(times.VISIBILITY_S)}
        if name in ("high", "normal"):
            found = sqs.get_queue_attributes(QueueUrl=urls["dead"], AttributeNames=["QueueArn"])["Attributes"]
            redrive = {"deadLetterTargetArn": found["QueueArn"], "maxReceiveCount": 100}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        urls[name] = new_queue(f"chaos-{name}", sqs, **attributes)
    return urls


def _make_group(cloud: LocalCloud) -> None:
    """A group that may have the workers' instances, so that nobody takes it for stopped."""
    template = {"ImageId": "ami-12c6146b", "InstanceType": "g6.xlarge"}
    cloud.client("ec2").create_launch_template(LaunchTemplateName=GROUP, LaunchTemplateData=template)
    subnet = cloud.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    cloud.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=GROUP,
        MinSize=0,
        MaxSize=len(SLOTS),
        DesiredCapacity=0,
        VPCZoneIdentifier=subnet,
        LaunchTemplate={"LaunchTemplateName": GROUP, "Version": "1"},
    )


def _client_at(url: str, service: str) -> object:
    with _environment(AWS_ENDPOINT_URL=url, AWS_MAX_ATTEMPTS="2"):
        return getattr(clients, service)()


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _id_of(token: str) -> str:
    """The job's id, as it follows from its client token."""
    spec = LayoutLMJob(job_name="n", model="tiny")
    return str(UUID(new_job(spec, "q", client_token=token).job_id))


def _left_over(address: str, folder: Path) -> Iterator[str]:
    """Workers, launchers and training processes of this run, as the system's list has them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            is_server = "fork_server" in line and _is_ours(path.parent)
            if (address in line or str(folder) in line) and not is_server:
                yield f"{path.parent.name}: {line}"


def _is_ours(process: Path) -> bool:
    """Not a training process that the server forked, whose command line is the same."""
    parent = int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    return parent == os.getpid()
