"""The first hour, played on the embedded AWS by the code that a real account would see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from receipt_trainer.local.emulator import LocalCloud
from tests.end_to_end import leftovers
from tests.end_to_end.account import StackAccount
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.interrupting import STOP, Interruptions
from tests.end_to_end.journey import Journey, JourneyError, OverspentError
from tests.end_to_end.pulumi_stand_in import ENV_FAILS

MakeAccount = Callable[..., StackAccount]
NOT_HERE = {"image", "snapshot", "volume"}
"""Nobody bakes in the first hour, and volumes have no tags on the embedded AWS."""


@pytest.fixture
def fleet(own_cloud: LocalCloud, tmp_path: Path, training_command: tuple[str, ...]) -> Iterator[Fleet]:
    with Fleet(own_cloud, tmp_path, training_command) as running:
        yield running
    assert running.fault is None


def typed(tmp_path: Path) -> list[str]:
    """What pulumi was told."""
    return (tmp_path / "state" / "typed.txt").read_text().splitlines()


def test_the_first_hour_goes_there_and_back(
    account: MakeAccount, fleet: Fleet, own_cloud: LocalCloud, program: Path, tmp_path: Path
) -> None:
    """Up, receipts, a job, a spot notice by fault injection, the job's end on another instance, results, destroy.

    Nothing that costs is left, nor the stack's file, nor a role or a template of the fault injection.
    """
    said: list[str] = []
    Journey(account(), 2.0, say=said.append, poll_s=0.5).run()
    told = "\n".join(said)
    assert len(fleet.ids) == 2, told
    assert f"{fleet.ids[0]}: AWS is told to interrupt it" in told
    assert "the job is INTERRUPTED, attempt 1" in told or "attempt 2 on" in told
    assert f"the job is SUCCEEDED, attempt 2 on {fleet.ids[1]}" in told
    assert "read back: 2 attempts, 30 losses" in told
    assert said[-1].endswith("done: nothing that costs is left")
    assert not list(program.glob("Pulumi.e2e-*"))
    assert not own_cloud.client("fis").list_experiment_templates()["experimentTemplates"]
    once = ["version", "stack init e2e-1a2b3c", "install", "up"]
    assert [words for words in typed(tmp_path) if words != "stack output"] == [
        *once,
        *("stack ls", "destroy", "stack rm e2e-1a2b3c"),
    ]


def test_the_limit_turns_it_back(account: MakeAccount, fleet: Fleet, tmp_path: Path) -> None:
    """At an absurd price the first instance that is seen is the end: all is destroyed, and what was spent is said.

    Before, with the stack up, the look at what costs finds every kind of thing that this stack has.
    """
    said: list[str] = []
    ours = account(usd_per_h=lambda kind, zone, is_spot: 1e6)
    seen: set[str] = set()

    def say(line: str) -> None:
        said.append(line)
        if "the first checkpoint" in line or "the job is" in line or "turning back" in line:
            seen.update(one.kind for one in ours.leftovers())

    with pytest.raises(OverspentError):
        Journey(ours, 2.0, say=say, poll_s=0.5).run()
    assert seen == leftovers.KINDS.keys() - NOT_HERE
    assert typed(tmp_path)[-2:] == ["destroy", "stack rm e2e-1a2b3c"]
    assert not ours.leftovers()
    assert any("turning back: OverspentError" in line for line in said)


@pytest.mark.parametrize("fails", [1, 5])
def test_a_destroy_that_fails_is_tried_again(
    fails: int, account: MakeAccount, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of an update that was killed is taken away, and it is tried once more; then it says what pulumi says."""
    monkeypatch.setenv(ENV_FAILS, str(fails))
    ours = account()
    ours.preflight()
    (program / "Pulumi.e2e-1a2b3c.yaml").write_text("config: {}")
    (tmp_path / "state" / "e2e-1a2b3c.json").write_text("{}")
    if fails == 1:
        ours.destroy()
        assert typed(tmp_path)[-5:] == ["destroy", "cancel", "refresh", "destroy", "stack rm e2e-1a2b3c"]
        ours.destroy()  # once more does nothing
    else:
        with pytest.raises(JourneyError, match="something depends on it"):
            ours.destroy()
        assert f"cd {program}" in ours.by_hand()
        with pytest.raises(JourneyError, match="something of a stack e2e-1a2b3c already"):
            ours.preflight()


def test_what_is_missing_is_said_before_anything_is_made(
    account: MakeAccount, own_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pulumi, and things of that name in the account: one line, and nothing is created."""
    ours = account()
    own_cloud.client("logs").create_log_group(logGroupName="/receipt-trainer/e2e-1a2b3c/boot")
    with pytest.raises(JourneyError, match="already: /receipt-trainer/e2e-1a2b3c/boot"):
        ours.preflight()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(JourneyError, match="no pulumi on PATH"):
        ours.preflight()


def stack_without_fis(cloud: LocalCloud) -> leftovers.Stack:
    """An account whose organisation forbids fault injection."""

    class Denied:
        def create_experiment_template(self, **given: Any) -> None:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "CreateExperimentTemplate")

    clients: Callable[[str], Any] = lambda name: Denied() if name == "fis" else cloud.client(name)  # noqa: E731
    return leftovers.Stack(clients, "receipt-trainer", "e2e-1a2b3c")


@pytest.mark.parametrize(("is_spot", "why"), [(False, "it is no spot instance"), (True, "AccessDeniedException")])
def test_without_fault_injection_the_unit_is_stopped(own_cloud: LocalCloud, is_spot: bool, why: str) -> None:
    """On demand, or where it is denied, Run Command stops the worker's unit; the role that was made goes."""
    interruptions = Interruptions(stack_without_fis(own_cloud), "123456789012", "us-east-1", sleep=lambda seconds: None)
    assert why in interruptions.interrupt("i-0123456789abcdef0", is_spot=is_spot)
    [command] = own_cloud.client("ssm").list_commands()["Commands"]
    assert (command["InstanceIds"], command["Parameters"]["commands"]) == (["i-0123456789abcdef0"], [STOP])
    interruptions.tidy()
    interruptions.tidy()
    assert not [one for one in own_cloud.client("iam").list_roles()["Roles"] if one["RoleName"].endswith("-fis")]
