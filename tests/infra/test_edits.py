"""One edit at a time: which resources differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receipt_trainer.local.pulumi_program import Recording
from tests.infra.edits import (
    EDITS,
    LINES,
    Difference,
    compare,
    configuration,
    evaluate,
    evaluate_anew,
    with_a_line_more,
)

GPU_GROUP, GPU_TEMPLATE = "Group/gpu-group", "LaunchTemplate/gpu-template"
CPU_GROUP, CPU_TEMPLATE = "Group/cpu-group", "LaunchTemplate/cpu-template"


@pytest.fixture(scope="module")
def before(wheelhouse: Path) -> Recording:
    """The stack as Pulumi.dev.yaml has it, with an image."""
    return evaluate(wheelhouse, EDITS["image"])


def edited(before: Recording, wheelhouse: Path, **changes: Any) -> Difference:
    """What an edit changes; test_engine_rules.py looks at what it replaces."""
    return compare(before, evaluate(wheelhouse, {**EDITS["image"], **changes}))


def test_nothing_differs_without_an_edit(before: Recording, wheelhouse: Path) -> None:
    """Two evaluations of the same configuration are the same, so that a preview shows edits alone."""
    assert not compare(before, evaluate_anew(wheelhouse, EDITS["image"])).everything()


def test_hyperparameters_change_one_parameter(before: Recording, wheelhouse: Path) -> None:
    """Editing hyperparameters changes the value of one SSM parameter: no template, no group, no image."""
    found = edited(before, wheelhouse, training={"learning_rate": 1e-4, "num_epochs": 3})
    assert dict(found.changed) == {"Parameter/training-parameter": {"value"}}
    assert found.everything() == {"Parameter/training-parameter"}


def test_limits_of_jobs_change_no_resource(before: Recording, wheelhouse: Path) -> None:
    """Editing the limits that jobs have by default changes an output of the stack alone."""
    assert not edited(before, wheelhouse, jobs={"max_hours": 6, "max_usd": 5}).everything()


def test_days_that_workers_keep_things_change_their_templates(before: Recording, wheelhouse: Path) -> None:
    """Workers are told by their user data: templates change, and the groups follow their new versions."""
    found = edited(before, wheelhouse, retention={"checkpoints_days": 3, "rows_days": 30})
    assert found.everything() == {GPU_TEMPLATE, GPU_GROUP, CPU_TEMPLATE, CPU_GROUP}
    assert found.changed[GPU_TEMPLATE] == {"userData"}


def test_instance_types_change_template_and_group(before: Recording, wheelhouse: Path) -> None:
    """Editing a pool's instance types makes a template version and changes the group's overrides, of that pool."""
    found = edited(before, wheelhouse, pools={"gpu": {"instance_types": ["g6.2xlarge", "g6.xlarge"]}})
    assert dict(found.changed) == {GPU_TEMPLATE: {"instanceType"}, GPU_GROUP: {"mixedInstancesPolicy"}}
    assert found.everything() == {GPU_TEMPLATE, GPU_GROUP}


def test_bounds_change_the_group_and_its_steps(before: Recording, wheelhouse: Path) -> None:
    """Editing max_instances changes the group's bound and the size of its steps, and no template."""
    found = edited(before, wheelhouse, pools={"cpu": {"max_instances": 3}})
    assert dict(found.changed) == {CPU_GROUP: {"maxSize"}, "Policy/cpu-scaling-out": {"stepAdjustments"}}


def test_a_tag_changes_tags_only(before: Recording, wheelhouse: Path) -> None:
    """A tag of the user's changes tags; templates carry those of instances, so groups follow their new versions."""
    found = edited(before, wheelhouse, tags={"team": "ml"})
    assert not found.added
    assert not found.removed
    tags = {"tags", "tagSpecifications", "resourceTags"}
    beside = {GPU_GROUP: {"mixedInstancesPolicy"}, CPU_GROUP: {"mixedInstancesPolicy"}}
    beside["DistributionConfiguration/image-distribution"] = {"distributions"}  # the tags of its images
    for name, inputs in found.changed.items():
        assert inputs <= tags | beside.get(name, set()), name
    assert "Table/tables-receipts" in found.changed


@pytest.mark.parametrize(
    ("script", "image", "templates"),
    [("worker_boot.sh", False, True), ("install_trainer.sh", True, True), ("ami_verify.sh", True, False)],
)
def test_a_line_of_userdata_changes_image_version_and_templates(
    before: Recording, wheelhouse: Path, tmp_path: Path, script: str, image: bool, templates: bool
) -> None:
    """A line in a script makes a new image version if bakes run it, and new templates if boots do; nothing else."""
    program = with_a_line_more(f"userdata/{script}", tmp_path)
    found = compare(before, evaluate(wheelhouse, EDITS["image"], program))
    # Recipe and pipeline follow, as the engine replaces the component: its ARN is another then.
    baked = {"Component/receipt-trainer-dev-worker"}
    booted = {GPU_TEMPLATE, CPU_TEMPLATE, GPU_GROUP, CPU_GROUP}
    assert found.everything() == (baked if image else set()) | (booted if templates else set())
    if image:
        assert found.changed["Component/receipt-trainer-dev-worker"] == {"data"}
    if templates:
        assert found.changed[GPU_TEMPLATE] == {"userData"}
        assert found.changed[GPU_GROUP] == {"mixedInstancesPolicy"}


def test_a_line_of_the_function_changes_the_function(before: Recording, wheelhouse: Path, tmp_path: Path) -> None:
    """Editing what ends silent instances changes the code of that function, and no instance or template."""
    file = LINES["the function"]
    program = with_a_line_more(file, tmp_path)
    compiled = (program / file).parent / "__pycache__"
    compiled.mkdir(exist_ok=True)
    (compiled / "handler.pyc").write_bytes(b"x")
    found = compare(before, evaluate(wheelhouse, EDITS["image"], program))
    assert dict(found.changed) == {"Function/silence-function": {"code"}}
    assert found.everything() == {"Function/silence-function"}


@pytest.mark.parametrize("edit", [edit for edit in EDITS if edit != "nothing"])
def test_each_edit_changes_something(wheelhouse: Path, edit: str) -> None:
    """Each of the edits whose rules are tested is one: it changes the stack, unless the stack has it so already."""
    found = compare(evaluate(wheelhouse), evaluate(wheelhouse, EDITS[edit]))
    own = configuration(wheelhouse) == configuration(wheelhouse, EDITS[edit])
    assert bool(found.everything()) is not own


def test_a_pool_less_takes_its_queues_alone(before: Recording, wheelhouse: Path) -> None:
    """Switching a pool off removes what is that pool's; jobs that wait in its queues go with them, nothing else."""
    found = edited(before, wheelhouse, **EDITS["a pool less"])
    assert not found.added
    assert {"Group/cpu-group", "Queue/jobs-cpu-high", "Queue/jobs-cpu-normal"} <= found.removed
    assert all("cpu" in name for name in found.removed)
    assert "environment" in found.changed["Function/silence-function"]
    assert found.changed["RolePolicy/silence-policy"] == {"policy"}
    assert not any(name.startswith(("Table/", "Bucket/", "FileSystem/")) for name in found.everything())
