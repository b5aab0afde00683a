"""On-demand prices from a price list in the documented form, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws.prices import ListPrices, price_in
from receipt_trainer.contract import cost
from receipt_trainer.local.emulator import LocalCloud
from tests.price_list import PriceList, product

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROW = {"market": "on_demand", "instance_type": "g5.xlarge", "availability_zone": "us-east-1b"}


@pytest.fixture
def listed(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceList]:
    """Two types in two regions, and what must not be taken for them."""
    with PriceList(
        product("g5.xlarge", "us-east-1", "1.0060000000"),
        product("g5.xlarge", "us-east-1", "1.2", operatingSystem="RHEL"),
        product("g5.xlarge", "us-east-1", "1.106", tenancy="Dedicated"),
        product("g5.xlarge", "us-east-1", "0.0", capacitystatus="AllocatedCapacityReservation"),
        product("g5.xlarge", "eu-central-1", "1.258"),
        product("c7i.2xlarge", "us-east-1", "0.357"),
        product("g6.xlarge", "us-east-1", "0.8048"),
        product("g6.xlarge", "us-east-1", "0.9"),
    ) as serving:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", serving.url)
        yield serving


def test_the_price_of_a_type_depends_on_the_region(listed: PriceList) -> None:
    """Linux, shared, without reservation; each type and region is asked for once."""
    prices = ListPrices()
    for _ in range(3):
        assert prices.usd_per_h("g5.xlarge", "us-east-1") == 1.006
        assert prices.usd_per_h("g5.xlarge", "eu-central-1") == 1.258
    assert len(listed.asked) == 2
    assert prices.fault is None


def test_no_price_is_guessed(listed: PriceList) -> None:
    """A type that the list does not know, or names with two prices, has none; and that is no fault."""
    prices = ListPrices()
    assert prices.usd_per_h("p9.xlarge", "us-east-1") is None
    assert prices.usd_per_h("g6.xlarge", "us-east-1") is None
    assert prices.fault is None


def test_a_refusal_is_told_once_and_nobody_asks_again(listed: PriceList) -> None:
    """Without the permission there is no price; the reason is kept, and known prices stay known."""
    prices = ListPrices()
    assert prices.usd_per_h("c7i.2xlarge", "us-east-1") == 0.357
    listed.status = 400
    assert prices.usd_per_h("g5.xlarge", "us-east-1") is None
    assert "AccessDeniedException" in str(prices.fault)
    listed.status = 200
    assert prices.usd_per_h("g5.xlarge", "us-east-1") is None
    assert prices.usd_per_h("c7i.2xlarge", "us-east-1") == 0.357
    assert len(listed.asked) == 2


@pytest.mark.parametrize(
    "changes",
    [{"market": "spot"}, {"market": None}, {"availability_zone": None}, {"availability_zone": "us-east-1-bos-1a"}],
)
def test_only_who_was_bought_on_demand_in_a_known_zone_has_a_list_price(
    listed: PriceList, changes: dict[str, Any]
) -> None:
    """A spot price that was not recorded is not replaced by another one; local zones have prices of their own."""
    prices = ListPrices()
    assert prices.of_row(ROW) == 1.006
    assert prices.of_row(ROW | changes) is None
    assert len(listed.asked) == 1


def test_attempts_on_demand_cost_the_list_price_and_say_so(listed: PriceList) -> None:
    """A recorded price wins; of two attempts on demand without one, both are counted and marked."""
    times = {"started_at": "2026-11-20T08:00:00+00:00", "ended_at": "2026-11-20T09:00:00+00:00"}
    attempts = [ROW | times, times | ROW | {"price_usd_per_h": 0.5}, ROW | times, times]
    found = cost.of_attempts(attempts, NOW, ListPrices().of_row)
    assert found.usd == pytest.approx(2 * 1.006 + 0.5)
    assert (found.num_attempts, found.num_unknown, found.num_at_list_price) == (4, 1, 2)
    assert cost.of_attempts(attempts, NOW).num_unknown == 3


JSON = st.recursive(
    st.none() | st.floats() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.sampled_from(["product", "terms", "OnDemand", "attributes"]), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.text(max_size=20) | JSON.map(json.dumps), max_size=3))
def test_what_is_no_price_list_has_no_price(products: list[str]) -> None:
    """Whatever is answered in a price's place is no price, and no failure."""
    assert price_in(products, "g5.xlarge", "us-east-1") is None


@given(st.text(max_size=8))
def test_a_price_is_a_positive_number(usd: str) -> None:
    """The text of a price is a finite number of dollars above zero, or there is no price."""
    price = price_in([json.dumps(product("g5.xlarge", "us-east-1", usd))], "g5.xlarge", "us-east-1")
    assert price is None or 0 < price < float("inf")
