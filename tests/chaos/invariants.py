"""Whether all is as it must be after the chaos: each check says in a line what is not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

from receipt_trainer.jobs.curves import Point, curves
from receipt_trainer.jobs.model import OWNED
from receipt_trainer.jobs.state_machine import may
from tests.chaos.crew import Member
from tests.chaos.journal import Journal
from tests.chaos.plan import Fault, PlannedJob

Row = Mapping[str, Any]
Curves = Mapping[str, Sequence[Point]]
TOLERANCE = 1e-6


@dataclass
class Evidence:
    """All that is left after a run.

    Attributes:
        jobs: by their ids.
        rows: of each job, by their sort keys.
        undisturbed: curves of each variant's job that nobody disturbed.
        messages: what is left in each queue, by its name.
        instances: rows of the instances table, by instance.
        objects: files of runs in S3, as `name/id/file`, with the text of each run.json.
        processes: command lines of processes that should be gone.
        left: planned faults that did not happen.
        faults: what went wrong in the test itself, such as a deadline that passed.
    """

    jobs: Mapping[str, PlannedJob]
    rows: Mapping[str, Sequence[Row]]
    undisturbed: Mapping[int, Curves]
    journal: Journal
    members: Sequence[Member] = ()
    messages: Mapping[str, int] = field(default_factory=dict)
    instances: Mapping[str, Row] = field(default_factory=dict)
    objects: Mapping[str, str] = field(default_factory=dict)
    processes: Sequence[str] = ()
    left: Sequence[Fault] = ()
    faults: Sequence[str] = ()

    def of(self, job_id: str, prefix: str) -> list[Row]:
        """The rows of one kind, in order."""
        return [row for row in self.rows[job_id] if str(row["SK"]).startswith(prefix)]


def judge(evidence: Evidence) -> list[str]:
    """All that is not as it must be; empty if nothing is."""
    found = list(evidence.faults)
    found += [f"fault {fault.number} ({fault.kind}) did not happen" for fault in evidence.left]
    found += [f"{count} messages left in {name}" for name, count in evidence.messages.items() if count]
    found += [f"a process is left: {line}" for line in evidence.processes]
    found += _of_instances(evidence)
    for job_id, job in evidence.jobs.items():
        checks = (_end, _path, _attempts, _takeovers, _no_doubles)
        checks += (_one_at_a_time, _trained_one_at_a_time, _same_curves, _delivered)
        found += [f"{job.name} ({job_id}): {text}" for check in checks for text in check(evidence, job_id, job)]
    return found


def _end(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """SUCCEEDED once, or FAILED with its reason, as its fate is."""
    rows = evidence.of(job_id, "JOB")
    if not rows:
        yield "the job is lost"
        return
    row, wanted = rows[0], "SUCCEEDED" if job.fate == "ordinary" else "FAILED"
    if row["status"] != wanted:
        yield f"is {row['status']} ({row.get('reason')}), not {wanted}"
    ends = [row["to"] for row in evidence.of(job_id, "STATUS#") if row["to"] in ("SUCCEEDED", "FAILED", "CANCELLED")]
    if ends != [wanted]:
        yield f"ended as {ends}, not once as {wanted}"
    reason, num_failures = str(row.get("reason") or ""), row.get("num_failures", 0)
    if job.fate == "mistaken" and ("/nowhere" not in reason or num_failures != 1):
        yield f"its mistake should have failed it at once: {num_failures} failures, '{reason}'"
    if job.fate == "doomed" and ("SIGKILL" not in reason or num_failures != 3):
        yield f"it should have failed three times by SIGKILL: {num_failures} failures, '{reason}'"


def _path(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """Changes of state by their count: each from where the last one led, allowed, and none by an earlier attempt."""
    rows = sorted(evidence.of(job_id, "STATUS#"), key=lambda row: str(row["SK"]).rpartition("#")[2])
    if not rows or rows[0]["to"] != "PENDING":
        yield "its first state is not PENDING"
    for before, after in pairwise(rows):
        if before["to"] != after.get("from") or not may(after["from"], after["to"]):
            yield f"went from {before['to']} by {after.get('from')} to {after['to']}"
        if after["attempt"] < before["attempt"]:
            yield f"attempt {after['attempt']} wrote a state after attempt {before['attempt']}"
        if (after["attempt"] > before["attempt"]) != (after["to"] == "CLAIMED"):
            yield f"attempt {after['attempt']} began without a claim, or a claim without an attempt"


def _attempts(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """Numbers without a gap, each with an end and, but for success, a reason; only one succeeded."""
    rows = evidence.of(job_id, "ATTEMPT#")
    if [row["attempt"] for row in rows] != list(range(1, len(rows) + 1)):
        yield f"attempts {[row['attempt'] for row in rows]}"
    for row in rows:
        if not row.get("outcome") or not row.get("ended_at"):
            yield f"attempt {row['attempt']} has no end"
        elif row["outcome"] != "SUCCEEDED" and not row.get("reason"):
            yield f"attempt {row['attempt']} is {row['outcome']} without a reason"
    outcomes = Counter(row.get("outcome") for row in rows)
    if outcomes["SUCCEEDED"] != (job.fate == "ordinary"):
        yield f"{outcomes['SUCCEEDED']} attempts succeeded"


def _takeovers(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """A job was taken from another attempt only when that one's lease was over."""
    ended_at = {row["attempt"]: str(row.get("ended_at")) for row in evidence.of(job_id, "ATTEMPT#")}
    for row in evidence.of(job_id, "STATUS#"):
        if row["to"] == "CLAIMED" and row["from"] in OWNED and row["at"] < ended_at.get(row["attempt"] - 1, ""):
            yield f"attempt {row['attempt']} took the job while attempt {row['attempt'] - 1} had its lease"


def _no_doubles(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """One value of one metric at one step of one attempt."""
    counts = Counter((row["name"], row["step"], row["attempt"]) for row in evidence.of(job_id, "METRIC#"))
    doubles = [key for key, count in counts.items() if count > 1]
    if doubles:
        yield f"twice in one attempt: {doubles[:5]}"


def _one_at_a_time(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """By their time stamps, no attempt's metric comes after a later attempt's first."""
    rows = sorted(evidence.of(job_id, "METRIC#"), key=lambda row: (str(row["timestamp"]), row["attempt"]))
    order = [attempt for attempt, _ in groupby(row["attempt"] for row in rows)]
    if order != sorted(set(order)):
        yield f"attempts wrote metrics in turn: {order}"


def _trained_one_at_a_time(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """As the training processes themselves said before each step: no two of them, and no attempt after a later one."""
    steps = sorted((step for step in evidence.journal.steps if step.job_id == job_id), key=lambda step: step.at)
    order = [key for key, _ in groupby((step.attempt, step.pid) for step in steps)]
    if order != sorted(set(order)) or len({attempt for attempt, _ in order}) != len(order):
        yield f"(attempt, process) trained in turn: {order}"


def _same_curves(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """Every metric has the steps of the undisturbed run, and its values."""
    if job.fate != "ordinary":
        return
    mine, undisturbed = curves(evidence.of(job_id, "METRIC#")), evidence.undisturbed[job.variant]
    if mine.keys() != undisturbed.keys():
        yield f"metrics {sorted(mine)}, undisturbed {sorted(undisturbed)}"
    for name in mine.keys() & undisturbed.keys():
        here, there = ({point.step: point for point in points} for points in (mine[name], undisturbed[name]))
        if here.keys() != there.keys():
            missing, more = sorted(there.keys() - here.keys()), sorted(here.keys() - there.keys())
            yield f"{name}: no value at steps {missing}, too many at {more}"
        for step in sorted(here.keys() & there.keys()):
            if abs(here[step].value - there[step].value) > TOLERANCE or here[step].epoch != there[step].epoch:
                yield f"{name} at step {step} is {here[step].value}, undisturbed {there[step].value}"
                break


def _delivered(evidence: Evidence, job_id: str, job: PlannedJob) -> Iterator[str]:
    """Files of a job that succeeded are in S3, its complete record among them; of another job there is nothing."""
    prefix = f"{job.name}/{job_id}/"
    files = {key.removeprefix(prefix): text for key, text in evidence.objects.items() if key.startswith(prefix)}
    if job.fate != "ordinary":
        if files:
            yield f"failed, and has files in S3: {sorted(files)[:3]}"
        return
    missing = {"run.json", "report.html", "model/model.safetensors"} - files.keys()
    if missing:
        yield f"not in S3: {sorted(missing)}"
    elif json.loads(files["run.json"])["status"] != "complete":
        yield "its record in S3 is not complete"


def _of_instances(evidence: Evidence) -> Iterator[str]:
    """Who could say goodbye did; who was killed, or could not reach AWS at its start, is known by its heartbeat."""
    for member in evidence.members:
        row = evidence.instances.get(member.instance_id)
        if member.gave_up():
            continue
        if row is None:
            if member.why_gone is None:
                yield f"worker {member.instance_id} has no row"
            continue
        if member.why_gone is None and row["status"] != "ENDED":
            yield f"worker {member.instance_id} went and its row says {row['status']}"
        if member.why_gone is None and member.process.returncode != 0:
            yield f"worker {member.instance_id} ended with exit code {member.process.returncode}"
        if member.why_gone is not None and row["status"] == "ENDED":
            yield f"worker {member.instance_id} was killed ({member.why_gone}) and its row says ENDED"
