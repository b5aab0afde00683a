"""What a bake may do: statements of the build instance and of Image Builder's execution role.

Both are cut out of AWS's own policies for these roles (EC2InstanceProfileForImageBuilder,
AmazonSSMManagedInstanceCore, EC2ImageBuilderExecutionPolicy v2) down to one Linux image in one region of one account:
no containers, exports, licences, scans, fast launch, launch templates or other accounts.
"""

from __future__ import annotations

from dataclasses import dataclass

from infra.policies import (
    MODELS_PREFIX,
    WHEELHOUSE_PREFIX,
    Place,
    Statement,
    allow,
    group_spellings,
    prefix_statements,
    session_statements,
)
from receipt_trainer.contract.images import CREATED_BY, SOURCE_TAG, VERSION, image_tag

TAGGED = {"StringEquals": {"aws:ResourceTag/CreatedBy": CREATED_BY}}
TAGGING = {"StringEquals": {"aws:RequestTag/CreatedBy": CREATED_BY}}


@dataclass(frozen=True)
class ImageScope:
    """What a bake may touch.

    Attributes:
        recipe: name of the pipeline; components and recipes have it with random signs behind.
        wheels: ARN of the bucket of the wheelhouse.
        image_log_group: ARN of the group below /aws/imagebuilder, without `:*` at its end.
        wheelhouse_parameter: ARN of the SSM parameter that names the current wheelhouse.
        image_parameter: ARN of the SSM parameter that is written.
        parent_image: image id, or name of the SSM parameter that holds it.
        builder_role: ARN of the build instance's role.
    """

    recipe: str
    image_log_group: str
    image_parameter: str
    wheels: str = ""
    wheelhouse_parameter: str = ""
    parent_image: str = ""
    builder_role: str = ""


def log_group_name(recipe: str) -> str:
    """Log group of a pipeline and its bakes; any role of Image Builder may write below this prefix."""
    return f"/aws/imagebuilder/{recipe}"


def auto_named(name: str) -> str:
    """IAM pattern of what Pulumi names by itself: exactly seven random signs behind the name.

    With `*` the stack dev would reach into a stack that is called dev-worker.
    """
    return f"{name}-" + 7 * "?"


def log_statements(scope: ImageScope) -> list[Statement]:
    """Image Builder asks to create the group, even where it exists."""
    streams = f"{scope.image_log_group}:log-stream:*"
    return [
        allow("CreateOwnGroup", "logs", ["CreateLogGroup"], group_spellings(scope.image_log_group)),
        allow("WriteLogs", "logs", ["CreateLogStream", "PutLogEvents"], [streams]),
    ]


def builder_statements(place: Place, scope: ImageScope) -> list[Statement]:
    """What the build instance needs: the component runner, our components, the wheelhouse, the SSM agent."""
    instances = place.arn("ec2", "instance/*")
    associations = place.arn("ssm", "association/*")
    downloads = [
        f"arn:{place.partition}:s3:::ec2imagebuilder-toe-{place.region}-prod/*",
        f"arn:{place.partition}:s3:::ec2imagebuilder-managed-resources-{place.region}-prod/components/*",
    ]
    components = [
        place.arn("imagebuilder", f"component/{auto_named(scope.recipe)}/{VERSION}/*"),
        place.arn("imagebuilder", "component/*/*", account="aws"),
    ]
    mailbox = ["AcknowledgeMessage", "DeleteMessage", "FailMessage", "GetEndpoint", "GetMessages", "SendReply"]
    return [
        allow("ReadComponents", "imagebuilder", ["GetComponent"], components),
        allow("DownloadRunner", "s3", ["GetObject"], downloads),
        *prefix_statements("Wheelhouse", scope.wheels, [WHEELHOUSE_PREFIX, MODELS_PREFIX], ["GetObject"]),
        allow("FindWheelhouse", "ssm", ["GetParameter"], [scope.wheelhouse_parameter]),
        *log_statements(scope),
        *session_statements(place),
        # The agent of an older parent image takes commands from ec2messages.
        allow("ReceiveCommands", "ec2messages", mailbox, "*"),
        allow("FindAssociations", "ssm", ["ListAssociations", "PutInventory"], "*"),
        allow("ListOwnAssociations", "ssm", ["ListInstanceAssociations"], [instances]),
        allow("ReportAssociation", "ssm", ["UpdateInstanceAssociationStatus"], [instances, associations]),
        allow("ReadInventoryDocument", "ssm", ["GetDocument", "DescribeDocument"], _documents(place, "gather")),
    ]


def execution_statements(place: Place, scope: ImageScope) -> list[Statement]:
    """What Image Builder itself does in the role's name: launch, run commands, make the image, say its id."""
    pipeline = place.arn("imagebuilder", f"image-pipeline/{scope.recipe}")
    pass_to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    return [
        *_instance_statements(place),
        *_image_statements(place),
        *_command_statements(place),
        allow("PassBuilderRole", "iam", ["PassRole"], [scope.builder_role], pass_to_ec2),
        *_parent_statements(place, scope.parent_image),
        allow("PublishImageId", "ssm", ["GetParameter", "PutParameter"], [scope.image_parameter]),
        allow("StartOwnPipeline", "imagebuilder", ["StartImagePipelineExecution", "TagResource"], [pipeline]),
        *log_statements(scope),
    ]


def expiry_statements(place: Place, scope: ImageScope) -> list[Statement]:
    """What the function needs that deletes expired images: it may see all, and delete what this stack has baked.

    An AMI is the stack's by its tag `Name`, or, if its bake failed before it got that, by the image resource that Image
    Builder names on it. Of snapshots only `CreatedBy` is sure.
    """
    image, snapshot = _images(place)
    own = f"image/{auto_named(scope.recipe)}/{VERSION}"
    by_name = {"StringEquals": TAGGED["StringEquals"] | {"aws:ResourceTag/Name": image_tag(scope.recipe)}}
    by_source = TAGGED | {"StringLike": {f"aws:ResourceTag/{SOURCE_TAG}": place.arn("imagebuilder", f"{own}/*")}}
    streams = f"{scope.image_log_group}:log-stream:*"
    return [
        allow("ReadImageInForce", "ssm", ["GetParameter"], [scope.image_parameter]),
        allow("FindImages", "imagebuilder", ["ListImages"], "*"),
        allow("FindOwnBuilds", "imagebuilder", ["ListImageBuildVersions"], [place.arn("imagebuilder", own)]),
        allow("DeleteOwnBuilds", "imagebuilder", ["DeleteImage"], [place.arn("imagebuilder", f"{own}/*")]),
        allow("FindAmis", "ec2", ["DescribeImages"], "*"),
        allow("DeregisterByName", "ec2", ["DeregisterImage"], [image], by_name),
        allow("DeregisterBySource", "ec2", ["DeregisterImage"], [image], by_source),
        allow("DeleteSnapshots", "ec2", ["DeleteSnapshot"], [snapshot], TAGGED),
        allow("WriteLogs", "logs", ["CreateLogStream", "PutLogEvents"], [streams]),
    ]


def _parent_statements(place: Place, parent_image: str) -> list[Statement]:
    """Reading the parameter of the parent image, whose ARN has no account if it is AWS's own."""
    if parent_image.startswith("ami-"):
        return []
    account = "" if parent_image.startswith("/aws/service/") else place.account_id
    parameter = place.arn("ssm", f"parameter/{parent_image.removeprefix('/')}", account=account)
    return [allow("ReadParentImage", "ssm", ["GetParameter"], [parameter])]


def _instance_statements(place: Place) -> list[Statement]:
    instances, volumes = place.arn("ec2", "instance/*"), place.arn("ec2", "volume/*")
    used = [place.arn("ec2", f"{kind}/*") for kind in ("network-interface", "security-group", "subnet")]
    images = _images(place)
    described = (
        "DescribeHosts",
        "DescribeImages",
        "DescribeInstanceStatus",
        "DescribeInstanceTypeOfferings",
        "DescribeInstanceTypes",
        "DescribeInstances",
        "DescribeSnapshots",
        "DescribeSubnets",
        "DescribeTags",
    )
    on_create = {
        "StringEquals": {
            "aws:RequestTag/CreatedBy": CREATED_BY,
            "ec2:CreateAction": ["CreateImage", "RunInstances"],
        }
    }
    return [
        allow("LaunchFrom", "ec2", ["RunInstances"], [*images, *used]),
        allow("LaunchTagged", "ec2", ["RunInstances"], [instances, volumes], TAGGING),
        allow("EndOwnInstances", "ec2", ["StartInstances", "StopInstances", "TerminateInstances"], [instances], TAGGED),
        allow("Describe", "ec2", described, "*"),
        allow("DescribeInstance", "ec2", ["DescribeInstanceAttribute"], [instances]),
        allow("TagWhatIsMade", "ec2", ["CreateTags"], [instances, volumes, *used, *images], on_create),
    ]


def _image_statements(place: Place) -> list[Statement]:
    image, snapshot = _images(place)
    instances = place.arn("ec2", "instance/*")
    return [
        allow("MakeImage", "ec2", ["CreateImage", "RegisterImage"], [image, snapshot], TAGGING),
        allow("MakeImageOfOwnInstance", "ec2", ["CreateImage"], [instances], TAGGED),
        allow("RegisterOwnSnapshot", "ec2", ["RegisterImage"], [snapshot], TAGGED),
        allow("CopyImage", "ec2", ["CopyImage"], [image, snapshot]),
        allow("ChangeOwnImage", "ec2", ["DeregisterImage", "ModifyImageAttribute"], [image], TAGGED),
        allow("ShareOwnSnapshot", "ec2", ["ModifySnapshotAttribute"], [snapshot], TAGGED),
        allow("TagImages", "ec2", ["CreateTags"], [image]),
        allow("TagSnapshots", "ec2", ["CreateTags"], [snapshot], TAGGING),
    ]


def _command_statements(place: Place) -> list[Statement]:
    instances, associations = place.arn("ec2", "instance/*"), place.arn("ssm", "association/*")
    asked = ("DescribeInstanceInformation", "GetCommandInvocation", "ListCommandInvocations", "ListInventoryEntries")
    made = ("DeleteAssociation", "DescribeAssociationExecutions")
    return [
        allow("FollowCommands", "ssm", asked, "*"),
        allow("RunShellScript", "ssm", ["SendCommand"], _documents(place, "run")),
        allow("OnOwnInstances", "ssm", ["SendCommand", "CreateAssociation"], [instances], TAGGED),
        allow("GatherInventory", "ssm", ["CreateAssociation"], [associations, *_documents(place, "gather")]),
        allow("FollowInventory", "ssm", made, [associations]),
        allow("FollowInstance", "ssm", ["DescribeInstanceAssociationsStatus"], [instances]),
        allow("TagInventory", "ssm", ["AddTagsToResource"], [associations], TAGGING),
    ]


def _images(place: Place) -> tuple[str, str]:
    """Images and snapshots, whose ARNs carry no account."""
    return place.arn("ec2", "image/*", account=""), place.arn("ec2", "snapshot/*", account="")


def _documents(place: Place, kind: str) -> list[str]:
    """AWS's own SSM documents; their ARNs are written with an empty account or the caller's."""
    name = {"run": "AWS-RunShellScript", "gather": "AWS-GatherSoftwareInventory"}[kind]
    return [place.arn("ssm", f"document/{name}", account=account) for account in ("", place.account_id)]
