"""The Golden AMI: an Image Builder pipeline whose result launch templates find through an SSM parameter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra.image import document as image_document
from infra.image.policies import log_group_name
from infra.naming import Naming, named
from receipt_trainer.contract import images

ROOT_DEVICE = "/dev/xvda"
ROOT_VOLUME_GIB = 100
"""Root volume of the image; a worker's may be larger, never smaller."""

# torch with its CUDA libraries imports without a GPU, in 8 GiB.
_INSTANCE_TYPES = ("m6i.large", "m6a.large", "m5.large")
_USERDATA = Path(__file__).resolve().parents[2] / "userdata"
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
    """What a bake needs.

    parent_image is an image id ("ami-...") or the name of an SSM parameter that holds one; schedule is Image Builder's
    cron, "" for bakes by hand only; with `enabled` false there is only the parameter, which follows the parent image.
    """

    naming: Naming
    region: str
    account_id: pulumi.Input[str]
    parent_image: str
    enabled: bool
    schedule: str
    builder_instance_profile_name: pulumi.Input[str]
    execution_role_arn: pulumi.Input[str]
    subnet_id: pulumi.Input[str]
    security_group_id: pulumi.Input[str]
    wheelhouse_parameter: pulumi.Input[str]


def image_parameter_name(naming: Naming) -> str:
    """Name of the SSM parameter with the workers' image id: roles need it before the component is there."""
    return f"/imagebuilder{naming.path('worker-image')}"


def recipe_name(naming: Naming) -> str:
    """Name of the pipeline, and with `-` and seven random signs behind it of each component and recipe."""
    return images.recipe_name(naming.project, naming.environment)


class GoldenAmi(pulumi.ComponentResource):
    """Component, recipe, infrastructure, distribution and pipeline, and the parameter that starts at the parent image.

    Components and recipes are immutable, and AWS refuses to delete one that a pipeline, a recipe or a baked image
    refers to. So Pulumi names them, anew at each replacement: a changed script makes new ones beside the old, the
    pipeline moves to them, and the old are left behind. They cost nothing; no name is ever used twice, not by a script
    that is put back to its earlier text and not by `up` after `destroy`.

    Attributes:
        image_parameter_name: SSM parameter with the image id that workers boot.
        image_parameter_arn: its ARN.
        pipeline_arn: the pipeline; None without bakes.
    """

    image_parameter_name: str
    image_parameter_arn: pulumi.Output[str]
    pipeline_arn: pulumi.Output[str] | None

    def __init__(self, name: str, args: GoldenAmiArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("receipts:infra:GoldenAmi", name, None, opts)
        self._name, self._args = name, args
        parameter = self._parameter()
        self.image_parameter_name = image_parameter_name(args.naming)
        self.image_parameter_arn = parameter.arn
        self.pipeline_arn = self._pipeline().arn if args.enabled else None
        self.register_outputs({"imageParameterName": self.image_parameter_name, "pipelineArn": self.pipeline_arn})

    def _parameter(self) -> aws.ssm.Parameter:
        parent = self._args.parent_image
        first: pulumi.Input[str] = parent
        if not parent.startswith("ami-"):
            first = aws.ssm.get_parameter_output(name=parent, opts=pulumi.InvokeOptions(parent=self)).value
        return aws.ssm.Parameter(
            f"{self._name}-image",
            name=image_parameter_name(self._args.naming),
            type="String",
            data_type="aws:ec2:image",
            description="Image id of the workers: the parent image at first, then the newest that was baked",
            value=first,
            tags=self._args.naming.tags_for("worker-image"),
            # Bakes move it. The provider writes the whole parameter, with the value that it knows, if any input but the
            # tags differs: so none may, or workers would be back at the image of the first day.
            opts=named(self, ignore_changes=list(_FIRST_ONLY) if self._args.enabled else None),
        )

    def _component(self) -> aws.imagebuilder.Component:
        args = self._args
        scripts = image_document.read_scripts(_USERDATA)
        document = pulumi.Output.all(
            AWS_REGION=args.region,
            WHEELHOUSE_PARAMETER=args.wheelhouse_parameter,
        ).apply(lambda values: image_document.render(scripts, values))
        return aws.imagebuilder.Component(
            recipe_name(args.naming),
            platform="Linux",
            supported_os_versions=["Amazon Linux 2023"],
            data=document,
            version=images.VERSION,
            tags=args.naming.tags_for("worker-image"),
            opts=self._left_behind(),
        )

    def _recipe(self) -> aws.imagebuilder.ImageRecipe:
        args = self._args
        parent = args.parent_image if args.parent_image.startswith("ami-") else f"ssm:{args.parent_image}"
        return aws.imagebuilder.ImageRecipe(
            recipe_name(args.naming),
            parent_image=parent,
            components=[{"component_arn": self._component().arn}],
            block_device_mappings=[
                {
                    "device_name": ROOT_DEVICE,
                    "ebs": {
                        "encrypted": "true",
                        "volume_type": "gp3",
                        "volume_size": ROOT_VOLUME_GIB,
                        "delete_on_termination": "true",
                    },
                }
            ],
            version=images.VERSION,
            tags=args.naming.tags_for("worker-image"),
            opts=self._left_behind(),
        )

    def _left_behind(self) -> pulumi.ResourceOptions:
        """What replaces it is made first, and pulumi never deletes it."""
        return pulumi.ResourceOptions(parent=self, delete_before_replace=False, retain_on_delete=True)

    def _infrastructure(self) -> aws.imagebuilder.InfrastructureConfiguration:
        args = self._args
        tags = args.naming.tags_for("image-build")
        return aws.imagebuilder.InfrastructureConfiguration(
            f"{self._name}-infrastructure",
            name=args.naming.name("worker-image"),
            instance_profile_name=args.builder_instance_profile_name,
            instance_types=list(_INSTANCE_TYPES),
            instance_metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
            subnet_id=args.subnet_id,
            security_group_ids=[args.security_group_id],
            terminate_instance_on_failure=True,
            resource_tags={key: value for key, value in tags.items() if key not in _RESERVED_TAGS},
            tags=args.naming.tags_for("worker-image"),
            opts=named(self),
        )

    def _distribution(self) -> aws.imagebuilder.DistributionConfiguration:
        args = self._args
        return aws.imagebuilder.DistributionConfiguration(
            f"{self._name}-distribution",
            name=args.naming.name("worker-image"),
            distributions=[
                {
                    "region": args.region,
                    "ami_distribution_configuration": {
                        "name": args.naming.name("worker") + "-{{ imagebuilder:buildDate }}",
                        "description": "Worker of the receipt trainer",
                        "ami_tags": args.naming.tags_for("worker-image"),
                    },
                    "ssm_parameter_configurations": [
                        {"parameter_name": image_parameter_name(args.naming), "data_type": "aws:ec2:image"}
                    ],
                }
            ],
            tags=args.naming.tags_for("worker-image"),
            opts=named(self),
        )

    def _pipeline(self) -> aws.imagebuilder.ImagePipeline:
        args, name = self._args, recipe_name(self._args.naming)
        schedule: aws.imagebuilder.ImagePipelineScheduleArgsDict = {
            "schedule_expression": args.schedule,
            "pipeline_execution_start_condition": "EXPRESSION_MATCH_AND_DEPENDENCY_UPDATES_AVAILABLE",
        }
        return aws.imagebuilder.ImagePipeline(
            f"{self._name}-pipeline",
            name=name,
            description="Bakes the workers' image",
            image_recipe_arn=self._recipe().arn,
            infrastructure_configuration_arn=self._infrastructure().arn,
            distribution_configuration_arn=self._distribution().arn,
            execution_role=args.execution_role_arn,
            image_tests_configuration={"image_tests_enabled": True, "timeout_minutes": _TEST_MINUTES},
            schedule=schedule if args.schedule else None,
            # One group that has an end, instead of one without for each recipe.
            logging_configuration={
                "image_log_group_name": log_group_name(name),
                "pipeline_log_group_name": log_group_name(name),
            },
            tags=args.naming.tags_for("worker-image"),
            opts=named(self),
        )
