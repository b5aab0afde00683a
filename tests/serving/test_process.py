"""The process of `receipt-trainer serve`: how it starts, what it refuses to start with, how it ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser

from receipt_trainer.cli.commands.serve import group
from receipt_trainer.errors import UserError
from receipt_trainer.serving import server
from receipt_trainer.serving.access import hash_of
from receipt_trainer.serving.app import create_app
from receipt_trainer.serving.bodies import BodyLimits
from receipt_trainer.serving.holder import Holder
from tests.serving.browser import CHROMIUM, PATIENT, chromium, opened, served
from tests.serving.test_app import WORDS
from tests.waiting import TIMEOUT_S, wait_for

LINE = re.compile(r"(http://\S+/) answers with (\S+);")


class Process:
    """A server in a process of its own, which waits as long as it takes for who is connected."""

    program = (
        *(sys.executable, "-c"),
        f"from receipt_trainer.serving import server; server._LEAVE_S = {TIMEOUT_S}; "
        "import runpy; runpy.run_module('receipt_trainer', run_name='__main__', alter_sys=True)",
    )

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.log = folder / "serve.log"
        with self.log.open("wb") as log:
            command = [*self.program, "serve", "--no-browser", "--port", "0"]
            self.process = subprocess.Popen([*command, *map(str, arguments)], stdout=log, stderr=log, cwd=folder)
        self.url = self.until(lambda: LINE.search(self.log.read_text()))[1]

    def until(self, found: Callable[[], Any]) -> Any:
        """What `found` finds, waited for."""
        wait_for(lambda: self.process.poll() is not None or found())
        what = found()
        assert what, self.log.read_text()
        return what


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[Process]:
    """A server that runs meanwhile."""
    process = Process(folder, *arguments)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()


def call(*arguments: object) -> Any:
    """What the command says to a user's mistake."""
    done = CliRunner().invoke(group, [*map(str, arguments), "--no-browser"])
    return done.exception


def test_mistakes_are_said_before_it_starts(run_dir: Path, tmp_path: Path) -> None:
    """No model, a port in use, no such address, a hash that is none, and no token beyond loopback: one line each."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "no.hash").write_text("secret")
        for arguments, said in (
            ((), "--model"),
            (("--model", tmp_path), "no model package"),
            (("--model", run_dir, "--port", port), "in use"),
            (("--model", run_dir, "--host", "no.such.host.invalid"), "--host"),
            (("--model", run_dir, "--host", "192.0.2.1"), "a token is needed"),
            (("--model", run_dir, "--token-file", tmp_path / "no.hash"), "not the SHA-256"),
            (("--model", run_dir, "--token-file", tmp_path / "none"), "serve token"),
            (("--model", run_dir, "--output", tmp_path, "--port", 0), "corrections"),
            (("--model", run_dir, "--review", tmp_path / "none"), "none: no such file"),
        ):
            error = call(*arguments)
            assert isinstance(error, UserError | SystemExit), (arguments, error)
            if isinstance(error, UserError):
                assert said in str(error), arguments


def test_a_token_is_made_once(tmp_path: Path) -> None:
    """The token is printed, its hash alone is kept, and a file that is there is left alone."""
    file = tmp_path / "token.sha256"
    done = CliRunner().invoke(group, ["token", str(file)])
    assert file.read_text().strip() == hash_of(done.stdout.strip())
    assert done.stdout.strip() not in file.read_text()
    again = CliRunner().invoke(group, ["token", str(file)])
    assert isinstance(again.exception, UserError)


def test_nothing_of_training_is_loaded(run_dir: Path, tmp_path: Path) -> None:
    """A process that has read words over HTTP has neither torch nor a room that trains."""
    program = f"""
import json, sys, threading, urllib.request
from receipt_trainer.serving import server
from receipt_trainer.serving.app import create_app
from receipt_trainer.serving.holder import Holder
def ask(url):
    body, head = {json.dumps(WORDS).encode()!r}, {{"content-type": "application/json"}}
    request = urllib.request.Request(url + "v1/receipts:read", body, head)
    print(urllib.request.urlopen(request).status, *sys.modules)
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
listener = server.listen("127.0.0.1", 0)
threading.Thread(target=ask, args=(server.url_of(listener),)).start()
server.run(create_app(Holder.fixed({str(run_dir)!r})), listener, open_browser=False)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    status, *modules = done.stdout.split()
    assert status == "200"
    rooms = {name.split(".")[1] for name in modules if name.startswith("receipt_trainer.")}
    assert {"serving", "inference"} <= rooms
    assert not {"training", "models", "jobs", "reports", "cli", "worker"} & rooms
    assert not {"torch", "transformers", "cv2", "boto3"} & set(modules)


def test_a_signal_lets_accepted_requests_be_answered(run_dir: Path, tmp_path: Path) -> None:
    """SIGTERM under load: every request is answered, the last one of a connection says so; the exit code is 0."""
    faults: list[object] = []
    statuses: list[int] = []

    def ask(url: str) -> None:
        is_last = False
        with httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False) as client:
            while not is_last:
                try:
                    answer = client.post("/v1/receipts:read", json=WORDS)
                except httpx.HTTPError as error:
                    faults.append(error)
                    return
                statuses.append(answer.status_code)
                is_last = answer.headers.get("connection") == "close"

    with running(tmp_path, "--model", run_dir) as process:
        threads = [threading.Thread(target=ask, args=(process.url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        process.until(lambda: len(statuses) > 20)
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(TIMEOUT_S) == 0
        for thread in threads:
            thread.join()
        log = process.log.read_text()
    assert faults == []
    assert set(statuses) <= {200, 503}
    assert "accepted are answered first" in log
    assert "Corner" not in log
    assert "Traceback" not in log


def test_who_sends_half_holds_nobody_up(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that send nothing, half a head or half a body are ended; others are answered meanwhile."""
    halves = (
        b"",
        b"POST /v1/receipts:read HTTP/1.1\r\nHost: localhost\r\nX",
        b"POST /v1/receipts:read HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        b"Content-Length: 900\r\n\r\nx",
    )
    monkeypatch.setattr(server, "HEADERS_S", 3.0)
    app = create_app(holder, limits=replace(PATIENT, workers=1, body=BodyLimits(seconds=3.0)))
    with served(app) as url, httpx.Client(timeout=TIMEOUT_S) as other, contextlib.ExitStack() as stack:
        address = ("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")))
        slow = [stack.enter_context(socket.create_connection(address)) for _ in range(3 * len(halves))]
        for number, one in enumerate(slow):
            one.settimeout(TIMEOUT_S)
            one.sendall(halves[number % len(halves)])
        for _ in range(20):
            assert other.post(f"{url}v1/receipts:read", json=WORDS).status_code == 200
        ends = [_head(one) for one in slow]
    assert [lines[0] for lines in ends] == [b"", b"", b"HTTP/1.1 408 Request Timeout"] * 3
    assert all(b"connection: close" in lines for lines in ends[2::3])


def _head(one: socket.socket) -> list[bytes]:
    """The first lines that come; one empty one where the connection is ended."""
    try:
        return one.recv(1000).split(b"\r\n")
    except ConnectionResetError:
        return [b""]


def test_what_is_no_http_is_refused(holder: Holder, caplog: pytest.LogCaptureFixture) -> None:
    """A request that is none gets a problem too, not a silent end, and fills no log."""
    with (
        served(create_app(holder, limits=PATIENT)) as url,
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1][:-1]))) as one,
    ):
        one.sendall(b"hello\r\n\r\n")
        assert one.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert "Invalid HTTP" not in caplog.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium fonts-dejavu-core")
def test_a_page_of_another_site_cannot_write(holder: Holder, browser: Browser) -> None:
    """In Chromium a second site on another port of this machine posts, by script and by form, and fails."""
    with (
        served(create_app(holder, limits=PATIENT)) as ours,
        served(_other_site(ours)) as theirs,
        opened(browser, theirs) as page,
    ):
        assert page.evaluate("window.send()") == "refused"
        page.click("button")
        page.wait_for_url("**/v1/receipts:read")
        assert "page of another site" in page.content()
        page.goto(ours)
        status = page.evaluate(
            "async body => (await fetch('/v1/receipts:read', "
            "{method: 'POST', body, headers: {'content-type': 'application/json'}})).status",
            json.dumps(WORDS),
        )
        assert status == 200


def _other_site(ours: str) -> Any:
    page = f"""<form method=post action="{ours}v1/receipts:read" enctype="text/plain"><button>send</button></form>
    <script>window.send = () => fetch("{ours}v1/receipts:read", {{method: "POST", body: "{{}}",
    headers: {{"content-type": "application/json"}}}}).then(() => "read", () => "refused")</script>"""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
            await send({"type": "http.response.body", "body": page.encode()})

    return answer
