"""The one place that makes AWS clients, and that says in one line why AWS could not be used."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore import exceptions as boto
from botocore.config import Config
from botocore.hooks import HierarchicalEmitter
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError

from receipt_trainer.aws.server_time import SERVER_TIME
from receipt_trainer.contract.names import ENV_DEFAULT_REGION, ENV_REGION
from receipt_trainer.errors import UserError, WorldError

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.client import AutoScalingClient
    from mypy_boto3_cloudwatch.client import CloudWatchClient
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_logs.client import CloudWatchLogsClient
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_sqs.client import SQSClient
    from mypy_boto3_ssm.client import SSMClient

MAX_ATTEMPTS: Final = 6
"""Attempts of one request in all; botocore's standard mode waits up to 2**n seconds after each, 31 s at worst."""
CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 30
POOL_SIZE: Final = 32

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_REFUSED: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class NoIndexError(UserError):
    """A table lacks an index, or DynamoDB is still filling it."""


_TOO_SKEWED: Final = frozenset({"RequestExpired", "RequestTimeTooSkewed"})
_SIGNED_WRONG: Final = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
_OF_TIME: Final = re.compile(r"Signature (expired|not yet current)")
"""How services refuse a request whose signature is older or newer than five minutes."""


def brief(service: str, *, region: str | None = None) -> Any:
    """A client for looks that are worth no long wait: it gives up within half a minute.

    The error of a request that was refused names what was asked for, in IAM's words, as `Action` of its
    ResponseMetadata.
    """
    client = _client(service, region=region, max_attempts=2, connect_timeout_s=3, read_timeout_s=10)
    client.meta.events.register("after-call", _name_action)
    return client


_IAM_PREFIXES: Final = {"monitoring": "cloudwatch", "tagging": "tag"}
_IAM_ACTIONS: Final = {"s3:HeadBucket": "s3:ListBucket", "s3:ListObjectsV2": "s3:ListBucket"}
"""Where signing names and operations differ from IAM's words (Service Authorization Reference)."""


def _name_action(parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """A handler of botocore's `after-call`."""
    signed = model.service_model.signing_name
    action = f"{_IAM_PREFIXES.get(signed, signed)}:{model.name}"
    parsed.setdefault("ResponseMetadata", {})["Action"] = _IAM_ACTIONS.get(action, action)


def _client(
    service: str,
    *,
    region: str | None = None,
    max_attempts: int | None = None,
    connect_timeout_s: int = CONNECT_TIMEOUT_S,
    read_timeout_s: int = READ_TIMEOUT_S,
) -> Any:
    """A thread-safe client from the environment alone: credentials, region, AWS_ENDPOINT_URL, AWS_MAX_ATTEMPTS.

    botocore reads AWS_DEFAULT_REGION and not AWS_REGION, which other SDKs read; here either will do, and with neither
    a profile's region applies. UserError: no region, no such profile, or an invalid setting.
    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": max_attempts or _max_attempts()},
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        max_pool_connections=POOL_SIZE,
        tcp_keepalive=True,
        user_agent_extra="receipt-trainer",
    )
    with aws_faults(f"open {service}"):
        # A session of its own: one that is shared is not safe to use from several threads.
        client: Any = new_session().create_client(service, region or _environment_region(), config=config)
    client.meta.events.register("before-parse", _hear_date)
    client.meta.events.register("before-parse", _refuse_page)
    return client


dynamodb: Callable[[], DynamoDBClient] = partial(_client, "dynamodb")
s3: Callable[[], S3Client] = partial(_client, "s3")
sqs: Callable[[], SQSClient] = partial(_client, "sqs")
ssm: Callable[[], SSMClient] = partial(_client, "ssm")
cloudwatch: Callable[[], CloudWatchClient] = partial(_client, "cloudwatch")
logs: Callable[[], CloudWatchLogsClient] = partial(_client, "logs")
autoscaling: Callable[..., AutoScalingClient] = partial(_client, "autoscaling")
ec2: Callable[..., EC2Client] = partial(_client, "ec2")
imagebuilder: Callable[[], Any] = partial(_client, "imagebuilder")
pricing: Callable[[], Any] = partial(_client, "pricing", region="us-east-1", max_attempts=2)
"""Thread-safe clients; see `_client`. What a thing costs is worth no long wait: the Price List Query API, which has
endpoints in us-east-1, eu-central-1 and ap-south-1 and knows the prices of all regions, is tried twice at most.
"""


def new_session(variables: dict[str, Any] | None = None) -> botocore.session.Session:
    """A session that shares botocore's descriptions of the services, and its own handlers of events: to read and to
    register them is most of what a client costs."""
    session = botocore.session.Session(variables, copy.copy(_handlers()), include_builtin_handlers=False)
    session.register_component("data_loader", _service_models(os.environ.get("AWS_DATA_PATH")))
    return session


@cache
def _handlers() -> HierarchicalEmitter:
    handlers = HierarchicalEmitter()
    botocore.session.Session(event_hooks=handlers)  # registers them
    return handlers


@cache
def _service_models(data_path: str | None) -> Loader:
    loader: Loader = create_loader(data_path)
    return loader


def _hear_date(response_dict: dict[str, Any], **_: Any) -> None:
    """A handler of botocore's `before-parse`."""
    SERVER_TIME.hear(response_dict["headers"].get("date"))


def _refuse_page(response_dict: dict[str, Any], operation_model: Any = None, **_: Any) -> None:
    """A handler of botocore's `before-parse`: a proxy's page with status 200 is no answer. botocore takes it for an
    empty one, or fails over it with a KeyError."""
    status, body = response_dict["status_code"], response_dict["body"]
    is_read = status == 200 and isinstance(body, bytes)  # else a stream: an object of S3
    head = body.lstrip()[:1000].lower() if is_read else b""
    if head[:1] != b"<":
        return
    if b"<!doctype html" in head or b"<html" in head:
        raise ResponseParserError("an HTML page, no answer of AWS")
    protocol = "" if operation_model is None else operation_model.service_model.resolved_protocol
    # The answers of query and ec2 are called so: DescribeAutoScalingGroupsResponse.
    if protocol == "json" or (protocol in ("query", "ec2") and b"response" not in head):
        raise ResponseParserError("XML that is no answer of AWS")


def _max_attempts() -> int:
    text = os.environ.get("AWS_MAX_ATTEMPTS") or str(MAX_ATTEMPTS)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100:
        raise UserError(f"AWS_MAX_ATTEMPTS must be 1 to 100, not '{text}'")
    return int(text)


@contextmanager
def aws_faults(doing: str, *, table: str | None = None) -> Iterator[None]:
    """Turn what AWS answers, or why it does not, into one clear line.

    Args:
        doing: what was tried, as in "read receipts"; stands at the front of a message.

    Raises:
        UserError: no credentials, no region, no such table or bucket, access refused.
        WorldError: not reachable, throttled beyond the retries, a fault of the service.
    """
    try:
        yield
    except boto.ClientError as error:
        raise _explain(error, doing, table) from error
    except _NO_CREDENTIALS as error:
        raise UserError(
            f"{doing}: no usable AWS credentials ({error}); "
            "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except boto.NoRegionError as error:
        raise UserError(
            f"{doing}: no AWS region; set AWS_REGION or AWS_DEFAULT_REGION, or a region in the profile"
        ) from error
    except boto.ParamValidationError as error:
        if table is None or "TableName" not in str(error):
            raise
        raise UserError(f"{doing}: '{table}' cannot be the name of a table") from error
    except (boto.ProfileNotFound, boto.ConfigParseError, boto.InvalidRegionError) as error:
        raise UserError(f"{doing}: {error}") from error
    except ValueError as error:
        if "Invalid endpoint" not in str(error):
            raise
        raise UserError(f"{doing}: {error}; AWS_ENDPOINT_URL must be a URL such as http://127.0.0.1:5000") from error
    except (boto.HTTPClientError, boto.ConnectionError) as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL")
        hint = f"; AWS_ENDPOINT_URL is {endpoint}: is anything running there?" if endpoint else ""
        raise WorldError(f"{doing}: AWS cannot be reached: {error}{hint}") from error
    except ResponseParserError as error:  # no BotoCoreError: what answers is not AWS, such as a proxy with its page
        raise WorldError(f"{doing}: AWS's answer cannot be read: {str(error).splitlines()[0]}") from error
    except boto.BotoCoreError as error:
        raise WorldError(f"{doing}: {error}") from error


def _explain(error: boto.ClientError, doing: str, table: str | None) -> UserError | WorldError:
    details = error.response.get("Error", {})
    code, message = details.get("Code", "unknown"), _first_line(str(details.get("Message", "")))
    without_table = re.sub(rf"(?<![\w.-]){re.escape(table or '')}(?![\w-])", "", message)
    about_index = "index" in without_table.lower()  # a table's name may contain the word
    if code == "ResourceNotFoundException" and table is not None:
        if about_index:
            return NoIndexError(f"{doing}: table '{table}' has no such index ({message}); it must have GSI1 to GSI4")
        where = os.environ.get("AWS_ENDPOINT_URL") or f"this account in {_region()}"
        return UserError(f"{doing}: there is no table '{table}' at {where}; check the table's name and the region")
    if code == "ValidationException" and table is not None and about_index:
        return NoIndexError(f"{doing}: table '{table}' is not of the expected shape: {message}")
    if code == "ValidationException" and table is not None and "tableName" in message:
        return UserError(f"{doing}: '{table}' cannot be the name of a table")
    if code == "NoSuchBucket":
        return UserError(f"{doing}: there is no bucket '{details.get('BucketName', '')}'")
    if code in _TOO_SKEWED or (code in _SIGNED_WRONG and _OF_TIME.search(message)):
        return UserError(f"{doing}: AWS refuses this machine's clock, which is wrong by more than 5 minutes: {message}")
    if code in _REFUSED:
        return UserError(f"{doing}: AWS refuses these credentials: {code}: {message}")
    return WorldError(f"{doing}: {code}: {message}")


def _first_line(text: str) -> str:
    """The service's message, cut to a line; empty for a page of HTML, which does not come from AWS."""
    line = text.strip().partition("\n")[0].strip()
    return "an HTML page, no answer of AWS" if line[:1] == "<" else line


def read_parameter(client: SSMClient, name: str) -> str | None:
    """The value of a parameter of Systems Manager, decrypted; None if there is no such parameter."""
    try:
        return client.get_parameter(Name=name, WithDecryption=True)["Parameter"].get("Value")
    except boto.ClientError as error:
        if error_code(error) == "ParameterNotFound":
            return None
        raise


def error_code(error: BaseException | None) -> str:
    """The code of what AWS answered; "" for a fault of another kind."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _environment_region() -> str | None:
    return os.environ.get(ENV_DEFAULT_REGION) or os.environ.get(ENV_REGION) or None


def _region() -> str:
    return _environment_region() or botocore.session.Session().get_config_variable("region") or "no region"
