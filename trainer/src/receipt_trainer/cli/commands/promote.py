"""`receipt-trainer serve promote`."""

from __future__ import annotations

import getpass
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from receipt_trainer.cli.options import FILE
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract.names import ENV_ARTIFACTS_BUCKET, ENV_JOBS_TABLE, ENV_RECEIPTS_TABLE
from receipt_trainer.contract.pointer import DEFAULT_NAME, Pointer, PromotedModel
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from receipt_trainer.data.receipt import Receipt
    from receipt_trainer.evaluation.label_models import ModelComparison
    from receipt_trainer.inference.reader import PackageReader
    from receipt_trainer.serving.model_cache import ModelCache
    from receipt_trainer.serving.pointer_store import PointerStore


@click.command("promote")
@click.argument("model", required=False, metavar="JOB|RUN")
@click.option("--name", metavar="NAME", default=DEFAULT_NAME, help="Of the pointer that servers follow.")
@click.option("--on", "on_file", type=FILE, metavar="FILE", help="Labelled receipts to compare on.")
@click.option("--yes", is_flag=True, help="Promote whatever speaks against it.")
@click.option("--rollback", is_flag=True, help="Put the former model in force again.")
@stack_options
def command(model: str | None, name: str, on_file: Path | None, yes: bool, rollback: bool) -> None:
    """Put a job's model in force, after a comparison with the one that is.

    JOB is a finished job of the stack, RUN a run's folder or s3://. They are compared on --on FILE, else on the stack's
    receipts of split test, else on those that both runs held out. Exit code 1: something speaks against it.
    """
    from receipt_trainer.serving.pointer_store import PointerStore

    bucket = os.environ.get(ENV_ARTIFACTS_BUCKET)
    if not bucket:
        raise UserError("the pointer is in a stack's bucket: give --stack NAME")
    store = PointerStore(bucket, name)
    if rollback == (model is not None):
        raise UserError("give JOB or RUN, or --rollback")
    if model is None:
        _roll_back(store)
        return
    from receipt_trainer.inference.reader import PackageReader
    from receipt_trainer.serving.model_cache import ModelCache
    from receipt_trainer.serving.promote import package_at

    former = store.find()
    candidate = package_at(_place(model, bucket))
    cache = ModelCache(store.uri)
    with closing(cache.lease(candidate)) as lease:
        reader = PackageReader.open(lease.folder)
        reader.verify()  # before any server has to refuse it
        if former is None:
            click.echo(f"no model was in force as '{name}': nothing to compare with")
            pointer = Pointer(name=name, current=candidate)
        else:
            _compare(former.pointer.current, candidate, reader, cache, on_file, yes=yes)
            pointer = former.pointer.followed_by(candidate)
    store.replace(pointer, former)
    click.echo(f"{candidate.version} is in force as '{name}'; servers take it within a minute or so")


def _compare(
    force: PromotedModel,
    candidate: PromotedModel,
    reader: PackageReader,
    cache: ModelCache,
    on_file: Path | None,
    *,
    yes: bool,
) -> None:
    """Show how the candidate compares with the model in force; WorldError: something speaks against it."""
    from receipt_trainer.evaluation.label_models import compare_models
    from receipt_trainer.inference.reader import PackageReader

    if force.manifest_sha256 == candidate.manifest_sha256:
        raise UserError(f"{candidate.version} is in force already")
    receipts, what = _receipts(on_file, [force, candidate])
    click.echo(f"compared on {len(receipts)} {what}")
    with closing(cache.lease(force)) as lease:
        found = compare_models(PackageReader.open(lease.folder), reader, receipts)
    if receipts:
        _show(found, force, candidate)
    objections = "; ".join(found.objections)
    if objections and not yes:
        raise WorldError(f"not promoted: {objections}; --yes promotes it all the same")
    if objections:
        click.echo(f"promoted all the same, as --yes says: {objections}")


def _roll_back(store: PointerStore) -> None:
    from receipt_trainer.serving.promote import now

    former = store.require()
    pointer = former.pointer.rolled_back(now(), getpass.getuser())
    if pointer is None:
        raise UserError(f"no model was in force as '{store.name}' before {former.pointer.current.version}")
    store.replace(pointer, former)
    click.echo(f"{pointer.current.version} is in force as '{store.name}' again, not {former.pointer.current.version}")


def _place(model: str, bucket: str) -> str:
    """URI of the package or run that is called so; a local one is uploaded."""
    from receipt_trainer.serving.promote import upload_package

    if model.startswith("s3://"):
        return model
    if Path(model).is_dir():
        return upload_package(Path(model), bucket)
    table = os.environ.get(ENV_JOBS_TABLE)
    if not table:
        raise UserError(f"{model}: no such folder, and the stack names no jobs table")
    from receipt_trainer.aws import clients
    from receipt_trainer.aws.dynamo import Table
    from receipt_trainer.jobs.rows import get_job, job_id_of

    jobs = Table(clients.dynamodb(), table)
    row = get_job(jobs, job_id_of(jobs, model))
    if row.get("status") != "SUCCEEDED" or not row.get("artifacts"):
        raise UserError(f"job {row.get('name')} is {row.get('status')}; only a job that has succeeded can be promoted")
    return str(row["artifacts"])


def _receipts(on_file: Path | None, models: list[PromotedModel]) -> tuple[list[Receipt], str]:
    """Receipts to compare on, and what they are."""
    from receipt_trainer.data.problems import ProblemLog
    from receipt_trainer.data.sources.load import TABLE, load_receipts
    from receipt_trainer.serving.promote import frozen_set, labelled_by_people, record_of

    if on_file is not None:
        loaded = load_receipts(str(on_file), ProblemLog())
        return labelled_by_people(
            loaded
        ), f"labelled receipts of {on_file}; whether a run was trained on them: not known"
    table = os.environ.get(ENV_RECEIPTS_TABLE)
    if not table:
        raise UserError("the stack names no receipts table; give receipts to compare on: --on FILE")
    records = [record_of(model) for model in models]
    for model, record in zip(models, records, strict=True):
        if record is None:
            click.echo(f"what {model.version} was trained on is not known: no receipt counts as held out", err=True)
    return frozen_set(load_receipts(TABLE, ProblemLog(), table=table), records)


def _show(found: ModelComparison, force: PromotedModel, candidate: PromotedModel) -> None:
    click.echo(f"{'F1':<16} {'in force':>9} {'candidate':>9}  difference, 95 % interval")
    for row in (found.overall, *found.labels, *found.values):
        first, second = ("-" if side.value is None else f"{side.value:.4f}" for side in (row.baseline, row.finetuned))
        interval = row.interval
        said = "" if interval is None else f"{interval.difference:+.4f}"
        if interval is not None and interval.low is not None and interval.high is not None:
            said += f"  {interval.low:+.4f} .. {interval.high:+.4f}"
        click.echo(f"{row.name:<16} {first:>9} {second:>9}  {said}")
    click.echo(f"in force: {force.version}; candidate: {candidate.version}")
    if found.gained:
        click.echo(f"only the candidate reads {', '.join(found.gained)}")
