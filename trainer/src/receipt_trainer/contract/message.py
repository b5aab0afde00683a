"""The message that stands for a job in its queue: its text, and the ids by which SQS tells two of them apart."""

from __future__ import annotations

import json
import uuid
from typing import Final

BODY_VERSION: Final = 1


def body_of(job_id: str) -> str:
    """The text of a message."""
    return json.dumps({"job_id": job_id, "version": BODY_VERSION})


def new_deduplication_id(job_id: str) -> str:
    """An id that no message of the job has had: SQS drops a second one of an id for five minutes, deleted or not."""
    return f"{job_id}-{uuid.uuid4()}"
