"""The Golden AMI: an Image Builder pipeline whose result launch templates find through an SSM parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.context import USERDATA, AwsContext, Component, named
from infra.image import document
from infra.image.policies import image_parameter_name, log_group_name, recipe_name
from infra.network.vpc import Network
from infra.roles import Roles
from infra.setting_groups import GoldenAmiSettings
from receipt_trainer.contract import baked_images

ROOT_DEVICE = "/dev/xvda"
ROOT_VOLUME_GIB = 100
"""Root volume of the image; a worker's may be larger, never smaller."""

# torch with its CUDA libraries imports without a GPU, in 8 GiB.
_INSTANCE_TYPES = ("m6i.large", "m6a.large", "m5.large")
_TEST_MINUTES = 60
_RESERVED_TAGS = ("CreatedBy", "Ec2ImageBuilderArn", "Name", "Tags")
"""Image Builder sets them itself on its instances (CreateInfrastructureConfiguration, "EC2 Image Builder API
Reference": resourceTags)."""
_FIRST_ONLY = (
    *("allowed_pattern", "arn", "data_type", "description", "insecure_value", "key_id", "overwrite", "tier", "type"),
    *("value", "value_wo", "value_wo_version"),
)
"""Inputs of the image parameter that an update of it would write: all but name, region and tags."""


@dataclass(frozen=True)
class GoldenAmiArgs:
    """Arguments of a bake; with `bake.enabled` false there is only the parameter, which follows the parent image."""

    context: AwsContext
    bake: GoldenAmiSettings
    roles: Roles
    network: Network
    wheelhouse_parameter: pulumi.Input[str]


class GoldenAmi(Component[GoldenAmiArgs]):
    """Component, recipe, infrastructure, distribution and pipeline, and the parameter that starts at the parent image.

    Components and recipes are immutable, and AWS refuses to delete one that a pipeline, a recipe or a baked image
    refers to. So Pulumi names them, anew at each replacement: a changed script makes new ones beside the old, the
    pipeline moves to them, and the old are left behind. They cost nothing; no name is ever used twice, not by a script
    that is put back to its earlier text and not by `up` after `destroy`.

    Attributes:
        image_parameter_name: SSM parameter with the image id that workers boot.
        pipeline_arn: the pipeline; None without bakes.
    """

    def __init__(self, name: str, args: GoldenAmiArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__(name, args, opts)
        self._parameter()
        self.image_parameter_name = image_parameter_name(args.context)
        self.pipeline_arn = self._pipeline().arn if args.bake.enabled else None
        self.register_outputs({"imageParameterName": self.image_parameter_name, "pipelineArn": self.pipeline_arn})

    def _parameter(self) -> None:
        parent = self._args.bake.parent_image
        first: pulumi.Input[str] = parent
        if not parent.startswith("ami-"):
            first = aws.ssm.get_parameter_output(name=parent, opts=pulumi.InvokeOptions(parent=self)).value
        aws.ssm.Parameter(
            f"{self._name}-image",
            name=image_parameter_name(self._args.context),
            type="String",
            data_type="aws:ec2:image",
            description="Image id of the workers: the parent image at first, then the newest that was baked",
            value=first,
            tags=self._args.context.tags_for("worker-image"),
            # Bakes move it. The provider writes the whole parameter, with the value that it knows, if any input but the
            # tags differs: so none may, or workers would be back at the image of the first day.
            opts=named(self, ignore_changes=list(_FIRST_ONLY) if self._args.bake.enabled else None),
        )

    def _recipe(self) -> aws.imagebuilder.ImageRecipe:
        args, parent, name = self._args, self._args.bake.parent_image, recipe_name(self._args.context)
        about: dict[str, Any] = {"version": baked_images.VERSION, "tags": args.context.tags_for("worker-image")}
        scripts = document.read_scripts(USERDATA)
        data = pulumi.Output.all(AWS_REGION=args.context.region, WHEELHOUSE_PARAMETER=args.wheelhouse_parameter).apply(
            lambda values: document.render(scripts, values)
        )
        # A replacement is created first, and pulumi never deletes it.
        left_behind = pulumi.ResourceOptions(parent=self, delete_before_replace=False, retain_on_delete=True)
        systems = ["Amazon Linux 2023"]
        component = aws.imagebuilder.Component(
            name, platform="Linux", supported_os_versions=systems, data=data, opts=left_behind, **about
        )
        root: aws.imagebuilder.ImageRecipeBlockDeviceMappingEbsArgsDict = {
            "encrypted": "true",
            "volume_type": "gp3",
            "volume_size": ROOT_VOLUME_GIB,
            "delete_on_termination": "true",
        }
        return aws.imagebuilder.ImageRecipe(
            name,
            parent_image=parent if parent.startswith("ami-") else f"ssm:{parent}",
            components=[{"component_arn": component.arn}],
            block_device_mappings=[{"device_name": ROOT_DEVICE, "ebs": root}],
            opts=left_behind,
            **about,
        )

    def _infrastructure(self) -> aws.imagebuilder.InfrastructureConfiguration:
        args = self._args
        tags = args.context.tags_for("image-build")
        return aws.imagebuilder.InfrastructureConfiguration(
            f"{self._name}-infrastructure",
            name=args.context.name("worker-image"),
            instance_profile_name=args.roles.builder_instance_profile_name,
            instance_types=list(_INSTANCE_TYPES),
            instance_metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
            subnet_id=args.network.builder_subnet_id,
            security_group_ids=[args.network.builder_security_group_id],
            terminate_instance_on_failure=True,
            resource_tags={key: value for key, value in tags.items() if key not in _RESERVED_TAGS},
            tags=args.context.tags_for("worker-image"),
            opts=named(self),
        )

    def _distribution(self) -> aws.imagebuilder.DistributionConfiguration:
        args = self._args
        return aws.imagebuilder.DistributionConfiguration(
            f"{self._name}-distribution",
            name=args.context.name("worker-image"),
            distributions=[
                {
                    "region": args.context.region,
                    "ami_distribution_configuration": {
                        "name": args.context.name("worker") + "-{{ imagebuilder:buildDate }}",
                        "description": "Worker of the receipt trainer",
                        "ami_tags": args.context.tags_for("worker-image"),
                    },
                    "ssm_parameter_configurations": [
                        {"parameter_name": image_parameter_name(args.context), "data_type": "aws:ec2:image"}
                    ],
                }
            ],
            tags=args.context.tags_for("worker-image"),
            opts=named(self),
        )

    def _pipeline(self) -> aws.imagebuilder.ImagePipeline:
        args, name = self._args, recipe_name(self._args.context)
        schedule: aws.imagebuilder.ImagePipelineScheduleArgsDict = {
            "schedule_expression": args.bake.schedule,
            "pipeline_execution_start_condition": "EXPRESSION_MATCH_AND_DEPENDENCY_UPDATES_AVAILABLE",
        }
        return aws.imagebuilder.ImagePipeline(
            f"{self._name}-pipeline",
            name=name,
            description="Bakes the workers' image",
            image_recipe_arn=self._recipe().arn,
            infrastructure_configuration_arn=self._infrastructure().arn,
            distribution_configuration_arn=self._distribution().arn,
            execution_role=args.roles.image_builder_execution_role_arn,
            image_tests_configuration={"image_tests_enabled": True, "timeout_minutes": _TEST_MINUTES},
            schedule=schedule if args.bake.schedule else None,
            # One group that has an end, instead of one without for each recipe.
            logging_configuration={
                "image_log_group_name": log_group_name(args.context),
                "pipeline_log_group_name": log_group_name(args.context),
            },
            tags=args.context.tags_for("worker-image"),
            opts=named(self),
        )
