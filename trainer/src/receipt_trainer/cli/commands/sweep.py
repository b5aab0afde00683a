"""`receipt-trainer sweep` and `sweep-status`: many jobs that differ in chosen hyperparameters, driven and compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from receipt_trainer.aws import clients
from receipt_trainer.cli import options, queueing, stack
from receipt_trainer.cli.commands import submit_job
from receipt_trainer.cli.render import sweep as shown
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import AnyJob, LayoutLMJob, read_job
from receipt_trainer.config.layoutlm import DataConfig
from receipt_trainer.contract import names
from receipt_trainer.contract.job import Family
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.limits import Limits
from receipt_trainer.jobs.queue import SqsQueue
from receipt_trainer.jobs.repository import JobTable
from receipt_trainer.jobs.submit import jobs_table_of_environment
from receipt_trainer.sweep import plan
from receipt_trainer.sweep.collect import Observer
from receipt_trainer.sweep.definition import (
    MAX_SEEDS,
    SEARCHES,
    Definition,
    Method,
    base_of,
    check_name,
    choose,
    default_name,
    require_extra,
)
from receipt_trainer.sweep.search_space import Axis, read_axis
from receipt_trainer.sweep.store import SweepTable
from receipt_trainer.sweep.trial import ENDED, Trial

if TYPE_CHECKING:
    from receipt_trainer.sweep.controller import Driver

_KEYS: Final = {
    "learning_rates": "learning_rate",
    "batch_sizes": "batch_size",
    "epochs": "num_epochs",
    "warmup_ratios": "warmup_ratio",
}
"""The field that each flag of its own stands for."""
_DEFINING: Final = (
    *("job_file", "name", *_KEYS, "sets", "max_samples", "seeds", "plan_name", "search", "num_trials"),
    *("sampler_seed", "objective", "prune", "scale_lr", "queue_url", "priority", "pool"),
)


@click.command("sweep")
@stack.stack_options
@click.option("--config", "job_file", type=options.PATH, help="Job file (YAML) that the trials vary.")
@click.option("--name", metavar="NAME", help="Name of the sweep; by default it follows from its definition.")
@click.option("--resume", metavar="NAME", help="Continue this sweep as it is stored, instead of defining one.")
@click.option("--learning-rates", metavar="LIST", help="Values joined by commas, or LOW:HIGH for a search.")
@click.option("--batch-sizes", metavar="LIST", help="The same for the batch size.")
@click.option("--epochs", metavar="LIST", help="The same for the number of epochs.")
@click.option("--warmup-ratios", metavar="LIST", help="The same for the share of warm-up steps.")
@click.option("--set", "sets", metavar="KEY=LIST", multiple=True, help="The same for any field, such as lora.r.")
@click.option("--max-samples", type=click.IntRange(1), metavar="N", help="Training receipts of every trial at most.")
@click.option("--seeds", metavar="LIST", help="Train each trial once with each seed; by default the job's one seed.")
@options.choice_option(
    *("--plan", "plan_name"),
    of=("grid", "one-at-a-time"),
    text="All combinations (the default), or the base and each other value alone.",
)
@options.choice_option(
    "--search",
    of=("grid", "random", "tpe"),
    default="grid",
    text="The plan's trials, or --trials N proposed by Optuna.",
)
@click.option("--trials", "num_trials", type=click.IntRange(1, 1000), metavar="N", help="Trials of a search.")
@options.count_option("--sampler-seed", low=0, default=0, text="Another one searches elsewhere.")
@options.count_option("--concurrency", high=100, default=4, text="Trials of tpe in the queue at once.")
@options.choice_option(
    "--objective",
    of=("f1", "eval_loss", "field_accuracy", "teds"),
    text="Metric that ranks the trials; by default f1, or eval_loss (lower is better) for PaddleOCR-VL.",
)
@click.option("--prune", is_flag=True, help="Cancel trials whose scores are worse than the median of complete ones.")
@options.choice_option(
    "--scale-lr",
    of=("none", "linear", "sqrt"),
    default="none",
    text="Learning rates are those of the base's batch size; scale them with each trial's.",
)
@options.queue_options
@click.option("--max-hours", type=options.ABOVE_0, metavar="H", help="Instance hours of all trials together at most.")
@click.option("--max-usd", type=options.ABOVE_0, metavar="USD", help="The same in US dollars.")
@click.option("--monitor", is_flag=True, help="Follow the sweep until all trials have ended.")
@options.timeout_option("follow at most; then exit code 1", "--monitor-timeout")
@click.option("--dry-run", is_flag=True, help="Print the trials; store and queue nothing.")
@options.json_option
@click.pass_context
def sweep_command(
    context: click.Context, /, jobs_table: str | None, dry_run: bool, as_json: bool, **flags: Any
) -> None:
    """Train many jobs that differ in chosen hyperparameters, and compare them.

    Running the same command again continues the sweep: no trial is lost, none is trained twice.
    """
    name, table = flags["resume"], jobs_table or os.environ.get(names.ENV_JOBS_TABLE)
    for option in context.command.params if name is not None else ():
        is_given = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if option.name in _DEFINING and is_given:
            raise UserError(f"--resume takes the sweep as it is stored: leave out {option.opts[0]}")
    if dry_run and name is None:
        definition = defined(flags, needs_queue=False)
        shown.print_plan(definition, as_json)
        _say_expected(definition, table, as_json, flags | {"dry_run": True})
        return
    driver = driver_of(
        lambda sweeps: defined(flags, needs_queue=True) if name is None else sweeps.get(name),
        jobs_table,
        concurrency=flags["concurrency"],
        is_priced=flags["max_usd"] is not None,
    )
    if dry_run:
        shown.print_plan(driver.definition, as_json)
        return
    if name is None:
        _say_expected(driver.definition, table, as_json, flags | {"dry_run": False})
    try:
        _run(driver, flags, as_json)
    except KeyboardInterrupt:
        click.echo(f"\nstopped; nothing is lost. Continue with: {_resume(driver.definition)}", err=True)
        raise click.exceptions.Exit(130) from None


@click.command("sweep-status")
@stack.stack_options
@options.jobs_table_option
@click.argument("name", required=False)
@options.json_option
def status_command(table: str, name: str | None, as_json: bool) -> None:
    """Compare the trials of the sweep NAME, best first; without NAME, list the sweeps.

    It only reads; a search is continued by `receipt-trainer sweep --resume NAME --monitor`.
    """
    client = clients.dynamodb()
    sweeps = SweepTable(client, table)
    if name is None:
        shown.print_names(sweeps.names(), as_json)
        return
    require_extra()
    from receipt_trainer.sweep.study import SweepStudy

    definition = sweeps.get(name)
    observer = Observer(sweeps.table, cache(clients.s3), definition.goal)
    trials = observer.look(SweepStudy(definition, sweeps).trials())
    shown.print_all(definition, trials, sweeps.limits(name), as_json)
    shown.complain(observer.complaint)


def defined(flags: dict[str, Any], *, needs_queue: bool) -> Definition:
    """The sweep that the flags ask for; every trial of a plan has been looked at.

    Raises:
        UserError: a wrong flag, file, key or value, or no queue where one is needed.
    """
    spec, url = _base(flags, needs_queue)
    family = spec.family
    base = base_of(spec, submit_job.training_defaults())
    definition = Definition(
        name="",
        base=base,
        family=family,
        objective=choose(family, flags["objective"], prune=flags["prune"]),
        axes=_axes(flags, family),
        method=_method(flags),
        num_trials=flags["num_trials"],
        seeds=_seeds(flags["seeds"], base["training_config"]["seed"]),
        prune=flags["prune"],
        scale_lr=flags["scale_lr"],
        sampler_seed=flags["sampler_seed"],
        queue_url=url,
    )
    if not definition.goal.is_curve and not base["training_config"]["evaluation"]["enabled"]:
        raise UserError(f"--objective {definition.objective}: evaluation.enabled is false, so nothing measures it")
    if not definition.axes and (definition.method in SEARCHES or len(definition.seeds) < 2):
        raise UserError("nothing to vary: give --learning-rates or another list, --set KEY=LIST, or several --seeds")
    if definition.method not in SEARCHES:
        plan.expand(definition)
    name = default_name(definition) if flags["name"] is None else check_name(flags["name"])
    named = definition.model_copy(update={"name": name})
    plan.base_job(named)  # whether it can be stored is seen before anything is
    return named


def _base(flags: dict[str, Any], needs_queue: bool) -> tuple[AnyJob, str | None]:
    """The job that the trials vary, with its pool, and the URL of its queue if one is known."""
    spec: AnyJob
    if flags["job_file"] is None:
        spec = LayoutLMJob(job_name="sweep", priority=flags["priority"] or "normal")
    else:
        spec = submit_job.asked_spec(flags["job_file"], flags["priority"], None, "sweep")
    spec = submit_job.with_limits(spec, None, None)  # of each job; the flags bound all trials together
    if flags["max_samples"] is not None:
        if not isinstance(spec, LayoutLMJob):
            raise UserError("--max-samples: jobs of this family train on all documents of their dataset_path")
        given = {**spec.data_config.model_dump(exclude_unset=True), "max_samples": flags["max_samples"]}
        spec = spec.model_copy(update={"data_config": parse(DataConfig, given, "--max-samples")})
    try:
        return submit_job.place(spec, flags["queue_url"], flags["pool"])
    except UserError:
        if needs_queue or stack.outputs() is not None:
            raise
        return spec, None  # a dry run says that none is known


def _axes(flags: dict[str, Any], family: Family) -> tuple[Axis, ...]:
    found = []
    for flag, key in _KEYS.items():
        if flags[flag] is not None:
            found.append(read_axis(f"--{flag.replace('_', '-')}", key, flags[flag], family))
    for text in flags["sets"]:
        key, equals, values = text.partition("=")
        if not equals:
            raise UserError(f"--set {text}: must be KEY=VALUE,VALUE,... or KEY=LOW:HIGH")
        found.append(read_axis("--set", key.strip(), values, family))
    keys = [axis.key for axis in found]
    twice = next((key for at, key in enumerate(keys) if key in keys[:at]), None)
    if twice is not None:
        raise UserError(f"{twice} is varied twice; give all of its values in one place")
    if flags["max_samples"] is not None and "max_samples" in keys:
        raise UserError("--max-samples fixes what --set max_samples varies; give one of them")
    return tuple(found)


def _method(flags: dict[str, Any]) -> Method:
    if flags["search"] == "grid":
        if flags["num_trials"] is not None:
            raise UserError("--trials counts what --search random or tpe proposes; a plan has its own number")
        planned: Method = flags["plan_name"] or "grid"
        return planned
    if flags["plan_name"] is not None:
        raise UserError(f"--plan {flags['plan_name']} and --search {flags['search']} are two ways; give one of them")
    if flags["num_trials"] is None:
        raise UserError(f"--search {flags['search']} needs --trials N")
    search: Method = flags["search"]
    return search


def _seeds(text: str | None, own: int) -> tuple[int, ...]:
    if text is None:
        return (own,)
    words = [word.strip() for word in text.split(",")]
    is_right = all(word.isascii() and word.isdigit() and int(word[:11]) < 2**32 for word in words)
    seeds = tuple(int(word[:11]) for word in words) if is_right else ()
    if not 1 <= len(seeds) <= MAX_SEEDS or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text}: must be 1 to {MAX_SEEDS} different whole numbers from 0, joined by commas")
    return seeds


def driver_of(
    find: Callable[[SweepTable], Definition], jobs_table: str | None, *, concurrency: int = 4, is_priced: bool = False
) -> Driver:
    """The sweep that `find` gives, ready to be driven; nothing is stored yet.

    Args:
        is_priced: whether its jobs have to know list prices, for a limit in dollars.

    Raises:
        UserError: a wrong flag, no such sweep, queue or table, or Optuna is missing.
    """
    require_extra()
    from receipt_trainer.sweep.controller import Driver

    table, client = jobs_table or jobs_table_of_environment(), clients.dynamodb()
    sweeps = SweepTable(client, table)
    definition = find(sweeps)
    if definition.queue_url is None:
        raise UserError(f"sweep '{definition.name}' is stored without a queue")
    queue = SqsQueue(clients.sqs(), definition.queue_url)
    queue.check()
    observer = Observer(sweeps.table, cache(clients.s3), definition.goal)
    driver = Driver(definition, sweeps, JobTable(client, table), queue, observer, concurrency)
    pool, said = definition.base["resources"]["pool"], set[str]()

    def ask(job_ids: Sequence[str]) -> None:
        """What comes of it is said once."""
        launched = queueing.launch(pool, table, job_ids)
        if launched is not None and (line := queueing.launch_text(launched)) not in said:
            said.add(line)
            click.echo(line, err=True)

    driver.launch = ask
    foresee = queueing.forecaster(pool, table)
    if foresee is not None:
        driver.expect = lambda job: foresee(job.spec).put_into(job)
    if is_priced or definition.base.get("max_usd") is not None:
        expect, prices = driver.expect, cache(queueing.list_prices)
        driver.expect = lambda job: replace(expect(job), list_prices=prices(job.pool))
    return driver


def _say_expected(definition: Definition, table: str | None, as_json: bool, flags: dict[str, Any]) -> None:
    """Estimate of all jobs together; for a search, whose values are not chosen yet, as many jobs of the base."""
    if as_json or stack.outputs() is None:
        return
    is_search, seeds = definition.method in SEARCHES, definition.seeds
    if is_search:
        specs = [plan.base_job(definition).spec] * plan.num_planned(definition)
    else:
        trials = enumerate(plan.expand(definition))
        specs = [plan.job_of(definition, number, params, seeds[0]).spec for number, params in trials]
    found = queueing.forecasts(specs, definition.base["resources"]["pool"], table)
    if found:
        every = [one for one in found for _ in seeds]
        click.echo(f"expected: {'by the base, ' if is_search else ''}{queueing.sum_text(every)}", err=True)
        seconds, usd = sum(one.estimate.seconds or 0.0 for one in every), sum(one.usd or 0.0 for one in every)
        for line in queueing.limit_lines(seconds, usd, flags["max_hours"], flags["max_usd"]):
            click.echo(f"warning: {line}", err=True)
    base = read_job(plan.base_job(definition).spec, f"sweep {definition.name}")
    queueing.say_warnings(queueing.warnings(base, dry_run=flags["dry_run"]))


def _run(driver: Driver, flags: dict[str, Any], as_json: bool) -> None:
    from receipt_trainer.sweep.controller import follow

    definition = driver.definition
    driver.sweeps.define(definition, Limits(flags["max_hours"], flags["max_usd"]))
    limits = driver.sweeps.limits(definition.name)  # those given earlier among them
    is_done = True
    if flags["monitor"]:
        with shown.SweepScreen(definition, driver.num_trials) as screen:
            trials, is_done = follow(driver, screen.show, timeout_s=flags["timeout_s"])
        shown.print_all(definition, trials, limits, as_json)
        shown.complain(driver.observer.complaint)
    else:
        trials = driver.advance()
        if as_json:
            shown.print_json(definition, trials, limits)
        _say_queued(driver, trials)
    if driver.spent is not None:
        click.echo(driver.spent, err=True)
    if not is_done:
        left = "The sweep continues in the cloud; follow it again with"
        if definition.is_adaptive:
            left = "The queued jobs continue; the trials that depend on them wait for"
        click.echo(f"{flags['timeout_s']:g} s are over. {left}: {_resume(definition)}", err=True)
        raise click.exceptions.Exit(1)


def _say_queued(driver: Driver, trials: list[Trial]) -> None:
    definition = driver.definition
    ended = sum(trial.state in ENDED for trial in trials)
    lines = [
        f"sweep '{definition.name}': {len(trials)} of {driver.num_trials} trials are queued, {ended} have ended",
        f"look at it with: receipt-trainer sweep-status{stack.given()} {definition.name}",
    ]
    if not driver.is_done(trials):
        how = "it continues only while it is followed" if definition.is_adaptive else "follow it with"
        lines.append(f"{how}: {_resume(definition)}")
    click.echo("\n".join(lines), err=True)


def _resume(definition: Definition) -> str:
    return f"receipt-trainer sweep{stack.given()} --resume {definition.name} --monitor"
