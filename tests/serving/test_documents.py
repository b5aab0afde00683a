"""`serve --server`: documents that a model on a server writes, over the wire, corrected into training lines."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import hypothesis
import jsonschema
import pytest
import schemathesis
from click.testing import CliRunner
from PIL import Image
from schemathesis.core.result import Ok

from receipt_trainer.cli.receipt_trainer import group
from receipt_trainer.data.document_set import read_examples
from receipt_trainer.data.document_validation import Validation
from receipt_trainer.errors import UserError
from receipt_trainer.inference import document_server
from receipt_trainer.inference.document_corrections import DocumentCorrection, DocumentCorrections
from receipt_trainer.inference.document_server import DocumentServer
from receipt_trainer.inference.inputs import DrawnPage
from receipt_trainer.inference.server_reader import ServerReader
from receipt_trainer.serving.app import App, ServerLimits, create_app
from receipt_trainer.serving.holder import ServerHolder
from receipt_trainer.serving.openapi import document as interface
from tests.inference.chat_server import chat_server, says, sent_image
from tests.models.paddleocr_vl.receipts import document, draw_page
from tests.pages.pdfs import pdf_of_pages
from tests.serving.browser import served
from tests.serving.test_app import WORDS, is_problem
from tests.serving.test_openapi import CHECKS
from tests.serving.test_process import running

SOUND = document(random.Random(0), num_items=2)
PATIENT = ServerLimits(workers=2, photo_wait_s=300.0, photo_deadline_s=300.0)
CORRECT = "/v1/receipts/{}:correct"


def png(colour: str = "white") -> bytes:
    """A page with something on it."""
    written = io.BytesIO()
    page = draw_page(SOUND, random.Random(0))
    page.paste(colour, (0, 0, 9, 9))
    page.save(written, "PNG")
    return written.getvalue()


@pytest.fixture(scope="module")
def behind() -> Iterator[Any]:
    """The model's server; it is asked again at once, not after a second."""
    with pytest.MonkeyPatch.context() as patch, chat_server() as running:
        patch.setitem(document_server.RETRIES, "backoff_factor", 0.0)  # type: ignore[index]
        yield running


def app_of(behind: Any, file: Path) -> App:
    server = DocumentServer.connect(behind.url, None, "OCR:{}", 1024, patience_s=60.0)
    return create_app(ServerHolder(ServerReader(server)), corrections=DocumentCorrections(file), limits=PATIENT)


@pytest.fixture(scope="module")
def site(behind: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The client of an application, and the file of its corrections."""
    file = tmp_path_factory.mktemp("kept") / "documents.jsonl"
    with served(app_of(behind, file)) as url, httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
        yield SimpleNamespace(client=client, file=file)


def read(site: Any, content: bytes, kind: str = "image/png", **params: str) -> httpx.Response:
    found: httpx.Response = site.client.post(
        "/v1/receipts:read", content=content, params=params, headers={"content-type": kind}
    )
    return found


def correct(site: Any, name: str, documents: Any, photo: bytes | None) -> httpx.Response:
    form: Any = {"correction": (None, json.dumps({"documents": documents}), "application/json")}
    if photo is not None:
        form["photo"] = ("../../x.png", photo, "image/png")
    found: httpx.Response = site.client.post(CORRECT.format(name), files=form)
    return found


def schema_of(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": interface(pages=True)["components"]}


def test_photos_are_read_through_the_server(site: Any, behind: Any) -> None:
    """A photo and a page of a PDF have an answer as the interface has it, asked for with the page itself."""
    behind.script[:] = [says(SOUND)]
    answer = read(site, png())
    jsonschema.validate(answer.json(), schema_of("answer"))
    assert answer.json()["summary"]["merchant"] == SOUND["vendor"]["name"]
    assert answer.json()["documents"] == [{"page": 1, "document": SOUND}]
    assert sent_image(behind.asked[-1][1]).tobytes() == Image.open(io.BytesIO(png())).tobytes()
    pdf = read(site, pdf_of_pages([(200, 300), (200, 300)]), "application/pdf", pages="2", pictures="true").json()
    jsonschema.validate(pdf, schema_of("answer"))
    assert [one["page"] for one in pdf["documents"]] == [2]
    shown = base64.b64decode(pdf["pages"][0]["picture"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(shown)).tobytes() == sent_image(behind.asked[-1][1]).tobytes()
    model = site.client.get("/v1/model").json()
    jsonschema.validate(model, schema_of("Model"))
    assert (model["family"], model["name"], model["keep_photos"]) == ("paddleocr-vl", "invoices", True)
    assert "receipt_trainer_documents_total 2" in site.client.get("/metrics").text


def test_what_is_not_read_is_a_problem(site: Any, behind: Any) -> None:
    """Words are of no use to this model; a page that it fails at, a server that is away, and no image: a line each."""
    assert "image/jpeg" in is_problem(site.client.post("/v1/receipts:read", json=WORDS), 415)
    is_problem(read(site, b"hello"), 422)
    behind.script[:] = [(500, b"broken")]
    assert "status 500: broken" in is_problem(read(site, png()), 422)
    away = DocumentServer("http://127.0.0.1:9", "invoices", "OCR:{}", pool=_hurried())
    app = create_app(ServerHolder(ServerReader(away)), limits=PATIENT)
    with served(app) as url, httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
        answer = read(SimpleNamespace(client=client), png())
        assert "no answer" in is_problem(answer, 503)
        assert answer.headers["retry-after"]
        assert "corrections are off" in is_problem(client.post(CORRECT.format("x"), files={"photo": b"x"}), 404)


def test_a_server_that_hangs_holds_nobody_up(behind: Any) -> None:
    """Its document is given up at the deadline, and the next one is read once it goes on."""
    behind.script[:] = [says(SOUND)]
    server = DocumentServer.connect(behind.url, None, "OCR:{}", 1024, patience_s=60.0)
    app = create_app(ServerHolder(ServerReader(server)), limits=replace(PATIENT, workers=1, photo_deadline_s=5.0))
    with served(app) as url, httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
        behind.may_answer.clear()
        try:
            assert "within 5 s" in is_problem(read(SimpleNamespace(client=client), png()), 504)
        finally:
            behind.may_answer.set()
        while (answer := read(SimpleNamespace(client=client), png())).status_code == 504:
            pass
        assert answer.json()["documents"][0]["document"] == SOUND


def _hurried() -> Any:
    return document_server.urllib3.PoolManager(retries=0)


def test_a_correction_is_a_training_line(site: Any, behind: Any, tmp_path: Path) -> None:
    """The page as the model saw it and the corrected document stand in the file, once however often it is saved, and
    the data set is sound; a name that a user gave a file leads nowhere."""
    behind.script[:] = [says(SOUND | {"vendor": {"name": "Bop"}})]
    name = read(site, png()).json()["id"]
    saved = correct(site, name, [{"page": 1, "document": SOUND}], png())
    jsonschema.validate(saved.json(), schema_of("Saved"))
    assert saved.json() == {"id": name, "saved_to": "file", "num_pages": 1}
    better = SOUND | {"vendor": SOUND["vendor"] | {"name": "Better\u2028Ltd"}}
    for one in (SOUND, better):
        assert correct(site, name, [{"page": 1, "document": one}], png()).status_code == 200
    two = pdf_of_pages([(200, 300), (200, 300)])
    other = read(site, two, "application/pdf").json()["id"]
    pages = [{"page": page, "document": SOUND} for page in (1, 2)]
    assert correct(site, other, pages, two).json()["num_pages"] == 2
    first, *others = read_examples(site.file)
    assert [example.id for example in (first, *others)] == [f"{name}-1", f"{other}-1", f"{other}-2"]
    assert json.loads(first.output) == better
    assert first.instruction == ""
    assert Image.open(first.image).tobytes() == Image.open(io.BytesIO(png())).tobytes()
    assert list(Validation(site.file).problems()) == []
    assert {file.parent.name for file in site.file.parent.rglob("*.png")} == {"documents-images"}


def test_what_cannot_be_kept_is_a_problem(site: Any, behind: Any) -> None:
    """A correction without its photo or with another one, as JSON alone, of a page that is not there, or against the
    schema: nothing is written."""
    behind.script[:] = [says(SOUND)]
    name = read(site, png("red")).json()["id"]
    good = [{"page": 1, "document": SOUND}]
    before = site.file.read_bytes() if site.file.exists() else b""
    assert "'photo'" in is_problem(correct(site, name, good, None), 400)
    assert "another one" in is_problem(correct(site, name, good, png("blue")), 422)
    assert "multipart/form-data" in is_problem(site.client.post(CORRECT.format(name), json={"documents": good}), 415)
    assert "no page 7" in is_problem(correct(site, name, [{"page": 7, "document": SOUND}], png("red")), 422)
    wrong = [{"page": 1, "document": SOUND | {"date": "27/11/2026"}}]
    assert "documents.0.document: Value error, date: " in is_problem(correct(site, name, wrong, png("red")), 422)
    assert (site.file.read_bytes() if site.file.exists() else b"") == before


def test_many_save_at_once(tmp_path: Path) -> None:
    """Corrections from several servers and threads are all there, each once, in whole lines."""
    stores = [DocumentCorrections(tmp_path / "kept.jsonl") for _ in range(2)]
    said = DocumentCorrection.model_validate({"documents": [{"page": 1, "document": SOUND}]})
    page = DrawnPage(1, 112, 112, png())
    threads = [
        threading.Thread(target=lambda n=n: stores[n % 2].save(f"d{n % 8}", said, [page]))  # type: ignore[misc]
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(example.id for example in read_examples(tmp_path / "kept.jsonl")) == [f"d{n}-1" for n in range(8)]


def test_schemathesis_finds_nothing(behind: Any, tmp_path: Path) -> None:
    """Requests drawn from the interface of this family get answers that it allows, and never a fault of ours."""
    behind.script[:] = [says(SOUND)]
    with served(app_of(behind, tmp_path / "kept.jsonl")) as url:
        schema = schemathesis.openapi.from_url(f"{url}openapi.json")
        posts = [found for found in schema.get_all_operations() if isinstance(found, Ok)]
        for found in posts:
            operation = found.ok()
            if operation.method != "post":
                continue  # as of the other family

            @hypothesis.settings(max_examples=12, database=None, derandomize=True)
            @hypothesis.given(case=operation.as_strategy())
            def check(case: Any) -> None:
                case.call_and_validate(checks=CHECKS)

            check()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "RUN"], "RUN: no model of PaddleOCR-VL"),
        (["--review", "words.jsonl"], "leave --review"),
        (["--output", "words.jsonl"], "corrections are not added to it"),
    ],
)
def test_mistakes_are_said_before_it_starts(
    behind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    """What belongs to the other family, and a file that holds its corrections."""
    monkeypatch.chdir(tmp_path)
    Path("words.jsonl").write_text(json.dumps(WORDS) + "\n")
    words = ["serve", "--server", behind.url, "--port", "0", "--no-browser", *arguments]
    done = CliRunner().invoke(group, words)
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert Path("words.jsonl").read_text() == json.dumps(WORDS) + "\n"


def test_the_process(behind: Any, tmp_path: Path) -> None:
    """`serve --server URL` answers, keeps corrections where nothing is said of them in a file of this family, and
    ends; of the models of either family it has loaded nothing."""
    behind.script[:] = [says(SOUND)]
    with running(tmp_path, "--server", behind.url, "--served-model", "invoices") as process:
        with httpx.Client(base_url=process.url, timeout=300, trust_env=False) as client:
            site = SimpleNamespace(client=client)
            name = read(site, png()).json()["id"]
            assert correct(site, name, [{"page": 1, "document": SOUND}], png()).status_code == 200
        maps = Path(f"/proc/{process.process.pid}/maps")
        loaded = maps.read_text() if maps.exists() else ""
    assert re.search("answers with invoices/[0-9a-f]{12};", process.log.read_text())
    assert not re.search(r"libtorch|onnxruntime|/cv2/", loaded)
    (example,) = read_examples(tmp_path / "document-corrections.jsonl")
    assert json.loads(example.output) == SOUND
