"""Image Builder's cron."""

import pytest

from infra.settings import SettingsError, StackSettings


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "cron(0 6 ? * sun *)",
        "cron(*/15,59 0-23/2 L jan-mar,12 ? 2026-2199)",
        "cron(0 0 ? * fri#2 *)",
        "cron(0 0 3W * ? *)",
        "cron(0 0 ? * 6L *)",
        "cron(0 0 * * ? *)",
    ],
)
def test_image_builders_cron_is_understood(cron: str) -> None:
    """Every wildcard of Image Builder's page on cron expressions is accepted where that page has it."""
    assert StackSettings.parse({"golden_ami": {"schedule": cron}}).golden_ami.schedule == cron


@pytest.mark.parametrize(
    "cron",
    [
        "cron(0 0 ? * sun)",
        "cron(0 0 ? * sun *) ",
        "cron(0  0 ? * sun *)",
        "cron(? 0 ? * sun *)",
        "cron(0 0 ? * L/2 *)",
        "cron(0 0 ? * fri#6 *)",
        "cron(0 5-3 ? * sun *)",
        "cron(0 0 ? * ? *)",
        "cron(0 */0 ? * sun *)",
        "cron(0 ٣ ? * 1 *)",
    ],
)
def test_what_is_not_image_builders_cron_is_refused(cron: str) -> None:
    """A missing field, a stray space, a wildcard in another field, an empty range: none reaches AWS."""
    with pytest.raises(SettingsError, match=r"^receipt-trainer:golden_ami.schedule: [^\n]*$"):
        StackSettings.parse({"golden_ami": {"schedule": cron}})
