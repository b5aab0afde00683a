"""The flags of `receipt-trainer sweep` as a sweep's definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from receipt_trainer.cli import stack
from receipt_trainer.cli.commands import submit_job
from receipt_trainer.errors import UserError

if TYPE_CHECKING:
    from receipt_trainer.config.job_file import AnyJob
    from receipt_trainer.contract.job import Family
    from receipt_trainer.sweep.definition import Definition, Method
    from receipt_trainer.sweep.search_space import Axis

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


def refuse_beside_resume(context: click.Context) -> None:
    """A stored sweep is continued as it is.

    Raises:
        UserError: a flag beside --resume says what the sweep should be.
    """
    for option in context.command.params:
        is_given = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if option.name in _DEFINING and is_given:
            raise UserError(f"--resume takes the sweep as it is stored: leave out {option.opts[0]}")


def defined(flags: dict[str, Any], *, needs_queue: bool) -> Definition:
    """The sweep that the flags ask for; every trial of a plan has been looked at.

    Raises:
        UserError: a wrong flag, file, key or value, or no queue where one is needed.
    """
    from receipt_trainer.sweep.definition import SEARCHES, Definition, base_of, check_name, default_name
    from receipt_trainer.sweep.objective import choose
    from receipt_trainer.sweep.plan import check_size, expand

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
        expand(definition)
    name = default_name(definition) if flags["name"] is None else check_name(flags["name"])
    named = definition.model_copy(update={"name": name})
    check_size(named)
    return named


def _base(flags: dict[str, Any], needs_queue: bool) -> tuple[AnyJob, str | None]:
    """The job that the trials vary, with its pool, and the URL of its queue if one is known."""
    from receipt_trainer.config.base import parse
    from receipt_trainer.config.job_file import LayoutLMJob
    from receipt_trainer.config.layoutlm import DataConfig

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
    from receipt_trainer.sweep.search_space import read_axis

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
        plan: Method = flags["plan_name"] or "grid"
        return plan
    if flags["plan_name"] is not None:
        raise UserError(f"--plan {flags['plan_name']} and --search {flags['search']} are two ways; give one of them")
    if flags["num_trials"] is None:
        raise UserError(f"--search {flags['search']} needs --trials N")
    search: Method = flags["search"]
    return search


def _seeds(text: str | None, own: int) -> tuple[int, ...]:
    from receipt_trainer.sweep.definition import MAX_SEEDS

    if text is None:
        return (own,)
    words = [word.strip() for word in text.split(",")]
    is_right = all(word.isascii() and word.isdigit() and int(word[:11]) < 2**32 for word in words)
    seeds = tuple(int(word[:11]) for word in words) if is_right else ()
    if not 1 <= len(seeds) <= MAX_SEEDS or len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {text}: must be 1 to {MAX_SEEDS} different whole numbers from 0, joined by commas")
    return seeds
