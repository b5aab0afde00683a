"""The configuration that a program is handed without the pulumi CLI."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.errors import UserError
from receipt_trainer.local.pulumi_program import load_config

SAMPLE = Path(__file__).parent / "sample_program"


def test_configuration_is_what_the_cli_hands_over() -> None:
    """Defaults of declarations, over them the stack's file, over them the overrides; a key replaces as a whole."""
    found = load_config(SAMPLE, "dev", {"limit": 7, "other:key": [1]})
    assert found == {
        "aws:region": "us-east-1",
        "sample:greeting": "hello",
        "sample:limit": "7",
        "sample:shape": '{"sides": 5}',
        "sample:plain": "as it stands",
        "sample:on": "true",
        "other:key": "[1]",
    }
    assert json.loads(load_config(SAMPLE, "unknown")["sample:shape"]) == {"sides": 4, "color": "red"}


def test_a_stacks_value_replaces_the_declared_one_however_the_key_is_written(tmp_path: Path) -> None:
    """`key` and `project:key` are the same key, in either file."""
    (tmp_path / "Pulumi.yaml").write_text("name: p\nconfig:\n  p:a: {default: 1}\n  b: {default: 1}\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  a: 2\n  p:b: 2\n")
    assert load_config(tmp_path, "dev") == {"p:a": "2", "p:b": "2"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=VALUES.filter(lambda value: value is not None))
def test_any_value_reaches_the_program(value: Any) -> None:
    """A string arrives as it is, any other value as JSON that says the same."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Pulumi.yaml").write_text("name: p\n")
        (Path(folder) / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": {"p:key": value}}))
        found = load_config(Path(folder), "dev")["p:key"]
    assert found == value if isinstance(value, str) else json.loads(found) == value


@pytest.mark.parametrize(
    ("project", "stack", "words"),
    [
        (None, None, "no Pulumi program"),
        ("runtime: python\n", None, "no Pulumi program"),
        ("[1]\n", None, r"Pulumi\.yaml: expected a mapping"),
        ("name: p\n", "config: {p:key: {secure: AAA}}\n", r"Pulumi\.dev\.yaml: p:key is encrypted"),
        ("name: p\n", "config: [\n", r"Pulumi\.dev\.yaml: while parsing"),
        ("name: p\nconfig: 3\n", None, r"Pulumi\.yaml: config: expected a mapping"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, project: str | None, stack: str | None, words: str
) -> None:
    """A missing, broken or encrypted configuration is one line that names the file."""
    for name, text in (("Pulumi.yaml", project), ("Pulumi.dev.yaml", stack)):
        if text is not None:
            (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        load_config(tmp_path, "dev")
    assert "\n" not in str(raised.value)
