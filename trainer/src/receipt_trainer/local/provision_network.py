"""The VPC and what is in it on the embedded AWS."""

from __future__ import annotations

from typing import Any, Final

from receipt_trainer.local.property_mapping import Clients, Creator, given, tag_specification
from receipt_trainer.local.recording import Registration

_Made = tuple[str, dict[str, Any]]


def _vpc(resource: Registration, name: str, clients: Clients) -> _Made:
    ec2 = clients("ec2")
    tags = tag_specification(resource, "vpc")
    id_ = ec2.create_vpc(CidrBlock=resource.inputs["cidrBlock"], TagSpecifications=tags)["Vpc"]["VpcId"]
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        if attribute in resource.inputs:
            parameter = attribute[:1].upper() + attribute[1:]
            ec2.modify_vpc_attribute(VpcId=id_, **{parameter: {"Value": resource.inputs[attribute]}})
    return id_, {}


def _subnet(resource: Registration, name: str, clients: Clients) -> _Made:
    made = clients("ec2").create_subnet(
        TagSpecifications=tag_specification(resource, "subnet"),
        **given(resource, VpcId="vpcId", CidrBlock="cidrBlock", AvailabilityZone="availabilityZone"),
    )
    return made["Subnet"]["SubnetId"], {"arn": made["Subnet"]["SubnetArn"]}


def _internet_gateway(resource: Registration, name: str, clients: Clients) -> _Made:
    ec2 = clients("ec2")
    made = ec2.create_internet_gateway(TagSpecifications=tag_specification(resource, "internet-gateway"))
    id_ = made["InternetGateway"]["InternetGatewayId"]
    if vpc := resource.inputs.get("vpcId"):
        ec2.attach_internet_gateway(InternetGatewayId=id_, VpcId=vpc)
    return id_, {}


def _address(resource: Registration, name: str, clients: Clients) -> _Made:
    tags = tag_specification(resource, "elastic-ip")
    made = clients("ec2").allocate_address(Domain="vpc", TagSpecifications=tags)
    return made["AllocationId"], {"allocationId": made["AllocationId"], "publicIp": made["PublicIp"]}


def _nat_gateway(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(resource, SubnetId="subnetId", AllocationId="allocationId")
    made = clients("ec2").create_nat_gateway(TagSpecifications=tag_specification(resource, "natgateway"), **wanted)
    return made["NatGateway"]["NatGatewayId"], {}


def _route_table(resource: Registration, name: str, clients: Clients) -> _Made:
    tags = tag_specification(resource, "route-table")
    made = clients("ec2").create_route_table(VpcId=resource.inputs["vpcId"], TagSpecifications=tags)
    return made["RouteTable"]["RouteTableId"], {}


def _route(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(
        resource,
        RouteTableId="routeTableId",
        DestinationCidrBlock="destinationCidrBlock",
        GatewayId="gatewayId",
        NatGatewayId="natGatewayId",
    )
    clients("ec2").create_route(**wanted)
    return name, {}


def _association(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(resource, RouteTableId="routeTableId", SubnetId="subnetId")
    return clients("ec2").associate_route_table(**wanted)["AssociationId"], {}


def _security_group(resource: Registration, name: str, clients: Clients) -> _Made:
    ec2 = clients("ec2")
    made = ec2.create_security_group(
        GroupName=name,
        Description=resource.inputs.get("description", "Managed by Pulumi"),
        VpcId=resource.inputs["vpcId"],
        TagSpecifications=tag_specification(resource, "security-group"),
    )
    id_ = made["GroupId"]
    # As the provider does: AWS gives a new group a rule that lets everything out, a program means what it says.
    ec2.revoke_security_group_egress(
        GroupId=id_, IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    )
    return id_, {}


def _default_security_group(resource: Registration, name: str, clients: Clients) -> _Made:
    """Adopted, and closed: programs adopt it for nothing else."""
    if resource.inputs.get("ingress") or resource.inputs.get("egress"):
        raise NotImplementedError(f"{resource.name}: rules of a default security group")
    ec2 = clients("ec2")
    filters = [
        {"Name": "vpc-id", "Values": [resource.inputs["vpcId"]]},
        {"Name": "group-name", "Values": ["default"]},
    ]
    group = ec2.describe_security_groups(Filters=filters)["SecurityGroups"][0]
    if group["IpPermissions"]:
        ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=group["IpPermissions"])
    if group["IpPermissionsEgress"]:
        ec2.revoke_security_group_egress(GroupId=group["GroupId"], IpPermissions=group["IpPermissionsEgress"])
    return group["GroupId"], {"name": group["GroupName"]}


def _network_acl(resource: Registration, name: str, clients: Clients) -> _Made:
    ec2, subnets = clients("ec2"), resource.inputs.get("subnetIds", [])
    tags = tag_specification(resource, "network-acl")
    made = ec2.create_network_acl(VpcId=resource.inputs["vpcId"], TagSpecifications=tags)
    id_ = made["NetworkAcl"]["NetworkAclId"]
    for way in ("ingress", "egress"):
        for rule in resource.inputs.get(way, []):
            icmp = {"Type": rule["icmpType"], "Code": rule["icmpCode"]} if "icmpType" in rule else None
            ports = {"From": rule["fromPort"], "To": rule["toPort"]}
            ec2.create_network_acl_entry(
                NetworkAclId=id_,
                Egress=way == "egress",
                RuleNumber=rule["ruleNo"],
                RuleAction=rule["action"],
                CidrBlock=rule["cidrBlock"],
                Protocol={"tcp": "6", "udp": "17", "icmp": "1"}.get(rule["protocol"], rule["protocol"]),
                **({"IcmpTypeCode": icmp} if icmp else {"PortRange": ports}),
            )
    if subnets:
        known = ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": subnets}])
        for association in (one for acl in known["NetworkAcls"] for one in acl["Associations"]):
            if association["SubnetId"] in subnets:
                wanted = association["NetworkAclAssociationId"]
                ec2.replace_network_acl_association(AssociationId=wanted, NetworkAclId=id_)
    return id_, {}


def _permission(resource: Registration) -> list[dict[str, Any]]:
    sources: dict[str, Any] = {}
    for parameter, member, key in (
        ("IpRanges", "CidrIp", "cidrIpv4"),
        ("Ipv6Ranges", "CidrIpv6", "cidrIpv6"),
        ("PrefixListIds", "PrefixListId", "prefixListId"),
        ("UserIdGroupPairs", "GroupId", "referencedSecurityGroupId"),
    ):
        if value := resource.inputs.get(key):
            sources[parameter] = [{member: value, **given(resource, Description="description")}]
    return [given(resource, IpProtocol="ipProtocol", FromPort="fromPort", ToPort="toPort") | sources]


def _ingress(resource: Registration, name: str, clients: Clients) -> _Made:
    group = resource.inputs["securityGroupId"]
    made = clients("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=_permission(resource))
    return made["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}


def _egress(resource: Registration, name: str, clients: Clients) -> _Made:
    group = resource.inputs["securityGroupId"]
    made = clients("ec2").authorize_security_group_egress(GroupId=group, IpPermissions=_permission(resource))
    return made["SecurityGroupRules"][0]["SecurityGroupRuleId"], {}


def _endpoint(resource: Registration, name: str, clients: Clients) -> _Made:
    ec2, service = clients("ec2"), resource.inputs["serviceName"]
    made = ec2.create_vpc_endpoint(
        TagSpecifications=tag_specification(resource, "vpc-endpoint"),
        **given(
            resource,
            VpcId="vpcId",
            ServiceName="serviceName",
            VpcEndpointType="vpcEndpointType",
            RouteTableIds="routeTableIds",
            SubnetIds="subnetIds",
            SecurityGroupIds="securityGroupIds",
            PrivateDnsEnabled="privateDnsEnabled",
            PolicyDocument="policy",
        ),
    )
    lists = ec2.describe_managed_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": [service]}])
    found = [one["PrefixListId"] for one in lists["PrefixLists"] if one["PrefixListName"] == service]
    return made["VpcEndpoint"]["VpcEndpointId"], {"prefixListId": found[0]} if found else {}


def _flow_log(resource: Registration, name: str, clients: Clients) -> _Made:
    made = clients("ec2").create_flow_logs(
        ResourceIds=[resource.inputs["vpcId"]],
        ResourceType="VPC",
        TagSpecifications=tag_specification(resource, "vpc-flow-log"),
        **given(
            resource,
            TrafficType="trafficType",
            LogDestinationType="logDestinationType",
            LogDestination="logDestination",
            DeliverLogsPermissionArn="iamRoleArn",
            MaxAggregationInterval="maxAggregationInterval",
        ),
    )
    return made["FlowLogIds"][0], {}


CREATORS: Final[dict[str, Creator]] = {
    "aws:ec2/vpc:Vpc": _vpc,
    "aws:ec2/subnet:Subnet": _subnet,
    "aws:ec2/internetGateway:InternetGateway": _internet_gateway,
    "aws:ec2/eip:Eip": _address,
    "aws:ec2/natGateway:NatGateway": _nat_gateway,
    "aws:ec2/routeTable:RouteTable": _route_table,
    "aws:ec2/route:Route": _route,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _association,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _default_security_group,
    "aws:ec2/networkAcl:NetworkAcl": _network_acl,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ingress,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _egress,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:ec2/flowLog:FlowLog": _flow_log,
}
