"""What wrong values of the configuration are told."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.settings import SettingsError, StackSettings


def problems(values: Any) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        StackSettings.parse(values)
    return str(refused.value).splitlines()


def nested(key: str, value: Any) -> Any:
    head, _, rest = key.partition(".")
    return {head: nested(rest, value)} if rest else {head: value}


@pytest.mark.parametrize(
    ("key", "value", "says", "allowed"),
    [
        ("netwrk", {}, "unknown key; did you mean network?", "environment, network, pools"),
        ("pools.gpu.max_instance", 1, "unknown key; did you mean max_instances?", "enabled, instance_types"),
        ("pools.tpu", {}, "unknown key", "gpu, cpu"),
        ("pools", [], "[] is not an object", "an object of gpu, cpu"),
        ("pools", "{", "is not JSON", "an object"),
        ("network.nat", "double", '"double" is none of these', "none, single or public"),
        ("network.az_count", 7, "7 is out of bounds", "1 to 6"),
        ("network.az_count", 1.5, "1.5 is not a whole number", "1 to 6"),
        ("network.az_count", True, "true is not a number", "1 to 6"),
        ("network.cidr", "10.0.0.0/24", "/24 is too small", "a /16 to /23 of 10.0.0.0/8"),
        ("network.cidr", "10.0.0.0/15", "/15 is larger than a VPC can be", "/16 to /23"),
        ("network.cidr", "10.0.0.1/16", "has host bits set; write 10.0.0.0/16", "/16 to /23"),
        ("network.cidr", "8.8.0.0/16", "is not a private network", "192.168.0.0/16"),
        ("network.cidr", "10.0.0.0", "lacks its prefix length", "/16 to /23"),
        ("network.cidr", "10.0.0.0/255.255.0.0", "lacks its prefix length", "/16 to /23"),
        ("network.cidr", "fd00::/16", "is not an IPv4 network", "/16 to /23"),
        ("pools.gpu.instance_types", [], "[] is empty", "a list of 1 to 20"),
        ("pools.gpu.instance_types", ["g5.xlarge"] * 21, "is too long", "a list of 1 to 20"),
        ("pools.gpu.instance_types", [5], "5 is not a text", "a text"),
        ("pools.gpu.instance_types", "g5.xlarge", '"g5.xlarge" is not a list', "a list"),
        ("pools.gpu.instance_types", ["g5g.xlarge"], "'g5g.xlarge' is arm64", "x86_64 types such as"),
        ("pools.gpu.instance_types", ["g5_xlarge"], "'g5_xlarge' is not the name of", "such as g6.xlarge"),
        ("pools.gpu.instance_types", ["g5.xlarge", "g5.xlarge"], "a type is named twice", "each once"),
        ("pools.cpu.instance_types", ["t4g.large"], "'t4g.large' is arm64", "x86_64 types such as"),
        ("pools.gpu.max_instances", -1, "-1 is out of bounds", "0 to 100"),
        ("pools.gpu.on_demand_base", 3, "3 is above max_instances (2)", "0 to 2"),
        ("pools.gpu.root_volume_gib", 99, "99 is out of bounds", "100 to 16384"),
        ("pools.cpu.market", "spt", '"spt" is none of these', "spot or on_demand"),
        ("training.lerning_rate", 1, "unknown key; did you mean learning_rate?", "num_epochs"),
        ("training.learning_rate", 2, "2 is out of bounds", "above 0 to 1"),
        ("training.lr_scheduler", "x", '"x" is none of these', "linear, cosine or constant_with_warmup"),
        ("golden_ami.parent_image", "latest", "'latest' names no image", "ami-0123456789abcdef0"),
        ("golden_ami.parent_image", "/aws/service/x/arm64/y", "is of arm64", "x86_64"),
        ("golden_ami.schedule", "rate(7 days)", "is not a cron expression", "cron(0 6 ? * sun *)"),
        ("golden_ami.schedule", "cron(0 6 * * ?)", "has 5 fields, not six", "cron(0 6 ? * sun *)"),
        ("golden_ami.schedule", "cron(60 6 ? * 1 *)", "'60' is no minute (0 to 59)", "cron("),
        ("golden_ami.schedule", "cron(0 6 1 * 1 *)", "exactly one of the day", "cron("),
        ("retention.logs_days", 31, "31 is not a retention of CloudWatch", "1, 3, 5, 7, 14, 30, 60"),
        ("budget.monthly_usd", 0, "0 is out of bounds", "above 0"),
        ("alarm_email", "ops", "'ops' is not a mail address", "name@example.com"),
        ("protect_data", "maybe", '"maybe" is neither true nor false', "true or false"),
        ("tags", {"aws:x": "1"}, "begins with aws:", "another beginning"),
        ("tags", {"name": "x"}, "is set by the stack itself", "any but Name, Project, Environment"),
        ("tags", {"k" * 129: "x"}, "cannot be a tag's key", "1 to 128"),
        ("tags", {"k": "v" * 257}, "cannot be a tag's value", "up to 256"),
        ("tags", {"k": "a\nb"}, "cannot be a tag's value", "up to 256"),
        ("tags", {"A": "x", "a": "y"}, "'A' and 'a' differ only in case", "one of them"),
        ("tags", {str(number): "" for number in range(41)}, "41 tags are too many", "up to 40"),
        ("environment", "Prod", "'Prod' cannot be part of names", "1 to 16 of a-z 0-9 -"),
        ("environment", "a" * 17, "cannot be part of names", "1 to 16"),
        ("wheelhouse.python_versions", ["3.13", "3.9"], "'3.9' is not a version of Python", "3.11, 3.12, 3.13, 3.14"),
        ("wheelhouse.python_versions", ["3.13", 3.13], "a version is named twice", "3.11, 3.12, 3.13, 3.14, each once"),
        ("wheelhouse.python_versions", ["3.11", "3.12", "3.13"], "is too long", "a list of 1 to 2 texts"),
        ("wheelhouse.python_versions", "3.13", "is not a list", "a list of 1 to 2 texts"),
        ("wheelhouse.python_version", "3.13", "unknown key; did you mean python_versions?", "python_versions, path"),
    ],
)
def test_a_wrong_value_is_told_in_one_line(key: str, value: Any, says: str, allowed: str) -> None:
    """The one line begins with the full key and says what is wrong and what is allowed."""
    found = problems(nested(key, value))
    complaints = [line for line in found if says in line]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"receipt-trainer:{key}")
    assert allowed in complaints[0].split("allowed:")[1]
    assert all(line.startswith("receipt-trainer:budget") for line in found if line not in complaints)


def test_max_below_min() -> None:
    """The line names the other member, its value and the range that is left."""
    assert problems({"pools": {"gpu": {"min_instances": 2, "max_instances": 1}}}) == [
        "receipt-trainer:pools.gpu.max_instances: 1 is below min_instances (2); allowed: 2 to 100"
    ]


def test_a_default_is_checked_against_what_is_given() -> None:
    """`min_instances 3` alone is above the default `max_instances`, which was not given."""
    assert problems({"pools": {"cpu": {"min_instances": 3}}}) == [
        "receipt-trainer:pools.cpu.max_instances: 2 is below min_instances (3); allowed: 3 to 100"
    ]


def test_half_a_budget() -> None:
    """A budget without its mail address is told what is missing."""
    assert problems({"budget": {"monthly_usd": 5}}) == [
        "receipt-trainer:budget.email: is missing; allowed: a text (Who is told)"
    ]


def test_no_pool_at_all() -> None:
    """A stack without any pool could run nothing."""
    (line,) = problems({"pools": {"gpu": {"enabled": False}, "cpu": {"enabled": False}}})
    assert line == "receipt-trainer:pools: no pool is enabled; allowed: enabled true for gpu, cpu or both"


def test_more_instances_than_addresses() -> None:
    """Instances that the private subnets have no addresses for are refused before Amazon refuses them one by one."""
    values: dict[str, Any] = {
        "network": {"cidr": "10.0.0.0/23", "az_count": 1},
        "pools": {"gpu": {"max_instances": 34}},
    }
    (line,) = problems(values)
    assert line.startswith("receipt-trainer:pools: 36 instances (max_instances of all pools) find no addresses")
    assert "allowed: up to 35" in line
    values["pools"]["gpu"]["max_instances"] = 33
    assert StackSettings.parse(values).pools["gpu"].max_instances == 33


def test_workers_with_public_addresses_need_room_in_the_public_subnets() -> None:
    """With `nat: public` it is the small public subnets that have to hold all instances, and an image build."""
    values: dict[str, Any] = {
        "network": {"cidr": "10.0.0.0/23", "az_count": 1, "nat": "public"},
        "pools": {"gpu": {"max_instances": 8}},
    }
    (line,) = problems(values)
    assert line.startswith("receipt-trainer:pools: 10 instances (max_instances of all pools) find no addresses")
    assert "network.nat public; allowed: up to 9" in line
    values["pools"]["gpu"]["max_instances"] = 7
    assert StackSettings.parse(values).pools["gpu"].max_instances == 7


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
    st.sampled_from([field.alias or name for name, field in StackSettings.model_fields.items()]) | st.text(max_size=8),
    JSON | st.dictionaries(st.sampled_from(MEMBERS), JSON | st.dictionaries(st.sampled_from(MEMBERS), JSON)),
    max_size=4,
)


@given(SHAPED, st.booleans())
@settings(max_examples=200, deadline=None)
@example({"pools": {"gpu": {"max_instances": 10**5000}}}, False)
@example({"network": "[" * 100_000}, False)
@example({"tags": {"\ud800": "\ud800"}, "a\nb": {"c\nd": 1}}, False)
@example({"environment": {"gpu": []}, "retention": {"logs_days": 10**5000}}, False)
def test_no_value_gives_a_traceback(values: dict[str, Any], as_text: bool) -> None:
    """Whatever the configuration holds, it is understood, or every line of the one error begins with a key."""
    given_values = {key: json.dumps(value) for key, value in values.items()} if as_text else values
    try:
        told = str(StackSettings.parse(given_values) and "")
    except SettingsError as error:
        told = str(error)
    told.encode()
    assert all(line.startswith("receipt-trainer:") and "allowed:" in line for line in told.splitlines())
