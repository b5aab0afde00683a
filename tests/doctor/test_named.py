"""The table of named resources against the program itself."""

from __future__ import annotations

import pytest

from receipt_trainer.doctor.named import BUCKET, FINDERS, NAMED, QUEUE
from receipt_trainer.doctor.subject import Subject
from receipt_trainer.local.pulumi_program import Recording
from tests.doctor.conftest import record

NAMING = ("name", "creationToken", "dashboardName", "functionName", "bucket", "launchTemplateName")
FREE = {
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": "is put over what is there",
    "aws:imagebuilder/component:Component": "its name is new at every change, and an old one collides with nothing",
    "aws:imagebuilder/imageRecipe:ImageRecipe": "its name is new at every change, and an old one collides with nothing",
}
"""Types that bear a name of ours and cannot collide."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The program with everything that it can register."""
    folder = tmp_path_factory.mktemp("named") / "wheelhouse"
    folder.mkdir()
    return record(folder)


def test_every_named_resource_of_the_program_is_known(recording: Recording, subject: Subject) -> None:
    """What the program makes under a name of ours, and every bucket and queue, is in the table, and nothing else is."""
    registered = set()
    for one in recording.resources:
        if not one.custom or one.read or one.type in FREE:
            continue
        names = [one.inputs[key] for key in NAMING if key in one.inputs]
        ours = [name for name in names if isinstance(name, str) and "receipt-trainer" in name]
        if ours or one.type in (BUCKET, QUEUE):
            registered.add((one.type, one.name, one.parent, one.urn, (ours or [""])[0]))
    known = {
        (one.kind, one.name, one.parent_urn(subject), one.urn(subject), one.physical_name(subject)) for one in NAMED
    }
    assert known == registered
    assert {one.kind for one in NAMED if one.physical} == set(FINDERS)


def test_what_has_tags_has_those_of_the_stack(recording: Recording) -> None:
    """Every taggable resource of the program bears the two tags by which leftovers are found."""
    for one in recording.resources:
        tags = one.inputs.get("tags")
        if isinstance(tags, dict):
            assert {"Project": "receipt-trainer", "Environment": "dev"}.items() <= tags.items(), one.urn
