"""Rights of a bake: statements of the build instance and of Image Builder's execution role.

Both are cut out of AWS's own policies for these roles (EC2InstanceProfileForImageBuilder,
AmazonSSMManagedInstanceCore, EC2ImageBuilderExecutionPolicy v2) down to one Linux image in one region of one account:
no containers, exports, licences, scans, fast launch, launch templates or other accounts.
"""

from __future__ import annotations

from infra.context import AwsContext
from infra.iam import Statement, allow, group_spellings, session_statements, wheelhouse_statements, write_logs
from receipt_trainer.contract import baked_images
from receipt_trainer.contract.baked_images import CREATED_BY, VERSION

TAGGED = {"StringEquals": {"aws:ResourceTag/CreatedBy": CREATED_BY}}
TAGGING = {"StringEquals": {"aws:RequestTag/CreatedBy": CREATED_BY}}


def image_parameter_name(context: AwsContext) -> str:
    """Name of the SSM parameter with the workers' image id: roles need it before the image is there."""
    return f"/imagebuilder{context.path('worker-image')}"


def recipe_name(context: AwsContext) -> str:
    """Name of the pipeline, and with `-` and seven random signs behind it of each component and recipe."""
    return baked_images.recipe_name(context.project, context.environment)


def log_group_name(context: AwsContext) -> str:
    """Log group of a pipeline and its bakes; any role of Image Builder may write below this prefix."""
    return f"/aws/imagebuilder/{recipe_name(context)}"


def log_group_arn(context: AwsContext) -> str:
    """Its ARN, without `:*` at the end."""
    return context.arn("logs", f"log-group:{log_group_name(context)}")


def image_parameter_arn(context: AwsContext) -> str:
    """ARN of the parameter with the image id."""
    return context.arn("ssm", f"parameter{image_parameter_name(context)}")


def auto_named(context: AwsContext) -> str:
    """IAM pattern of the components and recipes: exactly seven random signs of Pulumi's behind the name.

    With `*` the stack dev would reach into a stack that is called dev-worker.
    """
    return f"{recipe_name(context)}-" + 7 * "?"


def builder_statements(context: AwsContext, wheels: str, parameter: str) -> list[Statement]:
    """Rights of the build instance: the component runner, our components, the wheelhouse, the SSM agent.

    Image Builder asks to create the log group, even where it exists.
    """
    instances = context.arn("ec2", "instance/*")
    associations = context.arn("ssm", "association/*")
    downloads = [
        f"arn:{context.partition}:s3:::ec2imagebuilder-toe-{context.region}-prod/*",
        f"arn:{context.partition}:s3:::ec2imagebuilder-managed-resources-{context.region}-prod/components/*",
    ]
    components = [
        context.arn("imagebuilder", f"component/{auto_named(context)}/{VERSION}/*"),
        context.arn("imagebuilder", "component/*/*", account="aws"),
    ]
    mailbox = ["AcknowledgeMessage", "DeleteMessage", "FailMessage", "GetEndpoint", "GetMessages", "SendReply"]
    group = log_group_arn(context)
    return [
        allow("ReadComponents", "imagebuilder", ["GetComponent"], components),
        allow("DownloadRunner", "s3", ["GetObject"], downloads),
        *wheelhouse_statements(wheels),
        allow("FindWheelhouse", "ssm", ["GetParameter"], [parameter]),
        allow("CreateOwnGroup", "logs", ["CreateLogGroup"], group_spellings(group)),
        write_logs(group),
        *session_statements(context),
        # The agent of an older parent image takes commands from ec2messages.
        allow("ReceiveCommands", "ec2messages", mailbox, "*"),
        allow("FindAssociations", "ssm", ["ListAssociations", "PutInventory"], "*"),
        allow("ListOwnAssociations", "ssm", ["ListInstanceAssociations"], [instances]),
        allow("ReportAssociation", "ssm", ["UpdateInstanceAssociationStatus"], [instances, associations]),
        allow("ReadInventoryDocument", "ssm", ["GetDocument", "DescribeDocument"], _documents(context, "gather")),
    ]


def execution_statements(context: AwsContext, parent_image: str, builder_role: str) -> list[Statement]:
    """Rights that Image Builder itself uses in the role's name: launch, run commands, make the image, say its id."""
    pipeline = context.arn("imagebuilder", f"image-pipeline/{recipe_name(context)}")
    pass_to_ec2 = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    instances, volumes = context.arn("ec2", "instance/*"), context.arn("ec2", "volume/*")
    used = [context.arn("ec2", f"{kind}/*") for kind in ("network-interface", "security-group", "subnet")]
    image, snapshot = image_arns(context)
    both, associations, group = [image, snapshot], context.arn("ssm", "association/*"), log_group_arn(context)
    described = (
        *("DescribeHosts", "DescribeImages", "DescribeInstanceStatus", "DescribeInstanceTypeOfferings"),
        *("DescribeInstanceTypes", "DescribeInstances", "DescribeSnapshots", "DescribeSubnets", "DescribeTags"),
    )
    asked = ("DescribeInstanceInformation", "GetCommandInvocation", "ListCommandInvocations", "ListInventoryEntries")
    of_inventory = ("DeleteAssociation", "DescribeAssociationExecutions")
    made = {"aws:RequestTag/CreatedBy": CREATED_BY, "ec2:CreateAction": ["CreateImage", "RunInstances"]}
    return [
        allow("LaunchFrom", "ec2", ["RunInstances"], [*both, *used]),
        allow("LaunchTagged", "ec2", ["RunInstances"], [instances, volumes], TAGGING),
        allow("EndOwnInstances", "ec2", ["StartInstances", "StopInstances", "TerminateInstances"], [instances], TAGGED),
        allow("Describe", "ec2", described, "*"),
        allow("DescribeInstance", "ec2", ["DescribeInstanceAttribute"], [instances]),
        allow("TagWhatIsMade", "ec2", ["CreateTags"], [instances, volumes, *used, *both], {"StringEquals": made}),
        allow("MakeImage", "ec2", ["CreateImage", "RegisterImage"], both, TAGGING),
        allow("MakeImageOfOwnInstance", "ec2", ["CreateImage"], [instances], TAGGED),
        allow("RegisterOwnSnapshot", "ec2", ["RegisterImage"], [snapshot], TAGGED),
        allow("CopyImage", "ec2", ["CopyImage"], both),
        allow("ChangeOwnImage", "ec2", ["DeregisterImage", "ModifyImageAttribute"], [image], TAGGED),
        allow("ShareOwnSnapshot", "ec2", ["ModifySnapshotAttribute"], [snapshot], TAGGED),
        allow("TagImages", "ec2", ["CreateTags"], [image]),
        allow("TagSnapshots", "ec2", ["CreateTags"], [snapshot], TAGGING),
        allow("FollowCommands", "ssm", asked, "*"),
        allow("RunShellScript", "ssm", ["SendCommand"], _documents(context, "run")),
        allow("OnOwnInstances", "ssm", ["SendCommand", "CreateAssociation"], [instances], TAGGED),
        allow("GatherInventory", "ssm", ["CreateAssociation"], [associations, *_documents(context, "gather")]),
        allow("FollowInventory", "ssm", of_inventory, [associations]),
        allow("FollowInstance", "ssm", ["DescribeInstanceAssociationsStatus"], [instances]),
        allow("TagInventory", "ssm", ["AddTagsToResource"], [associations], TAGGING),
        allow("PassBuilderRole", "iam", ["PassRole"], [builder_role], pass_to_ec2),
        *_parent_statements(context, parent_image),
        allow("PublishImageId", "ssm", ["GetParameter", "PutParameter"], [image_parameter_arn(context)]),
        allow("StartOwnPipeline", "imagebuilder", ["StartImagePipelineExecution", "TagResource"], [pipeline]),
        allow("CreateOwnGroup", "logs", ["CreateLogGroup"], group_spellings(group)),
        write_logs(group),
    ]


def _parent_statements(context: AwsContext, parent_image: str) -> list[Statement]:
    """Reading the parameter of the parent image, whose ARN has no account if it is AWS's own."""
    if parent_image.startswith("ami-"):
        return []
    account = "" if parent_image.startswith("/aws/service/") else context.account_id
    parameter = context.arn("ssm", f"parameter/{parent_image.removeprefix('/')}", account=account)
    return [allow("ReadParentImage", "ssm", ["GetParameter"], [parameter])]


def image_arns(context: AwsContext) -> tuple[str, str]:
    """Images and snapshots, whose ARNs carry no account."""
    return context.arn("ec2", "image/*", account=""), context.arn("ec2", "snapshot/*", account="")


def _documents(context: AwsContext, kind: str) -> list[str]:
    """AWS's own SSM documents; their ARNs are written with an empty account or the caller's."""
    name = {"run": "AWS-RunShellScript", "gather": "AWS-GatherSoftwareInventory"}[kind]
    return [context.arn("ssm", f"document/{name}", account=account) for account in ("", context.account_id)]
