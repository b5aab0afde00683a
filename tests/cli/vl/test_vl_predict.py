"""`vl predict`: a page in, a checked line out, by a model of this machine and by a server over the wire."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import urllib3
from PIL import Image, ImageDraw

from receipt_trainer.data.document import DOCUMENT_SCHEMA, ROWS_SCHEMA, to_rows
from receipt_trainer.data.document_set import PROMPT_FILE, TrainedAs
from receipt_trainer.inference import document_answers, document_server
from receipt_trainer.inference.answers_file import open_answers
from tests.cli.jobs import Caller
from tests.inference.chat_server import chat_server, says, sent_image
from tests.models.paddleocr_vl.published import make_published
from tests.models.paddleocr_vl.receipts import document, draw_page
from tests.models.paddleocr_vl.tiny import make_tiny
from tests.pages.pdfs import pdf_of_pages


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Two pages as a TIFF, a PDF, a PNG, and a text that only calls itself an image."""
    folder = tmp_path / "papers"
    folder.mkdir()
    pages = [draw_page(document(random.Random(n)), random.Random(n)) for n in range(3)]
    pages[0].save(folder / "a.tiff", save_all=True, append_images=pages[1:2])
    pages[2].save(folder / "b.png")
    (folder / "c.pdf").write_bytes(pdf_of_pages([(200, 300)]))
    (folder / "d.jpg").write_text("no image")
    return folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_model_reads_a_folder(call: Caller, papers: Path, tmp_path: Path) -> None:
    """Every page of every file has a line, what is no image is refused and tried again, and the rest is not asked for
    a second time; another longest answer asks anew."""
    tiny = make_tiny(tmp_path / "model")
    out = tmp_path / "out.jsonl"
    words = ("vl", "predict", papers, "--model-path", tiny, "--output", out, "--device", "cpu", "--batch-size", "3")
    said = call(*words, "--max-new-tokens", "4")
    assert said.code == 1
    assert "d.jpg: not read: " in said.err
    found = {line["id"]: line for line in lines(out)}
    assert set(found) == {"a.tiff#1", "a.tiff#2", "b.png", "c.pdf", "d.jpg"}
    first = found["a.tiff#2"]
    assert (first["page"], first["of_pages"], first["document"], first["review"]) == (2, 2, None, True)
    assert first["problems"] == ["the answer is not a JSON object"]
    Image.new("RGB", (80, 60), "white").save(papers / "d.jpg")
    with out.open("ab") as stream:
        stream.write(b'{"id": "half a li')
    call.succeed(*words, "--max-new-tokens", "4")
    again = {line["id"]: line for line in lines(out)}
    assert again == found | {"d.jpg": again["d.jpg"]}
    assert again["d.jpg"]["problems"]
    call.succeed(*words, "--max-new-tokens", "5")
    assert {line["model"]["version"] for line in lines(out)} != {first["model"]["version"]}


def printed(count: int) -> Image.Image:
    """A page with so many lines of text."""
    page = Image.new("RGB", (240, 1000), "white")
    for line in range(count):
        ImageDraw.Draw(page).text((10, 10 + 16 * line), f"{line} some tea and bread 1.{line:02}", fill="black")
    return page


def test_pages_with_as_much_on_them_are_asked_together(tmp_path: Path) -> None:
    """In batches of two of the eight that wait, whatever their order; every page is asked once, no more of them are in
    memory than wait, and a file counts as done when its lines are there. Large pages wait less."""
    counts = [1, 50, 3, 40, 2, 60, 4, 30, 5, 20]
    for place, count in enumerate(counts):
        printed(count).save(tmp_path / f"{place}.png")
    files = sorted(tmp_path.glob("*.png"))

    def told(pixels: int) -> tuple[list[list[int]], list[int], list[str]]:
        sizes = {document_answers.fullness(Image.open(file)): counts[int(file.stem)] for file in files}
        batches: list[list[int]] = []
        read: list[int] = []
        finished: list[str] = []

        def opened() -> Iterator[Path]:
            for place, file in enumerate(files):
                read.append(place - sum(map(len, batches)))
                yield file

        def ask(pages: Sequence[Image.Image]) -> list[str]:
            batches.append([sizes[document_answers.fullness(page)] for page in pages])
            return [str(len(batches)) for _ in pages]

        with pytest.MonkeyPatch.context() as patch, open_answers(tmp_path / f"{pixels}", "v", "") as kept:
            patch.setattr(document_answers, "_MOST_PIXELS", pixels)
            asked: dict[str, Any] = {"model": {"name": "m", "version": "v"}, "batch_size": 2, "kept": kept}
            found = document_answers.answer_documents(
                opened(), ask, done=lambda: finished.append(f"{len(kept.kept)}"), **asked
            )
            for line in found:
                kept.write(line)
        return batches, read, finished

    batches, read, finished = told(10**9)
    assert batches == [[1, 2], [3, 4], [30, 40], [50, 60], [5, 20]]
    assert max(read) == 7
    assert finished == ["8"] * 7 + ["10"] * 3
    batches, read, _ = told(3 * 240 * 1000)
    assert batches == [[1, 3], [40, 50], [2, 4], [30, 60], [5, 20]]
    assert max(read) == 3


def test_a_batch_changes_no_answer(call: Caller, tmp_path: Path) -> None:
    """A model in the published form answers each page of an unsorted folder as it does alone; killed in between, the
    same command answers what is missing, and the file has each page once."""
    model, pages = make_published(tmp_path / "model", seed=1, dtype=torch.float32), tmp_path / "pages"
    pages.mkdir()
    for place, count in enumerate((1, 50, 3, 40, 2)):
        printed(count).rotate(90 * (place % 2), expand=True).save(pages / f"{place}.png")
    words = ("vl", "predict", pages, "--model-path", model, "--device", "cpu", "--max-new-tokens", "6", "--output")
    call.succeed(*words, tmp_path / "alone.jsonl", "--batch-size", "1")
    call.succeed(*words, tmp_path / "batch.jsonl", "--batch-size", "2")
    alone, batch = (
        {line["id"]: line["text"] for line in lines(tmp_path / name)} for name in ("alone.jsonl", "batch.jsonl")
    )
    assert batch == alone
    assert len({*alone.values()}) == 4
    first, second, *_ = (tmp_path / "batch.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "batch.jsonl").write_text(first + second + '{"id": "2.p')
    call.succeed(*words, tmp_path / "batch.jsonl", "--batch-size", "2")
    again = lines(tmp_path / "batch.jsonl")
    assert (len(again), {line["id"]: line["text"] for line in again}) == (5, alone)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """It is asked again at once, not after a second."""
    monkeypatch.setitem(document_server.RETRIES, "backoff_factor", 0.0)  # type: ignore[index]
    with chat_server() as running:
        yield running


def test_a_server_is_asked(
    call: Caller, server: Any, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the page itself, the trained prompt, the schema and the key; sums that do not hold and cut answers are for
    a person; a server that is busy is asked again, and a page that it fails at does not stop the others."""
    right = document(random.Random(0))
    wrong = right | {"grand_total": 10_000}
    server.script += [(503, b"busy"), says(right), says(wrong), says('{"document_type": "rec'), (500, b"broken\n here")]
    (papers / "d.jpg").unlink()
    model = tmp_path / "model"
    model.mkdir()
    (model / "receipt_trainer_prompt.json").write_text('{"prompt": "OCR:{} please"}')
    monkeypatch.setenv(document_server.ENV_SERVER_KEY, "secret")
    out = tmp_path / "out.jsonl"
    words = ("vl", "predict", papers, "--server", f"{server.url}/v1/", "--model-path", model, "--output", out)
    said = call(*words, "--batch-size", "1")
    assert said.code == 1
    assert f"c.pdf: not read: {server.url}: status 500: broken here" in said.err
    found = lines(out)
    assert [line.get("review") for line in found] == [False, True, True, None]
    assert found[2]["problems"] == [
        "the answer ends before its JSON does: it was cut off at --max-new-tokens, or repeats itself"
    ]
    assert found[0]["document"] == right
    assert found[1]["problems"][0].startswith("grand_total")
    key, body = server.asked[1]
    assert (key, body["model"], body["temperature"]) == ("Bearer secret", "invoices", 0)
    assert body["response_format"]["json_schema"]["schema"] == DOCUMENT_SCHEMA
    assert body["messages"][0]["content"][1]["text"] == "OCR:{} please"
    assert sent_image(body).tobytes() == Image.open(papers / "a.tiff").convert("RGB").tobytes()
    server.script[:] = [says(right)]
    asked = len(server.asked)
    call.succeed(*words)
    assert len(server.asked) == asked + 1, "only the page that failed is asked for again"


def test_a_model_that_writes_rows_is_guided_and_read_so(
    call: Caller, server: Any, papers: Path, tmp_path: Path
) -> None:
    """By what is stored with it: the schema that the server is sent has rows, and the document has objects."""
    right = document(random.Random(0))
    server.script.append(says(to_rows(right)))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / PROMPT_FILE).write_text(TrainedAs("OCR:{}", compact_items=True).to_json())
    out = tmp_path / "out.jsonl"
    words = ("vl", "predict", papers / "b.png", "--model-path", tmp_path / "model", "--output", out)
    call.succeed(*words, "--server", server.url)
    ((_, body),) = server.asked
    assert body["response_format"]["json_schema"]["schema"] == ROWS_SCHEMA
    (line,) = lines(out)
    assert (line["document"], line["problems"]) == (right, [])


def test_some_fields_are_asked_for(call: Caller, server: Any, papers: Path, tmp_path: Path) -> None:
    """Prompt and schema name them, in the schema's order; an answer with others is for a person. A name that is none,
    or a prompt that cannot take names, is a mistake."""
    right = document(random.Random(0))
    some = {name: right[name] for name in ("date", "grand_total")}
    server.script += [says(some), says(right)]
    out, url = tmp_path / "out.jsonl", ("--server", server.url)
    words = ("vl", "predict", papers / "b.png", papers / "c.pdf", "--output", out, "--batch-size", "1", *url)
    call.succeed(*words, "--fields", "grand_total, date")
    (_, body), _ = server.asked
    assert body["messages"][0]["content"][1]["text"] == 'OCR:{"date":"","grand_total":""}'
    assert list(body["response_format"]["json_schema"]["schema"]["properties"]) == ["date", "grand_total"]
    first, second = lines(out)
    assert (first["document"], first["problems"], first["review"]) == (some, [], False)
    assert second["review"]
    said = call(*words, "--fields", "total")
    assert (
        said.code,
        said.err.startswith("error: --fields: no field is called 'total'; there are document_type,"),
    ) == (2, True)
    said = call(*words, "--fields", "date", "--prompt", "Read this.")
    assert (said.code, "does not end in {}" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (401, b"", 2, "it refuses the request (401): set its key in RECEIPT_TRAINER_SERVER_KEY"),
        (404, b'{"message": "no model m"}', 2, 'no such address or model (404): {"message": "no model m"}'),
        (400, b'{"error": "too long"}', 1, 'status 400: {"error": "too long"}'),
        (429, b"too many", 1, "status 429: too many"),
        (200, b"<html>\n<b>Sign in", 1, "its answer is not a JSON object: <html> <b>Sign in"),
        (200, b'data: {"choices": []}\n\n', 1, 'its answer is not a JSON object: data: {"choices"'),
        (200, b'{"choices": [{"mess', 1, 'its answer is not a JSON object: {"choices": [{"mess'),
        (200, b'{"choices": []}', 1, 'its answer holds no text: {"choices": []}'),
        (200, b'{"error": {"message": "full"}}', 1, 'its answer holds no text: {"error": {"message": "full"}}'),
    ],
)
def test_what_a_server_can_say(
    call: Caller,
    server: Any,
    papers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: bytes,
    code: int,
    words: str,
) -> None:
    """A refused key and a name that the server does not know end the command, however many pages wait; a page without
    an answer is refused in one line with what was said. Without a model's folder it is asked as the published model is,
    whatever lies in the folder of the call."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    (papers / "d.jpg").unlink()
    server.script.append((status, body))
    out = tmp_path / "out.jsonl"
    said = call("vl", "predict", papers, "--server", server.url, "--output", out, "--batch-size", "1")
    assert said.code == code
    assert words in said.err
    assert (said.err.count("\n"), len(lines(out))) == ((1, 0) if code == 2 else (4, 4))
    assert server.asked[0][1]["messages"][0]["content"][1]["text"] == "OCR:{}"


def test_a_server_that_never_answers(
    call: Caller, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up after the time and the tries that are allowed, in one line; what was read before is kept."""
    monkeypatch.setattr(document_server, "_TIMEOUT", urllib3.Timeout(connect=60.0, read=0.2))
    monkeypatch.setitem(document_server.RETRIES, "backoff_factor", 0.0)  # type: ignore[index]
    out = tmp_path / "out.jsonl"
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = call("vl", "predict", papers / "b.png", "--server", url, "--served-model", "it", "--output", out)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert said.err.startswith(f"error: {url}: no answer: ")
    assert "timed out" in said.err
    assert not lines(out)


def test_a_server_that_cannot_be_asked(
    call: Caller, server: Any, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No address, several models, a key that is none, or nobody there: one line without the key, no file of answers."""
    words = ("vl", "predict", papers / "b.png", "--output", tmp_path / "out.jsonl", "--server")
    assert "not an address such as" in call.refuse(*words, "localhost:8000")
    server.models.append("other")
    assert "it serves invoices, other; name one: --served-model" in call.refuse(*words, server.url)
    assert "secret" not in call.refuse(*words, "http://me:secret@127.0.0.1:9").lower()
    assert "not an address such as" in call.refuse(*words, "http://[::1")
    monkeypatch.setenv(document_server.ENV_SERVER_KEY, "top\nsecret")
    assert "no line breaks" in (refused := call.refuse(*words, server.url))
    assert "secret" not in refused
    monkeypatch.delenv(document_server.ENV_SERVER_KEY)
    said = call(*words, "http://127.0.0.1:9")
    assert said.code == 1
    assert said.err.startswith("error: http://127.0.0.1:9: no answer: ")
    assert not (tmp_path / "out.jsonl").exists()
