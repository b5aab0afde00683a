"""`receipt-trainer images`, on AMIs of the embedded AWS and a stand-in for Image Builder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.local.emulator import LocalCloud
from tests.baked import PARENT, Baked, baked
from tests.cli.jobs import Caller
from tests.image_builder import refusal


class Stack(NamedTuple):
    """Images, and a saved copy of the outputs that lead to them."""

    baked: Baked
    path: Path


@pytest.fixture
def stack(aws: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A pipeline whose recipe no bake was made from, and workers that boot the parent image."""
    with baked(aws.client) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_IMAGEBUILDER", made.builder.url)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        made.put(PARENT)
        recipe = made.builder.add_recipe(made.name(99), PARENT, made.builder.add_component(made.name(99)))
        made.builder.add_pipeline(made.recipe, recipe)
        texts = {name: "x" for name, field in StackOutputs.model_fields.items() if field.is_required()}
        given: dict[str, Any] = texts | {"project": "receipt-trainer", "environment": made.environment}
        given |= {"region": "us-east-1", "image_parameter": made.parameter, "parent_image": PARENT}
        path = tmp_path / "outputs.json"
        path.write_text(json.dumps(given | {"private_subnet_ids": [], "pools": {}}))
        yield Stack(made, path)


def test_list_says_which_image_workers_boot(stack: Stack, call: Caller) -> None:
    """Each bake with its state, AMI and date, the newest first; an AMI without its image resource; the one in force."""
    _, old = stack.baked.bake(1)
    _, new = stack.baked.bake(2, recipe=1)
    stack.baked.builder.add_image(stack.baked.name(1), 3, "BUILDING", "2026-11-03T06:00:00.000Z")
    orphan = stack.baked.ami()
    stack.baked.put(new)
    found = call("images", "list", "--outputs", str(stack.path), "--json").json
    assert [(one["status"], one["image_id"], one["in_force"]) for one in found] == [
        ("no image resource", orphan, False),
        ("BUILDING", None, False),
        ("AVAILABLE", new, True),
        ("AVAILABLE", old, False),
    ]
    out = call("images", "list", "--outputs", str(stack.path)).out
    (line,) = [line for line in out.splitlines() if new in line]
    assert f"{stack.baked.name(1)}/1.0.0/2" in line
    assert "yes" in line


def test_without_images_the_list_says_what_workers_boot(stack: Stack, call: Caller) -> None:
    """Before the first bake it is the parent image."""
    said = call("images", "list", "--outputs", str(stack.path))
    assert (said.code, said.out) == (0, "")
    assert said.err.splitlines() == ["no image has been baked", f"workers boot {PARENT}"]


def test_delete_leaves_nothing_that_costs_or_holds_up_a_destroy(stack: Stack, call: Caller) -> None:
    """All bakes, AMIs and snapshots go, workers boot the parent image before theirs goes, and of recipes and components
    those that no pipeline uses; a line tells of each; other stacks' stay. Given again it finds nothing to do."""
    baked, builder = stack.baked, stack.baked.builder
    orphaned = builder.add_recipe(baked.name(1), PARENT, builder.add_component(baked.name(1)))
    bakes = [baked.bake(1, recipe=1), baked.bake(2, "FAILED", recipe=99), baked.bake(3, recipe=99)]
    ids = [ami for _, ami in bakes]
    snapshots = [baked.snapshot(ami) for ami in ids]
    baked.put(ids[2])
    other = Baked(builder, baked.client, f"{baked.environment}-worker")
    kept_image, kept_ami = other.bake(1)
    kept_recipe = builder.add_recipe(other.name(), PARENT, builder.add_component(other.name()))
    said = call("images", "delete", "--yes", "--outputs", str(stack.path))
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == f"workers boot the parent image from now on: {PARENT}"
    assert all(any(one in line and "deleted" in line for line in said.out.splitlines()) for one in ids)
    assert baked.in_force() == PARENT
    assert baked.amis(*ids, kept_ami) == {kept_ami}
    assert baked.snapshots(*snapshots) == set()
    assert list(builder.images) == [kept_image]
    assert orphaned not in builder.recipes
    assert kept_recipe in builder.recipes
    assert {one["name"] for one in builder.components.values()} == {baked.name(99), other.name()}
    again = call("images", "delete", "--yes", "--outputs", str(stack.path))
    assert (again.code, again.out) == (0, "no image is left\n")


def test_what_was_stopped_half_way_is_given_again(stack: Stack, call: Caller) -> None:
    """An AMI that cannot be deregistered keeps the image resource that leads to it, the others go, and the line says
    what to do; when AWS lets it, the same command finishes."""
    baked = stack.baked
    (first, _), (second, _) = baked.bake(1), baked.bake(2)
    baked.builder.refused[first] = refusal("ServiceUnavailableException", "try later")
    said = call("images", "delete", "--yes", "--outputs", str(stack.path))
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "try later" in said.err
    assert "give the command again" in said.err
    assert list(baked.builder.images) == [first]
    assert second not in baked.builder.images
    baked.builder.refused.clear()
    assert call("images", "delete", "--yes", "--outputs", str(stack.path)).code == 0
    assert not baked.builder.images


def test_a_bake_under_way_is_named(stack: Stack, call: Caller) -> None:
    """Image Builder refuses to delete it: the line names its state and how to end it; all else is deleted."""
    _, ami = stack.baked.bake(1)
    busy = stack.baked.builder.add_image(stack.baked.name(99), 2, "BUILDING", "2026-11-02T06:00:00.000Z")
    said = call("images", "delete", "--yes", "--outputs", str(stack.path))
    assert said.code == 1
    assert "is BUILDING: wait for its end, or aws imagebuilder cancel-image-creation" in said.err
    assert stack.baked.amis(ami) == set()
    assert list(stack.baked.builder.images) == [busy]


def test_after_a_destroy_that_stopped_there_is_no_parameter_to_put_back(stack: Stack, call: Caller) -> None:
    """The parameter may be gone already; the images go all the same."""
    _, ami = stack.baked.bake(1)
    stack.baked.client("ssm").delete_parameter(Name=stack.baked.parameter)
    assert call("images", "delete", "--yes", "--outputs", str(stack.path)).code == 0
    assert stack.baked.amis(ami) == set()
    assert "no image parameter" in call("images", "list", "--outputs", str(stack.path)).err


def test_nothing_is_deleted_unasked(stack: Stack, call: Caller) -> None:
    """Without --yes and without a terminal to ask at, and with outputs that do not know the parent image of the one in
    force, it is one line, and every image is still there."""
    arn, ami = stack.baked.bake(1)
    said = call("images", "delete", "--outputs", str(stack.path))
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "give --yes" in said.err
    stack.baked.put(ami)
    stack.path.write_text(stack.path.read_text().replace(f'"parent_image": "{PARENT}"', '"parent_image": null'))
    said = call("images", "delete", "--yes", "--outputs", str(stack.path))
    assert (said.code, "pulumi up" in said.err) == (2, True)
    assert stack.baked.amis(ami) == {ami}
    assert list(stack.baked.builder.images) == [arn]
    assert call("images", "list").err == "error: --stack NAME is needed (or --outputs FILE)\n"
