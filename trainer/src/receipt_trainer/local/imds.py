"""A stand-in of the instance metadata service, version 2, to which notices can be delivered."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Self

from receipt_trainer.files import write_atomically

NOTICES: Final = {
    "spot": "spot/instance-action",
    "rebalance": "events/recommendations/rebalance",
    "lifecycle": "autoscaling/target-lifecycle-state",
}
SPOT_WARNING_S: Final = 120.0
_METADATA: Final = "/latest/meta-data/"
_CREDENTIALS: Final = "iam/security-credentials/"
_CREDENTIALS_LIFE: Final = timedelta(hours=6)


class ImdsStandIn:
    """A context manager with a `url`: answers as a spot instance's service does, and counts the tokens it gives."""

    def __init__(
        self,
        instance_id: str = "i-00000000000000001",
        *,
        instance_type: str = "g5.xlarge",
        zone: str = "us-east-1a",
        life_cycle: str | None = "spot",
        role: str | None = None,
        notices: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Listen; port 0 takes a free one.

        Args:
            life_cycle: how it was bought; None: it was not bought, and has no price.
            role: of its instance profile, whose credentials it then gives; None: it has none.
            notices: a folder in which `notify`, of any process, leaves notices for it.
        """
        self.paths = {
            "instance-id": instance_id,
            "instance-type": instance_type,
            "placement/availability-zone": zone,
            NOTICES["lifecycle"]: "InService",
            **({"instance-life-cycle": life_cycle} if life_cycle else {}),
            **({_CREDENTIALS: role, f"{_CREDENTIALS}{role}": _credentials(clock())} if role else {}),
        }
        self.num_tokens = 0
        self.tokens: set[str] = set()
        self._notices, self._clock = notices, clock
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def _handle(self) -> None:
                status, text = stand_in._answer(self.command, self.path, self.headers)
                content = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = _handle

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="imds", daemon=True).start()
        return self

    def __exit__(self, *fault: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def interrupt(self, kind: str = "spot", *, warning_s: float = SPOT_WARNING_S) -> None:
        """Deliver a notice; KeyError: no such kind."""
        self.paths[NOTICES[kind]] = _notice(kind, self._clock(), warning_s)

    def _answer(self, method: str, path: str, headers: Message) -> tuple[int, str]:
        if path == "/latest/api/token":
            ttl = headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            if method != "PUT" or not ttl.isdecimal() or not 1 <= int(ttl) <= 21_600:
                return 400, ""
            self.tokens.add(token := secrets.token_urlsafe(32))
            self.num_tokens += 1
            return 200, token
        if headers.get("X-aws-ec2-metadata-token") not in self.tokens:
            return 401, ""
        asked = path.removeprefix(_METADATA) if path.startswith(_METADATA) and method == "GET" else ""
        left = [self._notices / kind for kind, at in NOTICES.items() if at == asked] if self._notices else []
        value = left[0].read_text() if left and left[0].is_file() else self.paths.get(asked)
        return (404, "") if value is None else (200, value)


def notify(folder: Path, kind: str, warning_s: float) -> None:
    """Leave a notice in the folder of a stand-in; KeyError: no such kind."""
    write_atomically(folder / kind, _notice(kind, datetime.now(UTC), warning_s).encode())


def _notice(kind: str, now: datetime, warning_s: float) -> str:
    stamps = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (now, now + timedelta(seconds=warning_s))]
    return {
        "spot": json.dumps({"action": "terminate", "time": stamps[1]}),
        "rebalance": json.dumps({"noticeTime": stamps[0]}),
        "lifecycle": "Terminated",
    }[kind]


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
