"""The stack's configuration: defaults, merging, and what wrong values are told."""

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from infra.image.golden_ami import ROOT_VOLUME_GIB
from infra.setting_groups import MIN_ROOT_VOLUME_GIB
from infra.settings import SettingsError, StackSettings
from receipt_trainer.local.pulumi_program import run
from tests.infra.edits import stack

ROOT = Path(__file__).parents[2]
HOSTILE = json.loads((Path(__file__).parent / "hostile.json").read_text())


def test_default_is_two_cheap_pools() -> None:
    """Without any configuration there are both pools, empty at rest, both on spot."""
    found = StackSettings.parse({})
    assert list(found.enabled_pools) == ["gpu", "cpu"]
    assert all(pool.min_instances == 0 and pool.market == "spot" for pool in found.enabled_pools.values())
    assert (found.budget, found.alarm_email, found.protect_data) == (None, None, True)


@pytest.mark.parametrize(
    "as_given",
    [
        {"pools": {"gpu": {"max_instances": 4}}},
        {"pools": '{"gpu": {"max_instances": 4}}'},
        {"pools": {"gpu": {"max_instances": "4"}, "cpu": None}},
    ],
)
def test_one_member_changes_nothing_else(as_given: Any) -> None:
    """What `pulumi config set --path receipt-trainer:pools.gpu.max_instances 4` stores changes that number alone."""
    found, default = StackSettings.parse(as_given), StackSettings.parse({})
    gpu = default.enabled_pools["gpu"].model_copy(update={"max_instances": 4})
    assert found.enabled_pools == {"gpu": gpu, "cpu": default.enabled_pools["cpu"]}
    assert found.network == default.network


def test_a_pool_goes_only_when_it_is_disabled() -> None:
    """`enabled: false` takes a pool away, and the other stays."""
    assert list(StackSettings.parse({"pools": {"gpu": {"enabled": "false"}}}).enabled_pools) == ["cpu"]


def test_smallest_root_volume_holds_the_image() -> None:
    """No root volume that the settings allow is smaller than the Golden AMI's own, which EC2 would refuse."""
    assert MIN_ROOT_VOLUME_GIB >= ROOT_VOLUME_GIB


def test_a_list_is_replaced() -> None:
    """Instance types that are given are the types there are."""
    found = StackSettings.parse({"pools": {"gpu": {"instance_types": ["g6e.xlarge"]}}})
    assert found.enabled_pools["gpu"].instance_types == ("g6e.xlarge",)


def test_texts_of_the_command_line_are_understood() -> None:
    """Numbers and booleans as text, and numbers where text is wanted, are what `pulumi config set` writes."""
    found = StackSettings.parse(
        {"protect_data": "false", "network": {"az_count": "3"}, "wheelhouse": {"python_versions": [3.13]}}
        | {"tags": {"cost": 4711, "prod": True}, "budget": {"monthly_usd": "12.50", "email": "a@b.co"}}
    )
    assert (found.protect_data, found.network.az_count, found.wheelhouse.python_versions) == (False, 3, ("3.13",))
    assert found.tags == {"cost": "4711", "prod": "true"}
    assert found.budget is not None
    assert found.budget.monthly_usd == 12.5


def test_only_given_hyperparameters_are_the_stacks() -> None:
    """The stack's hyperparameters are those it sets, as JSON numbers, so that the trainer's own defaults still move."""
    found = stack(training={"learning_rate": "5e-5", "dropout": None}).one("training-parameter").inputs["value"]
    assert json.loads(found)["learning_rate"] == 5e-5
    assert "dropout" not in found


def test_zones_are_those_of_the_region() -> None:
    """The first zones by name are taken, and a region with fewer than wanted is told as a mistake of az_count."""
    found = StackSettings.parse({"network": {"az_count": 3}})
    assert found.zones(["xc", "xa", "xd", "xb"]) == ["xa", "xb", "xc"]
    with pytest.raises(SettingsError, match=r"^receipt-trainer:network.az_count: 3 is above .* allowed: 1 to 2$"):
        found.zones(["xa", "xb"])


def test_the_program_reads_its_own_namespace_only() -> None:
    """A stack's values arrive through pulumi.Config; keys of other namespaces are none of ours."""
    read: list[StackSettings] = []
    config = {"receipt-trainer:network": '{"az_count": 3}', "aws:region": "eu-west-1", "other:x": "1"}
    run(lambda: read.append(StackSettings.load(pulumi.Config())), stack="prod", config=config)
    assert read[0].network.az_count == 3
    assert read[0].environment == "prod"


@pytest.mark.parametrize("key", ["network_cidr", "Network"])
def test_an_unknown_key_stops_the_program(key: str) -> None:
    """A misspelt key of the namespace ends the preview as a RunError, which Pulumi prints without a traceback."""
    with pytest.raises(pulumi.RunError, match=f"^receipt-trainer:{key}: unknown key .known: .*network"):
        run(lambda: StackSettings.load(pulumi.Config()), config={f"receipt-trainer:{key}": "x"})


def test_a_stack_whose_name_cannot_name_things_is_told() -> None:
    """The environment is the stack's name unless it is set, and then it must be fit for names too."""
    with pytest.raises(SettingsError, match=r"^receipt-trainer:environment: string should .* not .My_Stack"):
        run(lambda: StackSettings.load(pulumi.Config()), stack="My_Stack")


def test_secrets_are_refused() -> None:
    """A value set with --secret would be written readable into tags or parameters: it is refused, not printed."""

    def program() -> None:
        from pulumi.runtime.config import set_all_config

        set_all_config({"receipt-trainer:alarm_email": "hush@example.com"}, ["receipt-trainer:alarm_email"])
        StackSettings.load(pulumi.Config())

    with pytest.raises(SettingsError, match=r"^receipt-trainer:alarm_email: is set with --secret") as refused:
        run(program)
    assert "hush" not in str(refused.value)


def test_hostile_configuration_is_legal() -> None:
    """The configuration with which the stack is checked against the real provider is one that users may write."""
    values = {key.removeprefix("receipt-trainer:"): value for key, value in HOSTILE.items() if key != "aws:region"}
    found = StackSettings.parse(values)
    assert (list(found.enabled_pools), found.network.nat, found.network.az_count) == (["gpu", "cpu"], "none", 3)
    assert found.protect_data
    assert found.budget is not None


def test_dev_stack_is_cheap_and_leaves_nothing() -> None:
    """Pulumi.dev.yaml holds values only, of known keys, and a stack that `pulumi destroy` removes whole."""
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    assert config.pop("aws:region") == "us-east-1"
    found = StackSettings.parse({key.removeprefix("receipt-trainer:"): value for key, value in config.items()})
    assert not found.protect_data
    assert (found.network.nat, found.golden_ami.enabled) == ("public", False)
    assert all((pool.min_instances, pool.max_instances) == (0, 1) for pool in found.enabled_pools.values())


def test_an_image_by_its_id_has_no_schedule() -> None:
    """A literal image never changes, so that a schedule would never bake: the default is none then, and one that
    somebody set is refused in one line. With a parameter as parent the default is every Sunday."""
    literal = "ami-0123456789abcdef0"
    assert StackSettings.parse({"golden_ami": {"parent_image": literal}}).golden_ami.schedule == ""
    assert StackSettings.parse({"golden_ami": {}}).golden_ami.schedule == "cron(0 6 ? * sun *)"
    with pytest.raises(SettingsError) as found:
        StackSettings.parse({"golden_ami": {"parent_image": literal, "schedule": "cron(0 6 ? * sun *)"}})
    (line,) = str(found.value).splitlines()
    assert line.startswith("receipt-trainer:golden_ami.schedule: 'cron(0 6 ? * sun *)' would never build")
