from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receipt_trainer.aws import imds
from receipt_trainer.aws.imds import Imds
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local.imds import ImdsStandIn
from receipt_trainer.worker.interruptions import ACTION, LIFECYCLE, REBALANCE, Advice, Interruption, Watch, look
from tests.waiting import TIMEOUT_S

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def service() -> Iterator[ImdsStandIn]:
    with ImdsStandIn("i-1", clock=lambda: NOON) as running:
        yield running


def test_a_calm_instance_is_not_interrupted(service: ImdsStandIn) -> None:
    """An instance in service without any notice goes on."""
    assert look(Imds(service.url, timeout_s=TIMEOUT_S)) is None


@pytest.mark.parametrize(
    ("kind", "words", "deadline"),
    [
        ("spot", "terminate at 2026-01-01T12:02:00Z", datetime(2026, 1, 1, 12, 2, tzinfo=UTC)),
        ("lifecycle", "Auto Scaling group", None),
    ],
)
def test_each_notice_is_read(service: ImdsStandIn, kind: str, words: str, deadline: datetime | None) -> None:
    """Spot notice and the group's decision, each with what it says."""
    service.interrupt(kind)
    found = look(Imds(service.url, timeout_s=TIMEOUT_S))
    assert isinstance(found, Interruption)
    assert (found.kind, found.deadline) == (kind, deadline)
    assert words in found.reason


def test_a_recommendation_is_advice_and_hides_no_notice(service: ImdsStandIn) -> None:
    """It alone is no interruption; what has to be obeyed is told in its place."""
    service.interrupt("rebalance")
    found = look(Imds(service.url, timeout_s=TIMEOUT_S))
    assert isinstance(found, Advice)
    assert "2026-01-01T12:00:00Z" in found.reason
    service.interrupt("lifecycle")
    assert isinstance(look(Imds(service.url, timeout_s=TIMEOUT_S)), Interruption)


def test_one_token_serves_many_looks_and_a_forgotten_one_is_renewed(service: ImdsStandIn) -> None:
    """The service is asked for a token once, again after half its life, and when it knows it no more."""
    now = 0.0
    asked = Imds(service.url, timeout_s=TIMEOUT_S, clock=lambda: now)
    for _ in range(5):
        look(asked)
    assert service.num_tokens == 1
    service.tokens.clear()
    assert asked.get("instance-id") == "i-1"
    assert service.num_tokens == 2
    now = imds.TOKEN_TTL_S / 2
    assert asked.get("instance-id") == "i-1"
    assert service.num_tokens == 3


class Metadata:
    def __init__(self, **paths: str) -> None:
        self.paths = {ACTION: paths.get("action"), REBALANCE: paths.get("rebalance"), LIFECYCLE: paths.get("state")}

    def get(self, path: str) -> str | None:
        return self.paths[path]


@given(st.text(), st.text())
def test_a_notice_that_cannot_be_read_is_still_a_notice(action: str, rebalance: str) -> None:
    """Whatever text a notice has, it interrupts and breaks nothing; a hibernation alone keeps the worker."""
    for found in (look(Metadata(action=action)), look(Metadata(rebalance=rebalance))):
        assert found is not None
    assert look(Metadata(action='{"action": "hibernate", "time": "2026-01-01T12:00:00Z"}')) is None


def test_the_watch_goes_on_over_faults_and_advice_and_tells_once() -> None:
    """A service that fails for a while is asked again; advice is told once, and the notice after it ends it."""
    told: list[Advice | Interruption] = []
    looks = 0

    class Failing(Metadata):
        def get(self, path: str) -> str | None:
            nonlocal looks
            looks += 1
            if looks < 4:
                raise WorldError("not there")
            if looks > 12:
                self.paths[ACTION] = "{}"
            return super().get(path)

    waits: list[float] = []
    done = threading.Event()

    def notify(found: Advice | Interruption) -> None:
        told.append(found)
        if isinstance(found, Interruption):
            done.set()

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    watch = Watch(Failing(rebalance="{}"), notify, notify, interval_s=2.0, wait=wait)
    assert done.wait(TIMEOUT_S)
    watch.close()
    assert [type(found) for found in told] == [Advice, Interruption]
    assert set(waits) == {2.0}


def test_a_laptop_has_no_service_and_an_instance_must_have_one() -> None:
    """Switched off there is none; a named or expected one that does not answer is a fault, after bounded tries."""
    nobody = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"}
    waits: list[float] = []
    assert imds.find({"AWS_EC2_METADATA_DISABLED": "true"}) is None
    with pytest.raises(WorldError, match="instance metadata"):
        imds.find(nobody, expected=True, sleep=waits.append)
    assert len(waits) == imds.ATTEMPTS - 1
    with pytest.raises(UserError, match="AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        imds.find({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "here"})
