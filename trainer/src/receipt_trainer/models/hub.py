"""The hub that models are had from: whether it was out of reach, or has not got what is asked for."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from huggingface_hub.errors import HTTPError as _HTTPError  # type: ignore[attr-defined]  # its HTTP client's own
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from receipt_trainer.errors import WorldError

ERRORS: Final = (OSError, _HTTPError)
"""Errors of loading from the hub where it cannot be reached."""

_PATIENCE_S: Final = 3.0
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERRORS: Final = 500


@contextmanager
def reached(name: str, instead: str = "") -> Iterator[None]:
    """Around loading: where the hub is out of reach, found out in seconds, its cache alone is asked.

    Args:
        name: a hub name or a folder.
        instead: what a user may do without a network.

    Raises:
        WorldError: nobody answers there, and the cache lacks the model.
    """
    if not _may_be_there(name):
        yield
        return
    if (said := _silence(constants.ENDPOINT)) is None:
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except (*ERRORS, ValueError) as error:
        raise _unreachable(name, f"{said}{'; ' if instead else ''}{instead}") from error
    finally:
        constants.HF_HUB_OFFLINE = False


def require(name: str, instead: str = "") -> None:
    """Before the imports that take seconds: a model of which the cache has nothing needs the hub.

    Raises:
        WorldError: nobody answers there.
    """
    is_cached = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}").is_dir()
    if not is_cached and _may_be_there(name) and (said := _silence(constants.ENDPOINT)):
        raise _unreachable(name, f"{said}{'; ' if instead else ''}{instead}")


def _may_be_there(name: str) -> bool:
    """Whether the hub is to be asked: not for a folder, not for a name that it cannot have, such as a path."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not (Path(name).exists() or constants.is_offline_mode())


def _unreachable(name: str, said: str) -> WorldError:
    return WorldError(f"model {name}: the hub could not be reached, nor is the model in its cache: {said}")


def _silence(endpoint: str) -> str | None:
    """Why nobody answers there within `_PATIENCE_S`, tries included; None: somebody does."""
    said = ["it does not answer"]

    def knock() -> None:
        for is_again in (False, True, True):
            time.sleep(0.5 * is_again)
            try:
                urlopen(Request(endpoint, method="HEAD"), timeout=_PATIENCE_S).close()  # noqa: S310 - the hub's address
            except HTTPError:
                said.clear()  # what is wrong with an answer is for the hub's own client to say
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", error)
                said[:] = [] if isinstance(reason, ssl.SSLError) else [str(reason)]
            else:
                said.clear()
            if not said:
                return

    thread = threading.Thread(target=knock, daemon=True)  # a name server that is silent holds it up for longer
    thread.start()
    thread.join(_PATIENCE_S)
    return f"{endpoint}: {said[0]}" if said else None


def raise_if_unreachable(name: str, error: BaseException) -> None:
    """Tell a hub that did not answer, which has been retried by its own client, from a name that is not on it.

    Where the cache holds a part of the model, transformers forgets why it lacks the rest: then the hub is asked.

    Args:
        name: a hub name or a folder.
        error: what loading it raised.

    Raises:
        WorldError: `name` is no folder, offline mode is not set, and the cause is the network or the hub.
    """
    if (
        Path(name).exists()
        or constants.is_offline_mode()
        or not (any(map(_is_fault, _chain(error))) or _is_silent(name))
    ):
        return
    raise _unreachable(name, (" ".join(str(error).split()) or type(error).__name__)[:160]) from None


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
