"""What all boots share: a root file system, a stack, a parent image, and the image that a bake makes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.local.pulumi_program import load_config, run
from tests.boot import network, rootfs
from tests.boot.bake import bake
from tests.boot.cloud import CONFIG, REPOSITORY, Account, user_data_of
from tests.boot.instance import Instance

_PROGRAMS = ("mmdebstrap", "systemd-nspawn", "nsenter", "ip", "openssl")


def _lacking() -> str:
    if os.geteuid():
        return "root"
    if sys.version_info[:2] != tuple(map(int, rootfs.PYTHON.split("."))):
        return f"Python {rootfs.PYTHON}, whose torch it shares"
    return ", ".join(name for name in _PROGRAMS if shutil.which(name) is None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One clear line where nothing can be booted."""
    if lacking := _lacking():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"a real first boot needs {lacking}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The ends of the newest machine's logs with each failure: the machine itself is gone then."""
    report = yield
    account = getattr(item, "funcargs", {}).get("account")
    if report.failed and isinstance(account, Account):
        report.sections.append(("the machine's logs", account.words()))
    return report


@pytest.fixture(scope="session")
def base() -> Path:
    """Debian's root file system; also all else that needs a network is made here, and then there is none any more."""
    folder = rootfs.base()
    run(REPOSITORY, config=load_config(REPOSITORY, "dev", CONFIG))  # builds the wheelhouse, if there is none
    network.enter()
    return folder


@pytest.fixture(scope="session")
def cloud(base: Path) -> Iterator[LocalCloud]:
    """The embedded AWS, inside the network, also at port 443."""
    with LocalCloud(empty=True) as running:
        yield running


@pytest.fixture(scope="session")
def certificate(cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What an instance must trust to speak with the embedded AWS by AWS's own names."""
    certificate, key = network.make_certificate(tmp_path_factory.mktemp("tls"))
    front = network.TlsFront(certificate, key, cloud.endpoint)
    yield certificate
    front.close()


@pytest.fixture(scope="session")
def parent(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[Path], dict[str, Path]]]:
    """The layers of the parent image, and what is bound into it."""
    machine = Instance(tmp_path_factory.mktemp("parent"), [base], {}, environment={})
    bound = rootfs.make_parent(machine.root)
    subprocess.run(["umount", machine.root], check=True)
    yield [machine.layer, base], bound
    machine.remove()


@pytest.fixture(scope="session")
def account(
    cloud: LocalCloud,
    certificate: Path,
    parent: tuple[list[Path], dict[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Account]:
    """The stack, as `pulumi up` would leave it."""
    standing = Account.stand(cloud, certificate, parent[1], tmp_path_factory.mktemp("account"))
    yield standing
    standing.close()


@pytest.fixture(scope="session")
def user_data(account: Account) -> str:
    """The user data of the pool's launch template, as the program has rendered it."""
    return user_data_of(account.cloud, account.outputs)


@pytest.fixture(scope="session")
def golden(account: Account, parent: tuple[list[Path], dict[str, Path]]) -> list[Path]:
    """The layers of the image that the bake makes of the parent image."""
    machine, _ = account.machine("bake", parent[0])
    bake(account, machine)
    subprocess.run(["umount", machine.root], check=True)
    return [machine.layer, *parent[0]]
