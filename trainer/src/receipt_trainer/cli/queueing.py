"""Before and after jobs are queued: what they will take, and the instances that are asked for them.

A fault of either is no fault of the queueing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Table
from receipt_trainer.aws.server_time import utc_now
from receipt_trainer.cli import stack
from receipt_trainer.cli.render.tables import counted, dollars
from receipt_trainer.config.job_file import AnyJob, LayoutLMJob
from receipt_trainer.doctor.examination import BEFORE_A_JOB, Check, examine
from receipt_trainer.doctor.findings import Finding, warning
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.doctor.workers_and_jobs import look_at_groups, look_at_job
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.fleet import forecast
from receipt_trainer.fleet.forecast import Forecast, Price
from receipt_trainer.fleet.groups import Launch, launch_for_jobs
from receipt_trainer.reports import formatting

LATER: Final = "the pool's alarm launches one by itself, up to 15 minutes later if no job came for hours"


def forecaster(pool: str | None, table: str | None) -> Callable[[Mapping[str, Any]], Forecast] | None:
    """For jobs of the pool in the running command's stack; None where no stack is named."""
    outputs, is_sold = stack.outputs(), stack.local_session() is None
    return None if outputs is None else forecast.forecaster(outputs, pool, table, is_sold=is_sold)


def forecasts(specs: Sequence[Mapping[str, Any]], pool: str | None, table: str | None) -> list[Forecast] | None:
    """One a job, of one pool; None where no stack is named."""
    foresee = forecaster(pool, table)
    return [foresee(spec) for spec in specs] if foresee is not None and specs else None


def list_prices(pool: str | None) -> str | None:
    """See `receipt_trainer.fleet.forecast.list_prices`; None where no stack is named, or it is the local one."""
    outputs = stack.outputs()
    return None if outputs is None or stack.local_session() is not None else forecast.list_prices(outputs, pool)


def limit_lines(
    seconds: float | None, usd: float | None, max_hours: float | None, max_usd: float | None
) -> Iterator[str]:
    """Notes on expected values above a limit."""
    if max_hours is not None and seconds is not None and seconds > max_hours * 3600:
        yield f"{formatting.duration(seconds)} are expected, and max_hours {max_hours:g} stops it before"
    if max_usd is not None and usd is not None and usd > max_usd:
        yield f"{dollars(usd)} are expected, and max_usd {max_usd:g} stops it before"


def say_expected(found: Forecast | None, max_hours: float | None, max_usd: float | None) -> None:
    """Print it to standard error: the price in force, time and dollars, then the limits that are too low for it."""
    if found is None:
        return
    if found.price is not None:
        click.echo(f"pool {found.pool}: {_price_text(found.price)}", err=True)
    click.echo(f"expected: {_expected_text(found)}", err=True)
    for line in limit_lines(found.estimate.seconds, found.usd, max_hours, max_usd):
        click.echo(f"warning: {line}", err=True)


def _price_text(price: Price) -> str:
    known = [] if price.usd_per_h is None else [f"${price.usd_per_h:.4f}/h for {price.instance_type}"]
    if known and price.zone is not None:
        known = [f"spot from {known[0]} in {price.zone}"]
    if price.market == "spot" and price.on_demand_usd_per_h is not None:
        known.append(f"on demand ${price.on_demand_usd_per_h:.4f}/h")
    elif known and price.market != "spot":
        known = [f"on demand {known[0]}"]
    missing = f"; not all prices are known: {price.fault}" if price.fault else ""
    return f"price now: {', '.join(known) or 'unknown'}{missing}"


def _expected_text(found: Forecast) -> str:
    """Time and dollars, and where they come from."""
    one = found.estimate
    if one.seconds is None:
        return f"unknown: {one.why}"
    limit = "at most " if one.is_at_most else ""
    usd = dollars(found.usd) if found.usd is not None else "unknown dollars"
    cost = "" if found.price is None else f" and {usd}"
    where = f" on {one.instance_type}" if one.instance_type else ""
    rate = f"{one.tokens_per_s or 0:,.0f} tokens/s{where} in {counted(one.num_runs, 'earlier run')}"
    return f"{limit}{formatting.duration(one.seconds)}{cost}, boot not in it ({rate})"


def sum_text(found: Sequence[Forecast]) -> str:
    """The same of many jobs: their sum, and of how many nothing is known."""
    known = [one.estimate.seconds for one in found if one.estimate.seconds is not None]
    unknown = len(found) - len(known)
    if not known:
        return f"unknown: {found[0].estimate.why}"
    usd = [one.usd for one in found if one.usd is not None]
    cost = "" if found[0].price is None else f" and {dollars(sum(usd)) if usd else 'unknown dollars'}"
    more = f", and {unknown} jobs without an estimate" if unknown else ""
    return f"{len(known)} jobs, {formatting.duration(sum(known))} of instance time{cost}, boots not in it{more}"


LOOK_S: Final = 10.0
"""For all that is looked at before a job is queued; what takes longer stays unknown."""


def warnings(spec: AnyJob, *, dry_run: bool) -> list[Finding]:
    """What the running command's stack has against a job, as far as it is seen from here; it refuses nothing.

    What cannot be looked at is passed over. Whether the pool is stopped is said by `launch`, unless it is a `dry_run`.
    """
    outputs, pool = stack.outputs(), spec.resources.pool
    if outputs is None:
        return []
    checks = [Check("Jobs", "receipts", partial(_receipts, spec, outputs.receipts_table), "nothing")]
    if stack.local_session() is None and pool is not None:
        outputs = outputs.model_copy(update={"pools": {pool: outputs.pools[pool]}})
        checks += [*BEFORE_A_JOB, Check("Jobs", "job", partial(look_at_job, spec), "nothing")]
        checks += [Check("Workers and jobs", "groups", look_at_groups, "nothing")] if dry_run else []
    subject = Subject(utc_now(), Path.cwd(), outputs=outputs, given=stack.given(), region=outputs.region)
    found = [(check.name, one) for check, findings in examine(subject, checks, LOOK_S) for one in findings]
    return [one for name, one in found if one.is_seen and (one.level == "failure" or (name, one.level) in _SAID)]


_SAID: Final = {("groups", "warning"), ("receipts", "warning")}


def _receipts(spec: AnyJob, table: str, subject: Subject) -> Iterator[Finding]:
    """Whether some receipts in the table are labelled and, where stored splits are asked for, of these splits."""
    from receipt_trainer.data.sources.dynamodb.read import sample_splits

    if not isinstance(spec, LayoutLMJob) or spec.data_config.dataset_name != "dynamodb":
        return
    found = sample_splits(subject.client("dynamodb"), table)
    if not found:
        load = f"receipt-trainer receipts import{subject.given} FILE"
        yield warning(f"no receipt in the table {table} has a VALID label, so there is nothing to train on", load)
    for split in (spec.data_config.train_split, spec.data_config.eval_split):
        if split is not None and found and not found[split]:
            stored = ", ".join(f"{name or '(none)'} {count}" for name, count in sorted(found.items()))
            text = f"none of {found.total()} receipts of the table is stored under split '{split}' ({stored})"
            yield warning(text, "Leave train_split and eval_split out for a split by hash.")


def say_warnings(found: Sequence[Finding]) -> None:
    """Print them to standard error, each with what mends it."""
    for one in found:
        click.echo("\n  ".join([f"warning: {one.text}", *one.remedies]), err=True)


class Launched(NamedTuple):
    """The request for an instance of a pool, or the reason why it failed."""

    pool: str
    launch: Launch | None
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"pool": self.pool, "fault": self.fault, **(asdict(self.launch) if self.launch is not None else {})}


def launch(pool: str | None, table: str, job_ids: Collection[str]) -> Launched | None:
    """Ask the pool's group for an instance a job; None where no group is known, as in the local session."""
    outputs = stack.outputs()
    there = None if outputs is None or stack.local_session() is not None else forecast.pool_of(outputs, pool)
    if pool is None or there is None:
        return None
    try:
        client = clients.autoscaling(max_attempts=2)
        asked = launch_for_jobs(client, Table(clients.dynamodb(), table), pool, there.auto_scaling_group, job_ids)
        return Launched(pool, asked)
    except (UserError, WorldError) as error:
        return Launched(pool, None, str(error))


def launch_text(launched: Launched) -> str:
    """One line for people."""
    pool, found = launched.pool, launched.launch
    if found is None:
        return f"pool {pool} was not asked for an instance ({launched.fault}); {LATER}"
    asked = f": {counted(found.after, 'instance')} asked for"
    start = f"receipt-trainer fleet{stack.given()} --start --pool {pool}"
    said = {
        "raised": f"{asked}, {found.before} before",
        "enough": f"{asked} already",
        "full": f"{asked}, its maximum: the job may have to wait for one",
        "stopped": f" is stopped, its maximum is 0: jobs wait until: {start}",
        "suspended": f" launches nothing: {suspended_text(found.group)}",
    }
    return f"pool {pool}{said[found.kind]}"


def suspended_text(group: str) -> str:
    """Why a group launches nothing, and what mends it."""
    return (
        "launches are suspended, as after failed boots; once that is fixed: "
        f"aws autoscaling resume-processes --scaling-processes Launch --auto-scaling-group-name {group}"
    )


def say_launched(launched: Launched | None) -> None:
    """Print it to standard error."""
    if launched is not None:
        click.echo(launch_text(launched), err=True)
