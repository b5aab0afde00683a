"""Expired images: a function deletes what was baked before, after each bake and once a day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi

from infra.context import FUNCTIONS, AwsContext
from infra.event_function import CONTRACT, EventFunction, EventFunctionArgs
from infra.iam import Statement, allow, document, write_logs
from infra.image.policies import (
    TAGGED,
    auto_named,
    image_arns,
    image_parameter_arn,
    image_parameter_name,
    log_group_arn,
    recipe_name,
)
from receipt_trainer.contract import baked_images
from receipt_trainer.contract.baked_images import SOURCE_TAG, VERSION, image_tag

HANDLER: Final = FUNCTIONS / "expired_images" / "handler.py"
"""Never imported here: it runs in Lambda, whose Python has boto3."""
FILES: Final = {
    "handler.py": HANDLER,
    "receipt_trainer/__init__.py": CONTRACT.parent / "__init__.py",
    **{f"receipt_trainer/contract/{name}": CONTRACT / name for name in ("__init__.py", "baked_images.py")},
}
"""The handler and what decides, which the command on a laptop imports."""


@dataclass(frozen=True)
class ImageExpiryArgs:
    """Whose images are looked at follows from names; the log group is that of the bakes."""

    context: AwsContext
    log_group: pulumi.Input[str]


class ImageExpiry(EventFunction):
    """The function that deletes expired images; events may get lost, a day's look does not."""

    def __init__(self, name: str, args: ImageExpiryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        context = args.context
        recipe = recipe_name(context)
        function = EventFunctionArgs(
            context=context,
            kind="expired-images",
            description=f"Deletes baked images of {context.prefix} but the one in force",
            files=FILES,
            rules={"recipe": recipe, "parameter": image_parameter_name(context)},
            log_group=args.log_group,
            role_component="ImageExpiryRole",
            role_kind="image-expiry",
            allowed=document(_statements(context)),
            schedule="rate(1 day)",
            purpose=f"Looks for expired images of {context.prefix}",
            event={
                "source": ["aws.imagebuilder"],
                "detail-type": ["EC2 Image Builder Image State Change"],
                "detail": {"state": {"status": [baked_images.AVAILABLE]}},
                "resources": [{"prefix": context.arn("imagebuilder", f"image/{recipe}-")}],
            },
        )
        super().__init__(name, function, opts)


def _statements(context: AwsContext) -> list[Statement]:
    """Rights of the function that deletes expired images: it may see all, and delete what this stack has baked.

    An AMI is the stack's by its tag `Name`, or, if its bake failed before it got that, by the image resource that Image
    Builder names on it. Of snapshots only `CreatedBy` is sure.
    """
    image, snapshot = image_arns(context)
    own = f"image/{auto_named(context)}/{VERSION}"
    by_name = {"StringEquals": TAGGED["StringEquals"] | {"aws:ResourceTag/Name": image_tag(recipe_name(context))}}
    by_source = TAGGED | {"StringLike": {f"aws:ResourceTag/{SOURCE_TAG}": context.arn("imagebuilder", f"{own}/*")}}
    return [
        allow("ReadImageInForce", "ssm", ["GetParameter"], [image_parameter_arn(context)]),
        allow("FindImages", "imagebuilder", ["ListImages"], "*"),
        allow("FindOwnBuilds", "imagebuilder", ["ListImageBuildVersions"], [context.arn("imagebuilder", own)]),
        allow("DeleteOwnBuilds", "imagebuilder", ["DeleteImage"], [context.arn("imagebuilder", f"{own}/*")]),
        allow("FindAmis", "ec2", ["DescribeImages"], "*"),
        allow("DeregisterByName", "ec2", ["DeregisterImage"], [image], by_name),
        allow("DeregisterBySource", "ec2", ["DeregisterImage"], [image], by_source),
        allow("DeleteSnapshots", "ec2", ["DeleteSnapshot"], [snapshot], TAGGED),
        write_logs(log_group_arn(context)),
    ]
