"""Expired images: a function deletes what was baked before, after each bake and once a day."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi

from infra.event_function import EventFunction, EventFunctionArgs
from infra.naming import Naming
from receipt_trainer import contract
from receipt_trainer.contract import images

HANDLER: Final = Path(__file__).resolve().parents[1] / "functions" / "expired_images" / "handler.py"
"""Never imported here: it runs in Lambda, whose Python has boto3."""
_CONTRACT: Final = Path(contract.__file__).resolve().parent
FILES: Final = {
    "handler.py": HANDLER,
    "receipt_trainer/__init__.py": _CONTRACT.parent / "__init__.py",
    **{f"receipt_trainer/contract/{name}": _CONTRACT / name for name in ("__init__.py", "images.py")},
}
"""The handler and what decides, which the command on a laptop imports."""


@dataclass(frozen=True)
class ImageExpiryArgs:
    """Whose images are looked at, and as whom.

    Attributes:
        naming: names and tags.
        recipe: name of the pipeline, with which the names of all recipes begin.
        image_arns: ARN of all image resources, `arn:aws:imagebuilder:us-east-1:123456789012:image/`.
        image_parameter: name of the SSM parameter that names the image in force.
        log_group: name of the log group of the bakes.
        role_arn: role of the function, which must be allowed everything before its first run.
    """

    naming: Naming
    recipe: str
    image_arns: str
    image_parameter: str
    log_group: pulumi.Input[str]
    role_arn: pulumi.Input[str]


class ImageExpiry(EventFunction):
    """The function that deletes expired images; events may get lost, a day's look does not."""

    def __init__(self, name: str, args: ImageExpiryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        prefix = args.naming.prefix
        function = EventFunctionArgs(
            naming=args.naming,
            kind="expired-images",
            description=f"Deletes baked images of {prefix} but the one in force",
            files=FILES,
            rules={"recipe": args.recipe, "parameter": args.image_parameter},
            log_group=args.log_group,
            role_arn=args.role_arn,
            schedule="rate(1 day)",
            purpose=f"Looks for expired images of {prefix}",
            event={
                "source": ["aws.imagebuilder"],
                "detail-type": ["EC2 Image Builder Image State Change"],
                "detail": {"state": {"status": [images.AVAILABLE]}},
                "resources": [{"prefix": f"{args.image_arns}{args.recipe}-"}],
            },
        )
        super().__init__("receipts:infra:ImageExpiry", name, function, opts)
