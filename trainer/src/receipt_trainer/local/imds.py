"""A stand-in of the instance metadata service, version 2, to which notices can be delivered."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

NOTICES: Final = {
    "spot": "spot/instance-action",
    "rebalance": "events/recommendations/rebalance",
    "lifecycle": "autoscaling/target-lifecycle-state",
}
SPOT_WARNING_S: Final = 120.0
_MAX_BODY: Final = 65_536
_METADATA: Final = "/latest/meta-data/"
_CREDENTIALS: Final = "iam/security-credentials/"
_CREDENTIALS_LIFE: Final = timedelta(hours=6)


class LoopbackServer:
    """A context manager with a `url`: a small HTTP server whose subclass says what it answers."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
                body = self.rfile.read(length).decode("utf-8", "replace")
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, text = server.answer(self.command, self.path, headers, body)
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = _handle

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_port}"

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: str) -> tuple[int, str]:
        """Status and text of one request; names of headers are in lower case."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="loopback", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class ImdsStandIn(LoopbackServer):
    """Answers as a spot instance's service does, and counts the tokens it gives."""

    def __init__(
        self,
        instance_id: str = "i-00000000000000001",
        *,
        instance_type: str = "g5.xlarge",
        zone: str = "us-east-1a",
        life_cycle: str | None = "spot",
        role: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Say what the instance is.

        Args:
            life_cycle: how it was bought; None: it was not bought, and has no price.
            role: of its instance profile, whose credentials it then gives; None: it has none.
            host: the address to serve at.
            port: 0 takes a free one.
        """
        self.paths = {
            "instance-id": instance_id,
            "instance-type": instance_type,
            "placement/availability-zone": zone,
            "autoscaling/target-lifecycle-state": "InService",
            **({"instance-life-cycle": life_cycle} if life_cycle else {}),
            **({_CREDENTIALS: role, f"{_CREDENTIALS}{role}": _credentials(clock())} if role else {}),
        }
        self.num_tokens = 0
        self.tokens: set[str] = set()
        self._clock = clock
        super().__init__(host, port)

    def interrupt(self, kind: str = "spot", *, warning_s: float = SPOT_WARNING_S) -> None:
        """Deliver a notice.

        Raises:
            KeyError: no such kind of notice.
        """
        path, now = NOTICES[kind], self._clock()
        stamps = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (now, now + timedelta(seconds=warning_s))]
        self.paths[path] = {
            "spot": json.dumps({"action": "terminate", "time": stamps[1]}),
            "rebalance": json.dumps({"noticeTime": stamps[0]}),
            "lifecycle": "Terminated",
        }[kind]

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: str) -> tuple[int, str]:
        """Status and text of one request."""
        if path == "/latest/api/token":
            return self._token(method, headers)
        if headers.get("x-aws-ec2-metadata-token") not in self.tokens:
            return 401, ""
        value = self.paths.get(path.removeprefix(_METADATA)) if path.startswith(_METADATA) else None
        return (404, "") if value is None or method != "GET" else (200, value)

    def _token(self, method: str, headers: Mapping[str, str]) -> tuple[int, str]:
        ttl = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if method != "PUT" or not ttl.isdecimal() or not 1 <= int(ttl) <= 21_600:
            return 400, ""
        token = secrets.token_urlsafe(32)
        self.tokens.add(token)
        self.num_tokens += 1
        return 200, token


def _credentials(now: datetime) -> str:
    """Those of an instance profile (Amazon EC2 user guide, "Retrieve security credentials from instance metadata")."""
    stamps = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (now, now + _CREDENTIALS_LIFE)]
    return json.dumps(
        {
            "Code": "Success",
            "LastUpdated": stamps[0],
            "Type": "AWS-HMAC",
            "AccessKeyId": "ASIALOCALSTANDIN",
            "SecretAccessKey": "local",
            "Token": "local",
            "Expiration": stamps[1],
        }
    )
