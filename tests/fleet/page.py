"""A server that answers whatever is asked with one page, as a proxy does that wants people to sign in."""

from __future__ import annotations

from tests.fault_proxy import Proxy, Reply, Request


class Page(Proxy):
    """Serves while the context is open."""

    def __init__(self, status: int, content: bytes) -> None:
        super().__init__("http://nowhere.invalid")
        self._page = Reply(status, [("Content-Type", "text/html")], content)

    def before(self, request: Request) -> Reply:
        """The page."""
        return self._page
