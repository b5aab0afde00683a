"""The S3 buckets: artifacts of runs, wheels of the trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_aws as aws

from infra.context import AwsContext, Component
from infra.iam import deny_plain_http

_UNFINISHED_UPLOAD_DAYS: Final = 7


@dataclass(frozen=True)
class BucketsArgs:
    """After `old_versions_days` an overwritten or deleted object is gone for good; `protect_data` refuses to delete the
    buckets, which `pulumi destroy` else deletes with all that is in them."""

    context: AwsContext
    old_versions_days: int
    protect_data: bool


class Buckets(Component[BucketsArgs]):
    """Private, versioned, encrypted buckets that answer over TLS only.

    Without server access logs: they would need a third bucket that grows unread. Who asked S3 for what can be had from
    CloudTrail's data events, switched on when there is a question.

    Attributes:
        artifacts: a prefix for each job, and the logs of image builds.
        wheels: a wheelhouse for each content hash.
    """

    def __init__(self, name: str, args: BucketsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, args, opts)
        # On what guards a bucket as well: a bucket that is retained must not lose its policy.
        protect = args.protect_data
        self._child = pulumi.ResourceOptions(parent=self, protect=protect, retain_on_delete=protect)
        self.artifacts = self._bucket("artifacts")
        self.wheels = self._bucket("wheels")
        self.register_outputs({"artifacts": self.artifacts.bucket, "wheels": self.wheels.bucket})

    def _bucket(self, role: str) -> aws.s3.Bucket:
        """No public access, no ACLs, no plain HTTP; versions are kept, and old ones go."""
        name, args = f"{self._name}-{role}", self._args
        bucket = aws.s3.Bucket(
            name, force_destroy=not args.protect_data, tags=args.context.tags_for(role), opts=self._child
        )
        of_bucket: dict[str, Any] = {"bucket": bucket.bucket, "opts": self._child}
        aws.s3.BucketOwnershipControls(f"{name}-owner", rule={"object_ownership": "BucketOwnerEnforced"}, **of_bucket)
        block = aws.s3.BucketPublicAccessBlock(
            f"{name}-private",
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            **of_bucket,
        )
        aws.s3.BucketPolicy(
            f"{name}-policy",
            bucket=bucket.bucket,
            policy=deny_plain_http("s3", [bucket.arn, pulumi.Output.concat(bucket.arn, "/*")]),
            opts=self._after(block),  # S3 refuses two changes of a bucket's access at one time
        )
        # S3's own key: free, and who may read is said once, in the roles. A bucket key saves requests to KMS, of which
        # there are none.
        aws.s3.BucketServerSideEncryptionConfiguration(
            f"{name}-encryption",
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            **of_bucket,
        )
        versions = aws.s3.BucketVersioning(
            f"{name}-versions", versioning_configuration={"status": "Enabled"}, **of_bucket
        )
        old: aws.s3.BucketLifecycleConfigurationRuleArgsDict = {
            "id": "old-versions-and-unfinished-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "noncurrent_version_expiration": {"noncurrent_days": args.old_versions_days},
            # What is left of a deleted object when its last version is gone.
            "expiration": {"expired_object_delete_marker": True},
            "abort_incomplete_multipart_upload": {"days_after_initiation": _UNFINISHED_UPLOAD_DAYS},
        }
        aws.s3.BucketLifecycleConfiguration(
            f"{name}-lifecycle", bucket=bucket.bucket, rules=[old], opts=self._after(versions)
        )
        return bucket

    def _after(self, other: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[other]))
