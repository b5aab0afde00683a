"""The S3 buckets: artifacts of runs, wheels of the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext
from infra.iam import deny_plain_http

_UNFINISHED_UPLOAD_DAYS: Final = 7


@dataclass(frozen=True)
class BucketsArgs:
    """Arguments of the buckets.

    Attributes:
        old_versions_days: days after which an overwritten or deleted object is gone for good.
        protect_data: refuse to delete the buckets; else `pulumi destroy` deletes them with all that is in them.
    """

    context: AwsContext
    old_versions_days: int
    protect_data: bool


class Buckets(pulumi.ComponentResource):
    """Private, versioned, encrypted buckets that answer over TLS only.

    Without server access logs: they would need a third bucket that grows unread. Who asked S3 for what can be had from
    CloudTrail's data events, switched on when there is a question.

    Attributes:
        artifacts: a prefix for each job, and the logs of image builds.
        wheels: a wheelhouse for each content hash.
    """

    def __init__(self, name: str, args: BucketsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:Buckets", name, {}, opts)
        self._name, self._args = name, args
        # On what guards a bucket as well: a bucket that is retained must not lose its policy.
        protect = args.protect_data
        self._child = pulumi.ResourceOptions(parent=self, protect=protect, retain_on_delete=protect)
        self.artifacts = self._bucket("artifacts")
        self.wheels = self._bucket("wheels")
        self.register_outputs({"artifacts": self.artifacts.bucket, "wheels": self.wheels.bucket})

    def _bucket(self, role: str) -> aws.s3.Bucket:
        name = f"{self._name}-{role}"
        bucket = aws.s3.Bucket(
            name,
            force_destroy=not self._args.protect_data,
            tags=self._args.context.tags_for(role),
            opts=self._child,
        )
        self._close(name, bucket)
        # S3's own key: free, and who may read is said once, in the roles. A bucket key saves requests to KMS, of which
        # there are none.
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            bucket=bucket.bucket,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=self._child,
        )
        self._expire(name, bucket)
        return bucket

    def _close(self, name: str, bucket: aws.s3.Bucket) -> None:
        """No public access, no ACLs, no plain HTTP."""
        aws.s3.BucketOwnershipControls(
            f"{name}-owner", bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=self._child
        )
        block = aws.s3.BucketPublicAccessBlock(
            f"{name}-private",
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child,
        )
        # S3 refuses two changes of a bucket's access at one time.
        after_block = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[block]))
        aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.bucket,
            policy=deny_plain_http("s3:*", [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")]),
            opts=after_block,
        )

    def _expire(self, name: str, bucket: aws.s3.Bucket) -> None:
        """Keep versions, and let the old ones go."""
        versioning = aws.s3.BucketVersioning(
            f"{name}-versions",
            bucket=bucket.bucket,
            versioning_configuration={"status": "Enabled"},
            opts=self._child,
        )
        after_versioning = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[versioning]))
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle",
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "old-versions-and-unfinished-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": self._args.old_versions_days},
                    # What is left of a deleted object when its last version is gone.
                    "expiration": {"expired_object_delete_marker": True},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": _UNFINISHED_UPLOAD_DAYS},
                }
            ],
            opts=after_versioning,
        )
