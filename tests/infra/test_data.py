"""What holds data: buckets, tables, queues, the file system."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from infra.context import AwsContext
from infra.data.tables import Tables, TablesArgs
from receipt_trainer.contract.outputs import POOL_NAMES, PRIORITIES, PoolName
from receipt_trainer.contract.tables import ALL_TABLES, JOBS, TableShape
from receipt_trainer.local.pulumi_program import Recording, Registration, run
from tests.infra.edits import stack, statements
from tests.infra.replacements import replacements


def data(protect_data: bool = True) -> Recording:
    """The dev stack, with its data protected or not."""
    return stack(protect_data=str(protect_data).lower())


ROLES = ("artifacts", "wheels")
BUCKET = "aws:s3/bucket:Bucket"


def of_bucket(role: str, kind: str) -> Registration:
    """The one resource of a kind that configures a bucket."""
    recording = data()
    name = recording.one(f"storage-{role}", BUCKET)
    (found,) = (
        r
        for r in recording.resources
        if r.type.endswith(f":{kind}") and str(r.inputs["bucket"]).startswith(f"{name.name}-")
    )
    return found


def test_there_are_two_buckets_named_by_pulumi() -> None:
    """Artifacts and wheels; no physical name is asked for, so that a stack can be made twice in one account."""
    recorded = data().of_type(BUCKET)
    assert [bucket.name for bucket in recorded] == ["storage-artifacts", "storage-wheels"]
    assert not any({"bucket", "bucketPrefix"} & bucket.inputs.keys() for bucket in recorded)


@pytest.mark.parametrize("role", ROLES)
def test_a_bucket_is_private(role: str) -> None:
    """All four public access blocks are on, and ACLs are off."""
    block = of_bucket(role, "BucketPublicAccessBlock").inputs
    switches = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    assert [block[switch] for switch in switches] == [True] * 4
    assert of_bucket(role, "BucketOwnershipControls").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


@pytest.mark.parametrize("role", ROLES)
def test_a_bucket_is_versioned_and_encrypted(role: str) -> None:
    """Versioning is enabled, and the default encryption is S3's own."""
    assert of_bucket(role, "BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    (rule,) = of_bucket(role, "BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}


@pytest.mark.parametrize("role", ROLES)
def test_a_bucket_answers_over_tls_only(role: str) -> None:
    """Its policy denies everything on bucket and objects, to everyone, without TLS, and allows nothing."""
    policy = of_bucket(role, "BucketPolicy")
    (statement,) = statements(policy.inputs["policy"])
    arn = f"arn:aws:s3:::{policy.inputs['bucket']}"
    assert statement["Effect"] == "Deny"
    assert (statement["Principal"], statement["Action"]) == ("*", "s3:*")
    assert statement["Resource"] == [arn, f"{arn}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("role", ROLES)
def test_old_versions_and_unfinished_uploads_go_and_current_objects_stay(role: str) -> None:
    """One rule for all objects: old versions by the setting, uploads after a week; nothing expires what is current."""
    lifecycle = of_bucket(role, "BucketLifecycleConfiguration")
    (rule,) = lifecycle.inputs["rules"]
    assert (rule["status"], rule["filter"]) == ("Enabled", {"prefix": ""})
    assert rule["noncurrentVersionExpiration"] == {"noncurrentDays": 7}
    assert rule["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert rule["expiration"] == {"expiredObjectDeleteMarker": True}
    assert of_bucket(role, "BucketVersioning").urn in lifecycle.dependencies


@pytest.mark.parametrize("protect_data", [True, False])
def test_protect_data_keeps_buckets_and_what_guards_them(protect_data: bool) -> None:
    """Protected buckets and their settings outlive the stack; unprotected ones go with all that is in them."""
    resources = [
        resource
        for resource in data(protect_data).resources
        if ":s3/bucket" in resource.type and "/bucketObject" not in resource.type
    ]
    assert {(r.protect, r.retain_on_delete) for r in resources} == {(protect_data, protect_data)}
    assert {b.inputs["forceDestroy"] for b in data(protect_data).of_type(BUCKET)} == {not protect_data}


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_waits_for_the_access_block(role: str) -> None:
    """S3 refuses both at one time, so the policy depends on the block."""
    assert of_bucket(role, "BucketPublicAccessBlock").urn in of_bucket(role, "BucketPolicy").dependencies


TABLE = "aws:dynamodb/table:Table"


def create_arguments(inputs: dict[str, Any]) -> dict[str, Any]:
    """What the provider asks DynamoDB to create."""
    arguments: dict[str, Any] = {
        "TableName": inputs["name"],
        "BillingMode": inputs["billingMode"],
        "AttributeDefinitions": [
            {"AttributeName": a["name"], "AttributeType": a["type"]} for a in inputs["attributes"]
        ],
        "KeySchema": key_schema(inputs),
    }
    if indexes := inputs.get("globalSecondaryIndexes"):
        arguments["GlobalSecondaryIndexes"] = [
            {"IndexName": index["name"], "KeySchema": key_schema(index), "Projection": projection(index)}
            for index in indexes
        ]
    return arguments


def projection(index: dict[str, Any]) -> dict[str, Any]:
    included = index.get("nonKeyAttributes")
    return {"ProjectionType": index["projectionType"]} | ({"NonKeyAttributes": included} if included else {})


def key_schema(inputs: dict[str, Any]) -> list[dict[str, str]]:
    keys = (("hashKey", "HASH"), ("rangeKey", "RANGE"))
    return [{"AttributeName": inputs[key], "KeyType": kind} for key, kind in keys if key in inputs]


@pytest.mark.parametrize("shape", ALL_TABLES, ids=lambda shape: shape.name)
def test_a_table_is_what_the_contract_says(shape: TableShape) -> None:
    """Keys, indexes and billing are those with which local mode and the tests create the table."""
    table = data().one(f"tables-{shape.name}", TABLE)
    assert create_arguments(table.inputs) == shape.create_arguments(f"receipt-trainer-dev-{shape.name}")


def test_every_table_of_the_contract_is_there_and_under_its_own_attribute() -> None:
    """No shape is forgotten, no table added, and `Tables.<shape>` is the table of that shape."""
    assert {table.name for table in data().of_type(TABLE)} == {f"tables-{shape.name}" for shape in ALL_TABLES}
    named = {shape.name: data().outputs[f"{shape.name}_table"] for shape in ALL_TABLES}
    assert named == {shape.name: f"receipt-trainer-dev-{shape.name}" for shape in ALL_TABLES}


@pytest.mark.parametrize("shape", ALL_TABLES, ids=lambda shape: shape.name)
def test_items_expire_only_where_the_contract_says(shape: TableShape) -> None:
    """TTL is on the attribute of the shape, and off where the shape has none."""
    ttl = data().one(f"tables-{shape.name}", TABLE).inputs.get("ttl")
    assert ttl == ({"attributeName": shape.ttl_attribute, "enabled": True} if shape.ttl_attribute else None)


def test_indexes_are_added_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack whose jobs table has the two indexes of version 0.1.0 gets the others without a new table."""
    monkeypatch.setattr("infra.data.tables.JOBS", replace(JOBS, indexes=JOBS.indexes[:2]))
    context = AwsContext("receipt-trainer", "dev", "aws", "us-east-1", "123456789012", ())
    before = run(lambda: Tables("tables", TablesArgs(context, True)) and None)
    monkeypatch.undo()
    after = run(lambda: Tables("tables", TablesArgs(context, True)) and None)
    assert len(before.one("tables-jobs", TABLE).inputs["globalSecondaryIndexes"]) == 2
    assert len(after.one("tables-jobs", TABLE).inputs["globalSecondaryIndexes"]) == 4
    assert replacements(before, after) == {}


@pytest.mark.parametrize("protect_data", [True, False])
def test_protect_data_keeps_tables(protect_data: bool) -> None:
    """Deletion is refused by DynamoDB, and by Pulumi, for every table or for none; restores are possible always."""
    for table in data(protect_data).of_type(TABLE):
        assert table.inputs["deletionProtectionEnabled"] is protect_data
        assert (table.protect, table.retain_on_delete) == (protect_data, protect_data)
        assert table.inputs["pointInTimeRecovery"] == {"enabled": True}


QUEUE = "aws:sqs/queue:Queue"


def queue_recorded(pools: tuple[PoolName, ...] = POOL_NAMES) -> Recording:
    return stack(pools={pool: {"enabled": pool in pools} for pool in POOL_NAMES})


@pytest.mark.parametrize("pools", [("gpu",), ("cpu",), ("gpu", "cpu")])
def test_each_pool_has_a_queue_for_each_priority_and_one_for_dead_letters(pools: tuple[PoolName, ...]) -> None:
    """Pools that the settings leave out cost no queue."""
    expected = {f"jobs-{pool}-{end}" for pool in pools for end in (*PRIORITIES, "dead")}
    assert {queue.name for queue in queue_recorded(pools).of_type(QUEUE)} == expected


def test_every_queue_is_fifo_by_job() -> None:
    """Order and deduplication are per message group, never by content: two equal jobs of a sweep are two jobs."""
    for queue in queue_recorded().of_type(QUEUE):
        assert queue.inputs["fifoQueue"] is True
        assert queue.inputs["contentBasedDeduplication"] is False
        assert queue.inputs["deduplicationScope"] == "messageGroup"
        assert queue.inputs["fifoThroughputLimit"] == "perMessageGroupId"


def test_queues_keep_messages_two_weeks_encrypted_and_poll_long() -> None:
    """Retention is SQS's longest, encryption SQS's own, a poll waits 20 s and a claim lasts 300 s."""
    for queue in queue_recorded().of_type(QUEUE):
        assert queue.inputs["messageRetentionSeconds"] == 1_209_600
        assert queue.inputs["sqsManagedSseEnabled"] is True
        assert queue.inputs["receiveWaitTimeSeconds"] == 20
        assert queue.inputs["visibilityTimeoutSeconds"] == 300


@pytest.mark.parametrize("pool", POOL_NAMES)
def test_dead_letters_go_to_the_queue_of_their_own_pool(pool: PoolName) -> None:
    """Both priorities of a pool redrive to its dead-letter queue, after more receives than interruptions make."""
    recording = queue_recorded()
    for priority in PRIORITIES:
        redrive = json.loads(recording.one(f"jobs-{pool}-{priority}", QUEUE).inputs["redrivePolicy"])
        assert f":jobs-{pool}-dead-" in redrive["deadLetterTargetArn"]
        assert 100 <= redrive["maxReceiveCount"] <= 1000
    assert "redrivePolicy" not in recording.one(f"jobs-{pool}-dead", QUEUE).inputs


@pytest.mark.parametrize("pool", POOL_NAMES)
def test_a_dead_letter_queue_takes_from_its_own_sources_alone(pool: PoolName) -> None:
    """Its redrive-allow policy names exactly the job queues of the pool."""
    allow = queue_recorded().one(f"jobs-{pool}-dead-sources").inputs
    policy = json.loads(allow["redriveAllowPolicy"])
    assert allow["queueUrl"] == outputs(pool)["dead_letter_queue_url"]
    assert policy["redrivePermission"] == "byQueue"
    sources = sorted(arn.rpartition(":")[2] for arn in policy["sourceQueueArns"])
    assert sources == sorted(url.rpartition("/")[2] for url in outputs(pool)["queue_urls"].values())


def test_every_queue_answers_over_tls_only() -> None:
    """Each queue, dead letters included, has a policy that denies everything without TLS and allows nothing."""
    policies = queue_recorded().of_type("aws:sqs/queuePolicy:QueuePolicy")
    assert len({policy.inputs["queueUrl"] for policy in policies}) == len(queue_recorded().of_type(QUEUE)) == 6
    for policy in policies:
        (statement,) = statements(policy.inputs["policy"])
        assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "sqs:*")
        assert statement["Resource"].rpartition(":")[2] == policy.inputs["queueUrl"].rpartition("/")[2]
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def outputs(pool: PoolName) -> dict[str, Any]:
    found: dict[str, Any] = queue_recorded().outputs["pools"][pool]
    return found


ADMIN = "arn:aws:iam::123456789012:role/admin"


def matches(statement: dict[str, Any], action: str, context: dict[str, str]) -> bool:
    """Whether a statement applies, as IAM evaluates it: a missing key fails a condition and passes a negated one."""
    who = statement["Principal"]["AWS"]
    if action not in statement["Action"] or who not in ("*", context.get("aws:PrincipalArn")):
        return False
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            among = context.get(key) in ([wanted] if isinstance(wanted, str) else wanted)
            if among == ("Not" in operator):
                return False
    return True


def access() -> list[dict[str, Any]]:
    return statements(data().one("files-access-policy").inputs["policy"])


def worker() -> str:
    """The role that the policy lets in."""
    (who,) = (statement["Principal"]["AWS"] for statement in access() if statement["Effect"] == "Allow")
    return str(who)


def access_points() -> list[str]:
    """The ARNs that the policy lets through."""
    (allowed,) = (statement for statement in access() if statement["Effect"] == "Allow")
    arns: list[str] = allowed["Condition"]["StringEquals"]["elasticfilesystem:AccessPointArn"]
    return arns


def decision(action: str, context: dict[str, str]) -> str:
    effects = {s["Effect"] for s in access() if matches(s, f"elasticfilesystem:{action}", context)}
    return "deny" if "Deny" in effects else "allow" if "Allow" in effects else "none"


def request(role: str | None, tls: str, point: str | None, through_mount_target: str = "true") -> dict[str, str]:
    """What IAM knows of a client; None = it says nothing of it."""
    context = {
        "aws:PrincipalArn": role,
        "aws:SecureTransport": tls,
        "elasticfilesystem:AccessPointArn": point,
        "elasticfilesystem:AccessedViaMountTarget": through_mount_target,
    }
    return {key: value for key, value in context.items() if value is not None}


def test_only_the_worker_over_tls_through_an_access_point_gets_in() -> None:
    """Of all mixes of who, how and where, the worker over TLS through one of two access points is allowed.

    Without TLS or an access point all are denied in so many words, which no policy of a role can overrule; others, who
    come as a worker does, get nothing from this policy.
    """
    assert len(set(access_points())) == 2
    assert ":role/roles-worker-" in worker()
    elsewhere = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/other"
    for role, tls, point in product((worker(), ADMIN, None), ("true", "false"), (*access_points(), elsewhere, None)):
        comes_right = tls == "true" and point in access_points()
        expected = ("allow" if role == worker() else "none") if comes_right else "deny"
        for action in ("ClientMount", "ClientWrite"):
            assert decision(action, request(role, tls, point)) == expected


def test_conditions_use_only_what_efs_knows_of_a_client() -> None:
    """EFS enforces four keys for clients ("EFS condition keys for clients"); a denial by another may hit the worker."""
    known = {
        "aws:SecureTransport",
        "aws:SourceIp",
        "elasticfilesystem:AccessPointArn",
        "elasticfilesystem:AccessedViaMountTarget",
    }
    assert all(keys.keys() <= known for s in access() for keys in s["Condition"].values())


def test_nobody_is_root_and_nobody_comes_from_outside_the_vpc() -> None:
    """Root access is given to no one, the worker included, and a request that came by no mount target gets nothing."""
    for point in access_points():
        assert decision("ClientRootAccess", request(worker(), "true", point)) == "none"
        assert decision("ClientMount", request(worker(), "true", point, through_mount_target="false")) == "none"


@pytest.mark.parametrize("role", ["training", "checkpoints"])
def test_access_points_belong_to_the_worker(role: str) -> None:
    """Each has its own root, made for uid and gid 1000, closed to others, and every client is that user."""
    inputs = data().one(f"files-{role}").inputs
    assert inputs["posixUser"] == {"uid": 1000, "gid": 1000}
    assert inputs["rootDirectory"] == {
        "path": f"/{role}",
        "creationInfo": {"ownerUid": 1000, "ownerGid": 1000, "permissions": "0750"},
    }


def test_every_subnet_has_a_mount_target() -> None:
    """One mount target a subnet, in the given group, of the one file system."""
    targets = [target.inputs for target in data().of_type("aws:efs/mountTarget:MountTarget")]
    assert [target["subnetId"] for target in targets] == ["network-private-0-id", "network-private-1-id"]
    assert all(target["securityGroups"] == ["network-groups-file-system-id"] for target in targets)
    assert {target["fileSystemId"] for target in targets} == {"files-efs-id"}


def test_the_file_system_is_encrypted_elastic_tiered_and_backed_up() -> None:
    """Encryption at rest, elastic throughput, cold files to cheap storage and back on first read, daily backups."""
    inputs = data().one("files-efs").inputs
    assert inputs["encrypted"] is True
    assert inputs["throughputMode"] == "elastic"
    assert inputs["lifecyclePolicies"] == [
        {"transitionToIa": "AFTER_30_DAYS"},
        {"transitionToPrimaryStorageClass": "AFTER_1_ACCESS"},
    ]
    assert data().one("files-backup").inputs["backupPolicy"] == {"status": "ENABLED"}


@pytest.mark.parametrize("protect_data", [True, False])
def test_protect_data_keeps_the_file_system(protect_data: bool) -> None:
    """The file system is protected and retained by the setting; mount targets never, they would hold the subnets."""
    recording = data(protect_data)
    file_system = recording.one("files-efs")
    assert (file_system.protect, file_system.retain_on_delete) == (protect_data, protect_data)
    assert not any(target.protect for target in recording.of_type("aws:efs/mountTarget:MountTarget"))
