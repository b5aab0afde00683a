"""A machine to bake on: a scratch root with a real Python, a bucket in a folder, stand-ins for the rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.image import document
from infra.wheelhouse.archive import pack
from infra.wheelhouse.manifest import MANIFEST, Manifest, Stored, Wheel, file_sha256

USERDATA = Path(__file__).resolve().parents[2] / "userdata"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BUCKET = "wheels-1"
PARAMETER = "/receipt-trainer/dev/wheelhouse"

_TRAINER = {
    "receipt_trainer/__init__.py": "",
    "receipt_trainer/cli.py": "def main():\n    print('usage')\n",
    "receipt_trainer/worker/__init__.py": "",
    "receipt_trainer/worker/main.py": "",
    "receipt_trainer/models/layoutlm/__init__.py": "",
    "receipt_trainer/models/layoutlm/family.py": "import torch, pinned\n",
    "receipt_trainer/models/paddleocr_vl/__init__.py": "",
    "receipt_trainer/models/paddleocr_vl/family.py": "",
}
_SCRIPTS = "[console_scripts]\nlayoutlm-cli = receipt_trainer.cli:main\nreceipt-trainer = receipt_trainer.cli:main\n"

_AWS = """#!/bin/bash
if [ "$1" = --version ]; then echo aws-cli/2.99; exit 0; fi
from="$BUCKETS/${*: -2:1}" to="${*: -1}"
from="${from/s3:\\/\\//}"
case "$*" in
  "ssm get-parameter "*) cat "$BUCKETS/parameter.json" ;;
  *--include*) only="${*: -3:1}" && if [ -e "$from$only" ]; then cp "$from$only" "$to"; fi ;;
  *) if [ -d "$from" ]; then mkdir -p "$to" && cp -R "$from." "$to"; fi ;;
esac
"""
_DNF = """#!/bin/bash
echo "$*" >>"$DNF_LOG"
give() { mkdir -p "$(dirname "$ROOT$1")" && cp "$STANDINS/given/${1##*/}" "$ROOT$1"; }
for package in "$@"; do
  case "$package" in
    "$DNF_LACKS") ;;
    awscli-2) give /usr/bin/aws ;;
    logrotate) give /usr/sbin/logrotate ;;
    amazon-efs-utils) give /sbin/mount.efs ;;
    amazon-cloudwatch-agent) give /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl ;;
  esac
done
"""
_PASS_ON = '#!/bin/bash\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'


def make_wheel(folder: Path, name: str, files: dict[str, str], about: str = "", entry_points: str = "") -> Path:
    """A pure wheel of version 1.0 with these files; `about` are more lines of its metadata."""
    info = f"{name}-1.0.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{about}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    path = folder / f"{name}-1.0-py3-none-any.whl"
    everything = files | metadata
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in everything.items():
            archive.writestr(zipfile.ZipInfo(file), text)  # dated 1980: the same bytes every time
        archive.writestr(
            zipfile.ZipInfo(f"{info}/RECORD"), "".join(f"{file},,\n" for file in [*everything, f"{info}/RECORD"])
        )
    return path


def make_wheelhouse(folder: Path, build: str = "first") -> Manifest:
    """A small trainer that knows its build, with one dependency, as a real wheelhouse lies in its local folder."""
    made = folder / "made"
    made.mkdir(parents=True)
    extras = "Provides-Extra: train\nProvides-Extra: report\nRequires-Dist: torch; extra == 'train'\n"
    about = f"{extras}Requires-Dist: pinned==1.0; extra == 'train'\n"
    files = _TRAINER | {"receipt_trainer/__init__.py": f"BUILD = {build!r}\n"}
    trainer = make_wheel(folder, "receipt_trainer", files, about, _SCRIPTS)
    pinned = make_wheel(made, "pinned", {"pinned.py": ""})
    sha256 = file_sha256(trainer)
    objects = [
        Stored(key=f"trainer/{sha256}/{trainer.name}", sha256=sha256, size=trainer.stat().st_size, pythons=(PYTHON,)),
        pack([pinned], [PYTHON], folder),
    ]
    wheels = [
        Wheel(file=w.name, sha256=file_sha256(w), pythons=(PYTHON,), name=w.name.partition("-")[0], version="1.0")
        for w in (trainer, pinned)
    ]
    shutil.rmtree(made)
    manifest = Manifest.of([PYTHON], objects, wheels)
    (folder / MANIFEST).write_text(manifest.text())
    return manifest


def upload(folder: Path, manifest: Manifest, buckets: Path) -> None:
    """What `pulumi up` would: each object under its key, the manifest, and the parameter that names it."""
    keys = {stored.file: stored.key for stored in manifest.objects} | {MANIFEST: f"{manifest.hash}/{MANIFEST}"}
    for file, key in keys.items():
        target = buckets / BUCKET / "wheelhouse" / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / file, target)
    value = {"bucket": BUCKET, "prefix": f"wheelhouse/{manifest.hash}", "hash": manifest.hash}
    (buckets / "parameter.json").write_text(json.dumps(value))


@dataclass(frozen=True)
class Machine:
    """A scratch root, the folder that stands for S3, the stand-ins, and the hash of the wheelhouse in the bucket."""

    root: Path
    buckets: Path
    standins: Path
    wheelhouse: str

    @property
    def marker(self) -> Path:
        """The file that says that the image is whole."""
        return self.root / "opt/receipt-trainer/image.json"

    @property
    def wheels(self) -> Path:
        """What lies below `wheelhouse/` in the bucket."""
        return self.buckets / BUCKET / "wheelhouse"

    def document(self) -> dict[str, Any]:
        """The component document, read back from its YAML; it does not know which wheelhouse is the current one."""
        values = {"AWS_REGION": "eu-west-1", "WHEELHOUSE_PARAMETER": PARAMETER}
        loaded: dict[str, Any] = yaml.safe_load(document.render(document.read_scripts(USERDATA), values))
        return loaded

    def run(self, phase: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one phase of the document as Image Builder does: step after step, until one fails."""
        steps = next(each["steps"] for each in self.document()["phases"] if each["name"] == phase)
        done = subprocess.CompletedProcess[str]([], 0, "", "")
        for step in steps:
            script = self.standins / "step.sh"
            script.write_text("\n".join(step["inputs"]["commands"]))
            done = subprocess.run(
                ["/bin/bash", str(script)],
                env=self._environment() | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            if done.returncode:
                break
        return done

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.standins}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.root),
            "ROOT": str(self.root),
            "BUCKETS": str(self.buckets),
            "STANDINS": str(self.standins),
            "DNF_LOG": str(self.standins / "dnf.log"),
            "DNF_LACKS": "none",
            "INSTALL_DEADLINE_S": "0",
            # Whoever asks an index, fails.
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": "http://127.0.0.1:9/",
        }


def _can_unshare() -> bool:
    tool = shutil.which("unshare")
    return (
        tool is not None and subprocess.run([tool, "--net", "true"], capture_output=True, check=False).returncode == 0
    )


def stand_ins(folder: Path) -> None:
    """Programs that come first on PATH, among them a conda-like `aws` that nobody may take."""
    given = folder / "given"
    given.mkdir(parents=True)
    owner = os.getuid() or 1000
    programs = {
        folder / "aws": '#!/bin/bash\necho taken >>"$STANDINS/conda-aws.log"\nexit 1\n',
        folder / "dnf": _DNF,
        folder / "runuser": _PASS_ON,
        folder / "id": f"#!/bin/bash\necho ${{EC2_USER_UID:-{owner}}}\n",
        given / "aws": _AWS,
        given / "mount.efs": "#!/bin/bash\n",
        given / "logrotate": "#!/bin/bash\n",
        given / "amazon-cloudwatch-agent-ctl": "#!/bin/bash\n",
    }
    if os.getuid():
        programs[folder / "chown"] = "#!/bin/bash\n"
    if not _can_unshare():
        programs[folder / "unshare"] = '#!/bin/bash\nshift\nexec "$@"\n'
    for path, text in programs.items():
        path.write_text(text)
        path.chmod(0o755)
