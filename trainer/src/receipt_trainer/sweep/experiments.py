"""Experiments: configurations that each change one thing against a base; where workers train them, a sweep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from receipt_trainer.config.job_file import AnyJob, JobValues, PaddleOcrVlJob, laid_over, read_job_values
from receipt_trainer.config.paddleocr_vl import VlTrainingConfig
from receipt_trainer.contract import names
from receipt_trainer.errors import UserError
from receipt_trainer.sweep.definition import Configuration, Definition, ScaleLr, base_of, default_name, short
from receipt_trainer.sweep.plan import scaled
from receipt_trainer.sweep.search_space import Axis

BASE: Final = "base"
"""Stem of the base's file in the folder."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One configuration.

    Attributes:
        changes: parameters (dotted keys) that differ from the base, each with the words that say how.
        scaled_rate: the learning rate was scaled with the batch size, from the base's.
    """

    name: str
    file: Path
    job: PaddleOcrVlJob
    changes: Mapping[str, str]
    scaled_rate: bool = False

    @property
    def digest(self) -> str:
        """Hash of all parameters: results of another configuration are not this one's."""
        return hashlib.sha256(json.dumps(parameters(self.job), sort_keys=True).encode()).hexdigest()

    @property
    def said(self) -> str:
        """The changes in words."""
        scaled = f"; learning rate scaled to {self.job.training_config.learning_rate:.3g}" if self.scaled_rate else ""
        return ("; ".join(self.changes.values()) or "nothing: the base") + scaled


def read_experiments(
    folder: Path, *, base: Path | None = None, allow_several: bool = False, scaling: ScaleLr = "none"
) -> list[Experiment]:
    """The base, then the folder's other configurations by name.

    A file is read over the base: what it does not say is as there.

    Args:
        base: its file; by default base.yaml in the folder.
        allow_several: admit files that change more than one parameter.
        scaling: multiply the base's learning rate by the factor of the documents a step (linear), or by its square
            root, in experiments that change those and not the rate.

    Raises:
        UserError: no base, a wrong file, one that changes nothing or, all such named, several things, or whose
            `hyperparameters_under_test` are not what it changes.
    """
    files = sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    base_file = base or next((path for path in files if path.stem == BASE), None)
    if base_file is None:
        raise UserError(f"{folder}: there is no {BASE}.yaml in it; put the base there, or name it with --base")
    base_values = _values(base_file)
    start = Experiment(BASE, base_file, _parsed(base_values), {})
    others = [_read(path, base_values, start.job, scaling) for path in files if path.resolve() != base_file.resolve()]
    if not others:
        raise UserError(f"{folder}: there is no configuration in it besides the base")
    if len({experiment.name for experiment in (start, *others)}) <= len(others):
        raise UserError(f"{folder}: two files have the same name")
    several = [experiment for experiment in others if len(experiment.changes) > 1]
    if several and not allow_several:
        told = "; ".join(f"{one.file.name} ({', '.join(one.changes)})" for one in several)
        raise UserError(
            f"an experiment shows what a parameter does only if it changes no other; several are changed by {told}. "
            "Split them, or give --allow-several"
        )
    return [start, *others]


def _read(path: Path, base_values: JobValues, base: PaddleOcrVlJob, scaling: ScaleLr) -> Experiment:
    if not names.is_job_name(path.stem):
        raise UserError(f"{path}: call it by 1 to 64 of A-Z a-z 0-9 . _ - and not '.' or '..'")
    own, below = _values(path), base_values.values
    # Name and purpose of the base are not those of an experiment; the recipe of its version is: one thing changes.
    training = {key: value for key, value in below["training_config"].items() if key != "experiment"}
    values = laid_over({**below, "training_config": training}, own.values)
    job = _parsed(replace(own, values=values, has_base=base_values.has_base))
    there, here = parameters(base), parameters(job)
    changes = {
        key: f"{key}: {short(_of(there, key))} -> {short(_of(here, key))}"
        for key in there | here
        if _of(there, key) != _of(here, key)
    }
    if not changes:
        raise UserError(f"{path}: it changes nothing against the base")
    _check_under_test(path, job.training_config.experiment.hyperparameters_under_test, sorted(changes))
    configs = (one.training_config for one in (job, base))
    now, before = (one.per_device_train_batch_size * one.gradient_accumulation_steps for one in configs)
    if scaling == "none" or now == before or "training.learning_rate" in changes:
        return Experiment(path.stem, path, job, changes)
    rate = min(scaled(base.training_config.learning_rate, now / before, scaling), 1.0)
    at_rate = job.training_config.model_copy(update={"learning_rate": rate})
    return Experiment(path.stem, path, job.model_copy(update={"training_config": at_rate}), changes, True)


def _values(path: Path) -> JobValues:
    found = read_job_values(path, "paddleocr-vl")
    return replace(found, values={"job_name": path.stem, **found.values})


def _parsed(values: JobValues) -> PaddleOcrVlJob:
    job = values.parse()
    if not isinstance(job, PaddleOcrVlJob):
        raise UserError(f"{values.path}: experiments are of the family paddleocr-vl, not {job.family}")
    return job


def parameters(job: PaddleOcrVlJob) -> dict[str, Any]:
    """Every parameter by the dotted key that it had in version 0.1.0, in its order: digests and descriptions of jobs
    stand for them. Name and purpose are no parameters.
    """
    training, data = job.training_config.model_dump(mode="json"), job.data_config.model_dump(mode="json")
    apart = {name: training.pop(name) for name in ("lora", "loss", "evaluation", "experiment")}
    plain = {name: value for name, value in data.items() if name != "augmentation"}
    sections = {"lora": apart["lora"], "training": training, "loss": apart["loss"]}
    sections |= {"augmentation": data["augmentation"], "evaluation": apart["evaluation"]}
    dotted = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    return {"model_name_or_path": job.model, **plain, **dotted}


def _of(values: Mapping[str, Any], key: str) -> Any:
    """A parameter's value; of one that is not written with its default, that."""
    return values[key] if key in values else VlTrainingConfig.model_fields[key.rpartition(".")[2]].default


def _check_under_test(path: Path, said: Sequence[str], changed: Sequence[str]) -> None:
    """Check that the parameters said to be tested are those that change; a key may be said without its section."""

    def is_said(key: str, name: str) -> bool:
        return key == name or key.endswith(f".{name}")

    if extra := [name for name in said if not any(is_said(key, name) for key in changed)]:
        raise UserError(f"{path}: experiment.hyperparameters_under_test names {extra[0]}, which is as in the base")
    if unsaid := [key for key in changed if said and not any(is_said(key, name) for name in said)]:
        raise UserError(f"{path}: it changes {unsaid[0]}, which experiment.hyperparameters_under_test does not name")


def definition_of(
    experiments: Sequence[Experiment], place: Callable[[PaddleOcrVlJob], tuple[AnyJob, str]]
) -> Definition:
    """The sweep whose trials are these configurations, in their order; the same ones are always the same sweep.

    Args:
        place: gives a job its pool and priority, and the URL of its queue.
    """
    placed = [place(experiment.job) for experiment in experiments]
    jobs = [base_of(job, None) for job, _ in placed]
    taken = ("model", "training_config", "data_config")
    definition = Definition(
        name="",
        base=jobs[0],
        family="paddleocr-vl",
        objective="eval_loss",
        axes=(Axis(section="experiment", key="experiment", choices=tuple(one.name for one in experiments)),),
        method="folder",
        seeds=(jobs[0]["training_config"]["seed"],),
        queue_url=placed[0][1],
        configurations=tuple(
            Configuration(name=one.name, changes=one.said, **{name: job[name] for name in taken})
            for one, job in zip(experiments, jobs, strict=True)
        ),
    )
    return definition.model_copy(update={"name": default_name(definition)})
