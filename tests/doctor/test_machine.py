"""The checks of this machine, with programs of the test on PATH."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from receipt_trainer.doctor import machine
from receipt_trainer.doctor.subject import Subject
from tests.doctor.conftest import levels, look, write_pulumi


def put(folder: Path, name: str, says: str) -> None:
    """A program that says one line."""
    (folder / name).write_text(f'#!/bin/sh\necho "{says}"\n')
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("version", "level"), [("v3.260.0", "ok"), ("v3.219.0", "ok"), ("v3.218.1", "failure"), ("dev", "failure")]
)
def test_the_cli_is_new_enough(
    version: str, level: str, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below 3.219 `requiredPulumiVersion` is ignored: that is a failure which says where to get a newer one."""
    monkeypatch.setenv("PATH", write_pulumi(tmp_path, {}, {}, version))
    (found,) = look(machine.look_at_pulumi, subject)
    assert found.level == level
    assert level == "ok" or "pulumi.com" in found.remedies[0]


def test_without_a_cli(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pulumi is a failure, but for whoever works with saved outputs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert levels(look(machine.look_at_pulumi, subject)) == ["failure"]
    assert levels(look(machine.look_at_pulumi, dataclasses.replace(subject, stack=None))) == ["ok"]


def test_the_sdk_is_installed(subject: Subject, tmp_path: Path) -> None:
    """The packages of `venv/` count where there is one: empty, it is a warning that names `pulumi install`."""
    (fine,) = look(machine.look_at_sdk, subject)
    assert fine.level == "ok"
    assert "pulumi-aws 7" in fine.text
    (tmp_path / "venv/lib/python3.11/site-packages").mkdir(parents=True)
    (bare,) = look(machine.look_at_sdk, dataclasses.replace(subject, folder=tmp_path))
    assert (bare.level, bare.remedies) == ("warning", ("pulumi install",))


def test_the_aws_cli_and_its_plugin(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 and the plugin are wished for; without them, or with version 1, there is a warning each."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    put(tmp_path, "aws", "aws-cli/2.31.0 Python/3.13 Linux")
    put(tmp_path, "session-manager-plugin", "1.2.707.0")
    assert levels(look(machine.look_at_aws_cli, subject)) == ["ok", "ok"]
    put(tmp_path, "aws", "aws-cli/1.45.11 Python/3.11 Linux")
    assert levels(look(machine.look_at_aws_cli, subject)) == ["warning", "ok"]
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert levels(look(machine.look_at_aws_cli, subject)) == ["warning", "warning"]


def test_the_folder_is_the_programs(subject: Subject, tmp_path: Path) -> None:
    """Elsewhere than in the clone pulumi's commands fail, which does not matter to whoever has saved outputs."""
    assert levels(look(machine.look_at_program, subject)) == ["ok"]
    elsewhere = dataclasses.replace(subject, folder=tmp_path)
    assert levels(look(machine.look_at_program, elsewhere)) == ["failure"]
    assert levels(look(machine.look_at_program, dataclasses.replace(elsewhere, stack=None))) == ["ok"]
