from __future__ import annotations

import pytest

from infra.network.subnets import plan
from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.infra.networks import EGRESS, GROUP, INGRESS, NATS, ROUTE, SUBNET, Nat, id_of, network, peer, subnets


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
def test_workers_and_builders_are_called_by_nobody_and_mount_targets_by_workers_alone(nat: Nat) -> None:
    """Ingress on the worker's and builder's groups does not exist; that of EFS is NFS from workers."""
    rules = network(nat).of_type(INGRESS)
    by_group = {rule.inputs["securityGroupId"] for rule in rules}
    assert not by_group & {"network-groups-worker-id", "network-groups-builder-id"}
    nfs = [rule for rule in rules if rule.inputs["securityGroupId"] == "network-groups-file-system-id"]
    assert [(peer(rule), rule.inputs["fromPort"], rule.inputs["toPort"]) for rule in nfs] == [
        ("network-groups-worker-id", 2049, 2049)
    ]


@pytest.mark.parametrize("nat", NATS)
def test_each_zone_has_a_public_and_a_private_subnet(nat: Nat) -> None:
    """The blocks are those of the plan (test_subnets.py), in the zones of the region, for any `nat`."""
    recording = network(nat, az_count=3)
    for kind, blocks in vars(plan("10.42.0.0/16", 3)).items():
        assert tuple(subnet.inputs["cidrBlock"] for subnet in subnets(recording, kind)) == blocks
        zones = [subnet.inputs["availabilityZone"] for subnet in subnets(recording, kind)]
        assert zones == [f"us-east-1{letter}" for letter in "abc"]


def test_a_shifted_list_of_zones_moves_no_subnet() -> None:
    """The zone of a subnet that exists is not compared: its replacement would have the same CIDR, which AWS refuses."""
    recorded = network("none").of_type(SUBNET)
    assert len(recorded) == 4
    assert all(subnet.ignore_changes == ("availabilityZone",) for subnet in recorded)


@pytest.mark.parametrize("nat", NATS)
@pytest.mark.parametrize("bakes", [False, True])
def test_no_subnet_hands_out_public_addresses_but_that_of_public_builds(nat: Nat, bakes: bool) -> None:
    """Only the subnet that images are built in with `nat: public` gives an address to what starts there."""
    recorded = network(nat, bakes=bakes).of_type(SUBNET)
    giving = [subnet.name for subnet in recorded if subnet.inputs["mapPublicIpOnLaunch"] is not False]
    assert giving == (["network-public-0"] if nat == "public" and bakes else [])


def test_without_nat_there_is_no_way_to_or_from_the_internet() -> None:
    """`nat: none` has no gateway, no address and not one route of our own, in public subnets neither."""
    recording = network("none")
    ways = {"natGateway:NatGateway", "eip:Eip", "internetGateway:InternetGateway", "route:Route"}
    assert not [resource.name for resource in recording.resources if resource.type.rpartition("/")[2] in ways]
    assert not any(table.inputs.get("routes") for table in recording.of_type("aws:ec2/routeTable:RouteTable"))


def test_a_single_nat_gateway_serves_every_private_subnet() -> None:
    """`nat: single` is one gateway in a public subnet; private subnets route to it, and only public ones past it."""
    recording = network("single", az_count=3)
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


def test_flow_logs_keep_accepted_and_rejected_traffic() -> None:
    """The flow log covers the whole VPC and all traffic, in steps of ten minutes."""
    (log,) = network("none").of_type("aws:ec2/flowLog:FlowLog")
    assert log.inputs["vpcId"] == "network-vpc-id"
    assert (log.inputs["trafficType"], log.inputs["maxAggregationInterval"]) == ("ALL", 600)
    assert ":role/flow-logs-role-" in log.inputs["iamRoleArn"]
    assert log.inputs["logDestination"].endswith(":log-group:/receipt-trainer/dev/flow")


def test_names_resolve_inside_the_vpc() -> None:
    """DNS support and hostnames are on: private DNS of endpoints and the names of mount targets need both."""
    (vpc,) = network("none").of_type("aws:ec2/vpc:Vpc")
    assert vpc.inputs["enableDnsSupport"] is True
    assert vpc.inputs["enableDnsHostnames"] is True
