"""The stack's configuration: defaults, merging, the manual, and what wrong values are told."""

import json
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from infra.image.golden_ami import ROOT_VOLUME_GIB
from infra.setting_groups import MIN_ROOT_VOLUME_GIB, JobsSettings
from infra.settings import SettingsError, StackSettings
from receipt_trainer.config.layoutlm import TrainingConfig
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


def test_smallest_root_volume_holds_the_image() -> None:
    """No root volume that the settings allow is smaller than the Golden AMI's own, which EC2 would refuse."""
    assert MIN_ROOT_VOLUME_GIB >= ROOT_VOLUME_GIB


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


def problems(values: Any) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        StackSettings.parse(values)
    return str(refused.value).splitlines()


def nested(key: str, value: Any) -> Any:
    head, _, rest = key.partition(".")
    return {head: nested(rest, value)} if rest else {head: value}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("netwrk", {}, "unknown key (known: alarm_email, budget, environment"),
        ("pools.gpu.max_instance", 1, "unknown key (known: capacity_rebalance, enabled, instance_types"),
        ("pools.tpu", {}, "unknown key (known: cpu, gpu)"),
        ("budget.mail", "a@b.co", "unknown key (known: email, monthly_usd)"),
        ("pools", [], "input should be a valid dictionary"),
        ("pools", "{", "is not JSON; allowed: an object"),
        (
            "pools.gpu",
            {"min_instances": 2, "max_instances": 1},
            "1 is below min_instances (2); allowed: 2 to 100 (Insta",
        ),
        ("pools.cpu", {"min_instances": 3}, "2 is below min_instances (3); allowed: 3 to 100 (Instances at most"),
        ("budget", {"monthly_usd": 5}, "field required (Mail address that is notified)"),
        (
            "pools",
            {"gpu": {"enabled": 0}, "cpu": {"enabled": False}},
            "no pool is enabled; allowed: enabled true for gpu",
        ),
        ("network.nat", "double", "input should be 'none', 'single' or 'public', not 'double' (none: AWS is reached"),
        ("network.az_count", 7, "input should be less than or equal to 6, not 7 (Availability zones to use"),
        ("network.az_count", 1.5, "input should be a valid integer"),
        ("network.az_count", True, "must be a number, not true or false"),
        ("network.cidr", "10.0.0.0/24", "is not a private IPv4 network such as 10.42.0.0/16; allowed: a /16 to /23"),
        ("network.cidr", "10.0.0.0/15", "allowed: a /16 to /23 of 10.0.0.0/8"),
        ("network.cidr", "10.0.0.1/16", "'10.0.0.1/16' is not"),
        ("network.cidr", "8.8.0.0/16", "'8.8.0.0/16' is not a private IPv4 network"),
        ("network.cidr", "10.0.0.0", "'10.0.0.0' is not"),
        ("network.cidr", "10.0.0.0/255.255.0.0", "is not a private IPv4 network"),
        ("network.cidr", "fd00::/16", "is not a private IPv4 network"),
        ("pools.gpu.instance_types", [], "should have at least 1 item"),
        ("pools.gpu.instance_types", [f"g{number}.xlarge" for number in range(21)], "should have at most 20 items"),
        ("pools.gpu.instance_types", [5], "input should be a valid string, not 5"),
        ("pools.gpu.instance_types", "g5.xlarge", "input should be a valid tuple, not 'g5.xlarge'"),
        ("pools.gpu.instance_types", ["g5_xlarge"], "string should match pattern"),
        ("pools.gpu.instance_types", ["g5.xlarge", "g5.xlarge"], "one is named twice; allowed: each once"),
        ("pools.gpu.max_instances", -1, "input should be greater than or equal to 0, not -1"),
        ("pools.gpu.on_demand_base", 3, "3 is above max_instances (2); allowed: 0 to 2"),
        ("pools.gpu.root_volume_gib", 99, "input should be greater than or equal to 100, not 99"),
        ("pools.cpu.market", "spt", "input should be 'spot' or 'on_demand', not 'spt'"),
        ("training.lerning_rate", 1, "learning_rate"),
        ("training.learning_rate", 2, "input should be less than or equal to 1, not 2"),
        ("golden_ami.parent_image", "latest", "string should match pattern"),
        ("golden_ami.parent_image", "/aws/service/x/arm64/y", "is of arm64; allowed: images of x86_64"),
        ("golden_ami.schedule", "rate(7 days)", "string should match pattern '^(?:cron"),
        ("retention.logs_days", 31, "31 is not a retention of CloudWatch; allowed: 1, 3, 5, 7, 14, 30, 60"),
        ("budget.monthly_usd", 0, "input should be greater than 0, not 0 (US dollars a month"),
        ("alarm_email", "ops", "not 'ops' (Mail address for alarms, name@example.com; empty"),
        ("protect_data", "maybe", "input should be a valid boolean"),
        ("tags", {"aws:x": "1"}, "allowed: any but aws:... and Name, Project, Environment"),
        ("tags", {"name": "x"}, "is set by AWS or the stack itself"),
        ("tags", {"k" * 129: "x"}, "string should match pattern"),
        ("tags", {"k": "v" * 257}, "at most 256 items"),
        ("tags", {"k": "a\nb"}, "string should match pattern"),
        ("tags", {"A": "x", "a": "y"}, "'A' and 'a' differ only in case; allowed: one of them"),
        ("tags", {str(number): "" for number in range(41)}, "at most 40 items"),
        ("environment", "Prod", "string should match pattern '^[a-z](?:-?[a-z0-9])*$', not 'Prod' (Part of every name"),
        ("environment", "a" * 17, "string should have at most 16 characters"),
        ("wheelhouse.python_versions", ["3.13", "3.9"], "input should be '3.11', '3.12', '3.13' or '3.14', not '3.9'"),
        ("wheelhouse.python_versions", ["3.13", 3.13], "one is named twice; allowed: each once"),
        ("wheelhouse.python_versions", ["3.11", "3.12", "3.13"], "at most 2 items"),
        ("wheelhouse.path", "a\0b", "string should match pattern"),
    ],
)
def test_a_wrong_value_is_told_in_one_line(key: str, value: Any, says: str) -> None:
    """The one line begins with the full key and says what is wrong and what is allowed."""
    found = problems(nested(key, value))
    (complaint,) = [line for line in found if says in line]
    assert complaint.startswith(f"receipt-trainer:{key}")
    assert all(line.startswith("receipt-trainer:budget") for line in found if line != complaint)


@pytest.mark.parametrize(
    ("nat", "most", "allowed"),
    [({}, 33, "allowed: up to 35"), ({"nat": "public"}, 7, "network.nat public; allowed: up to 9")],
)
def test_more_instances_than_addresses(nat: dict[str, str], most: int, allowed: str) -> None:
    """Instances that their subnets have no addresses for are refused before Amazon refuses them one by one: the private
    subnets, or with `nat: public` the small public ones, which have to hold an image build, too."""
    values: dict[str, Any] = {
        "network": {"cidr": "10.0.0.0/23", "az_count": 1, **nat},
        "pools": {"gpu": {"max_instances": most + 1}},
    }
    (line,) = problems(values)
    says = f"receipt-trainer:pools: {most + 3} instances (max_instances of all pools) find no addresses"
    assert line.startswith(says)
    assert allowed in line
    values["pools"]["gpu"]["max_instances"] = most
    assert StackSettings.parse(values).pools.gpu.max_instances == most


def test_a_forgotten_path_option_is_recognised() -> None:
    """A dotted key at the top, which is what `pulumi config set` stores without --path, is told so."""
    (line,) = problems({"pools.gpu.max_instances": "4"})
    assert "was --path left out?" in line
    assert "pulumi config set --path receipt-trainer:pools.gpu.max_instances" in line


def test_all_problems_at_once() -> None:
    """Wrong values in different objects, and in one object, are all told, one line each."""
    values = {"netwrk": {}, "network": {"az_count": 0, "nat": "x", "cidr": "y"}, "training": {"seed": -1}}
    assert [line.split(": ")[0] for line in problems(values)] == [
        "receipt-trainer:network.cidr",
        "receipt-trainer:network.az_count",
        "receipt-trainer:network.nat",
        "receipt-trainer:training.seed",
        "receipt-trainer:netwrk",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = sorted(
    {"gpu", "cpu", "cidr", "instance_types", "max_instances", "min_instances", "schedule", "email", "monthly_usd"}
    | {"learning_rate", "fp16", "precision", "python_versions", "path", "logs_days", "Name", "aws:x", "az_count"}
)
SHAPED = st.dictionaries(
    st.sampled_from([*StackSettings.model_fields]) | st.text(max_size=8),
    JSON | st.dictionaries(st.sampled_from(MEMBERS), JSON | st.dictionaries(st.sampled_from(MEMBERS), JSON)),
    max_size=4,
)


@given(SHAPED, st.booleans())
@settings(max_examples=60, deadline=None)
@example({"network": "[" * 100_000}, False)
@example({"tags": {"\ud800": "\ud800"}, "a\nb": {"c\nd": 1}}, False)
@example({"environment": {"gpu": []}}, False)
def test_no_value_gives_a_traceback(values: dict[str, Any], as_text: bool) -> None:
    """Whatever the configuration holds, it is understood, or every line of the one error begins with a key."""
    given_values = {key: json.dumps(value) for key, value in values.items()} if as_text else values
    try:
        told = str(StackSettings.parse(given_values) and "")
    except SettingsError as error:
        told = str(error)
    told.encode()
    assert all(line.startswith("receipt-trainer:") for line in told.splitlines())


PROJECT = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
DECLARED = PROJECT["config"]
DOC = (ROOT / "docs" / "configuration.md").read_text()
TYPES = {"string": str, "boolean": bool, "object": dict}
EMPTY = {"environment": "", "alarm_email": "", "notify_email": "", "budget": {}, "training": {}, "jobs": {}}
"""How Pulumi.yaml writes what is unset."""


def defaults() -> dict[str, Any]:
    found = StackSettings.parse({}).model_dump(mode="json")
    return found | EMPTY


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) and value else {name: value}
    return found


def members(model: type[BaseModel]) -> set[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        names |= {name} | (members(nested[0]) if nested else set())
    return names


def test_project_file_has_the_defaults_of_the_settings() -> None:
    """Pulumi.yaml declares exactly the keys of the settings, and with the same defaults, members included."""
    assert {key: entry["default"] for key, entry in DECLARED.items()} == defaults()


def test_defaults_of_the_project_file_change_nothing() -> None:
    """The values that Pulumi hands over for a stack that sets nothing mean what no values mean."""
    handed_over = {key: json.dumps(entry["default"]) for key, entry in DECLARED.items() if entry["type"] == "object"}
    handed_over |= {key: str(entry["default"]).lower() for key, entry in DECLARED.items() if entry["type"] != "object"}
    assert StackSettings.parse(handed_over) == StackSettings.parse({})


@pytest.mark.parametrize("key", DECLARED)
def test_every_key_has_type_default_and_description(key: str) -> None:
    """A key has the type of its default, and its description names every member."""
    entry = DECLARED[key]
    assert set(entry) == {"type", "default", "description"}
    assert isinstance(entry["default"], TYPES[entry["type"]])
    field = StackSettings.model_fields[key]
    holder = type("Holder", (BaseModel,), {"__annotations__": {key: field.annotation}})
    for member in members(holder) - {key, "gpu", "cpu"}:
        assert re.search(rf"\b{member}\b", entry["description"]), member


def test_the_required_pulumi_reads_the_requirement() -> None:
    """CLIs read `requiredPulumiVersion` from 3.219 on (pulumi's CHANGELOG), so a lower bound would promise nothing."""
    assert PROJECT["requiredPulumiVersion"] == ">=3.219.0"
    assert "3.219 or newer" in (ROOT / "docs" / "operations.md").read_text()


def rows() -> dict[str, str]:
    cells = [line.strip("|").split(" | ") for line in DOC.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): row[2].strip() for row in cells if len(row) == 4}


def test_the_manual_has_every_key_with_its_default() -> None:
    """docs/configuration.md has a row for each key and hyperparameter, and its default is the settings' own."""
    expected = flat(defaults()) | {"budget.monthly_usd": None, "budget.email": None}
    expected |= {f"jobs.{name}": field.default for name, field in JobsSettings.model_fields.items()}
    expected |= {f"training.{name}": field.default for name, field in TrainingConfig.model_fields.items()}
    found = rows()
    assert set(found) == set(expected)
    for key, value in expected.items():
        written = value if isinstance(value, str) and value else json.dumps(value)
        wanted = ("needed" if key.startswith("budget.") else "unset") if value is None else f"`{written}`"
        assert found[key] == wanted, key


def test_examples_of_the_manual_are_legal() -> None:
    """Every YAML example of the manual is a configuration that the settings accept."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOC, re.S)
    assert len(blocks) == 2
    for block in blocks:
        config = yaml.safe_load(block)["config"]
        config.pop("aws:region")
        StackSettings.parse({key.removeprefix("receipt-trainer:"): value for key, value in config.items()})


def test_commands_of_the_manual_set_known_members() -> None:
    """Every `pulumi config set` of the manual names a key or member that the settings know, and a legal value."""
    commands = re.findall(r"^\$ pulumi config set (?:--path )?'?receipt-trainer:([^ ']+)'? (\S+)$", DOC, re.M)
    assert len(commands) >= 5
    for path, text in commands:
        steps = re.findall(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)', path)
        value: Any = text
        for quoted, index, plain in reversed(steps):
            value = [value] if index else {quoted or plain: value}
        StackSettings.parse(value)
