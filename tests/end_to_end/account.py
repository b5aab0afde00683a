"""The account that this machine's credentials lead to: the pulumi CLI, our own commands, and looks with boto3.

A stack has a name of its own and keeps its state in a folder, so that it meets no other stack and no backend's login.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from receipt_trainer.aws import clients
from receipt_trainer.aws.artifacts import run_prefix
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.prices import ListPrices, read_spot_prices
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.contract.run_record import read_record
from receipt_trainer.jobs.rows import get_job
from receipt_trainer.jobs.views import read_past
from tests.end_to_end import leftovers, results
from tests.end_to_end.interrupting import Interruptions
from tests.end_to_end.journey import JobNow, JourneyError, Leftover
from tests.end_to_end.meter import Sight
from tests.job_rows import metrics

POOL: Final = "cpu"
VCPUS: Final = 4
"""Of an xlarge; one more is launched while one is taken, so that twice as many are needed."""
SPOT_QUOTA: Final = "L-34B43A08"
"""All Standard Spot Instance Requests, in vCPUs (Amazon EC2 User Guide, "Spot Instance quotas")."""
PASSPHRASE: Final = "end-to-end"
"""Of the stack's own secrets: it has none."""
SETTINGS: Final[dict[str, Any]] = {
    "network": {"az_count": 2, "nat": "public"},
    "golden_ami": {"enabled": False},
    "pools": {
        "gpu": {"enabled": False},
        POOL: {
            "instance_types": ["c7i.xlarge", "c6i.xlarge", "c7a.xlarge", "m7i.xlarge", "m6i.xlarge"],
            "max_instances": 1,
            "root_volume_gib": 150,
        },
    },
    "retention": {"logs_days": 1, "old_versions_days": 1},
    "protect_data": False,
}
NUM_RECEIPTS: Final = 40
NUM_STEPS: Final = 30_000
"""49 steps a second were seen on two cores: ten minutes there, five at twice the speed, and a notice takes two."""

UP_S: Final = 3600.0
DESTROY_S: Final = 3600.0
COMMAND_S: Final = 600.0
_SIGNAL_S: Final = 600.0
"""A pulumi that is asked to stop finishes the call that it has begun."""


def job_file(num_steps: int) -> dict[str, Any]:
    """A smoke job that lasts: a tiny random model, so many steps, often saved."""
    every = max(10, num_steps // 60)
    training: dict[str, Any] = {"max_steps": num_steps, "save_steps": every, "logging_steps": max(1, every // 5)}
    training |= {"batch_size": 8, "fp16": False, "device": "cpu", "early_stopping_patience": 0}
    data = {"use_sliding_window": False, "augment": False}
    return {"job_name": "first-hour", "model": "tiny", "training_config": training, "data_config": data}


class StackAccount:
    """The `Account` of a journey; see there for what its methods do."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        environment: str,
        *,
        num_steps: int = NUM_STEPS,
        settings: Mapping[str, Any] = SETTINGS,
        usd_per_h: Callable[[str, str, bool], float | None] | None = None,
        ours: Sequence[str] = (str(Path(sys.executable).with_name("receipt-trainer")),),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Choose names; nothing is asked yet.

        Args:
            program: folder of Pulumi.yaml; every command runs there, as a person's would.
            folder: of this journey, empty: the stack's state, the job, and what pulumi said.
            environment: name of stack and environment, which no other stack of the account may have.
            num_steps: of the job.
            settings: of the stack.
            usd_per_h: the price of an instance by type, zone, and whether it is spot; default: AWS's own.
            ours: what stands for `receipt-trainer`.
            sleep: waits between tries of the fault injection.
        """
        self.program, self.folder, self.environment = program, folder, environment
        self._num_steps, self._settings, self._program = num_steps, settings, ours
        self._usd_per_h = usd_per_h or cache(usd_per_h_of_aws)
        self._session = boto3.session.Session()
        self.region = os.environ.get(names.ENV_DEFAULT_REGION) or os.environ.get(names.ENV_REGION)
        self.region = self.region or self._session.region_name or ""
        self._stack = leftovers.Stack(cache(self._client), names.PROJECT, environment)
        self._sleep = sleep
        self._interruptions: Interruptions | None = None
        self._outputs: StackOutputs | None = None
        self._config_file = program / f"Pulumi.{environment}.yaml"
        self._own = {"PULUMI_BACKEND_URL": folder.as_uri(), "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}

    def _client(self, service: str) -> Any:
        return self._session.client(service, region_name=self.region)  # type: ignore[call-overload]

    def preflight(self) -> str:
        if not self.region:
            raise JourneyError("no region: set AWS_REGION")
        try:
            account_id = self._client("sts").get_caller_identity()["Account"]
        except (ClientError, BotoCoreError) as error:
            raise JourneyError(f"no usable AWS credentials: {error}") from error
        found = self._pulumi("version", timeout_s=COMMAND_S, stack=False).strip()
        if self._config_file.exists() or (left := leftovers.find(self._stack)):
            where = self._config_file if self._config_file.exists() else left[0].name
            raise JourneyError(f"there is something of a stack {self.environment} already: {where}")
        quota = self._quota()
        if quota is not None and quota < VCPUS:
            raise JourneyError(
                f"the spot quota of standard instances is {quota:g} vCPUs in {self.region}, {VCPUS} are needed "
                f"({2 * VCPUS} are better): ask for more, `aws service-quotas request-service-quota-increase "
                f"--service-code ec2 --quota-code {SPOT_QUOTA} --desired-value {2 * VCPUS}`"
            )
        self._interruptions = Interruptions(self._stack, account_id, self.region, sleep=self._sleep)
        spot = "not known" if quota is None else f"{quota:g} vCPUs"
        return (
            f"account {account_id}, {self.region}, stack {self.environment}, pulumi {found}, spot quota {spot}; "
            f"state and logs: {self.folder}"
        )

    def _quota(self) -> float | None:
        """Of spot vCPUs; None where it cannot be asked, which is no reason not to try."""
        try:
            found = self._client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=SPOT_QUOTA)
        except (ClientError, BotoCoreError):
            return None
        return float(found["Quota"]["Value"])

    def up(self) -> str:
        config = {"aws:region": self.region, f"{names.PROJECT}:environment": self.environment}
        config |= {f"{names.PROJECT}:{name}": value for name, value in self._settings.items()}
        self._config_file.write_text(yaml.safe_dump({"config": config}, sort_keys=False))
        self._pulumi("stack", "init", self.environment, timeout_s=COMMAND_S, stack=False)
        self._pulumi("install", timeout_s=UP_S, stack=False)
        self._pulumi("up", "--yes", timeout_s=UP_S)
        said = self._pulumi("stack", "output", "--json", timeout_s=COMMAND_S)
        self._outputs = StackOutputs.parse(json.loads(said))
        return f"the stack is up: {len(self._outputs.pools)} pool, VPC {self._outputs.vpc_id}"

    def fill(self) -> str:
        receipts = str(self.folder / "receipts.jsonl")
        self._ours("receipts", "generate", "--count", str(NUM_RECEIPTS), "--output", receipts)
        return self._ours("receipts", "import", "--stack", self.environment, receipts).strip().splitlines()[-1]

    def submit(self) -> str:
        job = self.folder / "job.yaml"
        job.write_text(yaml.safe_dump(job_file(self._num_steps), sort_keys=False))
        said = self._ours("submit-job", "--stack", self.environment, "--config", str(job), "--json")
        return str(json.loads(said)["job_id"])

    def sights(self) -> list[Sight]:
        return [
            Sight(
                one["InstanceId"],
                one["LaunchTime"].timestamp(),
                self._usd_per_h(
                    one["InstanceType"],
                    one["Placement"]["AvailabilityZone"],
                    one.get("InstanceLifecycle") == "spot",
                ),
            )
            for one in leftovers.instances(self._stack)
        ]

    def job(self, job_id: str) -> JobNow:
        client, table = clients.dynamodb(), self._names.jobs_table
        row = get_job(Table(client, table), job_id)
        past = read_past(Table(client, table), job_id, datetime.now(UTC))
        steps = [int(one["step"]) for one in past.checkpoints]
        return JobNow(str(row["status"]), str(row.get("reason") or ""), past.attempts, steps)

    def interrupt(self, instance_id: str) -> str:
        assert self._interruptions is not None, "preflight comes first"
        said = json.loads(self._ours("instances", "--stack", self.environment, "--json"))
        market = {one["instance_id"]: one["market"] for one in said}.get(instance_id)
        return self._interruptions.interrupt(instance_id, is_spot=market == "spot")

    def results(self, job_id: str) -> tuple[str, list[str]]:
        given = ("--stack", self.environment, job_id)
        details = json.loads(self._ours("job-details", *given, "--json"))
        lines = self._ours("logs", *given).splitlines()
        losses = metrics(self._names.jobs_table, job_id, "loss")
        prefix = f"{run_prefix(details['name'], job_id)}/"
        listed = list(self._stack.pages("s3", "list_objects_v2", "Contents", Bucket=self._bucket, Prefix=prefix))
        files = {one["Key"].removeprefix(prefix) for one in listed}
        record = None
        if names.RUN_FILE in files:
            stored = self._client("s3").get_object(Bucket=self._bucket, Key=f"{prefix}{names.RUN_FILE}")
            record = read_record(stored["Body"].read())
        problems = results.problems(details["attempts"], losses, self._num_steps, record, files)
        if not lines:
            problems.append("the job's log is empty")
        f1 = "none" if record is None or record.overall is None else f"{record.overall.f1:.3f}"
        return (
            f"read back: {len(details['attempts'])} attempts, {len(losses)} losses, {len(lines)} lines of log, "
            f"{len(listed)} objects in s3://{self._bucket}/{prefix}, F1 {f1} (of a random model)",
            problems,
        )

    @property
    def _names(self) -> StackOutputs:
        assert self._outputs is not None, "the stack is not up"
        return self._outputs

    @property
    def _bucket(self) -> str:
        return self._names.artifacts_bucket

    def destroy(self) -> None:
        if self._interruptions is not None:
            self._interruptions.tidy()
        if not self._config_file.exists():
            return  # `up` was not begun, or all is gone
        if self.environment not in self._pulumi("stack", "ls", timeout_s=COMMAND_S, stack=False):
            self._config_file.unlink()
            return
        try:
            self._pulumi("destroy", "--yes", timeout_s=DESTROY_S)
        except JourneyError:  # an update that was killed left a lock, and creations that nobody knows the end of
            with contextlib.suppress(JourneyError):
                self._pulumi("cancel", "--yes", timeout_s=COMMAND_S)
                self._pulumi("refresh", "--yes", "--clear-pending-creates", timeout_s=DESTROY_S)
            self._pulumi("destroy", "--yes", timeout_s=DESTROY_S)
        self._pulumi("stack", "rm", self.environment, "--yes", timeout_s=COMMAND_S, stack=False)
        self._config_file.unlink(missing_ok=True)

    def leftovers(self) -> list[Leftover]:
        return leftovers.find(self._stack)

    def by_hand(self) -> list[str]:
        return [
            f"cd {shlex.quote(str(self.program))}",
            *(f"export {name}={shlex.quote(value)}" for name, value in self._own.items()),
            f"pulumi cancel --yes --stack {self.environment}",
            f"pulumi destroy --yes --stack {self.environment}",
            f"pulumi stack rm {self.environment} --yes",
        ]

    def _pulumi(self, *words: str, timeout_s: float, stack: bool = True) -> str:
        """What a command of pulumi says; all of it is in the folder's pulumi.log.

        Raises:
            JourneyError: it fails, or takes too long; with its last words.
        """
        command = ["pulumi", *words, "--non-interactive", *(("--stack", self.environment) if stack else ())]
        return self._run(command, timeout_s, self.folder / "pulumi.log")

    def _ours(self, *words: str) -> str:
        """What a command of ours says; faults as `_pulumi`."""
        return self._run([*self._program, *words], COMMAND_S, self.folder / "commands.log")

    def _run(self, command: list[str], timeout_s: float, log: Path) -> str:
        with log.open("a") as said, (self.folder / "output.txt").open("w+") as output:
            said.write(f"$ {shlex.join(command)}\n")
            said.flush()
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self.program,
                    env=os.environ | self._own,
                    stdin=subprocess.DEVNULL,
                    stdout=output,  # to be followed while it grows
                    stderr=said,
                    start_new_session=True,  # Ctrl-C is for us: we ask it to stop, and then destroy
                )
            except FileNotFoundError:
                raise JourneyError(f"there is no {command[0]} on PATH") from None
            try:
                process.wait(timeout_s)
            except BaseException as error:
                _stop(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise JourneyError(f"{shlex.join(command)}: no end in {timeout_s / 60:.0f} minutes") from None
                raise
            output.seek(0)
            text = output.read()
            said.write(text)
        if process.returncode:
            last = [line.strip() for line in log.read_text().splitlines() if line.strip()][-8:]
            raise JourneyError(f"{shlex.join(command)}: exit code {process.returncode}: {' | '.join(last)}")
        return text


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, so that what it has begun is written down; end it if it does not."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_SIGNAL_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def usd_per_h_of_aws(instance_type: str, zone: str, is_spot: bool) -> float | None:
    """The price of an instance now, in dollars an hour; None where AWS does not tell it."""
    if not is_spot:
        return ListPrices().usd_per_h(instance_type, zone[:-1])
    try:
        found = read_spot_prices(clients.ec2(), [instance_type], [zone], datetime.now(UTC))
    except Exception:  # whatever it is: a price that is not known counts as a high one
        return None
    return max((price.usd_per_h for price in found if price.usd_per_h > 0), default=None)
