"""User data: every value comes out of bash and of systemd as it went in, or is refused by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.context import USERDATA
from infra.pools import user_data
from receipt_trainer.contract import env
from receipt_trainer.contract.env import WorkerEnv
from tests.contract.systemd_reader import read_like_systemd
from tests.infra.worker_values import BOOT, WORKER, boot_env, worker_env

SNAPSHOT = Path(__file__).parent / "snapshots" / "user_data.sh"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
SCRIPTS = sorted(USERDATA.glob("*.sh"))

TEXT_FIELDS = [name for name in BOOT if name != "pool" and not name.endswith("_id")]
PIECES = ["$", "$(id)", "${HOME:-}", "`id`", '"', "'", "\\", "\n", "#{", "{{", "}}", "%", "%n", "é", "雪", "\U0001f9fe"]
PIECES += [
    "\x00",
    "\r",
    "\t",
    "\x01",
    "\x7f",
    " ",
    "=",
    ";",
    "&",
    "|",
    "!",
    "\nEND\n",
    "END",
    "# FILES\n",
    "<<'END'",
    "\ufffe",
]
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=6).map("".join)

# Prints what the scripts would see: each variable of boot.env as bash has it, then worker.env as it is on the disk.
PRINTER = """
. "$BOOT_DIR/boot.env"
for name in {names}; do printf '%s\\0' "${{!name}}"; done
cat "$BOOT_DIR/worker.env"
"""


def _variables() -> list[str]:
    return ["AWS_REGION" if name == "region" else name.upper() for name in user_data.BootEnv.model_fields]


def _probe(boot_text: str, worker_text: str) -> str:
    """User data as it is rendered, but what it runs in the end prints what arrived."""
    printer = 'BOOT_DIR="$ROOT/run/receipt-trainer"\n' + PRINTER.format(names=" ".join(_variables()))
    return user_data.unpacking({"worker_boot.sh": printer}, {"boot.env": boot_text, "worker.env": worker_text})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch root with the one program that the unpacking takes from /usr/bin."""
    path = tmp_path_factory.mktemp("root")
    (path / "usr" / "bin").mkdir(parents=True)
    (path / "usr" / "bin" / "python3").symlink_to(shutil.which("python3") or sys.executable)
    return path


def _run(text: str, root: Path) -> bytes:
    # shutdown must never be the real one, should the text fail.
    environment = {"PATH": f"{root}/bin:{os.environ['PATH']}", "ROOT": str(root), "HOME": "/nowhere"}
    (root / "bin").mkdir(exist_ok=True)
    stand_in = root / "bin" / "shutdown"
    stand_in.write_text("#!/bin/sh\nexit 0\n")
    stand_in.chmod(0o755)
    script = root / "user-data"
    script.write_text(text, encoding="utf-8", newline="")
    done = subprocess.run(["/bin/bash", script], env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(TEXT_FIELDS, HOSTILE)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(WORKER, HOSTILE)),
)
def test_hostile_values_come_out_as_they_went_in_or_are_refused_by_name(
    root: Path, boot_changes: dict[str, Any], worker_changes: dict[str, str]
) -> None:
    """At every templated value: what bash and systemd end up with is what was given; what they cannot hold is named."""
    boot_values, worker_values = _accepted(boot_changes, worker_changes)
    boot_given, worker_given = boot_env(**boot_values), worker_env(**worker_values)
    text = _probe(user_data.boot_env_file(boot_given), worker_given.to_env_file())
    *printed, env_text = _run(text, root).split(b"\0")
    assert [value.decode() for value in printed] == [str(value) for value in boot_given.model_dump().values()]
    arrived = read_like_systemd(env_text.decode())
    assert arrived.pop("AWS_DEFAULT_REGION") == worker_given.region
    assert arrived == worker_given.model_dump(by_alias=True)
    assert WorkerEnv.read(read_like_systemd(env_text.decode())) == worker_given


def _accepted(boot_changes: dict[str, Any], worker_changes: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What is left of the changes after those that are refused; each refusal must name its field and be deserved."""
    boot_refused, worker_refused = {}, {}
    for name, value in boot_changes.items():
        if value == "" or "\x00" in value:
            boot_refused[name] = _refusal(lambda: user_data.boot_env_file(boot_env(**{name: value})))  # noqa: B023
            assert boot_refused[name].startswith(f"{name}: ")
    for name, value in worker_changes.items():
        if value == "" or env.why_undeliverable(value):
            worker_refused[name] = _refusal(lambda: worker_env(**{name: value}).to_env_file())  # noqa: B023
            assert worker_refused[name].startswith((f"{name}: ", f"{WorkerEnv.model_fields[name].alias}: "))
    return (
        {name: value for name, value in boot_changes.items() if name not in boot_refused},
        {name: value for name, value in worker_changes.items() if name not in worker_refused},
    )


def _refusal(call: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as refused:
        call()
    return str(refused.value)


@pytest.mark.parametrize("name", [name for name in BOOT if name.endswith("_id")])
@given(HOSTILE)
def test_an_id_cannot_break_out_of_fstab(name: str, value: str) -> None:
    """File system and access points become words of /etc/fstab: anything but letters, digits, - and _ is refused."""
    if value and all(char.isascii() and (char.isalnum() or char in "-_") for char in value):
        assert getattr(boot_env(**{name: value}), name) == value
    else:
        with pytest.raises(ValueError, match=f"^{name}: "):
            boot_env(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": "tpu"}, "^pool: input should be 'gpu' or 'cpu'"),
        ({"colour": "red"}, "^colour: extra inputs are not permitted"),
        ({"mount_deadline_s": -1}, "^mount_deadline_s: input should be greater than or equal to 0"),
        ({"boot_log_group": ""}, "^boot_log_group: "),
    ],
)
def test_a_wrong_value_is_named(changes: dict[str, Any], message: str) -> None:
    """Unknown fields and values out of range are refused in one line that begins with the field."""
    with pytest.raises(ValueError, match=message):
        boot_env(**changes)


def test_too_much_text_is_refused() -> None:
    """EC2 takes 16,384 bytes: one more is an error before anything is created."""
    slack = user_data.MAX_USER_DATA_BYTES - len(user_data.render_user_data(boot_env(), worker_env()).encode())
    longest = WORKER["jobs_table"] + "x" * slack  # type: ignore[operator]
    assert len(user_data.render_user_data(boot_env(), worker_env(jobs_table=longest)).encode()) == 16_384
    with pytest.raises(ValueError, match=r"^user data: 16,385 bytes, EC2 allows 16,384"):
        user_data.render_user_data(boot_env(), worker_env(jobs_table=longest + "x"))


def test_static_scripts_arrive_byte_for_byte(root: Path) -> None:
    """Nothing rewrites the scripts on their way: `${LD_LIBRARY_PATH:-}` and the like stay as they are."""
    odd = 'echo "${LD_LIBRARY_PATH:-}" $(true) `true` #{x} {{y}} %n \\ é\n'
    scripts = {path.name: path.read_text() for path in SCRIPTS if path.name != "worker_boot.sh"} | {"odd.sh": odd}
    _run(
        user_data.unpacking({"worker_boot.sh": "", **scripts}, {"boot.env": user_data.boot_env_file(boot_env())}), root
    )
    written = root / "run" / "receipt-trainer"
    assert {name: (written / name).read_text() for name in scripts} == scripts


def test_the_user_data_is_what_was_reviewed() -> None:
    """A pure function: the same values make the text beside this test; UPDATE_SNAPSHOTS=1 renews it."""
    text = user_data.render_user_data(boot_env(), worker_env())
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text(), "changed; if it should: UPDATE_SNAPSHOTS=1 pytest tests/infra/test_boot.py"


def test_hyperparameters_are_only_named() -> None:
    """User data has the name of the SSM parameter, so that an edit of hyperparameters makes no new launch template."""
    text = user_data.render_user_data(boot_env(), worker_env())
    assert 'TRAINING_DEFAULTS_PARAMETER="/receipt-trainer/dev/training"\n' in text
    assert "learning_rate" not in text


def test_scripts_are_clean() -> None:
    """shellcheck finds nothing in any script of userdata/, and each is strict from its first line on."""
    assert SCRIPTS
    done = subprocess.run(
        [SHELLCHECK, "-x", "--source-path", USERDATA.parent, *SCRIPTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    for script in SCRIPTS:
        text = script.read_text()
        assert "|| true" not in text
        if text.startswith("#!"):
            assert "\nset -" in text, script.name
