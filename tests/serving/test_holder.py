"""A holder follows its pointer: a sound model is put in force without a pause, any other leaves the old one there."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from structlog.testing import capture_logs

from receipt_trainer.contract.package import MANIFEST_FILE, ONNX_INT8, TOKENIZER_FILE
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.inference import model_place
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.model_cache import ModelCache
from tests.fault_proxy import FaultProxy
from tests.inference.told import record
from tests.serving.pointed import Bucket

RECEIPT = record("r1", "N:Big N:Shop", "D:25/12/2018", "TOTAL G:RM7.00")
DENIED = (403, {"message": "denied"})


@pytest.fixture(scope="module")
def package(run_dir: Path) -> Path:
    """A package with a tiny model."""
    return run_dir / "model" / "serve"


@pytest.fixture
def bucket(aws: LocalCloud, package: Path) -> Bucket:
    """A bucket whose pointer names the model of job `one`."""
    made = Bucket(package)
    made.promote("one")
    return made


@pytest.fixture
def cache(bucket: Bucket, tmp_path: Path) -> ModelCache:
    """The cache of the bucket's pointer."""
    return ModelCache(bucket.store.uri, tmp_path)


@pytest.fixture
def holder(bucket: Bucket, cache: ModelCache) -> Holder:
    """A holder of the bucket's pointer, which looks when it is told to."""
    return Holder.following(bucket.name, cache=cache)


def job(holder: Holder) -> str:
    """The job whose model answers."""
    held = holder.current()
    answered = held.reader.read(RECEIPT)
    assert answered["model"]["version"] == held.version
    return held.version.partition("/")[0]


def packages(cache: ModelCache) -> int:
    """How many are on disk; nothing else is there."""
    found = [path for path in cache.folder.iterdir() if path.is_dir()]
    assert all((path / MANIFEST_FILE).is_file() for path in found)
    return len(found)


def test_a_promoted_model_is_put_in_force(bucket: Bucket, holder: Holder, cache: ModelCache) -> None:
    """At the next look; one that is promoted again is not loaded again; a rollback brings the old one back; the disk
    keeps two."""
    assert (job(holder), holder.look()) == ("one", False)
    first = holder.current()
    bucket.promote("two")
    assert (holder.look(), job(holder), holder.problem) == (True, "two", None)
    assert first.reader.read(RECEIPT)["model"]["name"] == "one"  # a request keeps the model that it began with
    second = holder.current()
    bucket.promote("two")
    assert not holder.look()
    assert holder.current() is second
    bucket.promote("three")
    assert holder.look()
    assert packages(cache) == 2
    found = bucket.store.require()
    back = found.pointer.rolled_back("2026-01-02T00:00:00+00:00", "tests")
    assert back is not None
    bucket.store.replace(back, found)
    assert (holder.look(), job(holder)) == (True, "two")


@pytest.mark.parametrize(
    ("promote", "why"),
    [
        (lambda b: b.promote("bad", without=TOKENIZER_FILE), "tokenizer.json is missing"),
        (lambda b: b.promote("bad", model=b"x", **{"model.int8": b"x"}), "is not the file that the manifest names"),
        (lambda b: b.point(b.upload_wrong("bad")), "of its own sample wrongly"),
        (lambda b: b.point(b.upload("bad").model_copy(update={"manifest_sha256": "0" * 64})), "not the manifest that"),
        (lambda b: b.put("serving/default/current.json", b"{garbage"), "not a pointer"),
        (lambda b: b.put("serving/default/current.json", b'{"format": 2}'), "format 2 of a newer version"),
    ],
    ids=["half uploaded", "wrong hash", "wrong sample", "other manifest", "garbage", "newer"],
)
def test_a_bad_model_leaves_the_old_one(
    bucket: Bucket, holder: Holder, cache: ModelCache, promote: Callable[[Bucket], None], why: str
) -> None:
    """It is refused once, in the log and in `problem`, until the pointer changes; nothing of it stays half on disk."""
    held = holder.current()
    sound = bucket.store.require()
    promote(bucket)
    with capture_logs() as logs:
        for _ in range(3):
            assert not holder.look()
            assert why in (holder.problem or "")
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert holder.current() is held
    assert packages(cache) <= 2
    bucket.put("serving/default/current.json", sound.pointer.model_dump_json().encode())
    assert not holder.look()
    assert holder.problem is None
    assert job(holder) == "one"


def test_a_bad_model_at_the_start(bucket: Bucket, cache: ModelCache, package: Path) -> None:
    """The model before it answers; without one the start is refused with the reason."""
    bucket.point(bucket.upload_wrong("bad"))
    holder = Holder.following(bucket.name, cache=cache)
    assert job(holder) == "one"
    assert "sample wrongly" in (holder.problem or "")
    assert not holder.look()
    alone = Bucket(package)
    alone.point(alone.upload_wrong("bad"))
    with pytest.raises(UserError, match="sample wrongly"):
        Holder.following(alone.name, cache=cache)


def test_no_pointer(aws: LocalCloud, package: Path, bucket: Bucket, holder: Holder) -> None:
    """At the start it is said how one comes to be; later the old model answers."""
    with pytest.raises(
        UserError, match=r"no model was promoted as 'default'; do it with: receipt-trainer serve promote"
    ):
        Holder.following(Bucket(package).name)
    with pytest.raises(UserError, match="is no name"):
        Holder.following(bucket.name, "../x")


def test_a_first_promotion_is_taken(aws: LocalCloud, package: Path, tmp_path: Path) -> None:
    """Until there is a pointer the package that is named meanwhile answers, and another one once that is named; a
    pointer that cannot be followed leaves it there; once there is one, that package is not asked for."""
    bucket = Bucket(package)
    until = [bucket.upload("first").package]
    cache = ModelCache(bucket.store.uri, tmp_path)
    holder = Holder.following(bucket.name, cache=cache, until_promoted=lambda: until[-1])
    assert (job(holder), holder.look(), holder.problem) == ("first", False, None)
    until.append(f"s3://{bucket.name}/runs/none")
    assert (holder.look(), job(holder)) == (False, "first")
    assert "no model package" in (holder.problem or "")
    until.append(bucket.upload("newest").package)
    assert (holder.look(), job(holder), holder.problem) == (True, "newest", None)
    assert not holder.look()
    bucket.point(bucket.upload_wrong("bad"))
    assert (holder.look(), job(holder)) == (False, "newest")
    assert "sample wrongly" in (holder.problem or "")
    bucket.promote("one")
    assert (holder.look(), job(holder), holder.problem) == (True, "one", None)
    assert not holder.look()
    again = Holder.following(bucket.name, cache=cache, until_promoted=lambda: pytest.fail("there is a pointer"))
    assert job(again) == "one"


def test_the_network_is_away(
    bucket: Bucket, cache: ModelCache, fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start that is one line; later the old model answers, it is said once, and then all goes on."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    holder = Holder.following(bucket.name, cache=cache)
    fault_proxy.close()
    with pytest.raises(WorldError, match="AWS cannot be reached"):
        Holder.following(bucket.name, cache=cache)
    with capture_logs() as logs:
        for _ in range(2):
            assert not holder.look()
            assert "AWS cannot be reached" in (holder.problem or "")
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert job(holder) == "one"
    fault_proxy.open()
    bucket.promote("two")
    fault_proxy.rule = lambda name, count, body: DENIED if name == "GET" and count == 2 else None
    fault_proxy.calls.clear()  # the pointer is read, the manifest is not: no fault of the model
    assert not holder.look()
    assert holder.problem is not None
    assert holder.look()
    assert job(holder) == "two"
    assert holder.problem is None


def test_a_full_disk(bucket: Bucket, holder: Holder, cache: ModelCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the download is left, the old model answers, and the next look tries again."""
    bucket.promote("two")
    stream = model_place._stream

    def full(bucket_name: str, key: str, path: Path) -> str | None:
        if path.name == ONNX_INT8:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return stream(bucket_name, key, path)

    monkeypatch.setattr(model_place, "_stream", full)
    assert not holder.look()
    assert "No space left on device" in (holder.problem or "")
    assert packages(cache) == 1
    assert not [path for path in cache.folder.iterdir() if path.name.startswith(".") and path.is_dir()]
    monkeypatch.setattr(model_place, "_stream", stream)
    assert holder.look()
    assert job(holder) == "two"


def test_swaps_under_readers(bucket: Bucket, holder: Holder) -> None:
    """Each answer is of one model from its beginning to its end, and none fails while models change."""
    done, answered, failed = threading.Event(), set[str](), list[BaseException]()
    once = threading.Barrier(4)

    def read() -> None:
        once.wait()
        try:
            while not done.is_set():
                held = holder.current()
                answer = held.reader.read(RECEIPT)
                assert answer["model"]["version"] == held.version
                answered.add(answer["model"]["name"])
        except BaseException as error:
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    once.wait()
    for name in ("two", "three"):
        bucket.promote(name)
        assert holder.look()
    done.set()
    for reader in readers:
        reader.join()
    assert not failed
    assert answered <= {"one", "two", "three"}


def test_the_background_looks(bucket: Bucket, cache: ModelCache) -> None:
    """A started holder finds what is promoted by itself, and a bug in a look does not end the looks."""
    holder = Holder.following(bucket.name, cache=cache, look_s=0.05)
    looked, newer = threading.Event(), holder._source.newer

    def broken() -> Any:
        holder._source.newer = newer  # type: ignore[method-assign]
        looked.set()
        raise ZeroDivisionError

    holder._source.newer = broken  # type: ignore[method-assign]
    holder.start()
    assert looked.wait(60)
    bucket.promote("two")
    wait = threading.Event()
    for _ in range(600):
        if job(holder) == "two" or wait.wait(0.1):
            break
    holder.close()
    assert job(holder) == "two"


USES = """
import sys
from pathlib import Path
from receipt_trainer.serving.holder import Holder
from receipt_trainer.serving.model_cache import ModelCache
from receipt_trainer.serving.pointer_store import PointerStore
holder = Holder.following(sys.argv[1], cache=ModelCache(PointerStore(sys.argv[1], "default").uri, Path(sys.argv[2])))
print(holder.current().version, flush=True)
sys.stdin.read()
"""


def test_two_servers_with_one_cache(bucket: Bucket, holder: Holder, cache: ModelCache, tmp_path: Path) -> None:
    """What another process uses is not removed, and is once it has ended, also by a kill."""
    process = subprocess.Popen(
        [sys.executable, "-c", USES, bucket.name, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        said: IO[bytes] = process.stdout  # type: ignore[assignment]
        assert said.readline().startswith(b"one/")
        for name in ("two", "three", "four"):
            bucket.promote(name)
            assert holder.look()
        assert packages(cache) == 3  # that of the other process, and two
    finally:
        process.kill()
        process.communicate()
    cache.tidy()
    assert packages(cache) == 2


def test_killed_downloads_leave_nothing(holder: Holder, cache: ModelCache) -> None:
    """What a killed download has left is removed with the next tidying."""
    left = cache.folder / ".abc.receipt-trainer-xyz"
    left.mkdir()
    (left / "model.onnx").write_bytes(b"half")
    cache.tidy()
    assert not left.exists()


def test_a_folder_that_is_exported_anew(package: Path, tmp_path: Path) -> None:
    """A folder's model is replaced when the folder is; one that is damaged meanwhile leaves the old one in force."""
    folder = tmp_path / "package"
    shutil.copytree(package, folder)
    holder = Holder.fixed(folder)
    assert not holder.look()
    (folder / TOKENIZER_FILE).write_bytes(b"{}")
    assert not holder.look()
    assert "tokenizer.json" in (holder.problem or "")
    shutil.copy(package / TOKENIZER_FILE, folder)
    assert (holder.look(), holder.problem) == (True, None)
    shutil.rmtree(folder)
    assert not holder.look()
    assert "no model package there" in (holder.problem or "")
    assert holder.current().reader.read(RECEIPT)["words"]
