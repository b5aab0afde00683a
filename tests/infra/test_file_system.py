from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from receipt_trainer.local.pulumi_program import Recording
from tests.infra.edits import stack, statements

ADMIN = "arn:aws:iam::123456789012:role/admin"


def recorded(protect_data: bool = True) -> Recording:
    return stack(protect_data=str(protect_data).lower())


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
    return statements(recorded().one("files-access-policy").inputs["policy"])


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
    inputs = recorded().one(f"files-{role}").inputs
    assert inputs["posixUser"] == {"uid": 1000, "gid": 1000}
    assert inputs["rootDirectory"] == {
        "path": f"/{role}",
        "creationInfo": {"ownerUid": 1000, "ownerGid": 1000, "permissions": "0750"},
    }


def test_every_subnet_has_a_mount_target() -> None:
    """One mount target a subnet, in the given group, of the one file system."""
    targets = [target.inputs for target in recorded().of_type("aws:efs/mountTarget:MountTarget")]
    assert [target["subnetId"] for target in targets] == ["network-private-0-id", "network-private-1-id"]
    assert all(target["securityGroups"] == ["network-groups-file-system-id"] for target in targets)
    assert {target["fileSystemId"] for target in targets} == {"files-efs-id"}


def test_the_file_system_is_encrypted_elastic_tiered_and_backed_up() -> None:
    """Encryption at rest, elastic throughput, cold files to cheap storage and back on first read, daily backups."""
    inputs = recorded().one("files-efs").inputs
    assert inputs["encrypted"] is True
    assert inputs["throughputMode"] == "elastic"
    assert inputs["lifecyclePolicies"] == [
        {"transitionToIa": "AFTER_30_DAYS"},
        {"transitionToPrimaryStorageClass": "AFTER_1_ACCESS"},
    ]
    assert recorded().one("files-backup").inputs["backupPolicy"] == {"status": "ENABLED"}


@pytest.mark.parametrize("protect_data", [True, False])
def test_protect_data_keeps_the_file_system(protect_data: bool) -> None:
    """The file system is protected and retained by the setting; mount targets never, they would hold the subnets."""
    recording = recorded(protect_data)
    file_system = recording.one("files-efs")
    assert (file_system.protect, file_system.retain_on_delete) == (protect_data, protect_data)
    assert not any(target.protect for target in recording.of_type("aws:efs/mountTarget:MountTarget"))
