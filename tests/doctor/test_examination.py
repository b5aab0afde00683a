"""All checks together: their order, their limits, and that they change nothing."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.doctor import findings
from receipt_trainer.doctor.examination import CHECKS, FIRST, Check, examine, not_looked_at
from receipt_trainer.doctor.findings import Finding, ok
from receipt_trainer.doctor.subject import Subject, read_settings
from tests.doctor.conftest import ROOT, levels
from tests.doctor.wire import Answer, Wire, no_right
from tests.waiting import TIMEOUT_S

READS = re.compile(r"(Get|List|Describe|Scan|Query|Head|BatchGet)\w*|/.*")


def test_a_whole_stack_is_well_and_is_left_alone(subject: Subject, wire: Wire) -> None:
    """Of a stack that stands nothing on AWS is found wanting, in the order of the list; AWS is only read."""
    taken = list(examine(subject))
    assert [check.name for check, _ in taken] == [check.name for check in CHECKS]
    on_aws = [one for check, found in taken for one in found if check.group != "This machine"]
    assert set(levels(on_aws)) <= {"ok", "warning"}, on_aws
    assert len(on_aws) > 20
    assert all(READS.fullmatch(name) for name in wire.calls), wire.calls


def test_one_broken_service_hides_no_other(subject: Subject, wire: Wire) -> None:
    """A service that answers with a page of HTML, or refuses, is said in one line, and all others are seen."""
    page = Answer(500, "text/html", "<!doctype html><title>500</title><h1>Internal Server Error</h1>")
    wire.answers |= {"DescribeTable": page, "GetServiceQuota": no_right("servicequotas:GetServiceQuota")}
    said = {check.name: found for check, found in examine(subject)}
    assert levels(said["tables"]) == ["failure"] * 3
    assert all("web page" in one.text and "<" not in one.text for one in said["tables"])
    assert "servicequotas:GetServiceQuota" in said["quotas"][0].text
    assert levels(said["queues"]) == ["ok", "ok"]


def test_a_check_that_hangs_is_given_up(subject: Subject) -> None:
    """After its time a check counts as failed; what comes after it is shown all the same."""
    release = threading.Event()

    def hang(subject: Subject) -> Iterator[Finding]:
        release.wait(TIMEOUT_S)
        yield ok("late")

    checks = [Check("A", "slow", hang, "nothing"), Check("A", "quick", lambda _: [ok("quick")], "nothing")]
    taken = [(check.name, found) for check, found in examine(subject, checks, limit_s=0.2)]
    release.set()
    assert [(name, levels(found)) for name, found in taken] == [("slow", ["failure"]), ("quick", ["ok"])]


def test_what_a_check_found_before_it_failed_stays(subject: Subject) -> None:
    """A fault of ours in a check is a line of its own, after what it found."""

    def break_off(subject: Subject) -> Iterator[Finding]:
        yield ok("first")
        raise KeyError("Quota")

    ((_, found),) = examine(subject, [Check("A", "broken", break_off, "nothing")])
    assert levels(found) == ["ok", "failure"]
    assert "broken" in found[1].text


def test_before_the_first_update(subject: Subject, wire: Wire) -> None:
    """A stack without outputs is looked at by its files: quotas, zones, image; its parts are not asked for."""
    bare = dataclasses.replace(subject, outputs=None)
    said = {check.name: found for check, found in examine(bare)}
    assert "vCPUs of G and VT families" in said["quotas"][0].text
    assert len(said["zones"]) == 3
    assert not said["tables"] + said["groups"] + said["queues"]
    assert not_looked_at(bare)[0].remedies == ("pulumi up --stack dev",)
    assert not_looked_at(dataclasses.replace(bare, stack=None))[0].level == "warning"
    assert not_looked_at(dataclasses.replace(subject, stack=None))[0].level == "warning"
    assert not_looked_at(dataclasses.replace(subject, account=""))[0].level == "warning"
    assert not_looked_at(subject) == []


def test_settings_are_merged_at_every_depth(tmp_path: Path) -> None:
    """What a stack's file leaves out of an object has its default, as in the program; elsewhere there are none."""
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
    (tmp_path / "Pulumi.mine.yaml").write_text(
        "config:\n  aws:region: eu-west-1\n  receipt-trainer:pools:\n    gpu:\n      max_instances: 7\n"
    )
    found = read_settings(tmp_path, "mine")
    assert found["aws:region"] == "eu-west-1"
    assert found["pools"]["gpu"]["max_instances"] == 7
    assert len(found["pools"]["gpu"]["instance_types"]) > 1
    assert found["pools"]["cpu"]["enabled"] is True
    assert read_settings(tmp_path / "nowhere", "mine") == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\n  b", "a b"), ("x" * 500, f"{'x' * 240}..."), ("", "Exception")],
)
def test_errors_in_one_line(text: str, shown: str) -> None:
    """An error's text is one line that fits; one without a text is its type."""
    assert findings.one_line(Exception(text)) == shown


def test_checks_have_one_name_each() -> None:
    """Scripts tell checks by their names."""
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert FIRST in CHECKS
