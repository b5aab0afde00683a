"""What is seen of the requests between workers and AWS, and the faults that a request triggers."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from typing import Any, Final

from tests.chaos.crew import Crew, send
from tests.chaos.journal import Injected, Journal
from tests.chaos.plan import NOTICES
from tests.chaos.stage import Stage
from tests.chaos.tcp_proxy import Exchange, Verdict, Watch

UPLOADS: Final[Mapping[str, Verdict]] = {
    "upload fails": "fail",
    "upload refused": "refuse",
    "killed at upload": "drop request",
}


class Wires:
    """Makes the `Watch` of each proxy."""

    def __init__(self, stage: Stage, crew: Crew, journal: Journal) -> None:
        self._stage, self._crew, self._journal = stage, crew, journal
        self._job_of: dict[str, str] = {}
        self._unanswered: set[str] = set()
        self._uploads_of: dict[tuple[str, int], Verdict] = {}
        self.unsendable: set[str] = set()

    def of_worker(self, slot: str) -> Watch:
        """The way of one place's workers."""

        def watch(exchange: Exchange) -> Verdict:
            if exchange.operation == "ReceiveMessage" and exchange.got is not None:
                return self._received(exchange)
            if exchange.operation == "TransactWriteItems" and exchange.status == 200:
                return self._changed(exchange, slot)
            if exchange.operation == "PUT" and exchange.got is None:
                return self._uploads(exchange, slot)
            if exchange.operation == "DeleteMessage":
                return self._deleted(exchange, slot)
            if exchange.operation == "ChangeMessageVisibility" and exchange.status == 200:
                self._released(exchange)
            if exchange.operation == "PutItem" and exchange.status == 200:
                self._noticed(exchange)
            return "pass"

        return watch

    def of_submitter(self, exchange: Exchange) -> Verdict:
        """The way of whoever submits."""
        if exchange.operation == "SendMessage" and exchange.got is None:
            job_id = json.loads(exchange.sent["MessageBody"])["job_id"]
            fault = self._stage.take(job_id, "submit")
            if fault is not None:
                self._stage.hit(fault, job_id, "", 0)
                self.unsendable.add(job_id)
            if job_id in self.unsendable:
                return "drop request"
        return "pass"

    def _received(self, exchange: Exchange) -> Verdict:
        for message in (exchange.got or {}).get("Messages", []):
            job_id, receipt = json.loads(message["Body"])["job_id"], message["ReceiptHandle"]
            self._job_of[receipt] = job_id
            fault = self._stage.take(job_id, "receive")
            if fault is not None:
                self._stage.hit(fault, job_id, "", self._attempt(job_id))
                return "drop answer"
            self._stage.receipts[job_id] = (exchange.sent["QueueUrl"], receipt)
        return "pass"

    def _changed(self, exchange: Exchange, slot: str) -> Verdict:
        job_id, values = _transition(exchange.sent)
        if values.get(":status", {}).get("S") != "CLAIMED":
            return "pass"
        attempt = int(values[":attempt"]["N"])
        self._stage.claims[job_id] = (attempt, exchange.at)
        fault = self._stage.take(job_id, "claim")
        if fault is None:
            return "pass"
        worker = self._crew.at[slot]
        self._stage.hit(fault, job_id, worker.instance_id, attempt)
        if fault.kind == "killed at claim":
            worker.kill(fault.kind)
        return "drop answer"

    def _uploads(self, exchange: Exchange, slot: str) -> Verdict:
        """One file of a run, as `/bucket/runs/name/id/file`; what fails, fails for the whole attempt."""
        job_id = exchange.path.split("/")[4]
        attempt = (job_id, self._attempt(job_id))
        if attempt not in self._uploads_of:
            fault = self._stage.take(job_id, "upload")
            if fault is None:
                return "pass"
            worker = self._crew.at[slot]
            self._stage.hit(fault, job_id, worker.instance_id, attempt[1])
            self._uploads_of[attempt] = UPLOADS[fault.kind]
            if fault.kind == "killed at upload":
                worker.kill(fault.kind)
                for pid in worker.children:
                    send(pid, signal.SIGKILL)
        return self._uploads_of[attempt]

    def _deleted(self, exchange: Exchange, slot: str) -> Verdict:
        receipt = exchange.sent["ReceiptHandle"]
        if exchange.got is not None:
            return "drop answer" if receipt in self._unanswered and self._once(receipt) else "pass"
        job_id = self._job_of[receipt]
        fault = self._stage.take(job_id, "delete")
        if fault is None:
            return "pass"
        worker = self._crew.at[slot]
        self._stage.hit(fault, job_id, worker.instance_id, self._attempt(job_id))
        if fault.kind == "killed at delete":
            worker.kill(fault.kind)
            return "drop request"
        self._unanswered.add(receipt)
        return "pass"

    def _once(self, receipt: str) -> bool:
        self._unanswered.discard(receipt)
        return True

    def _released(self, exchange: Exchange) -> None:
        if exchange.sent["VisibilityTimeout"] == 0:
            job_id = self._job_of.get(exchange.sent["ReceiptHandle"], "")
            for injected in self._notices():
                if injected.job_id == job_id and injected.released_at is None:
                    injected.released_at = exchange.at
                    self._journal.say(what="released", job_id=job_id, number=injected.number)

    def _noticed(self, exchange: Exchange) -> None:
        item = exchange.sent["Item"]
        if item.get("status", {}).get("S") == "STOPPING":
            for injected in self._notices():
                if injected.worker == item["instance_id"]["S"] and injected.noticed_at is None:
                    injected.noticed_at = exchange.at

    def _notices(self) -> list[Injected]:
        with self._journal.lock:
            return [injected for injected in self._journal.injected if injected.kind in NOTICES]

    def _attempt(self, job_id: str) -> int:
        return self._stage.claims.get(job_id, (0, 0.0))[0]


def _transition(sent: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Job and new values of a transaction that changes a job's own row."""
    for item in sent["TransactItems"]:
        update = item.get("Update", {})
        if update.get("Key", {}).get("SK", {}).get("S") == "JOB":
            return update["Key"]["PK"]["S"].removeprefix("JOB#"), update["ExpressionAttributeValues"]
    return "", {}
