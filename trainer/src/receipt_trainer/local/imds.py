"""A stand-in of the instance metadata service, version 2, with a control that delivers notices.

`PUT /control/notices/<kind>` with kind spot, rebalance or lifecycle delivers one, `DELETE` takes it back; the body of a
spot notice may name the seconds until its time (120 if it is empty). What EC2 has not, EC2's clients do not ask.
"""

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
_CONTROL: Final = "/control/notices/"
_METADATA: Final = "/latest/meta-data/"
_CREDENTIALS: Final = "iam/security-credentials/"
_CREDENTIALS_LIFE: Final = timedelta(hours=6)


class ImdsStandIn:
    """A context manager with a `url`; answers as a spot instance's service does, and counts what is asked."""

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
            life_cycle: how it was bought; None: nobody did, and it has no price.
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
        self._tokens: set[str] = set()
        self._clock = clock
        self._server = ThreadingHTTPServer((host, port), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_port}"

    def interrupt(self, kind: str = "spot", *, warning_s: float = SPOT_WARNING_S) -> None:
        """Deliver a notice: the same as a PUT to the control.

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

    def calm(self, kind: str) -> None:
        """Take a notice back."""
        if kind == "lifecycle":
            self.paths[NOTICES[kind]] = "InService"
        else:
            self.paths.pop(NOTICES[kind], None)

    def forget_tokens(self) -> None:
        """No token is known any more, as after a long time."""
        self._tokens.clear()

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: str) -> tuple[int, str]:
        """Status and text of one request."""
        if path.startswith(_CONTROL):
            return self._control(method, path.removeprefix(_CONTROL), body)
        if path == "/latest/api/token":
            return self._token(method, headers)
        if headers.get("x-aws-ec2-metadata-token") not in self._tokens:
            return 401, ""
        value = self.paths.get(path.removeprefix(_METADATA)) if path.startswith(_METADATA) else None
        return (404, "") if value is None or method != "GET" else (200, value)

    def _token(self, method: str, headers: Mapping[str, str]) -> tuple[int, str]:
        ttl = headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if method != "PUT" or not ttl.isdecimal() or not 1 <= int(ttl) <= 21_600:
            return 400, ""
        token = secrets.token_urlsafe(32)
        self._tokens.add(token)
        self.num_tokens += 1
        return 200, token

    def _control(self, method: str, kind: str, body: str) -> tuple[int, str]:
        if kind not in NOTICES or method not in ("PUT", "DELETE"):
            return 404, f"kinds: {', '.join(NOTICES)}\n"
        try:
            warning_s = float(body) if body.strip() else SPOT_WARNING_S
        except ValueError:
            return 400, "the body is a number of seconds\n"
        if method == "PUT":
            self.interrupt(kind, warning_s=warning_s)
        else:
            self.calm(kind)
        return 200, ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, text = stand_in.answer(self.command, self.path, headers, body)
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_DELETE = _handle

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="imds-stand-in", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


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
