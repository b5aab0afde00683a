"""Security groups: who may open a connection to whom. Every rule is its own resource: an edit touches one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.naming import Naming

_HTTPS, _NFS = 443, 2049


@dataclass(frozen=True)
class SecurityGroupsArgs:
    """What the groups of one VPC need.

    Attributes:
        naming: names and tags.
        vpc_id: the VPC.
        endpoint_group_id: group of the interface endpoints; None = AWS is called over the internet.
        prefix_list_ids: service -> prefix list of its gateway endpoint.
    """

    naming: Naming
    vpc_id: pulumi.Input[str]
    endpoint_group_id: pulumi.Input[str] | None
    prefix_list_ids: Mapping[str, pulumi.Input[str]]


class SecurityGroups(pulumi.ComponentResource):
    """Groups of workers, builders and mount targets; none admits anything from outside the VPC.

    The Amazon DNS resolver, the time service and instance metadata need no rule: groups do not filter them.

    Attributes:
        worker_id: may call AWS by HTTPS and mount EFS; nobody may call it.
        builder_id: may call AWS by HTTPS; nobody may call it.
        file_system_id: NFS from workers; calls nobody.
    """

    worker_id: pulumi.Output[str]
    builder_id: pulumi.Output[str]
    file_system_id: pulumi.Output[str]

    def __init__(self, name: str, args: SecurityGroupsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:SecurityGroups", name, {}, opts)
        self._name, self._args = name, args
        self.worker_id = self._group("worker", "Workers: call AWS and EFS, are called by nobody")
        self.builder_id = self._group("builder", "Image builders: call AWS, are called by nobody")
        self.file_system_id = self._group("file-system", "EFS mount targets: NFS from workers")
        self._connect("worker-to-file-system", self.worker_id, self.file_system_id, _NFS)
        for caller, group in (("worker", self.worker_id), ("builder", self.builder_id)):
            self._https(caller, group)
        self.register_outputs(
            {"workerId": self.worker_id, "builderId": self.builder_id, "fileSystemId": self.file_system_id}
        )

    def _group(self, role: str, description: str) -> pulumi.Output[str]:
        return aws.ec2.SecurityGroup(
            f"{self._name}-{role}",
            vpc_id=self._args.vpc_id,
            description=description,
            tags=self._args.naming.tags_for(role),
            opts=pulumi.ResourceOptions(parent=self),
        ).id

    def _https(self, caller: str, group: pulumi.Input[str]) -> None:
        """HTTPS to AWS: to anywhere where the internet can be reached, else to the endpoints alone."""
        if self._args.endpoint_group_id is None:
            self._egress(f"{caller}-to-anywhere", group, _HTTPS, cidr_ipv4="0.0.0.0/0")
            return
        self._connect(f"{caller}-to-endpoints", group, self._args.endpoint_group_id, _HTTPS)
        for service, prefix_list in self._args.prefix_list_ids.items():
            self._egress(f"{caller}-to-{service}", group, _HTTPS, prefix_list_id=prefix_list)

    def _connect(self, label: str, caller: pulumi.Input[str], callee: pulumi.Input[str], port: int) -> None:
        """Let `caller` out to `callee` and `callee` in from `caller`, on one TCP port."""
        self._egress(label, caller, port, referenced_security_group_id=callee)
        aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-{label}-in",
            security_group_id=callee,
            referenced_security_group_id=caller,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=label,
            tags=self._args.naming.tags_for(label),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _egress(self, label: str, caller: pulumi.Input[str], port: int, **to: pulumi.Input[str]) -> None:
        aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-{label}",
            security_group_id=caller,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=label,
            tags=self._args.naming.tags_for(label),
            opts=pulumi.ResourceOptions(parent=self),
            **to,
        )
