"""All checks, in the order in which they are shown, taken side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final, Literal

from receipt_trainer.doctor import account, leftovers, machine, stack_parts, workers_and_jobs
from receipt_trainer.doctor.findings import Finding, guarded, warning
from receipt_trainer.doctor.subject import Subject

LIMIT_S: Final = 60.0
"""For one check; its requests give up sooner."""
NUM_THREADS: Final = 8

Needs = Literal["nothing", "account", "outputs", "stack"]


@dataclass(frozen=True, slots=True)
class Check:
    """One look, shown under the heading `group`; what it raises becomes a finding.

    It needs credentials and a region (account), also a stack's outputs, or also its name (stack).
    """

    group: str
    name: str
    look: Callable[[Subject], Iterable[Finding]]
    needs: Needs = "account"


FIRST: Final = Check("Account", "credentials", account.look_at_credentials, "nothing")
CHECKS: Final[tuple[Check, ...]] = (
    Check("This machine", "program", machine.look_at_program, "nothing"),
    Check("This machine", "pulumi", machine.look_at_pulumi, "nothing"),
    Check("This machine", "pulumi SDK", machine.look_at_sdk, "nothing"),
    Check("This machine", "AWS CLI", machine.look_at_aws_cli, "nothing"),
    FIRST,
    Check("Account", "region", account.look_at_region, "nothing"),
    Check("Account", "zones", account.look_at_zones),
    Check("Account", "quotas", account.look_at_quotas),
    Check("Account", "key of volumes", account.look_at_volume_key),
    Check("Account", "public access", account.look_at_public_access),
    Check("Account", "budget", account.look_at_budget),
    Check("Account", "parent image", stack_parts.look_at_parent_image),
    Check("Stack", "workers' image", stack_parts.look_at_worker_image, "outputs"),
    Check("Stack", "alarm mail", account.look_at_alarm_mail, "outputs"),
    Check("Stack", "notice mail", account.look_at_notice_mail, "outputs"),
    Check("Stack", "tables", stack_parts.look_at_tables, "outputs"),
    Check("Stack", "queues", stack_parts.look_at_queues, "outputs"),
    Check("Stack", "buckets", stack_parts.look_at_buckets, "outputs"),
    Check("Stack", "file system", stack_parts.look_at_files, "outputs"),
    Check("Stack", "leftovers", leftovers.look_at_leftovers, "stack"),
    Check("Workers and jobs", "groups", workers_and_jobs.look_at_groups, "outputs"),
    Check("Workers and jobs", "boots", workers_and_jobs.look_at_boots, "outputs"),
    Check("Workers and jobs", "messages", workers_and_jobs.look_at_messages, "outputs"),
    Check("Workers and jobs", "job files", workers_and_jobs.look_at_jobs),
)


def _quota_of_pools(subject: Subject) -> Iterable[Finding]:
    """Without that of bakes."""
    alone = subject.outputs and subject.outputs.model_copy(update={"image_pipeline_arn": None})
    return account.look_at_quotas(replace(subject, outputs=alone))


BEFORE_A_JOB: Final[tuple[Check, ...]] = (
    Check("Account", "instance types", account.look_at_types, "nothing"),
    Check("Account", "quotas", _quota_of_pools, "nothing"),
    Check("Stack", "workers' image", stack_parts.look_at_worker_image, "nothing"),
)
"""What keeps a pool from launching, for a subject with the outputs of this pool alone."""


def examine(
    subject: Subject, checks: Sequence[Check] = CHECKS, limit_s: float = LIMIT_S
) -> Iterator[tuple[Check, list[Finding]]]:
    """Take all checks at once; findings come in the order of `checks`, each as soon as it is known.

    Credentials come first: without them nothing else on AWS is asked, and that is said once. Nothing is changed.
    """
    credentials = _take(FIRST, subject) if any(check.needs != "nothing" or check is FIRST for check in checks) else []
    taken = [(check, Future[list[Finding]]()) for check in checks]
    waiting = iter(taken)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                one = next(waiting, None)
            if one is None:
                return
            check, future = one
            future.set_result(credentials if check is FIRST else _take(check, subject))

    for _ in range(NUM_THREADS):
        # Daemons: a look that hangs keeps nobody from leaving.
        threading.Thread(target=work, daemon=True).start()
    for check, future in taken:
        try:
            yield check, future.result(limit_s)
        except TimeoutError:
            late = f"{check.name}: no answer in {limit_s:g} s"
            yield check, [Finding("failure", late, ("Look again.",), is_seen=False)]


def _take(check: Check, subject: Subject) -> list[Finding]:
    lacks = check.needs != "nothing" and not subject.account
    lacks |= check.needs == "outputs" and subject.outputs is None
    if lacks or (check.needs == "stack" and subject.stack is None):
        return []
    return list(guarded(check.name, lambda: check.look(subject)))


def not_looked_at(subject: Subject) -> list[Finding]:
    """The checks that were left out, and how to run them."""
    if not subject.account:
        return [warning("without credentials nothing on AWS was looked at", "aws configure")]
    if subject.stack is None and subject.outputs is None:
        said = "no stack was named: only account and job files were looked at"
        return [warning(said, "receipt-trainer doctor --stack dev")]
    if subject.outputs is None:
        return [warning(f"stack {subject.stack} has no outputs yet: it is not up", subject.command("pulumi up"))]
    if subject.stack is None:
        said = "leftovers of a killed update are seen with --stack only"
        return [warning(said, "receipt-trainer doctor --stack dev")]
    return []
