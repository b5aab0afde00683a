"""Root file systems to boot: Debian's, made once and kept outside the tree, and the parent image made of it.

`python -m tests.boot.rootfs` makes the first one, if it is not there, and prints its folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "cloud-init", "python3-cffi-backend", "python3-venv"),
    *("awscli", "ca-certificates", "curl", "iproute2", "logrotate", "procps"),
)
"""Python 3.11, systemd 252 and cloud-init 22.4: Amazon Linux 2023 has systemd 252 and cloud-init 22.2."""
PYTHON = "3.11"
PYTORCH = "opt/pytorch"
SITE_PACKAGES = f"{PYTORCH}/lib/python{PYTHON}/site-packages"
STAND_INS = Path(__file__).with_name("stand_ins")

_FORMAT = 1  # raise it when other files would be made of the same packages
_LARGE = ("torch", "torchgen", "functorch", "nvidia", "triton")
"""Folders that are bound into the image instead of being copied."""


def cache() -> Path:
    """Where root file systems are kept between runs: in the user's cache, never in the tree."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "receipt-trainer" / "boot"


def base() -> Path:
    """Debian's root file system, made if it is not there; nobody may change it, tests lay an overlay over it.

    It is made beside its place and renamed: one that is there is whole.

    Raises:
        subprocess.CalledProcessError: mmdebstrap fails; its words are on standard error.
    """
    key = hashlib.sha256(f"{_FORMAT} {SUITE} {sorted(PACKAGES)}".encode()).hexdigest()[:16]
    folder = cache() / f"{SUITE}-{key}"
    if folder.is_dir():
        return folder
    cache().mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=cache()))
    started = time.monotonic()
    print(f"boot: making {folder} of {SUITE}'s packages; it is kept for the next time", flush=True)
    try:
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        subprocess.run([*command, SUITE, scratch / "root"], check=True)
        try:
            (scratch / "root").rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was faster
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"boot: made in {time.monotonic() - started:.0f} s", flush=True)
    return folder


def make_parent(root: Path) -> dict[str, Path]:
    """Make the root file system in `root` a parent image; returns the folders to bind into it, by their place.

    It has what Amazon's has: /opt/pytorch with torch and what torch needs, ec2-user, and stand-ins of the programs that
    Debian lacks. Torch itself is this environment's own, of the same Python.
    """
    _inside(root, "python3", "-m", "venv", f"/{PYTORCH}")
    _inside(root, "useradd", "--create-home", "--uid", "1000", "ec2-user")
    bound: dict[str, Path] = {}
    for source in _torch_files():
        target = root / SITE_PACKAGES / source.name
        if source.name in _LARGE:
            target.mkdir()
            bound[f"/{SITE_PACKAGES}/{source.name}"] = source
        elif source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for name, place in {
        "mount.efs": "sbin",
        "dnf": "usr/bin",
        "nvidia-modprobe": "usr/bin",
        "amazon-cloudwatch-agent-ctl": "opt/aws/amazon-cloudwatch-agent/bin",
    }.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(STAND_INS / name, root / place / name)
    write(root, "etc/cloud/cloud.cfg.d/99_boot.cfg", "datasource_list: [NoCloud]\nnetwork: {config: disabled}\n")
    write(root, "etc/cloud/ds-identify.cfg", "policy: enabled\n")
    return bound


def write(root: Path, path: str, text: str) -> None:
    """A file of a root file system."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")


def _inside(root: Path, *command: str) -> None:
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    subprocess.run(["chroot", root, *command], env=clean, check=True, capture_output=True, timeout=300)


def _torch_files() -> set[Path]:
    """Top-level entries of site-packages that belong to torch and to what torch alone requires."""
    todo, seen, found = {"torch"}, set[str](), set[Path]()
    while todo:
        name = todo.pop()
        seen.add(name)
        owner = distribution(name)
        found |= _entries(owner)
        for line in owner.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo |= {requirement.name.lower()} - seen
    return found


def _entries(owner: Distribution) -> set[Path]:
    tops = {file.parts[0] for file in owner.files or () if file.parts[0] not in ("..", "__pycache__")}
    return {Path(str(owner.locate_file(top))) for top in tops}


if __name__ == "__main__":
    print(base())
