"""The network: subnets, ways out, who may call whom, endpoints, and `nat: public`."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.network.endpoints import INTERFACE_SERVICES
from infra.network.subnets import MAX_ZONES, plan, usable_addresses
from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.infra.edits import evaluate, evaluate_anew, stack

Nat = Literal["none", "single", "public"]
NATS: Final[tuple[Nat, ...]] = ("none", "single", "public")
SUBNET = "aws:ec2/subnet:Subnet"
ROUTE = "aws:ec2/route:Route"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"


def network(nat: Nat, bakes: bool = True) -> Recording:
    """The whole program with this network."""
    return stack(network={"nat": nat, "az_count": 3}, golden_ami={"enabled": bakes})


def subnets(recording: Recording, kind: str) -> list[Registration]:
    return [subnet for subnet in recording.of_type(SUBNET) if kind in subnet.name]


def id_of(resource: Registration) -> str:
    return f"{resource.name}-id"


def peer(rule: Registration) -> str:
    """The other side of a security group rule."""
    sides = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
    (side,) = (rule.inputs[key] for key in sides if key in rule.inputs)
    return str(side)


def reach(recording: Recording, role: str) -> set[tuple[str, int, int]]:
    """Where the instances of a role may open connections to, and on which ports."""
    group = f"network-groups-{role}-id"
    rules = [rule for rule in recording.of_type(EGRESS) if rule.inputs["securityGroupId"] == group]
    return {(peer(rule), rule.inputs["fromPort"], rule.inputs["toPort"]) for rule in rules}


@pytest.mark.parametrize("nat", NATS)
def test_every_rule_is_a_resource_of_its_own_and_the_default_group_has_none(nat: Nat) -> None:
    """No group has inline rules, which a test of rule resources would not see, and the default one is closed."""
    recording = network(nat)
    for group in recording.of_type(GROUP):
        assert not {"ingress", "egress"} & group.inputs.keys(), group.name
    (closed,) = recording.of_type("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert closed.inputs["ingress"] == closed.inputs["egress"] == []
    assert closed.inputs["vpcId"] == "network-vpc-id"


@pytest.mark.parametrize("nat", NATS)
def test_each_zone_has_a_public_and_a_private_subnet(nat: Nat) -> None:
    """The blocks are those of the plan (test_subnets.py), in the zones of the region, for any `nat`."""
    recording = network(nat)
    for kind, blocks in vars(plan("10.42.0.0/16", 3)).items():
        assert tuple(subnet.inputs["cidrBlock"] for subnet in subnets(recording, kind)) == blocks
        zones = [subnet.inputs["availabilityZone"] for subnet in subnets(recording, kind)]
        assert zones == [f"us-east-1{letter}" for letter in "abc"]


def test_a_shifted_list_of_zones_moves_no_subnet() -> None:
    """The zone of a subnet that exists is not compared: its replacement would have the same CIDR, which AWS refuses."""
    recorded = network("none").of_type(SUBNET)
    assert len(recorded) == 6
    assert all(subnet.ignore_changes == ("availabilityZone",) for subnet in recorded)


def test_without_nat_there_is_no_way_to_or_from_the_internet() -> None:
    """`nat: none` has no gateway, no address and not one route of our own, in public subnets neither."""
    recording = network("none")
    ways = {"natGateway:NatGateway", "eip:Eip", "internetGateway:InternetGateway", "route:Route"}
    assert not [resource.name for resource in recording.resources if resource.type.rpartition("/")[2] in ways]
    assert not any(table.inputs.get("routes") for table in recording.of_type("aws:ec2/routeTable:RouteTable"))


def test_a_single_nat_gateway_serves_every_private_subnet() -> None:
    """`nat: single` is one gateway in a public subnet; private subnets route to it, and only public ones past it."""
    recording = network("single")
    (nat,) = recording.of_type("aws:ec2/natGateway:NatGateway")
    assert nat.inputs["subnetId"] == id_of(subnets(recording, "public")[0])
    assert nat.inputs["allocationId"] == "network-nat-ip-id"
    out = {
        r.inputs["routeTableId"]: r.inputs.get("natGatewayId") or r.inputs["gatewayId"]
        for r in recording.of_type(ROUTE)
    }
    via = {
        pair.inputs["subnetId"]: out[pair.inputs["routeTableId"]]
        for pair in recording.of_type("aws:ec2/routeTableAssociation:RouteTableAssociation")
    }
    assert via == {id_of(subnet): "network-nat-id" for subnet in subnets(recording, "private")} | {
        id_of(subnet): "network-internet-id" for subnet in subnets(recording, "public")
    }


def test_what_holds_a_public_address_goes_before_the_internet_gateway() -> None:
    """The NAT gateway and its address depend on the internet gateway: AWS detaches none while an address is in use."""
    recording = network("single")
    gateway = recording.one("network-internet").urn
    assert gateway in recording.one("network-nat").dependencies
    assert gateway in recording.one("network-nat-ip").dependencies


@pytest.mark.parametrize("one", NATS)
@pytest.mark.parametrize("other", NATS)
def test_the_nat_setting_moves_no_subnet_and_no_group(one: Nat, other: Nat) -> None:
    """Changing `nat` adds and removes ways out, and leaves every subnet, table, group and mount rule as it was."""
    before, after = network(one), network(other)
    for token in (SUBNET, "aws:ec2/vpc:Vpc", "aws:ec2/routeTable:RouteTable"):
        assert [without_address(r) for r in before.of_type(token)] == [without_address(r) for r in after.of_type(token)]
    groups = {group.name: group.inputs for group in before.of_type(GROUP)}
    shared = [group for group in after.of_type(GROUP) if group.name in groups]
    assert len(shared) >= 3
    assert all(groups[group.name] == group.inputs for group in shared)


def without_address(resource: Registration) -> dict[str, object]:
    """Inputs but for the one that EC2 changes in place (ModifySubnetAttribute)."""
    return {key: value for key, value in resource.inputs.items() if key != "mapPublicIpOnLaunch"}


def test_without_nat_instances_call_aws_and_nothing_else() -> None:
    """Egress is HTTPS to the endpoints and the two prefix lists, and NFS for workers; no address range at all."""
    recording = network("none")
    aws = {
        ("network-endpoints-group-id", 443, 443),
        ("network-endpoints-s3-prefix-list-id", 443, 443),
        ("network-endpoints-dynamodb-prefix-list-id", 443, 443),
    }
    assert reach(recording, "builder") == aws
    assert reach(recording, "worker") == aws | {("network-groups-file-system-id", 2049, 2049)}
    assert reach(recording, "file-system") == set()


@pytest.mark.parametrize("nat", ["single", "public"])
def test_with_internet_instances_call_out_by_https_alone(nat: Nat) -> None:
    """Egress is HTTPS to anywhere, and NFS to the mount targets for workers."""
    recording = network(nat)
    assert reach(recording, "builder") == {("0.0.0.0/0", 443, 443)}
    assert reach(recording, "worker") == {("0.0.0.0/0", 443, 443), ("network-groups-file-system-id", 2049, 2049)}


def test_flow_logs_keep_accepted_and_rejected_traffic_and_names_resolve() -> None:
    """The flow log covers the whole VPC and all traffic, in steps of ten minutes. DNS support and hostnames are on:
    private DNS of endpoints and the names of mount targets need both."""
    (vpc,) = network("none").of_type("aws:ec2/vpc:Vpc")
    assert vpc.inputs["enableDnsSupport"] is vpc.inputs["enableDnsHostnames"] is True
    (log,) = network("none").of_type("aws:ec2/flowLog:FlowLog")
    assert log.inputs["vpcId"] == "network-vpc-id"
    assert (log.inputs["trafficType"], log.inputs["maxAggregationInterval"]) == ("ALL", 600)
    assert ":role/flow-logs-role-" in log.inputs["iamRoleArn"]
    assert log.inputs["logDestination"].endswith(":log-group:/receipt-trainer/dev/flow")


def policy(recording: Recording, service: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads(
        recording.one(f"network-endpoints-{service}", ENDPOINT).inputs["policy"]
    )["Statement"]
    return statements


@pytest.mark.parametrize("nat", NATS)
def test_s3_and_dynamodb_are_reached_through_gateways_from_every_subnet_with_instances(nat: Nat) -> None:
    """Both gateway endpoints are in the route table of each private subnet, with `public` in the public one too."""
    recording = network(nat)
    kinds = ("private", "public") if nat == "public" else ("private",)
    tables = {
        pair.inputs["routeTableId"]
        for pair in recording.of_type("aws:ec2/routeTableAssociation:RouteTableAssociation")
        if any(kind in pair.inputs["subnetId"] for kind in kinds)
    }
    for service in ("s3", "dynamodb"):
        endpoint = recording.one(f"network-endpoints-{service}", ENDPOINT).inputs
        assert (endpoint["vpcEndpointType"], endpoint["serviceName"]) == (
            "Gateway",
            f"com.amazonaws.us-east-1.{service}",
        )
        assert set(endpoint["routeTableIds"]) == tables
        assert len(tables) == 3 + (nat == "public")


def test_without_nat_every_service_that_an_instance_calls_has_an_endpoint() -> None:
    """`nat: none` has an interface endpoint with private DNS for each service, open to workers and builders."""
    recording = network("none")
    interfaces = [e.inputs for e in recording.of_type(ENDPOINT) if e.inputs["vpcEndpointType"] == "Interface"]
    needed = ["ssm", "ssmmessages", "ec2messages", "sqs", "logs", "monitoring", "autoscaling", "ec2"]
    needed += ["imagebuilder"]
    assert {e["serviceName"] for e in interfaces} == {f"com.amazonaws.us-east-1.{name}" for name in needed}
    assert set(INTERFACE_SERVICES) == set(needed)
    for endpoint in interfaces:
        assert endpoint["privateDnsEnabled"] is True
        assert endpoint["subnetIds"] == ["network-private-0-id"]
        assert endpoint["securityGroupIds"] == ["network-endpoints-group-id"]
    callers = {
        peer(rule)
        for rule in recording.of_type(INGRESS)
        if rule.inputs["securityGroupId"] == "network-endpoints-group-id" and rule.inputs["fromPort"] == 443
    }
    assert callers == {"network-groups-worker-id", "network-groups-builder-id"}


@pytest.mark.parametrize("nat", ["single", "public"])
def test_with_internet_no_endpoint_is_paid_for(nat: Nat) -> None:
    """`nat: single` and `public` have the two free gateway endpoints alone."""
    assert {e.inputs["vpcEndpointType"] for e in network(nat).of_type(ENDPOINT)} == {"Gateway"}
    assert len(network(nat).of_type(ENDPOINT)) == 2


@pytest.mark.parametrize(
    "object_arn",
    [
        "arn:aws:s3:::al2023-repos-us-east-1-de612dc2/core/mirrors/latest/x86_64/mirror.list",
        "arn:aws:s3:::ec2imagebuilder-toe-us-east-1-prod/latest/linux/amd64/awstoe",
        "arn:aws:s3:::ec2imagebuilder-managed-resources-us-east-1-prod/components/update-linux/1.0.2/component.yaml",
        "arn:aws:s3:::amazon-ssm-us-east-1/latest/linux_amd64/amazon-ssm-agent.rpm",
        "arn:aws:s3:::aws-ssm-document-attachments-us-east-1/x",
        "arn:aws:s3:::patch-baseline-snapshot-us-east-1/x",
    ],
)
def test_the_s3_endpoint_lets_instances_read_what_aws_publishes(object_arn: str) -> None:
    """Package repositories, SSM agent and Image Builder are read without a signature: no condition on them."""
    allowed = [s for s in policy(network("none"), "s3") if "Condition" not in s and "s3:GetObject" in s["Action"]]
    assert any(fnmatchcase(object_arn, pattern) for s in allowed for pattern in s["Resource"])


OWN = {"StringEquals": {"aws:ResourceAccount": "123456789012"}}


def test_without_internet_the_s3_endpoint_leads_to_no_bucket_of_another_account() -> None:
    """Without the account condition one may read AWS's public buckets only: neither write, nor read anybody else's."""
    for statement in policy(network("none"), "s3"):
        if statement.get("Condition") == OWN:
            continue
        assert statement["Action"] == ["s3:GetObject"]
        for foreign in ("someone-elses", "al2023-repos", "us-east-1", "amazon-ssm-us-east-1x"):
            arn = f"arn:aws:s3:::{foreign}/object"
            assert not any(fnmatchcase(arn, pattern) for pattern in statement["Resource"]), arn


@pytest.mark.parametrize("nat", ["single", "public"])
def test_with_internet_the_s3_endpoint_reads_any_bucket_and_writes_only_those_of_the_account(nat: Nat) -> None:
    """A public data set of the region can be read, though its traffic goes through the endpoint; nothing is written
    to a bucket of another account this way."""
    statements = policy(network(nat), "s3")
    foreign = [statement for statement in statements if statement.get("Condition") != OWN]
    actions = {action for statement in foreign for action in statement["Action"]}
    assert {"s3:GetObject", "s3:ListBucket"} <= actions
    assert all(action.startswith(("s3:Get", "s3:List")) for action in actions)
    assert [statement["Resource"] for statement in foreign] == ["arn:aws:s3:::*"]


def test_the_dynamodb_endpoint_leads_to_tables_of_this_account_alone() -> None:
    """Every resource of its policy is a table of the account in the region, and no action is a wildcard."""
    (statement,) = policy(network("none"), "dynamodb")
    tables = "arn:aws:dynamodb:us-east-1:123456789012:table/"
    assert all(resource.startswith(tables) for resource in statement["Resource"])
    assert not any("*" in action for action in statement["Action"])


ACL = "aws:ec2/networkAcl:NetworkAcl"
BLOCK = "aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions"
ADDRESSES = ("aws:ec2/eip:Eip", "aws:ec2/natGateway:NatGateway")


@pytest.fixture(scope="module", params=NATS)
def whole_stack(request: pytest.FixtureRequest) -> tuple[Nat, Recording]:
    """The whole program with an image, for each value of `nat`."""
    return request.param, network(request.param)


def test_no_group_of_the_stack_admits_an_address(whole_stack: tuple[Nat, Recording]) -> None:
    """Over everything that is registered: ingress comes from our own groups, NFS and HTTPS, and no group has rules
    of its own or in an older form that would hide one."""
    _, recording = whole_stack
    groups = {id_of(group) for group in recording.of_type("aws:ec2/securityGroup:SecurityGroup")}
    rules = recording.of_type(INGRESS)
    assert rules
    assert {peer(rule) for rule in rules} <= groups
    assert {(rule.inputs["fromPort"], rule.inputs["toPort"]) for rule in rules} <= {(2049, 2049), (443, 443)}
    called = {rule.inputs["securityGroupId"] for rule in rules}
    assert not called & {"network-groups-worker-id", "network-groups-builder-id"}
    nfs = [rule for rule in rules if rule.inputs["securityGroupId"] == "network-groups-file-system-id"]
    assert [(peer(rule), rule.inputs["fromPort"]) for rule in nfs] == [("network-groups-worker-id", 2049)]
    assert not recording.of_type("aws:ec2/securityGroupRule:SecurityGroupRule")
    for group in (r for r in recording.resources if r.type.endswith("SecurityGroup")):
        assert not group.inputs.get("ingress"), group.name


def test_only_workers_and_builders_have_public_addresses(whole_stack: tuple[Nat, Recording]) -> None:
    """With `public` an interface of the workers' templates and the builder's subnet, if images are built; with `single`
    the NAT gateway alone; with `none` nothing."""
    nat, recording = whole_stack
    interfaces = [
        interface["associatePublicIpAddress"]
        for template in recording.of_type("aws:ec2/launchTemplate:LaunchTemplate")
        for interface in template.inputs["networkInterfaces"]
    ]
    assert interfaces == ["true" if nat == "public" else "false"] * 2
    for made, expected in (
        (recording, ["network-public-0"] if nat == "public" else []),
        (network("public", bakes=False), []),
    ):
        giving = [s.name for s in made.of_type(SUBNET) if s.inputs["mapPublicIpOnLaunch"]]
        assert giving == expected
    held = [resource.name for kind in ADDRESSES for resource in recording.of_type(kind)]
    assert held == (["network-nat-ip", "network-nat"] if nat == "single" else [])


def test_workers_and_builders_are_where_they_can_call_out(whole_stack: tuple[Nat, Recording]) -> None:
    """Groups and Image Builder use public subnets with `public`, else private ones; mount targets never move."""
    nat, recording = whole_stack
    kind = "public" if nat == "public" else "private"
    expected = [id_of(subnet) for subnet in subnets(recording, kind)]
    for group in recording.of_type("aws:autoscaling/group:Group"):
        assert group.inputs["vpcZoneIdentifiers"] == expected
    (builder,) = recording.of_type("aws:imagebuilder/infrastructureConfiguration:InfrastructureConfiguration")
    assert builder.inputs["subnetId"] == expected[0]
    mounted = {target.inputs["subnetId"] for target in recording.of_type("aws:efs/mountTarget:MountTarget")}
    assert mounted == {id_of(subnet) for subnet in subnets(recording, "private")}


def test_a_group_is_made_after_the_whole_network_and_goes_before_it(whole_stack: tuple[Nat, Recording]) -> None:
    """A group with a minimum launches at once: every route, rule and endpoint of the network is there before.

    A child is registered when its component is, and a component when what it depends on is there; the engine deletes in
    the opposite order.
    """
    _, recording = whole_stack
    needed = ("Route", "VpcEndpoint", "SecurityGroupIngressRule", "SecurityGroupEgressRule", "NatGateway", "NetworkAcl")
    parts = {r.urn for r in recording.resources if r.name.startswith("network-") and r.type.endswith(needed)}
    assert len(parts) >= 6
    for group in recording.of_type("aws:autoscaling/group:Group"):
        (pool,) = [r for r in recording.resources if r.urn == group.parent]
        assert parts <= set(pool.dependencies)


def test_public_subnets_lead_to_the_internet_gateway_without_a_nat() -> None:
    """One default route in the public table; private subnets, where the mount targets are, have no way out."""
    (route,) = network("public").of_type(ROUTE)
    assert (route.inputs["routeTableId"], route.inputs["gatewayId"]) == (
        "network-public-table-id",
        "network-internet-id",
    )
    assert route.inputs["destinationCidrBlock"] == "0.0.0.0/0"


@pytest.mark.parametrize(
    ("way", "protocol", "port", "address", "passes"),
    [
        ("ingress", "tcp", 22, "203.0.113.9", False),
        ("ingress", "tcp", 443, "203.0.113.9", False),
        ("ingress", "tcp", 1023, "203.0.113.9", False),
        ("ingress", "udp", 40000, "203.0.113.9", False),
        ("ingress", "tcp", 1024, "203.0.113.9", True),
        ("ingress", "tcp", 65535, "203.0.113.9", True),
        ("ingress", "tcp", 2049, "10.42.0.7", True),
        ("egress", "tcp", 443, "203.0.113.9", True),
        ("egress", "tcp", 80, "203.0.113.9", False),
        ("egress", "tcp", 25, "203.0.113.9", False),
        ("egress", "tcp", 2049, "10.42.0.7", True),
        ("egress", "udp", 53, "10.42.0.2", True),
    ],
)
def test_the_acl_of_the_public_subnets_lets_answers_in_and_https_out(
    way: str, protocol: str, port: int, address: str, passes: bool
) -> None:
    """From outside only answers to what was asked over HTTPS; inside the VPC everything, as the groups decide."""
    acl = network("public").one("network-public-acl", ACL).inputs
    assert any(matches(rule, protocol, port, address) for rule in acl[way]) is passes


def matches(rule: dict[str, Any], protocol: str, port: int, address: str) -> bool:
    assert rule["action"] == "allow"
    assert rule["cidrBlock"] in ("0.0.0.0/0", "10.42.0.0/16")
    inside = rule["cidrBlock"] == "0.0.0.0/0" or address.startswith("10.42.")
    ports = rule["protocol"] == "-1" or (rule["protocol"] == protocol and rule["fromPort"] <= port <= rule["toPort"])
    return inside and ports


def test_the_acl_covers_every_public_subnet_and_hears_of_narrow_paths() -> None:
    """All public subnets of all zones, none of the private ones; of ICMP "fragmentation needed" alone comes in."""
    recording = network("public")
    acl = recording.one("network-public-acl", ACL).inputs
    assert acl["subnetIds"] == [id_of(subnet) for subnet in subnets(recording, "public")]
    (icmp,) = [rule for rule in acl["ingress"] if rule["protocol"] == "icmp"]
    assert (icmp["icmpType"], icmp["icmpCode"]) == (3, 4)
    assert not [rule for rule in acl["egress"] if rule["protocol"] == "icmp"]


@pytest.mark.parametrize("nat", ["none", "single"])
def test_without_instances_in_them_public_subnets_need_no_acl(nat: Nat) -> None:
    """They hold a NAT gateway or nothing; Block Public Access is not asked for either."""
    recording = network(nat)
    assert not recording.of_type(ACL)
    assert not recording.of_type(BLOCK)


@pytest.mark.parametrize(
    ("mode", "instead"), [("block-ingress", "single or none"), ("block-bidirectional", "to none, or have")]
)
def test_block_public_access_is_told_at_preview(wheelhouse: Path, mode: str, instead: str) -> None:
    """An account that lets nothing through internet gateways is told in one line which values of `nat` work there."""
    read: list[dict[str, Any]] = []

    def options(arguments: dict[str, Any]) -> dict[str, Any]:
        read.append(arguments)
        return {"internetGatewayBlockMode": mode}

    recording = evaluate_anew(wheelhouse, answers={BLOCK: options})
    (line,) = [message for message in recording.messages if "Block Public Access" in message]
    assert line.startswith(f"receipt-trainer:network.nat: public, but VPC Block Public Access of us-east-1 is {mode}")
    assert instead in line
    assert [arguments["id"] for arguments in read] == ["us-east-1"]


def test_an_account_that_never_set_block_public_access_hears_nothing(wheelhouse: Path) -> None:
    """The options exist in every account, with the mode off (DescribeVpcBlockPublicAccessOptions)."""
    assert not [message for message in evaluate(wheelhouse).messages if "Block Public Access" in message]


@st.composite
def networks(draw: st.DrawFn) -> str:
    prefix = draw(st.integers(16, 23))
    return str(IPv4Network((draw(st.integers(0, 2**prefix - 1)) << (32 - prefix), prefix)))


@settings(max_examples=40)
@given(networks(), st.integers(1, MAX_ZONES))
def test_subnets_lie_inside_apart_and_large_enough(cidr: str, az_count: int) -> None:
    """All subnets are inside the network, none overlaps another, none is below AWS's /28, private ones are larger."""
    subnets = plan(cidr, az_count)
    assert len(subnets.public) == len(subnets.private) == az_count
    blocks = [IPv4Network(block) for block in (*subnets.public, *subnets.private)]
    assert all(block.subnet_of(IPv4Network(cidr)) and block.prefixlen <= 28 for block in blocks)
    assert not any(one.overlaps(other) for one, other in combinations(blocks, 2))
    assert IPv4Network(subnets.private[0]).num_addresses > IPv4Network(subnets.public[0]).num_addresses


@settings(max_examples=40)
@given(networks(), st.integers(2, MAX_ZONES))
def test_another_zone_moves_no_subnet(cidr: str, az_count: int) -> None:
    """The subnets of the first zones do not depend on how many zones follow: growing replaces nothing."""
    more, fewer = plan(cidr, az_count), plan(cidr, az_count - 1)
    assert more.public[:-1] == fewer.public
    assert more.private[:-1] == fewer.private


def test_addresses_without_those_that_aws_keeps() -> None:
    """AWS keeps five addresses of each subnet: two /26 leave 2 x 59."""
    assert usable_addresses(plan("10.0.0.0/23", 2).private) == 118
