"""The whole program: it evaluates with any legal configuration, and exports what the contract says; names and tags."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest

from infra.context import AwsContext
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.local.pulumi_program import load_config, run
from tests.infra.edits import ROOT, copy_of_the_program, evaluate

HOSTILE = json.loads((ROOT / "tests/infra/hostile.json").read_text())


@pytest.mark.parametrize("changes", [{}, HOSTILE], ids=["dev", "hostile"])
def test_outputs_are_the_contract(wheelhouse: Path, changes: dict[str, object]) -> None:
    """What the stack exports is what every command reads, for each pool that the configuration has."""
    own = {key.removeprefix("receipt-trainer:"): value for key, value in changes.items() if key != "aws:region"}
    recording = evaluate(wheelhouse, own)
    outputs = StackOutputs.parse(json.loads(json.dumps(recording.outputs)))
    assert set(outputs.pools) == {"gpu", "cpu"}
    assert outputs.pools["gpu"].queue_urls.keys() == {"high", "normal"}
    without = set() if recording.of_type("aws:imagebuilder/imagePipeline:ImagePipeline") else {"image_pipeline_arn"}
    assert set(recording.outputs) == set(StackOutputs.model_fields) - without
    assert not recording.secret_outputs


def test_the_program_needs_neither_torch_nor_boto3(wheelhouse: Path) -> None:
    """The laptop that runs pulumi needs no torch, and of the trainer only contract and configuration."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.infra.edits import evaluate\n"
        "evaluate(Path(sys.argv[1]))\n"
        "print(*[name for name in ('torch', 'transformers', 'boto3', 'numpy') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", code, str(wheelhouse)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_wrong_configuration_stops_before_any_resource(wheelhouse: Path) -> None:
    """All that is wrong is named at once, by key, and nothing is registered."""
    config = load_config(ROOT, "dev", {"pools": {"gpu": {"max_instances": 1, "min_instances": 2}}, "netwrok": {}})
    with pytest.raises(pulumi.RunError) as raised:
        run(ROOT, config=config)
    lines = str(raised.value).splitlines()
    assert len(lines) == 2
    assert any("receipt-trainer:pools.gpu.max_instances" in line for line in lines)
    assert any("receipt-trainer:netwrok" in line and "network" in line for line in lines)


def test_another_trainer_is_refused(wheelhouse: Path, tmp_path: Path) -> None:
    """Python must find the trainer that wheels are built from; else one line says which it finds, and what to do."""
    copy = copy_of_the_program(tmp_path)
    (copy / "trainer").unlink()
    (copy / "trainer" / "src").mkdir(parents=True)
    with pytest.raises(
        pulumi.RunError, match=r"^receipt_trainer: Python finds the copy in .*; run pulumi install"
    ) as no:
        evaluate(wheelhouse, program=copy)
    assert "\n" not in str(no.value)


def test_the_requirement_is_the_folder_itself() -> None:
    """`pulumi install` installs the trainer editable: after a pull it is today's, and no `trainer/build` is left."""
    assert "-e ./trainer" in (ROOT / "requirements.txt").read_text().splitlines()


def test_the_dev_stack_is_at_most_160_resources(wheelhouse: Path) -> None:
    """Components, the wheels of the fixture and all: each is a line of a preview and an entry of the state."""
    assert len(evaluate(wheelhouse).resources) <= 160


CONTEXT = AwsContext("receipt-trainer", "dev", "aws", "us-east-1", "123456789012", (), {"Team": "ml"})


def test_names_begin_with_project_and_environment() -> None:
    """Two stacks of one account never give a resource the same name, and two parts of one stack do not either."""
    assert CONTEXT.prefix == "receipt-trainer-dev"
    assert CONTEXT.name("worker", "gpu") == "receipt-trainer-dev-worker-gpu"
    assert CONTEXT.path("worker") == "/receipt-trainer/dev/worker"
    assert CONTEXT.path() == "/receipt-trainer/dev"


def test_tags_are_the_stacks_then_the_users_then_the_resources() -> None:
    """Every resource says its name, project and environment; a resource's own tag comes last."""
    assert CONTEXT.tags_for("worker", Pool="gpu") == {
        "Name": "receipt-trainer-dev-worker",
        "Project": "receipt-trainer",
        "Environment": "dev",
        "Team": "ml",
        "Pool": "gpu",
    }
