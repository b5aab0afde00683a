"""What keeps jobs from training: groups that launch nothing, boots that fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receipt_trainer.contract.outputs import PoolOutputs
from receipt_trainer.doctor.findings import Finding, cannot_look, failure, ok, one_line, warning
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.errors import UserError
from receipt_trainer.fleet.groups import Group, read_groups
from receipt_trainer.jobs.instances import GONE, list_instances

_COUNTS = tuple(f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed"))


def look_at_groups(subject: Subject) -> Iterator[Finding]:
    """Whether each pool may launch: not suspended, its maximum above 0 and above what it has while jobs wait."""
    client, sqs = (subject.clients.of(name, subject.region) for name in ("autoscaling", "sqs"))
    for pool, out in subject.pool_outputs.items():
        try:
            group = read_groups(client, [out.auto_scaling_group])[out.auto_scaling_group]
        except UserError as error:
            if error.__cause__ is None:
                yield failure(f"pool {pool}: {error}", subject.command("pulumi up --refresh"))
            else:
                yield cannot_look(f"pool {pool}", error)
        else:
            yield _judge(pool, group, _messages(sqs, out)[0], subject)


def _judge(pool: str, group: Group, num_waiting: int, subject: Subject) -> Finding:
    text = f"pool {pool}: {group.desired} instances, {group.maximum} at most, {num_waiting} jobs queued"
    if group.is_suspended:
        resume = f"aws autoscaling resume-processes --auto-scaling-group-name {group.name} --scaling-processes Launch"
        return failure(f"{text}; launches are suspended, as after three failed boots", resume)
    if group.maximum == 0:
        start = f"receipt-trainer fleet --start --pool {pool}{subject.given}"
        return warning(f"{text}: it is stopped", start)
    if num_waiting and group.desired >= group.maximum:
        more = f"receipt-trainer fleet --start --pool {pool} --max-instances {group.maximum + 1}{subject.given}"
        return warning(f"{text}: it is at its maximum, jobs wait for each other", more)
    return ok(text)


def look_at_boots(subject: Subject) -> Iterator[Finding]:
    """What became of the last instances; rows of the table are kept for a week."""
    if subject.outputs is None:
        return
    rows = list_instances(subject.clients.of("dynamodb", subject.region), subject.outputs.instances_table, subject.now)
    if not rows:
        yield ok("no instance has started in a week")
    for pool in subject.pool_outputs:
        own = [row for row in rows if row.pool == pool]
        bad = [row for row in own if row.status in GONE and row.status != "ENDED"]
        if not bad:
            if own:
                yield ok(f"pool {pool}: {len(own)} instances in a week, no failed boot")
            continue
        text = f"pool {pool}: {len(bad)} of {len(own)} instances of a week failed; the last: {one_line(bad[0].reason)}"
        see = f"aws logs tail {subject.outputs.boot_log_group} --since 7d --log-stream-name-prefix {bad[0].instance_id}"
        yield failure(text, see) if bad[0] is own[0] else warning(text, see)


def _messages(sqs: Any, pool: PoolOutputs) -> tuple[int, int]:
    """Messages that wait, and those that a worker has or that are delayed, in both queues."""
    waiting = taken = 0
    for url in pool.queue_urls.values():
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))["Attributes"]
        waiting += int(counts[_COUNTS[0]])
        taken += sum(int(counts.get(name, 0)) for name in _COUNTS[1:])
    return waiting, taken
