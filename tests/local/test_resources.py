"""The stack's own program, on the embedded AWS."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pulumi
import pulumi_aws as aws
import pytest

from infra.wheelhouse import manifest
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES, StackOutputs
from receipt_trainer.contract.tables import ALL_TABLES
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.property_mapping import Clients
from receipt_trainer.local.pulumi_program import Registration, run
from receipt_trainer.local.resources import CREATORS, Creation, Deployment, provision
from receipt_trainer.local.stand_in_wheelhouse import stand_in

REPOSITORY = Path(__file__).parents[2]
WHAT_AN_INDEX_IS = ("IndexName", "KeySchema", "Projection")


class Stood(NamedTuple):
    """The stack `dev`, and the seconds of our processor's time that it took."""

    cloud: LocalCloud
    deployment: Deployment
    cpu_s: float

    @property
    def outputs(self) -> StackOutputs:
        """What the program exported."""
        return self.deployment.outputs

    def ids(self, kind: str) -> dict[str, str]:
        """Physical names of what was created of a type, by logical name."""
        found = self.deployment.created
        return {one.name: one.physical for one in found if one.type.endswith(f":{kind}")}


@pytest.fixture(scope="module")
def stood() -> Iterator[Stood]:
    """The repository's program for the stack `dev`."""
    with LocalCloud(empty=True) as cloud:
        started = time.process_time()  # whatever else the machine does
        deployment = provision(REPOSITORY, cloud)
        yield Stood(cloud, deployment, time.process_time() - started)


def test_every_resource_is_created_or_recorded_for_a_reason(stood: Stood) -> None:
    """Only what the emulator cannot do is recorded, each type with its reason; nothing is left out by us."""
    lacking = {(one.type.split(":")[1].split("/")[0], one.reason) for one in stood.deployment.recorded}
    assert {reason for _, reason in lacking} <= {
        "the emulator lacks Image Builder",
        "the emulator has no policies that AWS manages",
        "the emulator lacks backup policies of file systems",
        "the emulator lacks redrive-allow policies",
        "it refuses what comes without TLS, and the emulator speaks plain HTTP",
    }
    assert all(one.physical and not one.reason for one in stood.deployment.created)
    assert len(stood.deployment.created) > 80
    assert stood.cpu_s < 12  # 3 s, and 2 s in the server


def test_tables_are_the_contracts(stood: Stood) -> None:
    """Each table that the outputs name has the contract's keys and indexes, and its expiry attribute."""
    dynamodb = stood.cloud.client("dynamodb")
    exported = (stood.outputs.receipts_table, stood.outputs.jobs_table, stood.outputs.instances_table)
    for shape, table in zip(ALL_TABLES, exported, strict=True):
        found, wanted = dynamodb.describe_table(TableName=table)["Table"], shape.create_arguments(table)
        assert found["KeySchema"] == wanted["KeySchema"]
        made = [{key: one[key] for key in WHAT_AN_INDEX_IS} for one in found.get("GlobalSecondaryIndexes", [])]
        assert made == wanted.get("GlobalSecondaryIndexes", [])
        expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        assert expiry.get("AttributeName") == shape.ttl_attribute
        backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_buckets_are_private_versioned_and_encrypted(stood: Stood) -> None:
    """What the program says of its buckets is what S3 answers, and the wheelhouse's manifest lies where it says."""
    s3 = stood.cloud.client("s3")
    for bucket in (stood.outputs.artifacts_bucket, stood.outputs.wheels_bucket):
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    key = f"{stood.outputs.wheelhouse_prefix}/{manifest.MANIFEST}"
    stored = s3.get_object(Bucket=stood.outputs.wheels_bucket, Key=key)["Body"].read()
    assert stood.outputs.wheelhouse_prefix.endswith(json.loads(stored)["hash"])


def test_a_message_that_nobody_can_read_ends_in_the_dead_letter_queue(stood: Stood) -> None:
    """Each job queue is FIFO and redrives to its pool's dead-letter queue."""
    sqs = stood.cloud.client("sqs")
    assert set(stood.outputs.pools) == set(POOL_NAMES)
    for pool in stood.outputs.pools.values():
        dead = sqs.get_queue_attributes(QueueUrl=pool.dead_letter_queue_url, AttributeNames=["QueueArn"])
        for priority in PRIORITIES:
            url = pool.queue_urls[priority]
            found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            assert found["FifoQueue"] == "true"
            assert json.loads(found["RedrivePolicy"])["deadLetterTargetArn"] == dead["Attributes"]["QueueArn"]


def test_what_else_the_outputs_name_is_there(stood: Stood) -> None:
    """Parameters, file system, access points, log groups, network and dashboard answer under the exported names."""
    outputs, client = stood.outputs, stood.cloud.client
    json.loads(client("ssm").get_parameter(Name=outputs.training_parameter)["Parameter"]["Value"])
    assert client("ssm").get_parameter(Name=outputs.image_parameter)["Parameter"]["Value"]
    points = client("efs").describe_access_points(FileSystemId=outputs.file_system_id)["AccessPoints"]
    exported = {outputs.training_access_point_id, outputs.checkpoints_access_point_id}
    assert {point["AccessPointId"] for point in points} == exported
    assert {point["PosixUser"]["Uid"] for point in points} == {names.WORKER_UID}
    groups = {group["logGroupName"]: group for group in client("logs").describe_log_groups()["logGroups"]}
    assert groups[outputs.worker_log_group]["retentionInDays"] == groups[outputs.boot_log_group]["retentionInDays"]
    subnets = client("ec2").describe_subnets(SubnetIds=outputs.private_subnet_ids)["Subnets"]
    assert {subnet["VpcId"] for subnet in subnets} == {outputs.vpc_id}
    (acl,) = client("ec2").describe_network_acls(Filters=[{"Name": "default", "Values": ["false"]}])["NetworkAcls"]
    ways = {(entry["RuleNumber"], entry["Egress"]) for entry in acl["Entries"]}
    assert {(100, False), (110, False), (120, False), (100, True), (110, True)} <= ways
    assert len({one["SubnetId"] for one in acl["Associations"]} - set(outputs.private_subnet_ids)) == 2
    assert client("cloudwatch").get_dashboard(DashboardName=outputs.dashboard_name)["DashboardBody"]


def test_pools_have_no_instance(stood: Stood) -> None:
    """The groups stand with their launch templates, and the emulator is not made to start machines."""
    found = stood.cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    groups = {group["AutoScalingGroupName"]: group for group in found}
    for pool in stood.outputs.pools.values():
        group = groups[pool.auto_scaling_group]
        assert (group["DesiredCapacity"], group["Instances"]) == (0, [])
        template = group["MixedInstancesPolicy"]["LaunchTemplate"]
        assert template["LaunchTemplateSpecification"]["LaunchTemplateId"] == pool.launch_template_id
        assert [override["InstanceType"] for override in template["Overrides"]] == pool.instance_types
        [version] = stood.cloud.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=pool.launch_template_id
        )["LaunchTemplateVersions"]
        assert version["LaunchTemplateData"]["MetadataOptions"]["HttpTokens"] == "required"
        assert version["LaunchTemplateData"]["UserData"]


def test_security_groups_say_what_the_program_says(stood: Stood) -> None:
    """No group lets anything in from the world, and none has AWS's own rules, those of a new or a default group."""
    ids = [*stood.ids("SecurityGroup").values(), *stood.ids("DefaultSecurityGroup").values()]
    found = stood.cloud.client("ec2").describe_security_groups(GroupIds=ids)["SecurityGroups"]
    permissions = [rule for group in found for rule in group["IpPermissions"] + group["IpPermissionsEgress"]]
    assert permissions
    assert not [rule for rule in permissions if rule["IpProtocol"] == "-1"]
    assert not [rule for group in found for rule in group["IpPermissions"] if rule["IpRanges"]]


def test_the_environment_names_the_stack(stood: Stood) -> None:
    """After provisioning the cloud's environment holds the outputs' names, none of its own."""
    environment = stood.cloud.environment()
    assert environment[names.ENV_RECEIPTS_TABLE] == stood.outputs.receipts_table
    assert environment[names.ENV_JOBS_TABLE] == stood.outputs.jobs_table
    assert environment[names.ENV_INSTANCES_TABLE] == stood.outputs.instances_table
    assert environment[names.ENV_ARTIFACTS_BUCKET] == stood.outputs.artifacts_bucket == stood.cloud.bucket
    assert environment[names.ENV_TRAINING_PARAMETER] == stood.outputs.training_parameter


def test_another_configuration_stands_too() -> None:
    """Overrides reach the program: a NAT gateway, no image, a budget, protected data, alarms by mail, other pools."""
    hostile = json.loads((REPOSITORY / "tests/infra/hostile.json").read_text())
    changed = {"receipt-trainer:network": {"nat": "single"}, "receipt-trainer:golden_ami": {"enabled": False}}
    with LocalCloud(empty=True) as cloud:
        deployment = provision(REPOSITORY, cloud, stack="other", overrides=hostile | changed)
        assert len(cloud.client("ec2").describe_nat_gateways()["NatGateways"]) == 1
        table = cloud.client("dynamodb").describe_table(TableName=deployment.outputs.jobs_table)["Table"]
    assert table["DeletionProtectionEnabled"]
    assert deployment.outputs.environment == hostile["receipt-trainer:environment"]
    assert deployment.outputs.image_pipeline_arn is None
    assert {one.type for one in deployment.recorded} == {
        "aws:budgets/budget:Budget",
        "aws:efs/backupPolicy:BackupPolicy",
        "aws:s3/bucketPolicy:BucketPolicy",
        "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
    }


def _program(folder: Path, text: str) -> Path:
    (folder / "Pulumi.yaml").write_text("name: receipt-trainer\n")
    (folder / "__main__.py").write_text(f"import pulumi, pulumi_aws as aws\n{text}\n")
    return folder


def test_what_the_embedded_aws_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    """A resource that no AWS would take names itself."""
    program = _program(tmp_path, 'aws.sqs.Queue("jobs", name="not a name")')
    with (
        LocalCloud(empty=True) as cloud,
        pytest.raises(WorldError, match=r"refuses aws:sqs/queue:Queue jobs: .*alphanumeric"),
    ):
        provision(program, cloud)


def test_what_the_emulator_lacks_is_recorded_with_the_reason(stood: Stood) -> None:
    """A policy that AWS manages, and a type without a stand-in, end no run; each says why it is not there."""

    def program() -> None:
        role = aws.iam.Role("role", assume_role_policy="{}")
        aws.iam.RolePolicyAttachment(
            "managed", role=role.name, policy_arn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
        aws.ecr.Repository("images")
        pulumi.export("role", role.name)

    creation = Creation(stood.cloud.client)
    recording = run(program, become=creation.become)
    assert {(one.name, one.reason) for one in creation.found} == {
        ("role", ""),
        ("managed", "the emulator has no policies that AWS manages"),
        ("images", "local mode has no stand-in for it"),
    }
    [role] = [one for one in creation.found if one.name == "role"]
    assert role.physical == recording.outputs["role"]


@pytest.mark.parametrize(
    "call",
    [
        ("efs", "put_backup_policy", {"FileSystemId": "fs", "BackupPolicy": {"Status": "ENABLED"}}),
        ("ec2", "describe_ipams", {}),
    ],
)
def test_a_call_that_the_emulator_does_not_know_is_a_reason_too(
    stood: Stood, call: tuple[str, str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the service speaks JSON or XML, a call that moto lacks is recorded, not an error."""
    service, method, arguments = call

    def create(resource: Registration, name: str, clients: Clients) -> tuple[str, dict[str, object]]:
        getattr(clients(service), method)(**arguments)
        return name, {}

    monkeypatch.setitem(CREATORS, "aws:ecr/repository:Repository", create)
    creation = Creation(stood.cloud.client)
    run(lambda: aws.ecr.Repository("images"), become=creation.become)
    assert [one.reason.startswith("the emulator fails at ") for one in creation.found] == [True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('raise pulumi.RunError("receipt-trainer:pools.gpu: no")', r"^receipt-trainer:pools\.gpu: no$"),
        ('pulumi.export("project", "p")', r"stack output environment: field required"),
    ],
)
def test_a_program_that_refuses_or_exports_too_little_is_the_users_mistake(
    tmp_path: Path, text: str, words: str
) -> None:
    """Its own words reach the user as one line."""
    cloud = LocalCloud(empty=True)  # not started: neither program creates anything
    with pytest.raises(UserError, match=words):
        provision(_program(tmp_path, text), cloud)
    assert names.ENV_RECEIPTS_TABLE not in cloud.environment()


def test_the_stand_in_wheelhouse_passes_for_a_real_one(tmp_path: Path) -> None:
    """The program's own check takes it, and it is the same every time."""
    hashes = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        stand_in(folder)
        hashes.add(manifest.load(folder).hash)
    assert len(hashes) == 1
