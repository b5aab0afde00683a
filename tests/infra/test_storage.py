from __future__ import annotations

import pytest

from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.infra.edits import stack, statements

ROLES = ("artifacts", "wheels")
BUCKET = "aws:s3/bucket:Bucket"


def buckets(protect_data: bool = True) -> Recording:
    return stack(protect_data=str(protect_data).lower())


def of_bucket(role: str, kind: str) -> Registration:
    """The one resource of a kind that configures a bucket."""
    recording = buckets()
    name = recording.one(f"storage-{role}", BUCKET)
    (found,) = (
        r
        for r in recording.resources
        if r.type.endswith(f":{kind}") and str(r.inputs["bucket"]).startswith(f"{name.name}-")
    )
    return found


def test_there_are_two_buckets_named_by_pulumi() -> None:
    """Artifacts and wheels; no physical name is asked for, so that a stack can be made twice in one account."""
    recorded = buckets().of_type(BUCKET)
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
        for resource in buckets(protect_data).resources
        if ":s3/bucket" in resource.type and "/bucketObject" not in resource.type
    ]
    assert {(r.protect, r.retain_on_delete) for r in resources} == {(protect_data, protect_data)}
    assert {b.inputs["forceDestroy"] for b in buckets(protect_data).of_type(BUCKET)} == {not protect_data}


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_waits_for_the_access_block(role: str) -> None:
    """S3 refuses both at one time, so the policy depends on the block."""
    assert of_bucket(role, "BucketPublicAccessBlock").urn in of_bucket(role, "BucketPolicy").dependencies
