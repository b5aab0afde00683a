"""What moto lacks, answered over HTTP in the services' own wire formats; all else goes on to the embedded AWS."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.fault_proxy import Proxy, Reply, Request


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


class Wire(Proxy):
    """`answers` by operation or path, `calls` counts all."""

    def __init__(self, target: str) -> None:
        self.answers, self.calls = well(), Counter[str]()
        super().__init__(target)

    def before(self, request: Request) -> Reply | None:
        name = request.operation
        if name == request.method:  # of a service that speaks REST
            path = urlsplit(request.path).path
            name = path[1:] if path.count("/") == 1 and path[1:] in self.answers else path
        self.calls[name] += 1
        found = self.answers.get(name)
        return found and Reply(found.status, [("Content-Type", found.kind)], found.body.encode())
