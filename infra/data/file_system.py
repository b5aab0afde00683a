"""The EFS file system: training data and checkpoints, mounted by workers through access points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component
from infra.iam import allow
from receipt_trainer.contract.names import WORKER_UID

_SERVICE: Final = "elasticfilesystem"


@dataclass(frozen=True)
class FileSystemArgs:
    """The subnets, at most one an AZ, get a mount target each, of the group; `protect_data` refuses a deletion."""

    context: AwsContext
    private_subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    protect_data: bool


class FileSystem(Component[FileSystemArgs]):
    """Encrypted EFS with elastic throughput, backed up daily; files unread for 30 days move to cheaper storage.

    Attributes:
        file_system_id, file_system_arn: of the file system.
        training_access_point_id, checkpoints_access_point_id: of `/training` and `/checkpoints`.
        access_point_arns: of both, the only ways in.
        mount_targets: one a subnet; who mounts must wait for them.
    """

    def __init__(self, name: str, args: FileSystemArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        protect = args.protect_data
        file_system = aws.efs.FileSystem(
            f"{name}-efs",
            creation_token=args.context.name("efs"),
            encrypted=True,
            performance_mode="generalPurpose",
            throughput_mode="elastic",
            lifecycle_policies=[
                {"transition_to_ia": "AFTER_30_DAYS"},
                {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
            ],
            tags=args.context.tags_for("efs"),
            opts=pulumi.ResourceOptions(parent=self, protect=protect, retain_on_delete=protect),
        )
        self.file_system_id, self.file_system_arn = file_system.id, file_system.arn
        aws.efs.BackupPolicy(
            f"{name}-backup", file_system_id=file_system.id, backup_policy={"status": "ENABLED"}, opts=self._child
        )
        training, checkpoints = self._access_point("training"), self._access_point("checkpoints")
        self.training_access_point_id, self.checkpoints_access_point_id = training.id, checkpoints.id
        self.access_point_arns = [training.arn, checkpoints.arn]
        self.mount_targets = [
            aws.efs.MountTarget(
                f"{name}-mount-{number}",
                file_system_id=file_system.id,
                subnet_id=subnet,
                security_groups=[args.security_group_id],
                opts=self._child,
            )
            for number, subnet in enumerate(args.private_subnet_ids)
        ]
        self.register_outputs({"fileSystemId": self.file_system_id, "fileSystemArn": self.file_system_arn})

    def _access_point(self, role: str) -> aws.efs.AccessPoint:
        """`/role`, made on first mount, in which every client is the worker's user."""
        return aws.efs.AccessPoint(
            f"{self._name}-{role}",
            file_system_id=self.file_system_id,
            posix_user={"uid": WORKER_UID, "gid": WORKER_UID},
            root_directory={
                "path": f"/{role}",
                "creation_info": {"owner_uid": WORKER_UID, "owner_gid": WORKER_UID, "permissions": "0750"},
            },
            tags=self._args.context.tags_for(role),
            opts=self._child,
        )


@dataclass(frozen=True)
class FileSystemAccessArgs:
    """The file system, and the only role that may take its access points."""

    files: FileSystem
    worker_role_arn: pulumi.Input[str]


class FileSystemAccess(Component[FileSystemAccessArgs]):
    """The file-system policy: over TLS only, through an access point only, and it admits workers only.

    Apart from FileSystem, because the worker's role names the file system and this policy names the role. Who mounts
    must say `tls`, `iam` and `accesspoint`.
    """

    def __init__(self, name: str, args: FileSystemAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        aws.efs.FileSystemPolicy(
            f"{name}-policy",
            file_system_id=args.files.file_system_id,
            policy=pulumi.Output.json_dumps(_policy(args)),
            opts=self._child,
        )
        self.register_outputs({})


def _policy(args: FileSystemAccessArgs) -> dict[str, Any]:
    """Source: "Using IAM to control access to file systems" and "Using access points in IAM policies".

    The denials bind roles too whose own policies allow more. A key that is missing (no access point) makes a negated
    condition true, so such a client is denied. There is no denial by role: of clients EFS knows the keys used here and
    aws:SourceIp alone, and a denial by aws:PrincipalArn would hit the worker. An administrator whose own role may mount
    every file system may mount this one, if the security groups let it.
    """
    files, everyone = args.files.file_system_arn, {"AWS": "*"}
    points = {"elasticfilesystem:AccessPointArn": args.files.access_point_arns}
    admitted = {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}, "StringEquals": points}
    no_tls, outside = {"Bool": {"aws:SecureTransport": "false"}}, {"StringNotEquals": points}
    mount = ["ClientMount", "ClientWrite"]
    all_of_it = [*mount, "ClientRootAccess"]
    worker = {"AWS": args.worker_role_arn}
    return {
        "Version": "2012-10-17",
        "Statement": [
            allow("WorkersThroughAccessPoints", _SERVICE, mount, files, admitted, worker),
            allow("DenyUnencryptedTransport", _SERVICE, all_of_it, files, no_tls, everyone, "Deny"),
            allow("DenyOutsideAccessPoints", _SERVICE, all_of_it, files, outside, everyone, "Deny"),
        ],
    }
