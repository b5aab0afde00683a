"""Leftovers of an update that was killed: what is on AWS and not in the stack's state, and what mends it."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from receipt_trainer.contract import waiting_calls
from receipt_trainer.doctor import named
from receipt_trainer.doctor.findings import Finding, cannot_look, failure, guarded, ok, one_line, warning
from receipt_trainer.doctor.named import FINDERS, NAMED, Named
from receipt_trainer.doctor.pulumi_state import State
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.errors import WorldError

AUTO_NAMED: Final = re.compile(r"(.+)-[0-9a-f]{7}(?:\.fifo)?")
"""A name that pulumi made: the logical name and a random rest."""


Orphan = tuple[int, str, str]
"""Something on AWS that the state does not know: its order (what must go first has a lower one), what it is as a person
calls it, and the command that deletes it.
"""

_DELETIONS: Final[tuple[tuple[str, str, str], ...]] = (
    ("elasticfilesystem", "access-point/", "aws efs delete-access-point --access-point-id {id}"),
    ("cloudwatch", "alarm:", "aws cloudwatch delete-alarms --alarm-names {id}"),
    ("sns", "", "aws sns delete-topic --topic-arn {arn}"),
    ("ec2", "launch-template/", "aws ec2 delete-launch-template --launch-template-id {id}"),
    ("ec2", "natgateway/", "aws ec2 delete-nat-gateway --nat-gateway-id {id}"),
    ("ec2", "elastic-ip/", "aws ec2 release-address --allocation-id {id}"),
    ("ec2", "vpc-endpoint/", "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {id}"),
    ("ec2", "vpc-flow-log/", "aws ec2 delete-flow-logs --flow-log-ids {id}"),
    ("ec2", "security-group/", "aws ec2 delete-security-group --group-id {id}"),
    ("ec2", "subnet/", "aws ec2 delete-subnet --subnet-id {id}"),
    ("ec2", "network-acl/", "aws ec2 delete-network-acl --network-acl-id {id}"),
    ("ec2", "route-table/", "aws ec2 delete-route-table --route-table-id {id}"),
    ("ec2", "internet-gateway/", "{detach}aws ec2 delete-internet-gateway --internet-gateway-id {id}"),
    ("ec2", "vpc/", "aws ec2 delete-vpc --vpc-id {id}"),
)
"""Service and beginning of the ARN's resource, in the order in which things can go.

Left out, because workers or bakes make them beside pulumi: instances, volumes, interfaces, images, recipes.
"""


def find_orphans(subject: Subject, state: State, arns: list[str]) -> Iterator[Finding]:
    """By tags, by the routes and rules of what the state knows, and the roles; what cannot be seen is a finding."""
    looks: tuple[tuple[str, Callable[[], Iterator[Orphan]]], ...] = (
        ("what bears the stack's tags", lambda: _tagged(subject, state, arns)),
        ("routes", lambda: _routes(subject, state)),
        ("rules of security groups", lambda: _rules(subject, state)),
        ("mount targets", lambda: _mount_targets(subject, state)),
        ("instance profiles", lambda: _profiles(subject, state)),
        ("roles", lambda: _roles(subject, state)),
    )
    found: list[Orphan] = []
    for name, look in looks:
        try:
            found.extend(look())
        except Exception as error:  # the others are seen nevertheless
            yield cannot_look(f"leftovers: {name}", error)
    for _, what, command in sorted(found, key=lambda one: one[0]):
        yield warning(f"{what} is not in the state", command)


def tagged_arns(subject: Subject) -> list[str]:
    """ARNs of what bears the stack's two tags. Roles are not among them: the service does not know IAM."""
    client = subject.client("resourcegroupstaggingapi")
    tags = {"Project": subject.project, "Environment": subject.environment}
    wanted = [{"Key": key, "Values": [value]} for key, value in tags.items()]
    pages = client.get_paginator("get_resources").paginate(TagFilters=wanted)
    return [one["ResourceARN"] for page in pages for one in page["ResourceTagMappingList"]]


def _tagged(subject: Subject, state: State, arns: list[str]) -> Iterator[Orphan]:
    for arn in arns:
        if arn in state.known:
            continue
        service, resource = arn.split(":", 5)[2::3]
        for order, (owner, beginning, command) in enumerate(_DELETIONS):
            name = resource.removeprefix(beginning)
            if service == owner and resource.startswith(beginning) and name not in state.known:
                detach = _detach(subject, name) if "{detach}" in command else ""
                yield (100 + order, resource, command.format(id=name, arn=arn, detach=detach))
        if service == "events" and (name := resource.removeprefix("rule/")) not in state.known:
            yield _event_rule(subject, name)


def _detach(subject: Subject, gateway: str) -> str:
    found = subject.client("ec2").describe_internet_gateways(InternetGatewayIds=[gateway])["InternetGateways"]
    vpcs = [one["VpcId"] for gateway_ in found for one in gateway_["Attachments"]]
    return "".join(
        f"aws ec2 detach-internet-gateway --internet-gateway-id {gateway} --vpc-id {vpc} && " for vpc in vpcs
    )


def _event_rule(subject: Subject, name: str) -> Orphan:
    """A rule goes after its targets."""
    targets = subject.client("events").list_targets_by_rule(Rule=name)["Targets"]
    first = f"aws events remove-targets --rule {name} --ids {' '.join(one['Id'] for one in targets)} && "
    return (50, f"rule/{name}", f"{first if targets else ''}aws events delete-rule --name {name}")


def _routes(subject: Subject, state: State) -> Iterator[Orphan]:
    """Routes to a gateway, and the subnets' associations, of route tables that the state knows."""
    tables = state.ids("aws:ec2/routeTable:RouteTable")
    if not tables:
        return
    known = {
        (one["inputs"].get("routeTableId"), one["inputs"].get("destinationCidrBlock"))
        for one in state.resources
        if one.get("type") == "aws:ec2/route:Route"
    }
    associations = {*state.ids("aws:ec2/routeTableAssociation:RouteTableAssociation")}
    found = subject.client("ec2").describe_route_tables(Filters=[{"Name": "route-table-id", "Values": tables}])
    for table in found["RouteTables"]:
        name = table["RouteTableId"]
        for route in table["Routes"]:
            to, ours = route.get("DestinationCidrBlock"), route.get("NatGatewayId") or route.get("GatewayId", "")
            if to and ours.startswith(("nat-", "igw-")) and (name, to) not in known:
                command = f"aws ec2 delete-route --route-table-id {name} --destination-cidr-block {to}"
                yield (10, f"the route to {to} in {name}", command)
        for one in table["Associations"]:
            if not one.get("Main") and (id_ := one["RouteTableAssociationId"]) not in associations:
                yield (11, id_, f"aws ec2 disassociate-route-table --association-id {id_}")


def _rules(subject: Subject, state: State) -> Iterator[Orphan]:
    groups = state.ids("aws:ec2/securityGroup:SecurityGroup")
    if not groups:
        return
    known = {str((one.get("outputs") or {}).get("securityGroupRuleId", "")) for one in state.resources} | state.known
    pages = subject.client("ec2").get_paginator("describe_security_group_rules")
    for page in pages.paginate(Filters=[{"Name": "group-id", "Values": groups}]):
        for rule in page["SecurityGroupRules"]:
            name, way = rule["SecurityGroupRuleId"], "egress" if rule["IsEgress"] else "ingress"
            if name not in known:
                target = f"--group-id {rule['GroupId']} --security-group-rule-ids {name}"
                yield (12, name, f"aws ec2 revoke-security-group-{way} {target}")


def _mount_targets(subject: Subject, state: State) -> Iterator[Orphan]:
    client = subject.client("efs")
    for file_system in state.ids("aws:efs/fileSystem:FileSystem"):
        for one in client.describe_mount_targets(FileSystemId=file_system)["MountTargets"]:
            if (name := one["MountTargetId"]) not in state.known:
                yield (13, name, f"aws efs delete-mount-target --mount-target-id {name}")


def _profiles(subject: Subject, state: State) -> Iterator[Orphan]:
    iam = subject.client("iam")
    for page in iam.get_paginator("list_instance_profiles").paginate():
        for one in page["InstanceProfiles"]:
            name, target = one["InstanceProfileName"], f"--instance-profile-name {one['InstanceProfileName']}"
            if _is_ours(subject, state, name, lambda name: iam.list_instance_profile_tags(InstanceProfileName=name)):
                parts = [
                    f"aws iam remove-role-from-instance-profile {target} --role-name {role['RoleName']}"
                    for role in one["Roles"]
                ]
                parts.append(f"aws iam delete-instance-profile {target}")
                yield (200, f"instance profile {name}", " && ".join(parts))


def _roles(subject: Subject, state: State) -> Iterator[Orphan]:
    iam = subject.client("iam")
    for page in iam.get_paginator("list_roles").paginate():
        for one in page["Roles"]:
            if _is_ours(subject, state, one["RoleName"], lambda name: iam.list_role_tags(RoleName=name)):
                yield (201, f"role {one['RoleName']}", _role_deletion(iam, one["RoleName"]))


def _is_ours(subject: Subject, state: State, name: str, read_tags: Callable[[str], Any]) -> bool:
    """Whether pulumi named it, the state does not know it, and it bears the stack's tags, which are read for each."""
    if not AUTO_NAMED.fullmatch(name) or name in state.known:
        return False
    tags = {(tag["Key"], tag["Value"]) for tag in read_tags(name)["Tags"]}
    return {("Project", subject.project), ("Environment", subject.environment)} <= tags


def _role_deletion(iam: Any, name: str) -> str:
    """A role goes after its policies."""
    inline = iam.list_role_policies(RoleName=name)["PolicyNames"]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    parts = [f"aws iam delete-role-policy --role-name {name} --policy-name {policy}" for policy in inline]
    parts += [f"aws iam detach-role-policy --role-name {name} --policy-arn {one['PolicyArn']}" for one in attached]
    return " && ".join([*parts, f"aws iam delete-role --role-name {name}"])


def look_at_leftovers(subject: Subject) -> Iterator[Finding]:
    """Operations that were cut off first, then what bears a name of ours or holds data, then what holds nothing.

    What collides with the next update, or holds data, is imported; what holds nothing is deleted.
    """
    try:
        state = subject.state
    except WorldError as error:
        yield failure(
            f"the state cannot be read: {one_line(error)}", "pulumi login", f"pulumi stack init {subject.stack}"
        )
        return
    if state.pending:
        kinds = ", ".join(sorted({kind for kind, _ in state.pending}))
        yield failure(
            f"{len(state.pending)} operations of an update were cut off ({kinds})",
            subject.command("pulumi cancel"),
            subject.command("pulumi refresh --clear-pending-creates"),
        )
    found = [*_named(subject, state)]
    try:
        arns = tagged_arns(subject)
    except Exception as error:  # names are seen nevertheless
        found.append(cannot_look("leftovers: what bears the stack's tags", error))
        arns = []
    found += _data(subject, state, arns)
    found += find_orphans(subject, state, arns)
    yield from found
    if not found and not state.pending:
        yield ok(
            f"no leftovers: what bears this stack's names or tags is in its state ({len(state.resources)} resources)"
        )


def _named(subject: Subject, state: State) -> Iterator[Finding]:
    wanted: dict[str, dict[str, Named]] = defaultdict(dict)
    for one in NAMED:
        if one.physical:
            wanted[one.kind][one.physical_name(subject)] = one
    for kind, by_name in wanted.items():
        yield from guarded(f"leftovers: {kind.rpartition(':')[2]}", partial(_of_kind, kind, by_name, subject, state))


def _of_kind(kind: str, by_name: dict[str, Named], subject: Subject, state: State) -> Iterator[Finding]:
    there = FINDERS[kind](subject, by_name)
    for name, one in by_name.items():
        if name in there and there[name] not in state.ids(kind):
            yield _import(one, name, there[name], subject, state)


def _import(one: Named, name: str, id_: str, subject: Subject, state: State) -> Finding:
    text = f"{one.kind.rpartition(':')[2]} {name} is not in the state"
    if one.parent_urn(subject) not in state.urns:
        up = subject.command("pulumi up")
        return failure(f"{text}, nor is its component: update, which makes that and stops here, then look again", up)
    words = ["pulumi", "import", one.kind, one.name, id_, "--parent", f"p={one.parent_urn(subject)}"]
    words += ["--protect=false", "--generate-code=false"]
    # In quotes: a URN has a $ where components are in components.
    command = " ".join(f"'{word}'" if word.startswith("p=") else shlex.quote(word) for word in words)
    return failure(text, subject.command(command))


def _data(subject: Subject, state: State, arns: list[str]) -> Iterator[Finding]:
    """Buckets and queues: imported if they hold something and their place is free, else deleted."""
    for arn in arns:
        service, name = arn.split(":")[2], arn.rpartition(":")[2]
        kind, look = _HOLDING.get(service, ("", None))
        # By type: what belongs to a bucket or a queue has its id, too.
        if look and name not in {id_.rpartition("/")[2] for id_ in state.ids(kind)}:
            yield from guarded(f"leftovers: {name}", partial(look, name, subject, state))


def _bucket(name: str, subject: Subject, state: State) -> Iterator[Finding]:
    client = subject.client("s3")
    found = client.list_object_versions(Bucket=name, MaxKeys=1)
    if not found.get("Versions") and not found.get("DeleteMarkers"):
        yield warning(f"bucket {name} is not in the state, and empty", f"aws s3api delete-bucket --bucket {name}")
    else:
        yield _keep(named.BUCKET, name, name, f"aws s3 ls --recursive s3://{name}", subject, state)


def _queue(name: str, subject: Subject, state: State) -> Iterator[Finding]:
    client = subject.client("sqs")
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    if not waiting_calls.count(client, url).total:
        yield warning(f"queue {name} is not in the state, and empty", f"aws sqs delete-queue --queue-url {url}")
    else:
        yield _keep(named.QUEUE, name, url, f"aws sqs receive-message --queue-url {url}", subject, state)


def _keep(kind: str, name: str, id_: str, look: str, subject: Subject, state: State) -> Finding:
    """Import what holds something, unless another one has its place."""
    logical = AUTO_NAMED.fullmatch(name)
    one = next((one for one in NAMED if logical and (one.kind, one.name) == (kind, logical[1])), None)
    if one is None or one.urn(subject) in state.urns:
        return warning(f"{name} is not in the state, holds something, and another one has its place", look)
    return _import(one, name, id_, subject, state)


_HOLDING: Final = {"s3": (named.BUCKET, _bucket), "sqs": (named.QUEUE, _queue)}
"""Resources that may hold data or jobs, by service: its type token, and how it is looked at."""
