"""An edit of a standing stack that would replace what holds data is refused before anything is registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra.preview_checks import refuse_replaced_data
from infra.settings import StackSettings
from receipt_trainer.local import pulumi_program
from receipt_trainer.local.pulumi_program import Recording, run
from tests.infra.edits import ROOT, configuration

REFERENCE = "pulumi:pulumi:StackReference"


def update(wheelhouse: Path, last: Mapping[str, Any], region: str = "us-east-1", **changes: Any) -> Recording:
    """The program as it is run for a stack whose last update left these outputs."""
    answers = {REFERENCE: {"outputs": dict(last), "secretOutputNames": []}}
    config = configuration(wheelhouse, changes) | {"aws:region": region}
    return run(ROOT, config=config, answers=answers)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """The recordings of all runs, of those that fail, too."""
    found: list[Recording] = []

    class Watched(pulumi_program.Monitor):
        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            found.append(self.recording)

    monkeypatch.setattr("receipt_trainer.local.pulumi_program.Monitor", Watched)
    return found


@pytest.mark.parametrize(
    ("changes", "region", "line"),
    [
        ({"environment": "live"}, "us-east-1", "receipt-trainer:environment: 'live' would replace .* 'dev', by"),
        ({}, "eu-west-1", "aws:region: 'eu-west-1' would replace .* 'us-east-1', by"),
    ],
    ids=["environment", "region"],
)
def test_another_environment_or_region_is_refused(
    wheelhouse: Path, watched: list[Recording], changes: dict[str, Any], region: str, line: str
) -> None:
    """One line says what would be lost and names the way; nothing but the look at the last outputs was registered."""
    last = {"environment": "dev", "region": "us-east-1", "jobs_table": "receipt-trainer-dev-jobs"}
    with pytest.raises(pulumi.RunError, match=f"^{line} something empty; .*pulumi stack init.*replace_data") as refused:
        update(wheelhouse, last, region, **changes)
    assert "\n" not in str(refused.value)
    (recording,) = watched
    assert [resource.type for resource in recording.resources] == [REFERENCE]
    assert recording.outputs == last  # the next update has to find them still


@pytest.mark.parametrize(
    "last",
    [{"environment": "dev", "region": "us-east-1"}, {"word": "of another program"}, {}],
    ids=["the same", "neither", "none"],
)
def test_the_same_place_and_a_first_update_go_on(wheelhouse: Path, last: dict[str, str]) -> None:
    """A stack of this environment and region is updated, and so is one that was never updated: it has no outputs."""
    recording = update(wheelhouse, last)
    assert recording.of_type("aws:dynamodb/table:Table")
    assert not any("replace" in message for message in recording.messages)


def test_replace_data_allows_it_with_a_warning(wheelhouse: Path) -> None:
    """Who sets `replace_data` gets the other environment, and one line in the preview that says what it costs."""
    recording = update(wheelhouse, {"environment": "dev", "region": "us-east-1"}, environment="live", replace_data=True)
    assert recording.outputs["environment"] == "live"
    (warning,) = [message for message in recording.messages if "replace_data" in message]
    assert "by something empty" in warning


def test_the_stack_asks_for_itself_by_its_full_name(wheelhouse: Path) -> None:
    """The reference is to organisation, project and stack, as every backend wants it; the stack owns nothing more."""
    (reference,) = update(wheelhouse, {}).of_type(REFERENCE)
    assert reference.id == reference.inputs["name"] == "local/receipt-trainer/dev"
    assert reference.read


def test_both_edits_at_once_are_both_named() -> None:
    """Environment and region have a line each."""
    settings = StackSettings.parse({"environment": "live"})

    def program() -> None:
        refuse_replaced_data({"environment": "dev", "region": "us-east-1"}, settings, "eu-west-1", "receipt-trainer")

    with pytest.raises(pulumi.RunError) as refused:
        run(program)
    assert [line.split(": ")[0] for line in str(refused.value).splitlines()] == [
        "receipt-trainer:environment",
        "aws:region",
    ]
