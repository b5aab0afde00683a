"""What the documents tell people to type, and where they send them, exists."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import botocore.session
import click
import jmespath  # type: ignore[import-untyped]
import pytest
from botocore import xform_name
from botocore.utils import ArgumentGenerator

from infra.settings import SettingsError, StackSettings
from receipt_trainer.cli import layoutlm, receipt_trainer
from receipt_trainer.contract import names
from receipt_trainer.contract.outputs import StackOutputs
from receipt_trainer.local.pulumi_program import load_config, run
from receipt_trainer.local.resources import stand_in

ROOT = Path(__file__).parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], key=lambda path: path.name)
NAMES = [str(path.relative_to(ROOT)) for path in DOCS]
GROUPS = {"receipt-trainer": receipt_trainer.group, "layoutlm-cli": layoutlm.group}
CUSTOM = {("logs", "tail"), ("s3", "sync"), ("sso", "login")}
"""Commands of the AWS CLI that are no calls of an API."""
GLOBAL = {"endpoint_url", "query", "output", "max_items"}
"""Options of the AWS CLI that every call of an API has."""


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(language, text without indentation) of each fenced block."""
    for indent, language, body in re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, flags=re.M | re.S):
        yield language, re.sub(rf"^{indent}", "", body, flags=re.M)


def typed_together(name: str) -> Iterator[list[list[str]]]:
    """The commands of each block of a document, as words."""
    for language, body in blocks(text_of(name)):
        lines = body.splitlines() if language in ("console", "bash") else []
        if language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        yield [words for line in lines if (words := shlex.split(line, comments=True))]


def typed(name: str) -> list[list[str]]:
    return [words for block in typed_together(name) for words in block]


def mentioned(name: str) -> list[list[str]]:
    """Every command of this project that stands in a sentence."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text_of(name), flags=re.M | re.S)
    return [shlex.split(code) for code in re.findall(r"`((?:receipt-trainer|layoutlm-cli) [^`]+)`", prose)]


def with_program(program: str, *more: str) -> list[tuple[str, list[str]]]:
    start = [program, *more]
    return [(name, words) for name in NAMES for words in typed(name) if words[: len(start)] == start]


def parse_command(words: list[str]) -> None:
    command: click.Command = GROUPS[words[0]]
    context, rest = click.Context(command, info_name=words[0]), words[1:]
    while isinstance(command, click.Group):
        if command.invoke_without_command and (not rest or rest[0].startswith("-")):
            break  # options of the group's own
        assert rest, "no subcommand"
        found = command.get_command(context, rest[0])
        assert found, f"no command {rest[0]}"
        command, rest = found, rest[1:]
        context = click.Context(command, context, info_name=command.name)
    command.make_parser(context).parse_args(rest)


@pytest.mark.parametrize("name", NAMES)
def test_commands_of_this_project_exist(name: str) -> None:
    """Every `receipt-trainer` and `layoutlm-cli` of a document is a command, and has the options it is given."""
    shown = [words for words in [*typed(name), *mentioned(name)] if words[0] in GROUPS]
    for words in shown:
        try:
            parse_command([word for word in words if word != "..."])
        except click.UsageError as error:
            pytest.fail(f"{name}: {shlex.join(words)}: {error.format_message()}")


def steps(path: str) -> list[str | int]:
    found = re.findall(r'\["([^"]+)"\]|\[(\d+)\]|([^.\[\]]+)', path)
    return [int(index) if index else quoted or plain for quoted, index, plain in found]


def put(values: Any, path: list[str | int], value: str | None) -> Any:
    """`values` with `value` at `path`, as `pulumi config set --path` does it; None removes."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(first, int):
        items = list(values or [])
        assert first <= len(items), "a gap in a list"
        return [*items[:first], put(items[first] if first < len(items) else None, rest, value), *items[first + 1 :]]
    members = dict(values or {})
    members[first] = put(members.get(first), rest, value)
    return {key: item for key, item in members.items() if item is not None}


def configured(values: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """`values` after one `pulumi config set` or `rm`."""
    arguments = [word for word in words[3:] if word != "--path"]
    namespace, _, path = arguments[0].partition(":")
    if (namespace, path) == ("aws", "region"):
        return values
    assert namespace == "receipt-trainer", words
    assert ("--path" in words) == (len(steps(path)) > 1), f"--path goes with members: {words}"
    assert len(arguments) == (2 if words[2] == "set" else 1), words
    changed: dict[str, Any] = put(values, steps(path), arguments[1] if words[2] == "set" else None)
    return changed


def problems(values: dict[str, Any]) -> list[str]:
    try:
        StackSettings.parse(values)
    except SettingsError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_documents_are_legal(name: str) -> None:
    """Each `pulumi config` of a document sets what the stack knows, and each block leaves what the stack accepts."""
    values: dict[str, Any] = {}
    for block in typed_together(name):
        for words in block:
            if words[:2] == ["pulumi", "config"] and words[2:3] in (["set"], ["rm"]):
                values = configured(values, words)
                assert not [line for line in problems(values) if ": field required" not in line], words
        assert not problems(values), block


@pytest.mark.parametrize("name", NAMES)
def test_outputs_of_the_documents_exist(name: str) -> None:
    """Every `pulumi stack output NAME` names an output of the stack."""
    for output in re.findall(r"pulumi stack output (\w+)", text_of(name)):
        assert output in StackOutputs.model_fields


def options(words: list[str]) -> Iterator[tuple[str, str]]:
    """(option in snake case, first value) of a command line."""
    for place, word in enumerate(words):
        if word.startswith("--"):
            yield word[2:].replace("-", "_"), next(iter(words[place + 1 :]), "")


RENAMED = {("sns", "subscribe", "notification_endpoint"): "endpoint"}
"""Options that the CLI calls otherwise than the API calls their members."""


@pytest.mark.parametrize(("name", "words"), with_program("aws"), ids=lambda part: part if isinstance(part, str) else "")
def test_calls_of_aws_exist(name: str, words: list[str]) -> None:
    """Every `aws` of a document is a call that AWS has, with its options, and --query finds what is in the answer."""
    service, call = words[1:3]
    if (service, call) in CUSTOM:
        return
    model = botocore.session.get_session().get_service_model(service)
    operation = model.operation_model(next(it for it in model.operation_names if xform_name(it, "-") == call))
    assert operation.input_shape
    members = {xform_name(member): shape for member, shape in operation.input_shape.members.items()}
    given = {RENAMED.get((service, call, option), option): value for option, value in options(words)}
    assert given.keys() <= members.keys() | GLOBAL, f"{name}: {words}"
    needed = set(operation.input_shape.required_members) - set(operation.idempotent_members)  # those the CLI makes up
    assert {xform_name(member) for member in needed} <= given.keys(), f"{name}: {words}"
    for option, value in given.items():
        if option in members and value.startswith("{"):
            assert json.loads(value).keys()
    if "query" in given and service != "dynamodb":  # whose items have no shape
        assert operation.output_shape
        answer = ArgumentGenerator(use_member_names=True).generate_skeleton(operation.output_shape)
        assert "null" not in json.dumps(jmespath.search(given["query"], answer), default=str), (
            f"{name}: {given['query']}"
        )


def slugs(text: str) -> set[str]:
    """Anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link of a document leads to a file, and its anchor to a heading."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if re.match("https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.is_file(), link
        if anchor:
            assert anchor in slugs(target.read_text()), link


@cache
def instance_files() -> str:
    """All that the instance has of ours, and the names both sides agree on."""
    texts = [path.read_text() for path in sorted((ROOT / "userdata").iterdir()) if path.is_file()]
    return "\n".join(
        [
            *(text.replace("$ROOT", "") for text in texts),
            *(value for value in vars(names).values() if isinstance(value, str)),
        ]
    )


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every name and value that the program registers for the stack `dev`."""
    wheels = tmp_path_factory.mktemp("wheels")
    stand_in(wheels)
    config = load_config(ROOT, "dev") | {"receipt-trainer:wheelhouse": json.dumps({"path": str(wheels)})}
    resources = run(ROOT, stack="dev", config=config).resources
    return "\n".join(f"{one.name}\n{json.dumps(one.inputs, default=str)}" for one in resources)


def is_in(word: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


@pytest.mark.parametrize("name", ["docs/operations.md", "docs/architecture.md"])
def test_paths_of_the_documents_exist(name: str, stack: str) -> None:
    """Every absolute path is one of the boot, the image or the contract, or names something of the stack."""
    roots = "aws|etc|imagebuilder|mnt|opt|receipt-trainer|run|tmp|usr|var"
    found = set(re.findall(rf"(?<![\w.:~}}/-])(/(?:{roots})/?[\w./-]*\w)", text_of(name)))
    assert len(found) > 4
    scripts = {f"/opt/pytorch/bin/{script.name}" for script in entry_points(group="console_scripts")}
    data = (f"{names.CHECKPOINTS_MOUNT}/", f"{names.TRAINING_MOUNT}/")
    for path in sorted(found - scripts):
        assert path.startswith(data) or is_in(path, instance_files()) or is_in(path, stack), path


@pytest.mark.parametrize("name", ["docs/operations.md", "docs/architecture.md"])
def test_names_of_the_documents_are_those_of_the_stack(name: str, stack: str) -> None:
    """Every table, group, image and alarm that a document calls by name is in the stack `dev`."""
    text = text_of(name)
    found = set(re.findall(r"receipt-trainer-dev[\w-]*", text))
    found |= set(re.findall(r"--alarm-name-prefix (\S+)", text))
    for word in sorted(found):
        assert is_in(word, stack), word


def test_the_map_of_the_house_leads_somewhere() -> None:
    """Each question of CONTRIBUTING.md's map is answered by one path, and that file exists."""
    section = text_of("CONTRIBUTING.md").partition("### Where is ...?")[2].partition("\n## ")[0]
    answers = re.findall(r"^\| [^|]+\? \| `([^`]+)` \|$", section, flags=re.M)
    assert len(answers) >= 20
    homes = (ROOT, ROOT / "trainer/src/receipt_trainer")
    assert [path for path in answers if not any((home / path).is_file() for home in homes)] == []


def test_extras_that_pip_is_told_exist() -> None:
    """Every `pip install` of this project names the folder, for it is on no index, and extras that there are."""
    project = tomllib.loads(text_of("trainer/pyproject.toml"))["project"]
    found = re.findall(r"pip install (?:--editable )?'([^'\[]+)\[([\w,]+)\]'", "\n".join(map(text_of, NAMES)))
    assert len(found) > 8
    for place, extras in found:
        assert place == "./trainer"
        assert {*extras.split(",")} <= project["optional-dependencies"].keys()


def test_targets_that_make_is_told_exist() -> None:
    """Every `make` of a document is a target whose recipe make can expand; `make test` is this very run."""
    for words in {tuple(words) for name in NAMES for words in typed(name) if words[0] == "make"}:
        done = subprocess.run(["/usr/bin/make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


PULUMI = {
    *("cancel", "config", "config rm", "config set", "destroy", "install", "login", "preview", "refresh"),
    *("stack init", "stack output", "stack rm", "state unprotect", "up"),
}
PULUMI_OPTIONS = {"--all", "--clear-pending-creates", "--exclude-protected", "--json", "--path", "--stack", "--yes"}


def test_pulumi_is_told_what_it_knows() -> None:
    """Every `pulumi` of a document has a command and options of the CLI, which is not installed here."""
    for words in [words for name in NAMES for words in typed(name) if words[0] == "pulumi"]:
        command = words[1:3] if words[1] in ("config", "stack", "state") else words[1:2]
        assert " ".join(command) in PULUMI, words
        assert {word for word in words if word.startswith("--")} <= PULUMI_OPTIONS, words
