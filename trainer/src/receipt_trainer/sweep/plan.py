"""The trials of a sweep: which values each has, and the jobs that train it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from itertools import product
from typing import Any

from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import read_job
from receipt_trainer.errors import UserError
from receipt_trainer.jobs.model import Job
from receipt_trainer.jobs.submit import new_job
from receipt_trainer.sweep.definition import MAX_TRIALS, Configuration, Definition, ScaleLr
from receipt_trainer.sweep.search_space import canonical, get_value, put_value, sections

Params = dict[str, Any]
"""A value for each axis, by its key."""


def expand(definition: Definition) -> list[Params]:
    """The trials of a plan, in an order that depends on nothing else.

    Raises:
        UserError: an axis is a range, there are too many trials, or one contradicts the configuration.
    """
    for axis in definition.axes:
        if axis.is_range:
            raise UserError(f"{axis.text()}: a range needs --search random or --search tpe; a plan needs values")
    many = num_planned(definition)
    if many > MAX_TRIALS:
        raise UserError(f"the {definition.method} plan has {many:,} trials, at most {MAX_TRIALS:,} are allowed")
    if definition.method == "one-at-a-time":
        trials = _one_at_a_time(definition)
    else:
        every = product(*(axis.choices for axis in definition.axes))
        trials = [dict(zip((axis.key for axis in definition.axes), values, strict=True)) for values in every]
    for number, params in enumerate(trials):
        try:
            overrides(definition, params)
        except UserError as error:
            raise UserError(f"trial {number} ({text_of(params)}): {error}") from None
    return trials


def num_planned(definition: Definition) -> int:
    """How many trials a plan or a search has at most."""
    if definition.num_trials is not None:
        return definition.num_trials
    if definition.method == "one-at-a-time":
        return len(_one_at_a_time(definition))
    many = 1
    for axis in definition.axes:
        many *= len(axis.choices)
    return many


def _one_at_a_time(definition: Definition) -> list[Params]:
    base = base_params(definition)
    others = [(axis.key, value) for axis in definition.axes for value in axis.choices if value != base[axis.key]]
    return [base, *({**base, key: value} for key, value in others)]


def base_params(definition: Definition) -> Params:
    """The base's value on each axis."""
    if definition.configurations:
        return {axis.key: axis.choices[0] for axis in definition.axes}
    return {axis.key: get_value(definition.base[axis.section], axis.key) for axis in definition.axes}


def text_of(params: Mapping[str, Any]) -> str:
    """For messages."""
    return ", ".join(f"{key} {value}" for key, value in params.items()) or "the base"


def overrides(definition: Definition, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The two configurations of a trial, complete, with its learning rate scaled if that was asked for.

    Raises:
        UserError: the values contradict each other, or the learning rate cannot be scaled.
    """
    configs = sections(definition.family)
    if (written := configuration_of(definition, params)) is not None:
        return {"training_config": dict(written.training_config), "data_config": dict(written.data_config)}
    found: dict[str, dict[str, Any]] = {section: deepcopy(definition.base[section]) for section in configs}
    for axis in definition.axes:
        put_value(found[axis.section], axis.key, params[axis.key])
    if definition.scale_lr != "none":
        found["training_config"]["learning_rate"] = _scaled_rate(definition, found["training_config"])
    parsed = {section: parse(config, found[section], section) for section, config in configs.items()}
    return {section: config.model_dump(mode="json") for section, config in parsed.items()}


def _scaled_rate(definition: Definition, training: Mapping[str, Any]) -> float:
    """The learning rate for this batch size."""
    size = canonical("batch_size", definition.family)
    base = definition.base["training_config"]
    rate, batch, base_batch = training["learning_rate"], training[size], base[size]
    if rate is None or batch is None or base_batch is None:
        missing = "learning_rate" if rate is None else size
        raise UserError(f"--scale-lr {definition.scale_lr} needs {missing}: set it in the training_config of --config")
    steps = "gradient_accumulation_steps"
    factor: float = (batch * training[steps]) / (base_batch * base[steps])
    return scaled(rate, factor, definition.scale_lr)


def scaled(rate: float, factor: float, rule: ScaleLr) -> float:
    """The rate for `factor` times the examples a step: linear as Goyal et al. 2017, sqrt as Krizhevsky 2014."""
    return rate * {"none": 1.0, "linear": factor, "sqrt": math.sqrt(factor)}[rule]


def configuration_of(definition: Definition, params: Mapping[str, Any]) -> Configuration | None:
    """The configuration of a folder that a trial is; None where its values are put into the base."""
    return next((one for one in definition.configurations if one.name == params.get("experiment")), None)


def seeds_of(definition: Definition, params: Mapping[str, Any]) -> tuple[int, ...]:
    """The seeds that a trial is trained with: the sweep's, or the one that its configuration has."""
    written = configuration_of(definition, params)
    return definition.seeds if written is None else (written.training_config["seed"],)


def job_of(definition: Definition, number: int, params: Mapping[str, Any], seed: int) -> Job:
    """The job that trains a trial with a seed. The same values and seed are the same job, whichever process asks."""
    if definition.queue_url is None:
        raise UserError("no queue is known: give --queue-url URL, or --stack NAME, or --outputs FILE")
    config = overrides(definition, params)
    config["training_config"]["seed"] = seed
    own = {"sweep": definition.name, "trial": str(number), "seed": str(seed)}
    values = {**definition.base, "tags": {**definition.base["tags"], **own}, **config}
    if (written := configuration_of(definition, params)) is not None:
        values |= {"job_name": written.name, "model": written.model, "description": written.changes[:500]}
    else:
        values["job_name"] = f"{definition.name}-t{number}-s{seed}"
    spec = read_job(values, "the trial's job")
    return new_job(spec, definition.queue_url, client_token=token(definition, params, seed))


def base_job(definition: Definition) -> Job:
    """The job of the base itself, as large as the last trial's; UserError: it is too large."""
    plain = definition.model_copy(update={"queue_url": definition.queue_url or "", "scale_lr": "none"})
    return job_of(plain, num_planned(definition), base_params(definition), max(definition.seeds))


def token(definition: Definition, params: Mapping[str, Any], seed: int) -> str:
    """The client token of a trial's job."""
    return json.dumps(["sweep", definition.name, dict(params), seed], sort_keys=True)
