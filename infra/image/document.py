"""The Image Builder component document: static scripts and one block of quoted values, as a pure function."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SCRIPTS = ("install_trainer.sh", "ami_install.sh", "ami_verify.sh", "ami_test.sh")
"""Files of userdata/ that the bake puts on the machine as they are."""

MAX_CHARACTERS = 16_000
"""Longest document that may stand inside a component (CreateComponent, "EC2 Image Builder API Reference": data)."""

_UNPACK = "ami_unpack.sh"
_FOLDER = "/opt/receipt-trainer/bake"


class ImageDocumentError(ValueError):
    """A script or a value that cannot stand in a component document."""


def read_scripts(folder: Path) -> dict[str, str]:
    """Text of every script that a document needs, by file name, from the `userdata` folder."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in (_UNPACK, *SCRIPTS)}


def render(scripts: Mapping[str, str], values: Mapping[str, str]) -> str:
    """The document's YAML: phases that run `scripts` (see `read_scripts`) with the environment `values`.

    Scripts stand in it verbatim. Raises ImageDocumentError, naming the script or value, for `{{`, which Image Builder
    would replace ("Use variables in your custom component document"), the end line of a script, or a document too long.
    """
    for name, text in (*scripts.items(), *values.items()):
        if "{{" in text:
            line = text[: text.index("{{")].count("\n") + 1
            raise ImageDocumentError(f"{name}:{line}: Image Builder would replace {{{{; write it another way")
    environment = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(values.items()))
    files = {"bake.env": environment, **{name: scripts[name] for name in SCRIPTS}}
    unpack = scripts[_UNPACK].replace("# FILES\n", "".join(_put(name, text) for name, text in files.items()))
    document = {
        "name": "receipt-trainer-worker",
        "description": "The trainer, its wheels and what its boot needs",
        "schemaVersion": 1.0,
        "phases": [
            {"name": "build", "steps": [_step("Unpack", unpack), _step("Install", _run("ami_install.sh"))]},
            {"name": "validate", "steps": [_step("Verify", _run("ami_verify.sh"))]},
            {"name": "test", "steps": [_step("Test", _run("ami_test.sh"))]},
        ],
    }
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=MAX_CHARACTERS)
    if len(text) > MAX_CHARACTERS:
        raise ImageDocumentError(
            f"the component document has {len(text)} characters, Image Builder takes {MAX_CHARACTERS}; "
            f"shorten {', '.join(SCRIPTS)}"
        )
    return text


def _put(name: str, text: str) -> str:
    mark = "END_OF_" + re.sub("[^A-Z]", "_", name.upper())
    if mark in text.splitlines():
        raise ImageDocumentError(f"{name}: the line {mark} ends the file's text in the document; write it another way")
    return f"put {name} <<'{mark}'\n{text}{mark}\n"


def _run(script: str) -> str:
    return f'bash "${{ROOT:-}}{_FOLDER}/{script}"\n'


def _step(name: str, command: str) -> dict[str, Any]:
    return {"name": name, "action": "ExecuteBash", "onFailure": "Abort", "inputs": {"commands": [command]}}


class _Dumper(yaml.SafeDumper):
    """Scripts as literal blocks: quoted ones would be a third longer, and unreadable in the console."""


def _literal(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _literal)
