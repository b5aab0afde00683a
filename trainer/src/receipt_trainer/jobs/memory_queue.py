"""A job queue in memory that behaves as the SQS one does, its time passed in: for tests of what uses a queue."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

from receipt_trainer.contract.waiting import body_of, new_deduplication_id
from receipt_trainer.jobs.queue import DEDUPLICATION_S, VISIBILITY_S, Message, read_body


@dataclass(slots=True)
class _Entry:
    group: str
    body: str
    sent_at: float
    visible_at: float
    receipt: str = ""
    num_receives: int = 0


class MemoryQueue:
    """FIFO by group: of one group's messages only the first can be received, and none while it is hidden.

    Attributes:
        dead_letters: bodies of messages that were received too often.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        visibility_s: int = VISIBILITY_S,
        max_receives: int = 100,
        wait: Callable[[int], None] = lambda seconds: None,
    ) -> None:
        """Begin empty.

        Args:
            clock: seconds that only grow.
            visibility_s: for how long a received message is hidden.
            max_receives: receives after which a message becomes a dead letter.
            wait: called with the seconds that an empty long poll may take, before the second look.
        """
        self._clock, self._visibility_s, self._max_receives, self._wait = clock, visibility_s, max_receives, wait
        self._entries: dict[int, _Entry] = {}
        self._sent: dict[tuple[str, str], float] = {}
        self._ids = count()
        self._lock = threading.Lock()
        self.dead_letters: list[str] = []

    def send(
        self, job_id: str, deduplication_id: str | None = None, group: str | None = None, version: int = 1
    ) -> None:
        """See `JobQueue`."""
        self.send_body(body_of(job_id, version), group=group or job_id, deduplication_id=deduplication_id or job_id)

    def send_body(self, body: str, *, group: str, deduplication_id: str) -> None:
        """Queue any text."""
        with self._lock:
            now, key = self._clock(), (group, deduplication_id)
            if now - self._sent.get(key, -float("inf")) < DEDUPLICATION_S:
                return
            self._sent[key] = now
            self._entries[next(self._ids)] = _Entry(group, body, now, now)

    def receive(self, wait_s: int) -> Message | None:
        """See `JobQueue`."""
        message = self._receive()
        if message is None and wait_s > 0:
            self._wait(wait_s)
            message = self._receive()
        return message

    def _receive(self) -> Message | None:
        with self._lock:
            now = self._clock()
            busy: set[str] = set()
            for key, entry in list(self._entries.items()):
                if entry.group in busy:
                    continue
                if entry.visible_at > now:
                    busy.add(entry.group)
                elif entry.num_receives >= self._max_receives:
                    self.dead_letters.append(self._entries.pop(key).body)
                else:
                    entry.num_receives += 1
                    entry.visible_at, entry.receipt = now + self._visibility_s, f"{key}:{uuid.uuid4().hex}"
                    sent_at = datetime.fromtimestamp(entry.sent_at, UTC)
                    return read_body(entry.body, entry.receipt, entry.num_receives, sent_at, str(key))
            return None

    def extend(self, message: Message, seconds: int) -> bool:
        """See `JobQueue`."""
        with self._lock:
            entry = self._mine(message)
            if entry is not None:
                entry.visible_at = self._clock() + seconds
            return entry is not None

    def release(self, message: Message) -> bool:
        """See `JobQueue`."""
        return self.extend(message, 0)

    def delete(self, message: Message) -> None:
        """See `JobQueue`."""
        with self._lock:
            if self._mine(message) is not None:
                del self._entries[int(message.receipt.partition(":")[0])]

    def renew(self, message: Message, job_id: str, version: int) -> None:
        """See `JobQueue`."""
        self.send(job_id, new_deduplication_id(job_id), version=version)
        self.delete(message)

    def _mine(self, message: Message) -> _Entry | None:
        """The message, while this receive is its last and still hides it."""
        entry = self._entries.get(int(message.receipt.partition(":")[0]))
        is_mine = entry is not None and entry.receipt == message.receipt and entry.visible_at > self._clock()
        return entry if is_mine else None

    def num_messages(self) -> int:
        """Messages in the queue, hidden ones included."""
        with self._lock:
            return len(self._entries)
