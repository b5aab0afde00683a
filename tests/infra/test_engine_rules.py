"""The engine's rules over every edit, and over every way from one edit to another: nothing is lost, nothing blocks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pytest

from receipt_trainer.local.pulumi_program import Recording, run
from tests.infra.edits import EDITS, LINES, evaluate, with_a_line_more
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
def stacks(wheelhouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Recording]:
    """The stack after each edit of the dev stack."""
    lines = {
        name: evaluate(wheelhouse, EDITS["image"], with_a_line_more(path, tmp_path_factory.mktemp("lines")))
        for name, path in LINES.items()
    }
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
            continue  # refused, unless the data may go: test_last_update.py
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
