"""The runner: a Pulumi program in this process, seen through a recording monitor."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest

from receipt_trainer.local.pulumi_program import Registration, load_config, run

SAMPLE = Path(__file__).parent / "sample_program"
CALLER = "aws:index/getCallerIdentity:getCallerIdentity"


class Shelf(pulumi.ComponentResource):
    """A component with one child."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:tests:Shelf", name, {}, opts)
        self.bucket = aws.s3.Bucket(f"{name}-bucket", opts=pulumi.ResourceOptions(parent=self))
        self.register_outputs({"bucket": self.bucket.id})


def test_a_resource_is_recorded_with_all_that_was_said_about_it() -> None:
    """Inputs under their wire names with ints as ints, parent, dependencies and options are what the program said."""

    def program() -> None:
        shelf = Shelf("shelf")
        options = pulumi.ResourceOptions(
            parent=shelf,
            depends_on=[shelf.bucket],
            protect=True,
            retain_on_delete=True,
            ignore_changes=["tags"],
            replace_on_changes=["name"],
            delete_before_replace=True,
        )
        tags = {"k": "v", "store": shelf.bucket.id}
        aws.sqs.Queue("jobs", visibility_timeout_seconds=30, fifo_queue=True, tags=tags, opts=options)

    recording = run(program)
    shelf, bucket, jobs = recording.one("shelf"), recording.one("shelf-bucket"), recording.one("jobs")
    assert (shelf.custom, bucket.parent, jobs.parent) == (False, shelf.urn, shelf.urn)
    assert jobs.urn == "urn:pulumi:dev::receipt-trainer::receipts:tests:Shelf$aws:sqs/queue:Queue::jobs"
    assert jobs.inputs == {
        "visibilityTimeoutSeconds": 30,
        "fifoQueue": True,
        "tags": {"k": "v", "store": bucket.name + "-id"},
    }
    assert type(jobs.inputs["visibilityTimeoutSeconds"]) is int
    assert jobs.dependencies == (bucket.urn,)
    assert {key: urns for key, urns in jobs.references.items() if urns} == {"tags": (bucket.urn,)}
    assert (jobs.protect, jobs.retain_on_delete, jobs.delete_before_replace, jobs.custom) == (True,) * 4
    assert (jobs.ignore_changes, jobs.replace_on_changes) == (("tags",), ("name",))
    assert recording.of_type("aws:s3/bucket:Bucket") == [bucket]


def test_what_the_program_leaves_open_is_recorded_as_open() -> None:
    """Whether a replaced resource is deleted first is yes, no, or left to the provider: three different things."""

    def program() -> None:
        for name, said in {"first": True, "last": False, "open": None}.items():
            aws.s3.Bucket(name, opts=pulumi.ResourceOptions(delete_before_replace=said))

    recording = run(program)
    found = {name: recording.one(name).delete_before_replace for name in ("first", "last", "open")}
    assert found == {"first": True, "last": False, "open": None}


def test_aliases_are_recorded_as_urns() -> None:
    """An earlier name, parent or whole URN is the URN that the engine would look for in the stack's state."""

    def program() -> None:
        shelf = Shelf("shelf")
        aliases = [
            pulumi.Alias(name="books"),
            pulumi.Alias(parent=pulumi.ROOT_STACK_RESOURCE),
            "urn:pulumi:dev::receipt-trainer::aws:dynamodb/table:Table::old",
        ]
        aws.dynamodb.Table("novels", opts=pulumi.ResourceOptions(parent=shelf, aliases=aliases))

    start = "urn:pulumi:dev::receipt-trainer::"
    assert run(program).one("novels").aliases == (
        f"{start}receipts:tests:Shelf$aws:dynamodb/table:Table::books",
        f"{start}aws:dynamodb/table:Table::novels",
        f"{start}aws:dynamodb/table:Table::old",
    )


def test_a_secret_stays_one() -> None:
    """Secrets are unwrapped and named, and one that passes through a resource is a secret output."""

    def program() -> None:
        parameter = aws.ssm.Parameter("key", type="SecureString", value=pulumi.Output.secret("open sesame"))
        pulumi.export("value", parameter.value)
        pulumi.export("name", parameter.name)

    recording = run(program)
    key = recording.one("key")
    assert (key.inputs["value"], key.secret_inputs) == ("open sesame", ("value",))
    assert recording.outputs["value"] == "open sesame"
    assert recording.secret_outputs == ("value",)


def test_default_outputs_feed_a_whole_program() -> None:
    """Ids, ARNs, URLs and names that nobody gave are made up, the same each time, as AWS would accept them."""

    def program() -> None:
        queue = aws.sqs.Queue("jobs", fifo_queue=True)
        named = aws.dynamodb.Table("table", name="mine", attributes=[], hash_key="PK")
        template = aws.ec2.LaunchTemplate("template")
        pulumi.export("id", queue.id)
        pulumi.export("url", queue.url)
        pulumi.export("arn", named.arn)
        pulumi.export("version", template.latest_version)

    first, second = run(program).outputs, run(program).outputs
    assert first == second
    assert first["id"] == "jobs-id"
    assert first["url"].rpartition("/")[2].startswith("jobs-")
    assert first["url"].endswith(".fifo")
    assert first["arn"] == "arn:aws:dynamodb:us-east-1:123456789012:table/mine"
    assert first["version"] == 1


def test_become_decides_what_a_resource_is() -> None:
    """Its id and outputs reach the program, over the inputs."""

    def become(resource: Registration) -> tuple[str, dict[str, Any]]:
        return f"{resource.name}!", {"bucket": resource.inputs["bucket"].upper()}

    def program() -> None:
        bucket = aws.s3.Bucket("b", bucket="low")
        pulumi.export("all", [bucket.id, bucket.bucket])

    assert run(program, become=become).outputs == {"all": ["b!", "LOW"]}


def test_provider_functions_are_answered() -> None:
    """Account, region, partition, zones, SSM parameters and images have answers; `answers` come before them."""

    def program() -> None:
        pulumi.export("account", aws.get_caller_identity().account_id)
        pulumi.export("region", aws.get_region().region)
        pulumi.export("partition", aws.get_partition().partition)
        pulumi.export("zones", aws.get_availability_zones(state="available").names[:2])
        pulumi.export("parameter", aws.ssm.get_parameter_output(name="/x").arn)
        pulumi.export("image", aws.ec2.get_ami(owners=["amazon"]).id)

    outputs = run(program, config={"aws:region": "eu-west-1"}, answers={CALLER: {"accountId": "42"}}).outputs
    assert outputs.pop("image").startswith("ami-")
    assert outputs == {
        "account": "42",
        "region": "eu-west-1",
        "partition": "aws",
        "zones": ["eu-west-1a", "eu-west-1b"],
        "parameter": "arn:aws:ssm:eu-west-1:123456789012:parameter/x",
    }


def test_an_answer_may_depend_on_the_arguments() -> None:
    """A function among `answers` gets the arguments by their wire names."""
    token = "aws:ec2/getVpc:getVpc"
    recording = run(
        lambda: pulumi.export("cidr", aws.ec2.get_vpc(id="vpc-1").cidr_block),
        answers={token: lambda arguments: {"cidrBlock": arguments["id"]}},
    )
    assert recording.outputs == {"cidr": "vpc-1"}


def _two_of_one_name() -> None:
    aws.s3.Bucket("b")
    aws.s3.Bucket("b")


def _refuse() -> None:
    aws.s3.Bucket("b")
    raise pulumi.RunError("receipt-trainer:pools: no")


@pytest.mark.parametrize(
    ("program", "kind", "words"),
    [
        (_refuse, pulumi.RunError, "^receipt-trainer:pools: no$"),
        (lambda: aws.ec2.get_instance(), LookupError, "aws:ec2/getInstance:getInstance"),
        (lambda: aws.s3.Bucket("b").arn.apply(lambda arn: {}[arn]), KeyError, "arn:aws:s3"),
        (_two_of_one_name, ValueError, "two resources are called .*::b"),
        (lambda: sys.exit(3), SystemExit, "3"),
    ],
)
def test_what_the_program_raises_comes_out(
    program: Callable[[], Any], kind: type[BaseException], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in the program, in an apply or in a provider function ends the run as itself, and nothing is logged."""
    with pytest.raises(kind, match=words):
        run(program)
    assert not caplog.records


def test_an_error_of_become_comes_out() -> None:
    """What creating a resource raises, on whatever thread, ends the run as itself."""

    def become(resource: Registration) -> tuple[str, dict[str, Any]]:
        raise ConnectionError(resource.name)

    with pytest.raises(ConnectionError, match=r"^b$"):
        run(lambda: aws.s3.Bucket("b"), become=become)


def test_messages_and_resources_that_are_read() -> None:
    """`pulumi.log` is kept; a `.get()` is recorded as read, with its id."""

    def program() -> None:
        pulumi.log.warn("mind the gap")
        aws.ec2.Vpc.get("theirs", "vpc-42")

    recording = run(program)
    assert recording.messages == ["mind the gap"]
    assert (recording.one("theirs").read, recording.one("theirs").id) == (True, "vpc-42")


def test_what_is_read_has_the_outputs_that_were_given() -> None:
    """A resource that is read is what `answers` say of its type, or a function of its id and inputs."""
    block = "aws:ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions"

    def program() -> None:
        options = aws.ec2.VpcBlockPublicAccessOptions.get("block", "us-east-1")
        pulumi.export("mode", options.internet_gateway_block_mode)

    answers = {block: lambda asked: {"internetGatewayBlockMode": f"off in {asked['id']}"}}
    assert run(program, answers=answers).outputs == {"mode": "off in us-east-1"}


def test_a_stack_reference_reads_outputs() -> None:
    """It has the outputs that were given, and none where nothing was: as of a stack before its first update."""

    def program() -> None:
        outputs = pulumi.StackReference("self", stack_name="local/receipt-trainer/dev").outputs
        pulumi.export("word", outputs.apply(lambda values: values.get("word", "none")))

    assert run(program).outputs == {"word": "none"}
    given = {"outputs": {"word": "hello"}, "secretOutputNames": []}
    assert run(program, answers={"pulumi:pulumi:StackReference": given}).outputs == {"word": "hello"}


def test_one_names_what_is_missing() -> None:
    """Asking for a resource that is not there says which there are."""
    recording = run(lambda: Shelf("shelf"))
    with pytest.raises(LookupError, match="'shelve': none; there are shelf, shelf-bucket"):
        recording.one("shelve")


def test_a_folder_runs_as_the_cli_would_run_it() -> None:
    """Its configuration, its modules, its working directory; and afterwards ours are as they were."""
    before = Path.cwd(), list(sys.path)
    recording = run(SAMPLE, project="sample", config=load_config(SAMPLE, "dev"))
    assert recording.outputs == {
        "word": "first",
        "runs": ["dev"],
        "shape": {"sides": 5},
        "folder": "sample_program",
        "project": "sample",
    }
    assert recording.one("store").inputs["tags"] == {"Greeting": "hello"}
    assert recording.one("jobs").dependencies == (recording.one("store").urn,)
    assert (Path.cwd(), list(sys.path)) == before
    assert "parts" not in sys.modules


def test_runs_do_not_see_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run has no configuration, module, resource or root of the first; an edited module counts at once."""
    ours = ModuleType("parts")  # somebody else's module of the same name
    monkeypatch.setitem(sys.modules, "parts", ours)
    copy = tmp_path / "copy"
    shutil.copytree(SAMPLE, copy)
    first = run(copy, project="sample", config={"sample:greeting": "hi", "sample:shape": "[1]"})
    (copy / "parts.py").write_text((copy / "parts.py").read_text().replace("first", "second"))
    second = run(copy, project="sample", stack="other", config={"sample:greeting": "bye"})
    assert (first.outputs["word"], first.outputs["runs"], first.outputs["shape"]) == ("first", ["dev"], [1])
    assert (second.outputs["word"], second.outputs["runs"], second.outputs.get("shape")) == ("second", ["other"], None)
    assert len(first.resources) == len(second.resources) == 2
    assert sys.modules["parts"] is ours
    with pytest.raises(pulumi.ConfigMissingError, match="sample:greeting"):
        run(copy, project="sample")
    assert run(lambda: None).resources == []
    assert pulumi.runtime.settings.get_root_resource() is None
