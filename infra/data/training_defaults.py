"""The default hyperparameters: one SSM parameter, so that editing them changes no instance and no template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component, named


@dataclass(frozen=True)
class TrainingDefaultsArgs:
    """`training`: what the configuration sets, as JSON values; what it leaves out has the trainer's own default."""

    context: AwsContext
    training: Mapping[str, Any]


class TrainingDefaults(Component[TrainingDefaultsArgs]):
    """The parameter that `submit-job` merges into every job.

    Attributes:
        parameter_name, parameter_arn: of the SSM parameter; its value is a JSON object, at most 4 KB.
    """

    def __init__(self, name: str, args: TrainingDefaultsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        parameter = aws.ssm.Parameter(
            f"{name}-parameter",
            name=args.context.path("training-defaults"),
            type="String",
            description="Default hyperparameters; a job's own come before them",
            value=json.dumps(dict(args.training), sort_keys=True),
            tags=args.context.tags_for("training-defaults"),
            opts=named(self),
        )
        self.parameter_name, self.parameter_arn = parameter.name, parameter.arn
        self.register_outputs({"parameter_name": parameter.name, "parameter_arn": parameter.arn})
