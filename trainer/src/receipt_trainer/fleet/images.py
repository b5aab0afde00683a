"""The images that a stack has baked: seen, and all deleted, before the stack is taken down.

What is the stack's own, and what AWS is asked, is in the contract: the function that deletes expired images asks the
same. Sources: EC2 Image Builder API Reference, DeleteImage, DeleteImageRecipe and DeleteComponent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from receipt_trainer.aws import clients
from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.contract import baked_images
from receipt_trainer.contract.baked_images import Ami, Build
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from receipt_trainer.contract.outputs import StackOutputs

Say = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """One line of the list: a bake, or an AMI whose image resource is gone, which has no `name`."""

    name: str
    status: str
    image_id: str | None
    created_at: str
    in_force: bool


@dataclass(frozen=True)
class Found:
    """The images that exist; `in_force` is the value of the image parameter, None if there is no such parameter."""

    recipe: str
    in_force: str | None
    builds: tuple[Build, ...]
    amis: tuple[Ami, ...]

    def lines(self) -> list[Image]:
        """All images, the newest first."""
        there = {ami.image_id for ami in self.amis}
        listed = [
            Image(b.name, b.status, one or None, b.created_at, bool(one) and one == self.in_force)
            for b in self.builds
            for one in [image_id for image_id in b.image_ids if image_id in there] or [""]
        ]
        known = {image_id for b in self.builds for image_id in b.image_ids} | {b.arn for b in self.builds}
        listed += [
            Image("", "no image resource", ami.image_id, ami.created_at, ami.image_id == self.in_force)
            for ami in self.amis
            if not {ami.image_id, ami.source} & known
        ]
        return sorted(listed, key=lambda one: one.created_at, reverse=True)


def read(stack: StackOutputs) -> Found:
    """The images of a stack."""
    recipe = baked_images.recipe_name(stack.project, stack.environment)
    with aws_faults("read the images"):
        builds = baked_images.read_builds(clients.imagebuilder(), recipe)
        amis = baked_images.read_amis(clients.ec2(), recipe)
        in_force = clients.read_parameter(clients.ssm(), stack.image_parameter)
    return Found(recipe, in_force, tuple(builds), tuple(amis))


def delete_all(stack: StackOutputs, found: Found, say: Say) -> None:
    """Delete every image, and then the recipes and components that are no longer used; a line to `say` for each.

    After any interruption it can be called again: what is deleted is listed no more, an AMI goes before the image
    resource that leads to it, and workers boot the parent image before theirs goes.

    Raises:
        UserError: workers boot one of the images and the parent image cannot be found out; nothing was deleted.
        WorldError: something could not be deleted, or is being built; all else was.
    """
    gone, faults = baked_images.going(found.builds, found.amis), {}
    for build in found.builds:
        if not build.is_finished and build.status != baked_images.DELETED:
            cancel = f"aws imagebuilder cancel-image-creation --image-build-version-arn {build.arn}"
            faults[build.arn] = f"{build.name} is {build.status}: wait for its end, or {cancel}"
    if found.in_force in {ami.image_id for ami in gone.amis}:
        say(f"workers boot the parent image from now on: {_put_back(stack)}")
    ec2, imagebuilder = clients.ec2(), clients.imagebuilder()
    for number, ami in enumerate(gone.amis, start=1):
        if _try(faults, ami.image_id, f"delete {ami.image_id}", partial(baked_images.delete_ami, ec2, ami)):
            say(f"{number}/{len(gone.amis)} AMIs: {ami.image_id} and its snapshots are deleted")
    for number, build in enumerate(gone.builds, start=1):
        if faults.keys() & {*build.image_ids}:
            continue  # it leads to an AMI that is still there
        if _try(faults, build.arn, f"delete {build.name}", partial(baked_images.delete_build, imagebuilder, build)):
            say(f"{number}/{len(gone.builds)} images: {build.name} is deleted")
    for what, name, delete in _unused(imagebuilder, found.recipe):
        if _try(faults, name, f"delete the {what} {name}", delete):
            say(f"{what} {name}, which nothing used, is deleted")
    if faults:
        raise WorldError(f"{'; '.join(faults.values())}; all else is done: give the command again for the rest")


def _try(faults: dict[str, str], key: str, doing: str, call: Callable[[], object]) -> bool:
    try:
        with aws_faults(doing):
            call()
    except WorldError as error:
        faults[key] = str(error)
        return False
    return True


def _put_back(stack: StackOutputs) -> str:
    """Let the image parameter name the parent image, as it did before the first bake; its id, or UserError: not
    known."""
    parent = stack.parent_image
    if parent is None:
        raise UserError(
            "workers boot one of these images, and the stack's outputs do not say which is its parent; run "
            "`pulumi up` once"
        )
    with aws_faults("put the parent image into force"):
        if not parent.startswith("ami-"):
            parent = clients.ssm().get_parameter(Name=parent)["Parameter"].get("Value", "")
        put = clients.ssm().put_parameter
        put(Name=stack.image_parameter, Value=parent, DataType="aws:ec2:image", Overwrite=True)
    return parent


def _unused(imagebuilder: Any, recipe: str) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """(what, name, how to delete it) of recipes that no pipeline and no image uses, then of components without recipe.

    Asked step by step: a component is free once its recipe is gone.
    """
    with aws_faults("read the recipes"):
        used = {one.get("imageRecipeArn") for one in _all(imagebuilder.list_image_pipelines, "imagePipelineList")}
        used |= {build.name.partition("/")[0] for build in baked_images.read_builds(imagebuilder, recipe)}
        recipes = _own(imagebuilder.list_image_recipes, "imageRecipeSummaryList", recipe)
    for one in recipes:
        if one["arn"] not in used and one["name"] not in used:
            yield "recipe", one["name"], partial(imagebuilder.delete_image_recipe, imageRecipeArn=one["arn"])
    with aws_faults("read the components"):
        kept = {
            part["componentArn"]
            for one in _own(imagebuilder.list_image_recipes, "imageRecipeSummaryList", recipe)
            for part in imagebuilder.get_image_recipe(imageRecipeArn=one["arn"])["imageRecipe"]["components"]
        }
        built = [
            build
            for version in _own(imagebuilder.list_components, "componentVersionList", recipe)
            for build in _all(
                imagebuilder.list_component_build_versions, "componentSummaryList", componentVersionArn=version["arn"]
            )
        ]
    for one in built:
        if one["arn"] not in kept:
            yield "component", one["name"], partial(imagebuilder.delete_component, componentBuildVersionArn=one["arn"])


def _all(call: Callable[..., Any], key: str, **asked: Any) -> list[Mapping[str, Any]]:
    return list(baked_images.pages(call, key, **asked))


def _own(call: Callable[..., Any], key: str, recipe: str) -> list[Mapping[str, Any]]:
    named = [{"name": "name", "values": [f"{recipe}-*"]}]
    return [
        one for one in _all(call, key, owner="Self", filters=named) if baked_images.is_own_name(one["name"], recipe)
    ]
