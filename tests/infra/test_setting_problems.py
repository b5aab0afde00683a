"""What wrong values of the configuration are told."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.setting_groups import PoolSettings
from infra.settings import SettingsError, StackSettings


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


MOST = PoolSettings.model_fields["max_instances"].description


def test_max_below_min() -> None:
    """The line names the other member, its value and the range that is left."""
    assert problems({"pools": {"gpu": {"min_instances": 2, "max_instances": 1}}}) == [
        f"receipt-trainer:pools.gpu.max_instances: 1 is below min_instances (2); allowed: 2 to 100 ({MOST})"
    ]


def test_a_default_is_checked_against_what_is_given() -> None:
    """`min_instances 3` alone is above the default `max_instances`, which was not given."""
    assert problems({"pools": {"cpu": {"min_instances": 3}}}) == [
        f"receipt-trainer:pools.cpu.max_instances: 2 is below min_instances (3); allowed: 3 to 100 ({MOST})"
    ]


def test_half_a_budget() -> None:
    """A budget without its mail address is told what is missing."""
    assert problems({"budget": {"monthly_usd": 5}}) == [
        "receipt-trainer:budget.email: field required (Mail address that is notified)"
    ]


def test_no_pool_at_all() -> None:
    """A stack without any pool could run nothing."""
    (line,) = problems({"pools": {"gpu": {"enabled": False}, "cpu": {"enabled": False}}})
    assert line.startswith("receipt-trainer:pools: no pool is enabled; allowed: enabled true for gpu, cpu or both")


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
    assert StackSettings.parse(values).pools.gpu.max_instances == 33


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
    assert StackSettings.parse(values).pools.gpu.max_instances == 7


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
@settings(max_examples=200, deadline=None)
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
