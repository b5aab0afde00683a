"""The stack's own program, on the embedded AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from infra.wheelhouse import manifest
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES, StackOutputs
from receipt_trainer.contract.tables import ALL_TABLES
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.resources import Deployment, provision, stand_in

REPOSITORY = Path(__file__).parents[2]
WHAT_AN_INDEX_IS = ("IndexName", "KeySchema", "Projection")


USED = {
    "aws:autoscaling/group:Group",
    "aws:cloudwatch/logGroup:LogGroup",
    "aws:dynamodb/table:Table",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:s3/bucket:Bucket",
    "aws:s3/bucketObjectv2:BucketObjectv2",
    "aws:sns/topic:Topic",
    "aws:sqs/queue:Queue",
    "aws:ssm/parameter:Parameter",
}
"""What workers and commands of local mode ask for."""


class Stood(NamedTuple):
    """The stack `dev`."""

    cloud: LocalCloud
    deployment: Deployment

    @property
    def outputs(self) -> StackOutputs:
        """What the program exported."""
        return self.deployment.outputs


@pytest.fixture(scope="module")
def stood() -> Iterator[Stood]:
    """The repository's program for the stack `dev`."""
    with LocalCloud(empty=True) as cloud:
        yield Stood(cloud, provision(REPOSITORY, cloud))


def test_every_resource_is_created_or_recorded(stood: Stood) -> None:
    """What local mode uses is created, each under a name of the embedded AWS; the rest is recorded, nothing is lost."""
    created, recorded = stood.deployment.created, stood.deployment.recorded
    assert {one.type for one in created} == USED
    assert all(one.physical for one in created)
    assert not [one for one in recorded if one.physical or one.type in USED]
    registered = [one for one in stood.deployment.registered if one.type.startswith("aws:") and not one.read]
    assert {(one.type, one.name) for one in created + recorded} == {(one.type, one.name) for one in registered}
    assert len(created) + len(recorded) == len(registered)


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


def test_the_buckets_are_there_with_the_wheelhouse(stood: Stood) -> None:
    """Both bear the stack's tags, and the wheelhouse's manifest lies where the outputs say."""
    s3 = stood.cloud.client("s3")
    for bucket in (stood.outputs.artifacts_bucket, stood.outputs.wheels_bucket):
        tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
        assert {"Project": "receipt-trainer", "Environment": "dev"}.items() <= tags.items()
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


def test_what_else_workers_use_is_there(stood: Stood) -> None:
    """Parameters, log groups and topics answer under the exported names."""
    outputs, client = stood.outputs, stood.cloud.client
    json.loads(client("ssm").get_parameter(Name=outputs.training_parameter)["Parameter"]["Value"])
    assert client("ssm").get_parameter(Name=outputs.image_parameter)["Parameter"]["Value"]
    groups = {group["logGroupName"] for group in client("logs").describe_log_groups()["logGroups"]}
    assert {outputs.worker_log_group, outputs.boot_log_group} <= groups
    topics = {one["TopicArn"] for one in client("sns").list_topics()["Topics"]}
    assert topics == {outputs.alarm_topic_arn, outputs.notices_topic_arn}


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


def test_the_environment_names_the_stack(stood: Stood) -> None:
    """After provisioning the cloud's environment holds the outputs' names, none of its own."""
    environment = stood.cloud.environment()
    assert environment[names.ENV_RECEIPTS_TABLE] == stood.outputs.receipts_table
    assert environment[names.ENV_JOBS_TABLE] == stood.outputs.jobs_table
    assert environment[names.ENV_INSTANCES_TABLE] == stood.outputs.instances_table
    assert environment[names.ENV_ARTIFACTS_BUCKET] == stood.outputs.artifacts_bucket == stood.cloud.bucket
    assert environment[names.ENV_TRAINING_PARAMETER] == stood.outputs.training_parameter


def test_another_configuration_stands_too() -> None:
    """Overrides reach the program: no image, a budget, protected data, alarms by mail, other pools."""
    hostile = json.loads((REPOSITORY / "tests/infra/hostile.json").read_text())
    changed = {"receipt-trainer:golden_ami": {"enabled": False}}
    with LocalCloud(empty=True) as cloud:
        deployment = provision(REPOSITORY, cloud, stack="other", overrides=hostile | changed)
        table = cloud.client("dynamodb").describe_table(TableName=deployment.outputs.jobs_table)["Table"]
    assert table["DeletionProtectionEnabled"]
    assert deployment.outputs.environment == hostile["receipt-trainer:environment"]
    assert deployment.outputs.image_pipeline_arn is None
    assert "aws:budgets/budget:Budget" in {one.type for one in deployment.recorded}


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
