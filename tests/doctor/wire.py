"""What moto lacks, answered over HTTP in the services' own wire formats; all else goes on to the embedded AWS."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit


class Answer(NamedTuple):
    """A response."""

    status: int
    kind: str
    body: str


def as_json(value: Any, status: int = 200) -> Answer:
    """Of a JSON or REST-JSON service; `value` is the response as the API reference writes it."""
    return Answer(status, "application/x-amz-json-1.1", json.dumps(value))


def of_ec2(operation: str, inner: str) -> Answer:
    """Of EC2's query protocol."""
    text = f'<{operation}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{inner}</{operation}Response>'
    return Answer(200, "text/xml", text)


def no_right(action: str) -> Answer:
    """A JSON service's refusal, in AWS's words."""
    said = f"User: arn:aws:iam::123456789012:user/me is not authorized to perform: {action} because no policy allows it"
    return as_json({"__type": "AccessDeniedException", "message": said, "Message": said}, 400)


def no_right_on_ec2() -> Answer:
    """EC2's refusal, which does not name the action."""
    error = "<Code>UnauthorizedOperation</Code><Message>You are not authorized to perform this operation.</Message>"
    return Answer(
        403, "text/xml", f"<Response><Errors><Error>{error}</Error></Errors><RequestID>1</RequestID></Response>"
    )


def quota(value: float) -> Answer:
    """Service Quotas API Reference, GetServiceQuota."""
    return as_json({"Quota": {"ServiceCode": "ec2", "Value": value}})


def public_access(mode: str) -> Answer:
    """EC2 API Reference, DescribeVpcBlockPublicAccessOptions."""
    inner = f"<internetGatewayBlockMode>{mode}</internetGatewayBlockMode>"
    options = f"<vpcBlockPublicAccessOptions>{inner}</vpcBlockPublicAccessOptions>"
    return of_ec2("DescribeVpcBlockPublicAccessOptions", options)


def volume_key(key: str) -> Answer:
    """EC2 API Reference, GetEbsDefaultKmsKeyId."""
    return of_ec2("GetEbsDefaultKmsKeyId", f"<kmsKeyId>{key}</kmsKeyId>")


def cost_tag(status: str) -> Answer:
    """Billing and Cost Management API Reference, ListCostAllocationTags."""
    return as_json({"CostAllocationTags": [{"TagKey": "Project", "Type": "UserDefined", "Status": status}]})


def profile_tags(**tags: str) -> Answer:
    """IAM API Reference, ListInstanceProfileTags."""
    inner = "".join(f"<member><Key>{key}</Key><Value>{value}</Value></member>" for key, value in tags.items())
    name = "ListInstanceProfileTags"
    body = f"<{name}Response><{name}Result><Tags>{inner}</Tags></{name}Result></{name}Response>"
    return Answer(200, "text/xml", body)


def tagged(*arns: str) -> Answer:
    """Resource Groups Tagging API Reference, GetResources."""
    return as_json({"ResourceTagMappingList": [{"ResourceARN": arn} for arn in arns]})


def well() -> dict[str, Answer]:
    """Answers of an account in which all is well."""
    return {
        "GetServiceQuota": quota(64),
        "GetEbsDefaultKmsKeyId": volume_key("alias/aws/ebs"),
        "DescribeVpcBlockPublicAccessOptions": public_access("off"),
        "ListCostAllocationTags": cost_tag("Active"),
        "ListInstanceProfileTags": profile_tags(),
        "ListImagePipelines": as_json({"imagePipelineList": []}),
        "ListInfrastructureConfigurations": as_json({"infrastructureConfigurationSummaryList": []}),
        "ListDistributionConfigurations": as_json({"distributionConfigurationSummaryList": []}),
        "/microsoft/layoutlm-base-uncased/resolve/main/config.json": Answer(200, "application/json", ""),
    }


class Wire:
    """Serves on a free port while the context is open; `answers` by operation or path, `calls` counts all."""

    def __init__(self, target: str) -> None:
        self.answers, self.calls = well(), Counter[str]()
        wire, parts = self, urlsplit(target)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                name = self._operation(body)
                wire.calls[name] += 1
                answer = wire.answers.get(name)
                if answer is not None:
                    self._send(answer.status, answer.kind, answer.body.encode())
                    return
                connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
                connection.request(self.command, self.path, body, dict(self.headers))
                response = connection.getresponse()
                self._send(response.status, response.getheader("Content-Type") or "text/plain", response.read())
                connection.close()

            def _operation(self, body: bytes) -> str:
                if target := self.headers.get("X-Amz-Target", ""):
                    return target.rpartition(".")[2]
                if action := parse_qs(body.decode(errors="replace")).get("Action"):
                    return action[0]
                path = urlsplit(self.path).path
                return path[1:] if path.count("/") == 1 and path[1:] in wire.answers else path

            def _send(self, status: int, kind: str, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that has gone
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
