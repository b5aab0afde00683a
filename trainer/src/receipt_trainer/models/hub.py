"""The hub that models are had from: whether it was out of reach, or has not got what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.constants import is_offline_mode
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.errors import HTTPError as _HTTPError  # type: ignore[attr-defined]  # its HTTP client's own

from receipt_trainer.errors import WorldError

ERRORS: Final = (OSError, _HTTPError)
"""Errors of loading from the hub where it cannot be reached."""

_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500


def raise_if_unreachable(name: str, error: BaseException) -> None:
    """Tell a hub that did not answer, which has been retried by its own client, from a name that is not on it.

    Where the cache holds a part of the model, transformers forgets why it lacks the rest: then the hub is asked.

    Args:
        name: a hub name or a folder.
        error: what loading it raised.

    Raises:
        WorldError: `name` is no folder, offline mode is not set, and the cause is the network or the hub.
    """
    if Path(name).exists() or is_offline_mode() or not (any(map(_is_fault, _chain(error))) or _is_silent(name)):
        return
    said = (" ".join(str(error).split()) or type(error).__name__)[:160]
    raise WorldError(f"model {name}: the hub could not be reached, nor is the model in its cache: {said}") from None


def _is_silent(name: str) -> bool:
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except (*ERRORS, ValueError) as error:  # ValueError: not a name that the hub could have
        return any(map(_is_fault, _chain(error)))
    return False


def _is_fault(error: BaseException) -> bool:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS
    return isinstance(error, _HTTPError | LocalEntryNotFoundError | ConnectionError | TimeoutError)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
