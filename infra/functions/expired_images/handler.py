"""Deletes images that were baked before the one in force. Runs in AWS Lambda, after each bake and once a day.

What goes, and what is never touched, is said in `receipt_trainer.contract.baked_images`, which lies beside this file in
the package. If the image parameter, the image resources or the AMIs cannot be read, the run fails before it deletes
anything. Needs nothing else but Lambda's Python and its boto3.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from receipt_trainer.contract import baked_images

Clients = Callable[[str], Any]


def handle(event: object, context: object) -> dict[str, list[str]]:
    """Lambda's entry point; RULES holds the name of the pipeline and of the image parameter as JSON."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 4}, connect_timeout=5, read_timeout=10)
    aws: Any = boto3  # whose hints want the name of one service
    return look(json.loads(os.environ["RULES"]), lambda service: aws.client(service, config=config))


def look(rules: dict[str, str], client: Clients) -> dict[str, list[str]]:
    """One look at all images of the stack; ids of the AMIs and names of the image resources that were deleted.

    Raises:
        RuntimeError: something could not be deleted; all else was. Or the parameter names no image.
        Exception: something could not be read; then nothing was deleted.
    """
    imagebuilder, ec2 = client("imagebuilder"), client("ec2")
    in_force = client("ssm").get_parameter(Name=rules["parameter"])["Parameter"]["Value"]
    if not in_force.startswith("ami-"):
        raise RuntimeError(f"{rules['parameter']} names no image: {in_force!r}")
    builds = baked_images.read_builds(imagebuilder, rules["recipe"])
    gone = baked_images.expired(builds, baked_images.read_amis(ec2, rules["recipe"]), in_force)
    deleted: dict[str, list[str]] = {"amis": [], "images": []}
    faults = {}
    for ami in gone.amis:
        try:
            baked_images.delete_ami(ec2, ami)
        except ClientError as error:
            faults[ami.image_id] = str(error)
        else:
            deleted["amis"].append(ami.image_id)
    for build in gone.builds:
        if faults.keys() & {*build.image_ids}:
            continue  # it leads to an AMI that is still there
        try:
            baked_images.delete_build(imagebuilder, build)
        except ClientError as error:
            faults[build.name] = str(error)
        else:
            deleted["images"].append(build.name)
    print(json.dumps({"event": "looked for expired images", "in_force": in_force, "faults": faults} | deleted))
    if faults:
        raise RuntimeError("; ".join(f"{what}: {why}" for what, why in faults.items()))
    return deleted
