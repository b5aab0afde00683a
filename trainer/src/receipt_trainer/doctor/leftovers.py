"""Leftovers of an update that was killed: what is on AWS and not in the stack's state."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from receipt_trainer.doctor import named, orphans
from receipt_trainer.doctor.findings import Finding, cannot_look, failure, ok, one_line, warning
from receipt_trainer.doctor.named import FINDERS, NAMED, Named
from receipt_trainer.doctor.pulumi_state import State
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.errors import WorldError


def look_at_leftovers(subject: Subject) -> Iterator[Finding]:
    """Operations that were cut off first, then what bears a name of ours or holds data, then what holds nothing.

    What collides with the next update, or holds data, is imported; what holds nothing is deleted.
    """
    try:
        state = subject.state
    except WorldError as error:
        yield failure(
            f"the state cannot be read: {one_line(error)}", "pulumi login", f"pulumi stack init {subject.stack}"
        )
        return
    if state.pending:
        kinds = ", ".join(sorted({kind for kind, _ in state.pending}))
        yield failure(
            f"{len(state.pending)} operations of an update were cut off ({kinds})",
            subject.command("pulumi cancel"),
            subject.command("pulumi refresh --clear-pending-creates"),
        )
    found = [*_named(subject, state)]
    try:
        arns = orphans.tagged_arns(subject)
    except Exception as error:  # names are seen nevertheless
        found.append(cannot_look("leftovers: what bears the stack's tags", error))
        arns = []
    found += _data(subject, state, arns)
    for one in orphans.find_orphans(subject, state, arns):
        if isinstance(one, Finding):
            found.append(one)
        else:
            found.append(warning(f"{one.what} is not in the state", one.command))
    yield from found
    if not found and not state.pending:
        yield ok(
            f"no leftovers: what bears this stack's names or tags is in its state ({len(state.resources)} resources)"
        )


def _named(subject: Subject, state: State) -> Iterator[Finding]:
    wanted: dict[str, dict[str, Named]] = defaultdict(dict)
    for one in NAMED:
        if one.physical:
            wanted[one.kind][one.physical_name(subject)] = one
    for kind, by_name in wanted.items():
        try:
            there = FINDERS[kind](subject, by_name)
        except Exception as error:  # other kinds are seen nevertheless
            yield cannot_look(f"leftovers: {kind.rpartition(':')[2]}", error)
            continue
        for name, one in by_name.items():
            if name in there and there[name] not in state.ids(kind):
                yield _import(one, name, there[name], subject, state)


def _import(one: Named, name: str, id_: str, subject: Subject, state: State) -> Finding:
    text = f"{one.kind.rpartition(':')[2]} {name} is not in the state"
    if one.parent_urn(subject) not in state.urns:
        up = subject.command("pulumi up")
        return failure(f"{text}, nor is its component: update, which makes that and stops here, then look again", up)
    words = ["pulumi", "import", one.kind, one.name, id_, "--parent", f"p={one.parent_urn(subject)}"]
    words += ["--protect=false", "--generate-code=false"]
    # In quotes: a URN has a $ where components are in components.
    command = " ".join(f"'{word}'" if word.startswith("p=") else shlex.quote(word) for word in words)
    return failure(text, subject.command(command))


def _data(subject: Subject, state: State, arns: list[str]) -> Iterator[Finding]:
    """Buckets and queues: imported if they hold something and their place is free, else deleted."""
    for arn in arns:
        service, name = arn.split(":")[2], arn.rpartition(":")[2]
        kind, look = _HOLDING.get(service, ("", None))
        # By type: what belongs to a bucket or a queue has its id, too.
        if look and name not in {id_.rpartition("/")[2] for id_ in state.ids(kind)}:
            try:
                yield look(name, subject, state)
            except Exception as error:  # others are seen nevertheless
                yield cannot_look(f"leftovers: {name}", error)


def _bucket(name: str, subject: Subject, state: State) -> Finding:
    client = subject.clients.of("s3", subject.region)
    found = client.list_object_versions(Bucket=name, MaxKeys=1)
    if not found.get("Versions") and not found.get("DeleteMarkers"):
        return warning(f"bucket {name} is not in the state, and empty", f"aws s3api delete-bucket --bucket {name}")
    return _keep(named.BUCKET, name, name, f"aws s3 ls --recursive s3://{name}", subject, state)


def _queue(name: str, subject: Subject, state: State) -> Finding:
    client = subject.clients.of("sqs", subject.region)
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = client.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
    if not any(int(count) for count in counts.values()):
        return warning(f"queue {name} is not in the state, and empty", f"aws sqs delete-queue --queue-url {url}")
    return _keep(named.QUEUE, name, url, f"aws sqs receive-message --queue-url {url}", subject, state)


def _keep(kind: str, name: str, id_: str, look: str, subject: Subject, state: State) -> Finding:
    """Import what holds something, unless another one has its place."""
    logical = orphans.AUTO_NAMED.fullmatch(name)
    one = next((one for one in NAMED if logical and (one.kind, one.name) == (kind, logical[1])), None)
    if one is None or one.urn(subject) in state.urns:
        return warning(f"{name} is not in the state, holds something, and another one has its place", look)
    return _import(one, name, id_, subject, state)


_HOLDING: Final = {"s3": (named.BUCKET, _bucket), "sqs": (named.QUEUE, _queue)}
"""What may hold data or jobs, by service: its type token, and how it is looked at."""
