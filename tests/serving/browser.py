"""A served application for real, and a headless Chromium that looks at it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.types import ASGIApp

from receipt_trainer.serving.app import App, ServerLimits
from receipt_trainer.serving.bodies import BodyLimits
from receipt_trainer.serving.server import configured, listen, url_of
from tests.waiting import TIMEOUT_S

CHROMIUM = shutil.which("chromium")
PATIENCE_MS = 1000 * TIMEOUT_S
PATIENT = ServerLimits(
    body=BodyLimits(seconds=TIMEOUT_S),
    words_wait_s=10 * TIMEOUT_S,
    photo_wait_s=10 * TIMEOUT_S,
    words_deadline_s=TIMEOUT_S,
    photo_deadline_s=TIMEOUT_S,
    workers=2,
)
"""A server that refuses nothing because this machine is slow."""
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """The URL under which an application answers meanwhile."""
    listener = listen("127.0.0.1", 0)
    config = configured(app) if isinstance(app, App) else uvicorn.Config(app, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """A page in a profile of its own; an exception in its scripts, or what its CSP had to stop, is a failure."""
    told: list[str] = []
    profile = browser.new_context(**context)
    profile.set_default_timeout(PATIENCE_MS)
    try:
        page = profile.new_page()
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("console", lambda said: told.append(said.text) if "Content Security" in said.text else None)
        page.goto(url)
        yield page
        assert told == []
    finally:
        profile.close()
