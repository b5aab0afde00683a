"""The month that docs/costs.md adds up."""

from pathlib import Path

import pytest

from infra.endpoints import INTERFACE_SERVICES

ROOT = Path(__file__).parents[1]


def test_sums_of_the_costs_are_right() -> None:
    """The month at rest counts the endpoints there are, adds up, and is what the README says."""
    text = (ROOT / "docs" / "costs.md").read_text()
    number = len(INTERFACE_SERVICES)
    assert f"| {number} × $0.01/h × 730 h | ${number * 0.01 * 730:.2f} |" in text
    rows = [line.strip("|").split("|") for line in text.partition("## Why")[0].splitlines() if line.startswith("| ")]
    at_rest = [row for row in rows if len(row) == 4]
    for column in (2, 3):
        *parts, total = [float(row[column].strip(" *$")) for row in at_rest if "$" in row[column]]
        assert sum(parts) == pytest.approx(total)
        assert f"${total:.0f}" in (ROOT / "README.md").read_text()
