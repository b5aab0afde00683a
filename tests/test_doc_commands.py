"""What README and docs/ tell people to type is run as it stands, on one stack on the embedded AWS."""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import runpy
import shlex
import shutil
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

import click
import pytest
from rich.console import Console

from receipt_trainer.aws import clients
from receipt_trainer.aws.dynamo import Item, Table
from receipt_trainer.cli.commands.local import stand_up
from receipt_trainer.contract.names import DEFAULT_OUTPUT_ROOT, ENV_AWS_CLI, ENV_RECEIPTS_TABLE
from receipt_trainer.data.sources.record import to_line
from receipt_trainer.data.synthetic import generate
from receipt_trainer.jobs.rows import Wanted, find, row_of
from receipt_trainer.local.session import ENV_DIR
from receipt_trainer.models.layoutlm import serve_export
from tests.cli.jobs import Caller
from tests.cli.vl.vl_lab import base_of, write
from tests.data.sources import samples
from tests.fork_server import Program
from tests.image_builder import ImageBuilder
from tests.inference.drawn import drawn_receipt
from tests.job_rows import put_job
from tests.models.paddleocr_vl.receipts import write_receipts
from tests.models.paddleocr_vl.tiny import make_tiny
from tests.packages import make_run
from tests.serving.test_circle import walk
from tests.test_docs import GROUPS, NAMES, ROOT, blocks, mentioned, text_of, typed
from tests.test_readme import BIN, commands, on_aws
from tests.waiting import wait_for

FIRST = ["docs/local.md", "docs/reading.md", "docs/serving.md"]
"""The job that the first of them trains is read with and promoted on the others, before there are more jobs."""
PAGES = [*FIRST, *(name for name in NAMES if name.startswith(("README", "docs/")) and name not in FIRST)]
PAGES.remove("docs/lab-notes.md")  # what was typed once, on files that are not here
LOCAL = "tests/cli/test_local.py::test_an_interrupted_job_goes_on_with_the_next_worker"
ELSEWHERE = {
    "receipt-trainer local up": LOCAL,
    "receipt-trainer local down": LOCAL,
    "receipt-trainer local interrupt": LOCAL,
    "receipt-trainer watch --stack local": LOCAL,
    "receipt-trainer start-worker --stack local": LOCAL,
    "receipt-trainer start-worker --outputs": "tests/test_readme.py::test_the_way_to_aws",
    "receipt-trainer receipts delete KEY": "tests/cli/commands/test_receipts.py"
    "::test_delete_takes_rows_marks_and_every_version_of_the_photo",
    "receipt-trainer vl experiments run experiments --test-dir": "tests/cli/test_vl_experiments.py::test_real_runs",
    "receipt-trainer vl experiments compare experiments --by": "tests/cli/test_vl_experiments.py"
    "::test_the_ranking_on_a_narrow_terminal",
    "receipt-trainer vl compare": "tests/cli/vl/test_vl_compare.py::test_two_files "
    "tests/cli/vl/test_vl_compare.py::test_two_models",
    "receipt-trainer vl find-lr": "tests/cli/vl/test_vl_find_lr.py::test_the_curve_is_drawn",
    "receipt-trainer vl predict scans/ --server": "tests/cli/vl/test_vl_predict.py::test_a_server_is_asked",
    "receipt-trainer vl smoke": "tests/cli/vl/test_vl_smoke.py"
    "::test_a_merged_model_and_its_server_are_what_was_trained",
    "receipt-trainer vl rehearse": "tests/models/paddleocr_vl/test_rehearsal.py::test_the_base_writes_its_own_lines",
    "receipt-trainer read scans/ --server": "tests/inference/test_server_reader.py"
    "::test_a_server_is_read_through_without_a_model_here "
    "tests/inference/test_server_reader.py::test_a_server_is_asked_as_its_model_was_trained "
    "tests/inference/test_server_reader.py::test_a_folder_of_photos_is_read_through_a_server",
    "receipt-trainer serve --server": "tests/serving/test_documents.py::test_the_process "
    "tests/serving/test_documents.py::test_mistakes_are_said_before_it_starts",
    "receipt-trainer demo": "tests/cli/commands/test_demo.py::test_the_demo_runs_the_whole_job",
}
"""Commands that start or end what this test stands on, or take long, by the tests that type them."""
QUICK = {
    "layoutlm-cli train": "--model tiny --set max_steps=1 --precision fp32 --set export_package=false "
    "--output-dir trained --restart",
    "receipt-trainer serve -": "--port 0 --no-browser",
    "receipt-trainer vl generate": "--workers 1",
    "receipt-trainer vl train --config trainer": "--train-file data/train.jsonl --val-file data/val.jsonl",
    "receipt-trainer vl evaluate": "--max-new-tokens 2",
    "receipt-trainer vl predict scans/ --model-path": "--max-new-tokens 2",
}
"""Options that make a command small, or end it; what they stand beside is typed as the document has it."""
READY = {"logs": "SUCCEEDED", "serve": "SUCCEEDED", "cancel": "PENDING", "retry": "FAILED"}
"""Which state a job is put into before a command, so that the command has something to do, and an end."""
NAMES_OF_JOBS = {"my-job", "smoke"}
PLACEHOLDERS = {
    "FILE|FOLDER...": "receipts.jsonl",
    "FILE|FOLDER": "receipts.jsonl",
    "FILE": "written.jsonl",
    "jsonl|label-studio|hf": "hf",
    "JOB": "smoke",
    "JOB.yaml": "trainer/examples/smoke.yaml",
    "NAME": "rates",
    "R": "2.0",
    "200": "6",
    "5000": "6",
}
INCOMPLETE = ("doctor", "--monitor")
"""What ends with exit code 1 here: a laptop's AWS has no quotas, and nobody trains the trials of a sweep."""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with all files that the documents name, a stack that `dev`, `prod` and `local` lead to, and a run."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    ours = {ENV_DIR: tmp_path / "local", "HOME": tmp_path, ENV_AWS_CLI: BIN / "aws", "COLUMNS": 200}
    for name, value in (ours | {"PATH": f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"}).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    Path("trainer/examples").mkdir(parents=True)
    for example in (ROOT / "trainer/examples").glob("*.yaml"):
        text = example.read_text().replace("num_train_epochs: 5\n", "num_train_epochs: 1\n")
        Path("trainer/examples", example.name).write_text(text.replace("documents: 200 ", "documents: 1 "))
    few = serve_export.generated_receipts()[:2]  # on which a package is checked
    monkeypatch.setattr(serve_export, "generated_receipts", lambda: few)
    make_run(Path("RUN"))
    _write_receipts()
    _write_documents(tmp_path)
    training = "{num_epochs: 1, max_steps: 2, batch_size: 5, precision: fp32, device: cpu}"
    Path("job.yaml").write_text(f"family: layoutlm\njob_name: my-job\nmodel: tiny\ntraining_config: {training}\n")
    with (
        patch.dict(os.environ),  # the stack changes our own environment, too
        stand_up(ROOT, None, 12, Console(quiet=True), details=False) as session,
        ImageBuilder() as builder,
    ):
        os.environ.update(session.applied_to(os.environ))
        os.environ[ENV_RECEIPTS_TABLE] = session.outputs.receipts_table
        os.environ["AWS_ENDPOINT_URL_IMAGEBUILDER"] = builder.url
        Path("outputs.json").write_text(session.outputs.model_dump_json())
        Path("bin").mkdir()
        Path("bin/pulumi").write_text(f"#!/bin/sh\ncat {tmp_path}/outputs.json\n")
        Path("bin/pulumi").chmod(0o755)
        yield tmp_path


def _write_receipts() -> None:
    """Receipts, photos of two of them, and files of other programs."""
    lines = [to_line(receipt) for receipt in generate(6, 1)]
    gold: list[str] = []
    for folder in ("photos", "scans"):
        Path(folder).mkdir()
    for name in ("photo", "two"):
        image, receipt = drawn_receipt(2, len(gold), "bistro")
        crop = image.crop((0, 0, image.width, image.height // 3))
        crop.save(f"photos/{name}.jpg")
        line = json.loads(to_line(receipt)) | {"id": name, "height": crop.height}
        line["words"] = [word for word in line["words"] if word["box"][3] < crop.height]
        gold.append(json.dumps(line) + "\n")
    Path("labelled.jsonl").write_text("".join(gold))
    for name in ("receipts", "words", "corrections"):
        Path(f"{name}.jsonl").write_text("".join([*lines, *gold]))
    Path("receipts.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))
    Path("docs").mkdir()
    for copy in ("photo.jpg", "scans/photo.jpg", "docs/receipt.jpg"):
        shutil.copy("photos/photo.jpg", copy)
    for name, content in (
        ("textract.json", samples.textract()),
        ("page.tsv", samples.tesseract_tsv()),
        ("page.hocr", samples.hocr()),
        ("vision.json", samples.vision()),
        ("azure.json", samples.azure()),
        ("Label.txt", samples.label_txt()),
        ("doctr.json", samples.doctr()),
        ("tasks.json", samples.label_studio()),
        ("rows.jsonl", samples.columns()),
        ("training_data/annotations/a.json", samples.funsd()),
        ("train/json/a.json", samples.cord()),
        ("SROIE/train/box/a.txt", samples.sroie_box()),
        ("SROIE/train/key/a.json", samples.SROIE_KEYS),
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content if isinstance(content, str) else json.dumps(content))


def _write_documents(folder: Path) -> None:
    """A model of the second family with drawn weights, its data sets, and configurations."""
    model = make_tiny(folder / "PaddlePaddle" / "PaddleOCR-VL")
    write_receipts(folder / "data", 4)
    for name in ("val", "test"):
        write_receipts(folder / "data", 2, seed=1, name=name)
        write_receipts(folder / "data" / name, 2, seed=1, name=name)
    base = base_of(model, folder / "data")
    for where, name in ((folder, "run"), (folder, "base"), (folder / "experiments", "base")):
        write(where, name, base)
    write(folder / "experiments", "rank-4", {"lora": {"r": 4}})
    Path("runs").mkdir()
    for link, target in (("runs/base", "first"), ("a", "cmp/baseline"), ("b", "cmp/finetuned")):  # made by commands
        kind = "" if link == "runs/base" else ".predictions.jsonl"
        Path(link + kind).symlink_to(target + kind)


def shown(name: str, seen: set[str]) -> Iterator[tuple[str, bool]]:
    """Each command of this project that a document shows, unless it is `seen`, and whether it stands in a sentence."""
    of_readme = commands(text_of(name)) if name == "README.md" else []  # tests/test_readme.py runs these
    for part, in_sentence in (
        ([words for words in typed(name) if words not in of_readme], False),
        (mentioned(name), True),
    ):
        for words in part:
            whole = re.sub(r"^eval '\$\((.*)\)'$", r"\1", shlex.join(words))
            for line in whole.removeprefix(".venv/bin/").split(" '&&' "):
                if line.startswith(tuple(GROUPS)) and line not in seen:
                    seen.add(line)
                    yield line, in_sentence


def subcommands(words: list[str]) -> list[str]:
    """The names of the command below its program: those of groups, and its own."""
    command: click.Command = GROUPS[words[0]]
    found: list[str] = []
    for word in words[1:]:
        if not isinstance(command, click.Group) or not (below := command.get_command(click.Context(command), word)):
            break
        found, command = [*found, word], below
    return found


def adapted(line: str, *, in_sentence: bool) -> list[str]:
    """The command with what this test has in place of names, and small; of a sentence, with what it leaves out."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line)]
    words = [re.sub(rf"^{DEFAULT_OUTPUT_ROOT}/.+", "RUN", word) for word in words]
    command: click.Command = GROUPS[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group) and rest and (found := command.get_command(click.Context(command), rest[0])):
        command, rest = found, rest[1:]
    if in_sentence and not rest:
        return [*words, "--help"]
    options = {text for one in command.params for text in one.opts}
    if in_sentence and "--stack" in options and not {"--stack", "--model", "--dataset", "local"} & {*words}:
        words += ["--stack", "dev"]
    if "--dry-run" in words or any(word.endswith("predictions") for word in words):
        return words
    if "--monitor" in words:
        words += ["--monitor-timeout", "0"]
    return words + [more for start, given in QUICK.items() if line.startswith(start) for more in given.split()]


class Typist:
    """Types commands in this process, and those that go on in one of their own."""

    def __init__(self, desk: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._desk, self._programs = desk, {name: Caller(capture, group) for name, group in GROUPS.items()}
        outputs = json.loads(Path("outputs.json").read_text())
        self._table = Table(clients.dynamodb(), outputs["jobs_table"])
        self._artifacts = f"s3://{outputs['artifacts_bucket']}/runs/typed/1"
        for file in Path("RUN/model/serve").iterdir():
            place = {"Bucket": outputs["artifacts_bucket"], "Key": f"runs/typed/1/model/serve/{file.name}"}
            clients.s3().put_object(Body=file.read_bytes(), **place)

    def type(self, words: list[str]) -> str:
        """What went wrong, or nothing."""
        program, *arguments = words
        if arguments[0] == "serve" and "--port" in arguments:
            return self._serve(arguments)
        for name in NAMES_OF_JOBS & {*arguments}:
            self._put_into(READY.get(arguments[0], ""), name)
        if arguments[:2] == ["receipts", "ocr"]:
            Path("words.jsonl").unlink()  # which a command before has read
        if arguments[:2] == ["vl", "generate"]:
            shutil.rmtree("data/documents", ignore_errors=True)  # of another page
        if "--rollback" in arguments:  # which needs a second model in force
            self._programs[program].succeed("serve", "promote", "RUN", "--stack", "dev", "--yes")
        said = self._programs[program](*arguments)
        fine = (0, 1) if {*INCOMPLETE} & {*arguments} else (0,)
        return "" if said.code in fine else f"exit code {said.code}: {said.err}"

    def _serve(self, arguments: list[str]) -> str:
        log = self._desk / "serve.log"
        log.unlink(missing_ok=True)
        with Program("receipt-trainer").start(arguments, log) as process:
            wait_for(lambda: process.poll() is not None or "answers with" in log.read_text())
            process.send_signal(signal.SIGTERM)
            return "" if process.wait() in (0, -signal.SIGTERM) else log.read_text()

    def _put_into(self, state: str, name: str) -> None:
        """Leave one job of this name, the newest, in the state that the command needs."""
        newest, *others = find(self._table, Wanted(name=name), 10)
        for row in others:
            put_job(self._table.name, **self._own(row) | {"name": "earlier"})
        if state:
            put_job(self._table.name, **self._own(newest) | {"status": state, "artifacts": self._artifacts})

    def _own(self, row: Item) -> Item:
        whole = row_of(self._table, str(row["job_id"]), "JOB")
        assert whole is not None
        return {name: value for name, value in whole.items() if name.islower()}


def told_elsewhere(line: str) -> bool:
    """Whether another test types the command: as it stands on its page, or, with its options, in the test's own text.

    The commands of bash blocks of the README are typed by tests/test_readme.py too; `shown` leaves them out.
    """
    words = shlex.split(line)
    if words in [*walk().values(), *on_aws()] and words[1] not in ("serve", "doctor"):
        return True
    for start, tests in ELSEWHERE.items():
        if line.startswith(start):
            types = set().union(*map(words_of, tests.split()))
            missing = {*subcommands(words), *(word for word in words if word.startswith("-"))} - types
            assert not missing, f"{line}: {tests} do not type {missing}"
            return True
    return False


@cache
def words_of(test: str) -> set[str]:
    """The texts that stand in a test, and in what it calls of its own file: what it types is among them."""
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text())
    tests = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert name.startswith("test_"), test
    assert name in tests, f"{path} has no test {name}"
    methods = [each for node in tree.body if isinstance(node, ast.ClassDef) for each in node.body]
    below = tests | {each.name: each for each in methods if isinstance(each, ast.FunctionDef)}
    called = [node.func for node in ast.walk(tests[name]) if isinstance(node, ast.Call)]
    names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called}
    names |= {each.arg for each in tests[name].args.args}  # fixtures
    bodies = [tests[name], *(below[one] for one in sorted(names & below.keys()))]
    texts = [node.value for body in bodies for node in ast.walk(body) if isinstance(node, ast.Constant)]
    found = {text for text in texts if isinstance(text, str)}
    return found | {word for text in found for word in re.findall(r'"([^"]+)"', text)}  # a program's source


def test_commands_of_this_project_run(desk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Every command that a page shows ends as it should; a bare name in a sentence has its help."""
    typist, wrong = Typist(desk, capfd), []
    seen: set[str] = set()
    done: list[list[str]] = []
    for name in PAGES:
        for line, in_sentence in shown(name, seen):
            if told_elsewhere(line):
                continue
            if in_sentence and line.startswith("layoutlm-cli train --dataset"):
                continue  # as docs/reading.md has it
            words = adapted(line, in_sentence=in_sentence)
            if words not in done and (fault := typist.type(words)):
                wrong.append(f"{name}: {line}\n{fault}")
            done.append(words)
    (python,) = [body for language, body in blocks(text_of("README.md")) if language == "python"]
    Path("example.py").write_text(
        re.sub(rf"{DEFAULT_OUTPUT_ROOT}/[\w-]+", "RUN", python).replace("docs/receipt", "photo")
    )
    assert runpy.run_path("example.py")["answer"].summary.keys() >= {"merchant", "total"}
    assert not wrong, "\n".join(wrong)
    assert len(done) > 110
