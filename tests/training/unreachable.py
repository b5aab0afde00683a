"""A hub of models on which nobody answers."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants as constants
import huggingface_hub.utils._http as http
import pytest

NOBODY = "http://127.0.0.1:9"


def reach_nobody(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """As HF_ENDPOINT would set it before the start; the client's own retries do not wait."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, NOBODY)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)
