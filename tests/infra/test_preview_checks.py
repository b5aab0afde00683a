"""What is asked and said before the first resource: instance types, old images and keys, edits that replace data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pulumi
import pytest

from infra import preview_checks
from infra.preview_checks import refuse_replaced_data
from infra.settings import SettingsError, StackSettings
from receipt_trainer.local import mocks, pulumi_program
from receipt_trainer.local.mocks import Answer
from receipt_trainer.local.pulumi_program import Recording, run
from tests.infra.edits import ROOT, configuration, evaluate, evaluate_anew

LIST, DESCRIBE = "aws:ec2/getInstanceTypes:getInstanceTypes", "aws:ec2/getInstanceType:getInstanceType"


def examined(
    gpu: Sequence[str] = ("g6.xlarge",),
    cpu: Sequence[str] = ("c7i.xlarge",),
    answers: Mapping[str, Answer] | None = None,
) -> list[str]:
    """The warnings for pools of these types."""
    settings = StackSettings.parse({"pools": {"gpu": {"instance_types": gpu}, "cpu": {"instance_types": cpu}}})
    return run(lambda: preview_checks.check_instance_types(settings, "receipt-trainer"), answers=answers).messages


def refused(answers: Mapping[str, Answer] | None = None, **types: Sequence[str]) -> list[str]:
    """The lines that pools of these types are refused with."""
    with pytest.raises(SettingsError) as error:
        examined(**types, answers=answers)
    return str(error.value).splitlines()


def described(**found: Any) -> dict[str, Answer]:
    """EC2 in a year to come: it has every type that it is asked for, and says this of it."""
    plain = {"defaultVcpus": 4, "supportedArchitectures": ["x86_64"], "gpuses": []}
    return {
        LIST: lambda arguments: {"id": "all", "instanceTypes": arguments["filters"][0]["values"]},
        DESCRIBE: lambda arguments: {"id": arguments["instanceType"], **plain, **found},
    }


def test_default_types_fit_and_are_small() -> None:
    """The default types are accepted without a word; the cpu pool has one of at most 4 vCPUs, which a new account's
    quota lets start, and every type of the gpu pool has one GPU of 24 GB."""
    found: dict[str, dict[str, Any]] = {}

    def describe(arguments: dict[str, Any]) -> Mapping[str, Any]:
        name = arguments["instanceType"]
        found[name] = mocks.call(DESCRIBE, arguments, "us-east-1", {})
        return found[name]

    settings = StackSettings.parse({})
    check = preview_checks.check_instance_types
    assert run(lambda: check(settings, "receipt-trainer"), answers={DESCRIBE: describe}).messages == []
    assert min(found[name]["defaultVcpus"] for name in settings.enabled_pools["cpu"].instance_types) <= 4
    for name in settings.enabled_pools["gpu"].instance_types:
        (gpu,) = found[name]["gpuses"]
        assert (gpu["count"], round(gpu["memorySize"], -3)) == (1, 23_000)


def test_a_type_that_only_ec2_knows_is_accepted() -> None:
    """A type of a family that is written down nowhere is good if EC2 says that it fits, in either pool."""
    gpu = {"count": 1, "manufacturer": "NVIDIA", "name": "Z9", "memorySize": 90_000}

    def describe(arguments: dict[str, Any]) -> Mapping[str, Any]:
        gpus = [gpu] if arguments["instanceType"].startswith("g") else []
        return {"id": "x", "defaultVcpus": 4, "supportedArchitectures": ["x86_64"], "gpuses": gpus}

    answers = described() | {DESCRIBE: describe}
    assert examined(gpu=["g99z.xlarge"], cpu=["c99.xlarge", "q1-flex.large"], answers=answers) == []


def test_sizes_that_ec2_gives_in_two_ways_are_one() -> None:
    """A10G and L4 have 24 GB each, which EC2 has given as 24,576 and as 22,888 MiB: they go together."""

    def describe(arguments: dict[str, Any]) -> Mapping[str, Any]:
        a10g = arguments["instanceType"].startswith("g5")
        gpu = {"count": 1, "manufacturer": "NVIDIA", "name": "any", "memorySize": 24_576 if a10g else 22_888}
        gpus = [gpu] if arguments["instanceType"].startswith("g") else []
        return {"id": "x", "defaultVcpus": 4, "supportedArchitectures": ["x86_64"], "gpuses": gpus}

    assert examined(gpu=["g5.xlarge", "g6.xlarge"], answers=described() | {DESCRIBE: describe}) == []


@pytest.mark.parametrize(
    ("pool", "types", "says", "allowed"),
    [
        ("gpu", ["g5.xlarge", "g55.xlarge"], "'g55.xlarge' is not an instance type that EC2 has in", "NVIDIA GPUs"),
        ("cpu", ["c7i.xlagre"], "'c7i.xlagre' is not an instance type that EC2 has in", "without GPUs"),
        ("cpu", ["mac2.metal"], "'mac2.metal' is arm64_mac, and the parent image is x86_64", "x86_64 types"),
        ("gpu", ["c7i.large"], "'c7i.large' has no GPU", "NVIDIA GPUs"),
        ("gpu", ["p3dn.24xlarge"], "'p3dn.24xlarge' has a GPU (NVIDIA V100) that the parent image", "from the T4 on"),
        ("gpu", ["g6f.xlarge"], "'g6f.xlarge' has a part of a GPU only, 3 GiB", "whole NVIDIA GPUs"),
        ("gpu", ["g5.xlarge", "g4dn.xlarge"], "GPUs of several sizes (16 GiB: g4dn.xlarge; 22 GiB: g5", "one memory"),
        ("gpu", ["p5e.48xlarge", "p6-b200.48xlarge"], "GPUs of several sizes (141 GiB: p5e", "one memory size"),
        ("cpu", ["g5.xlarge"], "'g5.xlarge' has a GPU, which a cpu job would leave idle", "without GPUs"),
        ("cpu", ["inf2.xlarge"], "'inf2.xlarge' has accelerators, which a cpu job", "without GPUs"),
        ("cpu", ["f2.6xlarge"], "'f2.6xlarge' has accelerators, which a cpu job", "without GPUs"),
    ],
)
def test_a_type_that_does_not_fit_is_told_in_one_line(pool: str, types: list[str], says: str, allowed: str) -> None:
    """The one line begins with the key and says which type is wrong, why, and what is allowed."""
    (line,) = refused(**{pool: types})
    assert line.startswith(f"receipt-trainer:pools.{pool}.instance_types: {says}")
    assert allowed in line.split("allowed:")[1]


def test_what_ec2_says_of_makers_and_processors_decides() -> None:
    """Arm processors without a g in the type's name, and GPUs of another maker, are refused by EC2's word."""
    (line,) = refused(described(supportedArchitectures=["arm64"]), cpu=["c99.xlarge"], gpu=["g99.xlarge"])[1:]
    assert "'c99.xlarge' is arm64" in line
    amd = {"count": 1, "manufacturer": "AMD", "name": "Radeon Pro V520", "memorySize": 8192}
    line = refused(described(gpuses=[amd]), gpu=["g4ad.xlarge"])[0]
    assert "'g4ad.xlarge' has a GPU (AMD Radeon Pro V520) that the parent image has no driver for" in line


def test_both_pools_are_told_at_once_and_a_disabled_one_is_not_asked_about() -> None:
    """One line a pool with all its wrong types; the types of a pool that does not exist are nobody's concern."""
    gpu, cpu = refused(gpu=["g55.xlarge", "c7i.large"], cpu=["g5.xlarge"])
    assert gpu.startswith("receipt-trainer:pools.gpu.instance_types: 'g55.xlarge' is not an instance type")
    assert "; 'c7i.large' has no GPU; allowed:" in gpu
    assert cpu.startswith("receipt-trainer:pools.cpu.instance_types: 'g5.xlarge' has a GPU")
    off = StackSettings.parse({"pools": {"gpu": {"instance_types": ["g55.xlarge"], "enabled": False}}})
    assert run(lambda: preview_checks.check_instance_types(off, "receipt-trainer")).messages == []


def test_types_with_idle_gpus_are_warned_of() -> None:
    """A job uses one GPU: each type with several is named with their number, and the others are not."""
    several, eight = examined(gpu=["g5.xlarge", "g5.12xlarge", "g6.48xlarge"])
    start = "receipt-trainer:pools.gpu.instance_types: g5.12xlarge has 4 GPUs, a job uses one: 3 "
    assert start in several
    assert "g6.48xlarge has 8 GPUs" in eight


def test_the_program_stops_at_a_type_that_ec2_does_not_know(wheelhouse: Path) -> None:
    """The whole program ends in that line."""
    with pytest.raises(
        pulumi.RunError, match=r"^receipt-trainer:pools\.cpu\.instance_types: 'c7x\.large' is not an"
    ) as error:
        evaluate_anew(wheelhouse, {"pools": {"cpu": {"instance_types": ["c7x.large"]}}})
    assert len(str(error.value).splitlines()) == 1


IMAGE, KEY = "ami-0123456789abcdef0", "arn:aws:kms:us-east-1:123456789012:key/1234"
GET_AMI, GET_KEY = "aws:ec2/getAmi:getAmi", "aws:ebs/getDefaultKmsKey:getDefaultKmsKey"
DESCRIBE_KEY, GET_PARAMETER = "aws:kms/getKey:getKey", "aws:ssm/getParameter:getParameter"


def said(parent: str = "/aws/service/some/ami-id", **answers: Any) -> list[str]:
    """The warnings of a preview with these answers."""
    by_token = {"ami": GET_AMI, "key": GET_KEY, "described": DESCRIBE_KEY, "parameter": GET_PARAMETER}
    given = {by_token[name]: answer for name, answer in answers.items()}

    def program() -> None:
        preview_checks.warn_of_parent(parent)
        preview_checks.warn_of_key("us-east-1")

    return run(program, answers=given).messages


def made(days: float) -> dict[str, str]:
    """An image of that age, with its date as EC2 writes it."""
    return {"id": IMAGE, "creationDate": f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%S}.000Z"}


def test_all_well_is_no_word() -> None:
    """A fresh image and AWS's own key, by its alias or by its ARN, are not worth a line."""
    assert said() == []
    assert said(ami=made(59)) == []
    assert said(key={"keyArn": KEY}, described={"keyManager": "AWS"}) == []


def test_an_old_parent_image_is_said() -> None:
    """`latest` is the newest build of one line of PyTorch; when AWS builds that line no more, nothing else says so.
    The image that is looked at is the one that the parameter names."""
    asked: list[Any] = []

    def ami(arguments: dict[str, Any]) -> dict[str, str]:
        asked.append(arguments["filters"])
        return made(61)

    (line,) = said(ami=ami, parameter={"value": IMAGE})
    assert line.startswith(f"golden_ami.parent_image: /aws/service/some/ami-id: its image {IMAGE} was made 61 days ago")
    assert asked == [[{"name": "image-id", "values": [IMAGE]}]]


def test_an_image_by_its_id_is_old_by_choice() -> None:
    """Nobody is told of what was pinned on purpose, and an image that its owner took back stops no update."""

    def ami(arguments: dict[str, Any]) -> dict[str, str]:
        raise AssertionError("was asked")

    assert said(IMAGE, ami=ami) == []


def test_a_key_of_the_account_is_said_with_both_remedies() -> None:
    """Without a grant for Auto Scaling every launch ends in Client.InternalError: the line names the key, the command
    that sets AWS's own back, and the page that says what its policy must admit."""
    (line,) = said(key={"keyArn": KEY}, described={"keyManager": "CUSTOMER"})
    assert KEY in line
    assert "aws ec2 reset-ebs-default-kms-key-id --region us-east-1" in line
    assert "docs/operations.md" in line


REFERENCE = "pulumi:pulumi:StackReference"


def update(wheelhouse: Path, last: Mapping[str, Any], region: str = "us-east-1", **changes: Any) -> Recording:
    """The program as it is run for a stack whose last update left these outputs."""
    answers = {REFERENCE: {"outputs": dict(last), "secretOutputNames": []}}
    config = configuration(wheelhouse, changes) | {"aws:region": region}
    return run(ROOT, config=config, answers=answers)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Recording]:
    """The recordings of all runs, of those that fail, too."""
    found: list[Recording] = []

    class Watched(pulumi_program.Monitor):
        def __init__(self, **fields: Any) -> None:
            super().__init__(**fields)
            found.append(self.recording)

    monkeypatch.setattr("receipt_trainer.local.pulumi_program.Monitor", Watched)
    return found


@pytest.mark.parametrize(
    ("changes", "region", "line"),
    [
        ({"environment": "live"}, "us-east-1", "receipt-trainer:environment: 'live' would replace .* 'dev', by"),
        ({}, "eu-west-1", "aws:region: 'eu-west-1' would replace .* 'us-east-1', by"),
    ],
    ids=["environment", "region"],
)
def test_another_environment_or_region_is_refused(
    wheelhouse: Path, watched: list[Recording], changes: dict[str, Any], region: str, line: str
) -> None:
    """One line says what would be lost and names the way; nothing but the look at the last outputs was registered."""
    last = {"environment": "dev", "region": "us-east-1", "jobs_table": "receipt-trainer-dev-jobs"}
    with pytest.raises(pulumi.RunError, match=f"^{line} something empty; .*pulumi stack init.*replace_data") as refused:
        update(wheelhouse, last, region, **changes)
    assert "\n" not in str(refused.value)
    (recording,) = watched
    assert [resource.type for resource in recording.resources] == [REFERENCE]
    assert recording.outputs == last  # the next update has to find them still


@pytest.mark.parametrize(
    "last", [{"environment": "dev", "region": "us-east-1"}, {"word": "of another program"}], ids=["the same", "neither"]
)
def test_the_same_place_goes_on(wheelhouse: Path, last: dict[str, str]) -> None:
    """A stack of this environment and region is updated, and so is one whose outputs name none."""
    recording = update(wheelhouse, last)
    assert recording.of_type("aws:dynamodb/table:Table")
    assert not any("replace" in message for message in recording.messages)


@pytest.mark.parametrize("replace_data", [False, True])
def test_another_network_is_refused(wheelhouse: Path, watched: list[Recording], replace_data: bool) -> None:
    """An update with it would stop half way, with a second network that is paid for, and so would each after it."""
    last = {"environment": "dev", "region": "us-east-1", "cidr": "10.42.0.0/16"}
    with pytest.raises(pulumi.RunError, match=r"network\.cidr: '10\.50\.0\.0/16' .*; allowed: '10\.42\.0\.0/16'$"):
        update(wheelhouse, last, network={"cidr": "10.50.0.0/16"}, replace_data=replace_data)
    (recording,) = watched
    assert [resource.type for resource in recording.resources] == [REFERENCE]
    assert recording.outputs == last
    assert evaluate(wheelhouse).outputs["cidr"] == "10.42.0.0/16"


def test_replace_data_allows_it_with_a_warning(wheelhouse: Path) -> None:
    """Who sets `replace_data` gets the other environment, and one line in the preview that says what it costs."""
    recording = update(wheelhouse, {"environment": "dev", "region": "us-east-1"}, environment="live", replace_data=True)
    assert recording.outputs["environment"] == "live"
    (warning,) = [message for message in recording.messages if "replace_data" in message]
    assert "by something empty" in warning


def test_the_stack_asks_for_itself_by_its_full_name(wheelhouse: Path) -> None:
    """The reference is to organisation, project and stack, as every backend wants it; the stack owns nothing more."""
    (reference,) = evaluate(wheelhouse).of_type(REFERENCE)
    assert reference.id == reference.inputs["name"] == "local/receipt-trainer/dev"
    assert reference.read


def test_both_edits_at_once_are_both_named() -> None:
    """Environment and region have a line each."""
    settings = StackSettings.parse({"environment": "live"})

    def program() -> None:
        refuse_replaced_data({"environment": "dev", "region": "us-east-1"}, settings, "eu-west-1", "receipt-trainer")

    with pytest.raises(pulumi.RunError) as refused:
        run(program)
    assert [line.split(": ")[0] for line in str(refused.value).splitlines()] == [
        "receipt-trainer:environment",
        "aws:region",
    ]
