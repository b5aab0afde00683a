"""Which machine this is, and its row in the instances table: what it does, since when, and when it was last alive."""

from __future__ import annotations

import platform
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import structlog

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.imds import Imds
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.contract.tables import INSTANCE_SK, instance_pk, iso
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

KEPT_S: Final = 7 * 86_400
"""How long a row stays after its last heartbeat; the boot script's rows stay as long."""

Status = Literal["IDLE", "RUNNING", "STOPPING", "ENDED"]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerMachine:
    """The machine of a worker process, `worker_id` of all that ever were. Only an instance has more than that."""

    worker_id: str
    pool: str | None = None
    instance_id: str | None = None
    instance_type: str | None = None
    availability_zone: str | None = None
    market: str | None = None
    price_usd_per_h: float | None = None

    def as_row(self) -> dict[str, Any]:
        """The known fields, for the rows of instance and attempt."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "worker_id"}
        return {name: value for name, value in values.items() if value is not None}


def identify(imds: Imds | None, *, pool: str | None = None) -> WorkerMachine:
    """This machine; without a metadata service it is named after its host. WorldError: the service fails."""
    nonce = uuid.uuid4().hex[:8]
    if imds is None:
        return WorkerMachine(f"{platform.node() or 'host'}-{nonce}", pool)
    names = ("instance-id", "instance-type", "placement/availability-zone", "instance-life-cycle")
    instance_id, kind, zone, cycle = (imds.get(name) for name in names)
    if not instance_id:
        raise WorldError("instance metadata: the service does not say which instance this is")
    market = None if cycle is None else "spot" if cycle == "spot" else "on_demand"
    price = spot_price_usd_per_h(kind, zone) if market == "spot" and kind and zone else None
    return WorkerMachine(f"{instance_id}-{nonce}", pool, instance_id, kind, zone, market, price)


def spot_price_usd_per_h(instance_type: str, zone: str) -> float | None:
    """The present spot price; None if it cannot be read: a price is worth no job."""
    try:
        with clients.aws_faults("read the spot price"):
            answer = clients.ec2().describe_spot_price_history(
                InstanceTypes=[instance_type],  # type: ignore[list-item]
                AvailabilityZone=zone,
                ProductDescriptions=["Linux/UNIX"],
                StartTime=utc_now(),  # the price that holds since before now
                MaxResults=1,
            )
        found = [float(row["SpotPrice"]) for row in answer["SpotPriceHistory"]]
    except (UserError, WorldError, ValueError, KeyError) as error:
        _log.warning("the spot price is not known", error=str(error))
        return None
    return found[0] if found else None


class InstanceRegistry:
    """Writes the row of one machine. A row that cannot be written is no reason to stop: it is said in the log."""

    def __init__(
        self, client: DynamoDBClient, table: str, machine: WorkerMachine, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._client, self._table, self._machine, self._clock = client, table, machine, clock
        self._started_at = iso(clock())  # or that of the instance's row, see `register`
        self._status: Status = "IDLE"
        self._job: dict[str, Any] = {}
        self._lock = threading.Lock()  # the heartbeat's thread and the main one both write

    def register(self) -> None:
        """The machine is there. Also how a table that is not there is found at once.

        An instance whose worker was started again began with its first worker: it is paid for since then.

        Raises:
            UserError, WorldError: the row cannot be written.
        """
        with self._lock:
            self._started_at = self._first_start() or self._started_at
            self._put()

    def _first_start(self) -> str | None:
        """As an earlier worker of this instance wrote it; a machine that is no instance has a row for each worker."""
        if self._machine.instance_id is None:
            return None
        key = {"PK": instance_pk(self._machine.instance_id), "SK": INSTANCE_SK}
        try:
            rows = list(dynamo.batch_get(self._client, self._table, "read the instance's row", [key], ["started_at"]))
        except (UserError, WorldError) as error:  # an hour's price is worth no worker
            _log.warning("an earlier start of this instance is not known", error=str(error))
            return None
        return next((str(row["started_at"]) for row in rows if row.get("started_at")), None)

    def beat(self) -> None:
        """Still alive."""
        with self._lock:
            self._try_put()

    def running(self, job_id: str, attempt: int) -> None:
        """It trains."""
        self._set("RUNNING", {"job_id": job_id, "attempt": attempt})

    def idle(self) -> None:
        """It waits for a job."""
        self._set("IDLE", {})

    def stopping(self, reason: str) -> None:
        """It leaves, perhaps with a job still in its hands."""
        self._set("STOPPING", {**self._job, "reason": reason})

    def deregister(self, reason: str) -> bool:
        """It is no longer a worker; the row says so until it expires. False if it could not be written."""
        return self._set("ENDED", {"reason": reason, "ended_at": iso(self._clock())})

    def _set(self, status: Status, job: dict[str, Any]) -> bool:
        with self._lock:
            self._status, self._job = status, job
            return self._try_put()

    def _try_put(self) -> bool:
        try:
            self._put()
        except (UserError, WorldError) as error:
            _log.warning("the instance's row could not be written", table=self._table, error=str(error))
            return False
        return True

    def _put(self) -> None:
        name = self._machine.instance_id or self._machine.worker_id
        now = self._clock()
        row = {
            "PK": instance_pk(name),
            "SK": INSTANCE_SK,
            "TYPE": "INSTANCE",
            "instance_id": name,
            "worker_id": self._machine.worker_id,
            **self._machine.as_row(),
            "status": self._status,
            **self._job,
            "python": platform.python_version(),
            "started_at": self._started_at,
            "heartbeat_at": iso(now),
            "at": iso(now),
            "expires_at": int(now.timestamp()) + KEPT_S,
        }
        dynamo.put(self._client, self._table, row, "write the instance's row")
