"""The Golden AMI: an Image Builder pipeline whose result launch templates find through an SSM parameter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra import image_document
from infra.naming import Naming

ROOT_DEVICE = "/dev/xvda"
ROOT_VOLUME_GIB = 100
"""Root volume of the image; a worker's may be larger, never smaller."""

# torch with its CUDA libraries imports without a GPU, in 8 GiB.
_INSTANCE_TYPES = ("m6i.large", "m6a.large", "m5.large")
_USERDATA = Path(__file__).resolve().parents[1] / "userdata"
_TEST_MINUTES = 60


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
    wheels_bucket: pulumi.Input[str]
    wheelhouse_prefix: pulumi.Input[str]
    wheelhouse_hash: pulumi.Input[str]


def image_parameter_name(naming: Naming) -> str:
    """Name of the SSM parameter with the workers' image id: roles need it before the component is there."""
    return f"/imagebuilder{naming.path('worker-image')}"


def recipe_name(naming: Naming) -> str:
    """Name of component, recipe and pipeline; Image Builder logs to the group `/aws/imagebuilder/<recipe name>`."""
    return naming.name("worker")


class GoldenAmi(pulumi.ComponentResource):
    """Component, recipe, infrastructure, distribution and pipeline, and the parameter that starts at the parent image.

    Components and recipes are immutable: both carry a version that follows from their content, so that a change is a
    new version beside the old one, and the same content the same version.
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
            # Bakes move it.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["value"] if self._args.enabled else None),
        )

    def _component(self) -> aws.imagebuilder.Component:
        args, name = self._args, recipe_name(self._args.naming)
        scripts = image_document.read_scripts(_USERDATA)
        document = pulumi.Output.all(
            AWS_REGION=args.region,
            WHEELS_BUCKET=args.wheels_bucket,
            WHEELHOUSE_PREFIX=args.wheelhouse_prefix,
            WHEELHOUSE_HASH=args.wheelhouse_hash,
        ).apply(lambda values: image_document.render(scripts, values))
        return aws.imagebuilder.Component(
            f"{self._name}-component",
            name=name,
            platform="Linux",
            supported_os_versions=["Amazon Linux 2023"],
            data=document,
            version=document.apply(lambda text: image_document.semantic_version(f"{name} {text}")),
            tags=args.naming.tags_for("worker-image"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _recipe(self) -> aws.imagebuilder.ImageRecipe:
        args, name = self._args, recipe_name(self._args.naming)
        component = self._component()
        parent = args.parent_image if args.parent_image.startswith("ami-") else f"ssm:{args.parent_image}"
        content = [name, parent, ROOT_DEVICE, ROOT_VOLUME_GIB]
        return aws.imagebuilder.ImageRecipe(
            f"{self._name}-recipe",
            name=name,
            parent_image=parent,
            components=[{"component_arn": component.arn}],
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
            version=component.version.apply(lambda own: image_document.semantic_version(json.dumps([*content, own]))),
            tags=args.naming.tags_for("worker-image"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _infrastructure(self) -> aws.imagebuilder.InfrastructureConfiguration:
        args = self._args
        return aws.imagebuilder.InfrastructureConfiguration(
            f"{self._name}-infrastructure",
            name=args.naming.name("worker-image"),
            instance_profile_name=args.builder_instance_profile_name,
            instance_types=list(_INSTANCE_TYPES),
            instance_metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
            subnet_id=args.subnet_id,
            security_group_ids=[args.security_group_id],
            terminate_instance_on_failure=True,
            resource_tags=args.naming.tags_for("image-build"),
            tags=args.naming.tags_for("worker-image"),
            opts=pulumi.ResourceOptions(parent=self),
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
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _pipeline(self) -> aws.imagebuilder.ImagePipeline:
        args = self._args
        schedule: aws.imagebuilder.ImagePipelineScheduleArgsDict = {
            "schedule_expression": args.schedule,
            "pipeline_execution_start_condition": "EXPRESSION_MATCH_AND_DEPENDENCY_UPDATES_AVAILABLE",
        }
        return aws.imagebuilder.ImagePipeline(
            f"{self._name}-pipeline",
            name=recipe_name(args.naming),
            description="Bakes the workers' image",
            image_recipe_arn=self._recipe().arn,
            infrastructure_configuration_arn=self._infrastructure().arn,
            distribution_configuration_arn=self._distribution().arn,
            execution_role=args.execution_role_arn,
            image_tests_configuration={"image_tests_enabled": True, "timeout_minutes": _TEST_MINUTES},
            schedule=schedule if args.schedule else None,
            tags=args.naming.tags_for("worker-image"),
            opts=pulumi.ResourceOptions(parent=self),
        )
