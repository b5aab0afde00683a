"""Which baked images go: a pure decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.contract import baked_images
from receipt_trainer.contract.baked_images import Ami, Build

RECIPE = "receipt-trainer-dev-worker"
STATES = ("PENDING", "BUILDING", "TESTING", "DISTRIBUTING", "AVAILABLE", "FAILED", "CANCELLED", "DELETED", "NEW_STATE")


def build(number: int, status: str = "AVAILABLE") -> tuple[Build, Ami]:
    arn = f"arn:aws:imagebuilder:us-east-1:1:image/{RECIPE}-1a2b3c4/1.0.0/{number}"
    at = f"2026-11-{number:02}T06:00:00Z"
    return Build(arn, status, at, (f"ami-{number}",)), Ami(f"ami-{number}", at, (), arn)


def gone(pairs: list[tuple[Build, Ami]], in_force: str, *orphans: Ami) -> tuple[set[str], set[int]]:
    found = baked_images.expired([one for one, _ in pairs], [*(ami for _, ami in pairs), *orphans], in_force)
    return {ami.image_id for ami in found.amis}, {int(one.arn.rpartition("/")[2]) for one in found.builds}


def test_all_but_the_image_in_force_go() -> None:
    """Older images go with their AMIs, and what failed or was cancelled, too."""
    pairs = [build(1), build(2, "FAILED"), build(3, "CANCELLED"), build(4)]
    assert gone(pairs, "ami-4") == ({"ami-1", "ami-2", "ami-3"}, {1, 2, 3})


def test_an_image_that_is_newer_than_the_one_in_force_stays() -> None:
    """At the end of a bake the parameter may still name the image before; and a person may have set it back."""
    assert gone([build(1), build(2), build(3)], "ami-2") == ({"ami-1"}, {1})
    assert gone([build(1), build(2)], "ami-of-the-parent") == ({"ami-1"}, {1})


@pytest.mark.parametrize("status", ["PENDING", "BUILDING", "TESTING", "DISTRIBUTING", "INTEGRATING", "NEW_STATE"])
def test_what_is_being_built_stays_and_so_does_what_may_be_its_own(status: str) -> None:
    """While a bake is under way no AMI goes that no finished bake knows, for it may be the new one's."""
    orphan = Ami("ami-orphan", "2026-11-03T06:00:00Z", ())
    pairs = [build(1), build(2), build(3, status)]
    assert gone(pairs, "ami-2", orphan) == ({"ami-1"}, {1})
    assert gone(pairs[:2], "ami-2", orphan) == ({"ami-1", "ami-orphan"}, {1})


@given(states=st.lists(st.sampled_from(STATES), max_size=6), chosen=st.integers(0, 6))
def test_whatever_there_is_the_image_in_force_stays(states: list[str], chosen: int) -> None:
    """No list of bakes lets the image in force go, its image resource, or one that is not finished; and every image
    resource that goes has no AMI left that stays."""
    pairs = [build(number, status) for number, status in enumerate(states, start=1)]
    amis, builds = gone(pairs, f"ami-{chosen}")
    assert f"ami-{chosen}" not in amis
    assert chosen not in builds
    for number, (one, _) in enumerate(pairs, start=1):
        if not one.is_finished:
            assert number not in builds
            assert one.status == "DELETED" or f"ami-{number}" not in amis
        assert number not in builds or f"ami-{number}" in amis


@pytest.mark.parametrize(
    ("tags", "is_own"),
    [
        ({"CreatedBy": "EC2 Image Builder", "Name": f"{RECIPE}-image"}, True),
        ({"CreatedBy": "EC2 Image Builder", "Name": "receipt-trainer-prod-worker-image"}, False),
        ({"CreatedBy": "me", "Name": f"{RECIPE}-image"}, False),
        ({"Name": f"{RECIPE}-image"}, False),
        ({"CreatedBy": "EC2 Image Builder", "Ec2ImageBuilderArn": f"arn:a:i:r:1:image/{RECIPE}-1a2b3c4/1.0.0/1"}, True),
        ({"CreatedBy": "EC2 Image Builder", "Ec2ImageBuilderArn": f"arn:a:i:r:1:image/{RECIPE}/1.0.0/1"}, False),
        (
            {"CreatedBy": "EC2 Image Builder", "Ec2ImageBuilderArn": f"arn:a:i:r:1:image/{RECIPE}-worker-1a2b3c4/1/1"},
            False,
        ),
    ],
)
def test_an_ami_is_ours_by_its_tags(tags: dict[str, str], is_own: bool) -> None:
    """Made by Image Builder, and named by us or by an image resource of ours: of `dev`, not of `dev-worker`."""
    assert baked_images.is_own_ami(tags, RECIPE) is is_own
