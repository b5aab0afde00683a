"""Which pool a job goes to, and the hyperparameters that the stack adds to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from receipt_trainer.aws.clients import aws_faults, error_code
from receipt_trainer.config.base import parse
from receipt_trainer.config.job_file import AnyJob, PaddleOcrVlJob
from receipt_trainer.config.layoutlm import DataConfig, TrainingConfig
from receipt_trainer.config.paddleocr_vl import VlDataConfig, VlTrainingConfig
from receipt_trainer.contract.job import Resources
from receipt_trainer.contract.outputs import POOL_NAMES, PoolName
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_ssm.client import SSMClient


def choose_pool(resources: Resources, pools: Collection[PoolName], named: PoolName | None = None) -> PoolName:
    """The pool of a job: the `named` one, else by its need of a GPU, else gpu where there is one, else the only one.

    Raises:
        UserError: the stack has no such pool.
    """
    wanted: PoolName | None = named or resources.pool
    if wanted is None and resources.gpu is not None:
        wanted = "gpu" if resources.gpu else "cpu"
    if wanted is None:
        return next(pool for pool in POOL_NAMES if pool in pools)
    if wanted not in pools:
        there = ", ".join(sorted(pools))
        raise UserError(f"the stack has no pool '{wanted}' (it has: {there}); give --pool, or set resources in the job")
    return wanted


def resolve(spec: AnyJob, defaults: Mapping[str, Any] | None = None) -> AnyJob:
    """The job with every hyperparameter in it: its own, else the stack's, else the trainer's.

    `defaults` are TrainingConfig fields of the stack; they say nothing to a job of the second model family.

    Raises:
        UserError: invalid defaults, or some that contradict the job.
    """
    if isinstance(spec, PaddleOcrVlJob):
        vl_training = VlTrainingConfig.model_validate(spec.training_config.model_dump())
        vl_data = VlDataConfig.model_validate(spec.data_config.model_dump())
        return spec.model_copy(update={"training_config": vl_training, "data_config": vl_data})
    own, below = spec.training_config.model_dump(exclude_unset=True), dict(defaults or {})
    parse(TrainingConfig, below, "the stack's training defaults")
    if any(own.get(name) is not None for name in ("precision", "fp16")):
        below.pop("precision", None)  # two ways to say one thing: the job's own way stands alone
        below.pop("fp16", None)
    training = parse(TrainingConfig, {**below, **own}, "training_config with the stack's defaults")
    complete = TrainingConfig.model_validate(training.model_dump())
    data = DataConfig.model_validate(spec.data_config.model_dump())
    return spec.model_copy(update={"training_config": complete, "data_config": data})


def read_training_defaults(client: SSMClient, parameter: str) -> dict[str, Any]:
    """The hyperparameters in a stack's SSM parameter; UserError if it is not there, or holds no JSON object."""
    doing = f"read the training defaults in SSM parameter {parameter}"
    try:
        with aws_faults(doing):
            text = client.get_parameter(Name=parameter)["Parameter"].get("Value", "")
    except WorldError as error:
        if error_code(error.__cause__) == "ParameterNotFound":
            raise UserError(f"{doing}: there is no such parameter; is the stack up, and the region right?") from error
        raise
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{doing}: it does not hold a JSON object; `pulumi up` writes it again")
    return values
