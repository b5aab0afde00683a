"""The bake of the Golden AMI on a machine of the parent image."""

from __future__ import annotations

import json
from pathlib import Path

from tests.boot.cloud import Account
from tests.boot.rootfs import PYTHON


def test_the_three_phases_make_a_workers_image(account: Account, golden: list[Path]) -> None:
    """Build, validate and test pass with real pip, the real CLI and `unshare --net`, and name the wheelhouse."""
    marker = json.loads((golden[0] / "opt/receipt-trainer/image.json").read_text())
    assert marker == {"wheelhouse": account.outputs.wheelhouse_prefix.rpartition("/")[2], "python": PYTHON}
    assert not (golden[0] / "var/log/stand-ins.log").exists(), "something was asked of dnf"
