"""What local mode records only and a whole account has: made on the embedded AWS, for whoever looks for it there."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, Final

POLICY: Final = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]}
)
ANYWHERE: Final = "0.0.0.0/0"


def make(client: Callable[[str], Any], project: str, environment: str) -> dict[str, str]:
    """Two private subnets and the way out of one, a file system, an alarm, a dashboard, a function and two roles.

    Returns:
        real id by the id that the recorded program has for the same resource, `<logical name>-id`.
    """
    tags = [{"Key": "Project", "Value": project}, {"Key": "Environment", "Value": environment}]
    prefix = f"{project}-{environment}"
    made = _network(client("ec2"), prefix, tags)
    made |= _files(client("efs"), prefix, tags, [made["network-private-0"], made["network-private-1"]])
    made |= _function(client, prefix, tags)
    client("cloudwatch").put_metric_alarm(
        AlarmName=f"{prefix}-backlog",
        MetricName="Backlog",
        Namespace=project,
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Tags=tags,
    )
    client("cloudwatch").put_dashboard(DashboardName=prefix, DashboardBody='{"widgets": []}')
    made |= {"gpu-scaling-backlog": f"{prefix}-backlog", "observability-dashboard": prefix}
    return {f"{name}-id": real for name, real in made.items()}


def _network(ec2: Any, prefix: str, tags: list[dict[str, str]]) -> dict[str, str]:
    def tagged(kind: str) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": tags}]

    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=tagged("vpc"))["Vpc"]["VpcId"]
    here, zones = {"VpcId": vpc}, {"us-east-1a": "10.9.0.0/24", "us-east-1b": "10.9.1.0/24"}
    subnets = [
        ec2.create_subnet(**here, CidrBlock=cidr, AvailabilityZone=zone, TagSpecifications=tagged("subnet"))
        for zone, cidr in zones.items()
    ]
    subnet, other = (one["Subnet"]["SubnetId"] for one in subnets)
    internet = ec2.create_internet_gateway(TagSpecifications=tagged("internet-gateway"))["InternetGateway"]
    ec2.attach_internet_gateway(**here, InternetGatewayId=internet["InternetGatewayId"])
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip"))["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address, TagSpecifications=tagged("natgateway"))
    nat_id = nat["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(**here, TagSpecifications=tagged("route-table"))["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, NatGatewayId=nat_id)
    endpoint = ec2.create_vpc_endpoint(
        **here,
        ServiceName="com.amazonaws.us-east-1.s3",
        RouteTableIds=[table],
        TagSpecifications=tagged("vpc-endpoint"),
    )
    group = ec2.create_security_group(
        **here, GroupName=f"{prefix}-worker", Description="workers", TagSpecifications=tagged("security-group")
    )["GroupId"]
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": ANYWHERE}]}  # AWS gives it to a new group
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[everything])
    nfs = {"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049, "IpRanges": [{"CidrIp": zones["us-east-1a"]}]}
    rule = ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[nfs])["SecurityGroupRules"][0]
    return {
        "network-vpc": vpc,
        "network-private-0": subnet,
        "network-private-1": other,
        "network-internet": internet["InternetGatewayId"],
        "network-nat-address": address,
        "network-nat": nat_id,
        "network-private-0-table": table,
        "network-private-0-routes": ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)["AssociationId"],
        "network-endpoints-s3": endpoint["VpcEndpoint"]["VpcEndpointId"],
        "network-groups-worker": group,
        "network-groups-worker-to-file-system": rule["SecurityGroupRuleId"],
    }


def _files(efs: Any, prefix: str, tags: list[dict[str, str]], subnets: list[str]) -> dict[str, str]:
    system = efs.create_file_system(CreationToken=f"{prefix}-efs", Tags=tags)["FileSystemId"]
    point = efs.create_access_point(ClientToken=prefix, FileSystemId=system, Tags=tags)["AccessPointId"]
    targets = [efs.create_mount_target(FileSystemId=system, SubnetId=subnet)["MountTargetId"] for subnet in subnets]
    return {"files-efs": system, "files-training": point, "files-mount-0": targets[0], "files-mount-1": targets[1]}


def _function(client: Callable[[str], Any], prefix: str, tags: list[dict[str, str]]) -> dict[str, str]:
    iam, names = (
        client("iam"),
        {"silence-role": f"{prefix}-silence-0123abc", "roles-worker": f"{prefix}-worker-0123abc"},
    )
    for name in names.values():
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=POLICY, Tags=tags)["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=POLICY)
    profile = f"{prefix}-profile-0123abc"
    iam.create_instance_profile(InstanceProfileName=profile, Tags=tags)
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=names["roles-worker"])
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "")
    function = f"{prefix}-silent-instances"
    client("lambda").create_function(
        FunctionName=function,
        Role=role["Arn"],
        Runtime="python3.13",
        Handler="handler.main",
        Code={"ZipFile": code.getvalue()},
        Tags={tag["Key"]: tag["Value"] for tag in tags},
    )
    return names | {"roles-worker-profile": profile, "silence-function": function}
