"""Looks at a pool of the embedded AWS, with clients that answer as AWS does on a bad day."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.infra.pool_cloud import PoolCloud, load_handler

HANDLER = load_handler()
MINUTE = timedelta(minutes=1)


def direct(service: str) -> Any:
    """A client that tries once, at whatever endpoint the environment names."""
    return make_client(service, os.environ.get("AWS_ENDPOINT_URL"))


@cache
def make_client(service: str, endpoint: str | None) -> Any:
    return boto3.client(service, config=Config(retries={"total_max_attempts": 1}))  # type: ignore[call-overload]


def look(pool: PoolCloud, now: datetime, client: Callable[[str], Any] = direct, **changes: Any) -> dict[str, list[str]]:
    """One look at the pool; waits between tries take no time."""
    found: dict[str, list[str]] = HANDLER.look(pool.rules(HANDLER, **changes), client, now, lambda seconds: None)
    return found


class Answering:
    """A real client, but for the named requests: those are counted and answered by functions."""

    def __init__(self, real: Any, **answers: Callable[..., Any]) -> None:
        self._real, self._answers = real, answers

    def __getattr__(self, name: str) -> Any:
        return self._answers.get(name) or getattr(self._real, name)


def refuse(code: str) -> Callable[..., Any]:
    """Answers every request with this error."""

    def answer(**asked: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "Request")

    return answer


def with_answers(service: str, **answers: Callable[..., Any]) -> Callable[[str], Any]:
    """Clients of which that of one service answers so."""
    return lambda asked: Answering(direct(asked), **answers) if asked == service else direct(asked)
