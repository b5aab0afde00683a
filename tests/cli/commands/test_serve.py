"""`receipt-trainer serve`: options that exclude each other, and which model answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from receipt_trainer.aws import clients
from receipt_trainer.cli.commands import serve
from receipt_trainer.local.emulator import LocalCloud
from receipt_trainer.serving import server
from receipt_trainer.serving.access import Access, new_token
from receipt_trainer.serving.holder import Holder
from tests.cli.jobs import Caller
from tests.cli.test_stack import exported
from tests.job_rows import put_job
from tests.packages import make_run
from tests.serving.pointed import Bucket

JOB_1 = "00000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--corrections"], "--stack NAME"),
        (["--keep-photos"], "--corrections"),
    ],
)
def test_what_is_for_a_stack_is_refused_without_one(call: Caller, flags: list[str], said: str) -> None:
    """Said in one line before any model is looked for."""
    done = call("serve", "--model", "nowhere", "--no-browser", "--port", "0", *flags)
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert said in done.err


def test_the_hash_of_the_token_comes_from_a_parameter(call: Caller, aws: LocalCloud) -> None:
    """Of the kind SecureString, decrypted; one that is missing or no hash is refused in one line that names it."""
    name, (token, hashed) = f"/serving/{uuid4()}", new_token()
    ssm = clients.ssm()
    refused = []
    for value in (None, token, hashed):
        if value is not None:
            ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
        if value != hashed:
            done = call("serve", "--model", "nowhere", "--no-browser", "--port", "0", "--token-parameter", name)
            assert (done.code, len(done.err.splitlines())) == (2, 1)
            assert token not in done.err
            refused.append(done.err)
    assert "SSM has no such parameter" in refused[0]
    assert f"--token-parameter {name}: not the SHA-256" in refused[1]
    assert serve._access("example.com", None, name) == Access(hashed)


def test_which_model_answers(call: Caller, jobs_table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is given; else what was promoted by that name; else, by the default name alone, the newest job's,
    and then a first promotion is taken by the server that runs."""
    run = make_run(tmp_path / "run")
    bucket = Bucket(run / "model" / "serve")
    saved = tmp_path / "outputs.json"
    saved.write_text(json.dumps(exported("receipts") | {"jobs_table": jobs_table, "artifacts_bucket": bucket.name}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(server, "run", lambda app, listener, open_browser: None)
    holders: list[Holder] = []
    choose = serve._holder

    def chosen(*arguments: Any, **options: Any) -> Holder:
        holders.append(choose(*arguments, **options))
        return holders[-1]

    monkeypatch.setattr(serve, "_holder", chosen)

    def answering(*flags: object) -> str:
        done = call("serve", "--no-browser", "--port", "0", *flags)
        return done.err.partition("answers with ")[2].partition("/")[0] if done.code == 0 else done.err

    stack = ("--outputs", saved)
    assert "no job of this stack has finished" in answering(*stack)
    put_job(
        jobs_table,
        JOB_1,
        name="one",
        status="SUCCEEDED",
        created_at="2026-01-01T00:00:00.000000Z",
        artifacts=f"s3://{bucket.name}/runs/one/1",
    )
    bucket.upload("one")
    assert "no model was promoted as 'fast'" in answering(*stack, "--name", "fast")
    assert answering(*stack) == "one"
    bucket.promote("two")
    holder = holders[-1]
    assert holder.look()
    assert holder.current().version.startswith("two/")
    assert answering(*stack) == "two"
    assert answering(*stack, "--model", run) == "job"
    assert not holders[-1].look()
