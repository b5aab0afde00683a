"""What the stack was at its last update: an edit that would replace what holds data is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from infra.setting_problems import SettingsError
from infra.settings import StackSettings


async def read_outputs() -> dict[str, Any]:
    """The outputs that the last update of this very stack left; empty before its first one.

    The engine reads the stack's own state for it, in previews too. A stack of a backend without organisations has one
    called `organization`, which is what `get_organization` says there (Pulumi, "Stack references").
    """
    full_name = "/".join((pulumi.get_organization(), pulumi.get_project(), pulumi.get_stack()))
    last = await pulumi.StackReference("last-update", stack_name=full_name).outputs.future()
    return dict(last or {})


def refuse_replaced_data(
    last: Mapping[str, Any], settings: StackSettings, region: str, project: str = "receipt-trainer"
) -> None:
    """Stop before anything is registered if the edit of a standing stack would replace what holds data.

    Args:
        last: outputs of the last update; empty: there is nothing to lose.
        settings: of this update.
        region: of this update, such as `us-east-1`.
        project: the project's name, namespace of its keys.

    Raises:
        SettingsError: `environment` or `aws:region` is another one than in `last`, and `replace_data` is not true.
    """
    edits = {f"{project}:environment": ("environment", settings.environment), "aws:region": ("region", region)}
    lines = [
        f"{key}: '{now}' would replace what holds data in this stack, which stands with '{last[output]}', by something "
        f"empty; make a second stack instead (pulumi stack init NAME); allowed: '{last[output]}', or any with "
        f"{project}:replace_data true"
        for key, (output, now) in edits.items()
        if last.get(output) not in (None, now)
    ]
    if not lines:
        return
    if settings.replace_data:
        pulumi.warn(f"{project}:replace_data is true: this edit replaces what holds data by something empty")
        return
    # The SDK registers the outputs of a program that stops, too: none, and the next update would know nothing of this.
    for name, value in last.items():
        pulumi.export(name, value)
    raise SettingsError("\n".join(lines))
