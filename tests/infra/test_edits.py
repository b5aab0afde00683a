"""What edits of the stack change, on AWS and under the engine's rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from receipt_trainer.local.pulumi_program import Recording, run
from tests.infra.edits import (
    EDITS,
    LINES,
    Difference,
    compare,
    configuration,
    evaluate,
    evaluate_anew,
    with_a_line_more,
)
from tests.infra.replacements import (
    HOLDS_DATA,
    REPLACING,
    Replacement,
    colliding,
    deleted_first,
    left_behind,
    own_name,
    replacements,
)

GPU_GROUP, GPU_TEMPLATE = "Group/gpu-group", "LaunchTemplate/gpu-template"
CPU_GROUP, CPU_TEMPLATE = "Group/cpu-group", "LaunchTemplate/cpu-template"


@pytest.fixture(scope="module")
def before(wheelhouse: Path) -> Recording:
    """The stack as Pulumi.dev.yaml has it, with an image."""
    return evaluate(wheelhouse, EDITS["image"])


def edited(before: Recording, wheelhouse: Path, **changes: Any) -> Difference:
    """What an edit changes; the engine's rules below look at what it replaces."""
    return compare(before, evaluate(wheelhouse, {**EDITS["image"], **changes}))


def test_nothing_differs_without_an_edit(before: Recording, wheelhouse: Path) -> None:
    """Two evaluations of the same configuration are the same, so that a preview shows edits alone."""
    assert not compare(before, evaluate_anew(wheelhouse, EDITS["image"])).everything()


def test_hyperparameters_change_one_parameter(before: Recording, wheelhouse: Path) -> None:
    """Editing hyperparameters changes the value of one SSM parameter: no template, no group, no image."""
    found = edited(before, wheelhouse, training={"learning_rate": 1e-4, "num_epochs": 3})
    assert dict(found.changed) == {"Parameter/training-parameter": {"value"}}
    assert found.everything() == {"Parameter/training-parameter"}


def test_limits_of_jobs_change_no_resource(before: Recording, wheelhouse: Path) -> None:
    """Editing the limits that jobs have by default changes an output of the stack alone."""
    assert not edited(before, wheelhouse, jobs={"max_hours": 6, "max_usd": 5}).everything()


def test_days_that_workers_keep_things_change_their_templates(before: Recording, wheelhouse: Path) -> None:
    """Workers are told by their user data: templates change, and the groups follow their new versions."""
    found = edited(before, wheelhouse, retention={"checkpoints_days": 3, "rows_days": 30})
    assert found.everything() == {GPU_TEMPLATE, GPU_GROUP, CPU_TEMPLATE, CPU_GROUP}
    assert found.changed[GPU_TEMPLATE] == {"userData"}


def test_instance_types_change_template_and_group(before: Recording, wheelhouse: Path) -> None:
    """Editing a pool's instance types makes a template version and changes the group's overrides, of that pool."""
    found = edited(before, wheelhouse, pools={"gpu": {"instance_types": ["g6.2xlarge", "g6.xlarge"]}})
    assert dict(found.changed) == {GPU_TEMPLATE: {"instanceType"}, GPU_GROUP: {"mixedInstancesPolicy"}}
    assert found.everything() == {GPU_TEMPLATE, GPU_GROUP}


def test_bounds_change_the_group_and_its_steps(before: Recording, wheelhouse: Path) -> None:
    """Editing max_instances changes the group's bound and the size of its steps, and no template."""
    found = edited(before, wheelhouse, pools={"cpu": {"max_instances": 3}})
    assert dict(found.changed) == {CPU_GROUP: {"maxSize"}, "Policy/cpu-scaling-out": {"stepAdjustments"}}


def test_a_tag_changes_tags_only(before: Recording, wheelhouse: Path) -> None:
    """A tag of the user's changes tags; templates carry those of instances, so groups follow their new versions."""
    found = edited(before, wheelhouse, tags={"team": "ml"})
    assert not found.added
    assert not found.removed
    tags = {"tags", "tagSpecifications", "resourceTags"}
    beside = {GPU_GROUP: {"mixedInstancesPolicy"}, CPU_GROUP: {"mixedInstancesPolicy"}}
    beside["DistributionConfiguration/image-distribution"] = {"distributions"}  # the tags of its images
    for name, inputs in found.changed.items():
        assert inputs <= tags | beside.get(name, set()), name
    assert "Table/tables-receipts" in found.changed


@pytest.mark.parametrize(
    ("edit", "image", "templates"),
    [("a boot script", False, True), ("a script of boots and bakes", True, True), ("a bake script", True, False)],
)
def test_a_line_of_userdata_changes_image_version_and_templates(
    before: Recording, edit: str, image: bool, templates: bool
) -> None:
    """A line in a script makes a new image version if bakes run it, and new templates if boots do; nothing else."""
    found = compare(before, with_a_line_more(edit))
    # Recipe and pipeline follow, as the engine replaces the component: its ARN is another then.
    baked = {"Component/receipt-trainer-dev-worker"}
    booted = {GPU_TEMPLATE, CPU_TEMPLATE, GPU_GROUP, CPU_GROUP}
    assert found.everything() == (baked if image else set()) | (booted if templates else set())
    if image:
        assert found.changed["Component/receipt-trainer-dev-worker"] == {"data"}
    if templates:
        assert found.changed[GPU_TEMPLATE] == {"userData"}
        assert found.changed[GPU_GROUP] == {"mixedInstancesPolicy"}


def test_a_line_of_the_function_changes_the_function(before: Recording) -> None:
    """Editing what ends silent instances changes the code of that function, and no instance or template."""
    found = compare(before, with_a_line_more("the function"))
    assert dict(found.changed) == {"Function/silence-function": {"code"}}
    assert found.everything() == {"Function/silence-function"}


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit != "nothing"])
def test_each_edit_changes_something(wheelhouse: Path, edit: str) -> None:
    """Each of the edits whose rules are tested is one: it changes the stack, unless the stack has it so already."""
    found = compare(evaluate(wheelhouse), evaluate(wheelhouse, EDITS[edit]))
    own = configuration(wheelhouse) == configuration(wheelhouse, EDITS[edit])
    assert bool(found.everything()) is not own


def test_a_pool_less_takes_its_queues_alone(before: Recording, wheelhouse: Path) -> None:
    """Switching a pool off removes what is that pool's; jobs that wait in its queues go with them, nothing else."""
    found = edited(before, wheelhouse, **EDITS["a pool less"])
    assert not found.added
    assert {"Group/cpu-group", "Queue/jobs-cpu-high", "Queue/jobs-cpu-normal"} <= found.removed
    assert all("cpu" in name for name in found.removed)
    assert "environment" in found.changed["Function/silence-function"]
    assert found.changed["RolePolicy/silence-policy"] == {"policy"}
    assert not any(name.startswith(("Table/", "Bucket/", "FileSystem/")) for name in found.everything())


URNS_0_1_0 = json.loads((Path(__file__).parent / "urns_0_1_0.json").read_text())
RENAMED = "to another environment"
ALL = {name: value for edit in ("image", "budget", "mail") for name, value in EDITS[edit].items()}


@dataclass(frozen=True)
class Way:
    """From one stack to another, and what the engine replaces on it."""

    name: str
    before: Recording
    after: Recording
    replaced: Mapping[str, Replacement]


@pytest.fixture(scope="module")
def stacks(wheelhouse: Path) -> Mapping[str, Recording]:
    """The stack after each edit of the dev stack."""
    lines = {edit: with_a_line_more(edit) for edit in LINES}
    return {name: evaluate(wheelhouse, changes) for name, changes in EDITS.items()} | lines


@pytest.fixture(scope="module")
def ways(wheelhouse: Path, stacks: Mapping[str, Recording]) -> list[Way]:
    """From each stack to each other one, and to one that bears another name."""
    renamed = evaluate(wheelhouse, {**ALL, "environment": "live", "replace_data": True})
    whole = evaluate(wheelhouse, ALL)
    return [Way(RENAMED, whole, renamed, replacements(whole, renamed))] + [
        Way(f"from {one} to {other}", before, after, replacements(before, after))
        for (one, before), (other, after) in permutations(stacks.items(), 2)
    ]


def test_the_list_of_replacing_inputs_knows_every_type(stacks: Mapping[str, Recording]) -> None:
    """Each type that the program registers with any edit was asked of the provider; a new one has to be, too."""
    owned = [one for stack in stacks.values() for one in stack.resources if one.custom and not one.read]
    assert {resource.type for resource in owned} <= REPLACING.keys()


def test_no_edit_replaces_what_holds_data(ways: list[Way]) -> None:
    """Tables, buckets, file system, access points and queues are replaced on no way, and go only with their pool."""
    for way in ways:
        if way.name == RENAMED:
            continue  # refused, unless the data may go: test_preview_checks.py
        assert not [found.new.name for found in way.replaced.values() if found.new.type in HOLDS_DATA], way.name
        stays = {resource.urn for resource in way.after.resources}
        lost = {one.name for one in way.before.resources if one.type in HOLDS_DATA and one.urn not in stays}
        assert not lost or way.name.endswith("to a pool less"), way.name
        assert all(name.startswith("jobs-cpu-") for name in lost)


def test_what_may_be_replaced_says_what_goes_first(ways: list[Way]) -> None:
    """A resource with a name of ours that an edit replaces says `delete_before_replace`: the provider would, else."""
    named = [found.new for way in ways for found in way.replaced.values() if own_name(found.new)]
    assert len({resource.urn for resource in named}) >= 15
    assert not {resource.urn for resource in named if resource.delete_before_replace is None}


def test_nothing_is_deleted_while_something_that_stays_refers_to_it(ways: list[Way]) -> None:
    """What the engine deletes before it makes the new one has nothing left that was made of it."""
    assert not {way.name: lines for way in ways if (lines := left_behind(way.before, way.replaced))}


def test_no_name_is_given_twice(ways: list[Way]) -> None:
    """What is created before the old one goes has another name, for AWS refuses the same."""
    assert not {way.name: lines for way in ways if (lines := colliding(way.replaced))}


def test_what_holds_data_has_the_urn_it_always_had(stacks: Mapping[str, Recording]) -> None:
    """Under another URN the engine would delete the old and make a new one; an alias names the old."""
    known = {
        urn.split("::", 2)[2]
        for resource in stacks["nothing"].resources
        for urn in (resource.urn, *resource.aliases)
        if resource.type in HOLDS_DATA
    }
    tails = {tail for tail in URNS_0_1_0 if tail.partition("::")[0].rpartition("$")[2] in HOLDS_DATA}
    assert len(tails) > 10
    assert tails <= known


def chain(version: str, *, said: bool | None, named: bool = True) -> Recording:
    """A component of images, a recipe made of it, and a pipeline that names the recipe and is updated in place."""

    def program() -> None:
        options = pulumi.ResourceOptions(delete_before_replace=said)
        name = "worker" if named else None
        component = aws.imagebuilder.Component(
            "component", name=name, platform="Linux", version=version, data="x", opts=options
        )
        recipe = aws.imagebuilder.ImageRecipe(
            "recipe",
            name=name,
            version="1.0.0",
            parent_image="ami-1",
            components=[{"component_arn": component.arn}],
            opts=options,
        )
        aws.imagebuilder.ImagePipeline("pipeline", image_recipe_arn=recipe.arn, infrastructure_configuration_arn="i")

    return run(program)


def names(found: Iterable[str]) -> set[str]:
    """Logical names of URNs."""
    return {urn.rpartition("::")[2] for urn in found}


def test_the_rules_find_a_recipe_that_goes_before_its_pipeline_lets_go() -> None:
    """With the provider's word for resources that have a name, the recipe is deleted while the pipeline names it."""
    before = chain("1.0.0", said=None)
    replaced = replacements(before, chain("1.0.1", said=None))
    assert names(replaced) == names(deleted_first(before, replaced)) == {"component", "recipe"}
    assert left_behind(before, replaced) == ["pipeline refers to recipe"]


def test_the_rules_find_a_name_that_two_would_bear() -> None:
    """Created first under the old one's name: nothing is left behind, and AWS refuses the second of that name."""
    before = chain("1.0.0", said=False)
    replaced = replacements(before, chain("1.0.1", said=False))
    assert left_behind(before, replaced) == []
    assert "component is created as 'worker' before the old one goes" in colliding(replaced)


def test_the_rules_let_unnamed_ones_pass() -> None:
    """Names that Pulumi makes up are new each time, and the provider creates the new one first."""
    before = chain("1.0.0", said=None, named=False)
    replaced = replacements(before, chain("1.0.1", said=None, named=False))
    assert names(replaced) == {"component", "recipe"}
    assert (left_behind(before, replaced), colliding(replaced)) == ([], [])
