"""One instance: layers of a root file system under an overlay of its own, booted by systemd-nspawn."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.boot.rootfs import write

TIMEOUT_S = 600.0
"""For whatever is waited for: a machine may be many times slower than one that has nothing else to do."""


def wait_for(what: str, condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> float:
    """Seconds until `condition` holds.

    Raises:
        TimeoutError: it does not, in that time.
    """
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"{what}: not after {timeout_s:g} s")
        time.sleep(0.05)
    return time.monotonic() - started


class Instance:
    """A machine that is off; `boot` switches it on. Its disk stays when it is off again."""

    def __init__(
        self,
        folder: Path,
        layers: Sequence[Path],
        binds: Mapping[str, Path],
        *,
        environment: Mapping[str, str],
        disk: str | None = None,
    ) -> None:
        """Lay an empty disk over the layers, the first one uppermost.

        Args:
            folder: where its disk and its console's log are; empty.
            layers: folders that nobody changes.
            binds: folders of the test's machine by their place; those outside /srv are read-only.
            environment: of all that its systemd starts.
            disk: size of its disk, such as 64m, if it is to be a small one.
        """
        self.root, self.console, self.folder = folder / "root", folder / "console", folder
        self._binds, self._environment = dict(binds), dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        own = folder / "disk"
        for each in (self.root, own):
            each.mkdir(parents=True)
        if disk is not None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={disk}", "disk", own], check=True)
        self.layer, work = own / "upper", own / "work"
        for each in (self.layer, work):
            each.mkdir()
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.layer},workdir={work},volatile"  # nothing here outlives the test
        subprocess.run(["mount", "-t", "overlay", "-o", options, "instance", self.root], check=True)
        lines = "".join(f'"{name}={value}" ' for name, value in environment.items())
        self.write("etc/systemd/system.conf.d/aws.conf", f"[Manager]\nDefaultEnvironment={lines}\n")

    def write(self, path: str, text: str) -> None:
        """A file of its disk."""
        write(self.root, path, text)

    def read(self, path: str) -> str:
        """A file of its disk, "" if it is not there."""
        found = self.root / path
        return found.read_text(encoding="utf-8", errors="replace") if found.is_file() else ""

    def boot_log(self) -> str:
        """What the boot scripts said."""
        return self.read("var/log/receipt-trainer/boot.log")

    def worker_log(self) -> str:
        """What the worker said."""
        return self.read("var/log/receipt-trainer/worker.log")

    def command(self, *more: str) -> list[str]:
        """systemd-nspawn with this disk, in this network: it is the one that the test itself is in."""
        flags = ["--quiet", "--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off"]
        for place, source in self._binds.items():
            flags.append(f"--bind{'' if place.startswith('/srv') else '-ro'}={source}:{place}")
        flags += [f"--directory={self.root}", f"--machine={self.folder.name}"]
        return ["systemd-nspawn", *flags, *more]

    def run_alone(self, script: str, *, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run a bash script on the machine without booting it."""
        self.write("root/script.sh", script)
        variables = [f"--setenv={name}={value}" for name, value in self._environment.items()]
        command = self.command("--as-pid2", "--pipe", *variables, "/bin/bash", "/root/script.sh")
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def boot(self) -> None:
        """Switch it on."""
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                self.command("--boot", "--kill-signal=SIGRTMIN+3", "--console=read-only"),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )

    @property
    def is_on(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def init_pid(self) -> int | None:
        """Its process 1, as this machine numbers it; None while it has none."""
        if self._process is None:
            return None
        todo = [self._process.pid]
        while todo:
            pid = todo.pop()
            try:
                status = Path(f"/proc/{pid}/status").read_text()
                todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                continue
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == "1":
                return pid
        return None

    def run(self, command: str, *, check: bool = True) -> str:
        """What a bash command prints on the running machine.

        Raises:
            AssertionError: it fails.
        """
        enter = ["nsenter", f"--target={self.init_pid()}", "--mount", "--uts", "--ipc", "--pid"]
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self._environment}
        done = subprocess.run(
            [*enter, "/bin/bash", "-c", f"cd /; {command}"],
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}"
        return done.stdout

    def signal(self, name: str, pattern: str) -> None:
        """Send a signal to the processes whose command line has the pattern."""
        self.run(f"pkill --signal {name} --full -- {shlex.quote(pattern)}")

    def wait_for(self, what: str, condition: Callable[[], object]) -> float:
        """Like `wait_for`, and at once an error when the machine is off.

        Raises:
            AssertionError: it went off before.
        """

        def holds() -> object:
            found = condition()
            assert found or self.is_on, f"{what}: the instance is off\n{self.words()}"
            return found

        try:
            return wait_for(what, holds)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.words()}") from None

    def wait_off(self) -> float:
        """Seconds until it is off."""
        try:
            return wait_for("power off", lambda: not self.is_on)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.words()}") from None

    def reboot(self) -> None:
        """Have its systemd reboot it: systemd-nspawn then ends with 133, for its caller to start it again.

        Raises:
            AssertionError: it went off instead.
        """
        self.run("systemctl reboot", check=False)
        self.wait_off()
        code = self._process.returncode if self._process else None
        assert code == 133, self.words()
        self.boot()

    def stop(self) -> None:
        """Switch it off as EC2 does it: its systemd is asked to."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self.wait_off()

    def remove(self) -> None:
        """Take it away, on or off, its mounts and its disk."""
        if self.is_on and self._process is not None:
            if (pid := self.init_pid()) is not None:
                os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait(60)
        for mount in (self.root, self.folder / "disk"):
            subprocess.run(["umount", mount], check=False, capture_output=True)
        shutil.rmtree(self.folder / "disk", ignore_errors=True)

    def words(self) -> str:
        """The ends of its logs, for whoever looks why a test failed."""
        logs = {"boot.log": self.boot_log(), "worker.log": self.worker_log(), "console": ""}
        if self.console.is_file():
            logs["console"] = self.console.read_text(errors="replace")
        return "\n".join(f"--- {name}\n{text[-3000:]}" for name, text in logs.items())
