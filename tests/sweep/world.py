"""A sweep over the embedded AWS, workers that train by formula, and clients that die in the middle of a write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.config.job_file import LayoutLMJob, PaddleOcrVlJob
from receipt_trainer.config.layoutlm import TrainingConfig
from receipt_trainer.config.paddleocr_vl import VlDataConfig
from receipt_trainer.contract.job import Family
from receipt_trainer.contract.tables import job_pk, metric_sk
from receipt_trainer.jobs.model import Attempt, Job
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.rows import Wanted, find
from receipt_trainer.sweep.collect import Observer
from receipt_trainer.sweep.controller import Driver
from receipt_trainer.sweep.definition import Definition, base_of
from receipt_trainer.sweep.search_space import Axis, read_axis
from receipt_trainer.sweep.store import SweepTable
from receipt_trainer.sweep.study import SweepStudy
from receipt_trainer.sweep.trial import Trial
from tests.queues import new_queue

WRITES = frozenset({"put_item", "update_item", "transact_write_items", "send_message"})
Formula = Callable[[Mapping[str, Any]], float]


class Killed(BaseException):
    """The process is gone: nothing handles it."""


class Dying:
    """A client that carries out the n-th write of all that share `left`, and then is gone."""

    def __init__(self, client: Any, left: list[int]) -> None:
        self._client, self._left = client, left

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in WRITES:
            return call

        def write(**arguments: Any) -> Any:
            answer = call(**arguments)
            self._left[0] -= 1
            if self._left[0] == 0:
                raise Killed
            return answer

        return write


class Counting:
    """A client that counts its calls."""

    def __init__(self, client: Any) -> None:
        self._client, self.calls = client, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._client, name)


def axis(key: str, text: str, family: Family = "layoutlm") -> Axis:
    return read_axis("--set", key, text, family)


def definition(
    *axes: Any, queue_url: str | None = None, training: Mapping[str, Any] | None = None, **more: Any
) -> Definition:
    """Of a sweep over a base with learning rate 1e-4 and batch size 8."""
    own = {"learning_rate": 1e-4, "batch_size": 8} | dict(training or {})
    spec = LayoutLMJob(job_name="x", model="tiny", training_config=TrainingConfig.model_validate(own))
    given: dict[str, Any] = {"name": "s", "seeds": (0,), "queue_url": queue_url} | more
    return Definition(base=base_of(spec, None), axes=axes, **given)


def vl_definition(*axes: Axis, queue_url: str | None = None, **more: Any) -> Definition:
    """Of a sweep over a base of the second model family."""
    spec = PaddleOcrVlJob(job_name="x", data_config=VlDataConfig(dataset_path="/data"))
    given: dict[str, Any] = {"name": "v", "seeds": (0,), "objective": "eval_loss", "queue_url": queue_url} | more
    return Definition(base=base_of(spec, None), family="paddleocr-vl", axes=axes, **given)


class World:
    """One jobs table, one queue, and workers that need no time."""

    def __init__(self, jobs_table: str, formula: Formula, queue_url: str | None = None) -> None:
        self.jobs_table, self.formula = jobs_table, formula
        self.queue_url = queue_url or new_queue()
        self.dynamodb, self.sqs = clients.dynamodb(), clients.sqs()
        self.jobs, self.sweeps = JobTable(self.dynamodb, jobs_table), SweepTable(self.dynamodb, jobs_table)
        self.queue = SqsQueue(self.sqs, self.queue_url)

    def driver(self, of: Definition, *, concurrency: int = 1, dynamodb: Any = None, sqs: Any = None) -> Driver:
        """A new process that drives the sweep."""
        client = dynamodb or self.dynamodb
        sweeps, jobs = SweepTable(client, self.jobs_table), JobTable(client, self.jobs_table)
        sweeps.define(of)
        observer = Observer(Table(client, self.jobs_table), clients.s3, of.goal)
        return Driver(of, sweeps, jobs, SqsQueue(sqs or self.sqs, self.queue_url), observer, concurrency)

    def work(self) -> list[str]:
        """Train all jobs of the queue; their ids, one for each message."""
        taken = []
        while message := self.queue.receive(0):
            assert message.job_id is not None
            taken.append(message.job_id)
            attempt = self.take(message.job_id)
            if attempt is not None:
                self.finish(attempt)
            self.queue.delete(message)
        return taken

    def take(self, job_id: str, price: float | None = 0.36) -> Attempt | None:
        claimed = self.jobs.claim(job_id, "worker", 600, {"price_usd_per_h": price})
        if not isinstance(claimed, Attempt):
            return None
        self.jobs.start(claimed, 0)
        return claimed

    def claim(self, job_id: str, price: float | None = 0.36) -> Attempt:
        """As `take`; the job must be there to be taken."""
        attempt = self.take(job_id, price)
        assert attempt is not None
        return attempt

    def train(self, job_id: str, artifacts: str | None = None, price: float | None = 0.36) -> None:
        """A job from its claim to its end."""
        self.finish(self.claim(job_id, price), artifacts)

    def finish(self, attempt: Attempt, artifacts: str | None = None) -> None:
        job = self.jobs.get(attempt.job_id)
        f1 = self.formula(job.spec["training_config"] | job.spec["data_config"])
        self.evaluate(attempt, [f1 / 2, f1])
        self.jobs.succeed(attempt, f1, artifacts)

    def evaluate(self, attempt: Attempt, values: Sequence[float], metric: str = "eval_f1") -> None:
        """Write a score of each evaluation as a training process does."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        for step, value in enumerate(values, start=1):
            row = {"PK": job_pk(attempt.job_id), "SK": metric_sk(metric, now, step), "TYPE": "JOB_METRIC"}
            row |= {"name": metric, "value": value, "step": step, "epoch": float(step), "timestamp": now, "seq": step}
            dynamo.put(self.dynamodb, self.jobs_table, row | {"attempt": attempt.number}, "write a metric")

    def trials(self, of: Definition) -> list[Trial]:
        """As they are stored."""
        return SweepStudy(of, self.sweeps).trials()

    def all_jobs(self, prefix: str = "") -> list[Job]:
        """Every job of the table whose name begins so."""
        rows = find(Table(self.dynamodb, self.jobs_table), Wanted())
        return [self.jobs.get(str(row["job_id"])) for row in rows if str(row["name"]).startswith(prefix)]
