"""What an edit of the stack changes: two evaluations of the program, compared resource by resource."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pulumi import AssetArchive

from receipt_trainer.local.mocks import Answer, become
from receipt_trainer.local.pulumi_program import Recording, Registration, load_config, run
from receipt_trainer.local.resources import stand_in

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
NAMESPACE = "receipt-trainer:"


@dataclass(frozen=True)
class Difference:
    """What is not the same in the two evaluations: `type/name`, and for changed ones the inputs that differ."""

    added: frozenset[str]
    removed: frozenset[str]
    changed: Mapping[str, frozenset[str]]

    def everything(self) -> set[str]:
        """All that an update would touch."""
        return {*self.added, *self.removed, *self.changed}


EDITS: Mapping[str, Mapping[str, Any]] = {
    "nothing": {},
    "hyperparameters": {"training": {"learning_rate": 1e-4, "num_epochs": 3}},
    "instance types": {"pools": {"gpu": {"instance_types": ["g6.2xlarge", "g6.xlarge"]}}},
    "bounds": {"pools": {"cpu": {"max_instances": 3}}},
    "volume and market": {"pools": {"cpu": {"root_volume_gib": 200, "market": "on_demand"}}},
    "a pool less": {"pools": {"cpu": {"enabled": False}}},
    "tags": {"tags": {"team": "ml"}},
    "retention": {"retention": {"logs_days": 90, "old_versions_days": 90}},
    "nat none": {"network": {"nat": "none"}},
    "nat single": {"network": {"nat": "single"}},
    "nat public": {"network": {"nat": "public"}},
    "three zones": {"network": {"az_count": 3}},
    "image": {"golden_ami": {"enabled": True}},
    "no image": {"golden_ami": {"enabled": False}},
    "parent image": {"golden_ami": {"enabled": True, "parent_image": "ami-0123456789abcdef0", "schedule": ""}},
    "budget": {"budget": {"monthly_usd": 100, "email": "a@example.com"}},
    "mail": {"alarm_email": "a@example.com"},
    "notices": {"notify_email": "a@example.com", "jobs": {"notify": True}},
    "protection": {"protect_data": "true"},
}
"""Changes of the dev stack, by what they are about; each can be made on a running stack."""
LINES: Mapping[str, str] = {
    "a boot script": "userdata/worker_boot.sh",
    "a script of boots and bakes": "userdata/install_trainer.sh",
    "a bake script": "userdata/ami_verify.sh",
    "the function": "infra/functions/silent_instances/handler.py",
}
"""Files of the program that get one line more, by what they are."""


def evaluate(wheelhouse: Path, changes: Mapping[str, Any] | None = None, program: Path = ROOT) -> Recording:
    """The program with Pulumi.dev.yaml, over it `changes` by key (objects are merged into the stack's own).

    The same recording for the same changes of the repository's own program: an evaluation takes a second or more.
    """
    if program == ROOT:
        return _evaluated(wheelhouse, json.dumps(changes or {}))
    return evaluate_anew(wheelhouse, changes, program)


def evaluate_anew(
    wheelhouse: Path,
    changes: Mapping[str, Any] | None = None,
    program: Path = ROOT,
    answers: Mapping[str, Answer] | None = None,
) -> Recording:
    """As `evaluate`, whatever was evaluated before; `answers` as `run` takes them."""
    config = configuration(wheelhouse, changes, program)
    return run(program, config=config, become=_with_template_versions, answers=answers)


@cache
def _house() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="wheelhouse.")
    stand_in(Path(folder.name))
    return folder


def house() -> Path:
    """A ready wheelhouse of empty wheels, for the workers' Pythons; gone with the process."""
    return Path(_house().name)


def stack(**changes: Any) -> Recording:
    """The whole program as `evaluate` runs it, with that wheelhouse."""
    return evaluate(house(), changes)


def statements(policy: str) -> list[dict[str, Any]]:
    """Of a policy document."""
    return list(json.loads(policy)["Statement"])


@cache
def _evaluated(wheelhouse: Path, changes: str) -> Recording:
    return evaluate_anew(wheelhouse, json.loads(changes))


def configuration(wheelhouse: Path, changes: Mapping[str, Any] | None = None, program: Path = ROOT) -> dict[str, str]:
    """What the CLI would hand to the program for Pulumi.dev.yaml with these changes."""
    config = load_config(program, "dev")
    given = {"wheelhouse": {"path": str(wheelhouse)}, **(changes or {})}
    for key, value in given.items():
        before = json.loads(config.get(NAMESPACE + key) or "{}") if isinstance(value, dict) else None
        config[NAMESPACE + key] = json.dumps(_merged(before, value)) if isinstance(value, dict) else str(value)
    return config


def copy_of_the_program(folder: Path) -> Path:
    """The program's own files, to edit."""
    program = folder / "program"
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("infra", "userdata"):
        shutil.copytree(ROOT / name, program / name, ignore=unwanted)
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml", "__main__.py"):
        shutil.copy(ROOT / name, program / name)
    (program / "trainer").symlink_to(ROOT / "trainer")  # what runs has to be the program's own trainer
    return program


@cache
def with_a_line_more(edit: str) -> Recording:
    """The stack with an image, after one of LINES. A compiled file that lies beside the edited one is none of it."""
    program = copy_of_the_program(Path(_folder_of(edit).name))
    with (program / LINES[edit]).open("a") as file:
        file.write("# one line more\n")
    compiled = (program / LINES[edit]).parent / "__pycache__"
    compiled.mkdir(exist_ok=True)
    (compiled / "handler.pyc").write_bytes(b"x")
    return evaluate(house(), EDITS["image"], program)


@cache
def _folder_of(edit: str) -> TemporaryDirectory[str]:
    """A folder that stays as long as the process: recordings name files in it."""
    return TemporaryDirectory(prefix="edited.")


def _merged(before: Any, value: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(value, dict):
        return value
    return {**before, **{key: _merged(before.get(key), item) for key, item in value.items()}}


def _with_template_versions(resource: Registration) -> tuple[str, dict[str, Any]]:
    """As AWS does it: another content of a launch template is another version of it."""
    id_, outputs = become(resource, "us-east-1")
    if resource.type == TEMPLATE:
        content = json.dumps(resource.inputs, sort_keys=True, default=str)
        outputs = {**outputs, "latestVersion": zlib.crc32(content.encode()) % 1000 + 1}
    return id_, outputs


def compare(before: Recording, after: Recording) -> Difference:
    """Resources by type and name; components are left out, they are nothing on AWS."""
    one, other = _by_name(before), _by_name(after)
    changed = {}
    for name in one.keys() & other.keys():
        keys = {key for key in {*one[name], *other[name]} if _plain(one[name], key) != _plain(other[name], key)}
        if keys:
            changed[name] = frozenset(keys)
    return Difference(frozenset(other.keys() - one.keys()), frozenset(one.keys() - other.keys()), changed)


def _by_name(recording: Recording) -> dict[str, dict[str, Any]]:
    return {f"{r.type.rpartition(':')[2]}/{r.name}": r.inputs for r in recording.resources if r.custom}


def _plain(inputs: Mapping[str, Any], key: str) -> str:
    return json.dumps(inputs.get(key), sort_keys=True, default=_asset)


def _asset(asset: Any) -> Any:
    """A file by its path, an archive by the content of its files."""
    if isinstance(asset, AssetArchive):
        return {name: Path(str(file.path)).read_text() for name, file in asset.assets.items()}
    return str(asset.path)
