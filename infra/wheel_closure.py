"""Which distributions an instance needs: the closure of the trainer's requirements over the pins, for Linux x86_64.

pip evaluates markers for the machine it runs on, and would pull torch with 3 GB of CUDA; this runs on any laptop and
stops at what the parent image brings.
"""

from __future__ import annotations

import email.parser
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from infra.wheelhouse import WheelhouseError

PROVIDED = frozenset({"torch", "setuptools"})
"""What the parent image brings: torch, and setuptools because torch asks for it."""


@dataclass(frozen=True)
class Pins:
    """The pinned version of each distribution by canonical name, and the file that says so."""

    versions: dict[NormalizedName, str]
    file: str

    @classmethod
    def read(cls, path: Path) -> Pins:
        """Parse a constraints file whose lines are `name==version`; raises WheelhouseError for any other line."""
        versions: dict[NormalizedName, str] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            name, equals, version = text.partition("==")
            if not equals or not version or not name.strip():
                raise WheelhouseError(f"{path}:{number}: {text!r} is no pin; write name==version")
            versions[canonicalize_name(name.strip())] = version.strip()
        return cls(versions, str(path))


@dataclass
class Needed:
    """The distributions found so far, each with the extras that something asked of it."""

    pins: Pins
    python: str
    extras: dict[NormalizedName, set[str]] = field(default_factory=dict)

    def add(self, requirements: Iterable[Requirement], extras: set[str], wanting: str) -> set[NormalizedName]:
        """Note what `wanting` with `extras` requires; return the names that are new or are asked for another extra.

        Raises WheelhouseError for a requirement that the pins lack or contradict.
        """
        todo: set[NormalizedName] = set()
        for requirement in requirements:
            name = canonicalize_name(requirement.name)
            if name in PROVIDED or not self._applies(requirement, extras):
                continue
            self._check(requirement, name, wanting)
            if name not in self.extras or requirement.extras - self.extras[name]:
                todo.add(name)
            self.extras.setdefault(name, set()).update(requirement.extras)
        return todo

    def _applies(self, requirement: Requirement, extras: set[str]) -> bool:
        target = _environment(self.python)
        return requirement.marker is None or any(
            requirement.marker.evaluate({**target, "extra": extra}) for extra in ("", *extras)
        )

    def _check(self, requirement: Requirement, name: NormalizedName, wanting: str) -> None:
        version = self.pins.versions.get(name)
        if version is None:
            raise WheelhouseError(f"{self.pins.file}: no pin of {name}, which {wanting} needs; add {name}==<version>")
        if not requirement.specifier.contains(version, prereleases=True):
            raise WheelhouseError(f"{self.pins.file}: {name}=={version}, but {wanting} needs {requirement.specifier}")


def requirements_of(wheel: Path) -> list[Requirement]:
    """The Requires-Dist entries of a wheel's metadata; raises WheelhouseError when it has none that can be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            name = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
            metadata = email.parser.Parser().parsestr(archive.read(name).decode("utf-8"))
        return [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    except (zipfile.BadZipFile, StopIteration, UnicodeDecodeError, InvalidRequirement) as error:
        raise WheelhouseError(f"{wheel.name}: no readable metadata ({type(error).__name__}: {error})") from error


def _environment(python: str) -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{python}.0",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "6.12",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
