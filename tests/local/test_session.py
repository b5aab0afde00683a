"""The local session's file, lock and instances, without the cloud behind them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receipt_trainer.aws.imds import Imds
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local import session
from receipt_trainer.worker.interruptions import look
from tests.cli.test_stack import exported
from tests.waiting import TIMEOUT_S

HOLDER = """
import sys
from receipt_trainer.local import session
with session.own():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's session is."""
    monkeypatch.setenv(session.ENV_DIR, str(tmp_path / "state"))
    return session.home()


def made(session_id: str = "a") -> session.Session:
    """A session of this process."""
    return session.Session(
        session_id=session_id,
        pid=os.getpid(),
        started_at="2026-11-20T12:00:00+00:00",
        program="p",
        endpoint="http://127.0.0.1:9",
        environment={"JOBS_TABLE_NAME": "jobs", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "QUOTED": "a b'c"},
        outputs=StackOutputs.parse(exported("r")),
    )


@pytest.fixture
def running(root: Path) -> Iterator[session.Session]:
    """A session of this process."""
    with session.own() as folder:
        (folder / session.WORKERS).mkdir()
        yield made()


def test_a_session_is_its_users_alone(root: Path) -> None:
    """Folder and file admit nobody else; afterwards nothing is there."""
    with session.own() as folder:
        (folder / "checkpoints").mkdir()
        session.write(made())
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "session.json").stat().st_mode) == 0o600
    assert not root.exists()


def test_what_the_user_has_there_stays(root: Path) -> None:
    """A folder that the user named and keeps other things in loses only what is the session's."""
    root.mkdir()
    (root / "mine").touch()
    with session.own():
        pass
    assert [path.name for path in root.iterdir()] == ["mine"]


def test_there_is_one_at_a_time(root: Path) -> None:
    """Another process's session is refused while that lives, and is no hindrance once it was killed."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="still starting"):
            session.require()
        session.write(made())  # for the holder
        with pytest.raises(UserError, match=f"running already \\(process {os.getpid()}\\)"), session.own():
            pass
        assert session.require().session_id == "a"
        assert not made(session_id="b").is_live()
    finally:
        holder.kill()
        holder.communicate()
    assert session.find() is None
    with pytest.raises(UserError, match="has died; start another one"):
        session.require()
    with session.own() as folder:
        assert not list(folder.iterdir())


def test_the_users_own_settings_lead_nowhere() -> None:
    """Names, endpoint and credentials are the session's; profiles and other endpoints are taken out; the rest stays."""
    mine = {"AWS_PROFILE": "p", "AWS_ENDPOINT_URL_S3": "http://x", "JOBS_TABLE_NAME": "mine", "HOME": "/h"}
    mine |= {"JOB_QUEUE_URL_HIGH": "http://x", "AUTO_SCALING_GROUP_NAME": "theirs"}
    found = made().applied_to(mine)
    assert "AWS_PROFILE" not in found
    assert not found.keys() & {"AWS_ENDPOINT_URL_S3", "JOB_QUEUE_URL_HIGH", "AUTO_SCALING_GROUP_NAME"}
    assert (found["JOBS_TABLE_NAME"], found["HOME"]) == ("jobs", "/h")
    assert "127.0.0.1" in found["NO_PROXY"]


def test_a_shell_takes_its_variables() -> None:
    """What `local env` prints is taken by a shell as it is meant, quotes and all, and removes a profile."""
    script = f'{made().shell()}\nprintf %s "$QUOTED-${{AWS_PROFILE:-none}}"'
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"AWS_PROFILE": "p"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "a b'c-none"


def test_a_notice_is_for_one_worker(running: session.Session) -> None:
    """Each worker is an instance that has no price; a notice reaches its own only, and none that comes later."""
    with session.join(running) as first, session.join(running) as second:
        alive = [(one["instance_id"], one["pid"]) for one in session.instances() if one["alive"]]
        assert alive == [("i-local-1", os.getpid()), ("i-local-2", os.getpid())]
        session.interrupt("i-local-2", "spot", 30)
        assert look(Imds(first, timeout_s=TIMEOUT_S)) is None
        found = look(Imds(second, timeout_s=TIMEOUT_S))
        assert found is not None
        assert found.kind == "spot"
        assert Imds(first, timeout_s=TIMEOUT_S).get("instance-life-cycle") is None
    assert [one["alive"] for one in session.instances()] == [False, False]
    with session.join(running) as third:
        assert look(Imds(third, timeout_s=TIMEOUT_S)) is None


def test_a_worker_of_a_session_that_has_gone_says_so(root: Path) -> None:
    """Its folder went with it: no instance can be made, which is one line with the session's process."""
    with pytest.raises(WorldError, match=f"the local session of process {os.getpid()} is gone"), session.join(made()):
        pass
    assert session.instances() == []
