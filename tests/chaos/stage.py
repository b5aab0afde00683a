"""Where the plan is carried out: training processes ask here before every step, and go on when they are answered."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from uuid import uuid4

from receipt_trainer.contract.waiting import body_of
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.worker.attempt import run_dir_of
from tests.chaos import damage, times
from tests.chaos.crew import Crew, Member, send
from tests.chaos.journal import Injected, Journal, Step
from tests.chaos.plan import NOTICES, OF_THE_GROUP, OUTAGES, SKEW_S, Fault, PlannedJob, Trigger
from tests.chaos.tcp_proxy import GroupMode, Mode

NOTICE_S: Final = 30.0
"""A training process stays at most so long in its step until a notice is noticed; less than its worker waits for it."""
FROZEN_S: Final = 3.0 * times.VISIBILITY_S
"""A frozen worker wakes after so long even if nobody took its job."""
WAKE_S: Final = 1.0
"""It wakes so long after somebody did."""
STRAY_S: Final = 1.5
"""A step lasts so long when its message is shown to other workers."""
MODES: Final[Mapping[str, Mode]] = {
    "throttle": "throttle",
    "endpoint refuses": "refuse",
    "endpoint resets": "reset",
    "endpoint stalls": "stall",
}
GROUP_MODES: Final[Mapping[str, GroupMode]] = {"group refuses": "refuse", "group away": "reset"}


class Stage:
    """Serves on a UNIX socket in the folder until the process ends."""

    def __init__(self, folder: Path, cloud: LocalCloud, crew: Crew, journal: Journal) -> None:
        self._folder, self._cloud, self._crew, self._journal = folder, cloud, crew, journal
        self._jobs: dict[str, PlannedJob] = {}
        self._left: dict[str, list[Fault]] = {}
        self._later: list[tuple[float, Callable[[], bool], Callable[[], object]]] = []
        self._outage: dict[str, int] = {}
        self._lock = threading.RLock()
        self.receipts: dict[str, tuple[str, str]] = {}
        self.claims: dict[str, tuple[int, float]] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address_in(folder))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def address_in(folder: Path) -> str:
        """For the training processes' environment."""
        return str(folder / "stage")

    def expect(self, job_id: str, job: PlannedJob) -> None:
        """What is planned for a job, before it is submitted."""
        with self._lock:
            self._jobs[job_id], self._left[job_id] = job, list(job.faults)

    def take(self, job_id: str, trigger: Trigger, step: int = 0) -> Fault | None:
        """The fault that happens now; it happens once."""
        with self._lock:
            left = self._left.get(job_id, [])
            found = next((one for one in left if one.trigger == trigger and one.step <= step), None)
            if found is not None:
                left.remove(found)
            return found

    def hit(self, fault: Fault, job_id: str, worker: str, attempt: int) -> Injected:
        """Write down that it happens."""
        job = self._jobs[job_id].name
        return self._journal.hit(Injected(fault.number, fault.kind, job, job_id, worker, attempt, time.time()))

    def left(self) -> list[Fault]:
        """Faults that have not happened."""
        with self._lock:
            return [fault for left in self._left.values() for fault in left]

    def run_due(self) -> bool:
        """Carry out what was put off and is due; whether more is to come."""
        with self._lock:
            due = [one for one in self._later if time.monotonic() >= one[0] or one[1]()]
            self._later = [one for one in self._later if one not in due]
        for _, _, act in due:
            act()
        return bool(self._later)

    def put_off(self, seconds: float, act: Callable[[], object], early: Callable[[], bool] = lambda: False) -> None:
        """Act after so many seconds, or as soon as `early` holds."""
        with self._lock:
            self._later.append((time.monotonic() + seconds, early, act))

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("r") as lines, contextlib.suppress(OSError):
            for line in lines:
                step = Step(**json.loads(line))
                self._journal.stepped(step)
                connection.sendall(f"{self._answer(step)}\n".encode())

    def _answer(self, step: Step) -> str:
        member = next(one for one in self._crew.all if one.instance_id == step.worker)
        member.children.add(step.pid)
        if self._jobs[step.job_id].fate == "doomed" and step.step >= 2:
            send(step.pid, signal.SIGKILL)
            return "too late"
        if member.process.poll() is not None or member.why_gone:  # a training process whose worker was killed
            return "go"
        fault = self.take(step.job_id, "step", step.step)
        if fault is None:
            return "go"
        return self._inject(fault, step, member, self.hit(fault, step.job_id, step.worker, step.attempt))

    def _inject(self, fault: Fault, step: Step, member: Member, injected: Injected) -> str:
        """Do it; what the training process is answered."""
        kind = fault.kind
        if kind == "disk full":
            return "fill the disk"
        if kind in OUTAGES:
            self._cut(fault, member)
        elif kind in ("clock ahead", "clock behind"):
            send(member.process.pid, signal.SIGUSR1 if kind == "clock ahead" else signal.SIGUSR2)
            return f"clock {SKEW_S if kind == 'clock ahead' else -SKEW_S}"
        elif kind in NOTICES:
            if kind in OF_THE_GROUP:
                self._cut_group(fault, member)
            self._notice(kind, member)
            self._wait(times.stretched(NOTICE_S), lambda: injected.noticed_at is not None)
        elif kind == "rebalance":
            member.imds.interrupt("rebalance")
        elif kind == "freeze":
            self._freeze(step, member)
        elif kind in ("duplicate", "stray duplicate"):
            self._send_again(step.job_id, is_stray=kind == "stray duplicate")
        elif kind == "visibility expired":
            queue, receipt = self.receipts[step.job_id]
            self._cloud.client("sqs").change_message_visibility(
                QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=0
            )
            time.sleep(STRAY_S)
        elif kind == "child killed":
            send(step.pid, signal.SIGKILL)
        else:
            self._lose(kind, step, member, fault.number)
        return "go"

    def _lose(self, kind: str, step: Step, member: Member, seed: int) -> None:
        """The worker vanishes; unless it alone is killed, its training process with it."""
        if kind.startswith("checkpoint"):
            weights = damage.newest(run_dir_of(self._folder / "checkpoints", step.job_id))
            assert weights is not None, "a checkpoint is planned to be damaged where there is none"
            self._journal.say(what="damage", file=weights)
            if kind == "checkpoint cut":
                damage.cut(weights)
            else:
                damage.flip(weights, seed)
        member.kill(kind)
        if kind != "worker killed":
            send(step.pid, signal.SIGKILL)

    def _cut(self, fault: Fault, member: Member) -> None:
        slots = list(self._crew.proxies) if fault.everywhere else [member.slot]

        def mend() -> None:
            for slot in slots:
                if self._outage[slot] == fault.number:  # a later outage of the same way lasts as long as it lasts
                    self._crew.proxies[slot].set_mode("open")

        for slot in slots:
            self._outage[slot] = fault.number
            self._crew.proxies[slot].set_mode(MODES[fault.kind])
        self.put_off(fault.seconds, mend)

    def _cut_group(self, fault: Fault, member: Member) -> None:
        """Until the worker has asked in vain, and for the planned time at least."""
        proxy, before = self._crew.proxies[member.slot], self._crew.proxies[member.slot].num_of_group_refused
        proxy.set_group_mode(GROUP_MODES[fault.kind])

        def mend() -> None:
            if proxy.num_of_group_refused == before and member.process.poll() is None:
                self.put_off(1.0, mend)
                return
            self._journal.say(what="group", number=fault.number, refused=proxy.num_of_group_refused - before)
            proxy.set_group_mode("open")

        self.put_off(fault.seconds, mend)

    def _notice(self, kind: str, member: Member) -> None:
        if kind != "spot notice":
            send(member.process.pid, signal.SIGTERM)
        else:
            member.imds.interrupt("spot")

    def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not condition():
            time.sleep(0.02)

    def _freeze(self, step: Step, member: Member) -> None:
        pids = (member.process.pid, step.pid)
        for pid in pids:
            send(pid, signal.SIGSTOP)

        def wake() -> None:
            self._journal.say(what="wake", worker=member.instance_id)
            for pid in pids:
                send(pid, signal.SIGCONT)

        def is_taken() -> bool:
            attempt, at = self.claims.get(step.job_id, (0, 0.0))
            return attempt > step.attempt and time.time() > at + WAKE_S

        self.put_off(times.stretched(FROZEN_S), wake, is_taken)

    def _send_again(self, job_id: str, *, is_stray: bool) -> None:
        queue, _ = self.receipts[job_id]
        nonce = uuid4().hex
        self._cloud.client("sqs").send_message(
            QueueUrl=queue,
            MessageBody=body_of(job_id),
            MessageGroupId=nonce if is_stray else job_id,
            MessageDeduplicationId=nonce,
        )
