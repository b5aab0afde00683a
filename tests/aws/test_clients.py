"""Clients and the one line that says why AWS could not be used."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from botocore.parsers import ResponseParserError

from receipt_trainer.aws import clients, dynamo
from receipt_trainer.contract.tables import INSTANCES
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.local.emulator import LocalCloud
from tests.fault_proxy import FaultProxy, throttle


def test_missing_table_is_named_with_what_to_do(aws: LocalCloud) -> None:
    """A table that is not there is the user's error and is named with the endpoint."""
    with pytest.raises(UserError, match=rf"read: there is no table 'nope' at {aws.endpoint}; check"):
        list(dynamo.scan(clients.dynamodb(), "nope", "read"))


def test_impossible_table_name_and_missing_index(aws: LocalCloud) -> None:
    """A name that no table can have, and a table without the index we need, are the user's errors too."""
    with pytest.raises(UserError, match=r"cannot be the name of a table|there is no table"):
        list(dynamo.scan(clients.dynamodb(), "no table!", "read"))
    with pytest.raises(UserError, match=r"not of the expected shape|no such index"):
        list(
            dynamo.query(
                clients.dynamodb(),
                aws.table_names[INSTANCES.name],
                "read",
                IndexName="GSI3",
                KeyConditionExpression="GSI3PK = :a",
                ExpressionAttributeValues={":a": "x"},
            )
        )


@pytest.mark.parametrize("table", ["receipt-index", "Index.2"])
def test_a_missing_table_called_index_is_no_missing_index(fault_proxy: FaultProxy, table: str) -> None:
    """A missing table whose name contains the word is named as missing; a missing index of it still is one."""
    answer = {"__type": "x#ResourceNotFoundException", "message": f"Requested resource not found: Table: {table}."}
    fault_proxy.rule = lambda name, count, body: (400, answer)
    with pytest.raises(UserError, match=rf"there is no table '{table}'"):
        list(dynamo.scan(clients.dynamodb(), table, "read"))
    answer["message"] = f"no index GSI3 on {table}"
    with pytest.raises(UserError, match=rf"table '{table}' has no such index"):
        list(dynamo.scan(clients.dynamodb(), table, "read"))


def test_no_credentials(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without credentials the message says which variables to set."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"no usable AWS credentials.*AWS_PROFILE"):
        list(dynamo.scan(clients.dynamodb(), "t", "read"))


def test_no_region_and_bad_settings(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No region, no such profile, a retry bound or an endpoint that is none: each is one clear user error."""
    with monkeypatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "many")
        with pytest.raises(UserError, match=r"AWS_MAX_ATTEMPTS must be 1 to 100, not 'many'"):
            clients.dynamodb()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "localhost")
        with pytest.raises(UserError, match=r"Invalid endpoint.*AWS_ENDPOINT_URL"):
            clients.s3()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(UserError, match=r"nobody"):
            clients.s3()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"no AWS region; set AWS_REGION or AWS_DEFAULT_REGION"):
        clients.dynamodb()


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_either_variable_names_the_region(
    aws: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    """botocore reads only one of the two; a worker, or a laptop, that has the other reaches its region as well."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv(variable, "eu-west-1")
    assert clients.sqs().meta.region_name == "eu-west-1"


def test_endpoint_that_nobody_serves(aws: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint where nothing answers is a fault of the world that names the variable behind it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(WorldError, match=r"cannot be reached.*AWS_ENDPOINT_URL is http://127.0.0.1"):
            list(dynamo.scan(clients.dynamodb(), "t", "read"))


def test_retries_are_bounded(fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Throttling without end stops after AWS_MAX_ATTEMPTS requests, as a fault of the world."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    fault_proxy.rule = throttle("Scan", 100)
    with pytest.raises(WorldError, match=r"ThrottlingException"):
        list(dynamo.scan(clients.dynamodb(), "t", "read"))
    assert fault_proxy.calls["Scan"] == 2


def test_refused_credentials(fault_proxy: FaultProxy) -> None:
    """Credentials that AWS refuses are the user's error, with AWS's own reason."""
    answer = (400, {"__type": "com.amazon.coral.service#UnrecognizedClientException", "message": "bad token"})
    fault_proxy.rule = lambda name, count, body: answer
    with pytest.raises(UserError, match=r"refuses these credentials: UnrecognizedClientException: bad token"):
        list(dynamo.scan(clients.dynamodb(), "t", "read"))


def test_a_page_of_html_is_never_shown(fault_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is no AWS error is named as such; of a long one only the first line is repeated."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for text, said in (("<!doctype html>\n<html>...", "an HTML page"), ("first\nsecond", "first$")):
        fault_proxy.rule = lambda name, count, body, text=text: (404, {"__type": "NotFound", "message": text})
        with pytest.raises(WorldError, match=f"NotFound: {said}") as raised:
            list(dynamo.scan(clients.dynamodb(), "t", "read"))
        assert "\n" not in str(raised.value)


def test_what_is_no_answer_of_aws_is_a_fault_of_the_world() -> None:
    """A proxy's page where XML is expected, of which botocore makes no error of its own family, is one line."""
    words = "Unable to parse response (syntax error: line 1, column 0), invalid XML received.\nb'<html>'"
    with pytest.raises(WorldError) as caught, clients.aws_faults("end the instance"):
        raise ResponseParserError(words)
    assert str(caught.value).startswith("end the instance: AWS's answer cannot be read: Unable to parse")
    assert "<html>" not in str(caught.value)
