"""The function that deletes expired images: what it does over HTTP, its resources, its role."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from infra.image.expiry import FILES, HANDLER
from receipt_trainer.contract import baked_images
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.baked import PARENT, Baked, baked
from tests.image_builder import refusal
from tests.infra import edits
from tests.infra.looks import direct, make_client, refuse, with_answers
from tests.infra.policy_reading import allowed

ACCOUNT, REGION = "123456789012", "us-east-1"
MADE = {"aws:ResourceTag/CreatedBy": "EC2 Image Builder"}


@cache
def handler() -> ModuleType:
    spec = importlib.util.spec_from_file_location("expired_images_handler", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stack(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Baked]:
    """A stack's images; Image Builder is the stand-in, all else the embedded AWS."""
    with baked(aws.client) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_IMAGEBUILDER", made.builder.url)
        made.put(PARENT)
        yield made


def client(stack: Baked) -> Any:
    return lambda service: make_client(service, stack.builder.url) if service == "imagebuilder" else direct(service)


def look(stack: Baked, clients: Any = None) -> dict[str, list[str]]:
    rules = {"recipe": stack.recipe, "parameter": stack.parameter}
    found: dict[str, list[str]] = handler().look(rules, clients or client(stack))
    return found


def test_one_image_is_kept(stack: Baked) -> None:
    """Of five bakes of two recipes, one failed, the AMI in force stays with its snapshot and image resource; the others
    are gone with theirs, also an AMI whose image resource was deleted by hand; and a second look finds nothing."""
    bakes = [stack.bake(1, recipe=1), stack.bake(2, recipe=1), stack.bake(3, "FAILED"), stack.bake(4), stack.bake(5)]
    orphan = stack.ami()
    ids = [ami for _, ami in bakes]
    snapshots = [stack.snapshot(ami) for ami in [*ids, orphan]]
    stack.put(ids[4])
    found = look(stack)
    assert set(found["amis"]) == {*ids[:4], orphan}
    assert stack.amis(*ids, orphan) == {ids[4]}
    assert stack.snapshots(*snapshots) == {snapshots[4]}
    assert list(stack.builder.images) == [bakes[4][0]]
    assert look(stack) == {"amis": [], "images": []}
    assert stack.in_force() == ids[4]


def test_what_is_not_ours_stays(stack: Baked) -> None:
    """Images of another stack, of a stack whose environment begins alike, and AMIs that lack one of our tags."""
    other = Baked(stack.builder, stack.client, f"{stack.environment}-worker")
    kept = [other.bake(1), other.bake(2)]
    foreign = [stack.ami(CreatedBy="me", Name=baked_images.image_tag(stack.recipe)), stack.ami(Name="mine")]
    _, gone = stack.bake(1)
    _, in_force = stack.bake(2)
    stack.put(in_force)
    assert look(stack)["amis"] == [gone]
    ids = [*(ami for _, ami in kept), *foreign]
    assert stack.amis(*ids) == set(ids)
    assert {arn for arn, _ in kept} < set(stack.builder.images)


def test_a_bake_under_way_is_left_alone(stack: Baked) -> None:
    """Neither its image resource nor an AMI that may be its own is touched; what was finished before goes."""
    _, old = stack.bake(1)
    _, in_force = stack.bake(2)
    stack.put(in_force)
    busy = stack.builder.add_image(stack.name(), 3, "TESTING", "2026-11-03T06:00:00Z")
    fresh = stack.ami()
    assert look(stack)["amis"] == [old]
    assert stack.amis(fresh) == {fresh}
    assert busy in stack.builder.images


@pytest.mark.parametrize(
    ("service", "call"),
    [("ssm", "get_parameter"), ("imagebuilder", "list_image_build_versions"), ("ec2", "get_paginator")],
)
def test_without_a_full_view_nothing_is_deleted(stack: Baked, service: str, call: str) -> None:
    """If the parameter, the image resources or the AMIs cannot be read, the run fails and deletes nothing."""
    bakes = [stack.bake(1), stack.bake(2)]
    ids = [ami for _, ami in bakes]

    def fail(*words: Any, **asked: Any) -> Any:
        refuse("AccessDenied")()

    def clients(asked: str) -> Any:
        made = with_answers(service, **{call: fail})(asked) if asked != "imagebuilder" else client(stack)(asked)
        return Refusing(made, call, fail) if asked == service == "imagebuilder" else made

    with pytest.raises(Exception, match="AccessDenied"):
        look(stack, clients)
    assert stack.amis(*ids) == set(ids)
    assert len(stack.builder.images) == 2


class Refusing:
    """A client of which one method is another."""

    def __init__(self, real: Any, name: str, method: Any) -> None:
        self._real, self._name, self._method = real, name, method

    def __getattr__(self, name: str) -> Any:
        return self._method if name == self._name else getattr(self._real, name)


def test_a_parameter_that_names_no_image_deletes_nothing(stack: Baked) -> None:
    """Whatever a person wrote into it is no reason to delete the image that workers had."""
    _, ami = stack.bake(1)
    stack.put("none")
    with pytest.raises(RuntimeError, match="names no image"):
        look(stack)
    assert stack.amis(ami) == {ami}


def test_what_cannot_be_deleted_is_said_and_the_rest_goes(stack: Baked) -> None:
    """A refused image resource does not hold the others up; the run fails, so that Lambda counts it; later it goes."""
    (first, _), (second, _), (_, in_force) = stack.bake(1), stack.bake(2), stack.bake(3)
    stack.put(in_force)
    stack.builder.refused[first] = refusal("ResourceDependencyException", "shared with another account")
    with pytest.raises(RuntimeError, match="shared with another account"):
        look(stack)
    assert first in stack.builder.images
    assert second not in stack.builder.images
    stack.builder.refused.clear()
    assert look(stack) == {"amis": [], "images": [f"{stack.name()}/1.0.0/1"]}


def recorded() -> Recording:
    return edits.stack(golden_ami={"enabled": True})


def of_expiry(token: str) -> list[Registration]:
    return [found for found in recorded().of_type(token) if found.name.startswith("image-expiry")]


def test_it_runs_after_a_bake_and_once_a_day() -> None:
    """Events of Image Builder are delivered as well as can be ("EventBridge Events Reference"): a day's look is sure.
    Both rules may call the function, and nobody else may."""
    rules = {one.name: one.inputs for one in of_expiry("aws:cloudwatch/eventRule:EventRule")}
    assert rules["image-expiry-schedule"]["scheduleExpression"] == "rate(1 day)"
    pattern = json.loads(rules["image-expiry-event"]["eventPattern"])
    assert pattern["source"] == ["aws.imagebuilder"]
    assert pattern["detail-type"] == ["EC2 Image Builder Image State Change"]
    assert pattern["detail"] == {"state": {"status": ["AVAILABLE"]}}
    (place,) = pattern["resources"]
    assert f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image/receipt-trainer-dev-worker-1a2b3c4/1.0.0/1".startswith(
        place["prefix"]
    )
    permissions = of_expiry("aws:lambda/permission:Permission")
    assert sorted(one.inputs["sourceArn"].rpartition("/")[2][:18] for one in permissions) == [
        "image-expiry-event",
        "image-expiry-sched",
    ]
    assert len(of_expiry("aws:cloudwatch/eventTarget:EventTarget")) == 2


def test_the_package_runs_by_itself(tmp_path: Path) -> None:
    """The files as Lambda unpacks them, on a Python that sees nothing else of ours: the handler can be imported, and
    what it imports of ours lies in the package."""
    (function,) = of_expiry("aws:lambda/function:Function")
    assert {name: asset.path for name, asset in function.inputs["code"].assets.items()} == {
        name: str(path) for name, path in FILES.items()
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, path in FILES.items():
            archive.writestr(name, path.read_bytes())
    zipfile.ZipFile(content).extractall(tmp_path)
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]; sys.path.append(sys.argv[2]); import handler, receipt_trainer\n"
        "print(*sorted(m for m in sys.modules if m.startswith(('receipt_trainer', 'infra', 'pydantic'))))\n"
        "assert receipt_trainer.__file__.startswith(sys.argv[1]); assert callable(handler.handle)"
    )
    packages = str(Path(boto3.__file__).parents[1])  # without what its .pth files would add
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path), packages]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    named = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in FILES} - {"handler"}
    assert set(done.stdout.split()) == named


def own(tag: str, value: str) -> dict[str, str]:
    return MADE | {f"aws:ResourceTag/{tag}": value}


AMI, SNAPSHOT = f"arn:aws:ec2:{REGION}::image/ami-1", f"arn:aws:ec2:{REGION}::snapshot/snap-1"
HERE = f"arn:aws:imagebuilder:{REGION}:{ACCOUNT}:image"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/imagebuilder/receipt-trainer/dev/worker-image"


@pytest.mark.parametrize(
    ("action", "resource", "context", "may"),
    [
        ("ssm:GetParameter", PARAMETER, {}, True),
        ("ssm:PutParameter", PARAMETER, {}, False),
        ("imagebuilder:ListImages", "*", {}, True),
        ("imagebuilder:ListImageBuildVersions", f"{HERE}/receipt-trainer-dev-worker-1a2b3c4/1.0.0", {}, True),
        ("imagebuilder:DeleteImage", f"{HERE}/receipt-trainer-dev-worker-1a2b3c4/1.0.0/12", {}, True),
        ("imagebuilder:DeleteImage", f"{HERE}/receipt-trainer-dev-worker-worker-1a2b3c4/1.0.0/1", {}, False),
        ("imagebuilder:DeleteImage", f"{HERE}/receipt-trainer-prod-worker-1a2b3c4/1.0.0/1", {}, False),
        ("imagebuilder:DeleteImageRecipe", f"{HERE}-recipe/receipt-trainer-dev-worker-1a2b3c4/1.0.0", {}, False),
        ("ec2:DeregisterImage", AMI, own("Name", "receipt-trainer-dev-worker-image"), True),
        ("ec2:DeregisterImage", AMI, own("Name", "receipt-trainer-prod-worker-image"), False),
        ("ec2:DeregisterImage", AMI, {"aws:ResourceTag/Name": "receipt-trainer-dev-worker-image"}, False),
        ("ec2:DeregisterImage", AMI, MADE, False),
        (
            "ec2:DeregisterImage",
            AMI,
            own("Ec2ImageBuilderArn", f"{HERE}/receipt-trainer-dev-worker-1a2b3c4/1.0.0/1"),
            True,
        ),
        ("ec2:DeregisterImage", AMI, own("Ec2ImageBuilderArn", f"{HERE}/receipt-trainer-prod-worker/1.0.0/1"), False),
        ("ec2:DeleteSnapshot", SNAPSHOT, MADE, True),
        ("ec2:DeleteSnapshot", SNAPSHOT, {}, False),
        ("ec2:TerminateInstances", f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-1", MADE, False),
    ],
)
def test_its_role_deletes_own_images_and_nothing_else(
    action: str, resource: str, context: dict[str, str], may: bool
) -> None:
    """It reads the parameter, sees images, and deletes what bears this stack's names."""
    (policy,) = of_expiry("aws:iam/rolePolicy:RolePolicy")
    assert allowed(str(policy.inputs["policy"]), action, resource, context) is may
