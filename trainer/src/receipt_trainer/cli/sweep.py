"""`receipt-trainer sweep`: many jobs that differ in chosen hyperparameters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from receipt_trainer.cli import stack
from receipt_trainer.cli.render import tables
from receipt_trainer.cli.stack import stack_options
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from receipt_trainer.sweep.controller import Driver
    from receipt_trainer.sweep.definition import Definition
    from receipt_trainer.sweep.trial import Trial


@click.command("sweep")
@stack_options
@click.option("--config", "job_file", type=click.Path(path_type=Path), help="Job file (YAML) that the trials vary.")
@click.option("--name", metavar="NAME", help="Of the sweep; by default one that follows from all that is asked.")
@click.option("--resume", metavar="NAME", help="Continue this sweep as it is stored, instead of defining one.")
@click.option("--learning-rates", metavar="LIST", help="Values joined by commas, or LOW:HIGH for a search.")
@click.option("--batch-sizes", metavar="LIST", help="The same for the batch size.")
@click.option("--epochs", metavar="LIST", help="The same for the number of epochs.")
@click.option("--warmup-ratios", metavar="LIST", help="The same for the share of warm-up steps.")
@click.option("--set", "sets", metavar="KEY=LIST", multiple=True, help="The same for any field, such as lora.r.")
@click.option("--max-samples", type=click.IntRange(1), metavar="N", help="Training receipts of every trial at most.")
@click.option("--seeds", metavar="LIST", help="Train each trial once with each seed; by default the job's one seed.")
@click.option(
    "--plan",
    "plan_name",
    type=click.Choice(["grid", "one-at-a-time"]),
    help="All combinations (the default), or the base and each other value alone.",
)
@click.option(
    "--search",
    type=click.Choice(["grid", "random", "tpe"]),
    default="grid",
    show_default=True,
    help="The plan's trials, or --trials N proposed by Optuna.",
)
@click.option("--trials", "num_trials", type=click.IntRange(1, 1000), metavar="N", help="Trials of a search.")
@click.option(
    "--sampler-seed", type=click.IntRange(0), default=0, show_default=True, help="Another one searches elsewhere."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100),
    default=4,
    show_default=True,
    help="Trials of tpe in the queue at once.",
)
@click.option(
    "--objective",
    type=click.Choice(["f1", "eval_loss", "field_accuracy", "teds"]),
    help="What trials are ranked by; by default f1, and eval_loss (lower is better) for PaddleOCR-VL.",
)
@click.option("--prune", is_flag=True, help="Cancel trials whose scores are worse than the median of complete ones.")
@click.option(
    "--scale-lr",
    type=click.Choice(["none", "linear", "sqrt"]),
    default="none",
    show_default=True,
    help="Learning rates are those of the base's batch size; scale them with each trial's.",
)
@click.option("--queue-url", metavar="URL", help="FIFO queue; by default that of pool and priority in the stack.")
@click.option("--priority", type=click.Choice(PRIORITIES), help="Instead of the job file's; workers poll high first.")
@click.option("--pool", type=click.Choice(POOL_NAMES), help="Instead of what the job file's resources ask for.")
@click.option("--max-hours", type=tables.ABOVE_0, metavar="H", help="Instance hours of all trials together at most.")
@click.option("--max-usd", type=tables.ABOVE_0, metavar="USD", help="The same in US dollars.")
@click.option("--jobs-table", envvar=names.ENV_JOBS_TABLE, show_envvar=True, help="Name of the jobs table.")
@click.option("--monitor", is_flag=True, help="Follow the sweep until all trials have ended.")
@click.option(
    "--monitor-timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=86400.0,
    show_default=True,
    metavar="S",
    help="Seconds to follow at most; then exit code 1.",
)
@click.option("--dry-run", is_flag=True, help="Print the trials; store and queue nothing.")
@tables.json_option
@click.pass_context
def command(context: click.Context, /, jobs_table: str | None, dry_run: bool, as_json: bool, **flags: Any) -> None:
    """Train many jobs that differ in chosen hyperparameters, and compare them.

    Running the same command again continues the sweep: no trial is lost, none is trained twice.
    """
    from receipt_trainer.cli import sweep_define

    if flags["resume"] is not None:
        sweep_define.refuse_beside_resume(context)
    if dry_run and flags["resume"] is None:
        from receipt_trainer.cli import sweep_show

        definition = sweep_define.defined(flags, needs_queue=False)
        sweep_show.print_plan(definition, as_json)
        _say_expected(definition, jobs_table or os.environ.get(names.ENV_JOBS_TABLE), as_json, flags)
        return
    driver = _driver(flags, jobs_table)
    if dry_run:
        from receipt_trainer.cli import sweep_show

        sweep_show.print_plan(driver.definition, as_json)
        return
    if flags["resume"] is None:
        _say_expected(driver.definition, jobs_table or os.environ.get(names.ENV_JOBS_TABLE), as_json, flags)
    try:
        _run(driver, flags, as_json)
    except KeyboardInterrupt:
        click.echo(f"\nstopped; nothing is lost. Go on with: {_resume(driver.definition)}", err=True)
        raise click.exceptions.Exit(130) from None


def _driver(flags: dict[str, Any], jobs_table: str | None) -> Driver:
    """The sweep, ready to be driven; nothing is stored yet.

    Raises:
        UserError: a wrong flag, no such sweep, queue or table.
    """
    from dataclasses import replace
    from functools import cache

    from receipt_trainer.aws import clients
    from receipt_trainer.cli import forecast, sweep_define
    from receipt_trainer.errors import UserError
    from receipt_trainer.jobs.queue import SqsQueue
    from receipt_trainer.jobs.repository import JobTable
    from receipt_trainer.jobs.submit import jobs_table_of_environment
    from receipt_trainer.sweep.collect import Observer
    from receipt_trainer.sweep.controller import Driver
    from receipt_trainer.sweep.definition import SEARCHES
    from receipt_trainer.sweep.optuna_adapter import check_optuna
    from receipt_trainer.sweep.store import SweepTable

    table, client = jobs_table or jobs_table_of_environment(), clients.dynamodb()
    sweeps = SweepTable(client, table)
    definition = sweeps.get(flags["resume"]) if flags["resume"] else sweep_define.defined(flags, needs_queue=True)
    if definition.method in SEARCHES or definition.prune:
        check_optuna()
    if definition.queue_url is None:
        raise UserError(f"sweep '{definition.name}' is stored without a queue")
    queue = SqsQueue(clients.sqs(), definition.queue_url)
    queue.check()
    observer = Observer(client, table, cache(clients.s3), definition.goal)
    driver = Driver(definition, sweeps, JobTable(client, table), queue, observer, flags["concurrency"])
    driver.launch = _launcher(definition, table)
    foresee = forecast.forecaster(definition.base["resources"]["pool"], table)
    if foresee is not None:
        driver.expect = lambda job: foresee(job.spec).put_into(job)
    if flags["max_usd"] is not None or definition.base.get("max_usd") is not None:
        expect, prices = driver.expect, cache(forecast.list_prices)
        driver.expect = lambda job: replace(expect(job), list_prices=prices(job.pool))
    return driver


def _launcher(definition: Definition, table: str) -> Callable[[Sequence[str]], None]:
    """Asks the sweep's pool for instances; what comes of it is said once."""
    from receipt_trainer.cli import launch

    pool, said = definition.base["resources"]["pool"], set[str]()

    def ask(job_ids: Sequence[str]) -> None:
        launched = launch.launch(pool, table, job_ids)
        if launched is not None and (line := launch.text(launched)) not in said:
            said.add(line)
            click.echo(line, err=True)

    return ask


def _say_expected(definition: Definition, table: str | None, as_json: bool, flags: dict[str, Any]) -> None:
    """What all jobs together will take; of a search, whose values are not chosen yet, as many of the base."""
    from receipt_trainer.cli import forecast
    from receipt_trainer.sweep import plan
    from receipt_trainer.sweep.definition import SEARCHES

    if as_json or stack.outputs() is None:
        return
    is_search = definition.method in SEARCHES
    trials = [{}] * plan.num_planned(definition) if is_search else plan.expand(definition)
    specs = [plan.job_of(definition, number, params, definition.seeds[0]).spec for number, params in enumerate(trials)]
    found = forecast.forecasts(specs, definition.base["resources"]["pool"], table)
    if found:
        line = forecast.sum_text([one for one in found for _ in definition.seeds])
        click.echo(f"expected: {'by the base, ' if is_search else ''}{line}", err=True)
        many = len(definition.seeds)
        seconds = sum(one.estimate.seconds or 0.0 for one in found) * many
        usd = sum(one.usd or 0.0 for one in found) * many
        for line in forecast.limit_lines(seconds, usd, flags["max_hours"], flags["max_usd"]):
            click.echo(f"warning: {line}", err=True)


def _run(driver: Driver, flags: dict[str, Any], as_json: bool) -> None:
    from receipt_trainer.cli import sweep_show
    from receipt_trainer.cli.sweep_screen import Screen
    from receipt_trainer.jobs.limits import Limits
    from receipt_trainer.sweep.monitor import follow

    limits = Limits(flags["max_hours"], flags["max_usd"])
    driver.sweeps.define(driver.definition, limits)
    limits = driver.sweeps.limits(driver.definition.name)  # those given earlier among them
    if not flags["monitor"]:
        trials = driver.advance()
        if as_json:
            sweep_show.print_json(driver.definition, trials, limits)
        _say_queued(driver, trials)
        _say_spent(driver)
        return
    with Screen(driver.definition, driver.num_trials) as screen:
        trials, is_done = follow(driver, screen.show, timeout_s=flags["timeout_s"])
    sweep_show.print_all(driver.definition, trials, limits, as_json)
    sweep_show.complain(driver.observer.complaint)
    _say_spent(driver)
    if not is_done:
        click.echo(f"{flags['timeout_s']:g} s are over. {_left(driver.definition)}", err=True)
        raise click.exceptions.Exit(1)


def _say_spent(driver: Driver) -> None:
    if driver.spent is not None:
        click.echo(driver.spent, err=True)


def _say_queued(driver: Driver, trials: list[Trial]) -> None:
    from receipt_trainer.sweep.trial import ENDED

    definition = driver.definition
    ended = sum(trial.state in ENDED for trial in trials)
    click.echo(
        f"sweep '{definition.name}': {len(trials)} of {driver.num_trials} trials are queued, {ended} have ended",
        err=True,
    )
    click.echo(f"look at it with: receipt-trainer sweep-status{stack.given()} {definition.name}", err=True)
    if definition.is_adaptive and not driver.is_done(trials):
        click.echo(f"it goes on only while somebody follows it: {_resume(definition)}", err=True)
    elif not driver.is_done(trials):
        click.echo(f"follow it with: {_resume(definition)}", err=True)


def _left(definition: Definition) -> str:
    if definition.is_adaptive:
        return f"The queued jobs go on; what follows from them waits for: {_resume(definition)}"
    return f"The sweep goes on in the cloud; follow it again with: {_resume(definition)}"


def _resume(definition: Definition) -> str:
    return f"receipt-trainer sweep{stack.given()} --resume {definition.name} --monitor"
