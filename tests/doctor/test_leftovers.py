"""The table of named resources against the program itself."""

from __future__ import annotations

import re
from typing import Any

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.doctor import leftovers
from receipt_trainer.doctor.findings import Finding
from receipt_trainer.doctor.named import BUCKET, FINDERS, NAMED, QUEUE
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.errors import WorldError
from receipt_trainer.local.pulumi_program import Recording
from tests.doctor.conftest import Stood, levels, look, record, state_of
from tests.doctor.wire import Wire, as_json, no_right, no_right_on_ec2, profile_tags, tagged

NAMING = ("name", "creationToken", "dashboardName", "functionName", "bucket", "launchTemplateName")
FREE = {
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": "is put over what is there",
    "aws:imagebuilder/component:Component": "its name is new at every change, and an old one collides with nothing",
    "aws:imagebuilder/imageRecipe:ImageRecipe": "its name is new at every change, and an old one collides with nothing",
}
"""Types that bear a name of ours and cannot collide."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The program with everything that it can register."""
    folder = tmp_path_factory.mktemp("named") / "wheelhouse"
    folder.mkdir()
    return record(folder)


def test_every_named_resource_of_the_program_is_known(recording: Recording, subject: Subject) -> None:
    """What the program makes under a name of ours, and every bucket and queue, is in the table, and nothing else is."""
    registered = set()
    for one in recording.resources:
        if not one.custom or one.read or one.type in FREE:
            continue
        names = [one.inputs[key] for key in NAMING if key in one.inputs]
        ours = [name for name in names if isinstance(name, str) and "receipt-trainer" in name]
        if ours or one.type in (BUCKET, QUEUE):
            registered.add((one.type, one.name, one.parent, one.urn, (ours or [""])[0]))
    known = {
        (one.kind, one.name, one.parent_urn(subject), one.urn(subject), one.physical_name(subject)) for one in NAMED
    }
    assert known == registered
    assert {one.kind for one in NAMED if one.physical} == set(FINDERS)


def test_what_has_tags_has_those_of_the_stack(recording: Recording) -> None:
    """Every taggable resource of the program bears the two tags by which leftovers are found."""
    for one in recording.resources:
        tags = one.inputs.get("tags")
        if isinstance(tags, dict):
            assert {"Project": "receipt-trainer", "Environment": "dev"}.items() <= tags.items(), one.urn


def without(subject: Subject, stood: Stood, *names: str) -> list[Finding]:
    """What is found when the state lacks these, by their logical names."""
    known = {str(one["urn"]).rpartition("::")[2] for one in stood.resources}
    assert set(names) <= known
    kept = [one for one in stood.resources if str(one["urn"]).rpartition("::")[2] not in names]
    subject.__dict__["state"] = state_of(kept)
    return look(leftovers.look_at_leftovers, subject)


def id_of(stood: Stood, name: str) -> str:
    """Id of a resource by its logical name."""
    return next(str(one["id"]) for one in stood.resources if one["urn"].endswith(f"::{name}") and one.get("id"))


def test_a_whole_state_leaves_nothing(subject: Subject, stood: Stood) -> None:
    """Of a stack that stands nothing is said to be left over, whatever workers and others have made."""
    clients.logs().create_log_group(logGroupName="/receipt-trainer/dev2/boot")
    (found,) = without(subject, stood)
    assert found.level == "ok"


IMPORTED = {
    "logs-boot": ("aws:cloudwatch/logGroup:LogGroup", "/receipt-trainer/dev/boot", "LogGroups::logs"),
    "training-parameter": (
        *("aws:ssm/parameter:Parameter", "/receipt-trainer/dev/training-defaults"),
        "TrainingDefaults::training",
    ),
    "tables-jobs": ("aws:dynamodb/table:Table", "receipt-trainer-dev-jobs", "Tables::tables"),
    "gpu-group": ("aws:autoscaling/group:Group", "receipt-trainer-dev-workers-gpu", "WorkerPool::gpu"),
    "silence-function": (
        *("aws:lambda/function:Function", "receipt-trainer-dev-silent-instances"),
        "SilentInstances::silence",
    ),
    "observability-dashboard": (
        *("aws:cloudwatch/dashboard:Dashboard", "receipt-trainer-dev"),
        "Observability::observability",
    ),
    "files-efs": ("aws:efs/fileSystem:FileSystem", "", "FileSystem::files"),
}


@pytest.mark.parametrize("name", IMPORTED)
def test_what_has_a_name_of_ours_is_imported(name: str, subject: Subject, stood: Stood) -> None:
    """It would stop the next update: a failure, with the import that puts it where the program expects it."""
    kind, physical, parent = IMPORTED[name]
    (found,) = without(subject, stood, name)
    assert found.level == "failure"
    assert found.remedies == (
        f"pulumi import {kind} {name} {physical or id_of(stood, name)}"
        f" --parent 'p=urn:pulumi:dev::receipt-trainer::receipts:infra:{parent}'"
        " --protect=false --generate-code=false --stack dev",
    )


def test_budget_and_image_builder(subject: Subject, stood: Stood, wire: Wire) -> None:
    """A budget, and Image Builder's pipeline, are found by their names, too."""
    arn = "arn:aws:imagebuilder:us-east-1:123456789012:image-pipeline/receipt-trainer-dev-worker"
    pipelines = [{"name": "receipt-trainer-dev-worker", "arn": arn}]
    wire.answers["ListImagePipelines"] = as_json({"imagePipelineList": pipelines})
    wire.answers["DescribeBudget"] = as_json({"Budget": {"BudgetName": "receipt-trainer-dev-monthly"}})
    first, second = without(subject, stood, "observability-budget", "image-pipeline")
    assert "observability-budget 123456789012:receipt-trainer-dev-monthly --parent" in first.remedies[0]
    assert f"image-pipeline {arn} --parent" in second.remedies[0]


def test_without_its_component_it_cannot_be_imported_yet(subject: Subject, stood: Stood) -> None:
    """An update that was killed before the component was known: update once more, then look again."""
    found = without(subject, stood, "logs", "logs-boot")
    assert [one.remedies for one in found] == [("pulumi up --stack dev",)]


def data_arns(stood: Stood) -> list[str]:
    """ARNs of a bucket and of a queue; moto's tagging service knows no queues."""
    queue = id_of(stood, "jobs-gpu-high").rpartition("/")[2]
    bucket = id_of(stood, "storage-artifacts")
    return [f"arn:aws:s3:::{bucket}", f"arn:aws:sqs:us-east-1:123456789012:{queue}"]


def test_an_empty_bucket_or_queue_is_deleted(subject: Subject, stood: Stood, wire: Wire) -> None:
    """What holds nothing and has a random name is in nobody's way: a warning with the command that deletes it."""
    wire.answers["GetResources"] = tagged(*data_arns(stood))
    found = without(subject, stood, "storage-artifacts", "jobs-gpu-high")
    assert levels(found) == ["warning", "warning"]
    assert found[0].remedies == (f"aws s3api delete-bucket --bucket {id_of(stood, 'storage-artifacts')}",)
    queue = id_of(stood, "jobs-gpu-high").rpartition("/")[2]
    assert re.fullmatch(rf"aws sqs delete-queue --queue-url http\S+/{queue}", found[1].remedies[0])


def test_a_bucket_or_queue_that_holds_something_is_imported(subject: Subject, stood: Stood, wire: Wire) -> None:
    """Data and messages are put into the state, unless another one has that place: then they are left to a person."""
    bucket, url = id_of(stood, "storage-artifacts"), id_of(stood, "jobs-gpu-high")
    wire.answers["GetResources"] = tagged(*data_arns(stood))
    clients.s3().put_object(Bucket=bucket, Key="a-run", Body=b"x")
    clients.sqs().send_message(QueueUrl=url, MessageBody="{}", MessageGroupId="1", MessageDeduplicationId="1")
    found = without(subject, stood, "storage-artifacts", "jobs-gpu-high")
    assert levels(found) == ["failure", "failure"]
    assert f"pulumi import aws:s3/bucket:Bucket storage-artifacts {bucket} --parent" in found[0].remedies[0]
    queue = url.rpartition("/")[2]
    assert re.match(rf"pulumi import aws:sqs/queue:Queue jobs-gpu-high http\S+/{queue} --parent ", found[1].remedies[0])
    others: list[dict[str, Any]] = [
        one if one.get("id") != bucket else one | {"id": "storage-artifacts-7654321", "outputs": {}}
        for one in stood.resources
    ]
    subject.__dict__["state"] = state_of(others)
    (found_,) = look(leftovers.look_at_leftovers, subject)
    assert (found_.level, found_.remedies) == ("warning", (f"aws s3 ls --recursive s3://{bucket}",))
    clients.sqs().purge_queue(QueueUrl=url)
    for one in clients.s3().list_object_versions(Bucket=bucket)["Versions"]:
        clients.s3().delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])


ORPHANS = {
    "network-private-0-out": "aws ec2 delete-route --route-table-id {network-private-0-table}"
    " --destination-cidr-block 0.0.0.0/0",
    "network-private-0-routes": "aws ec2 disassociate-route-table --association-id {network-private-0-routes}",
    "network-groups-worker-to-file-system": "aws ec2 revoke-security-group-egress --group-id {network-groups-worker}"
    " --security-group-rule-ids {network-groups-worker-to-file-system}",
    "files-mount-0": "aws efs delete-mount-target --mount-target-id {files-mount-0}",
    "files-training": "aws efs delete-access-point --access-point-id {files-training}",
    "gpu-scaling-backlog": "aws cloudwatch delete-alarms --alarm-names {gpu-scaling-backlog}",
    "gpu-template": "aws ec2 delete-launch-template --launch-template-id {gpu-template}",
    "network-nat": "aws ec2 delete-nat-gateway --nat-gateway-id {network-nat}",
    "network-endpoints-s3": "aws ec2 delete-vpc-endpoints --vpc-endpoint-ids {network-endpoints-s3}",
    "network-private-0": "aws ec2 delete-subnet --subnet-id {network-private-0}",
    "network-internet": "aws ec2 detach-internet-gateway --internet-gateway-id {network-internet} --vpc-id"
    " {network-vpc} && aws ec2 delete-internet-gateway --internet-gateway-id {network-internet}",
    "network-vpc": "aws ec2 delete-vpc --vpc-id {network-vpc}",
    "roles-worker-profile": "aws iam remove-role-from-instance-profile --instance-profile-name {roles-worker-profile}"
    " --role-name {roles-worker} && aws iam delete-instance-profile --instance-profile-name {roles-worker-profile}",
}


UNKNOWN = {"gpu-template": "launch-template", "network-endpoints-s3": "vpc-endpoint"}
"""What moto's tagging service does not know."""


@pytest.mark.parametrize("name", ORPHANS)
def test_an_orphan_is_deleted(name: str, subject: Subject, stood: Stood, wire: Wire) -> None:
    """What holds nothing is a warning, with the AWS command that deletes it."""
    wanted = ORPHANS[name]
    if name in UNKNOWN:
        wire.answers["GetResources"] = tagged(f"arn:aws:ec2:us-east-1:1:{UNKNOWN[name]}/{id_of(stood, name)}")
    if name == "roles-worker-profile":  # moto does not list its tags
        wire.answers["ListInstanceProfileTags"] = profile_tags(Project="receipt-trainer", Environment="dev")
    for one in stood.resources:
        logical = str(one["urn"]).rpartition("::")[2]
        wanted = wanted.replace("{" + logical + "}", str(one.get("id") or ""))
    found = without(subject, stood, name)
    assert wanted in [command for one in found for command in one.remedies], found
    assert set(levels(found)) == {"warning"}


def test_a_role_goes_after_its_policies(subject: Subject, stood: Stood) -> None:
    """Roles are found by name and tags, as the tagging service does not know them."""
    (found,) = without(subject, stood, "silence-role")
    role = id_of(stood, "silence-role")
    assert found.remedies[0].startswith(f"aws iam delete-role-policy --role-name {role} --policy-name ")
    assert found.remedies[0].endswith(f" && aws iam delete-role --role-name {role}")


def test_operations_that_were_cut_off_come_first(subject: Subject, stood: Stood) -> None:
    """Before anything is imported the stack's lock and its pending operations are dealt with."""
    subject.__dict__["state"] = state_of(stood.resources[:-1], (("creating", "urn:a"), ("updating", "urn:b")))
    first = look(leftovers.look_at_leftovers, subject)[0]
    assert first.level == "failure"
    assert "2 operations of an update were cut off (creating, updating)" in first.text
    assert first.remedies == ("pulumi cancel --stack dev", "pulumi refresh --clear-pending-creates --stack dev")


def test_one_service_that_refuses_hides_no_other(subject: Subject, stood: Stood, wire: Wire) -> None:
    """Each right that is lacking is a warning with its name, and the rest is found."""
    wire.answers["DescribeLogGroups"] = no_right("logs:DescribeLogGroups")
    wire.answers["GetResources"] = no_right("tag:GetResources")
    wire.answers["DescribeRouteTables"] = no_right_on_ec2()
    found = without(subject, stood, "logs-boot", "tables-jobs")
    said = " ".join(one.text for one in found)
    assert all(action in said for action in ("logs:DescribeLogGroups", "tag:GetResources", "ec2:DescribeRouteTables"))
    assert [one.text for one in found if one.level == "failure"] == [
        "Table receipt-trainer-dev-jobs is not in the state"
    ]


def test_a_state_that_cannot_be_read(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pulumi, or without such a stack, that is the failure."""

    def fail(self: Subject) -> None:
        raise WorldError("pulumi says: no stack named 'dev' found")

    del subject.__dict__["state"]
    monkeypatch.setattr(Subject, "state", property(fail))
    (found,) = look(leftovers.look_at_leftovers, subject)
    assert found.level == "failure"
    assert found.remedies == ("pulumi login", "pulumi stack init dev")
