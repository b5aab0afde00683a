"""What the Golden AMI registers, and the component document as a pure function."""

from __future__ import annotations

import inspect
import re
import subprocess
from typing import Any

import pulumi_aws as aws
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.image import document as image_document
from infra.image.document import SCRIPTS, ImageDocumentError, read_scripts, render
from receipt_trainer.local.pulumi_program import Recording, Registration
from tests.infra.edits import stack
from tests.userdata.bake import USERDATA

RECIPE = "receipt-trainer-dev-worker"
PARAMETER = "/imagebuilder/receipt-trainer/dev/worker-image"
PARENT = "/aws/service/deeplearning/ami/x86_64/some-image/latest/ami-id"
VALUES = {"AWS_REGION": "us-east-1", "WHEELHOUSE_PARAMETER": "/receipt-trainer/" + "e" * 16 + "/wheelhouse"}


def recorded(tags: dict[str, str] | None = None, **bake: Any) -> Recording:
    """The program with an image, with these settings of its bakes."""
    given = {"enabled": True, "parent_image": PARENT, "schedule": "cron(0 6 ? * sun *)"} | bake
    return stack(golden_ami=given, **({"tags": tags} if tags else {}))


def parameter(recording: Recording) -> Registration:
    return recording.one("image-image", "aws:ssm/parameter:Parameter")


def inputs(recording: Recording, kind: str) -> dict[str, Any]:
    (found,) = recording.of_type(f"aws:imagebuilder/{kind[0].lower()}{kind[1:]}:{kind}")
    return found.inputs


def test_document_has_the_phases_and_holds_each_script_verbatim() -> None:
    """The document is YAML of schema 1.0 with build, validate and test, and holds every script unchanged."""
    scripts = read_scripts(USERDATA)
    document = yaml.safe_load(render(scripts, VALUES))
    assert document["schemaVersion"] == 1.0
    assert [phase["name"] for phase in document["phases"]] == ["build", "validate", "test"]
    steps = [step for phase in document["phases"] for step in phase["steps"]]
    assert {(step["action"], step["onFailure"]) for step in steps} == {("ExecuteBash", "Abort")}
    (unpack,) = steps[0]["inputs"]["commands"]
    for name in SCRIPTS:
        assert f"put {name} <<'" in unpack
        assert scripts[name] in unpack
    for step, script in zip(steps[1:], ("ami_install.sh", "ami_verify.sh", "ami_test.sh"), strict=True):
        assert script in step["inputs"]["commands"][0]


def test_document_leaves_room_below_image_builders_limit() -> None:
    """With the longest environment there are 1000 characters to spare: a comment more does not stop an update."""
    assert len(render(read_scripts(USERDATA), VALUES)) < image_document.MAX_CHARACTERS - 1000


def test_document_that_is_too_long_is_refused() -> None:
    """A script that no longer fits is refused with the length and the limit, not by AWS."""
    scripts = read_scripts(USERDATA)
    with pytest.raises(ImageDocumentError, match=r"has \d+ characters, Image Builder takes 16000"):
        render({**scripts, "ami_test.sh": scripts["ami_test.sh"] + "# long\n" * 2000}, VALUES)


@pytest.mark.parametrize("name", SCRIPTS)
def test_braces_of_image_builder_are_refused_in_scripts(name: str) -> None:
    """`{{` in a script, which Image Builder would replace, is refused with the script and its line."""
    scripts = read_scripts(USERDATA)
    line = scripts[name].count("\n") + 1
    with pytest.raises(ImageDocumentError, match=f"^{name}:{line}: "):
        render({**scripts, name: scripts[name] + "echo {{ here }}\n"}, VALUES)


def test_text_that_would_not_arrive_is_refused() -> None:
    """A script with the line that ends it in the document is refused by name."""
    with pytest.raises(ImageDocumentError, match=r"^ami_test\.sh: "):
        render({**read_scripts(USERDATA), "ami_test.sh": "echo\nEND_OF_AMI_TEST_SH\n"}, VALUES)


@settings(deadline=None, max_examples=25)
@given(
    value=st.text(st.characters().filter(str.isprintable), max_size=60)
    | st.sampled_from(["$(id)", "`id`", "a'b\"c", "#{x}", "%s", "{{x}}", "é"])
)
def test_value_arrives_in_bash_or_is_refused(value: str) -> None:
    """Whatever a value holds, it comes out of bash as it went into the document, or its name is in the refusal."""
    scripts = read_scripts(USERDATA)
    values = {**VALUES, "WHEELHOUSE_PARAMETER": value}
    if "{{" in value:
        with pytest.raises(ImageDocumentError, match=r"^WHEELHOUSE_PARAMETER:"):
            render(scripts, values)
        return
    document = yaml.safe_load(render(scripts, values))
    (unpack,) = document["phases"][0]["steps"][0]["inputs"]["commands"]
    (line,) = [line for line in unpack.splitlines() if line.startswith("export WHEELHOUSE_PARAMETER=")]
    assert bash_value(line) == value


def bash_value(line: str) -> str:

    script = f'{line}\nprintf %s "$WHEELHOUSE_PARAMETER"'
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    return done.stdout.decode()


def test_parameter_starts_at_the_parent_image_and_is_left_to_the_bakes() -> None:
    """The image parameter gets the parent's id at creation. From then on no input of it but the tags is Pulumi's
    business: the provider answers a changed description with a PutParameter that has the first value in it, and workers
    would be back at the image of the first day."""
    found = parameter(recorded())
    assert found.inputs["name"] == PARAMETER == recorded().outputs["image_parameter"]
    assert found.inputs["value"].startswith("ami-")
    assert found.inputs["dataType"] == "aws:ec2:image"
    names = inspect.signature(aws.ssm.ParameterArgs.__init__).parameters.keys() - {"__self__"}
    inputs_of_the_sdk = {re.sub("_(.)", lambda found: found[1].upper(), name) for name in names}
    assert inputs_of_the_sdk - set(found.ignore_changes) == {"name", "region", "tags"}


def test_disabled_image_is_only_a_parameter_that_follows_the_parent() -> None:
    """Without bakes nothing of Image Builder exists, and a new parent image reaches the workers."""
    recording = recorded(enabled=False, parent_image="ami-0123456789abcdef0", schedule="")
    assert not [found.type for found in recording.resources if found.type.startswith("aws:imagebuilder")]
    assert parameter(recording).inputs["value"] == "ami-0123456789abcdef0"
    assert parameter(recording).ignore_changes == ()
    assert not recording.outputs.get("image_pipeline_arn")


@pytest.mark.parametrize(("parent", "expected"), [(PARENT, f"ssm:{PARENT}"), ("ami-0123456789abcdef0",) * 2])
def test_recipe_takes_its_parent_from_the_parameter_or_by_id(parent: str, expected: str) -> None:
    """A parameter's name is handed to Image Builder, which reads it at each bake; an id is taken as it is."""
    recipe = inputs(recorded(parent_image=parent, schedule=""), "ImageRecipe")
    assert recipe["parentImage"] == expected
    (mapping,) = recipe["blockDeviceMappings"]
    assert mapping["ebs"]["encrypted"] == "true"
    assert mapping["ebs"]["volumeType"] == "gp3"


def test_finished_image_lands_in_the_parameter() -> None:
    """The distribution writes the new image's id into the parameter that the workers resolve."""
    (distribution,) = inputs(recorded(), "DistributionConfiguration")["distributions"]
    assert distribution["region"] == "us-east-1"
    (target,) = distribution["ssmParameterConfigurations"]
    assert target == {"parameterName": PARAMETER, "dataType": "aws:ec2:image"}
    assert "{{ imagebuilder:buildDate }}" in distribution["amiDistributionConfiguration"]["name"]


def test_build_machines_answer_only_imdsv2_and_go_away() -> None:
    """A build instance needs IMDSv2 tokens and ends even when its build fails."""
    infrastructure = inputs(recorded(), "InfrastructureConfiguration")
    assert infrastructure["instanceMetadataOptions"]["httpTokens"] == "required"
    assert infrastructure["terminateInstanceOnFailure"] is True


def test_no_schedule_means_bakes_by_hand() -> None:
    """An empty schedule leaves the pipeline without one; another is Image Builder's cron, for a changed parent only."""
    assert "schedule" not in inputs(recorded(schedule=""), "ImagePipeline")
    schedule = inputs(recorded(), "ImagePipeline")["schedule"]
    assert schedule["scheduleExpression"] == "cron(0 6 ? * sun *)"
    assert schedule["pipelineExecutionStartCondition"] == "EXPRESSION_MATCH_AND_DEPENDENCY_UPDATES_AVAILABLE"


NAMED_ANEW = [("Component", RECIPE), ("ImageRecipe", RECIPE)]


@pytest.mark.parametrize(("kind", "name"), NAMED_ANEW)
def test_what_is_immutable_is_named_by_pulumi_and_never_deleted(kind: str, name: str) -> None:
    """Component and recipe have no name of ours, so that one more never meets one that is there; what replaces them is
    made first whatever the provider thinks of names; and none is deleted while a pipeline or an image refers to it."""
    (found,) = recorded().of_type(f"aws:imagebuilder/{kind[0].lower()}{kind[1:]}:{kind}")
    assert "name" not in found.inputs
    assert (found.name, found.retain_on_delete, found.delete_before_replace) == (name, True, False)
    assert found.inputs["version"] == "1.0.0"


def test_the_document_names_a_parameter_and_no_wheelhouse() -> None:
    """All values of the document are region and parameter: which wheels are current is read when a bake runs."""
    (unpack,) = yaml.safe_load(inputs(recorded(), "Component")["data"])["phases"][0]["steps"][0]["inputs"]["commands"]
    values = [line for line in unpack.splitlines() if line.startswith("export ") and "=" in line]
    assert values[:2] == ["export AWS_REGION=us-east-1", "export WHEELHOUSE_PARAMETER=/receipt-trainer/dev/wheelhouse"]
    assert "END_OF_BAKE_ENV" in unpack.splitlines()[unpack.splitlines().index(values[1]) + 1]


def test_bakes_of_all_recipes_log_to_one_group() -> None:
    """Recipes have a new name with each change; without a group of its own each would log to another, for ever."""
    group = f"/aws/imagebuilder/{RECIPE}"
    wanted = {"imageLogGroupName": group, "pipelineLogGroupName": group}
    assert inputs(recorded(), "ImagePipeline")["loggingConfiguration"] == wanted


def test_build_machines_have_no_tag_that_image_builder_sets_itself() -> None:
    """CreateInfrastructureConfiguration refuses reserved keys, `Name` among them; also those that a user gives."""
    infrastructure = inputs(recorded({"team": "vision", "Tags": "mine"}), "InfrastructureConfiguration")
    wanted = {"Project": "receipt-trainer", "Environment": "dev", "team": "vision"}
    assert infrastructure["resourceTags"] == wanted
