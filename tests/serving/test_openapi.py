"""The interface is what /openapi.json says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from receipt_trainer.serving.app import create_app
from receipt_trainer.serving.corrections import FileCorrections
from receipt_trainer.serving.holder import Holder
from tests.serving.browser import PATIENT, served
from tests.waiting import TIMEOUT_S

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
"""What fits the schema may still be no receipt, and is then refused: so there is no check that all of it is taken."""


def test_schemathesis_finds_nothing(holder: Holder, tmp_path: Path) -> None:
    """Requests drawn from the interface, valid and not, get answers that it allows, and never a fault of ours."""
    corrections = FileCorrections(tmp_path / "corrections.jsonl")
    with served(create_app(holder, corrections=corrections, limits=PATIENT)) as url:
        schema = schemathesis.openapi.from_url(f"{url}openapi.json")
        assert len(list(schema.get_all_operations())) == 10
        for found in schema.get_all_operations():
            assert isinstance(found, Ok)
            operation = found.ok()

            @hypothesis.settings(max_examples=12)
            @hypothesis.given(case=operation.as_strategy())
            def check(case: Any) -> None:
                case.call_and_validate(checks=CHECKS, timeout=TIMEOUT_S)

            check()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here: apt-get install curl")
def test_examples_of_the_documentation(holder: Holder, tmp_path: Path) -> None:
    """Every curl in docs/serving.md does what stands beside it: none is refused, and JSON comes back."""
    root = Path(__file__).parents[2]
    blocks = re.findall(r"^```bash\n(.*?)^```$", (root / "docs" / "serving.md").read_text(), flags=re.M | re.S)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines()]
    assert len(commands) == 9
    with served(create_app(holder, corrections=FileCorrections(tmp_path / "corrections.jsonl"), limits=PATIENT)) as url:
        for words in commands:
            call = [word.replace("localhost:8000/", url) for word in words]
            done = subprocess.run([*call, "--fail-with-body"], capture_output=True, text=True, cwd=root)
            assert done.returncode == 0, (words, done.stdout)
            if "/v1/" in " ".join(words):
                json.loads(done.stdout)
